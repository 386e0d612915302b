// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Command weft-coordinator lets a pod on an underlay NIC and its own node reach each other, and gives it Services.
//
// Job: chained after the main plugin (macvlan, ipvlan, SR-IOV, anything that yields an interface with addresses), it adds
// one veth pair, and the routes, neighbours, rules and nftables table of a pod with one underlay NIC. See README.md for the
// configuration and for what it leaves where.
//
// Non-goals: addresses (IPAM), the NIC itself (main plugin), overlay networks next to it, Kubernetes.
//
// Failure model: ADD does everything or, on error, takes everything back. DEL needs the local journal only, and not even
// that: the host end's name follows from the attachment. What DEL cannot remove now stays in the journal for GC.
package main

import (
	"time"

	"github.com/weft-cni/weft/libs/cniplugin"
)

func main() { cniplugin.Main(plugin(real())) }

func plugin(s sys) cniplugin.Plugin[config] {
	return cniplugin.Plugin[config]{
		Name:      "weft-coordinator",
		About:     "connects a pod on an underlay NIC with its own node and with Services",
		NeedsPrev: true,
		Config:    readConfig,
		Timeout:   func(c config) time.Duration { return c.timeout },
		Add:       s.add, Del: s.del, Check: s.check, GC: s.gc, Status: s.status,
	}
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Command weft-ipam gives interfaces their addresses.
//
// Job: the IPAM plugin of a conflist. It reads pools from the `ipam` object,
// gives an attachment one address of each family of one pool, and remembers
// it in a directory of the host. See README.md for the configuration.
//
// Non-goals: touching the kernel's network, Kubernetes, other hosts.
//
// Failure model: ADD answers with addresses that are durably the attachment's,
// or with a numbered error and nothing kept. DEL always ends well: a release
// that the store cannot take now is found by GC, for the lease still names its
// container. Killed at any instant, it leaves what was before or what was asked for.
package main

import "github.com/weft-cni/weft/libs/cniplugin"

func main() {
	cniplugin.Main(plugin())
}

func plugin() cniplugin.Plugin[config] {
	return cniplugin.Plugin[config]{
		Name:    "weft-ipam",
		About:   "gives interfaces addresses from pools, and remembers them on this host",
		Config:  readConfig,
		Timeout: func(c config) timeout { return c.timeout },
		Add:     add, Del: del, Check: check, GC: gc, Status: status,
		Extra: extra(),
	}
}

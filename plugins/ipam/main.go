// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Command weft-ipam gives interfaces their addresses.
//
// Job: the IPAM plugin of a conflist. It reads pools from the `ipam` object,
// gives an attachment one address of each family of one pool, and remembers
// it in a directory of the host. Where the pools are names or absent, it asks
// weft-agent of the node instead. See README.md for the configuration.
//
// Non-goals: touching the kernel's network, speaking to an API server, other hosts.
//
// Failure model: ADD answers with addresses that are durably the attachment's,
// or with a numbered error and nothing kept. DEL always ends well: a release
// that the store cannot take now is found by GC, for the lease still names its
// container. Killed at any instant, it leaves what was before or what was asked for.
package main

import (
	"context"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/weft-cni/weft/libs/cniplugin"
)

func main() {
	cniplugin.Main(plugin())
}

func plugin() cniplugin.Plugin[config] {
	return cniplugin.Plugin[config]{
		Name:    "weft-ipam",
		About:   "gives interfaces addresses from pools: of this host, or of the cluster through weft-agent",
		Config:  readConfig,
		Timeout: func(c config) timeout { return c.timeout },
		Add: func(ctx context.Context, r *cniplugin.Request[config]) (*current.Result, error) {
			if r.Config.cluster != nil {
				return clusterAdd(ctx, r)
			}
			return add(ctx, r)
		},
		Del: either(del, clusterDel), Check: either(check, clusterCheck), GC: either(gc, clusterGC), Status: either(status, clusterStatus),
		Extra: extra(),
	}
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"strings"

	"github.com/weft-cni/weft/libs/cniplugin"
	"github.com/weft-cni/weft/libs/errcode"
	"github.com/weft-cni/weft/libs/lease"
)

// status says whether an ADD could work: the store can be read and written. It
// neither writes nor waits. Dry pools count only where the configuration says so,
// because a node that is reported unready loses more than one pod.
func status(ctx context.Context, r *cniplugin.Request[config]) error {
	if err := openStore(r.Config.stateDir).Health(ctx); err != nil {
		return errcode.Wrap(errcode.Unavailable, err, storeTrouble(err))
	}
	if !r.Config.statusOnExhaustion {
		return nil
	}
	var dry []string
	for _, p := range r.Config.pools {
		states, err := exhausted(ctx, openEngine(r.Config.stateDir), p)
		if err != nil {
			return errcode.Wrap(errcode.Unavailable, err, storeTrouble(err))
		}
		if len(states) == 0 {
			return nil
		}
		dry = append(dry, states...)
	}
	return errcode.New(errcode.Unavailable, "no pool has a free address: "+strings.Join(dry, "; "), "")
}

// exhausted returns why a pool can give nothing, or nothing.
func exhausted(ctx context.Context, e *lease.Engine, p lease.Pool) ([]string, error) {
	if p.Suspend {
		return []string{lease.PoolState{Pool: p.Name, Suspended: true}.String()}, nil
	}
	var out []string
	for name, f := range map[string]*lease.Family{"IPv4": p.IPv4, "IPv6": p.IPv6} {
		if f == nil {
			continue
		}
		use, err := e.Use(ctx, p.Domain, f)
		if err != nil {
			return nil, err
		}
		if use.Held+use.Resting >= use.Total {
			out = append(out, lease.PoolState{Pool: p.Name, Family: name, Use: use}.String())
		}
	}
	return out, nil
}

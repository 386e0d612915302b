// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"github.com/weft-cni/weft/libs/cniplugin"
	"github.com/weft-cni/weft/libs/lease"
)

// gc frees what of this network the runtime does not list.
func gc(ctx context.Context, r *cniplugin.Request[config]) error {
	valid := make([]lease.ID, 0, len(r.Valid))
	for _, v := range r.Valid {
		valid = append(valid, lease.ID{Network: r.Network, ContainerID: v.ContainerID, IfName: v.IfName})
	}
	return numbered(openEngine(r.Config.stateDir).GC(ctx, r.Network, valid))
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/weft-cni/weft/libs/cniplugin"
	"github.com/weft-cni/weft/libs/errcode"
	"github.com/weft-cni/weft/libs/netplan"
)

type gcAttachment = types.GCAttachment

// status says whether an ADD could be served: the kernel answers, and has nftables where the reply path needs it.
func (s sys) status(ctx context.Context, r *cniplugin.Request[config]) error {
	if r.Config.mode == modeOff {
		return nil
	}
	w, err := enterHost()
	if err != nil {
		return errcode.Wrap(errcode.Unavailable, err, "the node's kernel cannot be asked")
	}
	defer func() { _ = w.close() }()
	q := netplan.Query{Rules: true, Nft: r.Config.replyPath != replyNone}
	if _, err := s.wrap("host", w.host).Observe(ctx, q); err != nil {
		return errcode.Wrap(errcode.Unavailable, err, "the node's kernel cannot do what weft-coordinator needs")
	}
	return nil
}

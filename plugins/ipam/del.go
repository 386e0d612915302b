// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"log/slog"

	"github.com/weft-cni/weft/libs/cniplugin"
	"github.com/weft-cni/weft/libs/crashpoint"
)

// del always ends well. The main plugin calls it before it removes the link,
// so an error would keep the link alive, and a store that cannot be written
// does not heal by asking again. The lease that stays names its container, which
// is the durable memory that its release is owed: GC frees it, and so does the
// next DEL or a new sandbox of the same pod.
func del(ctx context.Context, r *cniplugin.Request[config]) error {
	if err := openEngine(r.Config.stateDir).Release(ctx, id(r), began()); err != nil {
		r.Log.Error("release owed, GC will do it", slog.Any("err", numbered(err)))
	}
	crashpoint.Hit("del-before-answer")
	return nil
}

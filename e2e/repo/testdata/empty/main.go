// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Command empty is the frame of a plugin without the plugin: what is measured here, every plugin pays.
package main

import (
	"context"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/weft-cni/weft/libs/cniplugin"
)

type config struct {
	Key string `json:"key"`
}

func main() {
	nothing := func(context.Context, *cniplugin.Request[config]) error { return nil }
	cniplugin.Main(cniplugin.Plugin[config]{
		Name:   "empty",
		About:  "does nothing",
		Config: func(raw []byte) (config, cniplugin.Problems) { return cniplugin.Decode[config](raw, "") },
		Add: func(context.Context, *cniplugin.Request[config]) (*current.Result, error) {
			return &current.Result{}, nil
		},
		Del: nothing, Check: nothing, GC: nothing,
	})
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/weft-cni/weft/libs/cniplugin"
	"github.com/weft-cni/weft/libs/errcode"
	"github.com/weft-cni/weft/libs/netplan"
)

// check computes the layout again and lists every difference to what is there.
func (s sys) check(ctx context.Context, r *cniplugin.Request[config]) error {
	if r.Config.mode == modeOff {
		return nil
	}
	w, err := enter(r.Netns)
	if err != nil {
		return err
	}
	defer func() { _ = w.close() }()
	f, err := survey(r, w)
	if err != nil {
		return err
	}
	l := layoutOf(r.Config, f)
	if len(l.addrs) == 0 {
		return nil
	}
	var diffs []string
	for _, part := range []struct {
		where string
		k     netplan.Kernel
		want  netplan.State
	}{
		{"node", s.wrap("host", w.host), l.shared},
		{"node", s.wrap("host", w.host), l.host},
		{"pod", s.wrap("pod", w.pod), l.pod},
	} {
		have, err := part.k.Observe(ctx, part.want.Query())
		if err != nil {
			return kernelError(err, "in the "+part.where)
		}
		for _, d := range netplan.Verify(part.want, have) {
			diffs = append(diffs, part.where+": "+d)
		}
	}
	if _, err := journalOf(r.Config).Load(keyOf(f.att)); err != nil {
		diffs = append(diffs, fmt.Sprintf("journal: %v", err))
	}
	for _, rival := range f.rivals {
		diffs = append(diffs, fmt.Sprintf("node: %s leads to %s", rival.addr, rival.link.Alias))
	}
	if len(diffs) == 0 {
		return nil
	}
	return errcode.Wrap(errcode.StateDiffers, errors.New(strings.Join(diffs, "; ")),
		fmt.Sprintf("%d differences from what weft-coordinator made, the first: %s", len(diffs), diffs[0]))
}

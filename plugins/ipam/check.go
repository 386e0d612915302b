// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/weft-cni/weft/libs/cniplugin"
	"github.com/weft-cni/weft/libs/errcode"
)

// check compares prevResult with the leases and names every difference.
func check(ctx context.Context, r *cniplugin.Request[config]) error {
	if r.Prev == nil {
		return errcode.New(errcode.InvalidConfig, "prevResult: got nothing, want the result of the ADD to check", "")
	}
	held, err := openEngine(r.Config.stateDir).Held(ctx, id(r))
	if err != nil {
		return numbered(err)
	}
	told := addresses(r.Prev, r.IfName)
	var diffs []string
	var has []netip.Addr
	for _, h := range held {
		has = append(has, h.Key.Addr)
		if !slices.Contains(told, h.Key.Addr) {
			diffs = append(diffs, fmt.Sprintf("lease %s is not in prevResult", h.Key))
		}
	}
	for _, a := range told {
		if ours(r.Config, a) && !slices.Contains(has, a) {
			diffs = append(diffs, fmt.Sprintf("address %s of prevResult is not leased to this attachment", a))
		}
	}
	if len(held) == 0 && len(diffs) == 0 {
		diffs = append(diffs, "this attachment holds no lease")
	}
	if len(diffs) > 0 {
		return errcode.New(errcode.StateDiffers, "leases differ from prevResult: "+strings.Join(diffs, "; "), "")
	}
	return nil
}

// ours says whether a pool of this configuration could have given the address.
func ours(c config, a netip.Addr) bool {
	for _, p := range c.pools {
		if p.IPv4 != nil && p.IPv4.Subnet.Contains(a) || p.IPv6 != nil && p.IPv6.Subnet.Contains(a) {
			return true
		}
	}
	return false
}

// addresses returns those of a result that belong to the interface, or to none.
func addresses(res *current.Result, ifName string) []netip.Addr {
	var out []netip.Addr
	for _, ip := range res.IPs {
		if i := ip.Interface; i != nil && *i >= 0 && *i < len(res.Interfaces) {
			if nic := res.Interfaces[*i]; nic.Sandbox != "" && nic.Name != ifName {
				continue
			}
		}
		if a, ok := netip.AddrFromSlice(ip.Address.IP); ok {
			out = append(out, a.Unmap())
		}
	}
	return out
}

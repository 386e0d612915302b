// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/weft-cni/weft/libs/cniplugin"
	"github.com/weft-cni/weft/libs/crashpoint"
	"github.com/weft-cni/weft/libs/lease"
)

func add(ctx context.Context, r *cniplugin.Request[config]) (*current.Result, error) {
	want, err := wanted(r)
	if err != nil {
		return nil, err
	}
	e := openEngine(r.Config.stateDir)
	g, err := e.Assign(ctx, lease.Request{
		Attachment: attachment(r), Holder: holder(r), Pools: r.Config.pools, Exact: want, Began: began(),
	})
	if err != nil {
		return nil, numbered(err)
	}
	if len(g.Claimed) > 0 {
		r.Undo.Push("give back the addresses", func(ctx context.Context) error { return e.Abandon(ctx, g) })
	}
	crashpoint.Hit("before-answer")
	return result(g, r.Config.dns), nil
}

// wanted returns the addresses asked for: by runtimeConfig, else by args, else
// by CNI_ARGS, which must be ignored when args says something.
func wanted(r *cniplugin.Request[config]) ([]netip.Addr, error) {
	if len(r.Config.exact) > 0 || r.Args.IP == "" {
		return r.Config.exact, nil
	}
	var ps cniplugin.Problems
	out := exact("CNI_ARGS IP", strings.Split(r.Args.IP, ","), r.Config.pools, &ps)
	return out, ps.Err()
}

func attachment(r *cniplugin.Request[config]) lease.Attachment {
	return lease.Attachment{
		ID:         id(r),
		NetnsInode: inode(r.Netns),
		PodUID:     r.Args.PodUID, PodNamespace: r.Args.PodNamespace, PodName: r.Args.PodName,
	}
}

func holder(r *cniplugin.Request[config]) lease.Holder {
	if r.Args.PodName == "" {
		return lease.Holder{Kind: "Container", Name: r.ContainerID}
	}
	return lease.Holder{Kind: "Pod", Namespace: r.Args.PodNamespace, Name: r.Args.PodName, UID: r.Args.PodUID}
}

// inode identifies a network namespace as long as it lives; 0 if there is none.
func inode(path string) uint64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	return st.Ino
}

func result(g lease.Grant, dns types.DNS) *current.Result {
	out := &current.Result{CNIVersion: current.ImplementedSpecVersion, DNS: dns}
	for _, a := range g.Addrs {
		f := g.Pool.IPv4
		if a.Is6() {
			f = g.Pool.IPv6
		}
		ip := &current.IPConfig{Address: ipNet(netip.PrefixFrom(a, f.Subnet.Bits()))}
		if f.Gateway.IsValid() {
			ip.Gateway = f.Gateway.AsSlice()
		}
		out.IPs = append(out.IPs, ip)
		for _, r := range f.Routes {
			route := &types.Route{Dst: ipNet(r.Dst)}
			if r.Via.IsValid() {
				route.GW = r.Via.AsSlice()
			}
			out.Routes = append(out.Routes, route)
		}
	}
	return out
}

func ipNet(p netip.Prefix) net.IPNet {
	return net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())} //nolint:forbidigo // The edge: a CNI result is made of these.
}

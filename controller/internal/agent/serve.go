// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"hash/fnv"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/weft-cni/weft/libs/agentapi"
	"github.com/weft-cni/weft/libs/errcode"
	"github.com/weft-cni/weft/libs/lease"
	"github.com/weft-cni/weft/libs/poolselect"
)

// deliverFor is how long a release may take before it becomes a debt; the
// plugin waits somewhat longer.
const deliverFor = 4 * time.Second

// Allocate implements agentapi.Handler. When the client hangs up, what it was
// to get stays: the lease names its attachment, so that the DEL of that, the
// next sandbox of its pod or the sweep finds it.
func (a *agent) Allocate(ctx context.Context, in agentapi.Allocate) (agentapi.Allocation, error) {
	if err := synced(ctx, "pools", a.pools.done); err != nil {
		return agentapi.Allocation{}, err
	}
	unlock, err := a.locks.lock(ctx, in.ID)
	if err != nil {
		return agentapi.Allocation{}, errcode.Wrap(errcode.TryAgain, err, "another call for the same interface takes too long")
	}
	defer unlock()
	pod, err := a.pods.get(ctx, in.Pod)
	if err != nil {
		return agentapi.Allocation{}, err
	}
	c, err := a.choose(ctx, in, pod)
	if err == nil {
		var g lease.Grant
		if g, err = a.engine.Assign(ctx, c.request); err == nil {
			a.payer.forgive(in.ID, in.Began)
			return allocation(g), nil
		}
		err = numbered(err)
	}
	if pod != nil && !errcode.Has(err, errcode.TryAgain) {
		a.events.refused(pod, in.IfName, errcode.Of(err).Msg, c.table)
	}
	return agentapi.Allocation{}, err
}

// Release implements agentapi.Handler. It is refused only when the disk is.
func (a *agent) Release(ctx context.Context, in agentapi.Release) error {
	a.graves.bury(lease.ID(in.ID), in.Began)
	if a.payer.failing() {
		return a.payer.owe(in)
	}
	ctx, cancel := context.WithTimeout(ctx, deliverFor)
	defer cancel()
	err := a.releaseNow(ctx, in, func() bool { return true })
	if err == nil {
		return nil
	}
	a.log.Warn("a release is owed", slog.String("container", in.ContainerID), slog.String("ifname", in.IfName), slog.Any("err", err))
	return a.payer.owe(in)
}

// releaseNow delivers a release, if it is still wanted when its turn comes.
func (a *agent) releaseNow(ctx context.Context, in agentapi.Release, still func() bool) error {
	unlock, err := a.locks.lock(ctx, in.ID)
	if err != nil {
		return err
	}
	defer unlock()
	if !still() {
		return nil
	}
	return a.engine.Release(ctx, lease.ID(in.ID), in.Began)
}

// Check implements agentapi.Handler.
func (a *agent) Check(ctx context.Context, in agentapi.Check) (agentapi.Held, error) {
	held, err := a.engine.Held(ctx, lease.ID(in.ID))
	if err != nil {
		return agentapi.Held{}, numbered(err)
	}
	out := agentapi.Held{Addrs: []netip.Addr{}}
	for _, h := range held {
		out.Addrs = append(out.Addrs, h.Key.Addr)
	}
	return out, nil
}

// GC implements agentapi.Handler.
func (a *agent) GC(ctx context.Context, in agentapi.GC) error {
	valid := make([]lease.ID, 0, len(in.Valid))
	for _, v := range in.Valid {
		valid = append(valid, lease.ID{Network: in.Network, ContainerID: v.ContainerID, IfName: v.IfName})
	}
	return numbered(a.engine.GC(ctx, in.Network, valid))
}

// Status implements agentapi.Handler, from memory.
func (a *agent) Status(_ context.Context, in agentapi.Status) error {
	switch d, ever := a.cluster.silent(); {
	case !ever:
		return errcode.New(errcode.Unavailable, "weft-agent has not reached the API server yet", "")
	case d > a.config.silence:
		return errcode.Newf(errcode.Unavailable, "the API server has not answered weft-agent for %v", d.Round(time.Second))
	case !a.pools.done():
		return errcode.New(errcode.Unavailable, "weft-agent has not read the pools from the API server yet", "")
	case in.OnExhaustion && dry(a.pools.choices(), in.Pools):
		return errcode.New(errcode.Unavailable, "no pool of this network has a free address", "kubectl get ippools")
	}
	return nil
}

// dry says whether none of the pools that a configuration names, or of the
// default pools, is known to have an address.
func dry(all []poolselect.Pool, named []string) bool {
	return !slices.ContainsFunc(all, func(p poolselect.Pool) bool {
		wanted := len(named) == 0 && p.Default || slices.ContainsFunc(named, func(n string) bool { return matches(n, p.Name) })
		return wanted && p.Invalid == "" && !p.Suspend && !p.Deleting && p.Free != "0"
	})
}

func allocation(g lease.Grant) agentapi.Allocation {
	out := agentapi.Allocation{Pool: g.Pool.Name}
	for _, addr := range g.Addrs {
		f := g.Pool.IPv4
		if addr.Is6() {
			f = g.Pool.IPv6
		}
		out.IPs = append(out.IPs, agentapi.Address{Address: netip.PrefixFrom(addr, f.Subnet.Bits()), Gateway: f.Gateway})
		for _, r := range f.Routes {
			out.Routes = append(out.Routes, agentapi.Route(r))
		}
	}
	return out
}

// locks lets one call at a time change what an attachment has.
type locks struct{ of []chan struct{} }

func newLocks() *locks {
	l := &locks{of: make([]chan struct{}, 256)}
	for i := range l.of {
		l.of[i] = make(chan struct{}, 1)
	}
	return l
}

func (l *locks) lock(ctx context.Context, id agentapi.ID) (func(), error) {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id.Network + "/" + id.ContainerID + "/" + id.IfName))
	c := l.of[h.Sum32()%uint32(len(l.of))] //nolint:gosec // a small number
	select {
	case c <- struct{}{}:
		return func() { <-c }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

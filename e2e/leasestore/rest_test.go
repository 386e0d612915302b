// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package leasestore_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/weft-cni/weft/e2e/api"
	"github.com/weft-cni/weft/e2e/leasestore"
	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
	store "github.com/weft-cni/weft/libs/k8s/leasestore"
	"github.com/weft-cni/weft/libs/lease"
)

// held is who has which address; resting ones are left out.
func held(t testing.TB, leases []v1alpha1.IPLease) map[netip.Addr]string {
	t.Helper()
	out := map[netip.Addr]string{}
	for i := range leases {
		e, err := store.Entry(&leases[i])
		if err != nil {
			t.Fatal(err)
		}
		if e.Until.IsZero() {
			out[e.Key.Addr] = e.Record.Attachment.PodName
		}
	}
	return out
}

// TestRest releases all of a pool with a cooldown, and asks again: on the node
// that released, and on one that only has the hint.
func TestRest(t *testing.T) {
	t.Parallel()
	server := api.Start(t)
	for _, elsewhere := range []bool{false, true} {
		t.Run(fmt.Sprintf("elsewhere=%v", elsewhere), func(t *testing.T) {
			t.Parallel()
			var ahead atomic.Int64
			clock := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
			pool := leasestore.NewPool(t, time.Hour, []string{"10.0.0.0/29"})
			made := clockedNode(t, server, leasestore.Unique("node"), clock)
			for i := range 6 {
				if _, err := made.Add(t.Context(), fmt.Sprint(pool.Name, i), pool); err != nil {
					t.Fatal(err)
				}
			}
			for i := range 6 {
				if err := made.Del(t.Context(), fmt.Sprint(pool.Name, i)); err != nil {
					t.Fatal(err)
				}
			}
			asks := made
			if elsewhere {
				controller, stop := leasestore.Publish(t, server, pool)
				defer stop()
				controller.Resting(t.Context(), 6)
				asks = clockedNode(t, server, leasestore.Unique("node"), clock)
			}
			strict, prefer := pool, pool
			strict.Policy, prefer.Policy = lease.Strict, lease.Prefer
			_, err := asks.Add(t.Context(), pool.Name+"-strict", strict)
			if err == nil || !strings.Contains(err.Error(), "0/6 used, 6 resting") {
				t.Errorf("an ADD while all rest, Strict: %v", err)
			}
			g, err := asks.Add(t.Context(), pool.Name+"-prefer", prefer)
			if err != nil {
				t.Errorf("an ADD while all rest, Prefer: %v", err)
			}
			ahead.Store(int64(time.Hour + time.Minute)) // the controller has not ended the rests
			h, err := asks.Add(t.Context(), pool.Name+"-after", strict)
			if err != nil || h.Addrs[0] == g.Addrs[0] {
				t.Errorf("an ADD after the rest: %v, %v; another has %v", h.Addrs, err, g.Addrs)
			}
		})
	}
}

func clockedNode(t testing.TB, server *rest.Config, name string, now func() time.Time) *leasestore.Node {
	t.Helper()
	s, err := store.New(store.Config{Server: server, Node: name, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return &leasestore.Node{Name: name, Store: s, Engine: &lease.Engine{Store: s, Now: now, Node: name}}
}

// TestHalfADualStack runs out of IPv6: the IPv4 half must not stay.
func TestHalfADualStack(t *testing.T) {
	t.Parallel()
	server := api.Start(t)
	node := leasestore.NewNodes(t, server, 1)[0]
	client := leasestore.Client(t, server)
	pool := leasestore.NewPool(t, time.Minute, []string{"10.0.0.0/24", "fd00::/64"}, "10.0.0.0/24", "fd00::1-fd00::2")
	for i := range 2 {
		if _, err := node.Add(t.Context(), fmt.Sprint(pool.Name, i), pool); err != nil {
			t.Fatal(err)
		}
	}
	_, err := node.Add(t.Context(), pool.Name+"-third", pool)
	if err == nil || !strings.Contains(err.Error(), "IPv6 2/2 used") {
		t.Errorf("an ADD without IPv6: %v", err)
	}
	if left := held(t, leasestore.Leases(t.Context(), t, client, pool.Name)); len(left) != 4 {
		t.Errorf("held are %v, want the 4 of two pods", left)
	}
}

// TestHalfTakenOver fails the second half after somebody else has taken the
// first one over: what is no longer ours is not released.
func TestHalfTakenOver(t *testing.T) {
	t.Parallel()
	server := api.Start(t)
	node := leasestore.NewNodes(t, server, 1)[0]
	pool := leasestore.NewPool(t, time.Minute, []string{"10.0.0.0/24", "fd00::/64"})
	thief := &takeOver{Store: node.Store}
	node.Engine.Store = thief
	if _, err := node.Add(t.Context(), pool.Name+"-loser", pool); !errors.Is(err, errHalf) {
		t.Fatalf("ADD: %v", err)
	}
	got := held(t, leasestore.Leases(t.Context(), t, leasestore.Client(t, server), pool.Name))
	if len(got) != 1 || got[thief.key.Addr] != "thief" {
		t.Errorf("leases: %v, want one of the thief", got)
	}
}

var errHalf = errors.New("no second half")

// takeOver gives the first address to somebody else when the second is wanted.
type takeOver struct {
	*store.Store
	key     lease.Key
	version lease.Version
	record  lease.Record
}

func (s *takeOver) Claim(ctx context.Context, k lease.Key, r lease.Record) (lease.Version, error) {
	if s.version == "" {
		v, err := s.Store.Claim(ctx, k, r)
		s.key, s.version, s.record = k, v, r
		return v, err
	}
	s.record.Attachment.PodName, s.record.Attachment.ContainerID = "thief", "c-thief"
	if _, err := s.Swap(ctx, s.key, s.version, s.record); err != nil {
		return "", err
	}
	return "", errHalf
}

// TestAnnotatedLease is released though somebody has written on it.
func TestAnnotatedLease(t *testing.T) {
	t.Parallel()
	server := api.Start(t)
	node := leasestore.NewNodes(t, server, 1)[0]
	client := leasestore.Client(t, server)
	pool := leasestore.NewPool(t, 0, []string{"10.0.0.0/24"})
	g, err := node.Add(t.Context(), pool.Name, pool)
	if err != nil {
		t.Fatal(err)
	}
	name := lease.NewKey(pool.Domain, g.Addrs[0]).String()
	if err := client.Patch(types.MergePatchType).Resource("ipleases").Name(name).Body([]byte(`{"metadata":{"annotations":{"note":"mine"}}}`)).Do(t.Context()).Error(); err != nil {
		t.Fatal(err)
	}
	if err := node.Del(t.Context(), pool.Name); err != nil {
		t.Fatal(err)
	}
	if left := leasestore.Leases(t.Context(), t, client, pool.Name); len(left) != 0 {
		t.Errorf("it is still there: %v", held(t, left))
	}
}

// TestLateDelete releases a lease that went to a new sandbox of the same pod.
func TestLateDelete(t *testing.T) {
	t.Parallel()
	server := api.Start(t)
	node := leasestore.NewNodes(t, server, 1)[0]
	pool := leasestore.NewPool(t, time.Minute, []string{"10.0.0.0/24"})
	first := leasestore.Request(pool.Name, pool)
	g1, err := node.Engine.Assign(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	second := first
	second.Attachment.ContainerID = "c-new"
	g2, err := node.Engine.Assign(t.Context(), second)
	if err != nil || g2.Addrs[0] != g1.Addrs[0] {
		t.Fatalf("the new sandbox got %v, %v, want %v", g2.Addrs, err, g1.Addrs)
	}
	if err := node.Engine.Release(t.Context(), first.Attachment.ID, 0); err != nil {
		t.Fatal(err)
	}
	leases := leasestore.Leases(t.Context(), t, leasestore.Client(t, server), pool.Name)
	if got := held(t, leases); len(got) != 1 {
		t.Errorf("leases after the old sandbox's DEL: %v", got)
	}
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package leasestore_test

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-cni/weft/e2e/api"
	"github.com/weft-cni/weft/e2e/leasestore"
	"github.com/weft-cni/weft/libs/lease"
)

// TestRestart makes a node's store anew: it knows what the node has.
func TestRestart(t *testing.T) {
	t.Parallel()
	server := api.Start(t)
	name := leasestore.Unique("node")
	pool := leasestore.NewPool(t, time.Minute, []string{"10.0.0.0/24", "fd00::/64"})
	before, err := leasestore.NewNode(t, server, name).Add(t.Context(), pool.Name, pool)
	if err != nil {
		t.Fatal(err)
	}
	again := leasestore.NewNode(t, server, name)
	after, err := again.Add(t.Context(), pool.Name, pool)
	if err != nil || len(after.Claimed) > 0 {
		t.Fatalf("ADD of what the pod has: %+v, %v", after.Claimed, err)
	}
	if diff := cmp.Diff(fmt.Sprint(before.Addrs), fmt.Sprint(after.Addrs)); diff != "" {
		t.Errorf("the addresses changed (-before +after):\n%s", diff)
	}
	if err := again.Del(t.Context(), pool.Name); err != nil {
		t.Fatal(err)
	}
	if left := held(t, leasestore.Leases(t.Context(), t, leasestore.Client(t, server), pool.Name)); len(left) > 0 {
		t.Errorf("after DEL: %v", left)
	}
}

// TestGCIsOfTheNode collects on a node that has nothing valid: the leases of
// another node on the same network stay.
func TestGCIsOfTheNode(t *testing.T) {
	t.Parallel()
	server := api.Start(t)
	pool := leasestore.NewPool(t, time.Minute, []string{"10.0.0.0/24"})
	mine, other := leasestore.NewNode(t, server, leasestore.Unique("node")), leasestore.NewNode(t, server, leasestore.Unique("node"))
	for i, n := range []*leasestore.Node{mine, other} {
		if _, err := n.Add(t.Context(), fmt.Sprint(pool.Name, i), pool); err != nil {
			t.Fatal(err)
		}
	}
	if err := mine.Engine.GC(t.Context(), "lan", nil); err != nil {
		t.Fatal(err)
	}
	got := held(t, leasestore.Leases(t.Context(), t, leasestore.Client(t, server), pool.Name))
	if len(got) != 1 {
		t.Errorf("leases after the GC of one of two nodes: %v", got)
	}
	for _, pod := range got {
		if pod != pool.Name+"1" {
			t.Errorf("the lease of %s is left, want that of the other node", pod)
		}
	}
}

// TestWithoutController fills a pool of which there is no hint.
func TestWithoutController(t *testing.T) {
	t.Parallel()
	server := api.Start(t)
	pool := leasestore.NewPool(t, 0, []string{"10.0.0.0/24"}, "10.0.0.1-10.0.0.20")
	nodes := []*leasestore.Node{leasestore.NewNode(t, server, leasestore.Unique("node")), leasestore.NewNode(t, server, leasestore.Unique("node"))}
	got, refused := addAll(t, nodes, pool, func(int) int { return 10 }, 2)
	if len(got) != 20 || len(refused) != 0 {
		t.Errorf("%d of 20 addresses were given; %v", len(got), refused)
	}
	for _, n := range nodes {
		_, err := n.Add(t.Context(), pool.Name+"-one-more", pool)
		if exhausted := (*lease.ExhaustedError)(nil); !errors.As(err, &exhausted) {
			t.Errorf("an ADD on a full pool: %v", err)
		}
	}
}

// TestOverlappingPools lets two pools of one domain share all their addresses.
func TestOverlappingPools(t *testing.T) {
	t.Parallel()
	server := api.Start(t)
	one := leasestore.NewPool(t, 0, []string{"10.0.0.0/24"}, "10.0.0.1-10.0.0.40")
	two := one
	two.Name = leasestore.Unique("pool")
	var mu sync.Mutex
	given := map[netip.Addr]string{}
	var wg sync.WaitGroup
	for _, pool := range []lease.Pool{one, two} {
		node := leasestore.NewNode(t, server, leasestore.Unique("node"))
		wg.Go(func() {
			for i := range 20 {
				g, err := node.Add(t.Context(), fmt.Sprint(pool.Name, i), pool)
				if err != nil {
					t.Error(err)
					continue
				}
				mu.Lock()
				if other := given[g.Addrs[0]]; other != "" {
					t.Errorf("%s was given by %s and by %s", g.Addrs[0], pool.Name, other)
				}
				given[g.Addrs[0]] = pool.Name
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(given) != 40 {
		t.Errorf("%d of 40 addresses were given", len(given))
	}
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package leasestore_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-cni/weft/e2e/api"
	"github.com/weft-cni/weft/e2e/leasestore"
	"github.com/weft-cni/weft/libs/lease"
)

// The tests of this file count what the server was asked by everybody, so they
// run alone, before those that are parallel.

// TestOneRequestPerAddress adds and removes pods one after the other.
func TestOneRequestPerAddress(t *testing.T) {
	server := api.Start(t)
	const pods = 50
	for _, c := range []struct {
		name     string
		cooldown time.Duration
		subnets  []string
		add, del leasestore.Requests
	}{
		{
			name: "IPv4", subnets: []string{"10.0.0.0/16"},
			add: leasestore.Requests{"POST ipleases": pods}, del: leasestore.Requests{"DELETE ipleases": pods},
		},
		{
			name: "IPv4 with a cooldown", cooldown: time.Minute, subnets: []string{"10.0.0.0/16"},
			add: leasestore.Requests{"POST ipleases": pods}, del: leasestore.Requests{"DELETE ipleases": pods},
		},
		{
			name: "both families with a cooldown", cooldown: time.Minute, subnets: []string{"10.0.0.0/16", "fd00::/64"},
			add: leasestore.Requests{"POST ipleases": 2 * pods}, del: leasestore.Requests{"DELETE ipleases": 2 * pods},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			pool := leasestore.NewPool(t, c.cooldown, c.subnets)
			node := leasestore.NewNodes(t, server, 1)[0]
			_, stop := leasestore.Publish(t, server, pool, node.Name)
			defer stop()
			warm(t, node, pool)
			before := leasestore.CountRequests(t, server)
			for i := range pods {
				if _, err := node.Add(t.Context(), fmt.Sprint(pool.Name, "-pod-", i), pool); err != nil {
					t.Fatal(err)
				}
			}
			added := leasestore.CountRequests(t, server)
			if diff := cmp.Diff(c.add, added.Since(before)); diff != "" {
				t.Errorf("requests of %d ADDs (-want +got):\n%s", pods, diff)
			}
			for i := range pods { // what a pod has already costs nothing
				if _, err := node.Add(t.Context(), fmt.Sprint(pool.Name, "-pod-", i), pool); err != nil {
					t.Fatal(err)
				}
			}
			again := leasestore.CountRequests(t, server)
			if diff := cmp.Diff(leasestore.Requests{}, again.Since(added)); diff != "" {
				t.Errorf("requests of %d repeated ADDs (-want +got):\n%s", pods, diff)
			}
			for i := range pods {
				if err := node.Del(t.Context(), fmt.Sprint(pool.Name, "-pod-", i)); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(c.del, leasestore.CountRequests(t, server).Since(again)); diff != "" {
				t.Errorf("requests of %d DELs (-want +got):\n%s", pods, diff)
			}
		})
	}
}

// warm lets a node read the pool's hint, as its first ADD does.
func warm(t testing.TB, node *leasestore.Node, pool lease.Pool) {
	t.Helper()
	pod := pool.Name + "-warm"
	if _, err := node.Add(t.Context(), pod, pool); err != nil {
		t.Fatal(err)
	}
	if err := node.Del(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
}

// TestFillToTheLast lets 100 nodes fill a pool of 1,000 exactly.
func TestFillToTheLast(t *testing.T) {
	server := api.Start(t)
	const count = 100
	for _, c := range []struct {
		name     string
		parallel int             // ADDs of one node at a time
		unplaced bool            // the hint does not know the nodes
		each     func(i int) int // ADDs of node i
		most     float64         // requests per ADD
	}{
		{name: "evenly, one ADD at a time on each node", parallel: 1, each: func(int) int { return 10 }, most: 1.5},
		{name: "evenly, ten at a time on each node", parallel: 10, each: func(int) int { return 10 }, most: 1.5},
		// 100 nodes ask for 1 to 19: the shares do not fit.
		{name: "unevenly, one at a time", parallel: 1, each: func(i int) int { return i%19 + 1 + unevenRest(i) }, most: 2.5},
		{name: "evenly, nodes without a place", parallel: 1, unplaced: true, each: func(int) int { return 10 }, most: 3.5},
	} {
		t.Run(c.name, func(t *testing.T) {
			pool := leasestore.NewPool(t, time.Minute, []string{"10.0.0.0/22"}, "10.0.0.1-10.0.3.232")
			if got := pool.IPv4.Set.Size(); got != 1000 {
				t.Fatalf("the pool has %d addresses", got)
			}
			nodes := leasestore.NewNodes(t, server, count)
			names := leasestore.Names(nodes)
			if c.unplaced {
				names = nil
			}
			_, stop := leasestore.Publish(t, server, pool, names...)
			defer stop()
			before := leasestore.CountRequests(t, server)
			began := time.Now()
			got, refused := addAll(t, nodes, pool, c.each, c.parallel)
			took := time.Since(began)
			requests := leasestore.CountRequests(t, server).Since(before)
			for err := range refused {
				t.Errorf("refused: %v", err)
			}
			if len(got) != 1000 {
				t.Errorf("%d addresses were given, want 1000", len(got))
			}
			per := float64(requests.Sum()) / 1000
			t.Logf("%d ADDs in %v (%.0f/s), %.3f requests per ADD: %v", len(got), took.Round(time.Millisecond), 1000/took.Seconds(), per, requests)
			if per > c.most {
				t.Errorf("%.3f requests per ADD, want at most %v", per, c.most)
			}
		})
	}
}

// unevenRest makes 100 nodes with i%19+1 ADDs each want 1,000.
func unevenRest(i int) int {
	sum := 0
	for j := range 100 {
		sum += j%19 + 1
	}
	if i == 99 {
		return 1000 - sum
	}
	return 0
}

// addAll runs ADDs on all nodes at once. It returns who got which address, and
// the refusals by text; an address given twice fails the test.
func addAll(t *testing.T, nodes []*leasestore.Node, pool lease.Pool, each func(int) int, parallel int) (map[netip.Addr]string, map[string]int) {
	t.Helper()
	var mu sync.Mutex
	got, refused := map[netip.Addr]string{}, map[string]int{}
	var wg sync.WaitGroup
	for i, n := range nodes {
		jobs := make(chan string, each(i))
		for j := range each(i) {
			jobs <- fmt.Sprintf("%s-%s-pod-%d", pool.Name, n.Name, j)
		}
		close(jobs)
		for range parallel {
			wg.Go(func() {
				for pod := range jobs {
					g, err := n.Add(t.Context(), pod, pool)
					mu.Lock()
					if err != nil {
						refused[err.Error()]++
					}
					for _, a := range g.Addrs {
						if other := got[a]; other != "" {
							t.Errorf("%s was given to %s and to %s", a, other, pod)
						}
						got[a] = pod
					}
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	return got, refused
}

// TestFewForMany lets 100 nodes want 20 addresses.
func TestFewForMany(t *testing.T) {
	server := api.Start(t)
	pool := leasestore.NewPool(t, 0, []string{"10.0.0.0/24"}, "10.0.0.1-10.0.0.20")
	nodes := leasestore.NewNodes(t, server, 100)
	controller, stop := leasestore.Publish(t, server, pool, leasestore.Names(nodes)...)
	defer stop()
	before := leasestore.CountRequests(t, server)
	began := time.Now()
	got, refused := addAll(t, nodes, pool, func(int) int { return 1 }, 1)
	took := time.Since(began)
	sum := 0
	for text, n := range refused {
		sum += n
		if want := "pool " + pool.Name + " IPv4 20/20 used"; !strings.Contains(text, want) {
			t.Errorf("refused %d times with %q, want %q in it", n, text, want)
		}
	}
	if len(got) != 20 || sum != 80 {
		t.Errorf("%d got an address and %d were refused, want 20 and 80", len(got), sum)
	}
	requests := leasestore.CountRequests(t, server).Since(before)
	t.Logf("20 of 100 done, %d refused, after %v, %.2f requests per ADD: %v", sum, took.Round(time.Millisecond), float64(requests.Sum())/100, requests)
	if took > 5*time.Second {
		t.Errorf("refused after %v, want it at once", took)
	}

	controller.Free(t.Context(), 0)
	for round, what := range []string{"that is full, as nodes have yet to read", "that nodes know to be full"} {
		before, began = leasestore.CountRequests(t, server), time.Now()
		for i, n := range nodes {
			_, err := n.Add(t.Context(), fmt.Sprint(pool.Name, "-late-", i), pool)
			if exhausted := (*lease.ExhaustedError)(nil); !errors.As(err, &exhausted) {
				t.Fatalf("an ADD on a full pool: %v", err)
			}
		}
		took, requests = time.Since(began), leasestore.CountRequests(t, server).Since(before)
		t.Logf("100 refusals of a pool %s: %v each, %v", what, took/100, requests)
		if round == 1 && requests["POST ipleases"] > 0 {
			t.Errorf("a pool known to be full was asked: %v", requests)
		}
	}

	freed := netip.Addr{}
	for a, pod := range got {
		freed = a
		for _, n := range nodes {
			if strings.Contains(pod, n.Name+"-pod") {
				if err := n.Del(t.Context(), pod); err != nil {
					t.Fatal(err)
				}
			}
		}
		break
	}
	controller.Free(t.Context(), 1)
	g, err := nodes[99].Add(t.Context(), pool.Name+"-next", pool)
	if err != nil || g.Addrs[0] != freed {
		t.Errorf("the ADD after a release got %v, %v, want %s", g.Addrs, err, freed)
	}
}

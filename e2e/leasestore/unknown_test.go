// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package leasestore_test

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-cni/weft/e2e/api"
	"github.com/weft-cni/weft/e2e/leasestore"
)

// TestUnknownOutcomes adds and removes pods over connections that are cut in
// the middle of requests. Afterwards every address is had by the one pod that
// was told so, and nothing else is left.
func TestUnknownOutcomes(t *testing.T) {
	t.Parallel()
	server := api.Start(t)
	bad, via := newProxy(t, server)
	const workers, each = 4, 45
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	node := clockedNode(t, via, leasestore.Unique("node"), now)
	s := node.Store
	if err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	pool := leasestore.NewPool(t, time.Minute, []string{"10.0.0.0/22"})

	var mu sync.Mutex
	has, failed, owed := map[string]netip.Addr{}, 0, map[string]bool{}
	// First the server does what it is asked, if it is quick, and nobody is told.
	bad.always(loseReply)
	client := leasestore.Client(t, server)
	strays := func() int { return len(held(t, leasestore.Leases(t.Context(), t, client, pool.Name))) - len(has) }
	for i := 0; i < 40 && strays() < 3; i++ {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		pod := fmt.Sprint(pool.Name, "-lost-", i)
		if g, err := node.Add(ctx, pod, pool); err == nil {
			has[pod] = g.Addrs[0]
		}
		cancel()
	}
	bad.always(pass)
	bad.misbehave(0.3)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				pod := fmt.Sprintf("%s-%d-%d", pool.Name, w, i)
				ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
				g, err := node.Add(ctx, pod, pool)
				cancel()
				mu.Lock()
				if err != nil {
					failed++
				} else {
					has[pod] = g.Addrs[0]
				}
				mu.Unlock()
				if i%3 > 0 {
					continue
				}
				ctx, cancel = context.WithTimeout(t.Context(), 500*time.Millisecond)
				err = node.Del(ctx, pod)
				cancel()
				mu.Lock()
				delete(has, pod)
				owed[pod] = err != nil
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	bad.misbehave(0)
	how := bad.counts()
	t.Logf("%d of %d ADDs failed; passed %d, reply lost %d, cut after %d, cut before %d, late %d", failed, workers*each,
		how[pass], how[loseReply], how[cutAfter], how[cutBefore], how[late])
	pause(t.Context(), 2*time.Second) // what is late has come

	debts := 0
	for pod, debt := range owed {
		if debt { // the runtime, or the agent, tries again
			debts++
			if err := node.Del(t.Context(), pod); err != nil {
				t.Errorf("DEL of %s, again: %v", pod, err)
			}
		}
	}
	stray := strays()
	left, err := s.Settle(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ahead.Store(int64(2 * time.Minute)) // the server would have done by now what it was asked
	again, err := s.Settle(t.Context())
	t.Logf("%d DELs were owed; %d leases were nobody's before Settle; then %d keys were in doubt, later %d", debts, stray, left, again)
	if err != nil || again != 0 {
		t.Errorf("%d keys are still in doubt, %v", again, err)
	}
	if left == 0 {
		t.Error("no claim was in doubt: the test has shown nothing")
	}

	byAddr := map[netip.Addr]string{}
	for pod, a := range has {
		if other := byAddr[a]; other != "" {
			t.Errorf("%s was given to %s and to %s", a, pod, other)
		}
		byAddr[a] = pod
	}
	after := held(t, leasestore.Leases(t.Context(), t, client, pool.Name))
	for a, pod := range after {
		if has[pod] != a {
			t.Errorf("%s is held by %s, which was never told so", a, pod)
		}
	}
	for pod, a := range has {
		if after[a] != pod {
			t.Errorf("%s has %s, and the lease names %q", pod, a, after[a])
		}
	}
}

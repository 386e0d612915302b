// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package storetest is the conformance suite of lease.Store.
//
// Job: one suite that every store passes, so that the engine may trust them
// alike: create-if-absent, compare-and-swap, release by version, rest, scan,
// cancellation, restart, concurrency, and the side interfaces that the store has.
//
// Non-goals: speed, and what only one store does (its file, its lock).
//
// Failure model: a violation fails the test that found it, with the operation.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-cni/weft/libs/lease"
)

// Clock is a clock that tests move.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that stands still.
func NewClock() *Clock { return &Clock{now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)} }

// Now tells the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Open opens a store of its own for the test, which takes its time from the
// clock. reopen returns the same store as a new process would see it, or nil
// if the store does not outlive a process.
type Open func(t *testing.T, now func() time.Time) (s lease.Store, reopen func() lease.Store)

// Run runs the suite.
func Run(t *testing.T, open Open) {
	t.Helper()
	for name, test := range map[string]func(*suite){
		"Claim":         (*suite).claim,
		"Swap":          (*suite).swap,
		"Release":       (*suite).release,
		"Rest":          (*suite).rest,
		"Versions":      (*suite).versions,
		"Scan":          (*suite).scan,
		"Cancelled":     (*suite).cancelled,
		"Restart":       (*suite).restart,
		"Contention":    (*suite).contention,
		"SwapRace":      (*suite).swapRace,
		"Choose":        (*suite).choose,
		"Graveyard":     (*suite).graveyard,
		"Transaction":   (*suite).transaction,
		"Linearizable":  (*suite).linearizable,
		"ReleaseOfGone": (*suite).releaseOfGone,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := &suite{T: t, clock: NewClock(), ctx: t.Context()}
			x.store, x.reopen = open(t, x.clock.Now)
			test(x)
		})
	}
}

// suite is one test with a store of its own.
type suite struct {
	*testing.T
	ctx    context.Context //nolint:containedctx // It is the test's.
	clock  *Clock
	store  lease.Store
	reopen func() lease.Store
}

// Key returns the key of an address in the default domain.
func Key(a string) lease.Key { return lease.NewKey("", netip.MustParseAddr(a)) }

// Record returns a record that shows in every field.
func Record(container string) lease.Record {
	return lease.Record{
		Pool: "blue", Rest: time.Minute,
		Holder: lease.Holder{Kind: "Pod", Namespace: "ns", Name: "pod-" + container, UID: "uid-" + container},
		Attachment: lease.Attachment{
			ID:         lease.ID{Network: "lan", ContainerID: container, IfName: "eth0"},
			NetnsInode: 4026531992, PodNamespace: "ns", PodName: "pod-" + container, PodUID: "uid-" + container,
			Node: "n1", MAC: "02:00:00:00:00:01", Since: time.Date(2026, 11, 22, 11, 0, 0, 5_000, time.UTC),
		},
		BootID: "boot",
	}
}

func (x *suite) mustClaim(k lease.Key, container string) lease.Version {
	x.Helper()
	v, err := x.store.Claim(x.ctx, k, Record(container))
	if err != nil {
		x.Fatalf("claim %s: %v", k, err)
	}
	return v
}

func (x *suite) mustRelease(k lease.Key, v lease.Version, rest time.Duration) {
	x.Helper()
	if err := x.store.Release(x.ctx, k, v, rest); err != nil {
		x.Fatalf("release %s: %v", k, err)
	}
}

// holds checks who holds k: nobody if container is empty.
func (x *suite) holds(s lease.Store, k lease.Key, container string) {
	x.Helper()
	r, _, err := s.Get(x.ctx, k)
	if container == "" {
		if !errors.Is(err, lease.ErrAbsent) {
			x.Errorf("get %s: %v and %v, want ErrAbsent", k, r.Attachment.ContainerID, err)
		}
		return
	}
	if err != nil {
		x.Fatalf("get %s: %v", k, err)
	}
	if diff := cmp.Diff(Record(container), r); diff != "" {
		x.Errorf("record of %s (-want +got):\n%s", k, diff)
	}
}

func (x *suite) claim() {
	for _, a := range []string{"10.0.0.1", "fd00::1"} {
		x.holds(x.store, Key(a), "")
		x.mustClaim(Key(a), "a")
		x.holds(x.store, Key(a), "a")
		if _, err := x.store.Claim(x.ctx, Key(a), Record("b")); !errors.Is(err, lease.ErrTaken) {
			x.Errorf("a second claim of %s: %v, want ErrTaken", a, err)
		}
		x.holds(x.store, Key(a), "a")
	}
	other := lease.NewKey("other", netip.MustParseAddr("10.0.0.1"))
	x.mustClaim(other, "c")
	x.holds(x.store, Key("10.0.0.1"), "a")
}

func (x *suite) swap() {
	k := Key("10.0.0.1")
	if _, err := x.store.Swap(x.ctx, k, "1", Record("a")); !errors.Is(err, lease.ErrStale) {
		x.Errorf("swap of nothing: %v, want ErrStale", err)
	}
	v1 := x.mustClaim(k, "a")
	v2, err := x.store.Swap(x.ctx, k, v1, Record("b"))
	if err != nil || v2 == v1 {
		x.Fatalf("swap: version %q after %q, %v", v2, v1, err)
	}
	x.holds(x.store, k, "b")
	if _, err := x.store.Swap(x.ctx, k, v1, Record("c")); !errors.Is(err, lease.ErrStale) {
		x.Errorf("swap of an old version: %v, want ErrStale", err)
	}
	x.holds(x.store, k, "b")
	x.mustRelease(k, v1, 0)
	x.holds(x.store, k, "b")
}

func (x *suite) release() {
	k := Key("fd00::1")
	v := x.mustClaim(k, "a")
	x.mustRelease(k, v, 0)
	x.holds(x.store, k, "")
	x.mustRelease(k, v, 0)
	w := x.mustClaim(k, "b")
	x.mustRelease(k, v, 0)
	x.holds(x.store, k, "b")
	x.mustRelease(k, w, time.Minute)
	x.holds(x.store, k, "")
}

// releaseOfGone repeats a release whose first run already put the address to rest: it must not rest anew.
func (x *suite) releaseOfGone() {
	k := Key("10.0.0.1")
	v := x.mustClaim(k, "a")
	x.mustRelease(k, v, time.Minute)
	x.clock.Advance(50 * time.Second)
	x.mustRelease(k, v, time.Minute)
	x.clock.Advance(11 * time.Second)
	x.mustClaim(k, "b")
}

func (x *suite) rest() {
	k := Key("10.0.0.1")
	v := x.mustClaim(k, "a")
	x.mustRelease(k, v, time.Minute)
	x.clock.Advance(59 * time.Second)
	if _, err := x.store.Claim(x.ctx, k, Record("b")); !errors.Is(err, lease.ErrTaken) {
		x.Fatalf("claim of a resting address: %v, want ErrTaken", err)
	}
	if _, err := x.store.Swap(x.ctx, k, v, Record("b")); !errors.Is(err, lease.ErrStale) {
		x.Fatalf("swap of a resting address: %v, want ErrStale", err)
	}
	x.clock.Advance(time.Second)
	x.mustClaim(k, "b")
	x.holds(x.store, k, "b")
}

func (x *suite) versions() {
	seen := map[lease.Version]bool{}
	k := Key("10.0.0.1")
	fresh := func(v lease.Version) {
		x.Helper()
		if v == "" || seen[v] {
			x.Fatalf("version %q was given before", v)
		}
		seen[v] = true
	}
	for i := range 5 {
		v := x.mustClaim(k, "a")
		fresh(v)
		v, err := x.store.Swap(x.ctx, k, v, Record("b"))
		if err != nil {
			x.Fatal(err)
		}
		fresh(v)
		if _, got, _ := x.store.Get(x.ctx, k); got != v {
			x.Fatalf("get has version %q, swap gave %q", got, v)
		}
		x.mustRelease(k, v, time.Duration(i%2)*time.Second)
		x.clock.Advance(time.Minute)
	}
}

func (x *suite) scan() {
	var want []lease.Entry
	for _, a := range []string{"10.0.0.2", "10.0.0.10", "10.0.1.1", "fd00::2", "fd00::10"} {
		r := Record(a)
		r.Attachment.Network = map[bool]string{true: "lan", false: "dmz"}[a < "10.0.1"]
		k := Key(a)
		v, err := x.store.Claim(x.ctx, k, r)
		if err != nil {
			x.Fatal(err)
		}
		want = append(want, lease.Entry{Key: k, Record: r, Version: v})
	}
	resting := Key("10.0.0.5")
	v := x.mustClaim(resting, "rests")
	x.mustRelease(resting, v, time.Minute)

	x.selects(lease.Filter{}, want...)
	x.selects(lease.Filter{Domain: "other"})
	x.selects(lease.Filter{Pool: "blue", Node: "n1"}, want...)
	x.selects(lease.Filter{Pool: "green"})
	x.selects(lease.Filter{OtherBoot: "boot"})
	x.selects(lease.Filter{OtherBoot: "boot-2"}, want...)
	x.selects(lease.Filter{Network: "dmz"}, want[2:]...)
	x.selects(lease.Filter{Network: "lan", ContainerID: "10.0.0.2", IfName: "eth0"}, want[0])
	x.selects(lease.Filter{Network: "lan", ContainerID: "10.0.0.1", IfName: "eth0"})
	x.selects(lease.Filter{Network: "dmz", PodUID: "uid-fd00::2", IfName: "eth0"}, want[3])
	x.selects(lease.Filter{Network: "lan", ContainerID: "rests", IfName: "eth0"})

	got := x.collect(lease.Filter{Resting: true, ContainerID: "rests"})
	if len(got) != 1 || !got[0].Until.Equal(x.clock.Now().Add(time.Minute)) || got[0].Record.Attachment.ContainerID != "rests" {
		x.Errorf("scan of resting addresses: %+v", got)
	}
	for _, err := range x.store.Scan(x.ctx, lease.Filter{}) {
		if err != nil {
			x.Fatal(err)
		}
		break // a scan may be left at any time
	}
	x.mustClaim(Key("10.0.0.77"), "after")
}

func (x *suite) selects(f lease.Filter, want ...lease.Entry) {
	x.Helper()
	byKey := func(a, b netip.Addr) bool { return a == b }
	if diff := cmp.Diff(want, x.collect(f), cmp.Comparer(byKey)); diff != "" {
		x.Errorf("scan %+v (-want +got):\n%s", f, diff)
	}
}

func (x *suite) collect(f lease.Filter) (out []lease.Entry) {
	x.Helper()
	for e, err := range x.store.Scan(x.ctx, f) {
		if err != nil {
			x.Fatalf("scan %+v: %v", f, err)
		}
		out = append(out, e)
	}
	return out
}

func (x *suite) cancelled() {
	k := Key("10.0.0.1")
	v := x.mustClaim(k, "a")
	ctx, cancel := context.WithCancel(x.ctx)
	cancel()
	refused := func(what string, err error) {
		x.Helper()
		if !errors.Is(err, context.Canceled) {
			x.Errorf("%s with a done context: %v", what, err)
		}
	}
	_, err := x.store.Claim(ctx, Key("10.0.0.2"), Record("b"))
	refused("claim", err)
	_, err = x.store.Swap(ctx, k, v, Record("b"))
	refused("swap", err)
	refused("release", x.store.Release(ctx, k, v, 0))
	_, _, err = x.store.Get(ctx, k)
	refused("get", err)
	for _, err = range x.store.Scan(ctx, lease.Filter{}) {
		if err != nil {
			break
		}
	}
	refused("scan", err)
	x.holds(x.store, k, "a")
	x.holds(x.store, Key("10.0.0.2"), "")
}

func (x *suite) restart() {
	if x.reopen == nil {
		x.Skip("this store does not outlive its process")
	}
	held, rests := Key("10.0.0.1"), Key("10.0.0.2")
	v := x.mustClaim(held, "a")
	w := x.mustClaim(rests, "b")
	x.mustRelease(rests, w, time.Minute)
	again := x.reopen()
	x.holds(again, held, "a")
	if _, err := again.Claim(x.ctx, rests, Record("c")); !errors.Is(err, lease.ErrTaken) {
		x.Errorf("a rest did not survive: %v", err)
	}
	if err := again.Release(x.ctx, held, v, 0); err != nil {
		x.Fatal(err)
	}
	x.store = x.reopen()
	if u := x.mustClaim(held, "d"); u == v || u == w {
		x.Errorf("version %q was given before the restart", u)
	}
}

// contention lets many claim few: each address goes to exactly one.
func (x *suite) contention() {
	const addresses, clients = 4, 8
	var mu sync.Mutex
	won := map[lease.Key][]string{}
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for i := range addresses {
				k := Key(fmt.Sprintf("10.0.0.%d", (i+c)%addresses+1))
				name := fmt.Sprintf("c%d", c)
				_, err := x.store.Claim(x.ctx, k, Record(name))
				mu.Lock()
				if err == nil {
					won[k] = append(won[k], name)
				} else if !errors.Is(err, lease.ErrTaken) {
					x.Errorf("claim %s: %v", k, err)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for i := range addresses {
		k := Key(fmt.Sprintf("10.0.0.%d", i+1))
		if len(won[k]) != 1 {
			x.Fatalf("%s was won by %v", k, won[k])
		}
		x.holds(x.store, k, won[k][0])
	}
}

// swapRace lets many swap one version: one succeeds.
func (x *suite) swapRace() {
	k := Key("10.0.0.1")
	v := x.mustClaim(k, "start")
	var mu sync.Mutex
	var won []string
	var wg sync.WaitGroup
	for c := range 8 {
		wg.Go(func() {
			name := fmt.Sprintf("c%d", c)
			_, err := x.store.Swap(x.ctx, k, v, Record(name))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won = append(won, name)
			} else if !errors.Is(err, lease.ErrStale) {
				x.Errorf("swap: %v", err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		x.Fatalf("one version was swapped by %v", won)
	}
	x.holds(x.store, k, won[0])
}

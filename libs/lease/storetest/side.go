// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-cni/weft/libs/ipset"
	"github.com/weft-cni/weft/libs/lease"
)

func (x *suite) transaction() {
	s, ok := x.store.(lease.Transactor)
	if !ok {
		x.Skip("this store has no transactions")
	}
	k1, k2 := Key("10.0.0.1"), Key("10.0.0.2")
	boom := errors.New("boom")
	err := s.Update(x.ctx, func(t lease.Store) error {
		if _, err := t.Claim(x.ctx, k1, Record("a")); err != nil {
			return err
		}
		x.holds(t, k1, "a")
		return boom
	})
	if !errors.Is(err, boom) {
		x.Fatalf("update: %v, want what its function returned", err)
	}
	x.holds(x.store, k1, "")
	ctx, cancel := context.WithCancel(x.ctx)
	err = s.Update(ctx, func(t lease.Store) error {
		_, err := t.Claim(ctx, k1, Record("a"))
		cancel()
		return err
	})
	if !errors.Is(err, context.Canceled) {
		x.Errorf("update whose context was done before its end: %v", err)
	}
	x.holds(x.store, k1, "")
	err = s.Update(x.ctx, func(t lease.Store) error {
		_, err1 := t.Claim(x.ctx, k1, Record("a"))
		_, err2 := t.Claim(x.ctx, k2, Record("b"))
		return errors.Join(err1, err2)
	})
	if err != nil {
		x.Fatal(err)
	}
	if err := s.View(x.ctx, func(t lease.Store) error {
		x.holds(t, k1, "a")
		x.holds(t, k2, "b")
		return nil
	}); err != nil {
		x.Fatal(err)
	}
}

func (x *suite) choose() {
	c, ok := x.store.(lease.Chooser)
	if !ok {
		x.Skip("this store does not choose")
	}
	set := x.set("10.0.0.1-10.0.0.3", "10.0.0.5")
	ring := lease.Want{Domain: lease.DefaultDomain, Set: set, Ring: "blue/IPv4"}
	versions := map[string]lease.Version{}
	take := func(w lease.Want, want string) {
		x.Helper()
		a, err := c.Choose(x.ctx, w)
		if err != nil || a.String() != want {
			x.Fatalf("choose gave %v, %v, want %s", a, err, want)
		}
		versions[want] = x.mustClaim(Key(want), want)
	}
	take(ring, "10.0.0.1")
	take(ring, "10.0.0.2")
	x.mustRelease(Key("10.0.0.1"), versions["10.0.0.1"], 0)
	take(ring, "10.0.0.3") // never used comes before released
	if x.reopen != nil {
		c, _ = x.reopen().(lease.Chooser)
	}
	take(ring, "10.0.0.5") // the cursor outlives the process
	take(ring, "10.0.0.1") // round the ring
	x.dry(c, ring, lease.Use{Total: 4, Held: 4})

	x.mustRelease(Key("10.0.0.3"), versions["10.0.0.3"], time.Minute)
	x.clock.Advance(time.Second)
	x.mustRelease(Key("10.0.0.2"), versions["10.0.0.2"], time.Minute)
	x.dry(c, ring, lease.Use{Total: 4, Held: 2, Resting: 2})
	broken := ring
	broken.Break = true
	take(broken, "10.0.0.3") // it rests longest
	x.clock.Advance(time.Minute)
	take(ring, "10.0.0.2")

	take(lease.Want{Domain: lease.DefaultDomain, Set: x.set("10.0.0.7-10.0.0.9")}, "10.0.0.7")
	take(lease.Want{Domain: lease.DefaultDomain, Set: x.set("fd00::/64", "fd00:1::1")}, "fd00::")
	if a, err := c.Choose(x.ctx, lease.Want{Domain: "other", Set: set}); err != nil || a.String() != "10.0.0.1" {
		x.Errorf("another domain gave %v, %v", a, err)
	}
	last := x.set("255.255.255.254-255.255.255.255")
	for _, want := range []string{"255.255.255.254", "255.255.255.255"} {
		take(lease.Want{Domain: lease.DefaultDomain, Set: last, Ring: "last"}, want)
	}
	x.dry(c, lease.Want{Domain: lease.DefaultDomain, Set: last, Ring: "last"}, lease.Use{Total: 2, Held: 2})
}

func (x *suite) dry(c lease.Chooser, w lease.Want, want lease.Use) {
	x.Helper()
	a, err := c.Choose(x.ctx, w)
	var dry *lease.DryError
	if !errors.As(err, &dry) {
		x.Fatalf("choose gave %v, %v, want a DryError", a, err)
	}
	if dry.Use != want {
		x.Errorf("dry with %+v, want %+v", dry.Use, want)
	}
}

func (x *suite) set(texts ...string) ipset.Set {
	x.Helper()
	var ranges []ipset.Range
	for _, s := range texts {
		r, err := ipset.Parse(s)
		if err != nil {
			x.Fatal(err)
		}
		ranges = append(ranges, r)
	}
	s, err := ipset.Of(ranges)
	if err != nil {
		x.Fatal(err)
	}
	return s
}

func (x *suite) graveyard() {
	g, ok := x.store.(lease.Graveyard)
	if !ok {
		x.Skip("this store remembers no released attachments")
	}
	id := lease.ID{Network: "lan", ContainerID: "a", IfName: "eth0"}
	if _, ok, err := g.Buried(x.ctx, id); ok || err != nil {
		x.Fatalf("buried before it was: %v, %v", ok, err)
	}
	for _, began := range []time.Duration{5, 7} {
		t := lease.Tombstone{ID: id, BootID: "boot", Began: began, Until: x.clock.Now().Add(time.Minute)}
		if err := g.Bury(x.ctx, t); err != nil {
			x.Fatal(err)
		}
		got, ok, err := g.Buried(x.ctx, id)
		if diff := cmp.Diff(t, got); !ok || err != nil || diff != "" {
			x.Errorf("tombstone: %v, %v (-want +got):\n%s", ok, err, diff)
		}
	}
	for _, other := range []lease.ID{{Network: "dmz", ContainerID: "a", IfName: "eth0"}, {Network: "lan", ContainerID: "a", IfName: "eth1"}} {
		if _, ok, _ := g.Buried(x.ctx, other); ok {
			x.Errorf("%+v is buried too", other)
		}
	}
	x.clock.Advance(time.Minute + time.Second)
	if _, ok, _ := g.Buried(x.ctx, id); ok {
		x.Error("a tombstone outlives its time")
	}
	// Old tombstones and rests are dropped in passing, some at a time.
	for i := range 20 {
		k := Key(fmt.Sprintf("10.1.0.%d", i))
		x.mustRelease(k, x.mustClaim(k, "a"), time.Second)
		x.clock.Advance(2 * time.Second)
	}
	if left := x.collect(lease.Filter{Resting: true}); len(left) > 10 {
		x.Errorf("%d rests that are over are still there", len(left))
	}
}

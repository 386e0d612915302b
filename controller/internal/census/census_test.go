// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package census_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/weft-cni/weft/controller/internal/census"
	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
	"github.com/weft-cni/weft/libs/k8s/hint"
	"github.com/weft-cni/weft/libs/k8s/poolview"
	"github.com/weft-cni/weft/libs/lease"
)

func noon() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

func pool(name string, change func(*v1alpha1.IPPoolSpec)) *v1alpha1.IPPool {
	p := &v1alpha1.IPPool{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-" + name), Generation: 1}}
	p.Spec.Domain = "default"
	p.Spec.IPv4 = &v1alpha1.AddressRange{Subnet: "192.0.2.0/29"}
	if change != nil {
		change(&p.Spec)
	}
	return p
}

func changed(p *v1alpha1.IPPool, change func(*v1alpha1.IPPoolSpec)) *v1alpha1.IPPool {
	q := p.DeepCopy()
	q.Generation++
	change(&q.Spec)
	return q
}

func held(pool, addr string, state census.State) census.Lease {
	l := census.Lease{Key: lease.NewKey("", netip.MustParseAddr(addr)), Pool: pool, State: state}
	if state == census.Resting {
		l.Until = noon().Add(time.Minute)
	}
	return l
}

func status(t *testing.T, b *census.Book, name string) v1alpha1.IPPoolStatus {
	t.Helper()
	s, ok := b.Status(name, nil, metav1.NewTime(noon()))
	if !ok {
		t.Fatalf("no pool %s", name)
	}
	return s
}

func say(s v1alpha1.IPPoolStatus, condition string) string {
	c := meta.FindStatusCondition(s.Conditions, condition)
	return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
}

func TestStatus(t *testing.T) {
	t.Parallel()
	b := census.New()
	b.PutPool(pool("blue", func(s *v1alpha1.IPPoolSpec) { s.IPv6 = &v1alpha1.AddressRange{Subnet: "2001:db8::/64"} }))
	for _, l := range []census.Lease{
		held("blue", "192.0.2.1", census.Claimed), held("blue", "192.0.2.3", census.Idle), held("blue", "192.0.2.4", census.Resting),
		held("blue", "2001:db8::1", census.Claimed), held("blue", "2001:db8::2", census.Claimed), held("blue", "2001:db8::10", census.Claimed),
	} {
		b.Put(l)
	}
	got := status(t, b, "blue")
	got.Conditions = nil
	want := v1alpha1.IPPoolStatus{
		Subnets: "192.0.2.0/29, 2001:db8::/64", Total: "6, ~2^64", Used: "3, 3", Free: "3, ~2^64",
		IPv4: &v1alpha1.FamilyStatus{Capacity: "6", Claimed: "1", Held: "2", Free: "3", FreeRanges: []string{"192.0.2.2", "192.0.2.5-192.0.2.6"}},
		IPv6: &v1alpha1.FamilyStatus{
			Capacity: "18446744073709551615", Claimed: "3", Held: "0", Free: "18446744073709551612",
			FreeRanges: []string{"2001:db8::3-2001:db8::f", "2001:db8::11-2001:db8::ffff:ffff:ffff:ffff"},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestConditions(t *testing.T) {
	t.Parallel()
	deleting := pool("blue", nil)
	deleting.DeletionTimestamp = &metav1.Time{Time: noon()}
	full := func(state census.State) (out []census.Lease) {
		for i := range 6 {
			out = append(out, held("blue", fmt.Sprintf("192.0.2.%d", i+1), state))
		}
		return out
	}
	strict := func(s *v1alpha1.IPPoolSpec) { s.CooldownPolicy = v1alpha1.CooldownStrict }
	for name, c := range map[string]struct {
		pool      *v1alpha1.IPPool
		leases    []census.Lease
		condition string
		want      string
	}{
		"ready":       {pool("blue", nil), nil, census.Ready, "True Ready: The pool gives addresses"},
		"suspended":   {pool("blue", func(s *v1alpha1.IPPoolSpec) { s.Suspend = true }), full(census.Claimed), census.Ready, "False Suspended: spec.suspend is set: no new addresses; those in use stay, and are released as usual"},
		"invalid":     {pool("blue", func(s *v1alpha1.IPPoolSpec) { s.IPv4.Subnet = "lan" }), nil, census.Ready, `False Invalid: pool blue: spec.ipv4.subnet: got "lan", want a prefix, for example 192.0.2.0/24`},
		"deleted":     {deleting, nil, census.Ready, "False Deleting: The pool is deleted and gives no new addresses"},
		"in use":      {deleting, full(census.Claimed)[:1], census.Ready, "False Deleting: The pool is deleted and gives no new addresses; it goes when 1 address is released: 192.0.2.1"},
		"much in use": {deleting, full(census.Claimed), census.Ready, "False Deleting: The pool is deleted and gives no new addresses; it goes when 6 addresses are released: 192.0.2.1, 192.0.2.2, 192.0.2.3, 3 more"},
		"outside":     {pool("blue", nil), []census.Lease{held("blue", "198.51.100.1", census.Claimed), held("green", "198.51.100.2", census.Claimed)}, census.Ready, "True LeasesOutside: The pool gives addresses; 1 address is still held that the pool no longer has, until released: 198.51.100.1"},
		"asked for":   {pool("blue", func(s *v1alpha1.IPPoolSpec) { s.IPv4.Ranges = []string{"192.0.2.2"} }), full(census.Claimed)[:1], census.Ready, "True Ready: The pool gives addresses"},
		"free":        {pool("blue", nil), full(census.Claimed)[:5], census.Exhausted, "False Available: Addresses are free"},
		"none free":   {pool("blue", nil), full(census.Claimed), census.Exhausted, "True AllHeld: Every IPv4 address is held; a pod gets none until one is released"},
		"rests":       {pool("blue", nil), full(census.Resting), census.Exhausted, "False OnlyResting: Every IPv4 address is held or rests; a pod that asks ends a rest early (cooldownPolicy Prefer)"},
		"rests all":   {pool("blue", strict), full(census.Resting), census.Exhausted, "True OnlyResting: Every IPv4 address is held or rests; a pod gets none until a rest is over (cooldownPolicy Strict)"},
		"unreadable":  {pool("blue", func(s *v1alpha1.IPPoolSpec) { s.IPv4 = nil }), nil, census.Exhausted, "Unknown Invalid: The pool cannot be read"},
		"alone":       {pool("blue", nil), nil, census.Overlaps, "False NoneShared: No other pool of the domain hands out these addresses"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := census.New()
			for _, l := range c.leases {
				b.Put(l)
			}
			b.PutPool(c.pool)
			if d := cmp.Diff(c.want, say(status(t, b, "blue"), c.condition)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestOverlaps(t *testing.T) {
	t.Parallel()
	b := census.New()
	b.PutPool(pool("blue", nil))
	b.PutPool(pool("elsewhere", func(s *v1alpha1.IPPoolSpec) { s.Domain = "lab" }))
	green := pool("green", func(s *v1alpha1.IPPoolSpec) {
		s.IPv4 = &v1alpha1.AddressRange{Subnet: "192.0.2.0/24", Ranges: []string{"192.0.2.5-192.0.2.99"}}
	})
	if got := b.PutPool(green); !slices.Equal(got, []string{"blue", "green"}) {
		t.Errorf("changed are %q", got)
	}
	for name, want := range map[string]string{
		"blue":      "True SharedAddresses: Addresses of this pool are also handed out by green (192.0.2.5-192.0.2.6); nobody gets one twice, but the counts share them",
		"green":     "True SharedAddresses: Addresses of this pool are also handed out by blue (192.0.2.5-192.0.2.6); nobody gets one twice, but the counts share them",
		"elsewhere": "False NoneShared: No other pool of the domain hands out these addresses",
	} {
		if d := cmp.Diff(want, say(status(t, b, name), census.Overlaps)); d != "" {
			t.Error(d)
		}
	}
	if got := b.Put(held("green", "192.0.2.5", census.Claimed)); !slices.Equal(got, []string{"blue", "green"}) {
		t.Errorf("changed are %q", got)
	}
	for i := range 4 {
		b.PutPool(pool(fmt.Sprint("more-", i), nil))
	}
	if got, want := say(status(t, b, "blue"), census.Overlaps), "True SharedAddresses: Addresses of this pool are also handed out by green (192.0.2.5-192.0.2.6), more-0 (192.0.2.1-192.0.2.6), more-1 (192.0.2.1-192.0.2.6), 2 more; nobody gets one twice, but the counts share them"; got != want {
		t.Error(cmp.Diff(want, got))
	}
	for i := range 4 {
		b.RemovePool(fmt.Sprint("more-", i))
	}
	if got := b.PutPool(changed(green, func(s *v1alpha1.IPPoolSpec) { s.IPv4.Ranges = []string{"192.0.2.50"} })); !slices.Equal(got, []string{"blue", "green"}) {
		t.Errorf("changed are %q", got)
	}
	if got := say(status(t, b, "blue"), census.Overlaps); got[:5] != "False" {
		t.Error(got)
	}
	if got := say(status(t, b, "green"), census.Ready); got != "True Ready: The pool gives addresses" {
		t.Errorf("192.0.2.5 can still be asked for: %s", got)
	}
}

// TestATransitionHasATime keeps the time of a condition that stays.
func TestATransitionHasATime(t *testing.T) {
	t.Parallel()
	b := census.New()
	blue := pool("blue", nil)
	b.PutPool(blue)
	before := status(t, b, "blue").Conditions
	b.PutPool(changed(blue, func(s *v1alpha1.IPPoolSpec) { s.Suspend = true }))
	later := metav1.NewTime(noon().Add(time.Hour))
	s, _ := b.Status("blue", before, later)
	for condition, want := range map[string]metav1.Time{census.Ready: later, census.Overlaps: metav1.NewTime(noon())} {
		c := meta.FindStatusCondition(s.Conditions, condition)
		if !c.LastTransitionTime.Equal(&want) || c.ObservedGeneration != 2 {
			t.Errorf("%s: %+v", condition, c)
		}
	}
}

func TestNoPool(t *testing.T) {
	t.Parallel()
	b := census.New()
	if got := b.Put(held("gone", "192.0.2.1", census.Claimed)); !slices.Equal(got, []string{"gone"}) || b.Leases("gone") != 1 {
		t.Errorf("changed %q, %d leases", got, b.Leases("gone"))
	}
	if _, ok := b.Status("gone", nil, metav1.Now()); ok || b.Hint("gone", nil, noon()) != nil {
		t.Error("a pool that is not there has a status or a hint")
	}
	b.PutPool(pool("gone", func(s *v1alpha1.IPPoolSpec) { s.IPv4 = nil }))
	if b.Hint("gone", nil, noon()) != nil {
		t.Error("an invalid pool has a hint")
	}
	if got := b.Put(held("gone", "192.0.2.1", census.Claimed)); got != nil {
		t.Errorf("the same lease again changes %q", got)
	}
	b.Remove(lease.NewKey("", netip.MustParseAddr("192.0.2.1")))
	if b.Remove(lease.NewKey("", netip.MustParseAddr("192.0.2.1"))) != nil || b.Leases("gone") != 0 {
		t.Error("a lease is removed twice")
	}
}

// TestLikeACount does anything in any order, and compares with counting from the beginning.
func TestLikeACount(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b, leases := census.New(), map[lease.Key]census.Lease{}
		pools := map[string]*v1alpha1.IPPool{}
		addr := rapid.Custom(func(t *rapid.T) string {
			if rapid.Bool().Draw(t, "IPv6") {
				return fmt.Sprintf("2001:db8::%x", rapid.IntRange(0, 12).Draw(t, "low"))
			}
			return fmt.Sprintf("192.0.2.%d", rapid.IntRange(0, 12).Draw(t, "low"))
		})
		name := rapid.SampledFrom([]string{"a", "b", "c"})
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				l := held(name.Draw(t, "pool"), addr.Draw(t, "address"), rapid.SampledFrom([]census.State{census.Claimed, census.Idle, census.Resting}).Draw(t, "state"))
				b.Put(l)
				leases[l.Key] = l
			},
			"remove": func(t *rapid.T) {
				k := lease.NewKey("", netip.MustParseAddr(addr.Draw(t, "address")))
				b.Remove(k)
				delete(leases, k)
			},
			"pool": func(t *rapid.T) {
				p := pool(name.Draw(t, "pool"), nil)
				p.Spec.IPv4.Subnet = rapid.SampledFrom([]string{"192.0.2.0/28", "192.0.2.0/29", "192.0.2.8/29", "bad"}).Draw(t, "subnet")
				p.Spec.IPv6 = &v1alpha1.AddressRange{Subnet: rapid.SampledFrom([]string{"2001:db8::/64", "2001:db8::/125"}).Draw(t, "IPv6")}
				p.Spec.Domain = rapid.SampledFrom([]string{"default", "default", "lab"}).Draw(t, "domain")
				if old := pools[p.Name]; old != nil {
					p.Generation = old.Generation + 1
				}
				pools[p.Name] = p
				b.PutPool(p)
			},
			"remove pool": func(t *rapid.T) {
				n := name.Draw(t, "pool")
				delete(pools, n)
				b.RemovePool(n)
			},
			"": func(t *rapid.T) {
				anew := census.New()
				for _, n := range slices.Sorted(maps.Keys(pools)) {
					anew.PutPool(pools[n])
				}
				for _, l := range leases {
					anew.Put(l)
				}
				for n, p := range pools {
					at := metav1.NewTime(noon())
					want, _ := anew.Status(n, nil, at)
					got, _ := b.Status(n, nil, at)
					if d := cmp.Diff(want, got); d != "" {
						t.Fatal(d)
					}
					sameAsHintOf(t, b, p, leases)
				}
			},
		})
	})
}

func sameAsHintOf(t *rapid.T, b *census.Book, p *v1alpha1.IPPool, leases map[lease.Key]census.Lease) {
	got := b.Hint(p.Name, []string{"n1", "n2"}, noon())
	_, view, err := poolview.Of(p)
	if err != nil {
		if got != nil {
			t.Fatalf("an invalid pool has a hint: %v", got)
		}
		return
	}
	entries := func(yield func(lease.Entry) bool) {
		for k, l := range leases {
			if !yield(lease.Entry{Key: k, Until: l.Until}) {
				return
			}
		}
	}
	want := hint.Of(hint.Source{Pool: view, Generation: p.Generation, Leases: entries, Nodes: []string{"n1", "n2"}, Now: noon()})
	for _, pair := range []struct {
		want, got *v1alpha1.FamilyHint
		family    *lease.Family
	}{{want.IPv4, got.IPv4, view.IPv4}, {want.IPv6, got.IPv6, view.IPv6}} {
		if pair.family.Set.Size() > hint.MaxIndexed {
			continue
		}
		// Equal bitmaps have several forms.
		one, err1 := hint.Taken(pair.want, pair.family.Set)
		two, err2 := hint.Taken(pair.got, pair.family.Set)
		if err1 != nil || err2 != nil || !one.Equals(two) {
			t.Fatalf("taken: %v %v, want %v %v", two, err2, one, err1)
		}
		pair.want.Taken, pair.got.Taken = nil, nil
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
}

func BenchmarkPut(b *testing.B) {
	book := census.New()
	for i := range 50 {
		book.PutPool(pool(fmt.Sprint("pool-", i), func(s *v1alpha1.IPPoolSpec) {
			s.IPv4.Subnet = fmt.Sprintf("10.%d.0.0/16", i)
			s.IPv6 = &v1alpha1.AddressRange{Subnet: fmt.Sprintf("2001:db8:%x::/64", i)}
		}))
	}
	at := func(i int) census.Lease {
		return held("pool-0", netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String(), census.Claimed)
	}
	for i := range 100_000 {
		book.Put(at(i))
	}
	for i := 0; b.Loop(); i++ {
		book.Remove(at(i % 100_000).Key)
		book.Put(at(i % 100_000))
	}
}

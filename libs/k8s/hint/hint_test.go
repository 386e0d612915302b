// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package hint_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-cni/weft/libs/ipset"
	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
	"github.com/weft-cni/weft/libs/k8s/hint"
	"github.com/weft-cni/weft/libs/lease"
)

func pool(t *testing.T, subnets ...string) lease.Pool {
	t.Helper()
	p := lease.Pool{Name: "blue"}
	for _, s := range subnets {
		f, err := lease.NewFamily(netip.MustParsePrefix(s), netip.Addr{}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if f.Subnet.Addr().Is4() {
			p.IPv4 = f
		} else {
			p.IPv6 = f
		}
	}
	return p
}

func entry(addr string, until time.Time) lease.Entry {
	return lease.Entry{Key: lease.NewKey("", netip.MustParseAddr(addr)), Until: until}
}

func TestOf(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	p := pool(t, "10.0.0.0/29", "fd00::/64")
	leases := []lease.Entry{
		entry("10.0.0.1", time.Time{}),
		entry("10.0.0.3", now.Add(2*time.Minute)),
		entry("10.0.0.4", now.Add(time.Minute)),
		entry("10.0.0.4", now.Add(time.Minute)), // a list in pages can say it twice
		entry("10.0.1.1", time.Time{}),          // not of the pool
		entry("fd00::7", time.Time{}),
		{Key: lease.NewKey("rack-7", netip.MustParseAddr("10.0.0.2"))}, // not of the domain
	}
	h := hint.Of(hint.Source{Pool: p, Generation: 3, Leases: slices.Values(leases), Now: now})
	taken, err := hint.Taken(h.IPv4, p.IPv4.Set)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]uint32{0, 2, 3}, taken.ToArray()); diff != "" {
		t.Errorf("taken (-want +got):\n%s", diff)
	}
	rests := h.IPv4.Rests
	if len(rests) != 2 || rests[0].Address != "10.0.0.4" || rests[1].Address != "10.0.0.3" {
		t.Errorf("rests: %v, want the one that is over first in front", rests)
	}
	h.IPv4.Taken, h.IPv4.Rests = nil, nil
	want := &v1alpha1.FamilyHint{Addresses: hint.Digest(p.IPv4.Set), Total: "6", Used: 1, Resting: 2, Free: "3"}
	if diff := cmp.Diff(want, h.IPv4); diff != "" {
		t.Errorf("IPv4 (-want +got):\n%s", diff)
	}
	want = &v1alpha1.FamilyHint{Addresses: hint.Digest(p.IPv6.Set), Total: "18446744073709551615", Used: 1, Free: "18446744073709551614"}
	if diff := cmp.Diff(want, h.IPv6); diff != "" {
		t.Errorf("IPv6, too large for a bitmap (-want +got):\n%s", diff)
	}
	if h.Name != "blue" || h.PoolGeneration != 3 || !h.Made.Time.Equal(now) {
		t.Errorf("hint of %s, generation %d, made %v", h.Name, h.PoolGeneration, h.Made)
	}
}

func TestTakenRefuses(t *testing.T) {
	t.Parallel()
	p, other := pool(t, "10.0.0.0/24"), pool(t, "10.0.0.0/25")
	h := hint.Of(hint.Source{Pool: p, Leases: slices.Values([]lease.Entry{entry("10.0.0.200", time.Time{})})}).IPv4
	if _, err := hint.Taken(h, other.IPv4.Set); err == nil {
		t.Error("a hint for other addresses was taken")
	}
	if _, err := hint.Taken(h, pool(t, "10.0.1.0/24").IPv4.Set); err == nil {
		t.Error("a hint for as many other addresses was taken")
	}
	forged := *h
	forged.Addresses = hint.Digest(other.IPv4.Set)
	if _, err := hint.Taken(&forged, other.IPv4.Set); err == nil {
		t.Error("an index outside the set was taken")
	}
	for n := range len(h.Taken) {
		cut := *h
		cut.Taken = h.Taken[:n]
		if _, err := hint.Taken(&cut, p.IPv4.Set); err == nil {
			t.Errorf("a bitmap of %d of its %d bytes was taken", n, len(h.Taken))
		}
	}
}

func TestEmptyBitmap(t *testing.T) {
	t.Parallel()
	p := pool(t, "10.0.0.0/24")
	b, err := hint.Taken(hint.Of(hint.Source{Pool: p, Leases: slices.Values([]lease.Entry(nil))}).IPv4, p.IPv4.Set)
	if err != nil || !b.IsEmpty() {
		t.Errorf("nobody has anything: %v, %v", b, err)
	}
}

func TestPlace(t *testing.T) {
	t.Parallel()
	var nodes []string
	for i := range 1000 {
		nodes = append(nodes, fmt.Sprintf("node-%d", i))
	}
	p := pool(t, "10.0.0.0/24")
	h := hint.Of(hint.Source{Pool: p, Leases: slices.Values([]lease.Entry(nil)), Nodes: nodes})
	seen := map[int]bool{}
	for _, n := range nodes {
		place, of, ok := hint.Place(h.Nodes, n)
		if !ok || of > 1000 || of < 999 || place < 0 || place >= of {
			t.Fatalf("%s has place %d of %d, %v", n, place, of, ok)
		}
		seen[place] = true
	}
	if len(seen) < 999 { // two of a thousand hashes may meet
		t.Errorf("1000 nodes have %d places", len(seen))
	}
	if _, _, ok := hint.Place(h.Nodes, "stranger"); ok {
		t.Error("a node that is not there has a place")
	}
	if _, _, ok := hint.Place(nil, "node-1"); ok {
		t.Error("without nodes there is a place")
	}
	if _, _, ok := hint.Place([]byte{1, 2, 3}, "node-1"); ok {
		t.Error("in a damaged list there is a place")
	}
}

// TestSize keeps the object small: a hint is written a few times a second.
func TestSize(t *testing.T) {
	t.Parallel()
	p := pool(t, "10.0.0.0/12")
	even := func(yield func(lease.Entry) bool) { // the worst case: every other one
		for i := uint64(0); i < p.IPv4.Set.Size(); i += 2 {
			a, _ := p.IPv4.Set.At(i)
			if !yield(lease.Entry{Key: lease.NewKey("", a)}) {
				return
			}
		}
	}
	h := hint.Of(hint.Source{Pool: p, Leases: even})
	if n := len(h.IPv4.Taken); n > 140_000 {
		t.Errorf("the bitmap of a million has %d bytes", n)
	}
	set, err := ipset.Of([]ipset.Range{p.IPv4.Set.Ranges()[0]})
	if err != nil || hint.Digest(set) != h.IPv4.Addresses {
		t.Errorf("equal sets have different digests: %v", err)
	}
}

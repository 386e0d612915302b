// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package lease_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-cni/weft/libs/lease"
	"github.com/weft-cni/weft/libs/lease/memstore"
	"github.com/weft-cni/weft/libs/lease/storetest"
)

var errFault = errors.New("the store failed before it did anything")

// faulty is a store whose writes fail when the test says so: before they
// happen, or after, with the outcome unknown.
type faulty struct {
	*memstore.Store
	next func() string // "", "before" or "after"
}

func (f *faulty) Claim(ctx context.Context, k lease.Key, r lease.Record) (lease.Version, error) {
	fault := f.next()
	if fault == "before" {
		return "", errFault
	}
	v, err := f.Store.Claim(ctx, k, r)
	if fault == "after" && err == nil {
		return "", lease.ErrUnknown
	}
	return v, err
}

func (f *faulty) Swap(ctx context.Context, k lease.Key, v lease.Version, r lease.Record) (lease.Version, error) {
	fault := f.next()
	if fault == "before" {
		return "", errFault
	}
	w, err := f.Store.Swap(ctx, k, v, r)
	if fault == "after" && err == nil {
		return "", lease.ErrUnknown
	}
	return w, err
}

func (f *faulty) Release(ctx context.Context, k lease.Key, v lease.Version, rest time.Duration) error {
	switch f.next() {
	case "before":
		return errFault
	case "after":
		return errors.Join(f.Store.Release(ctx, k, v, rest), lease.ErrUnknown)
	}
	return f.Store.Release(ctx, k, v, rest)
}

// machine drives an engine over a faulty store and keeps what sandboxes were told.
type machine struct {
	engine *lease.Engine
	clock  *storetest.Clock
	pools  []lease.Pool
	began  time.Duration

	told  map[string][]netip.Addr // by live sandbox
	pod   map[string]string       // of every sandbox
	faith bool                    // no fault happened: refusals must have a reason
	n     int                     // sandboxes so far
}

func (m *machine) id(sandbox string) lease.ID {
	return lease.ID{Network: "lan", ContainerID: sandbox, IfName: "eth0"}
}

func (m *machine) add(t *rapid.T, sandbox string) {
	m.began += time.Second
	// A runtime that makes a new sandbox for a pod has given up the old one.
	had := m.told[sandbox]
	for other, ips := range m.told {
		if other != sandbox && m.pod[sandbox] != "" && m.pod[other] == m.pod[sandbox] {
			had = ips
			delete(m.told, other)
		}
	}
	g, err := m.engine.Assign(t.Context(), lease.Request{
		Attachment: lease.Attachment{ID: m.id(sandbox), PodUID: m.pod[sandbox]}, Pools: m.pools, Began: m.began,
	})
	if err != nil {
		if m.faith && !errors.As(err, new(*lease.ExhaustedError)) {
			t.Fatalf("ADD %s without any fault: %v", sandbox, err)
		}
		if m.faith && (had != nil || m.usable()) {
			t.Fatalf("ADD %s was refused although addresses are to be had: %v", sandbox, err)
		}
		return
	}
	if had != nil && (m.faith || m.told[sandbox] != nil) && !slices.Equal(had, g.Addrs) {
		t.Fatalf("%s had %v, and now got %v", sandbox, had, g.Addrs)
	}
	m.told[sandbox] = g.Addrs
}

// usable says whether a pool has a free or resting address of each family.
func (m *machine) usable() bool {
	held := map[netip.Addr]bool{}
	for _, ips := range m.told {
		for _, ip := range ips {
			held[ip] = true
		}
	}
	for _, p := range m.pools {
		free := func(f *lease.Family) bool {
			for i := range f.Set.Size() {
				if a, _ := f.Set.At(i); !held[a] {
					return true
				}
			}
			return false
		}
		if (p.IPv4 == nil || free(p.IPv4)) && (p.IPv6 == nil || free(p.IPv6)) {
			return true
		}
	}
	return false
}

// check is the invariant: live sandboxes share nothing, and hold what they were told.
func (m *machine) check(t *rapid.T) {
	owner := map[netip.Addr]string{}
	for sandbox, ips := range m.told {
		for _, ip := range ips {
			if other, ok := owner[ip]; ok {
				t.Fatalf("%s and %s were both told %s", other, sandbox, ip)
			}
			owner[ip] = sandbox
			r, _, err := m.engine.Store.Get(t.Context(), lease.NewKey("", ip))
			if err != nil || r.Attachment.ContainerID != sandbox {
				t.Fatalf("%s was told %s, which is held by %q (%v)", sandbox, ip, r.Attachment.ContainerID, err)
			}
		}
	}
	if !m.faith {
		return
	}
	all, err := m.engine.List(t.Context(), lease.Filter{})
	if err != nil || len(all) != len(owner) {
		t.Fatalf("%d leases for %d told addresses without any fault (%v)", len(all), len(owner), err)
	}
}

func (m *machine) live(t *rapid.T) string {
	names := []string{}
	for s := range m.told {
		names = append(names, s)
	}
	if len(names) == 0 {
		t.Skip("no sandbox")
	}
	slices.Sort(names)
	return rapid.SampledFrom(names).Draw(t, "sandbox")
}

// TestMachine plays what runtimes do, with and without faults of the store.
func TestMachine(t *testing.T) {
	t.Parallel()
	for _, faults := range []bool{false, true} {
		t.Run(fmt.Sprintf("faults %v", faults), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) { play(t, faults) })
		})
	}
}

func play(t *rapid.T, faults bool) {
	clock := storetest.NewClock()
	armed := false
	store := &faulty{Store: memstore.New(clock.Now), next: func() string {
		if !armed {
			return ""
		}
		return rapid.SampledFrom([]string{"", "", "before", "after"}).Draw(t, "fault")
	}}
	m := &machine{
		engine: &lease.Engine{Store: store, Now: clock.Now, BootID: "boot-0", Node: "n1"},
		clock:  clock, told: map[string][]netip.Addr{}, pod: map[string]string{}, faith: !faults,
	}
	family := func(subnet string) *lease.Family {
		f, err := lease.NewFamily(netip.MustParsePrefix(subnet), netip.Addr{}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	m.pools = []lease.Pool{
		{Name: "blue", IPv4: family("10.0.0.0/29"), IPv6: family("fd00::/126"), Cooldown: time.Minute},
		{Name: "green", IPv4: family("10.0.1.0/30"), Cooldown: time.Minute},
	}
	armed = faults
	boots := 0
	t.Repeat(map[string]func(*rapid.T){
		"": m.check,
		"add": func(t *rapid.T) {
			m.n++
			sandbox := fmt.Sprint("s", m.n)
			m.pod[sandbox] = rapid.SampledFrom([]string{"", "p1", "p2", "p3"}).Draw(t, "pod")
			m.add(t, sandbox)
		},
		"add again": func(t *rapid.T) { m.add(t, m.live(t)) },
		"del": func(t *rapid.T) {
			m.began += time.Second
			sandbox := m.live(t)
			_ = m.engine.Release(t.Context(), m.id(sandbox), m.began)
			delete(m.told, sandbox)
		},
		"late del": func(t *rapid.T) {
			sandbox := fmt.Sprint("s", rapid.IntRange(1, m.n+1).Draw(t, "n"))
			if _, ok := m.told[sandbox]; ok {
				t.Skip("it lives")
			}
			m.began += time.Second
			_ = m.engine.Release(t.Context(), m.id(sandbox), m.began)
		},
		"late add": func(t *rapid.T) {
			sandbox := m.live(t)
			late := m.began
			m.began += time.Second
			if err := m.engine.Release(t.Context(), m.id(sandbox), m.began); err != nil {
				delete(m.told, sandbox)
				return
			}
			delete(m.told, sandbox)
			if g, err := m.engine.Assign(t.Context(), lease.Request{
				Attachment: lease.Attachment{ID: m.id(sandbox), PodUID: m.pod[sandbox]}, Pools: m.pools, Began: late,
			}); !errors.Is(err, lease.ErrReleased) {
				t.Fatalf("an ADD from before the DEL got %v, %v", g.Addrs, err)
			}
		},
		"gc": func(t *rapid.T) {
			valid := []lease.ID{}
			for s := range m.told {
				valid = append(valid, m.id(s))
			}
			if err := m.engine.GC(t.Context(), "lan", valid); err != nil {
				return
			}
			// Whatever faults left behind is gone: only what was told is held.
			told := 0
			for _, ips := range m.told {
				told += len(ips)
			}
			if all, _ := m.engine.List(t.Context(), lease.Filter{}); len(all) != told {
				t.Fatalf("%d leases after GC for %d told addresses", len(all), told)
			}
		},
		"wait": func(*rapid.T) { m.clock.Advance(20 * time.Second) },
		"reboot": func(t *rapid.T) {
			boots++
			m.engine.BootID = fmt.Sprint("boot-", boots)
			m.began = 0
			// Every sandbox is dead; the runtime says so when it comes up.
			m.told = map[string][]netip.Addr{}
			armed = false
			if err := m.engine.GC(t.Context(), "lan", nil); err != nil {
				t.Fatal(err)
			}
			armed = faults
		},
	})
}

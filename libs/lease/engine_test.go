// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package lease_test

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-cni/weft/libs/ipset"
	"github.com/weft-cni/weft/libs/lease"
	"github.com/weft-cni/weft/libs/lease/boltstore"
	"github.com/weft-cni/weft/libs/lease/memstore"
	"github.com/weft-cni/weft/libs/lease/storetest"
)

// node is an engine with a clock.
type node struct {
	*testing.T
	*lease.Engine
	clock *storetest.Clock
	pools []lease.Pool
	began time.Duration
}

// onEveryStore runs a test over memory, over memory without side interfaces, and over bbolt.
func onEveryStore(t *testing.T, test func(*node)) {
	t.Helper()
	t.Parallel()
	for name, open := range map[string]func(*testing.T, *storetest.Clock) lease.Store{
		"memory": func(_ *testing.T, c *storetest.Clock) lease.Store { return memstore.New(c.Now) },
		"bolt": func(t *testing.T, c *storetest.Clock) lease.Store {
			t.Helper()
			return boltstore.New(filepath.Join(t.TempDir(), "state"), c.Now, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clock := storetest.NewClock()
			e := &lease.Engine{Store: open(t, clock), Now: clock.Now, BootID: "boot-1", Node: "n1"}
			test(&node{T: t, Engine: e, clock: clock, pools: []lease.Pool{pool(t, "blue", "10.0.0.0/29", "fd00::/125")}})
		})
	}
}

// pool returns a pool of these subnets, whose first addresses are the gateways.
func pool(t testing.TB, name string, subnets ...string) lease.Pool {
	t.Helper()
	p := lease.Pool{Name: name, Cooldown: time.Minute, Policy: lease.Prefer}
	for _, s := range subnets {
		subnet := netip.MustParsePrefix(s)
		f, err := lease.NewFamily(subnet, subnet.Addr().Next(), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if subnet.Addr().Is4() {
			p.IPv4 = f
			continue
		}
		p.IPv6 = f
	}
	return p
}

func (n *node) request(container, uid string, exact ...string) lease.Request {
	r := lease.Request{
		Attachment: lease.Attachment{ID: lease.ID{Network: "lan", ContainerID: container, IfName: "eth0"}, PodUID: uid},
		Pools:      n.pools, Began: n.began,
	}
	for _, a := range exact {
		r.Exact = append(r.Exact, netip.MustParseAddr(a))
	}
	return r
}

// add assigns and returns the addresses, or the error.
func (n *node) add(container, uid string, exact ...string) string {
	n.Helper()
	g, err := n.Assign(n.Context(), n.request(container, uid, exact...))
	if err != nil {
		return err.Error()
	}
	return strings.Trim(fmt.Sprint(g.Addrs), "[]")
}

func (n *node) del(container string) {
	n.Helper()
	if err := n.Release(n.Context(), lease.ID{Network: "lan", ContainerID: container, IfName: "eth0"}, n.began); err != nil {
		n.Fatal(err)
	}
}

func (n *node) is(got, want string) {
	n.Helper()
	if got != want {
		n.Errorf("got %q, want %q", got, want)
	}
}

// has checks who holds what.
func (n *node) has(want ...string) {
	n.Helper()
	all, err := n.List(n.Context(), lease.Filter{})
	if err != nil {
		n.Fatal(err)
	}
	got := []string{}
	for _, e := range all {
		got = append(got, e.Key.Addr.String()+" "+e.Record.Attachment.ContainerID)
	}
	if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
		n.Errorf("leases (-want +got):\n%s", diff)
	}
}

func TestAssignAndRelease(t *testing.T) {
	onEveryStore(t, func(n *node) {
		n.is(n.add("a", ""), "10.0.0.2 fd00::2")
		n.is(n.add("a", ""), "10.0.0.2 fd00::2")
		n.is(n.add("b", ""), "10.0.0.3 fd00::3")
		n.del("a")
		n.del("a")
		n.has("10.0.0.3 b", "fd00::3 b")
		n.is(n.add("c", ""), "10.0.0.4 fd00::4")
	})
}

func TestNewSandboxAndLateRelease(t *testing.T) {
	onEveryStore(t, func(n *node) {
		n.is(n.add("a1", "uid"), "10.0.0.2 fd00::2")
		n.is(n.add("a2", "uid"), "10.0.0.2 fd00::2")
		n.del("a1")
		n.has("10.0.0.2 a2", "fd00::2 a2")
		n.is(n.add("x", "other"), "10.0.0.3 fd00::3")
	})
}

// TestReservedAddresses drains a pool and sees what never came.
func TestReservedAddresses(t *testing.T) {
	onEveryStore(t, func(n *node) {
		for i := range 5 {
			n.add(fmt.Sprint(i), "")
		}
		n.has("10.0.0.2 0", "10.0.0.3 1", "10.0.0.4 2", "10.0.0.5 3", "10.0.0.6 4",
			"fd00::2 0", "fd00::3 1", "fd00::4 2", "fd00::5 3", "fd00::6 4")
		n.is(n.add("x", ""), "no free address: pool blue IPv4 5/5 used")
	})
}

func TestHalfAPairIsNotKept(t *testing.T) {
	onEveryStore(t, func(n *node) {
		six := pool(n, "six", "fd00::/125")
		n.pools = []lease.Pool{six}
		for i := range 6 {
			n.add(fmt.Sprint("six", i), "")
		}
		n.pools = []lease.Pool{pool(n, "blue", "10.0.0.0/29", "fd00::/125")}
		n.is(n.add("x", ""), "no free address: pool blue IPv6 6/6 used")
		n.pools = append(n.pools, pool(n, "green", "10.0.1.0/29", "fd01::/125"))
		n.is(n.add("x", ""), "10.0.1.2 fd01::2")
		n.is(n.add("x", ""), "10.0.1.2 fd01::2")
		all, _ := n.List(n.Context(), lease.Filter{ContainerID: "x"})
		if len(all) != 2 {
			n.Errorf("x holds %d addresses", len(all))
		}
	})
}

func TestRestIsBrokenLastAndOldestFirst(t *testing.T) {
	onEveryStore(t, func(n *node) {
		n.pools = []lease.Pool{pool(n, "blue", "10.0.0.0/30"), pool(n, "green", "10.0.1.0/30")}
		n.is(n.add("a", ""), "10.0.0.2")
		n.del("a")
		n.is(n.add("b", ""), "10.0.1.2") // a free address of the second pool before a resting one of the first
		n.is(n.add("c", ""), "10.0.0.2")
		n.is(n.add("d", ""), "no free address: pool blue IPv4 1/1 used; pool green IPv4 1/1 used")
		n.del("b")
		n.clock.Advance(time.Second)
		n.del("c")
		n.pools[0].Policy, n.pools[1].Policy = lease.Strict, lease.Strict
		n.is(n.add("d", ""), "no free address: pool blue IPv4 0/1 used, 1 resting; pool green IPv4 0/1 used, 1 resting")
		n.clock.Advance(time.Minute)
		n.is(n.add("d", ""), "10.0.0.2")
	})
}

func TestEarlierBoot(t *testing.T) {
	onEveryStore(t, func(n *node) {
		n.pools = []lease.Pool{pool(n, "blue", "10.0.0.0/29")}
		for i := range 5 {
			n.add(fmt.Sprint("old", i), fmt.Sprint("uid", i))
			n.clock.Advance(time.Second)
		}
		n.BootID = "boot-2"
		n.is(n.add("new", "uid3"), "10.0.0.5")  // its own, by its pod
		n.is(n.add("stranger", ""), "10.0.0.2") // the oldest lease of a dead container
		n.del("old0")                           // late: the address is the stranger's now
		n.is(n.add("stranger", ""), "10.0.0.2") //
		n.is(n.add("back", "uid0"), "10.0.0.3") // its address is gone, it gets the next oldest
		n.pools[0].Policy = lease.Strict        //
		n.is(n.add("strict", ""), "no free address: pool blue IPv4 5/5 used")
		n.began = time.Hour // up for longer than the cooldown
		n.is(n.add("strict", ""), "10.0.0.4")
		n.Node = "n2" // another node's boots mean nothing here
		n.BootID = "boot-3"
		n.is(n.add("elsewhere", ""), "no free address: pool blue IPv4 5/5 used")
	})
}

func TestGarbageCollection(t *testing.T) {
	onEveryStore(t, func(n *node) {
		n.add("a", "")
		n.add("b", "")
		dmz := n.request("c", "")
		dmz.Attachment.Network = "dmz"
		if _, err := n.Assign(n.Context(), dmz); err != nil {
			n.Fatal(err)
		}
		n.BootID = "boot-2" // a valid list counts more than a boot
		if err := n.GC(n.Context(), "lan", []lease.ID{{ContainerID: "a", IfName: "eth0"}, {ContainerID: "b", IfName: "net1"}}); err != nil {
			n.Fatal(err)
		}
		n.has("10.0.0.2 a", "10.0.0.4 c", "fd00::2 a", "fd00::4 c")
		if err := n.GC(n.Context(), "lan", nil); err != nil {
			n.Fatal(err)
		}
		n.has("10.0.0.4 c", "fd00::4 c")
	})
}

func TestExact(t *testing.T) {
	onEveryStore(t, func(n *node) {
		n.pools = append(n.pools, pool(n, "green", "10.0.1.0/29"))
		n.is(n.add("a", "", "10.0.0.5"), "10.0.0.5 fd00::2")
		n.is(n.add("a", "", "10.0.0.5"), "10.0.0.5 fd00::2")
		n.is(n.add("b", "", "10.0.1.3"), "10.0.1.3")
		n.is(n.add("c", "", "10.0.0.5"), "address 10.0.0.5 is held by container a (eth0) of network lan")
		n.is(n.add("c", "", "10.0.0.1"), "address 10.0.0.1 cannot be had from pool blue: it is the gateway of 10.0.0.0/29")
		n.is(n.add("c", "", "10.9.9.9"), "address 10.9.9.9 is in the subnet of no pool: blue (10.0.0.0/29, fd00::/125); green (10.0.1.0/29)")
		n.is(n.add("c", "", "10.0.1.4", "fd00::4"), "address 10.0.1.4 and the other address asked for are in no pool together: blue (10.0.0.0/29, fd00::/125); green (10.0.1.0/29)")
		n.is(n.add("a", "", "10.0.0.6"), "10.0.0.6 fd00::2") // asked for another one: the old one goes
		n.has("10.0.0.6 a", "10.0.1.3 b", "fd00::2 a")
		n.is(n.add("d", ""), "10.0.0.2 fd00::3") // exact addresses do not move the ring
	})
}

func TestLateRequest(t *testing.T) {
	onEveryStore(t, func(n *node) {
		n.began = 5 * time.Second
		n.del("a")
		n.began = 4 * time.Second
		n.is(n.add("a", ""), lease.ErrReleased.Error())
		n.has()
		n.began = 5 * time.Second
		n.is(n.add("a", ""), "10.0.0.2 fd00::2")
		n.BootID, n.began = "boot-2", time.Second
		n.is(n.add("a", ""), "10.0.0.2 fd00::2")
	})
}

func TestPoolGoneFromTheConfiguration(t *testing.T) {
	onEveryStore(t, func(n *node) {
		n.is(n.add("a", "uid"), "10.0.0.2 fd00::2")
		n.pools = []lease.Pool{pool(n, "green", "10.0.1.0/29")}
		n.is(n.add("a2", "uid"), "10.0.1.2")
		n.has("10.0.1.2 a2")
	})
}

func TestSuspended(t *testing.T) {
	onEveryStore(t, func(n *node) {
		n.is(n.add("a", "uid"), "10.0.0.2 fd00::2")
		n.pools[0].Suspend = true
		n.is(n.add("b", ""), "no free address: pool blue is suspended")
		n.is(n.add("a2", "uid"), "10.0.0.2 fd00::2")
		n.del("a2")
		n.has()
	})
}

func TestAbandon(t *testing.T) {
	onEveryStore(t, func(n *node) {
		g, err := n.Assign(n.Context(), n.request("a", ""))
		if err != nil {
			n.Fatal(err)
		}
		if err := n.Abandon(n.Context(), g); err != nil {
			n.Fatal(err)
		}
		n.has()
		again, err := n.Assign(n.Context(), n.request("a", ""))
		if err != nil {
			n.Fatal(err)
		}
		repeat, err := n.Assign(n.Context(), n.request("a", ""))
		if err != nil || len(again.Claimed) != 2 || len(repeat.Claimed) != 0 {
			n.Errorf("claimed %d, then %d: %v", len(again.Claimed), len(repeat.Claimed), err)
		}
	})
}

// bare hides the side interfaces of a store.
type bare struct{ lease.Store }

func TestStoreWithoutSideInterfaces(t *testing.T) {
	t.Parallel()
	clock := storetest.NewClock()
	e := &lease.Engine{Store: bare{memstore.New(clock.Now)}, Now: clock.Now}
	n := &node{T: t, Engine: e, clock: clock, pools: []lease.Pool{pool(t, "blue", "10.0.0.0/30")}}
	n.is(n.add("a", ""), "10.0.0.2")
	n.is(n.add("b", ""), "no free address: pool blue IPv4 1/1 used")
	n.del("a")
	n.is(n.add("b", ""), "no free address: pool blue IPv4 0/1 used, 1 resting")
	n.clock.Advance(time.Minute)
	n.is(n.add("b", ""), "10.0.0.2")
}

func TestNewFamily(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		subnet, gateway, ranges, exclude string
		want                             string
	}{
		{"10.0.0.0/30", "", "", "", "10.0.0.1-10.0.0.2"},
		{"10.0.0.0/31", "", "", "", "10.0.0.0/31"},
		{"10.0.0.7/32", "", "", "", "10.0.0.7"},
		{"10.0.0.0/29", "10.0.0.3", "", "10.0.0.5", "10.0.0.1-10.0.0.2, 10.0.0.4, 10.0.0.6"},
		{"10.0.0.0/24", "", "10.0.0.0-10.0.0.9", "", "10.0.0.1-10.0.0.9"},
		{"fd00::/126", "", "", "", "fd00::1-fd00::3"},
		{"fd00::/127", "", "", "", "fd00::/127"},
		{"fd00::/64", "fd00::1", "", "", "fd00::2-fd00::ffff:ffff:ffff:ffff"},
	} {
		var lists [2][]ipset.Range
		for i, s := range []string{c.ranges, c.exclude} {
			if s == "" {
				continue
			}
			r, err := ipset.Parse(s)
			if err != nil {
				t.Fatal(err)
			}
			lists[i] = append(lists[i], r)
		}
		gateway, _ := netip.ParseAddr(c.gateway)
		f, err := lease.NewFamily(netip.MustParsePrefix(c.subnet), gateway, lists[0], lists[1])
		if err != nil || f.Set.String() != c.want {
			t.Errorf("%+v: got %s, %v", c, f.Set, err)
		}
	}
}

func TestAttachmentNeedsNames(t *testing.T) {
	onEveryStore(t, func(n *node) {
		r := n.request("a\x00b", "")
		if _, err := n.Assign(n.Context(), r); err == nil {
			n.Error("a NUL in a name was taken")
		}
		r = n.request("", "")
		if _, err := n.Assign(n.Context(), r); err == nil {
			n.Error("an attachment without container was taken")
		}
		if _, err := n.Assign(n.Context(), n.request("a", "", "10.0.0.2", "10.0.0.3")); !errors.As(err, new(*lease.RefusedError)) {
			n.Errorf("two addresses of a family: %v", err)
		}
	})
}

// TestPoolThatGrewAFamily completes what a pod has, although the first effort
// finds the new family dry and is taken back.
func TestPoolThatGrewAFamily(t *testing.T) {
	onEveryStore(t, func(n *node) {
		n.pools = []lease.Pool{pool(n, "blue", "10.0.0.0/29")}
		n.is(n.add("a", "uid"), "10.0.0.2")
		n.pools = []lease.Pool{pool(n, "six", "fd00::/126")}
		n.add("x", "")
		n.add("y", "")
		n.del("x")
		n.del("y")
		n.pools = []lease.Pool{pool(n, "blue", "10.0.0.0/29", "fd00::/126")}
		n.is(n.add("a2", "uid"), "10.0.0.2 fd00::2")
		n.has("10.0.0.2 a2", "fd00::2 a2")
	})
}

// TestUnknownOutcomes has writes that happened and were reported as unknown.
func TestUnknownOutcomes(t *testing.T) {
	t.Parallel()
	clock := storetest.NewClock()
	times := 0
	store := &faulty{Store: memstore.New(clock.Now), next: func() string {
		if times++; times%2 == 1 {
			return "after"
		}
		return ""
	}}
	n := &node{
		T: t, Engine: &lease.Engine{Store: store, Now: clock.Now, BootID: "boot"}, clock: clock,
		pools: []lease.Pool{pool(t, "blue", "10.0.0.0/29")},
	}
	n.is(n.add("a", ""), "10.0.0.2") // a claim
	times = 0
	n.del("a") // a release
	n.has()
	times = 1
	n.is(n.add("b", "uid"), "10.0.0.3")
	times = 0
	n.is(n.add("b2", "uid"), "10.0.0.3") // a swap
	n.has("10.0.0.3 b2")
}

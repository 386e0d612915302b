// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package netplantest is the suite that every netplan.Kernel passes: the real one and the fake.
//
// Job: show, through plans, that a Kernel adds, finds, changes and removes each kind of object, says the right thing about
// what is there already or is not there, and that undoing every step leads back.
//
// Non-goals: the plans themselves (package netplan's own tests).
//
// Failure model: a difference fails the test with both sides.
package netplantest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weft-cni/weft/libs/netplan"
	"github.com/weft-cni/weft/libs/netplan/nft"
	"github.com/weft-cni/weft/libs/undo"
)

// Pair is two namespaces.
type Pair struct {
	Near, Far netplan.Kernel
	// FarPath is the path of the far one.
	FarPath string
}

const (
	nearLink = "weft00000000000"
	nodeMap  = "node4"
)

// near is a state that has every kind of object.
func near(farPath string) netplan.State {
	a := netip.MustParseAddr("192.0.2.7")
	b := netip.MustParseAddr("2001:db8::7")
	return netplan.State{
		Links: []netplan.Link{{
			Name: nearLink, Kind: "veth", MAC: netplan.HostMAC(), MTU: 1400, Alias: netplan.AliasPrefix + "suite", Up: true,
			Peer: &netplan.Peer{Name: netplan.PodLink, Netns: farPath, MAC: netplan.MAC{2, 0, 0, 0, 0, 7}, MTU: 1400},
		}},
		Sysctls: []netplan.Sysctl{{Key: "net/ipv4/conf/" + nearLink + "/rp_filter", Value: "2"}},
		Addrs: []netplan.Addr{
			{Link: nearLink, Prefix: netip.MustParsePrefix("198.51.100.1/32"), Scope: netplan.ScopeHost},
			{Link: nearLink, Prefix: netip.PrefixFrom(netplan.NextHop6(), 64), Scope: netplan.ScopeLink, NoDAD: true},
			{Link: nearLink, Prefix: netip.MustParsePrefix("2001:db8::1/128"), NoDAD: true},
		},
		Neighs: []netplan.Neigh{
			{Link: nearLink, IP: a, MAC: netplan.MAC{2, 0, 0, 0, 0, 7}},
			{Link: nearLink, IP: b, MAC: netplan.MAC{2, 0, 0, 0, 0, 7}},
		},
		Routes: []netplan.Route{
			{Dst: netip.PrefixFrom(a, 32), Link: nearLink, Scope: netplan.ScopeLink, Table: netplan.Table, Src: netip.MustParseAddr("198.51.100.1")},
			{Dst: netip.PrefixFrom(b, 128), Link: nearLink, Table: netplan.Table, MTU: 1300},
			{Dst: netip.MustParsePrefix("203.0.113.0/24"), Via: a, Link: nearLink, OnLink: true},
			{Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: a, Link: nearLink, OnLink: true, Table: 77},
			{Dst: netip.MustParsePrefix("::/0"), Via: netip.MustParseAddr("fe80::7"), Link: nearLink, OnLink: true, Table: 77},
		},
		Nft: &nft.Table{
			Name: netplan.NftTable,
			Maps: []nft.Map{{Name: nodeMap, Value: "ipv4_addr"}, {Name: "node6", Value: "ipv6_addr"}},
			Chains: []nft.Chain{
				{Name: "postrouting", Type: "nat", Hook: "postrouting", Priority: 99, Rules: []nft.Rule{
					nft.New(nft.SNATByLink(4, nodeMap)), nft.New(nft.SNATByLink(6, "node6")),
				}},
				{Name: "output", Type: "route", Hook: "output", Priority: -150, Rules: []nft.Rule{
					nft.New(nft.CTMark(netplan.FlowMark), nft.SetMark(netplan.FlowMark)),
				}},
				{Name: "prerouting", Type: "filter", Hook: "prerouting", Priority: -150, Rules: []nft.Rule{
					nft.New(nft.IIFName(nearLink), nft.CTNew(), nft.SetCTMark(netplan.FlowMark)),
				}},
			},
		},
		Elems: []nft.Elem{
			{Map: nodeMap, Key: nearLink, Value: netip.MustParseAddr("198.51.100.1")},
			{Map: "node6", Key: nearLink, Value: netip.MustParseAddr("2001:db8::1")},
		},
		Rules: []netplan.Rule{
			{Family: 4, Preference: 933, Table: netplan.Table},
			{Family: 6, Preference: 933, Mark: netplan.FlowMark, Mask: netplan.FlowMark, Table: 77},
			{Family: 4, Preference: 934, From: netip.MustParsePrefix("192.0.2.7/32"), OIF: nearLink, Table: 77},
		},
	}
}

// Run runs the suite; open makes two fresh namespaces.
func Run(t *testing.T, open func(t *testing.T) Pair) {
	t.Helper()
	for name, f := range map[string]func(t *testing.T, p Pair){
		"reach, repeat, remove": reachRepeatRemove,
		"fail at each step":     failAtEachStep,
		"mend":                  mend,
		"strangers":             strangers,
		"nothing there":         nothingThere,
		"far end":               farEnd,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, open(t))
		})
	}
}

func reach(t *testing.T, k netplan.Kernel, want netplan.State) *undo.Stack {
	t.Helper()
	back := &undo.Stack{}
	if err := netplan.Reach(t.Context(), k, want, back); err != nil {
		t.Fatal(err)
	}
	return back
}

// observe returns what is there, without what differs from kernel to kernel.
func observe(t *testing.T, k netplan.Kernel, q netplan.Query) netplan.State {
	t.Helper()
	s, err := k.Observe(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func diffs(t *testing.T, k netplan.Kernel, want netplan.State) []string {
	t.Helper()
	return netplan.Verify(want, observe(t, k, want.Query()))
}

func reachRepeatRemove(t *testing.T, p Pair) {
	t.Helper()
	want := near(p.FarPath)
	q := want.Query()
	q.Tables = []int{netplan.Table, 77}
	empty := observe(t, p.Near, q)
	back := reach(t, p.Near, want)
	if d := diffs(t, p.Near, want); len(d) > 0 {
		t.Errorf("after Reach: %s", strings.Join(d, "; "))
	}
	if again := reach(t, p.Near, want); again.Len() > 0 {
		t.Errorf("Reach again made %d changes", again.Len())
	}
	have := observe(t, p.Near, q)
	if err := netplan.Remove(t.Context(), p.Near, have); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(empty, observe(t, p.Near, q), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("Remove left something (-before +after):\n%s", diff)
	}
	if err := back.Run(t.Context()); err != nil {
		t.Errorf("undoing what is gone already: %v", err)
	}
}

// failing is a Kernel whose n-th change, and only that, does not succeed.
type failing struct {
	netplan.Kernel
	left int
}

var errInjected = errors.New("injected")

func (f *failing) Do(ctx context.Context, op netplan.Op) error {
	f.left--
	if f.left == -1 {
		return errInjected
	}
	return f.Kernel.Do(ctx, op)
}

func failAtEachStep(t *testing.T, p Pair) {
	t.Helper()
	want := near(p.FarPath)
	q := want.Query()
	q.Tables = []int{netplan.Table, 77}
	before := fmt.Sprint(observe(t, p.Near, q))
	steps, err := netplan.Plan(want, observe(t, p.Near, want.Query()))
	if err != nil {
		t.Fatal(err)
	}
	if len(steps) < 15 {
		t.Fatalf("only %d steps", len(steps))
	}
	for n := range steps {
		back := &undo.Stack{}
		err := netplan.Apply(t.Context(), &failing{Kernel: p.Near, left: n}, steps, back)
		if !errors.Is(err, errInjected) {
			t.Fatalf("step %d: %v", n, err)
		}
		if err := back.Run(t.Context()); err != nil {
			t.Errorf("step %d: undo: %v", n, err)
		}
		if after := fmt.Sprint(observe(t, p.Near, q)); after != before {
			t.Errorf("step %d: not as before:\n%s\n%s", n, before, after)
		}
	}
}

// mend damages each object and wants Verify to name it and Reach to repair it, and undo to bring the damage back.
func mend(t *testing.T, p Pair) {
	t.Helper()
	want := near(p.FarPath)
	reach(t, p.Near, want)
	other := want.Nft.Chains[1]
	other.Rules = []nft.Rule{nft.New(nft.SetMark(1))}
	table := nft.Table{Name: want.Nft.Name, Maps: want.Nft.Maps, Chains: []nft.Chain{want.Nft.Chains[0], other, want.Nft.Chains[2]}}
	neigh, route, elem, link := want.Neighs[0], want.Routes[0], want.Elems[0], want.Links[0]
	neigh.MAC[5]++
	route.Src = netip.Addr{}
	elem.Value = netip.MustParseAddr("198.51.100.9")
	link.MTU, link.Alias = 1390, netplan.AliasPrefix+"other"
	for _, damage := range []netplan.Op{
		{Verb: netplan.Del, Object: want.Routes[2]},
		{Verb: netplan.Del, Object: want.Addrs[2]},
		{Verb: netplan.Del, Object: want.Neighs[1]},
		{Verb: netplan.Del, Object: want.Rules[2]},
		{Verb: netplan.Del, Object: want.Elems[1]},
		{Verb: netplan.Set, Object: neigh},
		{Verb: netplan.Set, Object: route},
		{Verb: netplan.Set, Object: elem},
		{Verb: netplan.Set, Object: link},
		{Verb: netplan.Set, Object: table},
		{Verb: netplan.Set, Object: netplan.Sysctl{Key: want.Sysctls[0].Key, Value: "0"}},
		{Verb: netplan.Add, Object: netplan.Rule{Family: 6, Preference: 935, Table: 77}},
		{Verb: netplan.Add, Object: netplan.Route{Dst: netip.MustParsePrefix("192.0.2.99/32"), Link: nearLink, Scope: netplan.ScopeLink}},
		{Verb: netplan.Set, Object: netplan.Neigh{Link: nearLink, IP: netip.MustParseAddr("192.0.2.99"), MAC: netplan.HostMAC()}},
	} {
		if err := p.Near.Do(t.Context(), damage); err != nil {
			t.Fatalf("%s %v: %v", damage.Verb, damage.Object, err)
		}
		broken := diffs(t, p.Near, want)
		if len(broken) != 1 {
			t.Errorf("%s %v: Verify found %q", damage.Verb, damage.Object, broken)
		}
		back := reach(t, p.Near, want)
		if d := diffs(t, p.Near, want); len(d) > 0 {
			t.Errorf("%s %v: not repaired: %q", damage.Verb, damage.Object, d)
		}
		if err := back.Run(t.Context()); err != nil {
			t.Errorf("%s %v: undo: %v", damage.Verb, damage.Object, err)
		}
		if d := diffs(t, p.Near, want); !slices.Equal(d, broken) {
			t.Errorf("%s %v: undo led to %q, want %q", damage.Verb, damage.Object, d, broken)
		}
		reach(t, p.Near, want)
	}
}

// strangers shows that a route of somebody else in the main table is not replaced.
func strangers(t *testing.T, p Pair) {
	t.Helper()
	want := near(p.FarPath)
	reach(t, p.Near, want)
	twice := netplan.Op{Verb: netplan.Add, Object: want.Routes[2]}
	if err := p.Near.Do(t.Context(), twice); !errors.Is(err, netplan.ErrForeign) {
		t.Errorf("adding a route over another: %v, want ErrForeign", err)
	}
	if err := p.Near.Do(t.Context(), netplan.Op{Verb: netplan.Add, Object: want.Rules[0]}); !errors.Is(err, netplan.ErrExists) {
		t.Errorf("adding a rule twice: %v, want ErrExists", err)
	}
	if err := p.Near.Do(t.Context(), netplan.Op{Verb: netplan.Add, Object: want.Addrs[0]}); !errors.Is(err, netplan.ErrExists) {
		t.Errorf("adding an address twice: %v, want ErrExists", err)
	}
	if err := p.Near.Do(t.Context(), netplan.Op{Verb: netplan.Add, Object: want.Links[0]}); err == nil || errors.Is(err, netplan.ErrExists) {
		t.Errorf("making a pair over another: %v, want an error that is not taken for success", err)
	}
}

func nothingThere(t *testing.T, p Pair) {
	t.Helper()
	want := near(p.FarPath)
	for _, object := range []any{want.Links[0], want.Addrs[0], want.Routes[0], want.Rules[0], want.Neighs[0], *want.Nft, want.Elems[0]} {
		if err := p.Near.Do(t.Context(), netplan.Op{Verb: netplan.Del, Object: object}); !errors.Is(err, netplan.ErrAbsent) {
			t.Errorf("removing %v, which is not there: %v, want ErrAbsent", object, err)
		}
	}
	if err := netplan.Remove(t.Context(), p.Near, near("")); err != nil {
		t.Errorf("Remove of what is not there: %v", err)
	}
}

// farEnd shows that the far end is born with the near one, can be adjusted, and that a pair connected elsewhere is made anew.
func farEnd(t *testing.T, p Pair) {
	t.Helper()
	want := near(p.FarPath)
	reach(t, p.Near, want)
	far := netplan.State{Links: []netplan.Link{{
		Name: netplan.PodLink, MAC: netplan.MAC{2, 0, 0, 0, 0, 8}, MTU: 1400, Alias: netplan.AliasPrefix + "far", Up: true,
	}}}
	reach(t, p.Far, far)
	if d := diffs(t, p.Far, far); len(d) > 0 {
		t.Errorf("far end: %q", d)
	}
	f, n := observe(t, p.Far, far.Query()).Links[0], observe(t, p.Near, want.Query()).Links[0]
	if f.PeerIndex != n.Index || n.PeerIndex != f.Index {
		t.Errorf("the ends do not name each other: %+v, %+v", n, f)
	}
	want.Links[0].PeerIndex = f.Index
	if d := diffs(t, p.Near, want); len(d) > 0 {
		t.Errorf("connected: %q", d)
	}
	want.Links[0].PeerIndex = -1
	reach(t, p.Near, want)
	want.Links[0].PeerIndex = 0
	if d := diffs(t, p.Near, want); len(d) > 0 {
		t.Errorf("made anew: %q", d)
	}
	if now := observe(t, p.Near, want.Query()).Links[0].Index; now == n.Index {
		t.Error("the pair was not made anew")
	}
}

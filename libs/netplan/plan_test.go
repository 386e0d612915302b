// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package netplan_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weft-cni/weft/libs/netplan"
	"github.com/weft-cni/weft/libs/netplan/netplanfake"
	"github.com/weft-cni/weft/libs/netplan/nft"
	"github.com/weft-cni/weft/libs/undo"
)

const link = "weft0123456789a"

func veth() netplan.Link {
	return netplan.Link{
		Name: link, Kind: "veth", MAC: netplan.HostMAC(), MTU: 1500, Alias: "weft net/c/eth0", Up: true,
		Peer: &netplan.Peer{Name: "veth0", Netns: "/run/netns/pod", MAC: netplan.MAC{0x0a, 1, 2, 3, 4, 5}, MTU: 1500},
	}
}

func seen(change func(*netplan.Link)) netplan.Link {
	l := veth()
	l.Peer, l.Index, l.PeerIndex = nil, 7, 8
	if change != nil {
		change(&l)
	}
	return l
}

func podRoute(src string) netplan.Route {
	r := netplan.Route{Dst: netip.MustParsePrefix("10.0.0.7/32"), Link: link, Table: netplan.Table, Scope: netplan.ScopeLink}
	if src != "" {
		r.Src = netip.MustParseAddr(src)
	}
	return r
}

// TestPlan compares plans as text: the lines that would do the same by hand.
func TestPlan(t *testing.T) {
	t.Parallel()
	six := netplan.Addr{Link: link, Prefix: netip.PrefixFrom(netplan.NextHop6(), 64), Scope: netplan.ScopeLink, NoDAD: true}
	rule := netplan.Rule{Family: 4, Preference: 933, Table: 9338}
	neigh := netplan.Neigh{Link: link, IP: netip.MustParseAddr("10.0.0.7"), MAC: netplan.MAC{0x0a, 1, 2, 3, 4, 5}}
	table := nft.Table{Name: "weft", Chains: []nft.Chain{{
		Name: "prerouting", Type: "filter", Hook: "prerouting", Priority: -150,
		Rules: []nft.Rule{nft.New(nft.IIFName("veth0"), nft.CTNew(), nft.SetCTMark(netplan.FlowMark))},
	}}}
	elem := nft.Elem{Map: "node4", Key: link, Value: netip.MustParseAddr("10.0.0.1")}
	full := netplan.State{
		Links: []netplan.Link{veth()}, Addrs: []netplan.Addr{six}, Neighs: []netplan.Neigh{neigh},
		Routes: []netplan.Route{podRoute("10.0.0.1")}, Rules: []netplan.Rule{rule},
		Sysctls: []netplan.Sysctl{{Key: "net/ipv4/conf/" + link + "/forwarding", Value: "1"}},
		Nft:     &table, Elems: []nft.Elem{elem},
	}
	there := full
	there.Links = []netplan.Link{seen(nil)}
	for _, tc := range []struct {
		name       string
		want, have netplan.State
		steps      string
	}{
		{name: "nothing to do", want: full, have: there},
		{name: "from nothing", want: full, steps: `
ip link add weft0123456789a address ee:ee:ee:ee:ee:ee mtu 1500 type veth peer name veth0 netns /run/netns/pod address 0a:01:02:03:04:05 mtu 1500
ip link set weft0123456789a alias 'weft net/c/eth0'
sysctl -w net/ipv4/conf/weft0123456789a/forwarding=1
ip -6 addr add fe80::ecee:eeff:feee:eeee/64 dev weft0123456789a scope link nodad
ip link set weft0123456789a up
ip neigh replace 10.0.0.7 lladdr 0a:01:02:03:04:05 dev weft0123456789a nud permanent
ip route replace 10.0.0.7/32 dev weft0123456789a table 9338 proto 119 scope link src 10.0.0.1
nft add table inet weft
nft add chain inet weft prerouting { type filter hook prerouting priority -150; }
nft add rule inet weft prerouting meta iifname == "veth0" ct state new ct mark set ct mark or 0x20000000
nft add element inet weft node4 { "weft0123456789a" : 10.0.0.1 }
ip rule add pref 933 lookup 9338 protocol 119`},
		{name: "to nothing: what hangs on the link or is in the table goes with it", have: there, steps: `
ip rule del pref 933 lookup 9338 protocol 119
nft delete table inet weft
ip link del weft0123456789a`},
		{
			name: "another source", want: netplan.State{Routes: []netplan.Route{podRoute("10.0.0.2")}},
			have:  netplan.State{Routes: []netplan.Route{podRoute("10.0.0.1")}},
			steps: "ip route replace 10.0.0.7/32 dev weft0123456789a table 9338 proto 119 scope link src 10.0.0.2",
		},
		{
			name:  "a route too many",
			have:  netplan.State{Routes: []netplan.Route{podRoute("")}},
			steps: "ip route del 10.0.0.7/32 dev weft0123456789a table 9338 proto 119 scope link",
		},
		{name: "shared: nothing is removed", want: netplan.State{Shared: true}, have: netplan.State{Rules: []netplan.Rule{rule}, Nft: &table}},
		{
			name: "a link that is down, smaller and unmarked", want: netplan.State{Links: []netplan.Link{veth()}},
			have: netplan.State{Links: []netplan.Link{seen(func(l *netplan.Link) { l.Up, l.MTU, l.Alias = false, 1400, "" })}},
			steps: `
ip link set weft0123456789a address ee:ee:ee:ee:ee:ee mtu 1500 alias 'weft net/c/eth0'
ip link set weft0123456789a up`,
		},
		{
			name: "the kernel's own link-local address stays",
			want: netplan.State{Links: []netplan.Link{veth()}},
			have: netplan.State{
				Links: []netplan.Link{seen(nil)},
				Addrs: []netplan.Addr{{Link: link, Prefix: netip.MustParsePrefix("fe80::1/64"), Scope: netplan.ScopeLink}},
			},
		},
		{
			name: "a pair connected elsewhere is made anew, with its variables",
			want: netplan.State{
				Links:   []netplan.Link{func() netplan.Link { l := veth(); l.PeerIndex = 9; return l }()},
				Sysctls: full.Sysctls, Neighs: full.Neighs,
			},
			have: there,
			steps: `
ip rule del pref 933 lookup 9338 protocol 119
nft delete table inet weft
ip link del weft0123456789a
ip link add weft0123456789a address ee:ee:ee:ee:ee:ee mtu 1500 type veth peer name veth0 netns /run/netns/pod address 0a:01:02:03:04:05 mtu 1500
ip link set weft0123456789a alias 'weft net/c/eth0'
sysctl -w net/ipv4/conf/weft0123456789a/forwarding=1
ip link set weft0123456789a up
ip neigh replace 10.0.0.7 lladdr 0a:01:02:03:04:05 dev weft0123456789a nud permanent`,
		},
		{
			name: "the mark's rule and the way back", want: netplan.State{
				Rules: []netplan.Rule{{Family: 6, Preference: 933, Mark: netplan.FlowMark, Mask: netplan.FlowMark, Table: 9338}},
				Routes: []netplan.Route{{
					Dst: netip.MustParsePrefix("::/0"), Via: netplan.NextHop6(), Link: "veth0", Table: 9338, OnLink: true,
					Src: netip.MustParseAddr("fd00::7"), MTU: 1400,
				}},
			},
			steps: `
ip -6 route replace default via fe80::ecee:eeff:feee:eeee dev veth0 table 9338 proto 119 src fd00::7 mtu 1400 onlink
ip -6 rule add pref 933 fwmark 0x20000000/0x20000000 lookup 9338 protocol 119`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			steps, err := netplan.Plan(tc.want, tc.have)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.TrimSpace(tc.steps), strings.Join(netplan.Render(steps), "\n")); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
			if len(netplan.Verify(tc.want, tc.have)) != len(steps) {
				t.Error("Verify and Plan do not agree")
			}
		})
	}
}

func TestPlanRefusesStrangers(t *testing.T) {
	t.Parallel()
	for name, have := range map[string]netplan.Link{
		"a bridge with our name":          seen(func(l *netplan.Link) { l.Kind = "bridge" }),
		"a pair with somebody else's tag": seen(func(l *netplan.Link) { l.Alias = "uplink" }),
	} {
		state := netplan.State{Links: []netplan.Link{have}}
		if _, err := netplan.Plan(netplan.State{Links: []netplan.Link{veth()}}, state); !errors.Is(err, netplan.ErrForeign) {
			t.Errorf("%s: %v, want ErrForeign", name, err)
		}
	}
	tagless := netplan.State{Links: []netplan.Link{seen(func(l *netplan.Link) { l.Alias = "uplink" })}}
	if steps, err := netplan.Removal(tagless); !errors.Is(err, netplan.ErrForeign) || len(steps) > 0 {
		t.Errorf("removing a link that is not ours: %v, %v", steps, err)
	}
}

func TestMarks(t *testing.T) {
	t.Parallel()
	a := netplan.Attachment{Network: "net", ContainerID: "c", IfName: "eth0"}
	if got := a.HostLink(); len(got) != 15 || !strings.HasPrefix(got, "weft") {
		t.Errorf("host link %q, want weft and 11 digits: 15 characters", got)
	}
	if a.PodMAC()[0]&3 != 2 {
		t.Errorf("%s is not a locally administered unicast address", a.PodMAC())
	}
	// The next hop is the address that follows from the hardware address, as every kernel would make it.
	m := netplan.HostMAC()
	eui := [16]byte{0xfe, 0x80, 8: m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]}
	if got := netip.AddrFrom16(eui); got != netplan.NextHop6() {
		t.Errorf("next hop %s, want %s", netplan.NextHop6(), got)
	}
	long := netplan.Attachment{Network: strings.Repeat("n", 200), ContainerID: strings.Repeat("c", 64), IfName: "eth0"}
	if got := long.Alias(); len(got) > 255 || !strings.HasPrefix(got, netplan.AliasPrefix) {
		t.Errorf("alias of %d bytes: %q", len(got), got)
	}
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching(`[a-z0-9]{1,8}`)
		gen := rapid.Custom(func(t *rapid.T) netplan.Attachment {
			return netplan.Attachment{Network: word.Draw(t, "network"), ContainerID: word.Draw(t, "container"), IfName: word.Draw(t, "interface")}
		})
		a, b := gen.Draw(t, "a"), gen.Draw(t, "b")
		if (a == b) != (a.HostLink() == b.HostLink()) {
			t.Fatalf("%v and %v share %s", a, b, a.HostLink())
		}
	})
}

// TestApplyStopsInTime shows that no step begins after the deadline, and that the way back is complete by then.
func TestApplyStopsInTime(t *testing.T) {
	t.Parallel()
	k := netplanfake.NewWorld().Namespace("host")
	ctx, cancel := context.WithCancelCause(t.Context())
	late := errors.New("too late")
	k.Fail = func(op netplan.Op) error {
		if op.Verb == netplan.Up {
			cancel(late)
		}
		return nil
	}
	want := netplan.State{Links: []netplan.Link{veth()}, Rules: []netplan.Rule{{Family: 4, Preference: 933, Table: 9338}}}
	back := &undo.Stack{}
	if err := netplan.Reach(ctx, k, want, back); !errors.Is(err, late) {
		t.Fatalf("%v, want the deadline's cause", err)
	}
	if err := back.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	have, err := k.Observe(t.Context(), want.Query())
	if err != nil || len(have.Links)+len(have.Rules) > 0 {
		t.Errorf("left: %+v, %v", have, err)
	}
}

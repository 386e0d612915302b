// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package nft_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/nftables/expr"

	"github.com/weft-cni/weft/libs/netplan/nft"
)

func TestRuleText(t *testing.T) {
	t.Parallel()
	for want, rule := range map[string]nft.Rule{
		`meta iifname == "veth0" ct state new ct mark set ct mark or 0x20000000`:   nft.New(nft.IIFName("veth0"), nft.CTNew(), nft.SetCTMark(0x20000000)),
		`ct mark & 0x20000000 == 0x20000000 meta mark set meta mark or 0x20000000`: nft.New(nft.CTMark(0x20000000), nft.SetMark(0x20000000)),
		`meta nfproto == ipv4 snat ip to meta oifname map @node4`:                  nft.New(nft.SNATByLink(4, "node4")),
		`meta nfproto == ipv6 snat ip6 to meta oifname map @node6`:                 nft.New(nft.SNATByLink(6, "node6")),
		`*expr.Counter&{Bytes:1 Packets:2}`:                                        {&expr.Counter{Bytes: 1, Packets: 2}},
		`meta iifname != "eth0" (ct mark & 0xf) ^ 0x1 == 0x2`:                      {&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}, &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: nft.IfKey("eth0")}, &expr.Ct{Key: expr.CtKeyMARK, Register: 1}, &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: []byte{15, 0, 0, 0}, Xor: []byte{1, 0, 0, 0}}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{2, 0, 0, 0}}},
		`dnat ip to  {Type:1 Family:2 RegAddrMin:1 RegAddrMax:0 RegProtoMin:2 RegProtoMax:0 Random:false FullyRandom:false Persistent:false Prefix:false Specified:false}`: {&expr.NAT{Type: expr.NATTypeDestNAT, Family: 2, RegAddrMin: 1, RegProtoMin: 2}},
	} {
		if got := rule.String(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func table(change func(*nft.Table)) nft.Table {
	t := nft.Table{
		Name: "weft", Maps: []nft.Map{{Name: "a", Value: "ipv4_addr"}, {Name: "b", Value: "ipv6_addr"}},
		Chains: []nft.Chain{
			{Name: "x", Type: "filter", Hook: "prerouting", Priority: -150, Rules: []nft.Rule{nft.New(nft.CTNew()), nft.New(nft.SetMark(1))}},
			{Name: "y", Type: "nat", Hook: "postrouting", Priority: 99},
		},
	}
	if change != nil {
		change(&t)
	}
	return t
}

func TestEqual(t *testing.T) {
	t.Parallel()
	want := table(nil)
	if other := table(func(t *nft.Table) {
		t.Maps[0], t.Maps[1] = t.Maps[1], t.Maps[0]
		t.Chains[0], t.Chains[1] = t.Chains[1], t.Chains[0]
	}); !nft.Equal(want, other) {
		t.Errorf("the order of maps and chains matters: %s", nft.Diff(want, other))
	}
	for what, change := range map[string]func(*nft.Table){
		"map gone":       func(t *nft.Table) { t.Maps = t.Maps[1:] },
		"map's type":     func(t *nft.Table) { t.Maps[0].Value = "ipv6_addr" },
		"chain gone":     func(t *nft.Table) { t.Chains = t.Chains[:1] },
		"priority":       func(t *nft.Table) { t.Chains[1].Priority = 100 },
		"rule gone":      func(t *nft.Table) { t.Chains[0].Rules = t.Chains[0].Rules[:1] },
		"rule changed":   func(t *nft.Table) { t.Chains[0].Rules[1] = nft.New(nft.SetMark(2)) },
		"order of rules": func(t *nft.Table) { r := t.Chains[0].Rules; r[0], r[1] = r[1], r[0] },
		"rule twice":     func(t *nft.Table) { t.Chains[0].Rules = append(t.Chains[0].Rules, nft.New(nft.CTNew())) },
	} {
		if other := table(change); nft.Equal(want, other) {
			t.Errorf("%s: not seen", what)
		}
	}
}

func TestRender(t *testing.T) {
	t.Parallel()
	got := strings.Join(nft.Render(table(nil), false, true), "\n")
	for _, line := range []string{
		"nft add map inet weft a { type ifname : ipv4_addr; }", "nft flush chain inet weft x",
		"nft add chain inet weft y { type nat hook postrouting priority 99; }",
	} {
		if !strings.Contains(got, line) {
			t.Errorf("no line %q in\n%s", line, got)
		}
	}
	e := nft.Elem{Map: "a", Key: "weft0", Value: netip.MustParseAddr("192.0.2.1")}
	if got, want := nft.RenderElem("weft", e, true), `nft delete element inet weft a { "weft0" }`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

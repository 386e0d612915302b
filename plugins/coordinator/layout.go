// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"slices"
	"strconv"

	"github.com/weft-cni/weft/libs/netplan"
	"github.com/weft-cni/weft/libs/netplan/kernel"
	"github.com/weft-cni/weft/libs/netplan/nft"
)

// layout is what both namespaces are to look like. It is computed from configuration and facts alone.
type layout struct {
	// shared is what all attachments of the node use together, host what belongs to this one there.
	shared, host, pod netplan.State
	// addrs are the pod's addresses of the families below.
	addrs []netip.Addr
	// v4 and v6 say which families the node can be reached by.
	v4, v6 bool
	// notes say what was left out, for the log.
	notes []string
}

// Names inside our nftables table.
const (
	chainPrerouting  = "prerouting"
	chainOutput      = "output"
	chainPostrouting = "postrouting"
	mapNode4         = "node4"
	mapNode6         = "node6"

	priorityMangle = -150
	// prioritySNAT is just before the usual place of source NAT (100), where kube-proxy masquerades.
	prioritySNAT = 99
)

func layoutOf(c config, f facts) layout {
	var l layout
	for _, a := range f.podAddrs {
		source := f.source4
		if a.Is6() {
			source = f.source6
		}
		if !source.IsValid() {
			l.notes = append(l.notes, "the node has no address of the family of "+a.String()+": the node and Services are not reachable by it")
			continue
		}
		l.addrs = append(l.addrs, a)
		l.v4, l.v6 = l.v4 || a.Is4(), l.v6 || a.Is6()
	}
	if len(l.addrs) == 0 {
		return l
	}
	l.hostShared(c, f)
	l.hostOwn(c, f)
	l.podLinks(c, f)
	l.podRoutes(c, f)
	if c.replyPath == replyMark {
		l.podReplyPath()
	}
	return l
}

// hostShared is one rule per family, what Services need of forwarding, and the source NAT's rules.
func (l *layout) hostShared(c config, f facts) {
	l.shared.Shared = true
	rule := netplan.Rule{Family: 4, Preference: netplan.RulePreference, Table: netplan.Table}
	if l.v4 {
		l.shared.Rules = append(l.shared.Rules, rule)
		for _, link := range f.outward4 {
			l.shared.Sysctls = append(l.shared.Sysctls, netplan.Sysctl{Key: forward4(link), Value: "1"})
		}
	}
	if l.v6 {
		rule.Family = 6
		l.shared.Rules = append(l.shared.Rules, rule)
		l.shared.Sysctls = append(l.shared.Sysctls, sharedForward6(f)...)
	}
	if c.replyPath == replySNAT {
		l.shared.Nft = snatTable()
	}
}

func forward4(link string) string { return "net/ipv4/conf/" + link + "/forwarding" }

// sharedForward6 switches IPv6 forwarding on. Where the kernel has one switch only, links that listen to router
// advertisements keep doing so: a router would stop to.
func sharedForward6(f facts) []netplan.Sysctl {
	var out []netplan.Sysctl
	switch f.forward6 {
	case forward6On:
	case forward6PerLink:
		for _, link := range f.outward6 {
			out = append(out, netplan.Sysctl{Key: forceForward6(link), Value: "1"})
		}
	case forward6Globally:
		for _, link := range f.outward6 {
			out = append(out, netplan.Sysctl{Key: "net/ipv6/conf/" + link + "/accept_ra", Value: "2"})
		}
		out = append(out, netplan.Sysctl{Key: forward6All, Value: "1"})
	}
	return out
}

func snatTable() *nft.Table {
	return &nft.Table{
		Name: netplan.NftTable,
		Maps: []nft.Map{{Name: mapNode4, Value: "ipv4_addr"}, {Name: mapNode6, Value: "ipv6_addr"}},
		Chains: []nft.Chain{{
			Name: chainPostrouting, Type: "nat", Hook: "postrouting", Priority: prioritySNAT,
			Rules: []nft.Rule{nft.New(nft.SNATByLink(4, mapNode4)), nft.New(nft.SNATByLink(6, mapNode6))},
		}},
	}
}

// hostOwn is the host end of the pair, and one route and one neighbour per pod address.
func (l *layout) hostOwn(c config, f facts) {
	name := f.att.HostLink()
	link := netplan.Link{
		Name: name, Kind: "veth", MAC: netplan.HostMAC(), MTU: mtu(c, f), Alias: f.att.Alias(), Up: true, PeerIndex: -1,
		Peer: &netplan.Peer{Name: netplan.PodLink, Netns: f.netns, MAC: f.att.PodMAC(), MTU: mtu(c, f)},
	}
	if f.veth != nil {
		link.PeerIndex = f.veth.Index
	}
	l.host.Links = []netplan.Link{link}
	set := func(key, value string) {
		l.host.Sysctls = append(l.host.Sysctls, netplan.Sysctl{Key: key, Value: value})
	}
	if l.v4 {
		set(forward4(name), "1")
		if c.hostRPFilter != untouched {
			set("net/ipv4/conf/"+name+"/rp_filter", strconv.Itoa(c.hostRPFilter))
		}
	}
	if l.v6 {
		set("net/ipv6/conf/"+name+"/disable_ipv6", "0")
		set("net/ipv6/conf/"+name+"/accept_ra", "0")
		if f.forward6 == forward6PerLink {
			set(forceForward6(name), "1")
		}
		l.host.Addrs = []netplan.Addr{{Link: name, Prefix: netip.PrefixFrom(netplan.NextHop6(), 64), Scope: netplan.ScopeLink, NoDAD: true}}
	}
	for _, a := range l.addrs {
		source, m := f.source4, mapNode4
		if a.Is6() {
			source, m = f.source6, mapNode6
		}
		l.host.Neighs = append(l.host.Neighs, netplan.Neigh{Link: name, IP: a, MAC: f.att.PodMAC()})
		l.host.Routes = append(l.host.Routes, netplan.Route{
			Dst: single(a), Link: name, Table: netplan.Table, Src: source, Scope: netplan.ScopeLink,
		})
		elem := nft.Elem{Map: m, Key: name, Value: source}
		if c.replyPath == replySNAT && !slices.Contains(l.host.Elems, elem) {
			l.host.Elems = append(l.host.Elems, elem)
		}
	}
}

func mtu(c config, f facts) int {
	if c.mtu != 0 {
		return c.mtu
	}
	return f.nic.MTU
}

// podLinks is the pod end of the pair and what both its links need.
func (l *layout) podLinks(c config, f facts) {
	l.pod.Links = []netplan.Link{{
		Name: netplan.PodLink, MAC: f.att.PodMAC(), MTU: mtu(c, f), Alias: f.att.Alias(), Up: true,
	}}
	set := func(key, value string) {
		l.pod.Sysctls = append(l.pod.Sysctls, netplan.Sysctl{Key: key, Value: value})
	}
	if l.v4 {
		if c.podRPFilter != untouched {
			set("net/ipv4/conf/"+netplan.PodLink+"/rp_filter", strconv.Itoa(c.podRPFilter))
			set("net/ipv4/conf/"+f.nic.Name+"/rp_filter", strconv.Itoa(c.podRPFilter))
		}
		if c.linkLocal {
			// The NIC must not answer for the address that every pod's veth0 has.
			set("net/ipv4/conf/"+f.nic.Name+"/arp_ignore", "1")
			l.pod.Addrs = []netplan.Addr{{Link: netplan.PodLink, Prefix: single(netplan.PodLinkLocal4()), Scope: netplan.ScopeHost}}
		}
		l.pod.Neighs = append(l.pod.Neighs, netplan.Neigh{Link: netplan.PodLink, IP: netplan.NextHop4(), MAC: netplan.HostMAC()})
		l.pod.Routes = append(l.pod.Routes, netplan.Route{Dst: single(netplan.NextHop4()), Link: netplan.PodLink, Scope: netplan.ScopeLink})
	}
	if l.v6 {
		set("net/ipv6/conf/"+netplan.PodLink+"/disable_ipv6", "0")
		set("net/ipv6/conf/"+netplan.PodLink+"/accept_ra", "0")
		l.pod.Neighs = append(l.pod.Neighs, netplan.Neigh{Link: netplan.PodLink, IP: netplan.NextHop6(), MAC: netplan.HostMAC()})
	}
}

// podRoutes leads the node's addresses and the configured networks over the veth.
func (l *layout) podRoutes(c config, f facts) {
	nodes := f.nodeAddrs
	if c.nodeAddrsSet {
		nodes = c.nodeAddrs
	}
	var dsts []netip.Prefix
	for _, a := range nodes {
		dsts = append(dsts, single(a))
	}
	dsts = append(dsts, c.cidrs...)
	var done []netip.Prefix
	for _, dst := range dsts {
		if slices.Contains(done, dst) || dst.Addr().Is4() && !l.v4 || dst.Addr().Is6() && !l.v6 {
			continue
		}
		done = append(done, dst)
		l.pod.Routes = append(l.pod.Routes, l.overVeth(dst, 0))
	}
}

// overVeth is a route over the veth with the pod's own address as its source.
func (l *layout) overVeth(dst netip.Prefix, table int) netplan.Route {
	r := netplan.Route{Dst: dst, Via: netplan.NextHop4(), Link: netplan.PodLink, Table: table, OnLink: true}
	if dst.Addr().Is6() {
		r.Via = netplan.NextHop6()
	}
	i := slices.IndexFunc(l.addrs, func(a netip.Addr) bool { return a.Is6() == dst.Addr().Is6() })
	r.Src = l.addrs[i]
	return r
}

// podReplyPath marks connections that came in over the veth, and sends what answers them back over it.
func (l *layout) podReplyPath() {
	for _, six := range []bool{false, true} {
		if six && !l.v6 || !six && !l.v4 {
			continue
		}
		family := 4
		if six {
			family = 6
		}
		l.pod.Routes = append(l.pod.Routes, l.overVeth(kernel.Default(six), netplan.Table))
		l.pod.Rules = append(l.pod.Rules, netplan.Rule{
			Family: family, Preference: netplan.RulePreference,
			Mark: netplan.FlowMark, Mask: netplan.FlowMark, Table: netplan.Table,
		})
	}
	l.pod.Nft = &nft.Table{Name: netplan.NftTable, Chains: []nft.Chain{
		{
			Name: chainPrerouting, Type: "filter", Hook: "prerouting", Priority: priorityMangle,
			Rules: []nft.Rule{nft.New(nft.IIFName(netplan.PodLink), nft.CTNew(), nft.SetCTMark(netplan.FlowMark))},
		},
		{
			Name: chainOutput, Type: "route", Hook: "output", Priority: priorityMangle,
			Rules: []nft.Rule{nft.New(nft.CTMark(netplan.FlowMark), nft.SetMark(netplan.FlowMark))},
		},
	}}
}

// single is the network of one address.
func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

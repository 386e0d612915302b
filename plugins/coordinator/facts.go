// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-cni/weft/libs/cniplugin"
	"github.com/weft-cni/weft/libs/errcode"
	"github.com/weft-cni/weft/libs/netplan"
	"github.com/weft-cni/weft/libs/netplan/kernel"
)

// facts is everything the layout depends on besides the configuration.
type facts struct {
	att   netplan.Attachment
	netns string
	nic   netplan.Link
	// podAddrs are the NIC's addresses, as the plugins before us say.
	podAddrs []netip.Addr
	// veth is the pod's veth0, if there is one.
	veth *netplan.Link
	// nodeAddrs are the node's global addresses.
	nodeAddrs []netip.Addr
	// source4 and source6 are what the node speaks with; invalid: it has none of the family.
	source4, source6 netip.Addr
	// outward are the node's links that lead to others, by family: traffic for Services comes back in by them.
	outward4, outward6 []string
	// forward6 says how IPv6 forwarding is switched on.
	forward6 forward6
	// rivals are other pods of this node that have one of the addresses.
	rivals []rival
}

// rival is another pod's host end.
type rival struct {
	addr netip.Addr
	link netplan.Link
}

// forward6 is the state of IPv6 forwarding on the host.
type forward6 int

const (
	forward6On       forward6 = iota // for all links already
	forward6PerLink                  // off, and the kernel (6.17 and later) can switch it on link by link
	forward6Globally                 // off, and there is one switch for all links
)

// interfaceOf finds the NIC and its addresses in the previous result.
func interfaceOf(prev *current.Result, ifName string) ([]netip.Addr, error) {
	nic := slices.IndexFunc(prev.Interfaces, func(i *current.Interface) bool { return i.Name == ifName && i.Sandbox != "" })
	if nic < 0 {
		return nil, errcode.New(errcode.InvalidConfig,
			fmt.Sprintf("prevResult has no interface %s in the pod: put weft-coordinator after the plugin that makes it", ifName), "")
	}
	var addrs []netip.Addr
	for _, ip := range prev.IPs {
		if ip.Interface != nil && *ip.Interface != nic {
			continue
		}
		if p, ok := kernel.Prefix(&ip.Address); ok {
			addrs = append(addrs, p.Addr())
		}
	}
	if len(addrs) == 0 {
		return nil, errcode.New(errcode.InvalidConfig,
			fmt.Sprintf("prevResult has no address for interface %s: give the plugin that makes it an ipam section", ifName), "")
	}
	return addrs, nil
}

// survey looks at both namespaces.
func survey(r *cniplugin.Request[config], w *world) (facts, error) {
	f := facts{att: attachment(r), netns: r.Netns}
	var err error
	if f.podAddrs, err = interfaceOf(r.Prev, r.IfName); err != nil {
		return f, err
	}
	nic, err := w.pod.Link(r.IfName)
	if err != nil {
		if errors.Is(err, netplan.ErrAbsent) {
			return f, errcode.Wrap(errcode.StateDiffers, err,
				fmt.Sprintf("interface %s of prevResult is not in the pod's network namespace", r.IfName))
		}
		return f, errcode.Wrap(errcode.IO, err, "the pod's interface cannot be read")
	}
	f.nic = kernel.Describe(nic)
	if f.veth, err = optional(w.pod, netplan.PodLink); err != nil {
		return f, errcode.Wrap(errcode.IO, err, "the pod's links cannot be read")
	}
	if err := f.surveyHost(r.Config, w.host, nic); err != nil {
		return f, err
	}
	return f, f.conflicts(w.host)
}

// optional reads a link that may be absent.
func optional(k *kernel.Kernel, name string) (*netplan.Link, error) {
	l, err := k.Link(name)
	if errors.Is(err, netplan.ErrAbsent) {
		return nil, nil //nolint:nilnil // No link is an answer here.
	}
	if err != nil {
		return nil, err
	}
	out := kernel.Describe(l)
	return &out, nil
}

// surveyHost finds the node's addresses, what it speaks with, and where others are.
func (f *facts) surveyHost(c config, host *kernel.Kernel, nic netlink.Link) error {
	found, err := hostAddrs(host)
	if err != nil {
		return errcode.Wrap(errcode.IO, err, "the node's addresses cannot be read")
	}
	for _, a := range found {
		f.nodeAddrs = append(f.nodeAddrs, a.addr)
	}
	parent := parentOf(host, nic)
	f.source4, f.outward4 = source(host, found, parent, false)
	f.source6, f.outward6 = source(host, found, parent, true)
	if c.source4.IsValid() {
		f.source4 = c.source4
	}
	if c.source6.IsValid() {
		f.source6 = c.source6
	}
	f.forward6 = readForward6(host)
	return nil
}

// conflicts refuses pod addresses that are the node's own, or those of another pod on this node.
func (f *facts) conflicts(host *kernel.Kernel) error {
	for _, a := range f.podAddrs {
		if slices.Contains(f.nodeAddrs, a) {
			return errcode.New(errcode.AddressConflict,
				fmt.Sprintf("address %s of interface %s is the node's own", a, f.att.IfName), "choose other addresses, or exclude the node's from the pool")
		}
		if owner := ownerOf(host, a); owner != nil && owner.Name != f.att.HostLink() {
			f.rivals = append(f.rivals, rival{addr: a, link: *owner})
		}
	}
	return nil
}

// hostAddr is a global address of the node.
type hostAddr struct {
	addr netip.Addr
	link int
}

// ipvsLink is the dummy device on which kube-proxy puts every Service address in its ipvs mode.
const ipvsLink = "kube-ipvs0"

// hostAddrs lists the node's global addresses that can be used, leaving out our own links and kube-proxy's.
func hostAddrs(host *kernel.Kernel) ([]hostAddr, error) {
	addrs, err := host.Addrs()
	if err != nil {
		return nil, err
	}
	skip := map[int]bool{}
	var out []hostAddr
	for _, a := range addrs {
		p, ok := kernel.Prefix(a.IPNet)
		if !ok || a.Scope != int(netplan.ScopeGlobal) || a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0 {
			continue
		}
		skipped, known := skip[a.LinkIndex]
		if !known {
			skipped = notOfNode(host, a.LinkIndex)
			skip[a.LinkIndex] = skipped
		}
		if !skipped && !slices.ContainsFunc(out, func(h hostAddr) bool { return h.addr == p.Addr() }) {
			out = append(out, hostAddr{addr: p.Addr(), link: a.LinkIndex})
		}
	}
	return out, nil
}

func notOfNode(host *kernel.Kernel, index int) bool {
	l, err := host.LinkAt(index)
	if err != nil {
		return true
	}
	return l.Attrs().Name == ipvsLink || netplan.Ours(l.Attrs().Name, l.Attrs().Alias)
}

// parentOf returns the number of the node's link under the NIC, 0 if it is not on the node.
func parentOf(host *kernel.Kernel, nic netlink.Link) int {
	a := nic.Attrs()
	if a.ParentIndex == 0 || a.NetNsID < 0 {
		return 0
	}
	if _, err := host.LinkAt(a.ParentIndex); err != nil {
		return 0
	}
	return a.ParentIndex
}

// farAway returns an address outside of everybody's network: one of a root name server. Nothing is sent to it.
func farAway(six bool) netip.Addr {
	if six {
		return netip.MustParseAddr("2001:503:ba3e::2:30")
	}
	return netip.MustParseAddr("198.41.0.4")
}

// source finds with which address of a family the node speaks: the source of its default route, else the first address of
// the NIC's parent, else its first address at all. It also names the links that lead outward.
func source(host *kernel.Kernel, found []hostAddr, parent int, six bool) (netip.Addr, []string) {
	var src netip.Addr
	links := []int{parent}
	routes, err := host.Handle().RouteGet(farAway(six).AsSlice())
	if err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_UNICAST {
		links = append(links, routes[0].LinkIndex)
		src, _ = netip.AddrFromSlice(routes[0].Src)
		src = src.Unmap()
	}
	ofFamily := slices.DeleteFunc(slices.Clone(found), func(h hostAddr) bool { return h.addr.Is6() != six })
	usable := func(a netip.Addr) bool {
		return slices.ContainsFunc(ofFamily, func(h hostAddr) bool { return h.addr == a })
	}
	if i := slices.IndexFunc(ofFamily, func(h hostAddr) bool { return h.link == parent }); !usable(src) && i >= 0 {
		src = ofFamily[i].addr
	}
	if !usable(src) && len(ofFamily) > 0 {
		src = ofFamily[0].addr
		links = append(links, ofFamily[0].link)
	}
	if !usable(src) {
		return netip.Addr{}, nil
	}
	return src, linkNames(host, links)
}

func linkNames(host *kernel.Kernel, indexes []int) []string {
	var out []string
	for _, i := range indexes {
		if i == 0 {
			continue
		}
		if l, err := host.LinkAt(i); err == nil && !slices.Contains(out, l.Attrs().Name) {
			out = append(out, l.Attrs().Name)
		}
	}
	return out
}

// ownerOf returns the host end of another pod that has the address, nil if there is none.
func ownerOf(host *kernel.Kernel, a netip.Addr) *netplan.Link {
	routes, err := host.Handle().RouteGet(a.AsSlice())
	if err != nil || len(routes) == 0 || routes[0].LinkIndex == 0 {
		return nil
	}
	l, err := host.LinkAt(routes[0].LinkIndex)
	if err != nil || !netplan.Ours(l.Attrs().Name, l.Attrs().Alias) {
		return nil
	}
	out := kernel.Describe(l)
	return &out
}

const forward6All = "net/ipv6/conf/all/forwarding"

// forceForward6 is the per-link switch of newer kernels.
func forceForward6(link string) string { return "net/ipv6/conf/" + link + "/force_forwarding" }

// readForward6 tells how IPv6 forwarding is switched on here.
func readForward6(host *kernel.Kernel) forward6 {
	values, err := host.Sysctls(forward6All, forceForward6("all"))
	switch {
	case err == nil && values[forward6All] != "0":
		return forward6On
	case err == nil && values[forceForward6("all")] != "":
		return forward6PerLink
	}
	return forward6Globally
}

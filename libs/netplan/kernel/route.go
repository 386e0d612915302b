// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-cni/weft/libs/netplan"
)

func (k *Kernel) readRoutes(q netplan.Query, s *netplan.State) error {
	names := map[int]string{}
	for _, l := range s.Links {
		if l.Up { // The kernel takes routes away with the link.
			names[l.Index] = l.Name
		}
	}
	if len(names) == 0 && len(q.Tables) == 0 {
		return nil
	}
	ours := &netlink.Route{Table: unix.RT_TABLE_UNSPEC, Protocol: netplan.Protocol}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		routes, err := Dump(func() ([]netlink.Route, error) {
			return k.handle.RouteListFiltered(family, ours, netlink.RT_FILTER_TABLE)
		})
		if err != nil && !noIPv6(err) {
			return fmt.Errorf("list routes: %w", err)
		}
		for _, r := range routes {
			_, onLink := names[r.LinkIndex]
			if r.Protocol != netplan.Protocol || !onLink && !slices.Contains(q.Tables, r.Table) {
				continue
			}
			s.Routes = append(s.Routes, k.route(family, r, names))
		}
	}
	return nil
}

// route turns a route of the netlink package into ours.
func (k *Kernel) route(family int, r netlink.Route, names map[int]string) netplan.Route {
	out := netplan.Route{
		Table: r.Table, MTU: r.MTU, OnLink: r.Flags&unix.RTNH_F_ONLINK != 0,
		Scope: netplan.Scope(r.Scope),
	}
	if dst, ok := Prefix(r.Dst); ok {
		out.Dst = dst
	} else {
		out.Dst = Default(family == unix.AF_INET6)
	}
	if gw, ok := netip.AddrFromSlice(r.Gw); ok {
		out.Via = gw.Unmap()
	}
	if src, ok := netip.AddrFromSlice(r.Src); ok {
		out.Src = src.Unmap()
	}
	name, known := names[r.LinkIndex]
	if !known && r.LinkIndex != 0 {
		if l, err := k.LinkAt(r.LinkIndex); err == nil {
			name = l.Attrs().Name
			names[r.LinkIndex] = name
		}
	}
	out.Link = name
	return out
}

// Default is the destination of a family's default route.
func Default(six bool) netip.Prefix {
	if six {
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
}

func (k *Kernel) doRoute(verb netplan.Verb, r netplan.Route) error {
	index, err := k.linkIndex(r.Link)
	if err != nil {
		return err
	}
	route := &netlink.Route{
		LinkIndex: index, Dst: IPNet(r.Dst), Table: r.Table, Protocol: netplan.Protocol, MTU: r.MTU, Type: unix.RTN_UNICAST,
	}
	if r.Dst.Addr().Is4() {
		route.Scope = netlink.Scope(r.Scope)
	}
	if r.Table == 0 {
		route.Table = netplan.TableMain
	}
	if r.Via.IsValid() {
		route.Gw = r.Via.AsSlice()
	}
	if r.Src.IsValid() {
		route.Src = r.Src.AsSlice()
	}
	if r.OnLink {
		route.Flags = int(netlink.FLAG_ONLINK)
	}
	switch verb {
	case netplan.Add:
		if err = k.handle.RouteAdd(route); errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("route to %s: %w: %w", r.Dst, netplan.ErrForeign, err)
		}
	case netplan.Del:
		err = k.handle.RouteDel(route)
	default:
		err = k.handle.RouteReplace(route)
	}
	return translate(verb, err, unix.ESRCH, unix.ENODEV)
}

func (k *Kernel) readRules(q netplan.Query, s *netplan.State) error {
	if !q.Rules {
		return nil
	}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		rules, err := Dump(func() ([]netlink.Rule, error) { return k.handle.RuleList(family) })
		if err != nil && !noIPv6(err) {
			return fmt.Errorf("list routing rules: %w", err)
		}
		for _, r := range rules {
			if r.Protocol == netplan.Protocol {
				s.Rules = append(s.Rules, rule(family, r))
			}
		}
	}
	return nil
}

// rule turns a rule of the netlink package into ours.
func rule(family int, r netlink.Rule) netplan.Rule {
	out := netplan.Rule{Family: 4, Preference: r.Priority, Mark: r.Mark, IIF: r.IifName, OIF: r.OifName, Table: r.Table}
	if family == unix.AF_INET6 {
		out.Family = 6
	}
	if r.Mask != nil {
		out.Mask = *r.Mask
	}
	if from, ok := Prefix(r.Src); ok {
		out.From = from
	}
	return out
}

func (k *Kernel) doRule(verb netplan.Verb, r netplan.Rule) error {
	rule := netlink.NewRule()
	rule.Family = unix.AF_INET
	if r.Family == 6 {
		rule.Family = unix.AF_INET6
	}
	rule.Priority, rule.Table, rule.Protocol = r.Preference, r.Table, netplan.Protocol
	rule.IifName, rule.OifName = r.IIF, r.OIF
	if r.Mark != 0 || r.Mask != 0 {
		rule.Mark, rule.Mask = r.Mark, &r.Mask
	}
	if r.From.IsValid() {
		rule.Src = IPNet(r.From)
	}
	if verb == netplan.Del {
		return translate(verb, k.handle.RuleDel(rule), unix.ENOENT)
	}
	return translate(netplan.Add, k.handle.RuleAdd(rule))
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package nettest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Snapshot renders what is configured in the namespace as sorted lines: links, addresses, routes, rules, permanent
// neighbours, nftables, and the variables of links that plugins touch. Two snapshots are equal when nobody changed anything.
// What the kernel does in its own time is left out (link-local IPv6 addresses and their routes, the local table, learnt
// neighbours, counters), and so is forwarding, which stays on once it was needed.
func (n *NS) Snapshot() string {
	n.t.Helper()
	var lines []string
	names := map[int]string{}
	for _, l := range dump(n, "links", n.handle.LinkList) {
		a := l.Attrs()
		names[a.Index] = a.Name
		lines = append(lines, fmt.Sprintf("link %s kind %s mac %s mtu %d up %v alias %q",
			a.Name, l.Type(), a.HardwareAddr, a.MTU, a.RawFlags&unix.IFF_UP != 0, a.Alias))
	}
	for _, a := range dump(n, "addresses", func() ([]netlink.Addr, error) { return n.handle.AddrList(nil, netlink.FAMILY_ALL) }) {
		if !a.IP.IsLinkLocalUnicast() || a.IP.To4() != nil {
			lines = append(lines, fmt.Sprintf("address %s dev %s scope %d", a.IPNet, names[a.LinkIndex], a.Scope))
		}
	}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		lines = append(lines, n.routes(family, names)...)
		for _, r := range dump(n, "rules", func() ([]netlink.Rule, error) { return n.handle.RuleList(family) }) {
			lines = append(lines, fmt.Sprintf("rule family %d mark %#x iif %q oif %q protocol %d: %s", family, r.Mark, r.IifName, r.OifName, r.Protocol, r))
		}
		for _, e := range dump(n, "neighbours", func() ([]netlink.Neigh, error) { return n.handle.NeighList(0, family) }) {
			if e.State&unix.NUD_PERMANENT != 0 {
				lines = append(lines, fmt.Sprintf("neighbour %s lladdr %s dev %s", e.IP, e.HardwareAddr, names[e.LinkIndex]))
			}
		}
	}
	lines = append(lines, n.nftables()...)
	lines = append(lines, n.variables()...)
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}

// routes lists the routes of a family that somebody configured.
func (n *NS) routes(family int, names map[int]string) []string {
	n.t.Helper()
	var lines []string
	all := dump(n, "routes", func() ([]netlink.Route, error) {
		return n.handle.RouteListFiltered(family, &netlink.Route{}, netlink.RT_FILTER_TABLE)
	})
	for _, r := range all {
		automatic := r.Dst != nil && r.Dst.IP.To4() == nil && (r.Dst.IP.IsLinkLocalUnicast() || r.Dst.IP.IsMulticast())
		if r.Table == unix.RT_TABLE_LOCAL || automatic {
			continue
		}
		lines = append(lines, fmt.Sprintf("route %v via %v dev %s table %d proto %d scope %d src %v mtu %d flags %#x",
			r.Dst, r.Gw, names[r.LinkIndex], r.Table, r.Protocol, r.Scope, r.Src, r.MTU, r.Flags&unix.RTNH_F_ONLINK))
	}
	return lines
}

// nftables lists tables, chains with their rules, sets and elements; nothing on a kernel without nftables.
func (n *NS) nftables() []string {
	n.t.Helper()
	conn, err := nftables.New(nftables.WithNetNSFd(n.FD()))
	if err != nil {
		return nil
	}
	tables, err := conn.ListTables()
	if err != nil {
		return nil
	}
	var lines []string
	for _, t := range tables {
		lines = append(lines, n.nftTable(conn, t)...)
	}
	return lines
}

// nftTable lists one table.
func (n *NS) nftTable(conn *nftables.Conn, t *nftables.Table) []string {
	n.t.Helper()
	at := fmt.Sprintf("nft table %d %s", t.Family, t.Name)
	lines := []string{at}
	for _, s := range dump(n, "sets", func() ([]*nftables.Set, error) { return conn.GetSets(t) }) {
		lines = append(lines, at+" set "+s.Name)
		for _, e := range dump(n, "elements", func() ([]nftables.SetElement, error) { return conn.GetSetElements(s) }) {
			lines = append(lines, fmt.Sprintf("%s set %s element %x : %x", at, s.Name, e.Key, e.Val))
		}
	}
	for _, c := range dump(n, "chains", func() ([]*nftables.Chain, error) { return conn.ListChainsOfTableFamily(t.Family) }) {
		if c.Table.Name != t.Name {
			continue
		}
		lines = append(lines, fmt.Sprintf("%s chain %s type %s", at, c.Name, c.Type))
		for i, r := range dump(n, "rules", func() ([]*nftables.Rule, error) { return conn.GetRules(t, c) }) {
			var exprs []string
			for _, e := range r.Exprs {
				exprs = append(exprs, fmt.Sprintf("%T%+v", e, e))
			}
			lines = append(lines, fmt.Sprintf("%s chain %s rule %d: %s", at, c.Name, i, strings.Join(exprs, " ")))
		}
	}
	return lines
}

// variables lists the per-link variables that plugins touch.
func (n *NS) variables() []string {
	n.t.Helper()
	var lines []string
	n.Do(func() {
		for _, pattern := range []string{"ipv4/conf/*/rp_filter", "ipv4/conf/*/arp_ignore", "ipv4/conf/*/arp_announce", "ipv6/conf/*/accept_ra", "ipv6/conf/*/disable_ipv6"} {
			files, err := filepath.Glob("/proc/sys/net/" + pattern)
			if err != nil {
				n.t.Fatal(err)
			}
			for _, file := range files {
				raw, err := os.ReadFile(file)
				if errors.Is(err, os.ErrNotExist) {
					continue // The link went in between.
				}
				if err != nil {
					n.t.Fatal(err)
				}
				lines = append(lines, "sysctl "+strings.TrimPrefix(file, "/proc/sys/")+"="+strings.TrimSpace(string(raw)))
			}
		}
	})
	return lines
}

// dump reads a list, again when it changed while being read. A family the kernel lacks is an empty list.
func dump[T any](n *NS, what string, read func() ([]T, error)) []T {
	n.t.Helper()
	for range 20 {
		list, err := read()
		switch {
		case errors.Is(err, netlink.ErrDumpInterrupted):
			continue
		case errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EOPNOTSUPP):
			return nil
		case err != nil:
			n.t.Fatalf("list %s in %s: %v", what, n.Name(), err)
		}
		return list
	}
	n.t.Fatalf("list %s in %s: always interrupted", what, n.Name())
	return nil
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package netplan

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/weft-cni/weft/libs/netplan/nft"
)

// Render shows steps as the lines of `ip`, `sysctl` and `nft` that would do the same.
func Render(steps []Step) []string {
	var out []string
	for _, s := range steps {
		out = append(out, strings.Split(line(s.Op), "\n")...)
	}
	return out
}

// line is one Op as a command.
func line(op Op) string {
	switch o := op.Object.(type) {
	case Link:
		return linkLine(op.Verb, o)
	case Addr:
		return ip(o.Prefix.Addr().Is6()) + "addr " + string(verb(op.Verb, "replace")) + " " + strings.TrimPrefix(text(o), "address ") + nodad(op.Verb, o)
	case Route:
		return ip(o.Dst.Addr().Is6()) + "route " + string(verb(op.Verb, "replace")) + " " + strings.TrimPrefix(text(o), "route ")
	case Rule:
		return ip(o.Family == 6) + "rule " + string(verb(op.Verb, "add")) + " " + strings.TrimPrefix(text(o), "rule ")
	case Neigh:
		return ip(o.IP.Is6()) + "neigh " + string(verb(op.Verb, "replace")) + " " + strings.TrimPrefix(text(o), "neighbour ") + " nud permanent"
	case Sysctl:
		return "sysctl -w " + o.Key + "=" + o.Value
	case nft.Table:
		return strings.Join(nft.Render(o, op.Verb == Del, op.Verb == Set), "\n")
	case nft.Elem:
		return nft.RenderElem(NftTable, o, op.Verb == Del)
	}
	return fmt.Sprintf("%s %v", op.Verb, op.Object)
}

func ip(six bool) string {
	if six {
		return "ip -6 "
	}
	return "ip "
}

// verb maps Set to the word that `ip` has for it.
func verb(v Verb, set Verb) Verb {
	if v == Set {
		return set
	}
	return v
}

func nodad(v Verb, a Addr) string {
	if a.NoDAD && v != Del {
		return " nodad"
	}
	return ""
}

func linkLine(v Verb, l Link) string {
	switch v {
	case Del:
		return "ip link del " + l.Name
	case Up:
		return "ip link set " + l.Name + " up"
	case Add:
		s := "ip link add " + l.Name + linkAttrs(l.MAC, l.MTU, "") + " type " + l.Kind
		if l.Peer != nil {
			s += " peer name " + l.Peer.Name
			if l.Peer.Netns != "" {
				s += " netns " + l.Peer.Netns
			}
			s += linkAttrs(l.Peer.MAC, l.Peer.MTU, "")
		}
		if l.Alias != "" {
			s += "\nip link set " + l.Name + linkAttrs(MAC{}, 0, l.Alias)
		}
		return s
	case Set:
	}
	return "ip link set " + l.Name + linkAttrs(l.MAC, l.MTU, l.Alias)
}

func linkAttrs(mac MAC, mtu int, alias string) string {
	var s string
	if mac != (MAC{}) {
		s += " address " + mac.String()
	}
	if mtu != 0 {
		s += " mtu " + strconv.Itoa(mtu)
	}
	if alias != "" {
		s += " alias " + quoted(alias)
	}
	return s
}

// text names an object for people and for lines.
func text(object any) string {
	switch o := object.(type) {
	case Link:
		return "link " + o.Name
	case Addr:
		return "address " + o.Prefix.String() + " dev " + o.Link + scope(o.Scope)
	case Route:
		return routeText(o)
	case Rule:
		return ruleText(o)
	case Neigh:
		return "neighbour " + o.IP.String() + " lladdr " + o.MAC.String() + " dev " + o.Link
	case Sysctl:
		return "sysctl " + o.Key + "=" + o.Value
	case nft.Table:
		return "nftables table " + o.Name
	case nft.Elem:
		return "element " + o.String() + " of nftables map " + o.Map
	}
	return fmt.Sprint(object)
}

func routeText(r Route) string {
	s := "route " + r.Dst.String()
	if r.Dst.Bits() == 0 {
		s = "route default"
	}
	if r.Via.IsValid() {
		s += " via " + r.Via.String()
	}
	s += " dev " + r.Link
	if r.table() != TableMain {
		s += " table " + strconv.Itoa(r.Table)
	}
	s += " proto " + strconv.Itoa(Protocol)
	if !r.Dst.Addr().Is6() {
		s += scope(r.Scope)
	}
	if r.Src.IsValid() {
		s += " src " + r.Src.String()
	}
	if r.MTU != 0 {
		s += " mtu " + strconv.Itoa(r.MTU)
	}
	if r.OnLink {
		s += " onlink"
	}
	return s
}

func ruleText(r Rule) string {
	s := "rule pref " + strconv.Itoa(r.Preference)
	if r.From.IsValid() {
		s += " from " + r.From.String()
	}
	if r.Mark != 0 {
		s += fmt.Sprintf(" fwmark %#x/%#x", r.Mark, r.Mask)
	}
	if r.IIF != "" {
		s += " iif " + r.IIF
	}
	if r.OIF != "" {
		s += " oif " + r.OIF
	}
	return s + " lookup " + strconv.Itoa(r.Table) + " protocol " + strconv.Itoa(Protocol)
}

func scope(s Scope) string {
	switch s {
	case ScopeLink:
		return " scope link"
	case ScopeHost:
		return " scope host"
	case ScopeGlobal:
	}
	return ""
}

func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

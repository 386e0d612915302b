// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/weft-cni/weft/libs/cniplugin"
	"github.com/weft-cni/weft/libs/ipset"
	"github.com/weft-cni/weft/libs/lease"
)

// poolReader validates one pool and reports what is wrong at its path.
type poolReader struct {
	at string
	ps *cniplugin.Problems
	// lenient keeps silent about what is missing: something here could not be
	// read, and is reported as such.
	lenient bool
}

func (v poolReader) pool(in poolConf) lease.Pool {
	out := lease.Pool{Name: in.Name, Domain: in.Domain, Suspend: in.Suspend, Policy: lease.Prefer}
	if !validName(in.Name) && (in.Name != "" || !v.lenient) {
		v.ps.Add(v.at+".name", quote(in.Name), `lower case letters, digits, "-" and ".", as in "blue"`)
	}
	if out.Domain == "" {
		out.Domain = lease.DefaultDomain
	}
	if !lease.ValidDomain(out.Domain) {
		v.ps.Add(v.at+".domain", quote(in.Domain), `lower case letters, digits and "-", at most 63`)
	}
	out.Cooldown = duration(in.Cooldown, lease.DefaultCooldown, v.at+".cooldown", v.ps)
	switch {
	case strings.EqualFold(in.CooldownPolicy, string(lease.Strict)):
		out.Policy = lease.Strict
	case in.CooldownPolicy != "" && !strings.EqualFold(in.CooldownPolicy, string(lease.Prefer)):
		v.ps.Add(v.at+".cooldownPolicy", quote(in.CooldownPolicy), `"Prefer" or "Strict"`)
	}
	if in.IPv4 == nil && in.IPv6 == nil && !v.lenient {
		v.ps.Add(v.at, "no family", "ipv4, ipv6 or both")
	}
	out.IPv4 = v.family("ipv4", in.IPv4)
	out.IPv6 = v.family("ipv6", in.IPv6)
	return out
}

// family returns nil when the family cannot be used.
func (v poolReader) family(key string, in *familyConf) *lease.Family {
	if in == nil {
		return nil
	}
	at := v.at + "." + key
	subnet, ok := v.subnet(at+".subnet", key, in.Subnet)
	if !ok {
		return nil
	}
	before := len(*v.ps)
	gateway := v.inside(at+".gateway", in.Gateway, subnet)
	ranges := v.ranges(at+".ranges", in.Ranges, subnet)
	v.disjoint(at+".ranges", ranges)
	exclude := v.ranges(at+".exclude", in.Exclude, subnet)
	routes := v.routes(at+".routes", in.Routes, subnet, gateway)
	f, err := lease.NewFamily(subnet, gateway, ranges, exclude)
	if err != nil {
		v.ps.Add(at, err.Error(), "ranges that can be read")
		return nil
	}
	if f.Set.Size() == 0 && len(*v.ps) == before {
		v.ps.Add(at, "a pool without any address to give", "ranges that are not all excluded, reserved or the gateway")
	}
	switch {
	case in.Routes != nil:
		f.Routes = routes
	case gateway.IsValid():
		f.Routes = []lease.Route{{Dst: netip.PrefixFrom(unspecified(subnet), 0), Via: gateway}}
	}
	return f
}

func (v poolReader) subnet(at, key, text string) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		v.ps.Add(at, quote(text), map[string]string{
			"ipv4": "an IPv4 prefix, as in 192.0.2.0/24",
			"ipv6": "an IPv6 prefix, as in 2001:db8::/64",
		}[key])
		return p, false
	case p.Addr().Is4In6():
		v.ps.Add(at, text, "IPv4 written as IPv4, under ipv4")
		return p, false
	case p.Addr().Is4() != (key == "ipv4"):
		v.ps.Add(at, text, map[string]string{
			"ipv4": "an IPv4 prefix; write IPv6 under ipv6",
			"ipv6": "an IPv6 prefix; write IPv4 under ipv4",
		}[key])
		return p, false
	case p != p.Masked():
		v.ps.Add(at, text, fmt.Sprintf("the network address: write %s", p.Masked()))
		return p, false
	}
	return p, true
}

// inside reads an optional address of the subnet.
func (v poolReader) inside(at, text string, subnet netip.Prefix) netip.Addr {
	if text == "" {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		v.ps.Add(at, quote(text), "an address, as in "+subnet.Addr().Next().String())
		return netip.Addr{}
	}
	if !subnet.Contains(a) {
		v.ps.Add(at, text, "an address inside "+subnet.String())
		return netip.Addr{}
	}
	return a
}

func (v poolReader) ranges(at string, texts []string, subnet netip.Prefix) []ipset.Range {
	var out []ipset.Range
	for i, text := range texts {
		where := fmt.Sprintf("%s[%d]", at, i)
		r, err := ipset.Parse(text)
		if err != nil {
			v.ps.Add(where, quote(text), "an address, first-last, or a prefix without bits beyond its length")
			continue
		}
		if !subnet.Contains(r.From()) || !subnet.Contains(r.To()) {
			v.ps.Add(where, text, "addresses inside "+subnet.String())
			continue
		}
		out = append(out, r)
	}
	return out
}

func (v poolReader) disjoint(at string, ranges []ipset.Range) {
	for i, r := range ranges {
		for j, q := range ranges[:i] {
			if r.Overlaps(q) {
				v.ps.Add(fmt.Sprintf("%s[%d]", at, i), format(r), fmt.Sprintf("ranges that do not overlap: %s[%d] is %s", at, j, format(q)))
			}
		}
	}
}

func (v poolReader) routes(at string, in []routeConf, subnet netip.Prefix, gateway netip.Addr) []lease.Route {
	var out []lease.Route
	for i, r := range in {
		where := fmt.Sprintf("%s[%d]", at, i)
		dst, err := netip.ParsePrefix(r.Dst)
		switch {
		case err != nil:
			v.ps.Add(where+".dst", quote(r.Dst), "a prefix, as in "+netip.PrefixFrom(unspecified(subnet), 0).String())
			continue
		case dst.Addr().Is4() != subnet.Addr().Is4():
			v.ps.Add(where+".dst", r.Dst, "a prefix of the family of "+subnet.String())
			continue
		case dst != dst.Masked():
			v.ps.Add(where+".dst", r.Dst, "the network address: write "+dst.Masked().String())
			continue
		}
		via := v.inside(where+".via", r.Via, subnet)
		if r.Via == "" {
			if via = gateway; !via.IsValid() {
				v.ps.Add(where, "a route without via in a family without gateway", "a gateway, or via on the route")
				continue
			}
		}
		out = append(out, lease.Route{Dst: dst, Via: via})
	}
	return out
}

func unspecified(subnet netip.Prefix) netip.Addr {
	if subnet.Addr().Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// validName says whether s can be the name of an IPPool: a DNS-1123 subdomain.
func validName(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if !lease.ValidDomain(label) {
			return false
		}
	}
	return true
}

func format(r ipset.Range) string { return ipset.Format(r) }

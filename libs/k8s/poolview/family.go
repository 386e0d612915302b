// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package poolview

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/weft-cni/weft/libs/ipset"
	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
	"github.com/weft-cni/weft/libs/lease"
)

// family reads one half of a pool.
type family struct {
	*reader

	at  string
	is4 bool
}

// read returns nil when the family cannot be used.
func (v family) read(in *v1alpha1.AddressRange) *lease.Family {
	if in == nil {
		return nil
	}
	subnet, ok := v.subnet(in.Subnet)
	if !ok {
		return nil
	}
	before := len(v.problems)
	gateway := v.inside(v.at+".gateway", in.Gateway, subnet)
	ranges := v.ranges(v.at+".ranges", in.Ranges, subnet)
	exclude := v.ranges(v.at+".exclude", in.Exclude, subnet)
	routes := v.routes(in, subnet, gateway)
	if len(v.problems) > before {
		return nil
	}
	f, err := lease.NewFamily(subnet, gateway, ranges, exclude)
	if err != nil {
		v.add(v.at, err.Error(), "ranges that can be read")
		return nil
	}
	if f.Set.Size() == 0 {
		v.add(v.at, "no address to give", "ranges that are not all excluded, reserved or the gateway")
		return nil
	}
	f.Routes = routes
	return f
}

func (v family) subnet(text string) (netip.Prefix, bool) {
	at, example := v.at+".subnet", "192.0.2.0/24"
	if !v.is4 {
		example = "2001:db8::/64"
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		v.add(at, quote(text), "a prefix, for example "+example)
	case p.Addr().Is4In6():
		v.add(at, text, "IPv4 written as IPv4, under spec.ipv4")
	case p.Addr().Is4() && !v.is4:
		v.add(at, text, "an IPv6 prefix; write IPv4 under spec.ipv4")
	case p.Addr().Is6() && v.is4:
		v.add(at, text, "an IPv4 prefix; write IPv6 under spec.ipv6")
	case p != p.Masked():
		v.add(at, text, "the network address: write "+p.Masked().String())
	default:
		return p, true
	}
	return p, false
}

// inside reads an optional address of the subnet.
func (v family) inside(at, text string, subnet netip.Prefix) netip.Addr {
	if text == "" {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(text)
	switch {
	case err != nil || a.Zone() != "":
		v.add(at, quote(text), "an address, for example "+subnet.Addr().Next().String())
	case !subnet.Contains(a):
		v.add(at, text, "an address inside "+subnet.String())
	default:
		return a
	}
	return netip.Addr{}
}

func (v family) ranges(at string, texts []string, subnet netip.Prefix) []ipset.Range {
	var out []ipset.Range
	for i, text := range texts {
		where := fmt.Sprintf("%s[%d]", at, i)
		r, err := ipset.Parse(text)
		switch {
		case err != nil:
			v.add(where, quote(text), instead(text))
		case !subnet.Contains(r.From()) || !subnet.Contains(r.To()):
			v.add(where, text, "addresses inside "+subnet.String())
		default:
			out = append(out, r)
		}
	}
	return out
}

// instead says what to write for a range that cannot be read.
func instead(text string) string {
	if first, last, ok := strings.Cut(text, "-"); ok {
		a, aErr := netip.ParseAddr(strings.TrimSpace(first))
		b, bErr := netip.ParseAddr(strings.TrimSpace(last))
		if aErr == nil && bErr == nil && a.BitLen() == b.BitLen() && b.Less(a) {
			return fmt.Sprintf("the lower address first: write %s-%s", b, a)
		}
	}
	if p, err := netip.ParsePrefix(text); err == nil && p != p.Masked() {
		return "a prefix without bits beyond its length: write " + p.Masked().String()
	}
	return "an address, first-last, or a prefix"
}

// routes reads the routes, or makes the one that a gateway gives.
func (v family) routes(in *v1alpha1.AddressRange, subnet netip.Prefix, gateway netip.Addr) []lease.Route {
	if in.Routes == nil && gateway.IsValid() {
		return []lease.Route{{Dst: netip.PrefixFrom(unspecified(v.is4), 0), Via: gateway}}
	}
	var out []lease.Route
	for i, r := range in.Routes {
		at := fmt.Sprintf("%s.routes[%d]", v.at, i)
		before := len(v.problems)
		dst := v.dst(at+".dst", r.Dst)
		via := v.inside(at+".via", r.Via, subnet)
		if r.Via == "" {
			via = gateway
			if in.Gateway == "" {
				v.add(at, "a route without via in a family without gateway", "a gateway, or via on the route")
			}
		}
		if len(v.problems) == before {
			out = append(out, lease.Route{Dst: dst, Via: via})
		}
	}
	return out
}

func (v family) dst(at, text string) netip.Prefix {
	dst, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		v.add(at, quote(text), "a prefix, for example "+netip.PrefixFrom(unspecified(v.is4), 0).String())
	case dst.Addr().Is4() != v.is4:
		v.add(at, text, "a prefix of the subnet's family")
	case dst != dst.Masked():
		v.add(at, text, "the network address: write "+dst.Masked().String())
	}
	return dst
}

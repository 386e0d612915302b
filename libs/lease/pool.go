// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"fmt"
	"net/netip"
	"time"

	"go4.org/netipx"

	"github.com/weft-cni/weft/libs/ipset"
)

// DefaultCooldown is how long a released address rests unless its pool says
// otherwise: the kernel's longest timers for half-open connections.
const DefaultCooldown = 120 * time.Second

// Policy says what happens when a pool has only resting addresses left.
type Policy string

// Prefer ends the rest that is over soonest rather than refuse; Strict refuses.
const (
	Prefer Policy = "Prefer"
	Strict Policy = "Strict"
)

// Pool is a set of addresses. An attachment gets one of each family that the
// pool has, or none at all.
type Pool struct {
	Name   string
	Domain string // where its addresses are unique; "" is DefaultDomain

	IPv4, IPv6 *Family // at least one

	Cooldown time.Duration
	Policy   Policy // "" is Prefer
	Suspend  bool   // no new claims; what is held stays and is released as usual
}

// Family is one family of a pool. Make it with NewFamily.
type Family struct {
	Subnet  netip.Prefix
	Gateway netip.Addr // may be invalid: none
	Routes  []Route

	// Set is what is handed out: the ranges, less what is excluded or reserved.
	Set ipset.Set
	// Exact is what may be asked for by address: the subnet, less what is
	// excluded or reserved. It contains Set.
	Exact ipset.Set

	ring bool // Set is the whole family: choose from the ring, move its cursor
}

// Route goes with an address of the family.
type Route struct {
	Dst netip.Prefix
	Via netip.Addr // may be invalid: on link
}

// NewFamily computes the sets of a family. No ranges means the whole subnet.
// The gateway, the network and broadcast address of an IPv4 subnet shorter
// than /31, and the subnet-router anycast address of an IPv6 subnet shorter
// than /127 (RFC 4291 2.6.1, RFC 6164) are reserved.
func NewFamily(subnet netip.Prefix, gateway netip.Addr, ranges, exclude []ipset.Range) (*Family, error) {
	whole := netipx.RangeOfPrefix(subnet)
	if len(ranges) == 0 {
		ranges = []ipset.Range{whole}
	}
	holes := append([]ipset.Range{}, exclude...)
	for _, a := range []netip.Addr{gateway, networkOf(subnet), broadcastOf(subnet)} {
		if a.IsValid() {
			holes = append(holes, netipx.IPRangeFrom(a, a))
		}
	}
	set, err := ipset.Of(ranges, holes...)
	if err != nil {
		return nil, fmt.Errorf("addresses of %s: %w", subnet, err)
	}
	exact, err := ipset.Of([]ipset.Range{whole}, holes...)
	if err != nil {
		return nil, fmt.Errorf("addresses of %s: %w", subnet, err)
	}
	return &Family{Subnet: subnet, Gateway: gateway, Set: set, Exact: exact, ring: true}, nil
}

// Reserved says why an address of the subnet cannot be had, or "".
func (f *Family) Reserved(a netip.Addr) string {
	switch {
	case f.Exact.Contains(a):
		return ""
	case a == f.Gateway:
		return "the gateway of " + f.Subnet.String()
	case a == networkOf(f.Subnet) && a.Is4():
		return "the network address of " + f.Subnet.String()
	case a == networkOf(f.Subnet):
		return "the subnet-router anycast address of " + f.Subnet.String()
	case a == broadcastOf(f.Subnet):
		return "the broadcast address of " + f.Subnet.String()
	}
	return "excluded by its pool"
}

// networkOf returns the subnet's first address if no host may have it.
func networkOf(p netip.Prefix) netip.Addr {
	if p.Addr().BitLen()-p.Bits() < 2 {
		return netip.Addr{}
	}
	return p.Masked().Addr()
}

func broadcastOf(p netip.Prefix) netip.Addr {
	if p.Addr().Is6() || p.Bits() > 30 {
		return netip.Addr{}
	}
	return netipx.PrefixLastIP(p)
}

// families returns the pool's families, IPv4 first.
func (p *Pool) families() []*Family {
	var out []*Family
	for _, f := range []*Family{p.IPv4, p.IPv6} {
		if f != nil {
			out = append(out, f)
		}
	}
	return out
}

// family returns the family of the pool whose subnet contains a, or nil.
func (p *Pool) family(a netip.Addr) *Family {
	for _, f := range p.families() {
		if f.Subnet.Contains(a) {
			return f
		}
	}
	return nil
}

func (f *Family) name() string {
	if f.Subnet.Addr().Is4() {
		return "IPv4"
	}
	return "IPv6"
}

// only returns a copy of the pool in which addrs are the one choice of their families.
func (p Pool) only(addrs []netip.Addr) Pool {
	for _, a := range addrs {
		f := **p.slot(a)
		f.Set, f.ring = ipset.Single(a), false
		*p.slot(a) = &f
	}
	return p
}

func (p *Pool) slot(a netip.Addr) **Family {
	if a.Is4() {
		return &p.IPv4
	}
	return &p.IPv6
}

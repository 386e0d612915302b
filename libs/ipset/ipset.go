// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package ipset holds immutable sets of IP addresses as sorted ranges.
//
// Job: membership, the next member at or after an address, and the two-way
// mapping between a member and its index, all without ever expanding a range.
// A set costs memory per range, never per address, so an IPv6 /64 is as cheap
// as a single address.
//
// Non-goals: prefixes as values, longest-prefix matching, mutation. Sets are
// built once, when a configuration is loaded.
//
// Failure model: construction reports bad input; a built set cannot fail.
package ipset

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"net/netip"
	"slices"
	"sort"
	"strings"

	"go4.org/netipx"
)

// Range is an inclusive range of addresses of one family.
type Range = netipx.IPRange

// maxIndexed is the largest set whose members have an index.
const maxIndexed = math.MaxInt64

// Set is an immutable set of addresses. The zero value is the empty set.
// Order is IPv4 before IPv6, then numeric.
type Set struct {
	ranges []Range
	// before[i] is the number of members in ranges[:i]; it saturates, and is
	// only used for an index when size ≤ maxIndexed.
	before []uint64
	size   uint64
}

// Of returns the set of the addresses in include that are not in exclude.
// The ranges may overlap and come in any order.
func Of(include []Range, exclude ...Range) (Set, error) {
	var b netipx.IPSetBuilder
	for _, r := range include {
		if !r.IsValid() {
			return Set{}, fmt.Errorf("include %s: not a range", r)
		}
		b.AddRange(r)
	}
	for _, r := range exclude {
		if !r.IsValid() {
			return Set{}, fmt.Errorf("exclude %s: not a range", r)
		}
		b.RemoveRange(r)
	}
	s, err := b.IPSet()
	if err != nil {
		return Set{}, fmt.Errorf("build set: %w", err)
	}
	return from(s), nil
}

// Single returns the set whose only member is a.
func Single(a netip.Addr) Set {
	return Set{ranges: []Range{netipx.IPRangeFrom(a, a)}, before: []uint64{0}, size: 1}
}

func from(s *netipx.IPSet) Set {
	out := Set{ranges: s.Ranges()}
	out.before = make([]uint64, len(out.ranges))
	for i, r := range out.ranges {
		out.before[i] = out.size
		out.size = addSaturating(out.size, length(r))
	}
	return out
}

// Ranges returns the disjoint, sorted ranges of the set.
func (s Set) Ranges() []Range { return slices.Clone(s.ranges) }

// Size returns the number of members; 2^64-1 stands for "that many or more".
func (s Set) Size() uint64 { return s.size }

// Contains says whether a is a member.
func (s Set) Contains(a netip.Addr) bool {
	i := s.find(a)
	return i < len(s.ranges) && !a.Less(s.ranges[i].From())
}

// Next returns the first member at or after a. It returns false when there is
// none: going round to the first member is the caller's choice.
func (s Set) Next(a netip.Addr) (netip.Addr, bool) {
	i := s.find(a)
	if i == len(s.ranges) {
		return netip.Addr{}, false
	}
	if first := s.ranges[i].From(); a.Less(first) {
		return first, true
	}
	return a, true
}

// First returns the smallest member.
func (s Set) First() (netip.Addr, bool) {
	if len(s.ranges) == 0 {
		return netip.Addr{}, false
	}
	return s.ranges[0].From(), true
}

// Indexed says whether At and Index work: the set has fewer than 2^63 members.
func (s Set) Indexed() bool { return s.size <= maxIndexed }

// At returns the member with index i, counted from 0 in order. It returns
// false when i is not below Size or the set is not Indexed.
func (s Set) At(i uint64) (netip.Addr, bool) {
	if i >= s.size || !s.Indexed() {
		return netip.Addr{}, false
	}
	n := sort.Search(len(s.before), func(n int) bool { return s.before[n] > i }) - 1
	return plus(s.ranges[n].From(), i-s.before[n]), true
}

// Index returns the index of a, the inverse of At.
func (s Set) Index(a netip.Addr) (uint64, bool) {
	if !s.Indexed() || !s.Contains(a) {
		return 0, false
	}
	i := s.find(a)
	return s.before[i] + minus(a, s.ranges[i].From()), true
}

// Overlap returns the first range the two sets share.
func (s Set) Overlap(o Set) (Range, bool) {
	for i, j := 0, 0; i < len(s.ranges) && j < len(o.ranges); {
		a, b := s.ranges[i], o.ranges[j]
		if a.Overlaps(b) {
			return netipx.IPRangeFrom(later(a.From(), b.From()), earlier(a.To(), b.To())), true
		}
		if a.To().Less(b.To()) {
			i++
			continue
		}
		j++
	}
	return Range{}, false
}

// String lists the ranges, short forms first: "10.0.0.1, 10.0.0.4-10.0.0.9".
func (s Set) String() string {
	out := make([]string, len(s.ranges))
	for i, r := range s.ranges {
		out[i] = Format(r)
	}
	return strings.Join(out, ", ")
}

// find returns the index of the first range that ends at or after a.
func (s Set) find(a netip.Addr) int {
	return sort.Search(len(s.ranges), func(i int) bool { return !s.ranges[i].To().Less(a) })
}

// ErrZone refuses addresses with a zone: they mean nothing off their host.
var ErrZone = errors.New("an address with a zone has no meaning in a set")

// Parse reads "10.0.0.1", "10.0.0.1-10.0.0.9" or "10.0.0.0/24".
// A prefix must be canonical, that is without bits beyond its length.
func Parse(s string) (Range, error) {
	switch {
	case strings.Contains(s, "%"):
		return Range{}, ErrZone
	case strings.Contains(s, "/"):
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return Range{}, fmt.Errorf("parse prefix %q: %w", s, err)
		}
		if p != p.Masked() {
			return Range{}, fmt.Errorf("prefix %q has bits beyond its length: write %s", s, p.Masked())
		}
		return checked(netipx.RangeOfPrefix(p), s)
	case strings.Contains(s, "-"):
		lo, hi, _ := strings.Cut(s, "-")
		from, err := netip.ParseAddr(strings.TrimSpace(lo))
		if err != nil {
			return Range{}, fmt.Errorf("parse range %q: %w", s, err)
		}
		to, err := netip.ParseAddr(strings.TrimSpace(hi))
		if err != nil {
			return Range{}, fmt.Errorf("parse range %q: %w", s, err)
		}
		return checked(netipx.IPRangeFrom(from, to), s)
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return Range{}, fmt.Errorf("parse address %q: %w", s, err)
	}
	return checked(netipx.IPRangeFrom(a, a), s)
}

func checked(r Range, s string) (Range, error) {
	if !r.IsValid() {
		return Range{}, fmt.Errorf("range %q does not go from a lower to a higher address of one family", s)
	}
	if r.From().Is4In6() || r.To().Is4In6() {
		return Range{}, fmt.Errorf("range %q is IPv4 in IPv6 clothing: write it as IPv4", s)
	}
	return r, nil
}

// Format writes a range as Parse reads it, in its shortest form.
func Format(r Range) string {
	if r.From() == r.To() {
		return r.From().String()
	}
	if p, ok := r.Prefix(); ok {
		return p.String()
	}
	return r.String()
}

// length returns the number of addresses of r, saturating.
func length(r Range) uint64 { return addSaturating(minus(r.To(), r.From()), 1) }

func addSaturating(a, b uint64) uint64 {
	sum, carry := bits.Add64(a, b, 0)
	if carry != 0 {
		return math.MaxUint64
	}
	return sum
}

func halves(a netip.Addr) (hi, lo uint64) {
	b := a.As16()
	for i := range 8 {
		hi = hi<<8 | uint64(b[i])
		lo = lo<<8 | uint64(b[i+8])
	}
	return hi, lo
}

// minus returns a-b for a ≥ b, saturating.
func minus(a, b netip.Addr) uint64 {
	ah, al := halves(a)
	bh, bl := halves(b)
	lo, borrow := bits.Sub64(al, bl, 0)
	if hi, _ := bits.Sub64(ah, bh, borrow); hi != 0 {
		return math.MaxUint64
	}
	return lo
}

// plus returns a+n in the family of a.
func plus(a netip.Addr, n uint64) netip.Addr {
	hi, lo := halves(a)
	lo, carry := bits.Add64(lo, n, 0)
	hi += carry
	var b [16]byte
	for i := range 8 {
		b[7-i] = byte(hi >> (8 * i))  //nolint:gosec // The low byte is meant.
		b[15-i] = byte(lo >> (8 * i)) //nolint:gosec // The low byte is meant.
	}
	out := netip.AddrFrom16(b)
	if a.Is4() {
		return out.Unmap()
	}
	return out
}

func later(a, b netip.Addr) netip.Addr {
	if a.Less(b) {
		return b
	}
	return a
}

func earlier(a, b netip.Addr) netip.Addr {
	if b.Less(a) {
		return b
	}
	return a
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package leasestore

import (
	"cmp"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/weft-cni/weft/libs/ipset"
)

// randomOf returns a random member of a set that is not empty. Of a set without
// indexes it is one of the largest range, which has nearly all of them.
func randomOf(set ipset.Set, r *rand.Rand) netip.Addr {
	if set.Indexed() {
		a, _ := set.At(r.Uint64N(set.Size()))
		return a
	}
	largest := slices.MaxFunc(set.Ranges(), func(a, b ipset.Range) int {
		return cmp.Compare(span(a), span(b))
	})
	from, to := largest.From().As16(), largest.To().As16()
	for {
		// The bits that the two ends share stay; a draw outside is drawn again,
		// which happens less than every other time but for odd ranges.
		b, differ := from, false
		for i := range b {
			if !differ && from[i] == to[i] {
				continue
			}
			mask := byte(0xff)
			if !differ {
				mask >>= bits.LeadingZeros8(from[i] ^ to[i])
			}
			b[i], differ = b[i]&^mask|byte(r.UintN(256))&mask, true //nolint:gosec // below 256
		}
		if a := netip.AddrFrom16(b); !a.Less(largest.From()) && !largest.To().Less(a) {
			return a
		}
	}
}

// span says how many bits the ends of a range differ in.
func span(r ipset.Range) int {
	a, b := r.From().As16(), r.To().As16()
	for i := range a {
		if d := a[i] ^ b[i]; d != 0 {
			return (15-i)*8 + bits.Len8(d)
		}
	}
	return 0
}

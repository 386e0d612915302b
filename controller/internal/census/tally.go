// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package census

import (
	"net/netip"
	"slices"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/weft-cni/weft/libs/ipset"
	"github.com/weft-cni/weft/libs/k8s/hint"
	"github.com/weft-cni/weft/libs/lease"
)

// tally is what is counted of one family of a pool.
type tally struct {
	set    ipset.Set
	counts [Resting + 1]uint64
	rests  map[netip.Addr]time.Time
	// Which addresses are taken: by index, or in order where the set is too
	// large for a bitmap.
	taken  *roaring.Bitmap
	sorted []netip.Addr
}

func newTally(f *lease.Family) *tally {
	if f == nil {
		return nil
	}
	t := &tally{set: f.Set, rests: map[netip.Addr]time.Time{}}
	if t.set.Size() <= hint.MaxIndexed {
		t.taken = roaring.New()
	}
	return t
}

func (t *tally) add(l Lease) {
	t.counts[l.State]++
	if l.State == Resting {
		t.rests[l.Key.Addr] = l.Until
	}
	if t.taken != nil {
		t.taken.Add(t.index(l.Key.Addr))
		return
	}
	i, _ := slices.BinarySearchFunc(t.sorted, l.Key.Addr, netip.Addr.Compare)
	t.sorted = slices.Insert(t.sorted, i, l.Key.Addr)
}

func (t *tally) remove(l Lease) {
	t.counts[l.State]--
	delete(t.rests, l.Key.Addr)
	if t.taken != nil {
		t.taken.Remove(t.index(l.Key.Addr))
		return
	}
	if i, ok := slices.BinarySearchFunc(t.sorted, l.Key.Addr, netip.Addr.Compare); ok {
		t.sorted = slices.Delete(t.sorted, i, i+1)
	}
}

func (t *tally) index(a netip.Addr) uint32 {
	i, _ := t.set.Index(a)
	return uint32(i) //nolint:gosec // below hint.MaxIndexed wherever there is a bitmap.
}

func (t *tally) used() uint64 { return t.counts[Claimed] + t.counts[Idle] }

func (t *tally) free() uint64 {
	return t.set.Size() - min(t.set.Size(), t.used()+t.counts[Resting])
}

// freeRanges returns the first n ranges of which nothing is taken.
func (t *tally) freeRanges(n int) []ipset.Range {
	var out []ipset.Range
	for _, r := range t.set.Ranges() {
		for a := r.From(); len(out) < n; {
			from, ok := t.nextFree(a, r.To())
			if !ok {
				break
			}
			to := t.lastFree(from, r.To())
			out = append(out, ipset.Range{})
			out[len(out)-1], _ = ipset.Parse(from.String() + "-" + to.String()) // in order, of one family
			if to == r.To() {
				break
			}
			a = to.Next()
		}
	}
	return out
}

// nextFree returns the first free address from a to last, which are in one range of the set.
func (t *tally) nextFree(a, last netip.Addr) (netip.Addr, bool) {
	if t.taken != nil {
		i := t.taken.NextAbsentValue(t.index(a))
		if i < 0 || i > int64(t.index(last)) {
			return netip.Addr{}, false
		}
		return t.set.At(uint64(i))
	}
	i, _ := slices.BinarySearchFunc(t.sorted, a, netip.Addr.Compare)
	for ; i < len(t.sorted) && t.sorted[i] == a; i++ {
		if a == last {
			return netip.Addr{}, false
		}
		a = a.Next()
	}
	return a, true
}

// lastFree returns the last address of the free ones from a to last.
func (t *tally) lastFree(a, last netip.Addr) netip.Addr {
	if t.taken != nil {
		i := t.taken.NextValue(t.index(a))
		if i < 0 || i > int64(t.index(last)) {
			return last
		}
		b, _ := t.set.At(uint64(i) - 1)
		return b
	}
	i, _ := slices.BinarySearchFunc(t.sorted, a, netip.Addr.Compare)
	if i == len(t.sorted) || last.Less(t.sorted[i]) {
		return last
	}
	return t.sorted[i].Prev()
}

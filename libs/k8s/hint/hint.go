// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package hint makes and reads IPHints: which addresses of a pool are probably taken.
//
// Job: pure functions from leases to a hint, for the controller, and from a
// hint to a bitmap and to a node's place among the nodes, for those who choose.
//
// Non-goals: reading or writing the object, deciding how often.
//
// Failure model: a hint that is damaged, or made for other addresses than the
// reader has, is an error; the reader goes on without it.
package hint

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"iter"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weft-cni/weft/libs/ipset"
	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
	"github.com/weft-cni/weft/libs/lease"
)

const (
	// MaxIndexed is the largest set for which a hint has a bitmap. A random
	// address of a larger one is nearly always free.
	MaxIndexed = 1 << 20
	// maxRests and maxNodes bound the object.
	maxRests = 64
	maxNodes = 10_000
)

// Source is what a hint is made from.
type Source struct {
	Pool       lease.Pool
	Generation int64 // of the IPPool
	// Leases are all that are in the pool's domain, resting ones too. Those of
	// other domains and addresses are passed over; those of other pools count,
	// where pools overlap.
	Leases iter.Seq[lease.Entry]
	Nodes  []string // all that may ask; none is fine
	Now    time.Time
}

// Of makes the hint.
func Of(s Source) *v1alpha1.IPHint {
	h := &v1alpha1.IPHint{
		ObjectMeta:     metav1.ObjectMeta{Name: s.Pool.Name},
		PoolGeneration: s.Generation,
		Made:           metav1.NewMicroTime(s.Now.UTC()),
		Nodes:          places(s.Nodes),
	}
	counts := map[**v1alpha1.FamilyHint]*count{}
	if f := s.Pool.IPv4; f != nil {
		counts[&h.IPv4] = newCount(f.Set)
	}
	if f := s.Pool.IPv6; f != nil {
		counts[&h.IPv6] = newCount(f.Set)
	}
	domain := lease.NewKey(s.Pool.Domain, netip.Addr{}).Domain
	for e := range s.Leases {
		if e.Key.Domain != domain {
			continue
		}
		for _, c := range counts {
			c.add(e)
		}
	}
	for to, c := range counts {
		*to = c.hint()
	}
	return h
}

// count is one family being counted.
type count struct {
	set           ipset.Set
	used, resting uint64
	taken         *roaring.Bitmap // nil when the set is too large for one
	rests         []v1alpha1.HintRest
}

func newCount(set ipset.Set) *count {
	c := &count{set: set}
	if set.Size() <= MaxIndexed {
		c.taken = roaring.New()
	}
	return c
}

func (c *count) add(e lease.Entry) {
	if !c.set.Contains(e.Key.Addr) {
		return
	}
	if c.taken != nil {
		i, _ := c.set.Index(e.Key.Addr)
		if !c.taken.CheckedAdd(uint32(i)) { //nolint:gosec // i < MaxIndexed.
			return // the same lease twice
		}
	}
	if e.Until.IsZero() {
		c.used++
		return
	}
	c.resting++
	c.rests = append(c.rests, v1alpha1.HintRest{Address: e.Key.Addr.String(), Until: metav1.NewTime(e.Until)})
}

func (c *count) hint() *v1alpha1.FamilyHint {
	slices.SortFunc(c.rests, func(a, b v1alpha1.HintRest) int {
		return cmp.Or(a.Until.Compare(b.Until.Time), cmp.Compare(a.Address, b.Address))
	})
	total := c.set.Size()
	h := &v1alpha1.FamilyHint{
		Addresses: Digest(c.set),
		Total:     strconv.FormatUint(total, 10),
		Used:      int64(c.used),    //nolint:gosec // nobody has 2^63 leases.
		Resting:   int64(c.resting), //nolint:gosec // nor at rest.
		Free:      strconv.FormatUint(total-min(total, c.used+c.resting), 10),
		Rests:     c.rests[:min(len(c.rests), maxRests)],
	}
	if c.taken != nil {
		c.taken.RunOptimize()
		h.Taken, _ = c.taken.ToBytes() // writing to memory cannot fail
	}
	return h
}

// Digest identifies a set of addresses.
func Digest(s ipset.Set) string {
	sum := sha256.Sum256([]byte(s.String()))
	return hex.EncodeToString(sum[:8])
}

var errOther = errors.New("the hint was made for other addresses")

// Taken reads the bitmap of a family's hint for a set: the indexes that are
// used or rest.
func Taken(h *v1alpha1.FamilyHint, set ipset.Set) (*roaring.Bitmap, error) {
	if h.Addresses != Digest(set) || set.Size() > MaxIndexed {
		return nil, errOther
	}
	b := roaring.New()
	if _, err := b.ReadFrom(bytes.NewReader(h.Taken)); err != nil {
		return nil, fmt.Errorf("read the bitmap: %w", err)
	}
	if err := b.Validate(); err != nil && !b.IsEmpty() {
		return nil, fmt.Errorf("read the bitmap: %w", err)
	}
	if !b.IsEmpty() && uint64(b.Maximum()) >= set.Size() {
		return nil, errOther
	}
	return b, nil
}

// places is the sorted hashes of the nodes' names.
func places(nodes []string) []byte {
	hashes := make([]uint32, 0, len(nodes))
	for _, n := range nodes {
		hashes = append(hashes, hash(n))
	}
	slices.Sort(hashes)
	hashes = slices.Compact(hashes)
	if len(hashes) > maxNodes {
		return nil
	}
	var out []byte
	for _, h := range hashes {
		out = binary.BigEndian.AppendUint32(out, h)
	}
	return out
}

// Place returns a node's place among the nodes of a hint, counted from 0, and
// how many there are; false when the hint does not know the node.
func Place(nodes []byte, node string) (place, of int, ok bool) {
	hashes := make([]uint32, 0, len(nodes)/4)
	for ; len(nodes) >= 4; nodes = nodes[4:] {
		hashes = append(hashes, binary.BigEndian.Uint32(nodes))
	}
	place, ok = slices.BinarySearch(hashes, hash(node))
	return place, len(hashes), ok
}

func hash(node string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(node))
	return h.Sum32()
}

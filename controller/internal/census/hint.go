// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package census

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
	"github.com/weft-cni/weft/libs/k8s/hint"
	"github.com/weft-cni/weft/libs/lease"
)

// maxRests is how many rests a hint tells of.
const maxRests = 64

// Hint makes the hint of a pool: what hint.Of makes of the pool's leases, without
// looking at each of them. Nil when there is no such pool, or it is invalid.
func (b *Book) Hint(name string, nodes []string, now time.Time) *v1alpha1.IPHint {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.pools[name]
	if p == nil || p.invalid != nil {
		return nil
	}
	h := hint.Of(hint.Source{
		Pool: p.view, Generation: p.object.Generation, Nodes: nodes, Now: now,
		Leases: func(func(lease.Entry) bool) {},
	})
	fill(h.IPv4, p.v4)
	fill(h.IPv6, p.v6)
	return h
}

func fill(h *v1alpha1.FamilyHint, t *tally) {
	if t == nil {
		return
	}
	h.Used, h.Resting = int64(t.used()), int64(t.counts[Resting]) //nolint:gosec // nobody has 2^63 leases.
	h.Free = strconv.FormatUint(t.free(), 10)
	if t.taken != nil {
		t.taken.RunOptimize()
		h.Taken, _ = t.taken.ToBytes() // writing to memory cannot fail
	}
	for a, until := range t.rests {
		h.Rests = append(h.Rests, v1alpha1.HintRest{Address: a.String(), Until: metav1.NewTime(until)})
	}
	slices.SortFunc(h.Rests, func(a, b v1alpha1.HintRest) int {
		return cmp.Or(a.Until.Compare(b.Until.Time), cmp.Compare(a.Address, b.Address))
	})
	h.Rests = slices.Clip(h.Rests[:min(len(h.Rests), maxRests)])
}

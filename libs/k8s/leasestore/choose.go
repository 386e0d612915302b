// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package leasestore

import (
	"context"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/weft-cni/weft/libs/ipset"
	"github.com/weft-cni/weft/libs/k8s/hint"
	"github.com/weft-cni/weft/libs/lease"
)

// How long what this process has seen counts for more than a hint.
const (
	// behind is how far a hint may be behind the leases: what was learnt longer
	// before a hint appeared is in the hint.
	behind = 500 * time.Millisecond
	// learntFor is when it is forgotten though no new hint has appeared.
	learntFor = 10 * time.Second
	// pickFor is how long an address is about to be claimed.
	pickFor = 30 * time.Second
)

const (
	breakTries = 8  // rests that Choose tries to end before it gives up
	patient    = 4  // misses in a row that Choose does not wait after
	smallSet   = 64 // members of a set without a ring that Choose looks at
)

// view is what is probably free of one family of a pool.
type view struct {
	domain string
	set    ipset.Set
	digest string
	sheet  *sheet          // that it was made from
	free   *roaring.Bitmap // by index in set; nil when the set is too large
	// home is this node's share of the indexes, tried first.
	homeFrom, homeTo uint64
	misses           int // since the hint was read
	row              int // misses since a claim last succeeded
	random           *rand.Rand
}

// Choose implements lease.Chooser.
func (s *Store) Choose(ctx context.Context, w lease.Want) (netip.Addr, error) {
	if err := ctx.Err(); err != nil {
		return netip.Addr{}, err
	}
	if w.Ring == "" {
		return s.chooseFew(ctx, w)
	}
	if err := sleep(ctx, s.patience(w.Ring)); err != nil {
		return netip.Addr{}, err
	}
	if s.needsHint(w) {
		s.refresh(ctx, w.Pool, freshFor)
	}
	if a, ok := s.draw(w, behind); ok {
		return a, nil
	}
	s.refresh(ctx, w.Pool, lastWord)
	s.again(w.Ring)
	if a, ok := s.draw(w, 0); ok {
		return a, nil
	}
	if a, ok := s.endRest(ctx, w); ok {
		return a, nil
	}
	return netip.Addr{}, s.dry(w)
}

// patience is how long to wait before the next try after a row of misses: for a
// hint that has caught up, on a server that has too much to do already.
func (s *Store) patience(ring string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.views[ring]
	if v == nil || v.row < patient {
		return 0
	}
	most := 25 * time.Millisecond << min(v.row/2, 5)
	return most/2 + time.Duration(v.random.Int64N(int64(most/2)))
}

// draw picks an address that is probably free, for the caller alone. A hint
// that is less than slack younger than what was learnt does not count.
func (s *Store) draw(w lease.Want, slack time.Duration) (netip.Addr, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.view(w)
	if v.free == nil {
		return s.drawLarge(v, slack)
	}
	for !v.free.IsEmpty() {
		i := v.next()
		v.free.Remove(i)
		a, ok := v.set.At(uint64(i))
		if k := lease.NewKey(v.domain, a); ok && !s.avoids(k, v.sheet, slack) {
			s.pick(k)
			return a, true
		}
	}
	return netip.Addr{}, false
}

// next returns a random free index: of the node's own share while that has one.
func (v *view) next() uint32 {
	from, to := uint64(0), v.free.GetCardinality()
	if lo, hi := below(v.free, v.homeFrom), below(v.free, v.homeTo); hi > lo {
		from, to = lo, hi
	}
	i, _ := v.free.Select(uint32(from + v.random.Uint64N(to-from))) //nolint:gosec // a rank below 2^20.
	return i
}

// below counts the members less than i.
func below(b *roaring.Bitmap, i uint64) uint64 {
	if i == 0 {
		return 0
	}
	return b.Rank(uint32(i - 1)) //nolint:gosec // an index below 2^20.
}

// drawLarge picks any address: of so many nearly all are free.
func (s *Store) drawLarge(v *view, slack time.Duration) (netip.Addr, bool) {
	if f := v.sheet.family(v.set); f != nil && f.Free == "0" {
		return netip.Addr{}, false
	}
	for range smallSet {
		a := randomOf(v.set, v.random)
		if k := lease.NewKey(v.domain, a); !s.avoids(k, v.sheet, slack) {
			s.pick(k)
			return a, true
		}
	}
	return netip.Addr{}, false
}

// learnt is that an address was taken, or is about to be.
type learnt struct {
	at     time.Time
	misses int // in a row: hints lag more than was thought
}

// avoids says whether the process knows better than to try the key, given a
// hint that says that it is free.
func (s *Store) avoids(k lease.Key, sh *sheet, slack time.Duration) bool {
	now := s.now()
	if e, ok := s.index.entries[k]; ok && (e.Until.IsZero() || now.Before(e.Until)) || s.claims[k] > 0 {
		return true
	}
	l, ok := s.avoid[k]
	if !ok {
		return false
	}
	if s.picked[k] && now.Before(l.at.Add(pickFor)) {
		return true
	}
	if slack > 0 && l.misses > 1 {
		slack <<= min(l.misses-1, 5)
	}
	return now.Before(l.at.Add(learntFor)) && !sh.since(l.at.Add(slack))
}

// learnt records that a key is taken now, and how often that was a surprise.
func (s *Store) learnt(k lease.Key, surprises int) {
	s.avoid[k] = learnt{at: s.now(), misses: s.avoid[k].misses + surprises}
}

// again makes the next draw begin with all that the hint says is free.
func (s *Store) again(ring string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.views[ring]; v != nil {
		v.digest = ""
	}
}

func (s *Store) pick(k lease.Key) {
	s.picked[k] = true
	s.learnt(k, 0)
	delete(s.offers, k)
}

// view returns the state of a ring, made anew when the hint or the pool has changed.
func (s *Store) view(w lease.Want) *view {
	v, sh, digest := s.views[w.Ring], s.sheets[w.Pool], hint.Digest(w.Set)
	if v != nil && v.digest == digest && v.sheet == sh {
		return v
	}
	seed := fnv.New128a()
	_, _ = seed.Write([]byte(s.node + "\x00" + w.Ring))
	sum := seed.Sum(nil)
	n := &view{domain: w.Domain, set: w.Set, digest: digest, sheet: sh}
	if v != nil {
		n.random, n.row = v.random, v.row
	} else {
		n.random = rand.New(rand.NewPCG(word(sum[:8]), word(sum[8:]))) //nolint:gosec // an order, no secret
	}
	s.views[w.Ring] = n
	if w.Set.Size() > hint.MaxIndexed {
		return n
	}
	n.free = roaring.New()
	n.free.AddRange(0, w.Set.Size())
	if f := sh.family(w.Set); f != nil {
		if taken, err := hint.Taken(f, w.Set); err == nil {
			n.free.AndNot(taken)
		}
	}
	if sh != nil && sh.hint != nil {
		if place, of, ok := hint.Place(sh.hint.Nodes, s.node); ok {
			n.homeFrom = uint64(place) * w.Set.Size() / uint64(of)     //nolint:gosec // counts
			n.homeTo = (uint64(place) + 1) * w.Set.Size() / uint64(of) //nolint:gosec // counts
		}
	}
	for k, until := range s.offers {
		if i, ok := n.index(k); ok && s.now().Before(until) {
			n.free.Add(i)
		}
	}
	return n
}

func word(b []byte) (out uint64) {
	for _, x := range b {
		out = out<<8 | uint64(x)
	}
	return out
}

func (v *view) index(k lease.Key) (uint32, bool) {
	if v.free == nil || k.Domain != v.domain {
		return 0, false
	}
	i, ok := v.set.Index(k.Addr)
	return uint32(i), ok //nolint:gosec // below 2^20 when free is set.
}

// offer puts a key that became free among the candidates.
func (s *Store) offer(k lease.Key) {
	now := s.now()
	for old, until := range s.offers {
		if now.After(until) {
			delete(s.offers, old)
		}
	}
	s.offers[k] = now.Add(2 * behind)
	for _, v := range s.views {
		if i, ok := v.index(k); ok {
			v.free.Add(i)
		}
	}
}

// won ends a row of misses.
func (s *Store) won(k lease.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.views {
		if v.domain == k.Domain && v.set.Contains(k.Addr) {
			v.row = 0
		}
	}
}

// takePicked says whether the key is one that Choose gave.
func (s *Store) takePicked(k lease.Key) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	ok := s.picked[k]
	delete(s.picked, k)
	return ok
}

// unpick gives back what Choose gave and nobody claimed.
func (s *Store) unpick(k lease.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.avoid, k)
	s.offer(k)
}

// missed remembers that a key was taken.
func (s *Store) missed(k lease.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if len(s.avoid) > 4*smallSet {
		for old, l := range s.avoid {
			if now.After(l.at.Add(pickFor)) {
				delete(s.avoid, old)
			}
		}
	}
	s.learnt(k, 1)
	delete(s.offers, k)
	for _, v := range s.views {
		if v.domain == k.Domain && v.set.Contains(k.Addr) {
			v.misses++
			v.row++
		}
	}
}

// chooseFew chooses from a set that is not the whole of a pool: an address that
// was asked for. The first answer costs nothing; what was found taken is looked at.
func (s *Store) chooseFew(ctx context.Context, w lease.Want) (netip.Addr, error) {
	dry := &lease.DryError{Use: lease.Use{Total: w.Set.Size()}}
	a, ok := w.Set.First()
	for n := 0; ok && n < smallSet; n++ {
		k := lease.NewKey(w.Domain, a)
		s.mu.Lock()
		avoid := s.avoids(k, nil, behind)
		s.mu.Unlock()
		if !avoid {
			return a, nil
		}
		free, rests, err := s.free(ctx, k, w.Break)
		switch {
		case err != nil:
			return netip.Addr{}, err
		case free:
			return a, nil
		case rests:
			dry.Resting++
		default:
			dry.Held++
		}
		a, ok = w.Set.Next(a.Next())
	}
	return netip.Addr{}, dry
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package leasestore

import (
	"cmp"
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/weft-cni/weft/libs/lease"
)

// endRest frees an address whose rest is over, or, where that is wanted, the one
// whose rest is over soonest.
func (s *Store) endRest(ctx context.Context, w lease.Want) (netip.Addr, bool) {
	keys := s.resting(w)
	for try := 0; try < breakTries && len(keys) > 0; try++ {
		k := keys[0]
		keys = keys[1:]
		if free, _, err := s.free(ctx, k, w.Break); err == nil && free {
			s.mu.Lock()
			s.pick(k)
			s.mu.Unlock()
			return k.Addr, true
		}
		// Somebody else goes for the same one: part ways.
		rand.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] }) //nolint:gosec // an order, no secret
	}
	return netip.Addr{}, false
}

// resting returns the keys of a set that are known to rest and may be had, the
// one whose rest is over first in front.
func (s *Store) resting(w lease.Want) []lease.Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	until := map[lease.Key]time.Time{}
	if f := s.sheets[w.Pool].family(w.Set); f != nil {
		for _, r := range f.Rests {
			if a, err := netip.ParseAddr(r.Address); err == nil {
				until[lease.NewKey(w.Domain, a)] = r.Until.Time
			}
		}
	}
	for k, e := range s.index.entries {
		if !e.Until.IsZero() {
			until[k] = e.Until
		} else {
			delete(until, k)
		}
	}
	var out []lease.Key
	for k, t := range until {
		if k.Domain == w.Domain && w.Set.Contains(k.Addr) && !s.picked[k] && (w.Break || !s.now().Before(t)) {
			out = append(out, k)
		}
	}
	slices.SortFunc(out, func(a, b lease.Key) int {
		return cmp.Or(until[a].Compare(until[b]), a.Addr.Compare(b.Addr))
	})
	return out
}

// free looks at one key, and ends its rest if that is over or may be broken.
func (s *Store) free(ctx context.Context, k lease.Key, brk bool) (free, rests bool, err error) {
	l, err := s.client.get(ctx, k.String())
	if apierrors.IsNotFound(err) {
		s.forget(k, false)
		return true, false, nil
	}
	if err != nil {
		return false, false, clean(err)
	}
	e, err := s.learn(l)
	if err != nil {
		return false, false, err
	}
	if e.Until.IsZero() {
		return false, false, nil
	}
	if !brk && s.now().Before(e.Until) {
		return false, true, nil
	}
	free, err = s.lift(ctx, l)
	return free, true, err
}

// dry counts as the hint does, and what rests by what this process knows;
// everything else was found taken.
func (s *Store) dry(w lease.Want) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.views[w.Ring]; v != nil {
		v.row = 0
	}
	use, known := lease.Use{Total: w.Set.Size()}, int64(0)
	now := s.now()
	for k, e := range s.index.entries {
		if now.Before(e.Until) && k.Domain == w.Domain && w.Set.Contains(k.Addr) {
			known++
		}
	}
	if f := s.sheets[w.Pool].family(w.Set); f != nil {
		known = max(known, f.Resting)
	}
	use.Resting = min(uint64(known), use.Total)
	use.Held = use.Total - use.Resting
	return &lease.DryError{Use: use}
}

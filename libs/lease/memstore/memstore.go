// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package memstore keeps leases in memory.
//
// Job: the simplest store that obeys lease.Store, for tests, simulations, and
// as the model of others. It is safe for concurrent use, chooses and buries,
// and has no transactions, so that it shows what an engine does without them.
//
// Non-goals: durability, speed with many leases.
//
// Failure model: only a done context makes an operation fail, before it changed anything.
package memstore

import (
	"cmp"
	"context"
	"iter"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/weft-cni/weft/libs/lease"
)

// Store is a lease.Store in memory. Make it with New.
type Store struct {
	now func() time.Time

	mu      sync.Mutex
	entries map[lease.Key]lease.Entry
	cursors map[string]netip.Addr
	graves  map[lease.ID]lease.Tombstone
	seq     uint64
}

var (
	_ lease.Store     = (*Store)(nil)
	_ lease.Chooser   = (*Store)(nil)
	_ lease.Graveyard = (*Store)(nil)
)

// New returns an empty store that takes the time from now.
func New(now func() time.Time) *Store {
	return &Store{
		now:     now,
		entries: map[lease.Key]lease.Entry{},
		cursors: map[string]netip.Addr{},
		graves:  map[lease.ID]lease.Tombstone{},
	}
}

// Claim implements lease.Store.
func (s *Store) Claim(ctx context.Context, k lease.Key, r lease.Record) (lease.Version, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.entries[k]; ok && (e.Until.IsZero() || s.now().Before(e.Until)) {
		return "", lease.ErrTaken
	}
	return s.put(k, r), nil
}

// Swap implements lease.Store.
func (s *Store) Swap(ctx context.Context, k lease.Key, v lease.Version, r lease.Record) (lease.Version, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.entries[k]; !ok || !e.Until.IsZero() || e.Version != v {
		return "", lease.ErrStale
	}
	return s.put(k, r), nil
}

// Release implements lease.Store.
func (s *Store) Release(ctx context.Context, k lease.Key, v lease.Version, quarantine time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[k]
	switch {
	case !ok || !e.Until.IsZero() || e.Version != v:
	case quarantine <= 0:
		delete(s.entries, k)
	default:
		e.Until = s.now().Add(quarantine)
		s.entries[k] = e
	}
	for k, e := range s.entries {
		if !e.Until.IsZero() && s.now().After(e.Until) {
			delete(s.entries, k)
		}
	}
	return nil
}

// Get implements lease.Store.
func (s *Store) Get(ctx context.Context, k lease.Key) (lease.Record, lease.Version, error) {
	if err := ctx.Err(); err != nil {
		return lease.Record{}, "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[k]
	if !ok || !e.Until.IsZero() {
		return lease.Record{}, "", lease.ErrAbsent
	}
	return e.Record, e.Version, nil
}

// Scan implements lease.Store; it yields the state at its start.
func (s *Store) Scan(ctx context.Context, f lease.Filter) iter.Seq2[lease.Entry, error] {
	return func(yield func(lease.Entry, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(lease.Entry{}, err)
			return
		}
		for _, e := range s.selected(f) {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// Choose implements lease.Chooser.
func (s *Store) Choose(ctx context.Context, w lease.Want) (netip.Addr, error) {
	if err := ctx.Err(); err != nil {
		return netip.Addr{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a, rest, err := lease.Pick(w, s.cursors[w.Ring], func(a netip.Addr) (time.Time, bool) {
		e, ok := s.entries[lease.NewKey(w.Domain, a)]
		return e.Until, ok
	}, s.now())
	if err != nil {
		return netip.Addr{}, err
	}
	if rest {
		delete(s.entries, lease.NewKey(w.Domain, a))
	}
	if w.Ring != "" {
		s.cursors[w.Ring] = a
	}
	return a, nil
}

// Bury implements lease.Graveyard.
func (s *Store) Bury(ctx context.Context, t lease.Tombstone) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for id, old := range s.graves {
		if now.After(old.Until) {
			delete(s.graves, id)
		}
	}
	s.graves[t.ID] = t
	return nil
}

// Buried implements lease.Graveyard.
func (s *Store) Buried(ctx context.Context, id lease.ID) (lease.Tombstone, bool, error) {
	if err := ctx.Err(); err != nil {
		return lease.Tombstone{}, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.graves[id]
	return t, ok && !s.now().After(t.Until), nil
}

func (s *Store) put(k lease.Key, r lease.Record) lease.Version {
	s.seq++
	v := lease.Version(strconv.FormatUint(s.seq, 10))
	s.entries[k] = lease.Entry{Key: k, Record: r, Version: v}
	return v
}

func (s *Store) selected(f lease.Filter) (out []lease.Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries {
		if f.Matches(e) {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(x, y lease.Entry) int {
		return cmp.Or(cmp.Compare(x.Key.Domain, y.Key.Domain), x.Key.Addr.Compare(y.Key.Addr))
	})
	return out
}

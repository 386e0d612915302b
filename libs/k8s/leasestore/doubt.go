// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package leasestore

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/weft-cni/weft/libs/lease"
)

// lateBy is how long the server may still do what it was asked: its own limit
// for a request, and something for the way.
const lateBy = 75 * time.Second

// doubt is a claim of unknown outcome.
type doubt struct {
	record   lease.Record
	since    time.Time
	settling bool          // Settle is at it: nobody else may use what it finds
	used     lease.Version // of a lease that a later claim of the same key made
}

func (s *Store) addDoubt(k lease.Key, r lease.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doubts[k] = &doubt{record: r, since: s.now()}
	s.learnt(k, 0)
}

func (s *Store) inDoubt(k lease.Key) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.doubts[k] != nil
}

// beginClaim keeps Settle away from the key, unless Settle is at it.
func (s *Store) beginClaim(k lease.Key) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.doubts[k]; d != nil && d.settling {
		return false
	}
	s.claims[k]++
	return true
}

func (s *Store) endClaim(k lease.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claims[k]--; s.claims[k] == 0 {
		delete(s.claims, k)
	}
}

// claimed tells a doubt that remains about an earlier request for the key that
// this lease is not what it is about.
func (s *Store) claimed(k lease.Key, v lease.Version) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.doubts[k]; d != nil {
		d.used = v
	}
}

// isDoubted says whether the entry is what a claim in doubt would have made.
func (s *Store) isDoubted(e lease.Entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.doubts[e.Key]
	// A doubt that is gone was Settle's.
	return e.Until.IsZero() && (d == nil || ours(e.Record, d.record))
}

// takeDoubt ends a doubt in favour of the caller, unless Settle was first.
func (s *Store) takeDoubt(k lease.Key) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.doubts[k]
	if d == nil || d.settling {
		return false
	}
	delete(s.doubts, k)
	return true
}

// Settle looks what became of the claims whose outcome was unknown: those that
// were made after all and that nobody uses are released, without a rest. It
// returns how many are still in doubt because the server may yet do them; call
// it every few seconds while there are any.
func (s *Store) Settle(ctx context.Context) (left int, err error) {
	var errs []error
	for _, k := range s.doubted() {
		if err := s.settle(ctx, k); err != nil {
			errs = append(errs, fmt.Errorf("settle %s: %w", k, err))
		}
	}
	return len(s.doubted()), errors.Join(errs...)
}

func (s *Store) doubted() (out []lease.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.doubts {
		out = append(out, k)
	}
	return out
}

func (s *Store) settle(ctx context.Context, k lease.Key) (err error) {
	s.mu.Lock()
	d := s.doubts[k]
	if d == nil || d.settling || s.claims[k] > 0 {
		s.mu.Unlock()
		return nil
	}
	d.settling = true
	s.mu.Unlock()
	done := false
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		d.settling = false
		if done {
			delete(s.doubts, k)
		}
	}()
	l, err := s.client.get(ctx, k.String())
	if apierrors.IsNotFound(err) {
		done = s.now().After(d.since.Add(lateBy))
		return nil
	}
	if err != nil {
		return clean(err)
	}
	e, err := Entry(l)
	if err != nil {
		return err
	}
	if e.Until.IsZero() && ours(e.Record, d.record) && !s.uses(e, d) {
		err := s.Release(ctx, k, e.Version, 0)
		done = err == nil
		return err
	}
	done = s.now().After(d.since.Add(lateBy))
	return nil
}

// uses says whether a later claim of the same attachment has the key.
func (s *Store) uses(e lease.Entry, d *doubt) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.index.entries[e.Key]
	return ok || d.used != "" && uidOf(d.used) == uidOf(e.Version)
}

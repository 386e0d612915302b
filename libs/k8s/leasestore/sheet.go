// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package leasestore

import (
	"context"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/weft-cni/weft/libs/ipset"
	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
	"github.com/weft-cni/weft/libs/k8s/hint"
	"github.com/weft-cni/weft/libs/lease"
)

const (
	// missesBefore a hint is read again.
	missesBefore = 2
	// A hint is not read again before the controller can have written another.
	freshFor = 150 * time.Millisecond
	// Before a refusal it is, but for the efforts of one request.
	lastWord = 20 * time.Millisecond
	// While allocating, a hint is read again when it is older than this: of a
	// pool with few free addresses, without a hint, and otherwise.
	oldFew, oldNone, oldMany = 3 * time.Second, 5 * time.Second, 30 * time.Second
	// hintLimit bounds the wait for something that is only a help. It is long: a
	// server that takes seconds to read from memory is not helped by guesses,
	// each of which may be a write in vain.
	hintLimit = 10 * time.Second
)

// sheet is a hint as it was read; hint is nil when there is none.
type sheet struct {
	hint  *v1alpha1.IPHint
	read  time.Time
	first time.Time // when this hint, and not an older one, was first read
}

// since says whether the hint appeared after a time.
func (s *sheet) since(t time.Time) bool { return s != nil && s.hint != nil && s.first.After(t) }

// family returns the hint for a set, or nil.
func (s *sheet) family(set ipset.Set) *v1alpha1.FamilyHint {
	a, ok := set.First()
	if s == nil || s.hint == nil || !ok {
		return nil
	}
	f := s.hint.IPv6
	if a.Is4() {
		f = s.hint.IPv4
	}
	if f == nil || f.Addresses != hint.Digest(set) {
		return nil
	}
	return f
}

// needsHint says whether it is worth a request to read the hint before a draw.
func (s *Store) needsHint(w lease.Want) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh, v := s.sheets[w.Pool], s.views[w.Ring]
	large := w.Set.Size() > hint.MaxIndexed
	if sh == nil {
		return !large || v != nil && v.misses >= missesBefore
	}
	age := s.now().Sub(sh.read)
	if v != nil && v.misses >= missesBefore {
		return age >= freshFor
	}
	f := sh.family(w.Set)
	switch {
	case large:
		return false
	case f == nil:
		return age >= oldNone
	case few(f):
		return age >= oldFew
	}
	return age >= oldMany
}

// refresh reads the hint unless it was read within a time; once for all who want
// it at the same time. That none could be read is no error.
func (s *Store) refresh(ctx context.Context, pool string, within time.Duration) {
	s.mu.Lock()
	if sh := s.sheets[pool]; sh != nil && s.now().Sub(sh.read) < within {
		s.mu.Unlock()
		return
	}
	if flight := s.flights[pool]; flight != nil {
		s.mu.Unlock()
		select {
		case <-flight:
		case <-ctx.Done():
		}
		return
	}
	flight := make(chan struct{})
	s.flights[pool] = flight
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, hintLimit)
	defer cancel()
	h, err := s.client.hint(ctx, pool)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.flights, pool)
	close(flight)
	sh := &sheet{hint: h, read: s.now(), first: s.now()}
	old := s.sheets[pool]
	switch {
	case apierrors.IsNotFound(err):
		sh.hint = nil
	case err != nil && old == nil:
		sh.hint = nil
	case err != nil, old != nil && old.hint != nil && old.hint.ResourceVersion == h.ResourceVersion:
		sh.hint, sh.first = old.hint, old.first
	}
	s.sheets[pool] = sh
	for _, v := range s.views {
		v.misses = 0
	}
}

// few says whether less than a quarter is free: then a hint ages fast.
func few(f *v1alpha1.FamilyHint) bool {
	free, err1 := strconv.ParseUint(f.Free, 10, 64)
	total, err2 := strconv.ParseUint(f.Total, 10, 64)
	return err1 == nil && err2 == nil && free < total/4
}

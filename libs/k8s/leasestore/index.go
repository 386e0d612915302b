// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package leasestore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
	"github.com/weft-cni/weft/libs/lease"
)

// remembered bounds Store.seen.
const remembered = 4096

// restedFor is how long after its end a rest is remembered, in case the
// controller does not end it.
const restedFor = 10 * time.Minute

// index is what a node has: one list, then what the store itself writes.
type index struct {
	loaded  bool
	entries map[lease.Key]lease.Entry
	unsure  map[lease.Key]bool // a write of unknown outcome: read before use
	touched map[lease.Key]bool // written while a list is under way; nil when none is
}

// Load reads the node's leases again. An agent calls it when it starts and, in
// case others changed them, every few minutes. Scan does when nobody has.
func (s *Store) Load(ctx context.Context) error {
	if s.node == "" {
		return nil
	}
	s.loading.Lock()
	defer s.loading.Unlock()
	return s.load(ctx)
}

func (s *Store) load(ctx context.Context) error {
	s.mu.Lock()
	s.index.touched = map[lease.Key]bool{}
	s.mu.Unlock()
	entries, err := s.list(ctx, v1alpha1.NodeLabel+"="+Label(s.node))
	s.mu.Lock()
	defer s.mu.Unlock()
	touched := s.index.touched
	s.index.touched = nil
	if err != nil {
		return fmt.Errorf("list the leases of node %s: %w", s.node, err)
	}
	fresh := map[lease.Key]lease.Entry{}
	for _, e := range entries {
		if !touched[e.Key] && e.Record.Attachment.Node == s.node {
			fresh[e.Key] = e
		}
	}
	for k, e := range s.index.entries {
		if touched[k] {
			fresh[k] = e
		}
	}
	s.index.entries, s.index.loaded = fresh, true
	return nil
}

// known is Scan of a node.
func (s *Store) known(ctx context.Context, f lease.Filter) ([]lease.Entry, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	for _, k := range s.unsure(f) {
		if _, _, err := s.Get(ctx, k); err != nil && !errors.Is(err, lease.ErrAbsent) {
			return nil, fmt.Errorf("see what became of %s: %w", k, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []lease.Entry
	now := s.now()
	for k, e := range s.index.entries {
		if !e.Until.IsZero() && e.Until.Add(restedFor).Before(now) {
			delete(s.index.entries, k)
			continue
		}
		if f.Matches(e) {
			out = append(out, e)
		}
	}
	return out, nil
}

func (s *Store) ready(ctx context.Context) error {
	if s.isLoaded() {
		return nil
	}
	s.loading.Lock()
	defer s.loading.Unlock()
	if s.isLoaded() {
		return nil
	}
	return s.load(ctx)
}

func (s *Store) isLoaded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.index.loaded
}

func (s *Store) unsure(f lease.Filter) (out []lease.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.Resting = true
	for k := range s.index.unsure {
		if e, ok := s.index.entries[k]; !ok || f.Matches(e) {
			out = append(out, k)
		}
	}
	return out
}

// keep records what the server said after a write of ours.
func (s *Store) keep(l *v1alpha1.IPLease) (lease.Version, error) {
	e, err := s.learn(l)
	return e.Version, err
}

// learn records what the server said of a lease.
func (s *Store) learn(l *v1alpha1.IPLease) (lease.Entry, error) {
	e, err := Entry(l)
	if err != nil {
		return lease.Entry{}, err
	}
	s.remember(e.Key, versionOf(l))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.touch(e.Key)
	delete(s.index.unsure, e.Key)
	if s.node != "" && e.Record.Attachment.Node == s.node {
		s.index.entries[e.Key] = e
	} else {
		delete(s.index.entries, e.Key)
	}
	s.learnt(e.Key, 0)
	return e, nil
}

// remember keeps what a version stands for, of the last few thousand leases: it
// saves a request at their release.
func (s *Store) remember(k lease.Key, v version) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for old := range s.seen {
		if len(s.seen) < remembered {
			break
		}
		delete(s.seen, old) // any one
	}
	s.seen[k] = v
}

// forget records that the key is free; released says that we freed it.
func (s *Store) forget(k lease.Key, released bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.touch(k)
	delete(s.index.unsure, k)
	delete(s.index.entries, k)
	delete(s.seen, k)
	delete(s.avoid, k)
	if released {
		s.offer(k)
	}
}

func (s *Store) touch(k lease.Key) {
	if s.index.touched != nil {
		s.index.touched[k] = true
	}
}

// doubtEntry marks what the index says of a key as unsure.
func (s *Store) doubtEntry(k lease.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.touch(k)
	s.index.unsure[k] = true
}

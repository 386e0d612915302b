// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package boltstore keeps the leases of one host in a bbolt file.
//
// Job: a durable lease.Store shared by short-lived processes. A process takes
// the lock, opens the file, runs one transaction and leaves; nothing is held
// between two operations, and a process that dies anywhere leaves the state
// before or after its transaction, never between.
//
// Non-goals: several hosts (file locks and boot IDs mean one kernel), a
// long-lived open database.
//
// Failure model. ErrBusy: the lock was not had before the deadline. ErrDamaged:
// the file is torn, not ours, or not readable as ours; it is never repaired or
// recreated, because what it says is not in use may be in use. Everything else is
// an *os.PathError or a system error (disk full, read-only, no permission). In
// each case the transaction did not happen. bbolt reads through a memory map:
// faults and failed assertions inside it are caught and reported as ErrDamaged.
//
// Files in the directory (0700), each 0600:
//
//	lock        taken with flock(2) by every operation: exclusive to write, shared
//	            to read. bbolt's own lock polls every 50 ms; behind this one it is
//	            always free at once.
//	leases.db   the bbolt file
//	leases.db.new   a leases.db in the making; it is renamed when it is complete,
//	            so an empty or short leases.db is damage and never a beginning
//
// Buckets of leases.db (0 is a zero byte, numbers are big-endian):
//
//	meta        "format"                          → "weft leases 1"
//	leases      domain 0 family(4|6) address      → state('h'eld|'r'esting) version(8) until(8, ns, 0 when held) JSON record
//	containers  network 0 container 0 ifname 0 lease-key → ""     held leases by sandbox
//	pods        network 0 pod-uid 0 ifname 0 lease-key   → ""     held leases by pod, where one is known
//	rests       until(8) lease-key                → ""            resting leases, the one over soonest first
//	cursors     ring                              → address       the last one chosen
//	graves      network 0 container 0 ifname      → until(8) began(8) boot ID
//	forget      until(8) grave-key                → ""            graves, the one to forget first
//
// The version of a lease is a sequence over all leases and never repeats.
package boltstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/weft-cni/weft/libs/lease"
)

// What makes a store unusable, to be tested with errors.Is.
var (
	ErrBusy    = errors.New("the store is locked by another process")
	ErrDamaged = errors.New("the lease store is damaged")
)

// Store is a lease.Store in a directory. Make it with New; it holds no
// resources and is safe for concurrent use, within and between processes.
type Store struct {
	dir     string
	now     func() time.Time
	reached func(string)
}

var (
	_ lease.Store      = (*Store)(nil)
	_ lease.Transactor = (*Store)(nil)
	_ lease.Chooser    = (*Store)(nil)
	_ lease.Graveyard  = (*Store)(nil)
)

// New returns the store in dir, which is made when something is first written.
// reached is told the name of each instant at which dying is interesting; it may be nil.
func New(dir string, now func() time.Time, reached func(string)) *Store {
	if reached == nil {
		reached = func(string) {}
	}
	return &Store{dir: dir, now: now, reached: reached}
}

// File returns the path of the database.
func (s *Store) File() string { return filepath.Join(s.dir, "leases.db") }

// Update implements lease.Transactor. A function that wrote nothing costs no fsync.
func (s *Store) Update(ctx context.Context, f func(lease.Store) error) error {
	if err := makeDir(s.dir); err != nil {
		return err
	}
	unlock, err := lock(ctx, s.lockFile(), unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer unlock()
	s.reached("after-lock")
	if _, err := os.Stat(s.File()); errors.Is(err, fs.ErrNotExist) {
		if err := s.create(ctx); err != nil {
			return err
		}
	}
	return s.with(ctx, s.File(), os.O_RDWR, func(db *bbolt.DB) error {
		b, err := db.Begin(true)
		if err != nil {
			return fmt.Errorf("begin: %w", err)
		}
		keep, err := s.apply(ctx, b, f)
		if err != nil || !keep {
			return errors.Join(err, b.Rollback())
		}
		s.reached("before-commit")
		if err := b.Commit(); err != nil {
			return fmt.Errorf("commit to %s: %w", s.File(), err)
		}
		s.reached("after-commit")
		return nil
	})
}

// apply runs f on the transaction and says whether there is anything to commit.
func (s *Store) apply(ctx context.Context, b *bbolt.Tx, f func(lease.Store) error) (bool, error) {
	if err := s.check(b); err != nil {
		return false, err
	}
	t := &tx{tx: b, now: s.now()}
	if err := f(t); err != nil || !t.dirty {
		return false, err
	}
	t.forget()
	return true, errors.Join(t.failed, ctx.Err())
}

// View implements lease.Transactor. A store that does not exist is empty.
func (s *Store) View(ctx context.Context, f func(lease.Store) error) error {
	unlock, err := lock(ctx, s.lockFile(), unix.LOCK_SH)
	if errors.Is(err, fs.ErrNotExist) {
		return f(empty{})
	}
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(s.File()); errors.Is(err, fs.ErrNotExist) {
		return f(empty{})
	}
	return s.view(ctx, func(b *bbolt.Tx) error { return f(&tx{tx: b, now: s.now()}) })
}

// Health says whether the next Update could work, without writing and without
// waiting: a store that is being written to is well.
func (s *Store) Health(ctx context.Context) error {
	if err := writable(s.dir); err != nil {
		return err
	}
	unlock, err := lock(ctx, s.lockFile(), unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, ErrBusy) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(s.File()); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := unix.Access(s.File(), unix.W_OK); err != nil {
		return &fs.PathError{Op: "write", Path: s.File(), Err: err}
	}
	return s.view(ctx, func(*bbolt.Tx) error { return nil })
}

func (s *Store) lockFile() string { return filepath.Join(s.dir, "lock") }

func (s *Store) view(ctx context.Context, f func(*bbolt.Tx) error) error {
	return s.with(ctx, s.File(), os.O_RDONLY, func(db *bbolt.DB) error {
		b, err := db.Begin(false)
		if err != nil {
			return fmt.Errorf("begin: %w", err)
		}
		if err = s.check(b); err == nil {
			err = f(b)
		}
		return errors.Join(err, b.Rollback())
	})
}

// create makes an empty database under another name and moves it into place when it is durable.
func (s *Store) create(ctx context.Context) error {
	fresh := s.File() + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := s.with(ctx, fresh, os.O_RDWR|os.O_CREATE, func(db *bbolt.DB) error {
		return db.Update(func(b *bbolt.Tx) error {
			for _, name := range buckets {
				if _, err := b.CreateBucket([]byte(name)); err != nil {
					return err
				}
			}
			return b.Bucket([]byte(bucketMeta)).Put([]byte("format"), []byte(format))
		})
	})
	if err != nil {
		return fmt.Errorf("create %s: %w", s.File(), err)
	}
	if err := os.Rename(fresh, s.File()); err != nil {
		return err
	}
	return syncDir(s.dir)
}

// check refuses a file that is not ours, or shorter than it says itself: reading
// beyond its end would be a fault.
func (s *Store) check(b *bbolt.Tx) error {
	info, err := os.Stat(s.File())
	if err != nil {
		return err
	}
	if info.Size() < b.Size() {
		return s.damaged(fmt.Sprintf("it has %d bytes and should have %d", info.Size(), b.Size()))
	}
	meta := b.Bucket([]byte(bucketMeta))
	if meta == nil {
		return s.damaged("it is a bbolt file of another program")
	}
	if got := string(meta.Get([]byte("format"))); got != format {
		return s.damaged(fmt.Sprintf("it says %.40q where %q is understood", got, format))
	}
	for _, name := range buckets {
		if b.Bucket([]byte(name)) == nil {
			return s.damaged("it lacks the table " + name)
		}
	}
	return nil
}

func (s *Store) damaged(how string) error {
	return fmt.Errorf("%w: %s: %s", ErrDamaged, s.File(), how)
}

// The methods below are each a transaction of their own.

// Claim implements lease.Store.
func (s *Store) Claim(ctx context.Context, k lease.Key, r lease.Record) (v lease.Version, err error) {
	err = s.Update(ctx, func(t lease.Store) error {
		v, err = t.Claim(ctx, k, r)
		return err
	})
	return v, err
}

// Swap implements lease.Store.
func (s *Store) Swap(ctx context.Context, k lease.Key, old lease.Version, r lease.Record) (v lease.Version, err error) {
	err = s.Update(ctx, func(t lease.Store) error {
		v, err = t.Swap(ctx, k, old, r)
		return err
	})
	return v, err
}

// Release implements lease.Store.
func (s *Store) Release(ctx context.Context, k lease.Key, v lease.Version, quarantine time.Duration) error {
	return s.Update(ctx, func(t lease.Store) error { return t.Release(ctx, k, v, quarantine) })
}

// Get implements lease.Store.
func (s *Store) Get(ctx context.Context, k lease.Key) (r lease.Record, v lease.Version, err error) {
	err = s.View(ctx, func(t lease.Store) error {
		r, v, err = t.Get(ctx, k)
		return err
	})
	return r, v, err
}

// Scan implements lease.Store. It yields one state of the store, and holds no lock meanwhile.
func (s *Store) Scan(ctx context.Context, f lease.Filter) iter.Seq2[lease.Entry, error] {
	return func(yield func(lease.Entry, error) bool) {
		var all []lease.Entry
		err := s.View(ctx, func(t lease.Store) error {
			for e, err := range t.Scan(ctx, f) {
				if err != nil {
					return err
				}
				all = append(all, e)
			}
			return nil
		})
		for _, e := range all {
			if !yield(e, nil) {
				return
			}
		}
		if err != nil {
			yield(lease.Entry{}, err)
		}
	}
}

// Choose implements lease.Chooser.
func (s *Store) Choose(ctx context.Context, w lease.Want) (a netip.Addr, err error) {
	err = s.Update(ctx, func(t lease.Store) error {
		a, err = t.(*tx).Choose(ctx, w) //nolint:forcetypeassert // Update hands out nothing else.
		return err
	})
	return a, err
}

// Bury implements lease.Graveyard.
func (s *Store) Bury(ctx context.Context, g lease.Tombstone) error {
	return s.Update(ctx, func(t lease.Store) error {
		return t.(*tx).Bury(ctx, g) //nolint:forcetypeassert // Update hands out nothing else.
	})
}

// Buried implements lease.Graveyard.
func (s *Store) Buried(ctx context.Context, id lease.ID) (g lease.Tombstone, ok bool, err error) {
	err = s.View(ctx, func(t lease.Store) error {
		if y, is := t.(lease.Graveyard); is {
			g, ok, err = y.Buried(ctx, id)
		}
		return err
	})
	return g, ok, err
}

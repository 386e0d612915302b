// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package boltstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/weft-cni/weft/libs/lease"
	"github.com/weft-cni/weft/libs/lease/storetest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, now func() time.Time) (lease.Store, func() lease.Store) {
		t.Helper()
		dir := filepath.Join(t.TempDir(), "state")
		return New(dir, now, nil), func() lease.Store { return New(dir, now, nil) }
	})
}

// filled returns a store with n leases, enough for several levels of pages.
func filled(t *testing.T, n int) *Store {
	t.Helper()
	s := New(filepath.Join(t.TempDir(), "state"), time.Now, nil)
	err := s.Update(t.Context(), func(st lease.Store) error {
		for i := range n {
			k := storetest.Key(fmt.Sprintf("10.0.%d.%d", i/256, i%256))
			if _, err := st.Claim(t.Context(), k, storetest.Record(fmt.Sprint(i))); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	s := filled(t, 1)
	for path, want := range map[string]fs.FileMode{s.dir: 0o700 | fs.ModeDir, s.File(): 0o600, s.lockFile(): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
		}
	}
}

// everything calls every operation and returns the errors of those that fail.
func everything(ctx context.Context, s *Store) map[string]error {
	_, claim := s.Claim(ctx, storetest.Key("10.9.9.9"), storetest.Record("x"))
	_, _, get := s.Get(ctx, storetest.Key("10.0.0.1"))
	var scan error
	for _, err := range s.Scan(ctx, lease.Filter{}) {
		scan = errors.Join(scan, err)
	}
	return map[string]error{"claim": claim, "get": get, "scan": scan, "health": s.Health(ctx)}
}

// TestDamage cuts and overwrites the file: whatever is done with it then
// answers right or says that it is damaged, and never changes it.
func TestDamage(t *testing.T) {
	t.Parallel()
	foreign := filepath.Join(t.TempDir(), "foreign")
	db, err := bbolt.Open(foreign, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(func(b *bbolt.Tx) error {
		_, err := b.CreateBucket([]byte("etcd"))
		return err
	}), db.Close()); err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(foreign)
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func([]byte) []byte{
		"empty":           func([]byte) []byte { return nil },
		"one byte":        func(b []byte) []byte { return b[:1] },
		"one page":        func(b []byte) []byte { return b[:4096] },
		"both meta pages": func(b []byte) []byte { return b[:8192] },
		"half":            func(b []byte) []byte { return b[:len(b)/2] },
		"text":            func([]byte) []byte { return bytes.Repeat([]byte("# no leases here\n"), 4096) },
		"another program": func([]byte) []byte { return other },
		"zeroed metas":    func(b []byte) []byte { return append(make([]byte, 8192), b[8192:]...) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := filled(t, 500)
			whole, err := os.ReadFile(s.File())
			if err != nil {
				t.Fatal(err)
			}
			bad := damage(bytes.Clone(whole))
			if err := os.WriteFile(s.File(), bad, 0o600); err != nil {
				t.Fatal(err)
			}
			for what, err := range everything(t.Context(), s) {
				if !errors.Is(err, ErrDamaged) {
					t.Errorf("%s: %v, want ErrDamaged", what, err)
				}
			}
			if after, _ := os.ReadFile(s.File()); !bytes.Equal(after, bad) {
				t.Error("the damaged file was changed")
			}
		})
	}
}

// TestOverwrittenPages overwrites each page in turn: an operation may succeed,
// or say that the file is damaged, but never panic, and never say that an
// address is free because its page is gone.
func TestOverwrittenPages(t *testing.T) {
	t.Parallel()
	s := filled(t, 200)
	whole, err := os.ReadFile(s.File())
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for page := 2; page*4096 < len(whole); page++ {
		for _, fill := range []byte{0x00, 0xff} {
			bad := bytes.Clone(whole)
			copy(bad[page*4096:], bytes.Repeat([]byte{fill}, 4096))
			if err := os.WriteFile(s.File(), bad, 0o600); err != nil {
				t.Fatal(err)
			}
			for what, err := range everything(t.Context(), s) {
				if err == nil {
					continue
				}
				refused++
				if !errors.Is(err, ErrDamaged) {
					t.Errorf("page %d filled with %#x: %s: %v", page, fill, what, err)
				}
			}
		}
	}
	if refused == 0 {
		t.Error("no page mattered: the test tests nothing")
	}
}

// TestKilledWhileCreating leaves what a process leaves that died before its rename.
func TestKilledWhileCreating(t *testing.T) {
	t.Parallel()
	s := New(t.TempDir(), time.Now, nil)
	if err := os.WriteFile(s.File()+".new", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Claim(t.Context(), storetest.Key("10.0.0.1"), storetest.Record("a")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.File() + ".new"); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the half-made file is still there")
	}
}

// TestLockIsBoundedByTheContext waits behind a lock that is never given back.
func TestLockIsBoundedByTheContext(t *testing.T) {
	t.Parallel()
	s := filled(t, 1)
	unlock, err := lock(t.Context(), s.lockFile(), unix.LOCK_EX)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = s.Claim(ctx, storetest.Key("10.0.1.1"), storetest.Record("b"))
	if !errors.Is(err, ErrBusy) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("claim behind a lock: %v, want ErrBusy", err)
	}
	if err := s.Health(t.Context()); err != nil {
		t.Errorf("health of a store at work: %v", err)
	}
	unlock()
	// The waiter that gave up must not keep the lock it then got.
	if _, err := s.Claim(t.Context(), storetest.Key("10.0.1.1"), storetest.Record("b")); err != nil {
		t.Errorf("claim after the lock was given back: %v", err)
	}
}

// TestReadsDoNotWrite checks that reading leaves file and directory as they are.
func TestReadsDoNotWrite(t *testing.T) {
	t.Parallel()
	s := filled(t, 10)
	before, err := os.ReadFile(s.File())
	if err != nil {
		t.Fatal(err)
	}
	info, _ := os.Stat(s.File())
	everythingRead := func() {
		if _, _, err := s.Get(t.Context(), storetest.Key("10.0.0.1")); err != nil {
			t.Error(err)
		}
		if err := s.Health(t.Context()); err != nil {
			t.Error(err)
		}
		if err := s.Update(t.Context(), func(st lease.Store) error {
			_, _, err := st.Get(t.Context(), storetest.Key("10.0.0.1"))
			return err
		}); err != nil {
			t.Error(err)
		}
	}
	everythingRead()
	after, err := os.ReadFile(s.File())
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := os.Stat(s.File()); !bytes.Equal(before, after) || again.ModTime() != info.ModTime() {
		t.Error("reading wrote to the file")
	}
}

// TestNoStore reads where nothing was ever written: empty, and still nothing there.
func TestNoStore(t *testing.T) {
	t.Parallel()
	s := New(filepath.Join(t.TempDir(), "a", "b"), time.Now, nil)
	if _, _, err := s.Get(t.Context(), storetest.Key("10.0.0.1")); !errors.Is(err, lease.ErrAbsent) {
		t.Errorf("get: %v", err)
	}
	if err := s.Health(t.Context()); err != nil {
		t.Errorf("health: %v", err)
	}
	if _, err := os.Stat(s.dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error("reading made the directory")
	}
}

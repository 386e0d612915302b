// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package boltstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"
)

// lock takes flock(2) on a file, in the mode how, and returns what gives it
// back. To read it takes the file as it is; to write it makes one.
//
// There is no polling: the kernel wakes the waiter. flock cannot be given a
// deadline, so a goroutine waits for it; when ctx is done first, the goroutine
// stays behind and gives the lock back as soon as it gets it.
func lock(ctx context.Context, file string, how int) (func(), error) {
	flags := os.O_RDWR | os.O_CREATE
	if how&unix.LOCK_SH != 0 {
		flags = os.O_RDONLY
	}
	f, err := os.OpenFile(file, flags, 0o600)
	if err != nil {
		return nil, err
	}
	unlock := func() { _ = f.Close() } // Closing the only descriptor unlocks.
	if err := ctx.Err(); err != nil {
		unlock()
		return nil, err
	}
	fd := int(f.Fd())
	err = flock(fd, how|unix.LOCK_NB)
	if err == nil {
		return unlock, nil
	}
	if !errors.Is(err, unix.EWOULDBLOCK) {
		unlock()
		return nil, &fs.PathError{Op: "flock", Path: file, Err: err}
	}
	if how&unix.LOCK_NB != 0 {
		unlock()
		return nil, ErrBusy
	}
	got := make(chan error, 1)
	go func() { got <- flock(fd, how) }()
	select {
	case err := <-got:
		if err != nil {
			unlock()
			return nil, &fs.PathError{Op: "flock", Path: file, Err: err}
		}
		return unlock, nil
	case <-ctx.Done():
		go func() {
			<-got //nolint:errcheck // Whatever it says, the file is closed.
			unlock()
		}()
		return nil, fmt.Errorf("%w: waited for %s: %w", ErrBusy, file, ctx.Err())
	}
}

func flock(fd, how int) error {
	for {
		if err := unix.Flock(fd, how); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// makeDir makes the directory of the store, durably.
func makeDir(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// writable says why nothing can be written in dir, or in the directory where it would be made.
func writable(dir string) error {
	for {
		info, err := os.Stat(dir)
		if errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir) {
			dir = filepath.Dir(dir)
			continue
		}
		if err != nil {
			return err
		}
		if !info.IsDir() {
			return &fs.PathError{Op: "use", Path: dir, Err: syscall.ENOTDIR}
		}
		break
	}
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return &fs.PathError{Op: "write", Path: dir, Err: err}
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err == nil && st.Blocks > 0 && st.Bavail == 0 {
		return &fs.PathError{Op: "write", Path: dir, Err: syscall.ENOSPC}
	}
	return nil
}

// isSystem says whether err came from the operating system rather than from what a file says.
func isSystem(err error) bool {
	var number syscall.Errno
	return errors.As(err, &number)
}

// with opens a database, runs f on it and closes it again. flags are those of open(2).
//
// Damage that bbolt trips over becomes an error: a page beyond the end of the
// file is a memory fault, a page that is not what it should be an assertion.
// After such a panic bbolt may hold mutexes for ever, so its Close is not called:
// the file is unlocked and closed, and the memory map stays behind.
func (s *Store) with(ctx context.Context, path string, flags int, f func(*bbolt.DB) error) (err error) {
	var file *os.File
	before := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(before)
		r := recover()
		if r == nil {
			return
		}
		if file != nil {
			_ = flock(int(file.Fd()), unix.LOCK_UN) // The map would keep the lock of a closed file.
			_ = file.Close()
		}
		if _, fault := r.(interface{ Addr() uintptr }); !fault && !inBolt() {
			panic(r)
		}
		err = s.damaged(fmt.Sprint(r))
	}()
	if info, err := os.Stat(path); err == nil && info.Size() == 0 {
		return s.damaged("it is empty") // bbolt would make it a new one
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:      patience(ctx), // for people who have the file open with a tool
		FreelistType: bbolt.FreelistMapType,
		ReadOnly:     flags&os.O_RDWR == 0,
		NoStatistics: true,
		OpenFile: func(path string, _ int, mode fs.FileMode) (_ *os.File, err error) {
			file, err = os.OpenFile(path, flags, mode)
			return file, err
		},
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("open %s: %w", path, ErrBusy)
	case isSystem(err):
		return fmt.Errorf("open %s: %w", path, err)
	case err != nil:
		return s.damaged(err.Error())
	}
	return errors.Join(f(db), db.Close())
}

func patience(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return max(time.Until(deadline), time.Millisecond)
	}
	return time.Second
}

// inBolt says whether the panic being recovered began in bbolt, or in what it called.
func inBolt() bool {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	panicking := false
	for {
		f, more := frames.Next()
		switch {
		case f.Function == "runtime.gopanic":
			panicking = true
		case panicking && strings.HasPrefix(f.Function, "go.etcd.io/bbolt"):
			return true
		case panicking && !strings.HasPrefix(f.Function, "runtime."):
			return false
		}
		if !more {
			return false
		}
	}
}

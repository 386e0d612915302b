// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package netns finds, identifies and enters network namespaces.
//
// Job: run a function inside a namespace given by its path without the caller ever leaving its own, open netlink
// handles that talk to another namespace with no setns at all, and tell whether two paths are the same namespace.
//
// Non-goals: making or naming namespaces (the container runtime's work; tests use nettest).
//
// Failure model: every error names the path. A path that exists and is no network namespace is ErrNotNetns; a path that
// is missing satisfies errors.Is(err, fs.ErrNotExist). A thread that could not be brought back to the caller's namespace is
// never used again.
package netns

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/vishvananda/netlink"
	vnetns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// ErrNotNetns says that a path exists and is something else than a network namespace.
var ErrNotNetns = errors.New("not a network namespace")

// ID identifies a network namespace while it exists: two paths with the same ID are the same namespace.
type ID struct {
	// Dev and Ino are the device and inode numbers of the namespace's file.
	Dev, Ino uint64
}

// String renders the ID like "4:4026531840".
func (id ID) String() string { return fmt.Sprintf("%d:%d", id.Dev, id.Ino) }

// NS is an open network namespace: it keeps the namespace alive until Close.
type NS struct {
	file *os.File
	path string
	id   ID
}

// Open opens the namespace at path and checks that it is a network namespace.
func Open(path string) (*NS, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	id, err := identify(file)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open network namespace %s: %w", path, err), file.Close())
	}
	return &NS{file: file, path: path, id: id}, nil
}

// Current opens the namespace of the calling thread.
func Current() (*NS, error) { return Open("/proc/thread-self/ns/net") }

// Path returns the path the namespace was opened by.
func (n *NS) Path() string { return n.path }

// ID returns the identity of the namespace.
func (n *NS) ID() ID { return n.id }

// FD returns the open file descriptor, valid until Close.
func (n *NS) FD() int { return int(n.file.Fd()) }

// Close lets go of the namespace.
func (n *NS) Close() error {
	if err := n.file.Close(); err != nil {
		return fmt.Errorf("close network namespace %s: %w", n.path, err)
	}
	return nil
}

// Netlink opens a handle whose sockets live in the namespace. The families are named because a handle without a list has
// no socket for some families (RDMA) and would silently ask the caller's namespace.
func (n *NS) Netlink(families ...int) (*netlink.Handle, error) {
	handle, err := netlink.NewHandleAt(vnetns.NsHandle(n.FD()), families...)
	if err != nil {
		return nil, fmt.Errorf("open netlink in network namespace %s: %w", n.path, err)
	}
	return handle, nil
}

// Do runs f on a thread of its own inside the namespace and waits for it. The caller's thread stays where it is. A panic in f
// comes back as a panic of the caller.
func (n *NS) Do(f func() error) error {
	outcome := make(chan result, 1)
	go n.onThread(f, outcome)
	r := <-outcome
	if r.panicked != nil {
		panic(r.panicked)
	}
	return r.err
}

// Here runs f inside the namespace on the caller's own thread, without the cost of another one. Should the thread not come
// back, Here panics: nothing may go on in the wrong namespace.
func (n *NS) Here(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := Current()
	if err != nil {
		return err
	}
	defer func() { _ = home.Close() }()
	if home.id == n.id {
		return f()
	}
	if err := unix.Setns(n.FD(), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", n.path, err)
	}
	defer func() {
		if err := unix.Setns(home.FD(), unix.CLONE_NEWNET); err != nil {
			runtime.LockOSThread() // Whoever recovers must not get this thread.
			panic(fmt.Sprintf("leave network namespace %s: %v", n.path, err))
		}
	}()
	return f()
}

// Do opens the namespace at path and runs f inside it.
func Do(path string, f func() error) error {
	n, err := Open(path)
	if err != nil {
		return err
	}
	return errors.Join(n.Do(f), n.Close())
}

// Identify returns the identity of the namespace at path.
func Identify(path string) (ID, error) {
	n, err := Open(path)
	if err != nil {
		return ID{}, err
	}
	return n.id, n.Close()
}

// Is says whether path is a network namespace. A missing path is false without an error.
func Is(path string) (bool, error) {
	n, err := Open(path)
	switch {
	case errors.Is(err, ErrNotNetns), errors.Is(err, os.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	}
	return true, n.Close()
}

type result struct {
	err      error
	panicked any
}

// onThread enters the namespace, runs f, and brings the thread back. Where that is impossible the goroutine ends with the
// thread still locked, and the runtime ends the thread.
func (n *NS) onThread(f func() error, outcome chan<- result) {
	r := result{err: fmt.Errorf("run in network namespace %s: the function ended its goroutine", n.path)}
	defer func() { outcome <- r }()
	runtime.LockOSThread()
	home, err := Current()
	if err != nil {
		r.err = err
		return
	}
	defer func() {
		if err := unix.Setns(home.FD(), unix.CLONE_NEWNET); err == nil {
			runtime.UnlockOSThread()
		}
		if err := home.Close(); err != nil && r.err == nil {
			r.err = err
		}
	}()
	if err := unix.Setns(n.FD(), unix.CLONE_NEWNET); err != nil {
		r.err = fmt.Errorf("enter network namespace %s: %w", n.path, err)
		return
	}
	defer func() {
		if p := recover(); p != nil {
			r.panicked = fmt.Sprintf("%v\n%s", p, debug.Stack())
		}
	}()
	r.err = f()
}

// identify checks that an open file is a network namespace and reads its identity.
func identify(file *os.File) (ID, error) {
	fd := int(file.Fd())
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return ID{}, fmt.Errorf("stat: %w", err)
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return ID{}, fmt.Errorf("statfs: %w", err)
	}
	if fs.Type != unix.NSFS_MAGIC {
		return ID{}, ErrNotNetns
	}
	kind, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE)
	if err != nil {
		return ID{}, fmt.Errorf("ask for the kind of namespace: %w", err)
	}
	if kind != unix.CLONE_NEWNET {
		return ID{}, ErrNotNetns
	}
	return ID{Dev: st.Dev, Ino: st.Ino}, nil
}

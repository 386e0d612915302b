// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package nettest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	vnetns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// NS is one network namespace of a test.
type NS struct {
	t      testing.TB
	path   string
	file   *os.File
	handle *netlink.Handle
	// gone is set once the name is given back: another test may have it by then.
	gone bool
}

// New makes a network namespace at /run/netns/weft-<name>-<n> with its loopback device up. It goes when the test ends.
func New(t testing.TB, name string) *NS {
	t.Helper()
	if !Inside() {
		t.Fatal("nettest.New needs `func TestMain(m *testing.M) { nettest.Main(m) }` in this package")
	}
	path := reserve(t, name)
	n := &NS{t: t, path: path}
	t.Cleanup(n.discard)
	if err := bindNew(path); err != nil {
		t.Fatalf("make network namespace %s: %v", path, err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatalf("open network namespace: %v", err)
	}
	t.Cleanup(func() { _ = file.Close() })
	handle, err := netlink.NewHandleAt(vnetns.NsHandle(file.Fd()), unix.NETLINK_ROUTE, unix.NETLINK_NETFILTER)
	if err != nil {
		t.Fatalf("open netlink in %s: %v", path, err)
	}
	t.Cleanup(handle.Close)
	n.file, n.handle = file, handle
	n.Up("lo")
	return n
}

// Path returns the path of the namespace, as CNI_NETNS wants it.
func (n *NS) Path() string { return n.path }

// Name returns the last element of the path: the name `ip netns` knows.
func (n *NS) Name() string { return filepath.Base(n.path) }

// FD returns an open descriptor of the namespace, valid until the test ends.
func (n *NS) FD() int { return int(n.file.Fd()) }

// Netlink returns a handle whose sockets live in the namespace.
func (n *NS) Netlink() *netlink.Handle { return n.handle }

// Up raises the named link.
func (n *NS) Up(link string) {
	n.t.Helper()
	l, err := n.handle.LinkByName(link)
	if err != nil {
		n.t.Fatalf("look up link %s in %s: %v", link, n.Name(), err)
	}
	if err := n.handle.LinkSetUp(l); err != nil {
		n.t.Fatalf("raise link %s in %s: %v", link, n.Name(), err)
	}
}

// Do runs f on the caller's goroutine inside the namespace, so f may call t.Fatal. It must not start goroutines that touch
// the network: they run elsewhere.
func (n *NS) Do(f func()) {
	n.t.Helper()
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		n.t.Fatalf("open the current namespace: %v", err)
	}
	defer func() {
		// A thread that cannot come back stays locked and ends with its goroutine.
		if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
			n.t.Errorf("leave %s: %v", n.Name(), err)
		} else {
			runtime.UnlockOSThread()
		}
		_ = home.Close()
	}()
	if err := unix.Setns(n.FD(), unix.CLONE_NEWNET); err != nil {
		n.t.Fatalf("enter %s: %v", n.Name(), err)
	}
	f()
}

// Run runs a program inside the namespace and returns what it wrote, on stdout and stderr together.
func (n *NS) Run(name string, args ...string) (string, error) {
	var out []byte
	var err error
	n.Do(func() {
		out, err = exec.CommandContext(n.t.Context(), name, args...).CombinedOutput()
	})
	if err != nil {
		return string(out), fmt.Errorf("%s: %s %s: %w", n.Name(), name, strings.Join(args, " "), err)
	}
	return string(out), nil
}

// Exec is Run for programs that must end well.
func (n *NS) Exec(name string, args ...string) string {
	n.t.Helper()
	out, err := n.Run(name, args...)
	if err != nil {
		n.t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// Remove takes the namespace away before the test ends, as a runtime or a crash would.
func (n *NS) Remove() {
	n.t.Helper()
	n.handle.Close()
	_ = n.file.Close()
	n.discard()
}

// reserve makes the file a namespace is to be bound to, with the first free number.
func reserve(t testing.TB, name string) string {
	t.Helper()
	for i := 0; ; i++ {
		path := filepath.Join(netnsDir, fmt.Sprintf("weft-%s-%d", name, i))
		file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			t.Fatalf("name a network namespace: %v", err)
		}
		_ = file.Close()
		return path
	}
}

// bindNew makes a namespace on a thread of its own, which ends with it, and binds it to path.
func bindNew(path string) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("unshare: %w", err)
			return
		}
		done <- unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, "")
	}()
	return <-done
}

// discard unmounts and removes the name, once.
func (n *NS) discard() {
	n.t.Helper()
	if n.gone {
		return
	}
	n.gone = true
	if err := unix.Unmount(n.path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		n.t.Errorf("unmount %s: %v", n.path, err)
	}
	if err := os.Remove(n.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		n.t.Errorf("remove %s: %v", n.path, err)
	}
}

// loopbackUp raises the loopback device of the calling process's namespace.
func loopbackUp() error {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	defer handle.Close()
	lo, err := handle.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("look up the loopback device: %w", err)
	}
	if err := handle.LinkSetUp(lo); err != nil {
		return fmt.Errorf("raise the loopback device: %w", err)
	}
	return nil
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package netns_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weft-cni/weft/libs/netns"
	"github.com/weft-cni/weft/libs/nettest"
)

func TestMain(m *testing.M) { nettest.Main(m) }

func TestDo(t *testing.T) {
	t.Parallel()
	n := nettest.New(t, "do")
	want, err := netns.Identify(n.Path())
	if err != nil {
		t.Fatal(err)
	}
	before, err := netns.Identify("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	sentinel := errors.New("from inside")
	err = netns.Do(n.Path(), func() error {
		got, err := netns.Identify("/proc/thread-self/ns/net")
		if err != nil || got != want {
			t.Errorf("inside: %v, %v, want %v", got, err, want)
		}
		return sentinel
	})
	if !errors.Is(err, sentinel) {
		t.Errorf("Do = %v, want the function's error", err)
	}
	for range 2 * runtime.NumCPU() {
		runtime.Gosched()
		if after, err := netns.Identify("/proc/thread-self/ns/net"); err != nil || after != before {
			t.Errorf("after: %v, %v, want %v", after, err, before)
		}
	}
}

func TestDoPanics(t *testing.T) {
	t.Parallel()
	n := nettest.New(t, "panic")
	defer func() {
		if p, ok := recover().(string); !ok || !strings.Contains(p, "boom") || !strings.Contains(p, "netns_test.go") {
			t.Errorf("panic %q, want the function's own with its stack", p)
		}
	}()
	_ = netns.Do(n.Path(), func() error { panic("boom") })
	t.Error("no panic")
}

func TestDoGoexit(t *testing.T) {
	t.Parallel()
	n := nettest.New(t, "goexit")
	err := netns.Do(n.Path(), func() error { runtime.Goexit(); return nil })
	if err == nil || !strings.Contains(err.Error(), n.Path()) {
		t.Errorf("Do = %v, want an error that names the path", err)
	}
}

func TestNotANetns(t *testing.T) {
	t.Parallel()
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{plain, "/proc/self/ns/uts", t.TempDir()} {
		_, err := netns.Open(path)
		if !errors.Is(err, netns.ErrNotNetns) || !strings.Contains(err.Error(), path) {
			t.Errorf("Open(%s) = %v, want ErrNotNetns with the path", path, err)
		}
		if is, err := netns.Is(path); is || err != nil {
			t.Errorf("Is(%s) = %v, %v", path, is, err)
		}
		if err := netns.Do(path, func() error { t.Error("ran"); return nil }); !errors.Is(err, netns.ErrNotNetns) {
			t.Errorf("Do(%s) = %v", path, err)
		}
	}
	missing := filepath.Join(t.TempDir(), "missing")
	if _, err := netns.Open(missing); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Open(missing) = %v", err)
	}
	if is, err := netns.Is(missing); is || err != nil {
		t.Errorf("Is(missing) = %v, %v", is, err)
	}
}

func TestNetlinkTalksToTheOtherNamespace(t *testing.T) {
	t.Parallel()
	n := nettest.New(t, "far")
	nettest.Cable(t, n, "only-there", n, "peer")
	ns, err := netns.Open(n.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	handle, err := ns.Netlink(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer handle.Close()
	if _, err := handle.LinkByName("only-there"); err != nil {
		t.Errorf("the link of the other namespace: %v", err)
	}
}

func TestHere(t *testing.T) {
	t.Parallel()
	n := nettest.New(t, "here")
	ns, err := netns.Open(n.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := netns.Identify("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	sentinel := errors.New("from inside")
	for what, f := range map[string]func() error{
		"returns": func() error { return sentinel },
		"panics":  func() error { panic(sentinel) },
	} {
		func() {
			defer func() { _ = recover() }()
			err := ns.Here(func() error {
				if got, err := netns.Identify("/proc/thread-self/ns/net"); err != nil || got != ns.ID() {
					t.Errorf("%s: inside %v, %v, want %v", what, got, err, ns.ID())
				}
				return f()
			})
			if !errors.Is(err, sentinel) {
				t.Errorf("%s: %v", what, err)
			}
		}()
		if after, err := netns.Identify("/proc/thread-self/ns/net"); err != nil || after != before {
			t.Errorf("%s: after %v, %v, want %v", what, after, err, before)
		}
	}
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package device holds the facts about cards and RDMA devices that weft builds
// on. They live in the machine's first network namespace and change its RDMA
// mode, so the tests run only in a guest, which says so by WEFT_GUEST.
package device

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

func TestMain(m *testing.M) {
	if os.Getenv("WEFT_GUEST") == "" {
		fmt.Println("--- SKIP: device: these tests change the machine: they run in a guest (make test-guest, make test-sriov)")
		return
	}
	os.Exit(m.Run())
}

// podSpace makes the network namespace of a pod; the calling goroutine stays
// where it is.
func podSpace(t *testing.T) netns.NsHandle {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Get()
	must(t, err)
	defer func() { _ = home.Close() }()
	ns, err := netns.NewNamed("pod")
	must(t, err)
	t.Cleanup(func() { _ = ns.Close(); _ = netns.DeleteNamed("pod") })
	must(t, netns.Set(home))
	return ns
}

// end takes the namespace away, as a runtime does.
func end(t *testing.T, ns netns.NsHandle) {
	t.Helper()
	must(t, ns.Close())
	must(t, netns.DeleteNamed("pod"))
}

func handle(t *testing.T, ns netns.NsHandle) *netlink.Handle {
	t.Helper()
	h, err := netlink.NewHandleAt(ns)
	must(t, err)
	t.Cleanup(h.Close)
	return h
}

// card gives the one card 2 virtual functions and returns the physical function
// and the VFs' links.
func card(t *testing.T) (netlink.Link, []netlink.Link) {
	t.Helper()
	found, err := filepath.Glob("/sys/class/net/*/device/sriov_numvfs")
	must(t, err)
	if len(found) == 0 {
		absent(t, "sriov", "no card has virtual functions")
	}
	file := found[0]
	pf, err := netlink.LinkByName(filepath.Base(filepath.Dir(filepath.Dir(file))))
	must(t, err)
	must(t, netlink.LinkSetUp(pf))
	must(t, os.WriteFile(file, []byte("2"), 0))
	t.Cleanup(func() { must(t, os.WriteFile(file, []byte("0"), 0)) })
	var vfs []netlink.Link
	eventually(t, "two VFs with a link each", func() bool {
		vfs = nil
		links, err := filepath.Glob(filepath.Join(filepath.Dir(file), "virtfn*/net/*"))
		for _, l := range links {
			if vf, err := netlink.LinkByName(filepath.Base(l)); err == nil {
				vfs = append(vfs, vf)
			}
		}
		return err == nil && len(vfs) == 2
	})
	return pf, vfs
}

// absent skips the test, or fails it where WEFT_REQUIRE lists the feature.
func absent(t *testing.T, feature, reason string) {
	t.Helper()
	for f := range strings.SplitSeq(os.Getenv("WEFT_REQUIRE"), ",") {
		if f == feature || f == "all" {
			t.Fatalf("WEFT_REQUIRE lists %s: %s", feature, reason)
		}
	}
	t.Skip(reason)
}

// eventually polls what the kernel does in its own time.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-cni/weft/libs/lease"
)

// node is what a sweeper looks at.
type node struct {
	*sweeper
	clock  time.Time
	leased []lease.Entry
	view   namespaces
	broken error
	freed  []string
}

func newNode(t *testing.T) *node {
	t.Helper()
	n := &node{clock: time.Unix(1_000_000, 0), view: namespaces{1: true}}
	n.sweeper = &sweeper{
		interval: 30 * time.Second, bootID: "now", log: slog.New(slog.DiscardHandler), seen: map[sight]time.Time{},
		now:    func() time.Time { return n.clock },
		leases: func(context.Context) ([]lease.Entry, error) { return n.leased, nil },
		alive:  func() (namespaces, error) { return n.view, n.broken },
		free: func(_ context.Context, e lease.Entry) error {
			n.freed = append(n.freed, e.Key.Addr.String())
			return nil
		},
	}
	return n
}

func entry(last byte, boot, kind string, inode uint64) lease.Entry {
	return lease.Entry{
		Key:     lease.NewKey("", netip.AddrFrom4([4]byte{10, 0, 0, last})),
		Version: "v",
		Record: lease.Record{
			BootID: boot, Holder: lease.Holder{Kind: kind},
			Attachment: lease.Attachment{NetnsInode: inode, ID: lease.ID{Network: "lan", ContainerID: "c", IfName: "eth0"}},
		},
	}
}

// sweep looks n times, each step later.
func (n *node) sweep(t *testing.T, times int, step time.Duration) {
	t.Helper()
	for range times {
		if err := n.round(t.Context()); err != nil && n.broken == nil {
			t.Error(err)
		}
		n.clock = n.clock.Add(step)
	}
}

func TestSweepOnProofAlone(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.leased = []lease.Entry{
		entry(1, "now", "Pod", 1),       // alive, and proves that the view is whole
		entry(2, "now", "Pod", 2),       // dead
		entry(3, "before", "Pod", 1),    // of an earlier boot; the inode is another's
		entry(4, "now", "Pod", 0),       // nobody knows
		entry(5, "", "Pod", 2),          // nor here
		entry(6, "now", "IPClaim", 2),   // kept
		entry(7, "now", "Container", 7), // dead
	}
	n.sweep(t, 3, 14*time.Second)
	if len(n.freed) > 0 {
		t.Fatalf("freed %v within 28 s", n.freed)
	}
	n.sweep(t, 1, 14*time.Second)
	if d := cmp.Diff([]string{"10.0.0.2", "10.0.0.3", "10.0.0.7"}, n.freed); d != "" {
		t.Errorf("freed (-want +got):\n%s", d)
	}
}

func TestSweepForgetsWhatChanged(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*testing.T, *node){
		"another version": func(_ *testing.T, n *node) { n.leased[1].Version = "w" },
		"alive after all": func(t *testing.T, n *node) { t.Helper(); n.view[2] = true; n.sweep(t, 1, 0); delete(n.view, 2) },
	} {
		n := newNode(t)
		n.leased = []lease.Entry{entry(1, "now", "Pod", 1), entry(2, "now", "Pod", 2)}
		n.sweep(t, 1, time.Minute)
		change(t, n)
		n.sweep(t, 1, 29*time.Second)
		if len(n.freed) > 0 {
			t.Errorf("%s: freed %v", name, n.freed)
		}
		n.clock = n.clock.Add(time.Minute)
		n.sweep(t, 1, 0)
		if len(n.freed) != 1 {
			t.Errorf("%s: freed %v in the end", name, n.freed)
		}
	}
}

// TestABlindSweepFreesNothing has no whole view, and then one that never had a
// namespace in it that is known to live.
func TestABlindSweepFreesNothing(t *testing.T) {
	t.Parallel()
	for name, blind := range map[string]func(*node){
		"an error":   func(n *node) { n.view, n.broken = nil, errors.New("may not look") },
		"no proof":   func(n *node) { n.view = namespaces{9: true} },
		"other boot": func(n *node) { n.leased[0].Record.BootID = "" },
	} {
		n := newNode(t)
		n.leased = []lease.Entry{entry(1, "now", "Pod", 1), entry(2, "now", "Pod", 2)}
		blind(n)
		n.sweep(t, 4, time.Minute)
		if len(n.freed) > 0 {
			t.Errorf("%s: freed %v", name, n.freed)
		}
	}
	n := newNode(t)
	n.leased = []lease.Entry{entry(3, "before", "Pod", 1)}
	n.view, n.broken = nil, errors.New("may not look")
	n.sweep(t, 4, time.Minute)
	if len(n.freed) == 0 {
		t.Error("a lease of an earlier boot needs no view, and was not freed")
	}
}

func TestLiveNamespaces(t *testing.T) {
	t.Parallel()
	proc := t.TempDir()
	write := func(path, text string) {
		path = filepath.Join(proc, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	write("1/mountinfo", "22 1 0:4 / /proc rw - proc proc rw\n700 22 0:4 net:[4026532111] /run/netns/cni-1 rw shared:5 - nsfs nsfs rw\n")
	write("self/ns/net", "")
	for pid, ns := range map[string]string{"1": "net:[4026531840]", "77": "net:[4026532222]"} {
		if err := errors.Join(os.MkdirAll(filepath.Join(proc, pid, "ns"), 0o700), os.Symlink(ns, filepath.Join(proc, pid, "ns/net"))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(proc, "99"), 0o700); err != nil { // it has just ended
		t.Fatal(err)
	}
	got, err := liveNamespaces(proc)
	if d := cmp.Diff(namespaces{4026531840: true, 4026532111: true, 4026532222: true}, got); err != nil || d != "" {
		t.Errorf("%v, (-want +got):\n%s", err, d)
	}
	write("88/ns/net", "") // not a link: it may not be looked at
	if got, err := liveNamespaces(proc); err == nil {
		t.Errorf("half a view is %v, want an error", got)
	}
}

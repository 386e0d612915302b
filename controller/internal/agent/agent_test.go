// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-cni/weft/libs/agentapi"
	"github.com/weft-cni/weft/libs/agentapi/debts"
	"github.com/weft-cni/weft/libs/attach"
	"github.com/weft-cni/weft/libs/lease"
	"github.com/weft-cni/weft/libs/lease/memstore"
	"github.com/weft-cni/weft/libs/poolselect"
)

func wire(container string) agentapi.ID {
	return agentapi.ID{Network: "lan", ContainerID: container, IfName: "eth0"}
}

// TestGraves asks for attachments that were released: here, or by a plugin that
// could only write it down.
func TestGraves(t *testing.T) {
	t.Parallel()
	owed := debts.Open(t.TempDir())
	clock := time.Unix(1_000_000, 0)
	g := newGraveyard(owed, "now", func() time.Time { return clock })
	for container, debt := range map[string]debts.Debt{
		"written": {Began: 50, BootID: "now"}, "both": {Began: 50, BootID: "now"}, "old": {Began: 50, BootID: "before"},
	} {
		if err := owed.Save(wire(container), debt); err != nil {
			t.Fatal(err)
		}
	}
	g.bury(lease.ID(wire("both")), 70)
	g.bury(lease.ID(wire("both")), 60) // a repeated DEL cannot make it younger
	g.bury(lease.ID(wire("here")), 70)
	for container, want := range map[string]time.Duration{"written": 50, "both": 70, "here": 70, "old": 0, "nobody": 0} {
		tomb, ok, err := g.Buried(t.Context(), lease.ID(wire(container)))
		if err != nil || ok != (want > 0) || tomb.Began != want {
			t.Errorf("%s: %v, %v, %v, want %v", container, tomb.Began, ok, err, want)
		}
	}
	clock = clock.Add(buriedFor + time.Second)
	if _, ok, _ := g.Buried(t.Context(), lease.ID(wire("here"))); ok {
		t.Error("a grave is never forgotten")
	}
}

// TestALateADD runs the engine over the agent's records: the ADD began first,
// its DEL is known from the disk alone.
func TestALateADD(t *testing.T) {
	t.Parallel()
	owed := debts.Open(t.TempDir())
	g := newGraveyard(owed, "now", time.Now)
	// Only the graveyard matters, so the store may be any.
	e := &lease.Engine{Store: struct {
		lease.Store
		*graveyard
	}{memstore.New(time.Now), g}, Now: time.Now, BootID: "now", Node: "n"}
	if err := owed.Save(wire("c"), debts.Debt{Began: 50, BootID: "now"}); err != nil {
		t.Fatal(err)
	}
	_, err := e.Assign(t.Context(), lease.Request{Attachment: lease.Attachment{ID: lease.ID(wire("c"))}, Began: 49})
	if !errors.Is(err, lease.ErrReleased) {
		t.Errorf("an ADD that began before its DEL: %v", err)
	}
	_, err = e.Assign(t.Context(), lease.Request{Attachment: lease.Attachment{ID: lease.ID(wire("c"))}, Began: 50})
	if errors.Is(err, lease.ErrReleased) {
		t.Errorf("an ADD that began after: %v", err)
	}
}

// TestPayer lets the server fail for a minute.
func TestPayer(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		owed := debts.Open(state)
		var mu sync.Mutex
		tries, delivered, down := 0, []string{}, true
		p := &payer{debts: owed, bootID: "now", now: time.Now, log: slog.New(slog.DiscardHandler), kick: make(chan struct{}, 1)}
		p.release = func(_ context.Context, in agentapi.Release, _ func() bool) error {
			mu.Lock()
			defer mu.Unlock()
			tries++
			if down {
				return errors.New("down")
			}
			delivered = append(delivered, in.ContainerID+" "+in.Began.String())
			return nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		if err := owed.Save(wire("before"), debts.Debt{Began: 7, BootID: "before"}); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() { defer close(done); p.run(ctx) }()
		synctest.Wait()
		if !p.failing() {
			t.Error("the payer does not know that nothing works")
		}
		if err := p.owe(agentapi.Release{ID: wire("c"), Began: 50}); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Minute)
		synctest.Wait()
		mu.Lock()
		if tries < 5 || tries > 20 {
			t.Errorf("%d tries in a minute", tries)
		}
		down = false
		mu.Unlock()
		<-time.After(most)
		synctest.Wait()
		mu.Lock()
		if len(delivered) != 2 || !strings.Contains(strings.Join(delivered, " "), "c 50ns") || !strings.Contains(strings.Join(delivered, " "), "before 0s") {
			t.Errorf("delivered: %v", delivered)
		}
		mu.Unlock()
		if left, err := owed.List(); err != nil || len(left) > 0 || p.failing() {
			t.Errorf("left are %v, %v", left, err)
		}
		cancel()
		<-done
	})
}

func TestForgive(t *testing.T) {
	t.Parallel()
	p := &payer{debts: debts.Open(t.TempDir()), bootID: "now", now: time.Now, log: slog.New(slog.DiscardHandler), kick: make(chan struct{}, 1)}
	for _, c := range []struct {
		began time.Duration
		left  bool
	}{{49, true}, {50, false}} {
		if err := p.owe(agentapi.Release{ID: wire("c"), Began: 50}); err != nil {
			t.Fatal(err)
		}
		p.forgive(wire("c"), c.began)
		if _, ok, err := p.debts.Load(wire("c")); ok != c.left || err != nil {
			t.Errorf("an ADD that began at %d: the debt of 50 is there: %v, %v", c.began, ok, err)
		}
	}
}

// TestForgivenMeanwhile lets an ADD of the same attachment come between the look
// into the folder and the delivery.
func TestForgivenMeanwhile(t *testing.T) {
	t.Parallel()
	p := &payer{debts: debts.Open(t.TempDir()), bootID: "now", now: time.Now, log: slog.New(slog.DiscardHandler), kick: make(chan struct{}, 1)}
	if err := p.owe(agentapi.Release{ID: wire("c"), Began: 50}); err != nil {
		t.Fatal(err)
	}
	released := 0
	p.release = func(_ context.Context, _ agentapi.Release, still func() bool) error {
		if still() {
			released++
		}
		p.forgive(wire("c"), 51)
		if still() {
			released += 10
		}
		return nil
	}
	if err := p.round(t.Context()); err != nil || released != 1 {
		t.Errorf("%d, %v: want it wanted before and not after", released, err)
	}
}

func TestInterfaces(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		annotation, nic string
		position        int
		network         string
	}{
		{"", "eth0", 0, ""},
		{"", "net1", -1, ""},
		{"blue", "net1", 1, "shop/blue"},
		{"infra/blue@lan, green", "lan", 1, "infra/blue"},
		{"infra/blue@lan, green", "net2", 2, "shop/green"},
		{"infra/blue@lan, green", "net1", -1, ""},
		{`[{"name":"blue"},{"name":"green","namespace":"infra","interface":"san"}]`, "san", 2, "infra/green"},
		{`[{"name":"blue"}]`, "net1", 1, "shop/blue"},
		{`[{"name":`, "net1", -1, ""},
		{"blue", "eth0", 0, ""},
	} {
		nic, network := interfaces("shop", map[string]string{networksAnnotation: c.annotation}, c.nic)
		if d := cmp.Diff(attach.NIC{Name: c.nic, Position: c.position}, nic); d != "" || network != c.network {
			t.Errorf("%s of %q: network %q, %s", c.nic, c.annotation, network, d)
		}
	}
}

func TestFlags(t *testing.T) {
	t.Setenv("NODE_NAME", "")
	for args, want := range map[string]string{
		"--node n":                                  "",
		"":                                          "--node: got nothing",
		"--node n --socket run/agent.sock":          `--socket: got "run/agent.sock"`,
		"--node n --health-address 0.0.0.0:80":      "want a loopback address",
		"--node n --pprof-address [::1]:6060":       "",
		"--node n --sweep-interval 0s":              "--sweep-interval: got 0s",
		"--node n extra":                            "want flags only",
		"--node n --sokcet /x":                      "not defined: -sokcet",
		"--node n --log-level loud":                 "loud",
		"--version":                                 "",
		"--node n --socket x --api-silence 1ms":     "--api-silence",
		"--node n --state-dir x --sweep-interval 1": "parse error",
	} {
		_, err := parse(strings.Fields(args), &bytes.Buffer{})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", args, err, want)
		}
	}
}

// TestThePageNamesEveryFlag keeps docs/agent.md complete.
func TestThePageNamesEveryFlag(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/agent.md")
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("the module stands alone, without the repository's docs")
	}
	if err != nil {
		t.Fatal(err)
	}
	var usage bytes.Buffer
	if _, err := parse([]string{"-h"}, &usage); !errors.Is(err, flag.ErrHelp) {
		t.Fatal(err)
	}
	flags := regexp.MustCompile(`(?m)^  -(\S+)`).FindAllStringSubmatch(usage.String(), -1)
	if len(flags) < 8 {
		t.Fatalf("%d flags in\n%s", len(flags), usage.String())
	}
	for _, f := range flags {
		if !bytes.Contains(page, []byte("| `--"+f[1]+"` |")) {
			t.Errorf("docs/agent.md has no row for --%s", f[1])
		}
	}
}

func TestDry(t *testing.T) {
	t.Parallel()
	pool := func(name, free string) poolselect.Pool { return poolselect.Pool{Name: name, Free: free} }
	suspended := pool("late", "9")
	suspended.Suspend = true
	standard := pool("std", "3")
	standard.Default = true
	all := []poolselect.Pool{pool("blue", "0"), pool("green", "5"), pool("new", ""), suspended, standard}
	for named, want := range map[string]bool{"": false, "blue": true, "blue,green": false, "gr*": false, "late": true, "new": false, "gone": true} {
		var list []string
		if named != "" {
			list = strings.Split(named, ",")
		}
		if got := dry(all, list); got != want {
			t.Errorf("%q: %v, want %v", named, got, want)
		}
	}
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-cni/weft/libs/errcode"
	"github.com/weft-cni/weft/libs/lease"
)

// TestParallelAdds asks for more addresses than there are, all at once: each
// free one is given to exactly one, the rest are refused by number and name.
func TestParallelAdds(t *testing.T) {
	t.Parallel()
	const asked, free = 300, 254 - 1 - 20
	for _, cooldown := range []string{"0s", "120s"} {
		t.Run("cooldown "+cooldown, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			h.pools = fmt.Sprintf(`[{"name":"blue","cooldown":%q,"ipv4":{"subnet":"10.0.0.0/24","gateway":"10.0.0.1","exclude":["10.0.0.100-10.0.0.119"]}}]`, cooldown)
			answers := make([]answer, asked)
			parallel(asked, func(i int) { answers[i] = h.do(call{verb: "ADD", container: fmt.Sprintf("c%d", i)}) })
			given := map[netip.Addr]int{}
			refused := 0
			for i, a := range answers {
				for _, ip := range a.ips() {
					if other, ok := given[ip]; ok {
						t.Errorf("%s was given to c%d and c%d", ip, other, i)
					}
					given[ip] = i
				}
				if a.result != nil {
					continue
				}
				refused++
				if a.err == nil || errcode.Code(a.err.Code) != errcode.PoolExhausted ||
					!strings.Contains(a.err.Msg, fmt.Sprintf("pool blue IPv4 %d/%d used", free, free)) {
					t.Errorf("refusal of c%d: %v", i, a.err)
				}
			}
			if len(given) != free || refused != asked-free {
				t.Errorf("%d given, %d refused; want %d and %d", len(given), refused, free, asked-free)
			}
			for i := range 256 {
				ip := netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
				_, got := given[ip]
				if want := i > 1 && i < 255 && (i < 100 || i > 119); got != want {
					t.Errorf("%s given: %v, want %v", ip, got, want)
				}
			}
			for range 2 {
				parallel(asked, func(i int) { h.del(fmt.Sprintf("c%d", i)) })
			}
			if left := h.held(); len(left) > 0 {
				t.Errorf("after all DELs, twice: %v", left)
			}
			want := map[string]int{"0s": 0, "120s": free}[cooldown]
			if rests := h.entries(lease.Filter{Resting: true}); len(rests) != want {
				t.Errorf("%d addresses rest, want %d", len(rests), want)
			}
		})
	}
}

// TestKilledAnywhere kills the plugin at each named point of ADD and DEL and
// then does what a runtime would do next.
func TestKilledAnywhere(t *testing.T) {
	t.Parallel()
	crashing, err := buildCrashing()
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"ADD", "DEL"} {
		points := []string{"after-lock", "before-commit", "after-commit"}
		if verb == "ADD" {
			points = append(points, "after-claim-first-family", "before-answer", "answer-lost")
		} else {
			points = append(points, "del-before-answer")
		}
		for _, point := range points {
			for _, next := range []string{"DEL", "new sandbox", "GC"} {
				t.Run(verb+" "+point+", then "+next, func(t *testing.T) {
					t.Parallel()
					h := newHost(t)
					first := h.add("a", "uid-a")
					var told []netip.Addr
					if verb == "DEL" {
						told = h.add("b", "uid-b")
					}
					h.kill(crashing, verb, point)
					h.afterKill(next, first, told)
				})
			}
		}
	}
}

// kill runs a verb for container b and ends it at the point.
func (h *host) kill(crashing, verb, point string) {
	h.Helper()
	k := *h
	k.binary = crashing
	a := k.do(call{verb: verb, container: "b", uid: "uid-b", env: []string{"WEFT_CRASH_AT=" + point}})
	if point == "answer-lost" {
		if a.result == nil {
			h.Fatalf("ADD: %v", a.err)
		}
		return // the runtime died before it read it
	}
	if !a.killed {
		h.Fatalf("%s went past %s: %s %v", verb, point, a.stdout, a.err)
	}
}

func (h *host) afterKill(next string, first, told []netip.Addr) {
	h.Helper()
	live := []string{"a"}
	switch next {
	case "DEL":
		h.del("b")
		h.wantHeld("a")
	case "new sandbox":
		got := h.add("b2", "uid-b")
		if len(got) != 2 || slices.Contains(first, got[0]) || slices.Contains(first, got[1]) {
			h.Errorf("the new sandbox got %v beside %v", got, first)
		}
		h.del("b") // comes late, and frees nothing
		h.wantHeld("a", "b2")
		live = append(live, "b2")
		if len(told) > 0 && slices.Contains(h.held(), told[0].String()+" b") {
			h.Errorf("the old sandbox still holds %v", told)
		}
	case "GC":
		h.gc("a")
		h.wantHeld("a")
	}
	// Nothing leaked: the rest of the pool can be had, each address once.
	given := map[netip.Addr]bool{}
	for _, e := range h.entries(lease.Filter{}) {
		given[e.Key.Addr] = true
	}
	for i := len(live); i < 5; i++ {
		for _, ip := range h.add(fmt.Sprintf("more%d", i), "") {
			if given[ip] {
				h.Errorf("%s was given twice", ip)
			}
			given[ip] = true
		}
	}
	if len(given) != 10 {
		h.Errorf("%d of 10 addresses given", len(given))
	}
	if again := h.add("a", "uid-a"); !slices.Equal(again, first) {
		h.Errorf("a has %v, was told %v", again, first)
	}
}

// TestKilledAtRandom kills plugins at random instants under load. Those that
// answered must not share an address, and GC must find what the others left.
func TestKilledAtRandom(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.pools = `[{"name":"blue","cooldown":"0s","ipv4":{"subnet":"10.0.0.0/26"},"ipv6":{"subnet":"fd00::/64"}}]`
	var mu sync.Mutex
	live := map[string][]netip.Addr{}
	killed := 0
	parallel(200, func(i int) {
		name := fmt.Sprintf("c%d", i)
		// About as long as a call takes, so that every stage of it is hit.
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(200))*time.Millisecond)
		defer cancel()
		cmd := h.command(call{verb: "ADD", container: name})
		bounded := exec.CommandContext(ctx, cmd.Path)
		bounded.Env, bounded.Stdin = cmd.Env, cmd.Stdin
		a := h.finish(bounded)
		if a.result == nil {
			mu.Lock()
			killed++
			mu.Unlock()
			return
		}
		mu.Lock()
		live[name] = a.ips()
		mu.Unlock()
		if i%2 == 0 {
			mu.Lock()
			delete(live, name)
			mu.Unlock()
			h.del(name)
		}
	})
	owner := map[netip.Addr]string{}
	var names []string
	for name, ips := range live {
		names = append(names, name)
		for _, ip := range ips {
			if owner[ip] != "" {
				t.Errorf("%s was given to %s and %s", ip, owner[ip], name)
			}
			owner[ip] = name
		}
	}
	t.Logf("%d killed or refused, %d live", killed, len(live))
	h.gc(names...)
	h.wantHeld(names...)
	for _, e := range h.entries(lease.Filter{}) {
		if owner[e.Key.Addr] != e.Record.Attachment.ContainerID {
			t.Errorf("%s is leased to %s, was given to %q", e.Key, e.Record.Attachment.ContainerID, owner[e.Key.Addr])
		}
	}
}

// TestLateAdd lets an ADD that began before the DEL of its container go on
// after it, as happens when a main plugin is killed and its IPAM lives on.
func TestLateAdd(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.add("a", "")
	lock := openLock(t, h.stateDir)
	cmd := h.command(call{verb: "ADD", container: "b"})
	var out strings.Builder
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitThreads(t, cmd.Process.Pid, "syscall", fmt.Sprintf("%d ", unix.SYS_FLOCK), false)
	signal(t, cmd, syscall.SIGSTOP)
	waitThreads(t, cmd.Process.Pid, "status", "(stopped)", true)
	lock()
	<-time.After(30 * time.Millisecond) // A process's age is known to 10 ms.
	h.del("b")
	signal(t, cmd, syscall.SIGCONT)
	if err := cmd.Wait(); err == nil || !strings.Contains(out.String(), "came too late") {
		t.Errorf("a late ADD: %v, %s", err, out.String())
	}
	h.wantHeld("a")
	// A runtime that starts the same container again is not late.
	h.add("b", "")
	h.wantHeld("a", "b")
}

func openLock(t *testing.T, stateDir string) func() {
	t.Helper()
	fd, err := unix.Open(stateDir+"/lock", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(fd, unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return func() { _ = unix.Close(fd) }
}

// waitThreads waits until a file of the process's threads says something, in one of them or in all.
func waitThreads(t *testing.T, pid int, file, text string, all bool) {
	t.Helper()
	for range 1000 {
		paths, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/%s", pid, file))
		n := 0
		for _, path := range paths {
			if b, err := os.ReadFile(path); err == nil && strings.Contains(string(b), text) {
				n++
			}
		}
		if n > 0 && (!all || n == len(paths)) {
			return
		}
		<-time.After(5 * time.Millisecond)
	}
	t.Fatalf("no %q in /proc/%d/task/*/%s", text, pid, file)
}

func signal(t *testing.T, cmd *exec.Cmd, s syscall.Signal) {
	t.Helper()
	if err := cmd.Process.Signal(s); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

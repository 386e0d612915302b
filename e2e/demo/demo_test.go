// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/weft-cni/weft/libs/cnitest"
	"github.com/weft-cni/weft/libs/nettest"
)

func TestMain(m *testing.M) { nettest.Main(m) }

// TestDemo tells the story, a line per step.
func TestDemo(t *testing.T) {
	say("A switch; a router with 192.0.2.1 and 2001:db8:2::1; two hosts, each with one NIC on the switch.")
	router := nettest.New(t, "router")
	a, b := newHost(t, "a", 2), newHost(t, "b", 3)
	nettest.Switch(t, router, a.ns, b.ns)
	address(router, "192.0.2.1/24", "2001:db8:2::1/64")
	a.plug()
	b.plug()

	say("\nThe conflist, from the README (host b hands out .100-.199 instead):\n\n%s\n", indent(string(conflist(t).JSON)))

	step(t, "attach pod-a on host a", func() (string, error) { return a.attach(t, "pod-a") })
	step(t, "attach pod-b on host b", func() (string, error) { return b.attach(t, "pod-b") })

	podA, podB := a.pods["pod-a"], b.pods["pod-b"]
	for _, f := range []struct{ name, gateway string }{{"IPv4", "192.0.2.1"}, {"IPv6", "2001:db8:2::1"}} {
		ping := func(what string, from *nettest.NS, to string) {
			step(t, fmt.Sprintf("%s, %s", what, f.name), func() (string, error) { return reach(from, to) })
		}
		ping("pod-a reaches pod-b, straight over the switch", podA.ns, podB.addr(f.name))
		ping("pod-a reaches the router", podA.ns, f.gateway)
		ping("host a reaches pod-a, through the veth", a.ns, podA.addr(f.name))
		ping("pod-a reaches host a, through the veth", podA.ns, a.addr[f.name])
		ping("host b reaches pod-b, through the veth", b.ns, podB.addr(f.name))
		ping("pod-a reaches host b, straight over the switch", podA.ns, b.addr[f.name])
	}

	step(t, "ADD again: weft-ipam gives pod-a the same addresses", func() (string, error) { return a.again(t, "pod-a", "weft-ipam") })
	step(t, "ADD again: weft-coordinator gives pod-a the same result", func() (string, error) { return a.again(t, "pod-a", "weft-coordinator") })
	step(t, "CHECK pod-a", func() (string, error) { return "as planned", a.check(t, "pod-a") })
	step(t, "CHECK sees a route that somebody removed", func() (string, error) { return a.sabotage(t, "pod-a") })
	step(t, "STATUS on both hosts", func() (string, error) { return "ready", both(a, b, func(h *host) error { return h.status(t) }) })

	step(t, "DEL pod-a, and once more", func() (string, error) { return "gone", twice(func() error { return a.detach(t, "pod-a") }) })
	step(t, "DEL pod-b after its namespace died", func() (string, error) { return b.detachDead(t, "pod-b") })
	step(t, "GC with no pod left", func() (string, error) { return "nothing to do", both(a, b, func(h *host) error { return h.gc(t) }) })
	step(t, "host a is as it was before", a.asBefore)
	step(t, "host b is as it was before", b.asBefore)
	step(t, "no address is held", func() (string, error) { return noLeases(t, a, b) })
	say("\nEverything held. The namespaces go with this process.")
}

// step runs one step and prints its line; a step that fails ends the demo.
func step(t *testing.T, title string, f func() (string, error)) {
	t.Helper()
	start := time.Now()
	seen, err := f()
	took := time.Since(start).Round(100 * time.Microsecond)
	if err != nil {
		say("FAIL  %-56s %s", title, err)
		t.FailNow()
	}
	say("ok    %-56s %s (%s)", title, seen, took)
}

// say prints one line for the reader.
func say(format string, args ...any) { _, _ = fmt.Fprintf(os.Stdout, format+"\n", args...) }

// conflist is the block of the README that the demo runs.
func conflist(t *testing.T) cnitest.Block {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := cnitest.Conflists(string(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blocks {
		if b.Label == "demo" {
			return b
		}
	}
	t.Fatal("README.md has no conflist labelled demo")
	return cnitest.Block{}
}

// both runs f on each host and joins what went wrong.
func both(a, b *host, f func(*host) error) error {
	for _, h := range []*host{a, b} {
		if err := f(h); err != nil {
			return fmt.Errorf("host %s: %w", h.name, err)
		}
	}
	return nil
}

// twice runs f and then runs it again.
func twice(f func() error) error {
	if err := f(); err != nil {
		return err
	}
	return f()
}

// addresses renders what a result gave the pod.
func addresses(res *current.Result) string {
	var out []string
	for _, ip := range res.IPs {
		out = append(out, ip.Address.String())
	}
	return strings.Join(out, "  ")
}

func indent(s string) string { return "    " + strings.ReplaceAll(s, "\n", "\n    ") }

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weft-cni/weft/e2e/leasestore"
)

// forked starts an ADD whose process exists from now on, and which goes on when
// the returned function is called; that returns what it printed.
func (n *node) forked(s sandbox) func() string {
	n.Helper()
	bin, err := built()
	if err != nil {
		n.Fatal(err)
	}
	cmd := exec.CommandContext(n.Context(), filepath.Join(bin, "weft-ipam"))
	cmd.Env = []string{
		"CNI_COMMAND=ADD", "CNI_CONTAINERID=" + s.id, "CNI_IFNAME=eth0", "CNI_NETNS=" + s.netns, "CNI_PATH=" + bin,
		fmt.Sprintf("CNI_ARGS=K8S_POD_NAMESPACE=%s;K8S_POD_NAME=%s;K8S_POD_UID=%s", s.pod.GetNamespace(), s.pod.GetName(), s.pod.GetUID()),
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		n.Fatal(err)
	}
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		n.Fatal(err)
	}
	forked := time.Now()
	until(n.T, "the clock of processes moves on", time.Second, func() bool { return time.Since(forked) > 30*time.Millisecond })
	return func() string {
		_, _ = io.WriteString(in, fmt.Sprintf(`{"cniVersion":"1.1.0","name":"lan","type":"macvlan","ipam":{"type":"weft-ipam","agent":%q,"stateDir":%q}}`, n.socket, n.state))
		_ = in.Close()
		_ = cmd.Wait() // what it printed says how it ended
		return out.String()
	}
}

// TestALateADD lets an ADD that a runtime has given up come after its DEL.
func TestALateADD(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pool := w.pool(t, v4("10.0.0.0/24"))
	n := w.newNode(t)
	ns := w.namespace(t, nil)
	for _, c := range []struct {
		what string
		del  func(sandbox)
	}{
		{"the agent heard the DEL", func(s sandbox) { n.del(s) }},
		{"the disk knows the DEL", func(s sandbox) { n.kill(); n.del(s); n.gate.set(closed); n.start(); n.gate.set(through) }},
	} {
		s := n.sandbox(w.podOn(t, n.name, ns, leasestore.Unique("web"), "", map[string]any{"weft.dev/pools": pool}))
		finish := n.forked(s)
		c.del(s)
		var out string
		until(t, "the agent answers", 30*time.Second, func() bool { return n.exec("STATUS", sandbox{}, "").err == nil })
		if out = finish(); !strings.Contains(out, `"code": 11`) || !strings.Contains(out, "came too late") {
			t.Errorf("%s: the ADD printed %s", c.what, out)
		}
		if held := w.leases(t, pool); len(held) != 0 {
			t.Errorf("%s: held are %v", c.what, held)
		}
		if got := n.add(s, ""); got == "" { // the runtime uses the container once more
			t.Errorf("%s: an ADD that began later got nothing", c.what)
		}
		n.del(s)
	}
}

// TestTheServerHangs removes a pod while requests vanish: DEL ends all the same.
func TestTheServerHangs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pool := w.pool(t, v4("10.0.0.0/24"))
	n := w.newNode(t)
	s := n.sandbox(w.podOn(t, n.name, w.namespace(t, nil), "web", "", map[string]any{"weft.dev/pools": pool}))
	n.add(s, "")
	n.gate.set(mute)
	for i, limit := range []time.Duration{8 * time.Second, 2 * time.Second} { // the second time the agent knows
		if a := n.exec("DEL", s, ""); a.err != nil || a.took > limit || n.debts() != 1 {
			t.Errorf("DEL %d: %v after %v, %d debts", i+1, a.err, a.took, n.debts())
		}
		until(t, "a delivery does not work", 20*time.Second, func() bool { return strings.Contains(n.log.String(), "releases are owed") })
	}
	n.gate.set(through)
	until(t, "the agent pays", 60*time.Second, func() bool { return n.debts() == 0 && len(w.leases(t, pool)) == 0 })
}

// TestManyAtOnce attaches pods in parallel, lists half of them as valid, and
// lets GC free the others.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pool := w.pool(t, map[string]any{"ipv4": map[string]any{"subnet": "10.0.0.0/26"}, "ipv6": map[string]any{"subnet": "fd00::/64"}})
	n := w.newNode(t)
	ns := w.namespace(t, nil)
	const pods = 30
	var boxes []sandbox
	for range pods {
		boxes = append(boxes, n.sandbox(w.podOn(t, n.name, ns, leasestore.Unique("web"), "", map[string]any{"weft.dev/pools": pool})))
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := map[string]string{}
	for _, s := range boxes {
		wg.Go(func() {
			a := n.exec("ADD", s, "")
			mu.Lock()
			defer mu.Unlock()
			if a.err != nil || len(a.ips) != 2 {
				t.Errorf("ADD: %v, %v", a.err, a.ips)
			}
			for _, ip := range a.ips {
				if seen[ip] != "" {
					t.Errorf("%s was given to %s and %s", ip, seen[ip], s.id)
				}
				seen[ip] = s.id
			}
		})
	}
	wg.Wait()
	valid := map[string]bool{}
	var list []string
	for _, s := range boxes[:pods/2] {
		valid[s.id] = true
		list = append(list, fmt.Sprintf(`{"containerID":%q,"ifname":"eth0"}`, s.id))
	}
	if a := n.run(t.Context(), "GC", sandbox{}, "", `"cni.dev/valid-attachments":[`+strings.Join(list, ",")+`],`); a.err != nil {
		t.Fatal(a.err)
	}
	held := w.leases(t, pool)
	for ip, id := range seen {
		if (held[ip] != nil) != valid[id] {
			t.Errorf("after GC: %s of %s is held: %v, want %v", ip, id, held[ip] != nil, valid[id])
		}
	}
}

// TestItEndsInGoodOrder ends the agent while an ADD hangs in it.
func TestItEndsInGoodOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pool := w.pool(t, v4("10.0.0.0/24"))
	n := w.newNode(t)
	ns := w.namespace(t, nil)
	n.add(n.sandbox(n.told(ns, "warm", pool)), "")
	s := n.sandbox(n.told(ns, "web", pool))
	n.gate.set(mute)
	done := make(chan answer, 1)
	go func() { done <- n.exec("ADD", s, "") }()
	until(t, "the server has the claim", 10*time.Second, func() bool { return len(w.leases(t, pool)) == 2 })
	began := time.Now()
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := n.cmd.Wait(); err != nil || time.Since(began) > 20*time.Second {
		t.Errorf("the agent ended with %v after %v", err, time.Since(began))
	}
	n.cmd = nil
	if a := <-done; a.err == nil || a.err.Code != 11 {
		t.Errorf("the ADD under way: %v", a.err)
	}
	n.gate.set(through)
	n.start()
	n.add(s, "")
	if held := w.leases(t, pool); len(held) != 2 {
		t.Errorf("held are %d leases, want 2", len(held))
	}
}

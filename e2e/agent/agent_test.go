// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weft-cni/weft/e2e/leasestore"
)

// TestOneRequestPerADD counts what the server was asked by everybody, so it runs
// alone, before those that are parallel.
func TestOneRequestPerADD(t *testing.T) {
	w := newWorld(t)
	ns := w.namespace(t, nil)
	spec := v4("10.0.0.0/16")
	spec["cooldown"] = "1m"
	pool := w.pool(t, spec)
	n := w.newNode(t)
	const pods = 20
	var boxes []sandbox
	for range pods + 1 {
		boxes = append(boxes, n.sandbox(w.podOn(t, n.name, ns, leasestore.Unique("web"), "", map[string]any{"weft.dev/pools": pool})))
	}
	n.add(boxes[pods], "") // reads the hint, the namespace and the node
	before := leasestore.CountRequests(t, w.server)
	var took []time.Duration
	for _, s := range boxes[:pods] {
		a := n.exec("ADD", s, "")
		if a.err != nil {
			t.Fatal(a.err)
		}
		took = append(took, a.took)
	}
	added := leasestore.CountRequests(t, w.server)
	if d := cmp.Diff(leasestore.Requests{"POST ipleases": pods}, added.Since(before)); d != "" {
		t.Errorf("requests of %d ADDs (-want +got):\n%s", pods, d)
	}
	for _, s := range boxes[:pods] {
		n.add(s, "")
	}
	again := leasestore.CountRequests(t, w.server)
	if d := cmp.Diff(leasestore.Requests{}, again.Since(added)); d != "" {
		t.Errorf("requests of %d repeated ADDs (-want +got):\n%s", pods, d)
	}
	for _, s := range boxes[:pods] {
		n.del(s)
	}
	if d := cmp.Diff(leasestore.Requests{"DELETE ipleases": pods}, leasestore.CountRequests(t, w.server).Since(again)); d != "" {
		t.Errorf("requests of %d DELs (-want +got):\n%s", pods, d)
	}
	t.Logf("ADD with exec, agent and one create: %v at best, %v the first", least(took), took[0])
}

func least(d []time.Duration) time.Duration {
	best := d[0]
	for _, x := range d {
		best = min(best, x)
	}
	return best
}

// TestLevels gives pods their pool by annotation, by namespace, by the
// configuration and by default.
func TestLevels(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two, three := w.pool(t, v4("10.1.0.0/24")), w.pool(t, v4("10.2.0.0/24")), w.pool(t, v4("10.3.0.0/24"))
	plain, annotated := w.namespace(t, nil), w.namespace(t, map[string]any{"weft.dev/pools": two})
	spec := v4("10.4.0.0/24")
	spec["default"], spec["allow"] = true, map[string]any{"namespaces": map[string]any{"names": []any{plain}}, "nodes": map[string]any{"selector": map[string]any{"matchLabels": map[string]any{"rack": "r7"}}}}
	w.pool(t, spec)
	n := w.newNode(t)
	for _, c := range []struct{ what, namespace, annotation, ipam, prefix string }{
		{"pod", annotated, one, `,"pools":["` + three + `"]`, "10.1.0."},
		{"pod, by name of the interface", annotated, "net1=" + two + "; eth0=" + one, "", "10.1.0."},
		{"namespace", annotated, "", `,"pools":["` + three + `"]`, "10.2.0."},
		{"configuration", plain, "", `,"pools":["` + three + `"]`, "10.3.0."},
		{"default", plain, "", "", "10.4.0."},
	} {
		annotations := map[string]any{}
		if c.annotation != "" {
			annotations["weft.dev/pools"] = c.annotation
		}
		s := n.sandbox(w.podOn(t, n.name, c.namespace, leasestore.Unique("web"), "", annotations))
		if got := n.add(s, c.ipam); !strings.HasPrefix(got, c.prefix) {
			t.Errorf("%s: got %s, want %s…", c.what, got, c.prefix)
		}
	}
}

// TestANewSandbox attaches a pod again in a new sandbox, and removes the old one late.
func TestANewSandbox(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pool := w.pool(t, v4("10.0.0.0/30")) // two addresses
	n := w.newNode(t)
	ns := w.namespace(t, nil)
	pod := w.podOn(t, n.name, ns, "web", "", map[string]any{"weft.dev/pools": pool})
	old, fresh := n.sandbox(pod), n.sandbox(pod)
	first := n.add(old, "")
	if second := n.add(fresh, ""); second != first {
		t.Errorf("the new sandbox got %s, the old one had %s", second, first)
	}
	n.del(old)
	n.del(old)
	held := w.leases(t, pool)
	if len(held) != 1 || held[first] == nil {
		t.Fatalf("after the late DEL: %v", held)
	}
	if id, _, _ := unstructured.NestedString(held[first].Object, "spec", "attachment", "sandboxID"); id != fresh.id {
		t.Errorf("the lease is of sandbox %s, want %s", id, fresh.id)
	}
	if a := n.run(t.Context(), "CHECK", fresh, "", `"prevResult":{"cniVersion":"1.1.0","ips":[{"address":"`+first+`/30"}]},`); a.err != nil {
		t.Errorf("CHECK: %v", a.err)
	}
	if a := n.run(t.Context(), "CHECK", old, "", `"prevResult":{"cniVersion":"1.1.0","ips":[{"address":"`+first+`/30"}]},`); a.err == nil || a.err.Code != 105 {
		t.Errorf("CHECK of the old sandbox: %v", a.err)
	}
	n.del(fresh)
	if held := w.leases(t, pool); len(held) != 0 {
		t.Errorf("after DEL: %v", held)
	}
}

// TestDebtsArePaid removes pods while the agent is down, then while the server is.
func TestDebtsArePaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pool := w.pool(t, v4("10.0.0.0/24"))
	n := w.newNode(t)
	ns := w.namespace(t, nil)
	box := func() sandbox {
		s := n.sandbox(w.podOn(t, n.name, ns, leasestore.Unique("web"), "", map[string]any{"weft.dev/pools": pool}))
		n.add(s, "")
		return s
	}
	one, two, three := box(), box(), box()

	n.kill()
	n.del(one)
	if n.debts() != 1 || len(w.leases(t, pool)) != 3 {
		t.Errorf("without the agent: %d debts, %d leases", n.debts(), len(w.leases(t, pool)))
	}
	n.start()
	until(t, "the agent pays what the plugin wrote down", 20*time.Second, func() bool { return n.debts() == 0 && len(w.leases(t, pool)) == 2 })

	n.gate.set(closed)
	n.del(two)
	if n.debts() != 1 || len(w.leases(t, pool)) != 2 {
		t.Errorf("without the server: %d debts, %d leases", n.debts(), len(w.leases(t, pool)))
	}
	if a := n.exec("ADD", n.sandbox(two.pod), `,"timeout":"10s"`); a.err == nil || a.err.Code != 11 {
		t.Errorf("an ADD without the server: %v", a.err)
	}
	n.kill() // and the agent forgets everything but the disk
	n.start()
	n.del(three)
	if n.debts() != 2 {
		t.Errorf("%d debts, want 2", n.debts())
	}
	n.gate.set(through)
	until(t, "the agent pays", 60*time.Second, func() bool { return n.debts() == 0 && len(w.leases(t, pool)) == 0 })
}

// TestKilledInADD kills the agent when the server has claimed and nobody knows.
func TestKilledInADD(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pool := w.pool(t, v4("10.0.0.0/24"))
	n := w.newNode(t)
	ns := w.namespace(t, nil)
	n.add(n.sandbox(n.told(ns, "warm", pool)), "")
	pod := n.told(ns, "web", pool)
	first, second := n.sandbox(pod), n.sandbox(pod)
	n.gate.set(mute)
	done := make(chan answer, 1)
	go func() { done <- n.exec("ADD", first, "") }()
	until(t, "the server has the claim", 10*time.Second, func() bool { return len(w.leases(t, pool)) == 2 })
	n.kill()
	if a := <-done; a.err == nil || a.err.Code != 11 {
		t.Errorf("the ADD whose agent died: %v", a.err)
	}
	had := w.leases(t, pool)
	n.gate.set(through)
	n.start()
	if got := n.add(second, ""); had[got] == nil || len(w.leases(t, pool)) != 2 {
		t.Errorf("the next sandbox got %s, claimed were %v", got, had)
	}
}

// TestSweep loses a sandbox without DEL; another one lives.
func TestSweep(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pool := w.pool(t, v4("10.0.0.0/24"))
	n := w.newNode(t)
	ns := w.namespace(t, nil)
	lives := n.sandbox(w.podOn(t, n.name, ns, "lives", "", map[string]any{"weft.dev/pools": pool}))
	dies := n.sandbox(w.podOn(t, n.name, ns, "dies", "", map[string]any{"weft.dev/pools": pool}))
	kept, freed := n.add(lives, ""), n.add(dies, "")
	dies.die()
	until(t, "the sweep frees "+freed, 20*time.Second, func() bool { return w.leases(t, pool)[freed] == nil })
	if w.leases(t, pool)[kept] == nil {
		t.Errorf("the sweep freed %s, whose sandbox lives", kept)
	}
	n.add(lives, "")
	// Another boot: the agent finds leases that were made before it.
	lease := w.leases(t, pool)[kept]
	if err := unstructured.SetNestedField(lease.Object, "an-earlier-boot", "spec", "attachment", "bootID"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.any.Resource(resource("IPLease")).Update(t.Context(), lease, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	n.kill()
	n.start()
	until(t, "the sweep frees what is of an earlier boot", 20*time.Second, func() bool { return len(w.leases(t, pool)) == 0 })
}

// TestStatus takes the server and the agent away.
func TestStatus(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := w.newNode(t)
	best := time.Hour
	for range 10 {
		a := n.exec("STATUS", sandbox{}, "")
		if a.err != nil {
			t.Fatal(a.err)
		}
		best = min(best, a.took)
	}
	t.Logf("STATUS takes %v", best)
	if best > 20*time.Millisecond {
		t.Errorf("STATUS takes %v, want at most 20 ms", best)
	}
	n.gate.set(closed)
	until(t, "STATUS tells that the server is away", 20*time.Second, func() bool {
		a := n.exec("STATUS", sandbox{}, "")
		return a.err != nil && a.err.Code == 50 && strings.Contains(a.err.Msg, "API server")
	})
	n.gate.set(through)
	until(t, "STATUS tells that it is back", 30*time.Second, func() bool { return n.exec("STATUS", sandbox{}, "").err == nil })
	n.kill()
	if a := n.exec("STATUS", sandbox{}, ""); a.err == nil || a.err.Code != 50 || !strings.Contains(a.err.Msg, "weft-agent") {
		t.Errorf("STATUS without an agent: %v", a.err)
	}
}

// TestWhyNot refuses a pod: the text names each pool, the event has the table.
func TestWhyNot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	spec := v4("10.0.0.0/24")
	spec["allow"] = map[string]any{"namespaces": map[string]any{"names": []any{"bank"}}}
	pool, tiny := w.pool(t, spec), w.pool(t, v4("10.0.0.0/32"))
	n := w.newNode(t)
	ns := w.namespace(t, nil)
	pod := w.podOn(t, n.name, ns, "web", "", map[string]any{"weft.dev/pools": pool})
	a := n.exec("ADD", n.sandbox(pod), "")
	if a.err == nil || a.err.Code != 7 || !strings.Contains(a.err.Msg, pool+" allows namespaces bank (this is "+ns+")") {
		t.Errorf("ADD: %v", a.err)
	}
	var note string
	until(t, "the pod has an event", 10*time.Second, func() bool {
		list, err := w.any.Resource(resource("Event")).Namespace(ns).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list.Items {
			note, _, _ = unstructured.NestedString(e.Object, "note")
		}
		return note != ""
	})
	if !strings.Contains(note, "allows namespaces bank") || !strings.Contains(note, "FILTER") {
		t.Errorf("the event says %q", note)
	}
	s := n.sandbox(w.podOn(t, n.name, ns, "first", "", map[string]any{"weft.dev/pools": tiny}))
	n.add(s, "")
	a = n.exec("ADD", n.sandbox(w.podOn(t, n.name, ns, "second", "", map[string]any{"weft.dev/pools": tiny})), "")
	if a.err == nil || a.err.Code != 100 || !strings.Contains(a.err.Msg, "pool "+tiny+" IPv4 1/1 used") {
		t.Errorf("an ADD on a full pool: %v", a.err)
	}
	n.del(s)
	gone := w.podOn(t, n.name, ns, "gone", "", nil)
	gone.SetUID("00000000-0000-0000-0000-000000000000")
	if a = n.exec("ADD", n.sandbox(gone), ""); a.err == nil || a.err.Code != 11 || !strings.Contains(a.err.Msg, "another pod has its name") {
		t.Errorf("an ADD for a pod that is gone: %v", a.err)
	}
}

// TestExactAddresses asks by annotation and by the runtime's capability.
func TestExactAddresses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pool := w.pool(t, v4("10.77.0.0/24"))
	n := w.newNode(t)
	ns := w.namespace(t, nil)
	wants := map[string]any{"weft.dev/ips": "10.77.0.7"}
	if got := n.add(n.sandbox(w.podOn(t, n.name, ns, "first", "", wants)), ""); got != "10.77.0.7" {
		t.Errorf("by annotation: %s", got)
	}
	a := n.exec("ADD", n.sandbox(w.podOn(t, n.name, ns, "second", "", wants)), "")
	if a.err == nil || a.err.Code != 107 || !strings.Contains(a.err.Msg, "10.77.0.7 is held by pod "+ns+"/first") {
		t.Errorf("what is taken: %v", a.err)
	}
	third := n.sandbox(w.podOn(t, n.name, ns, "third", "", nil))
	a = n.run(t.Context(), "ADD", third, `,"pools":["`+pool+`"]`, `"runtimeConfig":{"ips":["10.77.0.8/24"]},`)
	if a.err != nil || len(a.ips) != 1 || a.ips[0] != "10.77.0.8" {
		t.Errorf("by the capability: %v, %v", a.ips, a.err)
	}
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/weft-cni/weft/e2e/leasestore"
)

// as returns a client with a token and nothing else.
func (w *world) as(t *testing.T, token string) *dynamic.DynamicClient {
	t.Helper()
	c := rest.AnonymousClientConfig(w.server)
	c.BearerToken, c.QPS = token, -1
	d, err := dynamic.NewForConfig(c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// leaseOf is a lease in a domain; without a node it is held and not in use.
func leaseOf(domain, address, node string) *unstructured.Unstructured {
	spec := map[string]any{"address": address, "domain": domain, "pool": domain, "cooldown": "1h", "holder": map[string]any{"kind": "Pod", "namespace": "shop", "name": "web"}}
	if node != "" {
		spec["attachment"] = map[string]any{"node": node, "network": "lan", "interface": "eth0", "sandboxID": "c"}
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "weft.dev/v1alpha1", "kind": "IPLease", "spec": spec,
		"metadata": map[string]any{"name": address + "." + domain, "labels": map[string]any{"weft.dev/pool": domain}, "finalizers": []any{"weft.dev/cooldown"}},
	}}
}

// TestAnAgentWritesLeasesOfItsNodeOnly asks the server as the agent of node a.
func TestAnAgentWritesLeasesOfItsNodeOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, domain := t.Context(), leasestore.Unique("d")
	a, b := leasestore.Unique("a"), leasestore.Unique("b")
	for _, n := range []string{a, b} {
		w.must(t, map[string]any{"apiVersion": "v1", "kind": "Node", "metadata": map[string]any{"name": n}})
	}
	admin, agent := w.any.Resource(resource("IPLease")), w.as(t, w.token(t, a)).Resource(resource("IPLease"))
	until(t, "the policy is in force", 30*time.Second, func() bool {
		_, err := agent.Create(ctx, leaseOf(domain, "10.0.0.99", b), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return isForbidden(err)
	})
	for address, node := range map[string]string{"10.0.0.2": b, "10.0.0.3": b, "10.0.0.4": ""} {
		if _, err := admin.Create(ctx, leaseOf(domain, address, node), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := admin.Delete(ctx, "10.0.0.3."+domain, metav1.DeleteOptions{}); err != nil { // it rests
		t.Fatal(err)
	}
	name := func(last int) string { return fmt.Sprintf("10.0.0.%d.%s", last, domain) }
	patch := func(last int, text string) func() error {
		return func() error {
			_, err := agent.Patch(ctx, name(last), types.MergePatchType, []byte(text), metav1.PatchOptions{})
			return err
		}
	}
	create := func(address, node string) func() error {
		return func() error {
			_, err := agent.Create(ctx, leaseOf(domain, address, node), metav1.CreateOptions{})
			return err
		}
	}
	for _, c := range []struct {
		what   string
		do     func() error
		denied string // in the text; "" is allowed
	}{
		{"claim for itself", create("10.0.0.1", a), ""},
		{"claim for another node", create("10.0.0.9", b), "claims addresses for its own node only"},
		{"claim for nobody", create("10.0.0.9", ""), "claims addresses for its own node only"},
		{"swap its own", patch(1, `{"spec":{"attachment":{"sandboxID":"d"}}}`), ""},
		{"give its own to another node", patch(1, fmt.Sprintf(`{"spec":{"attachment":{"node":%q}}}`, b)), "changes leases of its own node only"},
		{"swap another node's", patch(2, `{"spec":{"attachment":{"sandboxID":"d"}}}`), "changes leases of its own node only"},
		{"take another node's", patch(2, fmt.Sprintf(`{"spec":{"attachment":{"node":%q}}}`, a)), "changes leases of its own node only"},
		{"take another node's finalizer", patch(2, `{"metadata":{"finalizers":null}}`), "changes leases of its own node only"},
		{"release another node's", func() error { return agent.Delete(ctx, name(2), metav1.DeleteOptions{}) }, "releases leases of its own node only"},
		{"change what rests", patch(3, `{"spec":{"pool":"x"}}`), "changes leases of its own node only"},
		{"end another node's rest", patch(3, `{"metadata":{"finalizers":null}}`), ""},
		{"release what is kept", func() error { return agent.Delete(ctx, name(4), metav1.DeleteOptions{}) }, "releases leases of its own node only"},
		{"use what is kept", patch(4, fmt.Sprintf(`{"spec":{"attachment":{"node":%q,"network":"lan","interface":"eth0","sandboxID":"c"}}}`, a)), ""},
		{"release its own", func() error { return agent.Delete(ctx, name(1), metav1.DeleteOptions{}) }, ""},
		{"delete all", func() error { return agent.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}) }, "cannot deletecollection"},
	} {
		err := c.do()
		switch {
		case c.denied == "" && err != nil:
			t.Errorf("%s: %v", c.what, err)
		case c.denied != "" && (!isForbidden(err) || !strings.Contains(err.Error(), c.denied)):
			t.Errorf("%s: %v, want it forbidden with %q", c.what, err, c.denied)
		}
	}
	// A token that names no node is no agent's.
	req := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": map[string]any{"name": "weft-agent", "namespace": "weft-system"}, "spec": map[string]any{"audiences": []any{}},
	}}
	out, err := w.any.Resource(resource("ServiceAccount")).Namespace("weft-system").Create(ctx, req, metav1.CreateOptions{}, "token")
	if err != nil {
		t.Fatal(err)
	}
	token, _, _ := unstructured.NestedString(out.Object, "status", "token")
	_, err = w.as(t, token).Resource(resource("IPLease")).Create(ctx, leaseOf(domain, "10.0.0.20", a), metav1.CreateOptions{})
	if !isForbidden(err) || !strings.Contains(err.Error(), "names the node") {
		t.Errorf("a claim with a token of no node: %v", err)
	}
}

// TestAnAgentMayDoNothingElse tries what the role does not give.
func TestAnAgentMayDoNothingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := leasestore.Unique("n")
	w.must(t, map[string]any{"apiVersion": "v1", "kind": "Node", "metadata": map[string]any{"name": n}})
	agent := w.as(t, w.token(t, n))
	ctx := t.Context()
	object := func(version, kind string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"apiVersion": version, "kind": kind, "metadata": map[string]any{"name": "x"}}}
	}
	core := func(r string) schema.GroupVersionResource {
		return schema.GroupVersionResource{Version: "v1", Resource: r}
	}
	weft := func(r string) schema.GroupVersionResource {
		return schema.GroupVersionResource{Group: "weft.dev", Version: "v1alpha1", Resource: r}
	}
	for what, do := range map[string]func() error{
		"make a pool": func() error {
			_, err := agent.Resource(weft("ippools")).Create(ctx, object("weft.dev/v1alpha1", "IPPool"), metav1.CreateOptions{})
			return err
		},
		"delete a pool": func() error { return agent.Resource(weft("ippools")).Delete(ctx, "x", metav1.DeleteOptions{}) },
		"write a hint": func() error {
			_, err := agent.Resource(weft("iphints")).Create(ctx, object("weft.dev/v1alpha1", "IPHint"), metav1.CreateOptions{})
			return err
		},
		"watch all leases": func() error { _, err := agent.Resource(weft("ipleases")).Watch(ctx, metav1.ListOptions{}); return err },
		"read secrets": func() error {
			_, err := agent.Resource(core("secrets")).Namespace("default").Get(ctx, "x", metav1.GetOptions{})
			return err
		},
		"list namespaces": func() error { _, err := agent.Resource(core("namespaces")).List(ctx, metav1.ListOptions{}); return err },
		"list nodes":      func() error { _, err := agent.Resource(core("nodes")).List(ctx, metav1.ListOptions{}); return err },
		"patch a pod": func() error {
			_, err := agent.Resource(core("pods")).Namespace("default").Patch(ctx, "x", types.MergePatchType, []byte("{}"), metav1.PatchOptions{})
			return err
		},
		"delete a pod": func() error {
			return agent.Resource(core("pods")).Namespace("default").Delete(ctx, "x", metav1.DeleteOptions{})
		},
		"make a token": func() error {
			_, err := agent.Resource(core("serviceaccounts")).Namespace("weft-system").Create(ctx, object("authentication.k8s.io/v1", "TokenRequest"), metav1.CreateOptions{}, "token")
			return err
		},
	} {
		if err := do(); !isForbidden(err) {
			t.Errorf("%s: %v, want it forbidden", what, err)
		}
	}
}

// TestMemoryIsTheNodes fills the cluster with pods of other nodes and with
// leases (WEFT_AGENT_PODS of each), and looks at what the agent holds.
func TestMemoryIsTheNodes(t *testing.T) {
	w := newWorld(t)
	ns := w.namespace(t, nil)
	n := w.newNode(t)
	pool := w.pool(t, v4("10.0.0.0/16"))
	for range 20 {
		n.add(n.sandbox(w.podOn(t, n.name, ns, leasestore.Unique("web"), "", map[string]any{"weft.dev/pools": pool})), "")
	}
	restart := func() (int, string) {
		n.kill()
		n.start()
		for range 5 {
			n.add(n.sandbox(w.podOn(t, n.name, ns, leasestore.Unique("web"), "", map[string]any{"weft.dev/pools": pool})), "")
		}
		return resident(t, n.cmd.Process.Pid)
	}
	before, _ := restart()
	const others = 1000
	pods := 3000
	if text := os.Getenv("WEFT_AGENT_PODS"); text != "" {
		var err error
		if pods, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	quiet := n.gate.down.Load()
	domain := leasestore.Unique("d")
	fill := make(chan int)
	done := make(chan error, 8)
	for range cap(done) {
		go func() {
			for i := range fill {
				node := fmt.Sprintf("elsewhere-%d", i%others)
				err := w.make(t.Context(), map[string]any{
					"apiVersion": "v1", "kind": "Pod",
					"spec":     map[string]any{"nodeName": node, "containers": []any{map[string]any{"name": "c", "image": "example.org/none"}}},
					"metadata": map[string]any{"name": fmt.Sprintf("pod-%d", i), "namespace": ns, "labels": map[string]any{"app": "web", "pod-template-hash": "6d4cf56db6"}, "annotations": map[string]any{"example.org/note": strings.Repeat("x", 500)}},
				})
				if err == nil {
					err = w.make(t.Context(), leaseOf(domain, fmt.Sprintf("10.9.%d.%d", i/250, i%250+1), node).Object)
				}
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for i := range pods {
		select {
		case fill <- i:
		case err := <-done:
			t.Fatal(err)
		}
	}
	close(fill)
	for range cap(done) {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	watching, _ := resident(t, n.cmd.Process.Pid)
	told := n.gate.down.Load() - quiet
	after, peak := restart()
	t.Logf("resident: %d KiB in a cluster of 25 pods, %d KiB while %d pods and leases were made elsewhere, %d KiB started anew among them (%s); %d bytes came from the server meanwhile", before, watching, pods, after, peak, told)
	const noise = 4 << 10 // of the runtime's, in KiB; the metadata of the pods would be more than twice that
	if after > before+noise || watching > before+noise {
		t.Errorf("the agent grows with the cluster: %d KiB, then %d and %d", before, watching, after)
	}
	if told > 256<<10 {
		t.Errorf("the server told the agent %d bytes while pods were made elsewhere", told)
	}
	if after > 64<<10 {
		t.Errorf("%d KiB resident, want at most 64 MiB", after)
	}
}

// resident is VmRSS in KiB, and the line with the peak.
func resident(t *testing.T, pid int) (rss int, peak string) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			if _, err := fmt.Sscan(rest, &rss); err != nil {
				t.Fatal(err)
			}
		}
		if strings.HasPrefix(line, "VmHWM:") {
			peak = strings.Join(strings.Fields(line), " ")
		}
	}
	return rss, peak
}

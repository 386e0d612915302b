// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package cluster proves weft's plugins on real Kubernetes nodes: kubelet,
// containerd and kube-proxy as cluster.sh starts them. The tests run beside a
// cluster that is up (make test-cluster, or cluster.sh exec); they start none.
package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// nodeSlices is what network.sh lets each node hand out.
func nodeSlices() map[string][]string {
	return map[string][]string{
		"node1": {"10.200.0.32/27", "fd00:200::1:0/112"},
		"node2": {"10.200.0.64/27", "fd00:200::2:0/112"},
	}
}

const podYAML = `
apiVersion: v1
kind: Pod
metadata: {name: NAME, labels: {app: web}}
spec:
  nodeName: NODE
  terminationGracePeriodSeconds: 0
  containers:
  - name: web
    image: weft.test/busybox:1
    imagePullPolicy: Never
    command: [httpd, -f, -p, "8080", -h, /]
    readinessProbe: {httpGet: {path: /bin/busybox, port: 8080}, periodSeconds: 1, timeoutSeconds: 3}
`

const serviceYAML = `
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ipFamilyPolicy: RequireDualStack, ports: [{port: 80, targetPort: 8080}]}
`

func TestPodsOnTheUnderlay(t *testing.T) {
	need(t)
	ips := map[string][]netip.Addr{}
	for node := range nodeSlices() {
		start(t, "web-"+node, node)
	}
	for node := range nodeSlices() {
		ips[node] = ready(t, "web-"+node)
	}
	for node, want := range nodeSlices() {
		t.Run(node, func(t *testing.T) {
			for i, ip := range ips[node] {
				if !netip.MustParsePrefix(want[i]).Contains(ip) {
					t.Errorf("pod address %s is outside the node's slice %s", ip, want[i])
				}
				// Kubelet asks the first address alone.
				output(t, "cluster.sh", append([]string{"node", node, "busybox"}, ask(ip.String(), 8080)...)...)
			}
		})
	}
	t.Run("pod to pod between nodes", func(t *testing.T) {
		for _, ip := range ips["node2"] {
			kubectl(t, append([]string{"exec", "web-node1", "--"}, ask(ip.String(), 8080)...)...)
		}
	})
	t.Run("pod to the API server's Service", func(t *testing.T) {
		for node := range nodeSlices() {
			kubectl(t, append([]string{"exec", "web-" + node, "--"}, ask("10.96.0.1", 443)...)...)
		}
	})
	t.Run("pod and node to a Service of pods", func(t *testing.T) {
		apply(t, serviceYAML)
		t.Cleanup(func() { kubectl(t, "delete", "service", "web") })
		for _, ip := range serviceIPs(t, "web") {
			// kube-proxy chooses at random: pods of this node, of the other, and the pod itself.
			for range 6 {
				answers(t, "pod to "+ip, append([]string{"kubectl", "exec", "web-node1", "--"}, ask(ip, 80)...))
				answers(t, "node to "+ip, append([]string{"cluster.sh", "node", "node1", "busybox"}, ask(ip, 80)...))
			}
		}
	})
	t.Run("delete", func(t *testing.T) {
		for node := range nodeSlices() {
			kubectl(t, "delete", "pod", "web-"+node, "--wait")
			eventually(t, "no lease of web-"+node+" is held", func() bool {
				return !slices.Contains(holders(t, node), "default/web-"+node)
			})
		}
	})
}

// ask is a busybox command that ends well when somebody listens there.
func ask(ip string, port int) []string {
	return []string{"sh", "-c", fmt.Sprintf("echo | nc -w 5 %s %d", ip, port)}
}

// TestUnderlayBesideAnOverlay gives a pod an interface of each network.
func TestUnderlayBesideAnOverlay(t *testing.T) {
	need(t)
	output(t, "cluster.sh", "network", "node2", "both")
	t.Cleanup(func() { output(t, "cluster.sh", "network", "node2", "underlay") })
	var overlay []netip.Addr
	eventually(t, "containerd reads the new conflists, a pod has both networks", func() bool {
		start(t, "both", "node2")
		overlay = ready(t, "both")
		if netip.MustParsePrefix("10.244.2.0/24").Contains(overlay[0]) {
			return true
		}
		kubectl(t, "delete", "pod", "both", "--wait")
		return false
	})
	second := strings.Fields(kubectl(t, "exec", "both", "--", "ip", "-4", "-o", "addr", "show", "eth1"))
	i := slices.Index(second, "inet") + 1
	underlay, err := netip.ParsePrefix(second[i])
	if err != nil || !netip.MustParsePrefix(nodeSlices()["node2"][0]).Contains(underlay.Addr()) {
		t.Fatalf("eth1 has %v, want an address of the underlay", second)
	}
	output(t, "cluster.sh", append([]string{"node", "node1", "busybox"}, ask(underlay.Addr().String(), 8080)...)...)
	kubectl(t, "delete", "pod", "both", "--wait")
	eventually(t, "no lease of the pod is held", func() bool { return !slices.Contains(holders(t, "node2"), "default/both") })
}

// need skips the test where no cluster is beside it.
func need(t *testing.T) {
	t.Helper()
	if os.Getenv("KUBECONFIG") != "" && os.Getenv("WEFT_CLUSTER") != "" {
		return
	}
	if slices.Contains(strings.Split(os.Getenv("WEFT_REQUIRE"), ","), "cluster") {
		t.Fatal("WEFT_REQUIRE lists cluster, and no cluster is here: run by cluster.sh exec")
	}
	t.Skip("needs a cluster: make test-cluster")
}

// start creates the pod, and says at the end what became of it if the test failed.
func start(t *testing.T, name, node string) {
	t.Helper()
	apply(t, strings.NewReplacer("NAME", name, "NODE", node).Replace(podYAML))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s", kubectl(t, "get", "events", "--field-selector", "involvedObject.name="+name))
		}
		kubectl(t, "delete", "pod", name, "--ignore-not-found", "--wait")
	})
}

func apply(t *testing.T, yaml string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "kubectl", "apply", "-f", "-")
	cmd.Stdin = strings.NewReader(yaml)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("kubectl apply: %v\n%s", err, out)
	}
}

// answers runs a command until it ends well: what a Service has just got takes
// kube-proxy a moment.
func answers(t *testing.T, what string, command []string) {
	t.Helper()
	eventually(t, what, func() bool { return exec.CommandContext(t.Context(), command[0], command[1:]...).Run() == nil })
}

func serviceIPs(t *testing.T, name string) []string {
	t.Helper()
	return strings.Fields(kubectl(t, "get", "service", name, "-o", `jsonpath={.spec.clusterIPs[*]}`))
}

// ready waits until the pod is Ready and returns its addresses, IPv4 first.
func ready(t *testing.T, name string) []netip.Addr {
	t.Helper()
	kubectl(t, "wait", "--for=condition=Ready", "--timeout=90s", "pod/"+name)
	var pod struct {
		Status struct {
			PodIPs []struct{ IP netip.Addr }
		}
	}
	if err := json.Unmarshal([]byte(kubectl(t, "get", "pod", name, "-o", "json")), &pod); err != nil {
		t.Fatal(err)
	}
	var ips []netip.Addr
	var families []int
	for _, ip := range pod.Status.PodIPs {
		ips = append(ips, ip.IP)
		families = append(families, ip.IP.BitLen())
	}
	if d := cmp.Diff([]int{32, 128}, families); d != "" {
		t.Fatalf("%s has %v, want one IPv4 and one IPv6 address (-want +got):\n%s", name, ips, d)
	}
	return ips
}

// holders are the pods that hold an address on a node.
func holders(t *testing.T, node string) []string {
	t.Helper()
	var pods []string
	for line := range strings.Lines(output(t, "cluster.sh", "node", node, "weft-ipam", "leases")) {
		if f := strings.Fields(line); len(f) > 8 && f[8] == "held" {
			pods = append(pods, f[6])
		}
	}
	return pods
}

func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return output(t, "kubectl", args...)
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	// A test's context has ended when its clean-up runs.
	out, err := exec.CommandContext(context.WithoutCancel(t.Context()), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

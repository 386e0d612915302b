// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package agent_test runs weft-agent and weft-ipam as a node does, against a
// real API server.
//
// Job: weft-agent is a process with the rights of charts/weft/rbac and the token
// of a pod on its node; weft-ipam is executed with the environment that a
// runtime gives it; a sandbox is a process with a network namespace of its own,
// and dies as one. Between the agent and the server stands a proxy that can stop.
//
// Failure model: everything is told to the test and ends with it.
package agent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/vishvananda/netlink"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/weft-cni/weft/e2e/api"
	"github.com/weft-cni/weft/e2e/leasestore"
	"github.com/weft-cni/weft/libs/nettest"
)

func TestMain(m *testing.M) { nettest.Main(m) }

const root = "../.."

// built makes the two programs once, on the tmpfs that ends with this process.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("/run", "weft-agent-bin-")
	if err != nil {
		return "", err
	}
	for from, pkg := range map[string]string{"controller": "./cmd/weft-agent", "plugins/ipam": "."} {
		name := map[string]string{"controller": "weft-agent", "plugins/ipam": "weft-ipam"}[from]
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, name), pkg)
		cmd.Dir = filepath.Join(root, from)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	return dir, nil
})

// uplink gives the test's own network namespace a default route, without which
// kube-apiserver does not start.
var uplink = sync.OnceValue(func() error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "uplink"
	link := &netlink.Bridge{LinkAttrs: attrs}
	address, err := netlink.ParseAddr("198.51.100.1/24")
	if err != nil {
		return err
	}
	if err := errors.Join(netlink.LinkAdd(link), netlink.AddrAdd(link, address), netlink.LinkSetUp(link)); err != nil {
		return fmt.Errorf("make an uplink: %w", err)
	}
	return netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: net.IP{198, 51, 100, 2}})
})

// world is the cluster.
type world struct {
	server *rest.Config
	any    *dynamic.DynamicClient
}

// installed puts the agent's rights and policy into the cluster once.
var installed sync.Map

func newWorld(t *testing.T) *world {
	t.Helper()
	if err := uplink(); err != nil {
		t.Fatal(err)
	}
	w := &world{server: api.Start(t)}
	var err error
	if w.any, err = dynamic.NewForConfig(w.server); err != nil {
		t.Fatal(err)
	}
	once, _ := installed.LoadOrStore(w.server.Host, sync.OnceValue(func() error { return w.install(context.WithoutCancel(t.Context())) }))
	if err := once.(func() error)(); err != nil {
		t.Fatal(err)
	}
	return w
}

func resource(kind string) schema.GroupVersionResource {
	group := map[string]string{
		"ClusterRole": "rbac.authorization.k8s.io", "ClusterRoleBinding": "rbac.authorization.k8s.io",
		"ValidatingAdmissionPolicy": "admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding": "admissionregistration.k8s.io",
		"IPPool": "weft.dev", "IPLease": "weft.dev", "Event": "events.k8s.io",
	}[kind]
	version := "v1"
	if group == "weft.dev" {
		version = "v1alpha1"
	}
	name := strings.ToLower(kind) + "s"
	if kind == "ValidatingAdmissionPolicy" {
		name = "validatingadmissionpolicies"
	}
	return schema.GroupVersionResource{Group: group, Version: version, Resource: name}
}

func (w *world) install(ctx context.Context) error {
	if err := w.make(ctx, map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "weft-system"}}); err != nil {
		return err
	}
	for _, file := range []string{"agent.yaml", "agent-policy.yaml"} {
		text, err := os.ReadFile(filepath.Join(root, "charts/weft/rbac", file))
		if err != nil {
			return err
		}
		dec := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
		for {
			var o map[string]any
			if err := dec.Decode(&o); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			if err := w.make(ctx, o); err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
		}
	}
	return nil
}

func (w *world) make(ctx context.Context, o map[string]any) error {
	_, err := w.create(ctx, o)
	return err
}

func (w *world) create(ctx context.Context, o map[string]any) (*unstructured.Unstructured, error) {
	u := &unstructured.Unstructured{Object: o}
	r := w.any.Resource(resource(u.GetKind()))
	opts := metav1.CreateOptions{FieldValidation: "Strict"}
	if u.GetNamespace() == "" {
		return r.Create(ctx, u, opts)
	}
	return r.Namespace(u.GetNamespace()).Create(ctx, u, opts)
}

func (w *world) must(t *testing.T, o map[string]any) *unstructured.Unstructured {
	t.Helper()
	out, err := w.create(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// pool makes an IPPool in a domain of its own.
func (w *world) pool(t *testing.T, spec map[string]any) string {
	t.Helper()
	name := leasestore.Unique("pool")
	spec["domain"] = name
	if spec["cooldown"] == nil {
		spec["cooldown"] = "0s"
	}
	w.must(t, map[string]any{"apiVersion": "weft.dev/v1alpha1", "kind": "IPPool", "metadata": map[string]any{"name": name}, "spec": spec})
	return name
}

func v4(subnet string) map[string]any {
	return map[string]any{"ipv4": map[string]any{"subnet": subnet}}
}

func (w *world) namespace(t *testing.T, annotations map[string]any) string {
	t.Helper()
	name := leasestore.Unique("ns")
	w.must(t, map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name, "annotations": annotations}})
	return name
}

// leases are those of a pool that nobody has released.
func (w *world) leases(t *testing.T, pool string) map[string]*unstructured.Unstructured {
	t.Helper()
	list, err := w.any.Resource(resource("IPLease")).List(t.Context(), metav1.ListOptions{LabelSelector: "weft.dev/pool=" + pool})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*unstructured.Unstructured{}
	for i := range list.Items {
		if list.Items[i].GetDeletionTimestamp() == nil {
			address, _, _ := unstructured.NestedString(list.Items[i].Object, "spec", "address")
			out[address] = &list.Items[i]
		}
	}
	return out
}

// until waits for something that happens by itself.
func until(t *testing.T, what string, limit time.Duration, f func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// podOn makes a pod of a node, without anybody who runs it.
func (w *world) podOn(t *testing.T, node, namespace, name, account string, annotations map[string]any) *unstructured.Unstructured {
	t.Helper()
	spec := map[string]any{"nodeName": node, "containers": []any{map[string]any{"name": "c", "image": "example.org/none"}}}
	if account != "" {
		spec["serviceAccountName"] = account
	}
	return w.must(t, map[string]any{
		"apiVersion": "v1", "kind": "Pod", "spec": spec,
		"metadata": map[string]any{"name": name, "namespace": namespace, "annotations": annotations, "labels": map[string]any{"app": name}},
	})
}

// token returns a token of the agent's account, as a pod on the node gets it.
func (w *world) token(t *testing.T, node string) string {
	t.Helper()
	pod := w.podOn(t, node, "weft-system", "agent-"+node, "weft-agent", nil)
	req := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": map[string]any{"name": "weft-agent", "namespace": "weft-system"},
		"spec": map[string]any{"audiences": []any{}, "boundObjectRef": map[string]any{"apiVersion": "v1", "kind": "Pod", "name": pod.GetName(), "uid": string(pod.GetUID())}},
	}}
	out, err := w.any.Resource(resource("ServiceAccount")).Namespace("weft-system").Create(t.Context(), req, metav1.CreateOptions{}, "token")
	if err != nil {
		t.Fatal(err)
	}
	token, _, _ := unstructured.NestedString(out.Object, "status", "token")
	if token == "" {
		t.Fatal("no token")
	}
	return token
}

// node is a node with its agent.
type node struct {
	*testing.T
	*world
	name, dir, socket, state string
	gate                     *gate
	cmd                      *exec.Cmd
	log                      *lockedBuffer
}

// newNode makes a node and starts its agent.
func (w *world) newNode(t *testing.T) *node {
	t.Helper()
	if _, err := built(); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "weft-node-") //nolint:usetesting // a socket's path has 107 characters at most
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	n := &node{
		T: t, world: w, name: leasestore.Unique("node"), dir: dir, socket: filepath.Join(dir, "agent.sock"), state: filepath.Join(dir, "state"),
		gate: newGate(t, w.server), log: &lockedBuffer{},
	}
	w.must(t, map[string]any{"apiVersion": "v1", "kind": "Node", "metadata": map[string]any{"name": n.name, "labels": map[string]any{"rack": "r7"}}})
	config := fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: %q, certificate-authority-data: %s}}]\n"+
		"users: [{name: u, user: {token: %q}}]\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n", "https://"+n.gate.address, encode(w.server.CAData), w.token(t, n.name))
	if err := os.WriteFile(filepath.Join(dir, "kubeconfig"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	n.start()
	t.Cleanup(func() {
		n.kill()
		if t.Failed() {
			t.Logf("weft-agent of %s said:\n%s", n.name, n.log.String())
		}
	})
	return n
}

// start starts the agent and waits until it is ready, if the server can be reached.
func (n *node) start() {
	n.Helper()
	bin, _ := built()
	args := []string{
		"--node", n.name, "--socket", n.socket, "--state-dir", n.state,
		"--kubeconfig", filepath.Join(n.dir, "kubeconfig"), "--sweep-interval", "1s", "--api-silence", "2s",
	}
	n.cmd = exec.Command(filepath.Join(bin, "weft-agent"), args...) //nolint:noctx // ended by kill
	n.cmd.Stdout, n.cmd.Stderr = n.log, n.log
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := n.cmd.Start(); err != nil {
		n.Fatal(err)
	}
	if n.gate.open() {
		until(n.T, "the agent is ready", 20*time.Second, func() bool { return n.exec("STATUS", sandbox{}, "").err == nil })
	}
}

func (n *node) kill() {
	if n.cmd != nil {
		_ = n.cmd.Process.Kill()
		_ = n.cmd.Wait()
		n.cmd = nil
	}
}

// sandbox is what a runtime makes for a pod.
type sandbox struct {
	id, netns string
	pod       *unstructured.Unstructured
	cmd       *exec.Cmd
}

// told makes a pod that wants the pool, and waits until the server has told the
// agent of it: about one that it does not know it asks.
func (n *node) told(namespace, name, pool string) *unstructured.Unstructured {
	n.Helper()
	before := n.gate.down.Load()
	pod := n.podOn(n.T, n.name, namespace, name, "", map[string]any{"weft.dev/pools": pool})
	until(n.T, "the agent is told of the pod", 10*time.Second, func() bool { return n.gate.down.Load() > before })
	return pod
}

func (n *node) sandbox(pod *unstructured.Unstructured) sandbox {
	n.Helper()
	cmd := exec.Command("sleep", "infinity") //nolint:noctx // ended by the test
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		n.Fatal(err)
	}
	s := sandbox{id: leasestore.Unique("sandbox"), netns: fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid), pod: pod, cmd: cmd}
	n.Cleanup(func() { s.die() })
	return s
}

func (s sandbox) die() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// answer is what weft-ipam said.
type answer struct {
	ips    []string
	err    *types.Error
	stderr string
	stdout string
	took   time.Duration
}

// exec runs weft-ipam as a runtime does. ipam are more keys, each with a comma before it.
func (n *node) exec(verb string, s sandbox, ipam string) answer {
	n.Helper()
	return n.run(n.Context(), verb, s, ipam, "")
}

func (n *node) run(ctx context.Context, verb string, s sandbox, ipam, extra string) answer {
	n.Helper()
	bin, err := built()
	if err != nil {
		n.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "weft-ipam"))
	cmd.Stdin = strings.NewReader(fmt.Sprintf(`{"cniVersion":"1.1.0","name":"lan","type":"macvlan",%s"ipam":{"type":"weft-ipam","agent":%q,"stateDir":%q%s}}`, extra, n.socket, n.state, ipam))
	args := "IgnoreUnknown=1"
	if s.pod != nil {
		args += fmt.Sprintf(";K8S_POD_NAMESPACE=%s;K8S_POD_NAME=%s;K8S_POD_UID=%s", s.pod.GetNamespace(), s.pod.GetName(), s.pod.GetUID())
	}
	cmd.Env = []string{"CNI_COMMAND=" + verb, "CNI_CONTAINERID=" + s.id, "CNI_IFNAME=eth0", "CNI_NETNS=" + s.netns, "CNI_PATH=" + bin, "CNI_ARGS=" + args}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	began := time.Now()
	err = cmd.Run()
	a := answer{took: time.Since(began), stdout: stdout.String(), stderr: stderr.String()}
	if err != nil {
		a.err = &types.Error{}
		if jsonErr := json.Unmarshal(stdout.Bytes(), a.err); jsonErr != nil {
			a.err.Msg = fmt.Sprintf("%v: %q, %q", err, a.stdout, a.stderr)
		}
		return a
	}
	var result struct {
		IPs []struct {
			Address string `json:"address"`
		} `json:"ips"`
	}
	if stdout.Len() > 0 {
		if err := json.Unmarshal(stdout.Bytes(), &result); err != nil {
			n.Errorf("result %q: %v", a.stdout, err)
		}
	}
	for _, ip := range result.IPs {
		a.ips = append(a.ips, strings.Split(ip.Address, "/")[0])
	}
	return a
}

// add attaches and returns the one address.
func (n *node) add(s sandbox, ipam string) string {
	n.Helper()
	a := n.exec("ADD", s, ipam)
	if a.err != nil || len(a.ips) != 1 {
		n.Fatalf("ADD: %v, addresses %v", a.err, a.ips)
	}
	return a.ips[0]
}

func (n *node) del(s sandbox) {
	n.Helper()
	if a := n.exec("DEL", s, ""); a.err != nil {
		n.Fatalf("DEL: %v", a.err)
	}
}

// debts counts what is written down.
func (n *node) debts() int {
	files, _ := filepath.Glob(filepath.Join(n.state, "debts", "*.json"))
	return len(files)
}

func isForbidden(err error) bool { return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) }

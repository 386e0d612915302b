// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package controller proves weft-controller on a real API server, as a process of
// its own with the rights that charts/weft/rbac gives it, and no others.
//
// The tests run one after the other: a controller works on all pools of the
// server, which they share.
//
// Failure model: everything is told to the test and ends with it; a controller
// ends when the test's process does, in whatever way.
package controller

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/weft-cni/weft/e2e/api"
	"github.com/weft-cni/weft/e2e/leasestore"
	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
)

// account is who the controller is.
const account = "system:serviceaccount:weft-system:weft-controller"

// Lab is a server with the controller's rights on it.
type Lab struct {
	Server *rest.Config
	Weft   rest.Interface
	Kube   kubernetes.Interface

	binary string
}

// program builds weft-controller once for all tests of the process.
var program = sync.OnceValues(func() (string, error) { //nolint:gochecknoglobals // once per process.
	dir, err := os.MkdirTemp("", "weft-controller")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "weft-controller")
	cmd := exec.Command("go", "build", "-trimpath", "-o", file, "./cmd/weft-controller")
	cmd.Dir = "../../controller"
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build weft-controller: %w\n%s", err, out)
	}
	return file, nil
})

// New returns the lab, with nobody elected.
func New(t testing.TB) *Lab {
	t.Helper()
	server := api.Start(t)
	binary, err := program()
	if err != nil {
		t.Fatal(err)
	}
	kube, err := kubernetes.NewForConfig(server)
	if err != nil {
		t.Fatal(err)
	}
	lab := &Lab{Server: server, Weft: leasestore.Client(t, server), Kube: kube, binary: binary}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "weft-system"}}
	if _, err := kube.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	lab.grant(t)
	err = kube.CoordinationV1().Leases("weft-system").Delete(t.Context(), "weft-controller", metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	return lab
}

// grant applies charts/weft/rbac/controller.yaml.
func (l *Lab) grant(t testing.TB) {
	t.Helper()
	text, err := os.ReadFile("../../charts/weft/rbac/controller.yaml")
	if err != nil {
		t.Fatal(err)
	}
	client, err := dynamic.NewForConfig(l.Server)
	if err != nil {
		t.Fatal(err)
	}
	dec := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for n := 0; ; n++ {
		o := &unstructured.Unstructured{}
		err := dec.Decode(&o.Object)
		if errors.Is(err, io.EOF) && n >= 7 {
			return
		}
		if err != nil {
			t.Fatalf("document %d: %v", n+1, err)
		}
		gv, err := schema.ParseGroupVersion(o.GetAPIVersion())
		if err != nil {
			t.Fatal(err)
		}
		resource := client.Resource(gv.WithResource(strings.ToLower(o.GetKind()) + "s"))
		var into dynamic.ResourceInterface = resource
		if ns := o.GetNamespace(); ns != "" {
			into = resource.Namespace(ns)
		}
		if _, err := into.Create(t.Context(), o, metav1.CreateOptions{FieldValidation: "Strict"}); err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatalf("%s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
}

// AsController is a client configuration with the controller's rights.
func (l *Lab) AsController() *rest.Config {
	c := rest.CopyConfig(l.Server)
	c.Impersonate = rest.ImpersonationConfig{UserName: account, Groups: []string{"system:serviceaccounts", "system:authenticated"}}
	return c
}

// Process is a running weft-controller.
type Process struct {
	Health string // address

	t    testing.TB
	cmd  *exec.Cmd
	log  *log
	done chan struct{}
	err  error
}

// Run starts a replica; it is killed with the test.
func (l *Lab) Run(t testing.TB, name string, flags ...string) *Process {
	t.Helper()
	p := &Process{t: t, Health: freeAddress(t), log: &log{}, done: make(chan struct{})}
	args := append([]string{
		"-kubeconfig=" + l.kubeconfig(t), "-identity=" + name, "-health=" + p.Health, "-election=3s", "-log-level=debug",
	}, flags...)
	p.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), l.binary, args...) // the cleanup ends it
	p.cmd.Stderr = p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the kernel ends the child when the thread that made it ends
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
		}
		close(p.done)
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, p.log)
		}
	})
	return p
}

// Kill ends the process at once.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

// End asks the process to end, and returns how it did.
func (p *Process) End() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // as above
	<-p.done
	return p.err
}

// Leads waits until the process leads and has seen everything.
func (p *Process) Leads(ctx context.Context) {
	p.t.Helper()
	until(ctx, p.t, "the replica leads", func() (string, bool) {
		return p.log.String(), strings.Contains(p.log.String(), "has seen everything")
	})
}

// Memory is a line of /proc/PID/status, in KiB.
func (p *Process) Memory(line string) (kib int) {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), line+":")
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		p.t.Fatal(err)
	}
	return kib
}

// Healthy is what /readyz and /healthz answer.
func (p *Process) Healthy(path string) (int, error) {
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "http://"+p.Health+path, nil)
	if err != nil {
		return 0, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}

func (l *Lab) kubeconfig(t testing.TB) string {
	t.Helper()
	c := l.AsController()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	err := clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"c": {Server: c.Host, CertificateAuthorityData: c.CAData}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"u": {ClientCertificateData: c.CertData, ClientKeyData: c.KeyData, Impersonate: c.Impersonate.UserName, ImpersonateGroups: c.Impersonate.Groups}},
		Contexts:       map[string]*clientcmdapi.Context{"x": {Cluster: "c", AuthInfo: "u"}},
		CurrentContext: "x",
	}, file)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// until waits until something is so, and tells what it was when it never is.
func until(ctx context.Context, t testing.TB, what string, is func() (string, bool)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		last, ok := is()
		if ok {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("never: %s; it was\n%s", what, last)
		}
	}
}

// Pool makes a pool, with a domain of its own unless the spec has one.
func (l *Lab) Pool(t testing.TB, spec v1alpha1.IPPoolSpec) *v1alpha1.IPPool {
	t.Helper()
	p := &v1alpha1.IPPool{ObjectMeta: metav1.ObjectMeta{Name: leasestore.Unique("pool")}, Spec: spec}
	if spec.Domain == "" {
		p.Spec.Domain = p.Name
	}
	out := &v1alpha1.IPPool{}
	if err := l.Weft.Post().Resource("ippools").Body(p).Do(t.Context()).Into(out); err != nil {
		t.Fatal(err)
	}
	return out
}

// Get reads a pool.
func (l *Lab) Get(ctx context.Context, name string) (*v1alpha1.IPPool, error) {
	out := &v1alpha1.IPPool{}
	return out, l.Weft.Get().Resource("ippools").Name(name).Do(ctx).Into(out)
}

// log keeps what a process says.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

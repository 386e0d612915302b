// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/weft-cni/weft/e2e/leasestore"
	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
	"github.com/weft-cni/weft/libs/lease"
)

// TestTheLeaderIsKilled goes on with the other replica; one that ends as asked
// hands over at once.
func TestTheLeaderIsKilled(t *testing.T) {
	lab := New(t)
	ctx := t.Context()
	one := lab.Run(t, "one")
	one.Leads(ctx)
	two := lab.Run(t, "two")
	until(ctx, t, "the other stands by", func() (string, bool) {
		ready, err := two.Healthy("/readyz")
		return fmt.Sprint(ready, err), ready == http.StatusOK && !strings.Contains(two.log.String(), "has seen everything")
	})
	killed := time.Now()
	one.Kill()
	two.Leads(ctx)
	t.Logf("killed: the other leads after %v (a Lease of 3 s)", time.Since(killed).Round(time.Millisecond))
	pool := lab.Pool(t, v4("10.0.0.0/29"))
	lab.saysUntil(ctx, t, pool.Name, "| 6 | 0 | 6")

	three := lab.Run(t, "three")
	until(ctx, t, "the third is healthy", func() (string, bool) {
		healthy, err := three.Healthy("/healthz")
		return fmt.Sprint(healthy, err), healthy == http.StatusOK
	})
	asked := time.Now()
	if err := two.End(); err != nil || !strings.Contains(two.log.String(), "ended as asked") {
		t.Errorf("asked to end, it ended with %v", err)
	}
	ended := time.Since(asked)
	three.Leads(ctx)
	took := time.Since(asked)
	t.Logf("asked to end: ended after %v, another leads after %v", ended.Round(time.Millisecond), took.Round(time.Millisecond))
	if took > 2*time.Second {
		t.Errorf("another leads %v after the leader was asked to end: the Lease was not given back", took)
	}
	lab.change(t, pool.Name, `{"spec":{"suspend":true}}`)
	lab.saysUntil(ctx, t, pool.Name, "Ready False Suspended")
}

// TestProfilesAreAsked serves profiles where asked, and nowhere else.
func TestProfilesAreAsked(t *testing.T) {
	lab := New(t)
	ctx := t.Context()
	at := freeAddress(t)
	one := lab.Run(t, "one", "-pprof="+at)
	one.Leads(ctx)
	profiles := &Process{Health: at, t: t}
	for _, c := range []struct {
		from *Process
		path string
		want int
	}{
		{profiles, "/debug/pprof/heap?debug=1", http.StatusOK},
		{profiles, "/healthz", http.StatusNotFound},
		{one, "/debug/pprof/", http.StatusNotFound},
		{one, "/healthz", http.StatusOK},
		{one, "/readyz", http.StatusOK},
	} {
		if got, err := c.from.Healthy(c.path); err != nil || got != c.want {
			t.Errorf("%s on %s: %d, %v; want %d", c.path, c.from.Health, got, err, c.want)
		}
	}
}

// TestALoserEnds takes the Lease away from a leader.
func TestALoserEnds(t *testing.T) {
	lab := New(t)
	ctx := t.Context()
	one := lab.Run(t, "one")
	one.Leads(ctx)
	stolen := []byte(`{"spec":{"holderIdentity":"somebody else","leaseDurationSeconds":60}}`)
	_, err := lab.Kube.CoordinationV1().Leases("weft-system").Patch(ctx, "weft-controller", types.MergePatchType, stolen, metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-one.done:
	case <-time.After(30 * time.Second):
		t.Fatal("it goes on")
	}
	if one.err == nil || !strings.Contains(one.log.String(), "no longer leads") {
		t.Errorf("it ended with %v", one.err)
	}
}

// TestTenThousandLeases counts what a fill of 10,000 addresses costs, and that the
// counts are right in the end.
func TestTenThousandLeases(t *testing.T) {
	lab := New(t)
	ctx := t.Context()
	one := lab.Run(t, "one")
	one.Leads(ctx)
	before := one.Memory("VmRSS")
	pool := lab.Pool(t, v4("10.0.0.0/16"))
	lab.saysUntil(ctx, t, pool.Name, "| 65534 | 0 | 65534")
	requests, began := leasestore.CountRequests(t, lab.Server), time.Now()
	const leases, workers = 10_000, 24
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for i := w; i < leases; i += workers {
				if err := lab.write(ctx, leasePool(t, pool), i); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	filled := time.Since(began)
	lab.saysUntil(ctx, t, pool.Name, "| 65534 | 10000 | 55534")
	until(ctx, t, "the hint is right", func() (string, bool) {
		h := lab.hint(ctx, pool.Name)
		return fmt.Sprint(h), h != nil && h.IPv4.Used == leases && h.IPv4.Free == "55534"
	})
	took := time.Since(began)
	after := leasestore.CountRequests(t, lab.Server)
	wrote := map[string]int{}
	for k, n := range after {
		if verb, resource, _ := strings.Cut(k, " "); (verb == "APPLY" || verb == "PATCH") && (resource == "ippools" || resource == "iphints") {
			wrote[resource] += n - requests[k]
		}
	}
	seconds := took.Seconds()
	t.Logf("%d leases in %v; status and hint are right %v later; writes per second: status %.2f, hint %.2f", leases, filled.Round(time.Millisecond),
		(took - filled).Round(time.Millisecond), float64(wrote["ippools"])/seconds, float64(wrote["iphints"])/seconds)
	t.Logf("memory: %d MiB without leases, %d MiB with, %d MiB at most", before>>10, one.Memory("VmRSS")>>10, one.Memory("VmHWM")>>10)
	if n := wrote["ippools"]; float64(n) > seconds+2 || n == 0 { // and the finalizer
		t.Errorf("the status was written %d times in %v", n, took)
	}
	if n := wrote["iphints"]; float64(n) > 4*seconds+1 || n == 0 {
		t.Errorf("the hint was written %d times in %v", n, took)
	}
	one.Kill()
	two := lab.Run(t, "two")
	two.Leads(ctx)
	t.Logf("memory of a replica that begins with them: %d MiB, %d MiB at most", two.Memory("VmRSS")>>10, two.Memory("VmHWM")>>10)
	if kib := two.Memory("VmHWM"); kib > 128<<10 {
		t.Errorf("%d KiB", kib)
	}
	lab.clear(t, pool.Name)
}

// write makes one lease of a pool.
func (l *Lab) write(ctx context.Context, pool lease.Pool, i int) error {
	a, _ := pool.IPv4.Set.At(uint64(i))
	k := lease.NewKey(pool.Domain, a)
	return l.Weft.Post().Resource("ipleases").Body(&v1alpha1.IPLease{
		ObjectMeta: metav1.ObjectMeta{Name: k.String(), Labels: map[string]string{v1alpha1.PoolLabel: pool.Name}},
		Spec: v1alpha1.IPLeaseSpec{
			Address: a.String(), Domain: k.Domain, Pool: pool.Name,
			Holder:     v1alpha1.Holder{Kind: "Pod", Namespace: "shop", Name: fmt.Sprintf("web-%d", i), UID: fmt.Sprintf("uid-%d", i)},
			Attachment: &v1alpha1.Attachment{PodNamespace: "shop", PodName: fmt.Sprintf("web-%d", i), Node: "node-1", Network: "lan", Interface: "net1", SandboxID: fmt.Sprintf("%064d", i)},
		},
	}).Do(ctx).Error()
}

func (l *Lab) clear(t testing.TB, pool string) {
	t.Helper()
	err := l.Weft.Delete().Resource("ipleases").Param("labelSelector", v1alpha1.PoolLabel+"="+pool).Do(t.Context()).Error()
	if err != nil {
		t.Error(err)
	}
}

// TestRights asks, as the controller, for what it must not have.
func TestRights(t *testing.T) {
	lab := New(t)
	client, err := dynamic.NewForConfig(lab.AsController())
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	object := func(api, kind string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"apiVersion": api, "kind": kind, "metadata": map[string]any{"name": "x"}}}
	}
	weft := func(r string) dynamic.ResourceInterface {
		return client.Resource(schema.GroupVersionResource{Group: "weft.dev", Version: "v1alpha1", Resource: r})
	}
	core := func(r, ns string) dynamic.ResourceInterface {
		x := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: r})
		if ns == "" {
			return x
		}
		return x.Namespace(ns)
	}
	elections := func(ns string) dynamic.ResourceInterface {
		return client.Resource(schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}).Namespace(ns)
	}
	del := func(r dynamic.ResourceInterface) error { return r.Delete(ctx, "x", metav1.DeleteOptions{}) }
	create := func(r dynamic.ResourceInterface, o *unstructured.Unstructured) error {
		_, err := r.Create(ctx, o, metav1.CreateOptions{})
		return err
	}
	list := func(r dynamic.ResourceInterface) error {
		_, err := r.List(ctx, metav1.ListOptions{})
		return err
	}
	patch := func(r dynamic.ResourceInterface, sub ...string) error {
		_, err := r.Patch(ctx, "x", types.MergePatchType, []byte(`{}`), metav1.PatchOptions{}, sub...)
		return err
	}
	for what, err := range map[string]error{
		"create a pool":                  create(weft("ippools"), object("weft.dev/v1alpha1", "IPPool")),
		"delete a pool":                  del(weft("ippools")),
		"create a lease":                 create(weft("ipleases"), object("weft.dev/v1alpha1", "IPLease")),
		"delete a hint":                  del(weft("iphints")),
		"list hints":                     list(weft("iphints")),
		"list pods":                      list(core("pods", "")),
		"list secrets":                   list(core("secrets", "weft-system")),
		"list configmaps":                list(core("configmaps", "")),
		"change a node":                  patch(core("nodes", "")),
		"change a node's status":         patch(core("nodes", ""), "status"),
		"delete a node":                  del(core("nodes", "")),
		"create a Lease elsewhere":       create(elections("default"), object("coordination.k8s.io/v1", "Lease")),
		"delete its Lease":               del(elections("weft-system")),
		"change another Lease of weft's": patch(elections("weft-system")),
		"list events":                    list(client.Resource(schema.GroupVersionResource{Group: "events.k8s.io", Version: "v1", Resource: "events"}).Namespace("default")),
	} {
		if !apierrors.IsForbidden(err) {
			t.Errorf("%s: got %v, want it forbidden", what, err)
		}
	}
	for what, err := range map[string]error{ // the client works
		"list pools":  list(weft("ippools")),
		"list leases": list(weft("ipleases")),
		"list nodes":  list(core("nodes", "")),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

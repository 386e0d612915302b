// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weft-cni/weft/e2e/leasestore"
	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
	"github.com/weft-cni/weft/libs/lease"
)

func (l *Lab) node(ctx context.Context, t testing.TB, ready bool) *corev1.Node {
	t.Helper()
	n, err := l.Kube.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: leasestore.Unique("node")}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	status := corev1.ConditionFalse
	if ready {
		status = corev1.ConditionTrue
	}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: status}}
	if n, err = l.Kube.CoreV1().Nodes().UpdateStatus(ctx, n, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	return n
}

func (l *Lab) fence(ctx context.Context, t testing.TB, n *corev1.Node) {
	t.Helper()
	n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: corev1.TaintNodeOutOfService, Value: "off", Effect: corev1.TaintEffectNoExecute})
	if _, err := l.Kube.CoreV1().Nodes().Update(ctx, n, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// claim makes a claim on a node: of a pod, or kept for an IPClaim.
func (l *Lab) claim(t testing.TB, pool lease.Pool, node, pod string, keep bool) lease.Key {
	t.Helper()
	r := leasestore.Request(pod, pool)
	if keep {
		r.Holder = lease.Holder{Kind: "IPClaim", Namespace: "shop", Name: "pod." + pod + ".net1", UID: "set-1"}
	}
	n := leasestore.NewNode(t, l.Server, node)
	if err := n.Store.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	g, err := n.Engine.Assign(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return lease.NewKey(pool.Domain, g.Addrs[0])
}

// states is what became of the leases of a pool, by address.
func (l *Lab) states(ctx context.Context, t testing.TB, pool string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, x := range leasestore.Leases(ctx, t, l.Weft, pool) {
		state := "idle"
		if x.Spec.Attachment != nil {
			state = "used on " + x.Spec.Attachment.Node
		}
		if x.DeletionTimestamp != nil {
			state = "rests"
		}
		out[x.Name] = state
	}
	return out
}

// TestNodes frees what was on nodes that are gone or fenced, and nothing else.
func TestNodes(t *testing.T) {
	lab := New(t)
	ctx := t.Context()
	const apart = 3 * time.Second
	spec := v4("10.0.0.0/24")
	spec.Cooldown = &metav1.Duration{Duration: time.Hour}
	pool := leasePool(t, lab.Pool(t, spec))
	there, fenced, wrongly, gone, back := lab.node(ctx, t, true), lab.node(ctx, t, false), lab.node(ctx, t, true), lab.node(ctx, t, true), lab.node(ctx, t, true)
	want := map[string]string{
		lab.claim(t, pool, there.Name, "there", false).String():     "used on " + there.Name,
		lab.claim(t, pool, wrongly.Name, "wrongly", false).String(): "used on " + wrongly.Name,
		lab.claim(t, pool, back.Name, "back", false).String():       "used on " + back.Name,
		lab.claim(t, pool, gone.Name, "gone", false).String():       "used on " + gone.Name,
		lab.claim(t, pool, gone.Name, "kept", true).String():        "used on " + gone.Name,
		lab.claim(t, pool, fenced.Name, "fenced", false).String():   "used on " + fenced.Name,
	}
	lab.Run(t, "one", "-node-gone-after="+apart.String()).Leads(ctx)
	lab.become(ctx, t, pool.Name, want)

	for _, n := range []*corev1.Node{gone, back} {
		if err := lab.Kube.CoreV1().Nodes().Delete(ctx, n.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	deleted := time.Now()
	lab.fence(ctx, t, fenced)
	lab.fence(ctx, t, wrongly) // the node is ready: whoever set the taint is wrong
	again := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: back.Name}}
	if _, err := lab.Kube.CoreV1().Nodes().Create(ctx, again, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for k, state := range want {
		if state == "used on "+fenced.Name {
			want[k] = "rests"
		}
	}
	lab.become(ctx, t, pool.Name, want)
	if took := time.Since(deleted); took > apart {
		t.Fatalf("a fenced node took %v: the test proves nothing about the others", took)
	}
	for _, x := range leasestore.Leases(ctx, t, lab.Weft, pool.Name) {
		switch {
		case x.Spec.Attachment == nil || x.Spec.Attachment.Node != gone.Name:
		case x.Spec.Holder.Kind == "IPClaim":
			want[x.Name] = "idle"
		default:
			want[x.Name] = "rests"
		}
	}
	lab.become(ctx, t, pool.Name, want)
	if took := time.Since(deleted); took < apart {
		t.Errorf("the node was given up after %v, want %v at least", took, apart)
	}
	for _, x := range leasestore.Leases(ctx, t, lab.Weft, pool.Name) {
		if _, ok := x.Labels[v1alpha1.NodeLabel]; ok && want[x.Name] == "idle" {
			t.Errorf("%s is idle and labelled with a node", x.Name)
		}
	}
}

func (l *Lab) become(ctx context.Context, t testing.TB, pool string, want map[string]string) {
	t.Helper()
	until(ctx, t, fmt.Sprintf("the leases are %v", want), func() (string, bool) {
		got := l.states(ctx, t, pool)
		return fmt.Sprint(got), fmt.Sprint(got) == fmt.Sprint(want)
	})
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package fence_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weft-cni/weft/controller/internal/fence"
	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
)

// world is a cluster of a few maps.
type world struct {
	t      *testing.T
	mu     sync.Mutex
	nodes  map[string]*corev1.Node
	leases map[string]*v1alpha1.IPLease // by name; all on the node "gone"
	freed  []string
	down   bool // the API server
	blind  bool // the watch of nodes
	races  int  // releases that come too late
	looks  int
}

func (w *world) Node(_ context.Context, name string) (*corev1.Node, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks++
	if w.down {
		return nil, errors.New("no answer")
	}
	return w.nodes[name], nil
}

func (w *world) Release(_ context.Context, l *v1alpha1.IPLease) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.races > 0 {
		w.races--
		return apierrors.NewConflict(schema.GroupResource{Resource: "ipleases"}, l.Name, errors.New("changed"))
	}
	w.freed = append(w.freed, l.Name)
	slices.Sort(w.freed)
	delete(w.leases, l.Name)
	return nil
}

func (w *world) on(node string) (out []*v1alpha1.IPLease) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.leases {
		if l.Spec.Attachment.Node == node {
			out = append(out, l)
		}
	}
	return out
}

func (w *world) put(name string, generation int64) *v1alpha1.IPLease {
	l := &v1alpha1.IPLease{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-" + name), Generation: generation}}
	l.Spec.Attachment = &v1alpha1.Attachment{Node: "gone"}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.leases[name] = l
	return l
}

func (w *world) set(n *corev1.Node) *corev1.Node {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes["gone"] = n
	return n
}

func node(ready corev1.ConditionStatus, taints ...string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "gone"}}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeDiskPressure, Status: corev1.ConditionTrue}, {Type: corev1.NodeReady, Status: ready}}
	for _, t := range taints {
		n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: t})
	}
	return n
}

// play runs a story against a reconciler that looks again after five minutes.
func play(t *testing.T, story func(w *world, r *fence.Reconciler)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, nodes: map[string]*corev1.Node{}, leases: map[string]*v1alpha1.IPLease{}}
		r := fence.New(&fence.Reconciler{
			Cluster: w, Leases: w.on, Apart: 5 * time.Minute, Now: time.Now, Log: slog.New(slog.DiscardHandler),
			Seen: func(name string) *corev1.Node {
				w.mu.Lock()
				defer w.mu.Unlock()
				if w.blind {
					return nil
				}
				return w.nodes[name]
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { r.Run(ctx) })
		story(w, r)
		cancel()
		all.Wait()
	})
}

func (w *world) wantFreed(after time.Duration, want ...string) {
	w.t.Helper()
	time.Sleep(after) //nolint:forbidigo // the clock of a synctest bubble.
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if d := cmp.Diff(want, w.freed); d != "" {
		w.t.Error(d)
	}
}

func TestAbsent(t *testing.T) {
	t.Parallel()
	play(t, func(w *world, r *fence.Reconciler) {
		r.See(w.put("a", 1))
		w.wantFreed(4*time.Minute + 59*time.Second)
		w.wantFreed(2*time.Second, "a")
		if w.looks != 2 {
			t.Errorf("%d looks, want 2", w.looks)
		}
	})
}

func TestBackBeforeTheSecondLook(t *testing.T) {
	t.Parallel()
	play(t, func(w *world, r *fence.Reconciler) {
		r.See(w.put("a", 1))
		w.wantFreed(3 * time.Minute)
		r.SeeNode(w.set(node(corev1.ConditionTrue)))
		w.wantFreed(time.Minute)
		w.set(nil)
		r.Missed("gone")
		w.wantFreed(4 * time.Minute) // five from the first, which does not count any more
		w.wantFreed(2*time.Minute, "a")
	})
}

func TestThereOnTheSecondLook(t *testing.T) {
	t.Parallel()
	play(t, func(w *world, r *fence.Reconciler) {
		r.See(w.put("a", 1))
		w.wantFreed(time.Minute)
		w.mu.Lock()
		w.blind = true
		w.mu.Unlock()
		w.set(node(corev1.ConditionFalse)) // and no watch says so
		w.wantFreed(time.Hour)
		if w.looks != 2 {
			t.Errorf("%d looks, want 2", w.looks)
		}
		w.set(nil)
		r.Missed("gone") // five minutes from here, not from before
		w.wantFreed(4 * time.Minute)
		w.wantFreed(2*time.Minute, "a")
	})
}

// TestNothingToAsk has a node deleted and made again before anybody looked.
func TestNothingToAsk(t *testing.T) {
	t.Parallel()
	play(t, func(w *world, r *fence.Reconciler) {
		w.put("a", 1)
		w.set(node(corev1.ConditionTrue))
		r.Missed("gone")
		w.wantFreed(time.Hour)
		if w.looks != 0 {
			t.Errorf("%d looks for a node that is there", w.looks)
		}
	})
}

func TestTakenSince(t *testing.T) {
	t.Parallel()
	play(t, func(w *world, r *fence.Reconciler) {
		r.See(w.put("a", 1))
		r.See(w.put("b", 1))
		w.wantFreed(time.Minute)
		r.See(w.put("b", 2)) // another sandbox took it over
		r.See(w.put("c", 1))
		w.wantFreed(5*time.Minute, "a")
		w.wantFreed(5*time.Minute, "a", "b", "c")
	})
}

func TestNoAnswer(t *testing.T) {
	t.Parallel()
	play(t, func(w *world, r *fence.Reconciler) {
		r.See(w.put("a", 1))
		w.wantFreed(time.Minute)
		w.mu.Lock()
		w.down = true
		w.mu.Unlock()
		w.wantFreed(time.Hour)
		w.mu.Lock()
		w.down = false
		w.mu.Unlock()
		w.wantFreed(2*time.Minute, "a")
	})
}

func TestFenced(t *testing.T) {
	t.Parallel()
	const outOfService = "node.kubernetes.io/out-of-service"
	for name, c := range map[string]struct {
		node *corev1.Node
		want []string
	}{
		"not ready":         {node(corev1.ConditionFalse, "other", outOfService), []string{"a"}},
		"unknown":           {node(corev1.ConditionUnknown, outOfService), []string{"a"}},
		"ready":             {node(corev1.ConditionTrue, outOfService), nil},
		"another taint":     {node(corev1.ConditionFalse, "node.kubernetes.io/unreachable"), nil},
		"only not ready":    {node(corev1.ConditionFalse), nil},
		"ready, untouched ": {node(corev1.ConditionTrue), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			play(t, func(w *world, r *fence.Reconciler) {
				w.set(c.node)
				r.See(w.put("a", 1))
				r.SeeNode(c.node)
				w.wantFreed(time.Hour, c.want...)
			})
		})
	}
}

// TestTakenAfterTheFence leaves alone what a fenced node claims: it is not off.
func TestTakenAfterTheFence(t *testing.T) {
	t.Parallel()
	play(t, func(w *world, r *fence.Reconciler) {
		off := w.set(node(corev1.ConditionFalse, "node.kubernetes.io/out-of-service"))
		w.put("a", 1)
		w.mu.Lock()
		w.races = 1
		w.mu.Unlock()
		r.SeeNode(off)
		w.wantFreed(time.Minute)
		w.put("b", 1)
		r.SeeNode(off)
		w.wantFreed(time.Minute, "a")
		r.SeeNode(off)
		w.wantFreed(time.Hour, "a")
		r.SeeNode(w.set(node(corev1.ConditionTrue))) // back, and off again
		synctest.Wait()
		r.SeeNode(w.set(off))
		w.wantFreed(time.Minute, "a", "b")
	})
}

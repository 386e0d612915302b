// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package fence frees the addresses of nodes that are proven to be gone.
//
// Job: what is on a node, its agent frees. Where there is no node any more, it is
// done here, on one of two proofs:
//
//   - the node is absent: the API server itself, not a cache, has said so twice,
//     at least five minutes apart, and nobody has seen the node in between;
//   - the node is fenced: it is not ready, and carries the taint
//     node.kubernetes.io/out-of-service, by which an administrator or the cloud
//     says that it is off. That is what makes Kubernetes give up on its pods, too.
//
// Freed is only what was in use when the first proof was seen: an address taken
// since then, by a node that came back for a moment, needs a proof of its own.
// A freed address rests as its lease says. One that is kept for an IPClaim stays
// with the claim and is idle.
//
// A node that exists under the name of one that is gone is a node that exists: its
// agent knows that another boot took the address, and frees it.
//
// Non-goals: pods that are gone from nodes that are there (the node's agent).
//
// Failure model: without an answer there is no proof. Observations are forgotten by
// a restart, which only makes it take longer.
package fence

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weft-cni/weft/controller/internal/cluster"
	"github.com/weft-cni/weft/controller/internal/work"
	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
)

// Cluster is what is asked and told.
type Cluster interface {
	// Node asks the server; nil without an error is: there is none.
	Node(ctx context.Context, name string) (*corev1.Node, error)
	Release(ctx context.Context, l *v1alpha1.IPLease) error
}

// Reconciler frees addresses. Make it with New.
type Reconciler struct {
	Cluster Cluster
	// Leases returns the leases in use on a node, as last seen.
	Leases func(node string) []*v1alpha1.IPLease
	// Seen returns a node as it was last seen, or nil.
	Seen func(node string) *corev1.Node
	// Apart is how long two observations of an absent node are apart.
	Apart time.Duration
	Now   func() time.Time
	Log   *slog.Logger

	queue work.Queue[string]

	mu     sync.Mutex
	absent map[string]*observation
	fenced map[string]*observation
}

// observation is a proof, and what was in use when it was seen: the generation
// of each lease.
type observation struct {
	at  time.Time
	use map[types.UID]int64
}

// New returns a reconciler that does nothing yet.
func New(r *Reconciler) *Reconciler {
	r.queue = work.NewQueue[string]()
	r.absent, r.fenced = map[string]*observation{}, map[string]*observation{}
	return r
}

// See is told of every lease, new or changed.
func (r *Reconciler) See(l *v1alpha1.IPLease) {
	if n := cluster.NodeOf(l); n != "" && l.DeletionTimestamp == nil && r.Seen(n) == nil {
		r.queue.Add(n)
	}
}

// SeeNode is told of every node, new or changed.
func (r *Reconciler) SeeNode(n *corev1.Node) {
	r.mu.Lock()
	delete(r.absent, n.Name)
	fenced := r.fenced[n.Name] != nil
	r.mu.Unlock()
	if fenced || isFenced(n) {
		r.queue.Add(n.Name)
	}
}

// Missed is told the name of every node that was deleted.
func (r *Reconciler) Missed(node string) { r.queue.Add(node) }

// Run works until the context ends.
func (r *Reconciler) Run(ctx context.Context) { work.Run(ctx, r.queue, 1, r.Log, r.look) }

// look asks the server about a node, and frees what is proven to be free.
func (r *Reconciler) look(ctx context.Context, node string) (time.Duration, error) {
	leases := r.Leases(node)
	if len(leases) == 0 {
		r.observe(r.absent, node, nil)
		r.observe(r.fenced, node, nil)
		return 0, nil
	}
	if n := r.Seen(node); n != nil && !isFenced(n) {
		r.observe(r.absent, node, nil)
		r.observe(r.fenced, node, nil)
		return 0, nil // not worth a request: its end will be seen
	}
	n, err := r.Cluster.Node(ctx, node)
	if err != nil {
		return 0, err
	}
	switch {
	case n == nil:
		r.observe(r.fenced, node, nil)
		return r.missing(ctx, node, leases)
	case isFenced(n):
		r.observe(r.absent, node, nil)
		o := r.observe(r.fenced, node, leases)
		return 0, r.free(ctx, node, "it is fenced: not ready, and tainted "+cluster.Fenced, o, leases)
	}
	r.observe(r.absent, node, nil)
	r.observe(r.fenced, node, nil)
	return 0, nil
}

// missing handles one answer of the server that there is no such node.
func (r *Reconciler) missing(ctx context.Context, node string, leases []*v1alpha1.IPLease) (time.Duration, error) {
	o := r.observe(r.absent, node, leases)
	if wait := r.Apart - r.Now().Sub(o.at); wait > 0 {
		return wait, nil
	}
	if err := r.free(ctx, node, fmt.Sprintf("it is absent since %s at least", o.at.UTC().Format(time.RFC3339)), o, leases); err != nil {
		return 0, err
	}
	r.observe(r.absent, node, nil)
	for _, l := range leases {
		if !o.has(l) { // taken since: from the beginning
			r.observe(r.absent, node, leases)
			return r.Apart, nil
		}
	}
	return 0, nil
}

// observe returns the first observation of a node, which this one may be. No
// leases ends it.
func (r *Reconciler) observe(all map[string]*observation, node string, leases []*v1alpha1.IPLease) *observation {
	r.mu.Lock()
	defer r.mu.Unlock()
	if leases == nil {
		delete(all, node)
		return nil
	}
	if all[node] == nil {
		o := &observation{at: r.Now(), use: map[types.UID]int64{}}
		for _, l := range leases {
			o.use[l.UID] = l.Generation
		}
		all[node] = o
	}
	return all[node]
}

func (o *observation) has(l *v1alpha1.IPLease) bool {
	g, ok := o.use[l.UID]
	return ok && g == l.Generation
}

func (r *Reconciler) free(ctx context.Context, node, why string, o *observation, leases []*v1alpha1.IPLease) error {
	var errs []error
	n := 0
	for _, l := range leases {
		if !o.has(l) {
			continue
		}
		err := r.Cluster.Release(ctx, l)
		switch {
		case cluster.Gone(err): // its change will be seen
		case err != nil:
			errs = append(errs, fmt.Errorf("release %s: %w", l.Name, err))
		default:
			n++
		}
	}
	if n > 0 {
		r.Log.Info("released the addresses of a node", slog.String("node", node), slog.Int("addresses", n), slog.String("why", why))
	}
	return errors.Join(errs...)
}

// isFenced says what pod garbage collection says before it deletes the pods of
// a node by force.
func isFenced(n *corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
			return false
		}
	}
	for _, t := range n.Spec.Taints {
		if t.Key == cluster.Fenced {
			return true
		}
	}
	return false
}

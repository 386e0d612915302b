// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package cooldown ends the rests of released addresses.
//
// Job: a released lease stays, because of the finalizer weft.dev/cooldown, until
// its rest is over: spec.cooldown after the server's deletionTimestamp. Then the
// finalizer goes, and with it the lease. Each lease has a timer of its own;
// nothing is asked for in between. The times are in the objects, so a restart
// forgets nothing.
//
// Failure model: what goes wrong is tried again; an address rests longer then,
// never shorter. A lease that has changed since it was read is left alone until
// its change has been seen.
package cooldown

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/weft-cni/weft/controller/internal/cluster"
	"github.com/weft-cni/weft/controller/internal/work"
	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
)

// Writer ends rests.
type Writer interface {
	Lift(ctx context.Context, l *v1alpha1.IPLease) error
}

// Reconciler ends rests. Make it with New.
type Reconciler struct {
	// Lease returns a lease as it was last seen, or nil.
	Lease func(name string) *v1alpha1.IPLease
	Write Writer
	Now   func() time.Time
	Log   *slog.Logger

	queue work.Queue[string]
}

// New returns a reconciler that does nothing yet.
func New(r *Reconciler) *Reconciler {
	r.queue = work.NewQueue[string]()
	return r
}

// See is told of every lease, new or changed.
func (r *Reconciler) See(l *v1alpha1.IPLease) {
	if rests(l) {
		r.queue.AddAfter(l.Name, until(l).Sub(r.Now()))
	}
}

// Run works until the context ends.
func (r *Reconciler) Run(ctx context.Context, workers int) {
	work.Run(ctx, r.queue, workers, r.Log, r.end)
}

func (r *Reconciler) end(ctx context.Context, name string) (time.Duration, error) {
	l := r.Lease(name)
	if l == nil || !rests(l) {
		return 0, nil
	}
	if wait := until(l).Sub(r.Now()); wait > 0 {
		return wait, nil
	}
	err := r.Write.Lift(ctx, l)
	if cluster.Gone(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("end the rest of %s: %w", name, err)
	}
	r.Log.Debug("ended a rest", slog.String("lease", name), slog.Float64("late_seconds", r.Now().Sub(until(l)).Seconds()))
	return 0, nil
}

func rests(l *v1alpha1.IPLease) bool {
	return l.DeletionTimestamp != nil && slices.Contains(l.Finalizers, v1alpha1.CooldownFinalizer)
}

func until(l *v1alpha1.IPLease) time.Time {
	t := l.DeletionTimestamp.Time
	if c := l.Spec.Cooldown; c != nil {
		t = t.Add(c.Duration)
	}
	return t
}

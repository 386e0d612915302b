// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package pools keeps what can be read of a pool up to date: its status, its
// IPHint, the events about it, and a deleted pool itself while addresses of it are
// held.
//
// Job: whatever changes, Touch is told the pools that it changes something for.
// Of a pool the hint is written four times a second at most and the status once,
// however much changes; nothing is written when nothing has changed.
//
// A pool from which somebody has an address has the finalizer weft.dev/in-use, so
// that deleting it stops new claims and is otherwise put off until the last
// address is released: nobody uses an address of which no pool can be seen.
//
// Failure model: what goes wrong is tried again, later each time. A status or a
// hint that is not written is old; nobody decides by either.
package pools

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weft-cni/weft/controller/internal/census"
	"github.com/weft-cni/weft/controller/internal/cluster"
	"github.com/weft-cni/weft/controller/internal/work"
	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
)

// InUse is the finalizer of a pool from which somebody has an address.
const InUse = v1alpha1.Group + "/in-use"

const (
	// hintEvery and statusEvery are how often each is written at most.
	hintEvery   = 250 * time.Millisecond
	statusEvery = time.Second
	// seenWithin is how long what was written may take to be seen in the watch.
	seenWithin = 5 * time.Second
	// againAfter is when a hint is written though nothing has changed: somebody
	// may have removed it.
	againAfter = 10 * time.Minute
	// quiet is how long the same event about the same pool is not repeated.
	quiet = 10 * time.Minute
)

// Writer is what is written.
type Writer interface {
	ApplyStatus(ctx context.Context, p *v1alpha1.IPPool, s v1alpha1.IPPoolStatus) error
	ApplyHint(ctx context.Context, p *v1alpha1.IPPool, h *v1alpha1.IPHint) error
	SetFinalizers(ctx context.Context, p *v1alpha1.IPPool, finalizers []string) error
	Tell(ctx context.Context, e cluster.Event) error
}

// Reconciler keeps pools up to date. Make it with New.
type Reconciler struct {
	Book  *census.Book
	Write Writer
	// Pool returns a pool as it was last seen, or nil; Nodes the names of all nodes.
	Pool     func(name string) *v1alpha1.IPPool
	Nodes    func() []string
	Now      func() time.Time
	Instance string // names this replica in events
	Log      *slog.Logger

	queue work.Queue[key]

	mu    sync.Mutex
	known map[string]*known
}

// what is kept up to date.
type what string

const (
	hints  what = "hint"
	status what = "status"
)

type key struct {
	What what
	Pool string
}

// known is what was written of a pool.
type known struct {
	uid    types.UID
	wrote  map[what]time.Time
	hint   [sha256.Size]byte
	status v1alpha1.IPPoolStatus
	told   map[string]time.Time // events by reason
}

// New returns a reconciler that does nothing yet.
func New(r *Reconciler) *Reconciler {
	r.queue = work.NewQueue[key]()
	r.known = map[string]*known{}
	return r
}

// Touch is told for which pools something has changed.
func (r *Reconciler) Touch(pools ...string) {
	for _, p := range pools {
		for _, w := range []what{hints, status} {
			r.queue.AddAfter(key{w, p}, r.wait(p, w))
		}
	}
}

// Run works until the context ends.
func (r *Reconciler) Run(ctx context.Context, workers int) {
	work.Run(ctx, r.queue, workers, r.Log, r.write)
}

// wait is how long something cannot be written because it just was.
func (r *Reconciler) wait(pool string, w what) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.known[pool]
	if k == nil || k.wrote[w].IsZero() {
		return 0
	}
	every := statusEvery
	if w == hints {
		every = hintEvery
	}
	return every - r.Now().Sub(k.wrote[w])
}

func (r *Reconciler) write(ctx context.Context, k key) (time.Duration, error) {
	p := r.Pool(k.Pool)
	if p == nil {
		r.mu.Lock()
		delete(r.known, k.Pool)
		r.mu.Unlock()
		return 0, nil
	}
	if wait := r.wait(k.Pool, k.What); wait > 0 {
		return wait, nil
	}
	was := r.of(p)
	f := r.writeStatus
	if k.What == hints {
		f = r.writeHint
	}
	again, err := f(ctx, p, was)
	if cluster.Gone(err) {
		// Somebody was faster. If there is a change it will be seen; if the
		// server knows of one that the watch has not told, soon.
		return seenWithin, nil
	}
	return again, err
}

// of returns what was written of a pool: by this process, else what can be read of it.
func (r *Reconciler) of(p *v1alpha1.IPPool) *known {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.known[p.Name]
	if k == nil || k.uid != p.UID {
		k = &known{uid: p.UID, wrote: map[what]time.Time{}, status: p.Status, told: map[string]time.Time{}}
		r.known[p.Name] = k
	}
	return k
}

// age is how long ago something was written; for ever when it never was.
func (r *Reconciler) age(k *known, w what) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.Now().Sub(k.wrote[w])
}

func (r *Reconciler) done(k *known, w what) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k.wrote[w] = r.Now()
}

func (r *Reconciler) writeHint(ctx context.Context, p *v1alpha1.IPPool, was *known) (time.Duration, error) {
	h := r.Book.Hint(p.Name, r.Nodes(), r.Now())
	if h == nil {
		return 0, nil
	}
	made := h.Made
	h.Made = metav1.MicroTime{}
	text, err := json.Marshal(h)
	if err != nil {
		return 0, fmt.Errorf("write the hint of %s as JSON: %w", p.Name, err)
	}
	sum := sha256.Sum256(text)
	if age := r.age(was, hints); sum == was.hint && age < againAfter {
		return againAfter - age, nil
	}
	h.Made = made
	if err := r.Write.ApplyHint(ctx, p, h); err != nil {
		return 0, fmt.Errorf("write the hint of %s: %w", p.Name, err)
	}
	r.done(was, hints)
	was.hint = sum
	return againAfter, nil
}

func (r *Reconciler) writeStatus(ctx context.Context, p *v1alpha1.IPPool, was *known) (time.Duration, error) {
	if err := r.keepWhileUsed(ctx, p); err != nil {
		return 0, fmt.Errorf("change the finalizers of %s: %w", p.Name, err)
	}
	now := r.Now()
	s, ok := r.Book.Status(p.Name, was.status.Conditions, metav1.NewTime(now.Truncate(time.Second)))
	if !ok || equality.Semantic.DeepEqual(s, p.Status) {
		return 0, nil
	}
	if age := r.age(was, status); age < seenWithin && equality.Semantic.DeepEqual(s, was.status) {
		return seenWithin - age, nil
	}
	if err := r.Write.ApplyStatus(ctx, p, s); err != nil {
		return 0, fmt.Errorf("write the status of %s: %w", p.Name, err)
	}
	r.done(was, status)
	before := was.status.Conditions
	was.status = s
	r.tell(ctx, p, was, before)
	return 0, nil
}

// keepWhileUsed gives a pool its finalizer, and takes it away.
func (r *Reconciler) keepWhileUsed(ctx context.Context, p *v1alpha1.IPPool) error {
	has, used := slices.Contains(p.Finalizers, InUse), r.Book.Leases(p.Name) > 0
	switch {
	case p.DeletionTimestamp == nil && used && !has:
		return r.Write.SetFinalizers(ctx, p, append(slices.Clone(p.Finalizers), InUse))
	case p.DeletionTimestamp != nil && !used && has:
		rest := slices.DeleteFunc(slices.Clone(p.Finalizers), func(f string) bool { return f == InUse })
		return r.Write.SetFinalizers(ctx, p, rest)
	}
	return nil
}

// tell writes events about conditions that have turned. An event that cannot be
// written is lost: the condition says the same.
func (r *Reconciler) tell(ctx context.Context, p *v1alpha1.IPPool, was *known, before []metav1.Condition) {
	for _, c := range was.status.Conditions {
		reason, warning := turned(meta.FindStatusCondition(before, c.Type), c)
		now := r.Now()
		if last, ok := was.told[reason]; reason == "" || ok && now.Sub(last) < quiet {
			continue
		}
		was.told[reason] = now
		err := r.Write.Tell(ctx, cluster.Event{Pool: p, Warning: warning, Reason: reason, Action: "Count", Note: c.Message, At: now, By: r.Instance})
		if err != nil {
			r.Log.Warn("lost an event", slog.String("pool", p.Name), slog.String("reason", reason), slog.Any("err", err))
		}
	}
}

// turned returns the reason of the event that a condition calls for, or "".
func turned(old *metav1.Condition, c metav1.Condition) (reason string, warning bool) {
	is, was := c.Status == metav1.ConditionTrue, old != nil && old.Status == metav1.ConditionTrue
	switch {
	case is == was:
	case c.Type == census.Exhausted && is:
		return "Exhausted", true
	case c.Type == census.Exhausted:
		return "NoLongerExhausted", false
	case c.Type == census.Overlaps && is:
		return "Overlaps", true
	case c.Type == census.Overlaps:
		return "NoLongerOverlaps", false
	}
	return "", false
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package pools_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/weft-cni/weft/controller/internal/census"
	"github.com/weft-cni/weft/controller/internal/cluster"
	"github.com/weft-cni/weft/controller/internal/pools"
	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
	"github.com/weft-cni/weft/libs/lease"
)

// server has one pool, and counts what is written.
type server struct {
	mu         sync.Mutex
	pool       *v1alpha1.IPPool // as watched
	blind      bool             // the watch does not tell what is written
	statuses   int
	hints      int
	finalizers []string // last written
	events     []string
	used       string // as last written
	free       string // of the hint
	fail       error
}

func (s *server) ApplyStatus(_ context.Context, _ *v1alpha1.IPPool, st v1alpha1.IPPoolStatus) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.statuses++
	if s.fail != nil {
		return s.fail
	}
	s.used = st.Used
	if !s.blind {
		s.pool = s.pool.DeepCopy()
		s.pool.Status = st
	}
	return nil
}

func (s *server) ApplyHint(_ context.Context, _ *v1alpha1.IPPool, h *v1alpha1.IPHint) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hints++
	if s.fail != nil {
		return s.fail
	}
	s.free = h.IPv4.Free
	return nil
}

func (s *server) SetFinalizers(_ context.Context, _ *v1alpha1.IPPool, f []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finalizers = f
	s.pool = s.pool.DeepCopy()
	s.pool.Finalizers = f
	return nil
}

func (s *server) Tell(_ context.Context, e cluster.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e.Reason)
	return nil
}

type lab struct {
	*server

	t    *testing.T
	book *census.Book
	r    *pools.Reconciler
}

func play(t *testing.T, story func(l *lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &v1alpha1.IPPool{ObjectMeta: metav1.ObjectMeta{Name: "blue", UID: "uid", Generation: 1, Finalizers: []string{"other"}}}
		p.Spec.IPv4 = &v1alpha1.AddressRange{Subnet: "192.0.2.0/28"}
		l := &lab{server: &server{pool: p}, t: t, book: census.New()}
		l.r = pools.New(&pools.Reconciler{
			Book: l.book, Write: l.server, Nodes: func() []string { return nil }, Now: time.Now, Log: slog.New(slog.DiscardHandler),
			Pool: func(string) *v1alpha1.IPPool {
				l.mu.Lock()
				defer l.mu.Unlock()
				return l.pool
			},
		})
		l.r.Touch(l.book.PutPool(p)...)
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { l.r.Run(ctx, 2) })
		story(l)
		cancel()
		all.Wait()
	})
}

func (l *lab) after(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // the clock of a synctest bubble.
	synctest.Wait()
}

func key(i int) lease.Key { return lease.NewKey("", netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})) }

func (l *lab) take(i int) {
	l.r.Touch(l.book.Put(census.Lease{Key: key(i), Pool: "blue", State: census.Claimed})...)
}

func (l *lab) give(i int) { l.r.Touch(l.book.Remove(key(i))...) }

func (l *lab) want(statuses, hints int, used, free string) {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	got := fmt.Sprintf("%d statuses, %d hints, used %s, free %s", l.statuses, l.hints, l.used, l.free)
	if d := cmp.Diff(fmt.Sprintf("%d statuses, %d hints, used %s, free %s", statuses, hints, used, free), got); d != "" {
		l.t.Error(d)
	}
}

// TestFewWrites changes a pool a hundred times a second for ten seconds.
func TestFewWrites(t *testing.T) {
	t.Parallel()
	play(t, func(l *lab) {
		l.after(time.Millisecond)
		l.want(1, 1, "0", "14")
		for i := range 1000 {
			if i%2 == 0 {
				l.take(1)
			} else {
				l.give(1)
			}
			l.after(10 * time.Millisecond)
		}
		l.take(1)
		l.take(2)
		l.after(time.Minute)
		l.want(12, 42, "2", "12") // ten seconds at one and at four a second, the first and the last
		l.after(time.Minute)
		l.want(12, 42, "2", "12") // nothing changes, nothing is written
		l.after(10 * time.Minute)
		l.want(12, 43, "2", "12") // but a hint, in case somebody removed it
	})
}

// TestABlindWatch writes once, though the watch does not tell of it, and again
// when it never does.
func TestABlindWatch(t *testing.T) {
	t.Parallel()
	play(t, func(l *lab) {
		l.mu.Lock()
		l.blind = true
		l.mu.Unlock()
		l.after(2 * time.Second)
		l.r.Touch("blue")
		l.after(2 * time.Second)
		l.want(1, 1, "0", "14")
		l.after(2 * time.Second)
		l.want(2, 1, "0", "14")
	})
}

func TestWhatGoesWrong(t *testing.T) {
	t.Parallel()
	resource := schema.GroupResource{Resource: "ippools"}
	for name, err := range map[string]error{
		"no answer":         errors.New("no answer"),
		"another uid":       apierrors.NewConflict(resource, "blue", errors.New("uid")),
		"gone for a moment": apierrors.NewNotFound(resource, "blue"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			play(t, func(l *lab) {
				l.mu.Lock()
				l.fail = err
				l.mu.Unlock()
				l.after(time.Second)
				l.mu.Lock()
				n := l.statuses
				l.fail = nil
				l.mu.Unlock()
				if n < 1 || n > 6 {
					t.Errorf("%d tries in the first second", n)
				}
				l.after(time.Minute)
				if l.used != "0" || l.free != "14" {
					t.Errorf("used %q, free %q after it went well again", l.used, l.free)
				}
			})
		})
	}
}

func TestAPoolInUseStays(t *testing.T) {
	t.Parallel()
	play(t, func(l *lab) {
		l.after(2 * time.Second)
		if l.finalizers != nil {
			t.Errorf("an unused pool got finalizers %q", l.finalizers)
		}
		l.take(1)
		l.after(2 * time.Second)
		if d := cmp.Diff([]string{"other", pools.InUse}, l.finalizers); d != "" {
			t.Error(d)
		}
		l.give(1)
		l.after(2 * time.Second)
		l.take(2)
		l.mu.Lock()
		l.finalizers = nil
		l.pool = l.pool.DeepCopy()
		l.pool.DeletionTimestamp = &metav1.Time{Time: time.Now()}
		p := l.pool
		l.mu.Unlock()
		l.r.Touch(l.book.PutPool(p)...)
		l.after(10 * time.Second)
		if l.finalizers != nil {
			t.Errorf("a pool in use got finalizers %q", l.finalizers)
		}
		l.give(2)
		l.after(2 * time.Second)
		if d := cmp.Diff([]string{"other"}, l.finalizers); d != "" {
			t.Error(d)
		}
	})
}

// TestEventsAreNotRepeated fills and empties a pool, again and again.
func TestEventsAreNotRepeated(t *testing.T) {
	t.Parallel()
	play(t, func(l *lab) {
		cycle := func() {
			for i := range 14 {
				l.take(i + 1)
			}
			l.after(2 * time.Second)
			for i := range 14 {
				l.give(i + 1)
			}
			l.after(2 * time.Second)
		}
		for range 5 {
			cycle()
		}
		want := []string{"Exhausted", "NoLongerExhausted"}
		if d := cmp.Diff(want, l.events); d != "" {
			t.Error(d)
		}
		l.after(10 * time.Minute)
		cycle()
		if d := cmp.Diff(append(want, want...), l.events); d != "" {
			t.Error(d)
		}
	})
}

// TestAnotherReplicaToldIt says nothing that the status says already.
func TestAnotherReplicaToldIt(t *testing.T) {
	t.Parallel()
	play(t, func(l *lab) {
		for i := range 14 {
			l.take(i + 1)
		}
		l.after(2 * time.Second)
		l.mu.Lock()
		defer l.mu.Unlock()
		second := &server{pool: l.pool}
		r := pools.New(&pools.Reconciler{
			Book: l.book, Write: second, Nodes: func() []string { return nil }, Now: time.Now, Log: slog.New(slog.DiscardHandler),
			Pool: func(string) *v1alpha1.IPPool { return second.pool },
		})
		r.Touch("blue")
		ctx, cancel := context.WithTimeout(l.t.Context(), time.Minute)
		defer cancel()
		r.Run(ctx, 1)
		if len(l.events) != 1 || len(second.events) != 0 || second.statuses != 0 {
			t.Errorf("told %q, then %q and %d statuses", l.events, second.events, second.statuses)
		}
	})
}

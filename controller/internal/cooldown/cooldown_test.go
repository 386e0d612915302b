// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package cooldown_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/weft-cni/weft/controller/internal/cooldown"
	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
)

// leases is a server of leases; it says when each was lifted.
type leases struct {
	mu     sync.Mutex
	began  time.Time
	has    map[string]*v1alpha1.IPLease
	fail   []error // of the next requests
	lifted map[string]string
}

func (s *leases) Lift(_ context.Context, l *v1alpha1.IPLease) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.fail) > 0 {
		err := s.fail[0]
		s.fail = s.fail[1:]
		return err
	}
	s.lifted[l.Name] = time.Since(s.began).Round(time.Second).String()
	delete(s.has, l.Name)
	return nil
}

func (s *leases) lease(name string) *v1alpha1.IPLease {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.has[name]
}

// resting makes a lease that was deleted now.
func (s *leases) resting(name string, rest time.Duration, finalizers ...string) *v1alpha1.IPLease {
	l := &v1alpha1.IPLease{ObjectMeta: metav1.ObjectMeta{Name: name, DeletionTimestamp: &metav1.Time{Time: time.Now()}, Finalizers: finalizers}}
	if rest > 0 {
		l.Spec.Cooldown = &metav1.Duration{Duration: rest}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.has[name] = l
	return l
}

func play(t *testing.T, want map[string]string, story func(s *leases, r *cooldown.Reconciler)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &leases{began: time.Now(), has: map[string]*v1alpha1.IPLease{}, lifted: map[string]string{}}
		r := cooldown.New(&cooldown.Reconciler{Lease: s.lease, Write: s, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { r.Run(ctx, 2) })
		story(s, r)
		time.Sleep(time.Hour) //nolint:forbidigo // the clock of a synctest bubble.
		cancel()
		all.Wait()
		if d := cmp.Diff(want, s.lifted); d != "" {
			t.Error(d)
		}
	})
}

func TestRestsEndInTime(t *testing.T) {
	t.Parallel()
	play(t, map[string]string{"a": "1m0s", "b": "2m0s", "none": "0s"}, func(s *leases, r *cooldown.Reconciler) {
		r.See(s.resting("b", 2*time.Minute, v1alpha1.CooldownFinalizer))
		r.See(s.resting("a", time.Minute, "other", v1alpha1.CooldownFinalizer))
		r.See(s.resting("none", 0, v1alpha1.CooldownFinalizer))
		r.See(s.resting("not ours", time.Minute, "other"))
		held := s.resting("held", time.Minute, v1alpha1.CooldownFinalizer)
		held.DeletionTimestamp = nil
		r.See(held)
		r.See(s.resting("b", 2*time.Minute, v1alpha1.CooldownFinalizer)) // a change of something else
	})
}

func TestALongerRest(t *testing.T) {
	t.Parallel()
	play(t, map[string]string{"a": "3m0s"}, func(s *leases, r *cooldown.Reconciler) {
		r.See(s.resting("a", time.Minute, v1alpha1.CooldownFinalizer))
		time.Sleep(30 * time.Second) //nolint:forbidigo // as above.
		s.lease("a").Spec.Cooldown.Duration = 3 * time.Minute
		r.See(s.lease("a"))
	})
}

func TestWhatGoesWrong(t *testing.T) {
	t.Parallel()
	resource := schema.GroupResource{Resource: "ipleases"}
	for name, c := range map[string]struct {
		err  error
		want map[string]string
	}{
		"the server is away":     {errors.New("no answer"), map[string]string{"a": "1m0s"}},
		"it is gone":             {apierrors.NewNotFound(resource, "a"), map[string]string{}},
		"somebody changed it":    {apierrors.NewConflict(resource, "a", errors.New("changed")), map[string]string{}},
		"the server is too busy": {apierrors.NewTooManyRequestsError("later"), map[string]string{"a": "1m0s"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			play(t, c.want, func(s *leases, r *cooldown.Reconciler) {
				s.fail = []error{c.err}
				r.See(s.resting("a", time.Minute, v1alpha1.CooldownFinalizer))
			})
		})
	}
}

// TestManyAtOnce has more timers than workers.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	want := map[string]string{}
	for i := range 1000 {
		want[fmt.Sprint(i)] = "1m0s"
	}
	play(t, want, func(s *leases, r *cooldown.Reconciler) {
		for i := range 1000 {
			r.See(s.resting(fmt.Sprint(i), time.Minute, v1alpha1.CooldownFinalizer))
		}
	})
}

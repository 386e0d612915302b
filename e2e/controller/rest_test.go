// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weft-cni/weft/e2e/leasestore"
	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
)

// late waits until a resting lease is gone, and returns how long after the end
// of its rest.
func (l *Lab) late(ctx context.Context, t *testing.T, lease v1alpha1.IPLease) time.Duration {
	t.Helper()
	if lease.DeletionTimestamp == nil {
		t.Fatalf("%s does not rest", lease.Name)
	}
	until(ctx, t, "the rest ends", func() (string, bool) {
		err := l.Weft.Get().Resource("ipleases").Name(lease.Name).Do(ctx).Error()
		return fmt.Sprint(err), apierrors.IsNotFound(err)
	})
	return time.Since(lease.DeletionTimestamp.Add(lease.Spec.Cooldown.Duration))
}

// TestARestEndsInTime releases addresses, of which the controller that saw it ends
// the first; it is killed, and the one after it ends the second.
func TestARestEndsInTime(t *testing.T) {
	lab := New(t)
	ctx := t.Context()
	one := lab.Run(t, "one")
	one.Leads(ctx)
	var rests []v1alpha1.IPLease
	node := leasestore.NewNodes(t, lab.Server, 1)[0]
	for _, d := range []time.Duration{3 * time.Second, 15 * time.Second} {
		spec := v4("10.0.0.0/24")
		spec.Cooldown = &metav1.Duration{Duration: d}
		pool := lab.Pool(t, spec)
		if _, err := node.Add(ctx, pool.Name, leasePool(t, pool)); err != nil {
			t.Fatal(err)
		}
		if err := node.Del(ctx, pool.Name); err != nil {
			t.Fatal(err)
		}
		rests = append(rests, leasestore.Leases(ctx, t, lab.Weft, pool.Name)...)
		lab.saysUntil(ctx, t, pool.Name, "| 254 | 1 | 253")
	}
	within := func(late time.Duration) {
		t.Helper()
		t.Logf("%v after the end of the rest", late)
		if late < 0 || late > time.Second {
			t.Errorf("%v after the end of the rest, want at most a second", late)
		}
	}
	within(lab.late(ctx, t, rests[0]))
	one.Kill()
	lab.Run(t, "two")
	within(lab.late(ctx, t, rests[1]))
}

// TestWithoutAController claims and releases, again and again, while nobody
// counts, writes hints or ends rests.
func TestWithoutAController(t *testing.T) {
	lab := New(t)
	ctx := t.Context()
	spec := v4("10.0.0.0/29")
	spec.Cooldown, spec.CooldownPolicy = &metav1.Duration{Duration: time.Hour}, v1alpha1.CooldownPrefer
	pool := leasePool(t, lab.Pool(t, spec))
	node := leasestore.NewNodes(t, lab.Server, 1)[0]
	for round := range 4 {
		for i := range 6 {
			if _, err := node.Add(ctx, fmt.Sprint(pool.Name, round, i), pool); err != nil {
				t.Fatalf("round %d, pod %d: %v", round, i, err)
			}
		}
		for i := range 6 {
			if err := node.Del(ctx, fmt.Sprint(pool.Name, round, i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	lab.Run(t, "one").Leads(ctx)
	lab.saysUntil(ctx, t, pool.Name, "| 6 | 6 | 0", "Exhausted False OnlyResting")
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weft-cni/weft/e2e/leasestore"
	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
	"github.com/weft-cni/weft/libs/k8s/poolview"
	"github.com/weft-cni/weft/libs/lease"
)

func v4(subnet string, ranges ...string) v1alpha1.IPPoolSpec {
	return v1alpha1.IPPoolSpec{
		IPv4: &v1alpha1.AddressRange{Subnet: subnet, Ranges: ranges}, Cooldown: &metav1.Duration{}, CooldownPolicy: v1alpha1.CooldownStrict,
	}
}

func leasePool(t testing.TB, p *v1alpha1.IPPool) lease.Pool {
	t.Helper()
	_, l, err := poolview.Of(p)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// say is the pool as people see it.
func say(p *v1alpha1.IPPool) string {
	out := fmt.Sprintf("%s | %s | %s | %s", p.Status.Subnets, p.Status.Total, p.Status.Used, p.Status.Free)
	for _, c := range p.Status.Conditions {
		out += fmt.Sprintf("\n%s %s %s: %s", c.Type, c.Status, c.Reason, c.Message)
	}
	return out
}

func (l *Lab) saysUntil(ctx context.Context, t testing.TB, pool string, parts ...string) *v1alpha1.IPPool {
	t.Helper()
	var p *v1alpha1.IPPool
	until(ctx, t, fmt.Sprintf("the pool says %q", parts), func() (string, bool) {
		var err error
		if p, err = l.Get(ctx, pool); err != nil {
			return err.Error(), false
		}
		return say(p), !slices.ContainsFunc(parts, func(x string) bool { return !strings.Contains(say(p), x) })
	})
	return p
}

func (l *Lab) change(t testing.TB, pool, patch string) {
	t.Helper()
	if err := l.Weft.Patch(types.MergePatchType).Resource("ippools").Name(pool).Body([]byte(patch)).Do(t.Context()).Error(); err != nil {
		t.Fatal(err)
	}
}

func (l *Lab) hint(ctx context.Context, pool string) *v1alpha1.IPHint {
	h := &v1alpha1.IPHint{}
	if l.Weft.Get().Resource("iphints").Name(pool).Do(ctx).Into(h) != nil {
		return nil
	}
	return h
}

func (l *Lab) events(t testing.TB, pool string) (out []string) {
	t.Helper()
	list, err := l.Kube.EventsV1().Events("default").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list.Items {
		if e.Regarding.Name == pool {
			out = append(out, e.Type+" "+e.Reason)
		}
	}
	slices.Sort(out)
	return out
}

// TestAPoolTellsWhatHappensToIt follows one pool from its making to its end.
func TestAPoolTellsWhatHappensToIt(t *testing.T) {
	lab := New(t)
	ctx := t.Context()
	pool := lab.Pool(t, v4("10.0.0.0/29"))
	lab.Run(t, "one").Leads(ctx)
	lab.saysUntil(ctx, t, pool.Name, "10.0.0.0/29 | 6 | 0 | 6", "Ready True Ready", "Exhausted False", "Overlaps False")
	if err := lab.Weft.Delete().Resource("ippools").Name(lab.Pool(t, v4("10.9.0.0/24")).Name).Do(ctx).Error(); err != nil {
		t.Fatal(err)
	}

	node := leasestore.NewNodes(t, lab.Server, 1)[0]
	for i := range 6 {
		if _, err := node.Add(ctx, fmt.Sprint(pool.Name, i), leasePool(t, pool)); err != nil {
			t.Fatal(err)
		}
	}
	lab.saysUntil(ctx, t, pool.Name, "| 6 | 6 | 0", "Exhausted True AllHeld")
	until(ctx, t, "the hint says that none is free", func() (string, bool) {
		h := lab.hint(ctx, pool.Name)
		ok := h != nil && h.IPv4.Free == "0" && h.PoolGeneration == 1 && len(h.OwnerReferences) == 1 && h.OwnerReferences[0].UID == pool.UID
		return fmt.Sprint(h), ok
	})

	lab.change(t, pool.Name, `{"spec":{"ipv4":{"ranges":["10.0.0.5-10.0.0.6"],"exclude":["10.0.0.1"]}}}`)
	lab.saysUntil(ctx, t, pool.Name, "| 2 | 2 | 0", "Ready True LeasesOutside: The pool gives addresses; 1 address is still held that the pool no longer has, until released: 10.0.0.1")
	lab.change(t, pool.Name, `{"spec":{"suspend":true}}`)
	lab.saysUntil(ctx, t, pool.Name, "Ready False Suspended")
	lab.change(t, pool.Name, `{"spec":{"suspend":false,"ipv4":{"ranges":null,"exclude":null}}}`)
	lab.saysUntil(ctx, t, pool.Name, "| 6 | 6 | 0", "Ready True Ready")

	if err := node.Del(ctx, fmt.Sprint(pool.Name, 5)); err != nil {
		t.Fatal(err)
	}
	freed := lab.saysUntil(ctx, t, pool.Name, "| 6 | 5 | 1", "Exhausted False Available")
	if got := freed.Status.IPv4.FreeRanges; len(got) != 1 {
		t.Errorf("free ranges are %q", got)
	}
	until(ctx, t, "events", func() (string, bool) {
		got := lab.events(t, pool.Name)
		return fmt.Sprint(got), slices.Equal(got, []string{"Normal NoLongerExhausted", "Warning Exhausted"})
	})

	if err := lab.Weft.Delete().Resource("ippools").Name(pool.Name).Do(ctx).Error(); err != nil {
		t.Fatal(err)
	}
	lab.saysUntil(ctx, t, pool.Name, "Ready False Deleting: The pool is deleted and gives no new addresses; it goes when 5 addresses are released:")
	if n := len(leasestore.Leases(ctx, t, lab.Weft, pool.Name)); n != 5 {
		t.Errorf("%d leases are left, want 5", n)
	}
	for i := range 5 {
		if err := node.Del(ctx, fmt.Sprint(pool.Name, i)); err != nil {
			t.Fatal(err)
		}
	}
	until(ctx, t, "the pool goes with its last address", func() (string, bool) {
		p, err := lab.Get(ctx, pool.Name)
		return say(p), apierrors.IsNotFound(err)
	})
}

// TestOverlappingPools tells both, and takes it back.
func TestOverlappingPools(t *testing.T) {
	lab := New(t)
	ctx := t.Context()
	lab.Run(t, "one").Leads(ctx)
	blue := lab.Pool(t, v4("10.0.0.0/24"))
	spec := v4("10.0.0.0/16", "10.0.0.200-10.0.1.9")
	spec.Domain = blue.Spec.Domain
	green := lab.Pool(t, spec)
	other := lab.Pool(t, v4("10.0.0.0/24"))
	lab.saysUntil(ctx, t, blue.Name, "Overlaps True SharedAddresses", green.Name+" (10.0.0.200-10.0.0.254)")
	lab.saysUntil(ctx, t, green.Name, "Overlaps True SharedAddresses", blue.Name+" (10.0.0.200-10.0.0.254)")
	lab.saysUntil(ctx, t, other.Name, "Overlaps False NoneShared")
	if err := lab.Weft.Delete().Resource("ippools").Name(green.Name).Do(ctx).Error(); err != nil {
		t.Fatal(err)
	}
	lab.saysUntil(ctx, t, blue.Name, "Overlaps False NoneShared")
	until(ctx, t, "events", func() (string, bool) {
		got := lab.events(t, blue.Name)
		return fmt.Sprint(got), slices.Equal(got, []string{"Normal NoLongerOverlaps", "Warning Overlaps"})
	})
}

// TestSomebodyElsesStatus is put right again, and told since when a condition holds.
func TestSomebodyElsesStatus(t *testing.T) {
	lab := New(t)
	ctx := t.Context()
	one := lab.Run(t, "one")
	one.Leads(ctx)
	pool := lab.Pool(t, v4("10.0.0.0/29"))
	before := lab.saysUntil(ctx, t, pool.Name, "| 6 | 0 | 6")
	wrong := []byte(`{"status":{"free":"17"}}`)
	if err := lab.Weft.Patch(types.MergePatchType).Resource("ippools").Name(pool.Name).SubResource("status").Body(wrong).Do(ctx).Error(); err != nil {
		t.Fatal(err)
	}
	lab.saysUntil(ctx, t, pool.Name, "| 6 | 0 | 6")
	if err := one.End(); err != nil {
		t.Fatal(err)
	}
	lab.change(t, pool.Name, `{"spec":{"suspend":true}}`)
	lab.Run(t, "two").Leads(ctx)
	after := lab.saysUntil(ctx, t, pool.Name, "Ready False Suspended")
	for _, condition := range []string{"Exhausted", "Overlaps"} {
		b, a := meta.FindStatusCondition(before.Status.Conditions, condition), meta.FindStatusCondition(after.Status.Conditions, condition)
		if !a.LastTransitionTime.Equal(&b.LastTransitionTime) {
			t.Errorf("%s: since %v, was %v", condition, a.LastTransitionTime, b.LastTransitionTime)
		}
	}
	if time.Since(meta.FindStatusCondition(after.Status.Conditions, "Ready").LastTransitionTime.Time) > time.Minute {
		t.Error("Ready has turned, and has an old time")
	}
}

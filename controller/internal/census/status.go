// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package census

import (
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weft-cni/weft/libs/ipset"
	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
	"github.com/weft-cni/weft/libs/lease"
)

// The conditions of a pool.
const (
	Ready     = "Ready"
	Exhausted = "Exhausted"
	Overlaps  = "Overlaps"
)

// The reasons of its conditions.
const (
	// Of Ready: True.

	ReasonReady         = "Ready"
	ReasonLeasesOutside = "LeasesOutside" // and leases lie outside what the pool hands out now

	// Of Ready: False, in the order in which they count.

	ReasonDeleting  = "Deleting"
	ReasonInvalid   = "Invalid"
	ReasonSuspended = "Suspended"

	// Of Exhausted.

	ReasonAvailable   = "Available"
	ReasonAllHeld     = "AllHeld"     // True
	ReasonOnlyResting = "OnlyResting" // True where cooldownPolicy is Strict

	// Of Overlaps.

	ReasonSharedAddresses = "SharedAddresses"
	ReasonNoneShared      = "NoneShared"
)

const (
	maxRanges = 8 // free ranges in a status
	maxNamed  = 3 // addresses and pools in a message
)

// Status makes the status of a pool. The conditions before it, which may be nil,
// tell since when each is as it is. False when there is no such pool.
func (b *Book) Status(name string, before []metav1.Condition, now metav1.Time) (v1alpha1.IPPoolStatus, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.pools[name]
	if p == nil {
		return v1alpha1.IPPoolStatus{}, false
	}
	s := v1alpha1.IPPoolStatus{IPv4: p.v4.status(), IPv6: p.v6.status()}
	s.Subnets = each(p, func(f *lease.Family, _ *tally) string { return f.Subnet.String() })
	s.Total = each(p, func(_ *lease.Family, t *tally) string { return short(t.set.Size()) })
	s.Used = each(p, func(_ *lease.Family, t *tally) string { return short(t.used() + t.counts[Resting]) })
	s.Free = each(p, func(_ *lease.Family, t *tally) string { return short(t.free()) })
	for _, c := range []metav1.Condition{p.ready(b.of[name]), p.exhausted(), p.overlapping()} {
		if old := meta.FindStatusCondition(before, c.Type); old != nil {
			s.Conditions = append(s.Conditions, *old)
		}
		c.LastTransitionTime = now
		c.ObservedGeneration = p.object.Generation
		meta.SetStatusCondition(&s.Conditions, c)
	}
	return s, true
}

// each joins what f says of the pool's families.
func each(p *pool, f func(*lease.Family, *tally) string) string {
	var out []string
	if p.v4 != nil {
		out = append(out, f(p.view.IPv4, p.v4))
	}
	if p.v6 != nil {
		out = append(out, f(p.view.IPv6, p.v6))
	}
	return strings.Join(out, ", ")
}

// short writes a count for display: exactly up to a billion, then as a power of two.
func short(n uint64) string {
	const exact = 1_000_000_000
	if n <= exact {
		return strconv.FormatUint(n, 10)
	}
	log := bits.Len64(n - 1) // rounded up: a subnet less the addresses nobody gets
	return "~2^" + strconv.Itoa(log)
}

func (t *tally) status() *v1alpha1.FamilyStatus {
	if t == nil {
		return nil
	}
	s := &v1alpha1.FamilyStatus{
		Capacity: strconv.FormatUint(t.set.Size(), 10),
		Claimed:  strconv.FormatUint(t.counts[Claimed], 10),
		Held:     strconv.FormatUint(t.counts[Idle]+t.counts[Resting], 10),
		Free:     strconv.FormatUint(t.free(), 10),
	}
	for _, r := range t.freeRanges(maxRanges) {
		s.FreeRanges = append(s.FreeRanges, ipset.Format(r))
	}
	return s
}

func (p *pool) ready(of map[lease.Key]struct{}) metav1.Condition {
	c := metav1.Condition{Type: Ready, Status: metav1.ConditionFalse}
	switch {
	case p.object.DeletionTimestamp != nil:
		c.Reason = ReasonDeleting
		c.Message = "The pool is deleted and gives no new addresses"
		if n := len(of); n > 0 {
			c.Message += fmt.Sprintf("; it goes when %s released: %s", are(n), list(first(of, maxNamed), n))
		}
		return c
	case p.invalid != nil:
		c.Reason, c.Message = ReasonInvalid, clip(p.invalid.Error())
		return c
	case p.view.Suspend:
		c.Reason, c.Message = ReasonSuspended, "spec.suspend is set: no new addresses; those in use stay, and are released as usual"
	default:
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, ReasonReady, "The pool gives addresses"
	}
	if n := len(p.strays); n > 0 {
		if c.Status == metav1.ConditionTrue {
			c.Reason = ReasonLeasesOutside
		}
		c.Message += fmt.Sprintf("; %s still held that the pool no longer has, until released: %s", are(n), list(first(p.strays, maxNamed), n))
	}
	return c
}

func (p *pool) exhausted() metav1.Condition {
	c := metav1.Condition{Type: Exhausted, Status: metav1.ConditionFalse, Reason: ReasonAvailable, Message: "Addresses are free"}
	var dry []string
	for _, f := range []struct {
		name string
		*tally
	}{{"IPv4", p.v4}, {"IPv6", p.v6}} {
		if f.tally == nil || f.free() > 0 {
			continue
		}
		dry = append(dry, f.name)
		switch {
		case f.counts[Resting] == 0:
			c.Status, c.Reason = metav1.ConditionTrue, ReasonAllHeld
		case c.Reason == ReasonAllHeld:
		case p.view.Policy == lease.Strict:
			c.Status, c.Reason = metav1.ConditionTrue, ReasonOnlyResting
		default:
			c.Reason = ReasonOnlyResting
		}
	}
	which := strings.Join(dry, " and ")
	switch {
	case c.Reason == ReasonAllHeld:
		c.Message = "Every " + which + " address is held; a pod gets none until one is released"
	case c.Status == metav1.ConditionTrue:
		c.Message = "Every " + which + " address is held or rests; a pod gets none until a rest is over (cooldownPolicy Strict)"
	case c.Reason == ReasonOnlyResting:
		c.Message = "Every " + which + " address is held or rests; a pod that asks ends a rest early (cooldownPolicy Prefer)"
	case p.v4 == nil && p.v6 == nil:
		c.Status, c.Reason, c.Message = metav1.ConditionUnknown, ReasonInvalid, "The pool cannot be read"
	}
	return c
}

func (p *pool) overlapping() metav1.Condition {
	c := metav1.Condition{Type: Overlaps, Status: metav1.ConditionFalse, Reason: ReasonNoneShared, Message: "No other pool of the domain hands out these addresses"}
	if len(p.overlaps) == 0 {
		return c
	}
	var names []string
	for _, o := range p.overlaps[:min(maxNamed, len(p.overlaps))] {
		names = append(names, fmt.Sprintf("%s (%s)", o.Pool, ipset.Format(o.First)))
	}
	if more := len(p.overlaps) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	c.Status, c.Reason = metav1.ConditionTrue, ReasonSharedAddresses
	c.Message = fmt.Sprintf("Addresses of this pool are also handed out by %s; nobody gets one twice, but the counts share them", strings.Join(names, ", "))
	return c
}

// are is "1 address is", "2 addresses are".
func are(n int) string {
	if n == 1 {
		return "1 address is"
	}
	return fmt.Sprintf("%d addresses are", n)
}

func list(some []netip.Addr, of int) string {
	var out []string
	for _, a := range some {
		out = append(out, a.String())
	}
	if more := of - len(some); more > 0 {
		out = append(out, fmt.Sprintf("%d more", more))
	}
	return strings.Join(slices.Clip(out), ", ")
}

// clip keeps a message in what a condition takes.
func clip(s string) string {
	const most = 1000
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// How far a request goes to get an address. Every pool is asked with one
// effort before any is asked with the next.
const (
	askFree    = iota // addresses that are free
	askResting        // then end a rest, where the policy prefers that to a refusal
	askStale          // then take over from a container that died with the last boot
	efforts
)

// claimTries bounds how often a choice may be lost to somebody faster.
const claimTries = 64

// assign is one run of Engine.Assign.
type assign struct {
	engine *Engine
	store  Store
	req    Request

	had  map[Key]Entry // before the request, by this identity
	done []step        // what to take back, in order
}

// step is one write of the request: old is nil when the entry was created.
type step struct {
	entry Entry
	old   *Record
	rest  time.Duration // when taken back
}

func (a *assign) run(ctx context.Context, pools []Pool) (Grant, error) {
	if err := a.refuseReleased(ctx); err != nil {
		return Grant{}, err
	}
	if err := a.findHad(ctx); err != nil {
		return Grant{}, err
	}
	g, err := a.choosePool(ctx, pools)
	if err != nil {
		return Grant{}, err
	}
	if err := a.letGo(ctx, g.Addrs); err != nil {
		return Grant{}, err
	}
	// A release may have come meanwhile where the store is no transaction.
	if err := a.refuseReleased(ctx); err != nil {
		return Grant{}, err
	}
	for _, s := range a.done {
		g.Claimed = append(g.Claimed, s.entry)
	}
	return g, nil
}

func (a *assign) refuseReleased(ctx context.Context) error {
	g, ok := a.store.(Graveyard)
	if !ok {
		return nil
	}
	t, ok, err := g.Buried(ctx, a.req.Attachment.ID)
	if err != nil {
		return fmt.Errorf("look up whether the attachment was released: %w", err)
	}
	if ok && t.BootID == a.engine.BootID && a.req.Began < t.Began {
		return ErrReleased
	}
	return nil
}

// findHad looks up what this identity holds: the interface of the pod when the
// runtime named the pod, in whichever sandbox, else the interface of the container.
func (a *assign) findHad(ctx context.Context) error {
	id := a.req.Attachment
	f := Filter{Network: id.Network, IfName: id.IfName, ContainerID: id.ContainerID}
	if id.PodUID != "" {
		f = Filter{Network: id.Network, IfName: id.IfName, PodUID: id.PodUID}
	}
	entries, err := collect(a.store.Scan(ctx, f))
	if err != nil {
		return fmt.Errorf("look up what the attachment holds: %w", err)
	}
	a.had = map[Key]Entry{}
	for _, e := range entries {
		a.had[e.Key] = e
	}
	return nil
}

// choosePool tries the pools: first the one that the attachment has addresses of.
func (a *assign) choosePool(ctx context.Context, pools []Pool) (Grant, error) {
	slices.SortStableFunc(pools, func(x, y Pool) int { return len(a.kept(&y)) - len(a.kept(&x)) })
	var states []PoolState
	for effort := range efforts {
		if effort == askResting && !slices.ContainsFunc(states, func(s PoolState) bool { return s.Use.Resting > 0 }) {
			continue // nothing rests that would help
		}
		states = nil
		for i := range pools {
			p := &pools[i]
			g, state, err := a.tryPool(ctx, p, effort)
			if err != nil {
				return Grant{}, err
			}
			if state == nil {
				return g, nil
			}
			states = append(states, *state)
		}
	}
	if len(a.req.Exact) > 0 {
		if err := a.whoHasExact(ctx, pools); err != nil {
			return Grant{}, err
		}
	}
	return Grant{}, &ExhaustedError{Pools: states}
}

// tryPool gets an address of each family, or nothing and the state that says why.
func (a *assign) tryPool(ctx context.Context, p *Pool, effort int) (Grant, *PoolState, error) {
	mark := len(a.done)
	g := Grant{Pool: *p}
	kept := a.kept(p)
	for _, f := range p.families() {
		e, ok := kept[f]
		var err error
		switch {
		case ok:
			err = a.adopt(ctx, e, p)
		case p.Suspend:
			return Grant{}, &PoolState{Pool: p.Name, Suspended: true}, a.undoTo(ctx, mark)
		default:
			e, err = a.claim(ctx, p, f, effort)
		}
		if dry := (*DryError)(nil); errors.As(err, &dry) {
			return Grant{}, &PoolState{Pool: p.Name, Family: f.name(), Use: dry.Use}, a.undoTo(ctx, mark)
		}
		if err != nil {
			return Grant{}, nil, fmt.Errorf("pool %s: %w", p.Name, err)
		}
		g.Addrs = append(g.Addrs, e.Key.Addr)
		if len(g.Addrs) == 1 {
			a.engine.reached("after-claim-first-family")
		}
	}
	return g, nil, nil
}

// kept returns what the attachment has of the pool and may keep, by family.
func (a *assign) kept(p *Pool) map[*Family]Entry {
	out := map[*Family]Entry{}
	for _, e := range a.had {
		f := p.family(e.Key.Addr)
		if f == nil || e.Record.Pool != p.Name || e.Key != NewKey(p.Domain, e.Key.Addr) {
			continue
		}
		// The same sandbox keeps what it was told. A new one gets only what
		// could be given today; an address asked for is the whole of its Set.
		same := e.Record.Attachment.ContainerID == a.req.Attachment.ContainerID
		if old, ok := out[f]; f.Set.Contains(e.Key.Addr) || same && f.ring {
			if !ok || e.Key.Addr.Less(old.Key.Addr) {
				out[f] = e
			}
		}
	}
	return out
}

// adopt makes an entry of this identity the sandbox's that asks now.
func (a *assign) adopt(ctx context.Context, e Entry, p *Pool) error {
	if e.Record.Attachment.ID == a.req.Attachment.ID {
		return nil
	}
	return a.swap(ctx, e, p)
}

func (a *assign) swap(ctx context.Context, e Entry, p *Pool) error {
	r := a.record(p)
	v, err := a.store.Swap(ctx, e.Key, e.Version, r)
	if v, err = a.settle(ctx, e.Key, v, err); err != nil {
		return fmt.Errorf("take over %s: %w", e.Key, err)
	}
	a.done = append(a.done, step{entry: Entry{Key: e.Key, Record: r, Version: v}, old: &e.Record})
	return nil
}

// claim gets one address of the family, with an effort.
func (a *assign) claim(ctx context.Context, p *Pool, f *Family, effort int) (Entry, error) {
	rest := time.Duration(0)
	if effort > askFree {
		rest = p.Cooldown // it may be one that was resting
	}
	for range claimTries {
		addr, err := a.choose(ctx, p, f, effort)
		if dry := (*DryError)(nil); errors.As(err, &dry) && effort == askStale && a.mayTakeStale(p) {
			return a.claimStale(ctx, p, f, err)
		}
		if err != nil {
			return Entry{}, err
		}
		k, r := NewKey(p.Domain, addr), a.record(p)
		v, err := a.store.Claim(ctx, k, r)
		if errors.Is(err, ErrTaken) {
			continue
		}
		if v, err = a.settle(ctx, k, v, err); err != nil {
			return Entry{}, fmt.Errorf("claim %s: %w", k, err)
		}
		e := Entry{Key: k, Record: r, Version: v}
		a.done = append(a.done, step{entry: e, rest: rest})
		return e, nil
	}
	return Entry{}, fmt.Errorf("lost %d addresses to others in a row: %w", claimTries, ErrTaken)
}

func (a *assign) choose(ctx context.Context, p *Pool, f *Family, effort int) (netip.Addr, error) {
	w := Want{Pool: p.Name, Domain: NewKey(p.Domain, netip.Addr{}).Domain, Set: f.Set, Break: effort >= askResting && p.Policy != Strict}
	if f.ring {
		w.Ring = p.Name + "/" + f.name()
	}
	if c, ok := a.store.(Chooser); ok {
		return c.Choose(ctx, w)
	}
	taken := map[netip.Addr]time.Time{}
	for e, err := range a.store.Scan(ctx, Filter{Domain: w.Domain, Resting: true}) {
		if err != nil {
			return netip.Addr{}, fmt.Errorf("look for a free address: %w", err)
		}
		taken[e.Key.Addr] = e.Until
	}
	w.Break = false // ending a rest takes a Chooser
	addr, _, err := Pick(w, netip.Addr{}, func(a netip.Addr) (time.Time, bool) {
		until, ok := taken[a]
		return until, ok
	}, a.engine.Now())
	return addr, err
}

// mayTakeStale says whether addresses held since before the last boot may be
// taken over. Their containers are gone for certain; under Strict the address
// must also have had its rest since then.
func (a *assign) mayTakeStale(p *Pool) bool {
	return a.engine.BootID != "" && (p.Policy != Strict || a.req.Began >= p.Cooldown)
}

// claimStale takes over the oldest lease that this node made before its last boot.
func (a *assign) claimStale(ctx context.Context, p *Pool, f *Family, dry error) (Entry, error) {
	domain := NewKey(p.Domain, netip.Addr{}).Domain
	held, err := collect(a.store.Scan(ctx, Filter{Domain: domain, Node: a.engine.Node, OtherBoot: a.engine.BootID}))
	if err != nil {
		return Entry{}, fmt.Errorf("look for leases of an earlier boot: %w", err)
	}
	held = slices.DeleteFunc(held, func(e Entry) bool {
		return !f.Set.Contains(e.Key.Addr)
	})
	slices.SortStableFunc(held, func(x, y Entry) int {
		return x.Record.Attachment.Since.Compare(y.Record.Attachment.Since)
	})
	for _, e := range held {
		err := a.swap(ctx, e, p)
		if errors.Is(err, ErrStale) {
			continue
		}
		return e, err
	}
	return Entry{}, dry
}

// letGo releases what the identity had and did not keep: its pool is gone, or
// other addresses were asked for.
func (a *assign) letGo(ctx context.Context, keep []netip.Addr) error {
	for k, e := range a.had {
		if slices.Contains(keep, k.Addr) {
			continue
		}
		if err := release(ctx, a.store, e, e.Record.Rest); err != nil {
			return err
		}
	}
	return nil
}

func (a *assign) record(p *Pool) Record {
	return Record{
		Pool: p.Name, Rest: p.Cooldown, Holder: a.req.Holder,
		Attachment: a.req.Attachment, BootID: a.engine.BootID,
	}
}

// settle turns an unknown outcome into a known one where the record shows it.
func (a *assign) settle(ctx context.Context, k Key, v Version, err error) (Version, error) {
	if !errors.Is(err, ErrUnknown) {
		return v, err
	}
	r, v, readErr := a.store.Get(ctx, k)
	if readErr == nil && r.Attachment.ID == a.req.Attachment.ID {
		return v, nil
	}
	return "", err
}

// undo takes everything back, last first.
func (a *assign) undo(ctx context.Context) error { return a.undoTo(ctx, 0) }

func (a *assign) undoTo(ctx context.Context, mark int) error {
	var errs []error
	for len(a.done) > mark {
		s := a.done[len(a.done)-1]
		a.done = a.done[:len(a.done)-1]
		if s.old == nil {
			errs = append(errs, release(ctx, a.store, s.entry, s.rest))
			continue
		}
		v, err := a.store.Swap(ctx, s.entry.Key, s.entry.Version, *s.old)
		if err != nil && !errors.Is(err, ErrStale) {
			errs = append(errs, fmt.Errorf("give back %s: %w", s.entry.Key, err))
		}
		if _, ok := a.had[s.entry.Key]; ok && err == nil {
			a.had[s.entry.Key] = Entry{Key: s.entry.Key, Record: *s.old, Version: v}
		}
	}
	return errors.Join(errs...)
}

// whoHasExact names the holder of the first address asked for that is taken.
func (a *assign) whoHasExact(ctx context.Context, pools []Pool) error {
	for _, p := range pools {
		if p.Suspend {
			continue
		}
		for _, addr := range a.req.Exact {
			k := NewKey(p.Domain, addr)
			r, _, err := a.store.Get(ctx, k)
			switch {
			case err == nil && r.Attachment.ID != a.req.Attachment.ID:
				return &TakenError{Key: k, Holder: &r}
			case errors.Is(err, ErrAbsent) && a.rests(ctx, k):
				return &TakenError{Key: k}
			case err != nil && !errors.Is(err, ErrAbsent):
				return fmt.Errorf("look up who holds %s: %w", k, err)
			}
		}
	}
	return nil
}

func (a *assign) rests(ctx context.Context, k Key) bool {
	for e, err := range a.store.Scan(ctx, Filter{Domain: k.Domain, Resting: true}) {
		if err != nil {
			return false
		}
		if e.Key == k {
			return a.engine.Now().Before(e.Until)
		}
	}
	return false
}

// narrow returns the candidates that can give every exact address, with those
// addresses as the only choice of their families; all of them when none is asked for.
func narrow(pools []Pool, exact []netip.Addr) ([]Pool, error) {
	if len(exact) == 0 {
		return slices.Clone(pools), nil
	}
	for i, a := range exact {
		for _, b := range exact[:i] {
			if a.Is4() == b.Is4() {
				return nil, &RefusedError{Addr: a, Why: fmt.Sprintf("is of the same family as %s: an interface gets one address of each", b)}
			}
		}
	}
	var out []Pool
	var refused error
	for _, p := range pools {
		switch a, why := p.refuses(exact); {
		case a.IsValid() && why == "": // not of this pool
		case a.IsValid():
			refused = &RefusedError{Addr: a, Why: fmt.Sprintf("cannot be had from pool %s: it is %s", p.Name, why)}
		default:
			out = append(out, p.only(exact))
		}
	}
	switch {
	case len(out) > 0:
		return out, nil
	case refused != nil:
		return nil, refused
	}
	return nil, outside(pools, exact)
}

// refuses returns the first address that the pool does not have, and why if it is reserved.
func (p *Pool) refuses(exact []netip.Addr) (netip.Addr, string) {
	for _, a := range exact {
		f := p.family(a)
		if f == nil {
			return a, ""
		}
		if why := f.Reserved(a); why != "" {
			return a, why
		}
	}
	return netip.Addr{}, ""
}

func outside(pools []Pool, exact []netip.Addr) error {
	var names []string
	for _, p := range pools {
		var subnets []string
		for _, f := range p.families() {
			subnets = append(subnets, f.Subnet.String())
		}
		names = append(names, fmt.Sprintf("%s (%s)", p.Name, strings.Join(subnets, ", ")))
	}
	for _, a := range exact {
		if !slices.ContainsFunc(pools, func(p Pool) bool { return p.family(a) != nil }) {
			return &RefusedError{Addr: a, Why: "is in the subnet of no pool: " + strings.Join(names, "; ")}
		}
	}
	return &RefusedError{Addr: exact[0], Why: "and the other address asked for are in no pool together: " + strings.Join(names, "; ")}
}

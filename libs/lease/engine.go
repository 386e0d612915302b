// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// buryFor is how long a released attachment is remembered. A runtime gives up
// long before, and a process that outlives it ends soon after.
const buryFor = 10 * time.Minute

// Engine gives out addresses. All fields but BootID and Node are required.
type Engine struct {
	Store Store
	Now   func() time.Time
	// BootID identifies this boot of this node, Node the node. Without BootID
	// no lease is ever seen to be of an earlier boot.
	BootID, Node string
	// Reached is told the name of each instant at which dying is interesting;
	// nil tells nobody.
	Reached func(point string)
}

// Request asks for addresses.
type Request struct {
	Attachment Attachment // Since and Node are filled in
	Holder     Holder
	Pools      []Pool       // candidates, the preferred one first
	Exact      []netip.Addr // these and no others; the families not named are chosen
	// Began is when the request began, since boot. A request that began before
	// a release of the same attachment is refused.
	Began time.Duration
}

// Grant is what an attachment got: one address of each family of one pool.
type Grant struct {
	Pool  Pool
	Addrs []netip.Addr // IPv4 first
	// Claimed are the entries that this request created or took over; none
	// when the attachment had its addresses already.
	Claimed []Entry
}

// Assign gives an attachment its addresses: those that it has, those that its
// pod has in another sandbox, or new ones.
func (e *Engine) Assign(ctx context.Context, r Request) (Grant, error) {
	r.Attachment.Since = e.Now().UTC()
	r.Attachment.Node = e.Node
	pools, err := narrow(r.Pools, r.Exact)
	if err != nil {
		return Grant{}, err
	}
	if err := r.Attachment.validate(); err != nil {
		return Grant{}, err
	}
	var g Grant
	err = e.update(ctx, func(s Store) error {
		a := &assign{engine: e, store: s, req: r}
		var err error
		if g, err = a.run(ctx, pools); err != nil {
			// Done also when ctx is: what was claimed must not stay.
			return errors.Join(err, a.undo(context.WithoutCancel(ctx)))
		}
		return nil
	})
	if err != nil {
		return Grant{}, err
	}
	return g, nil
}

// Abandon takes back what Assign claimed for an attachment that never used it.
func (e *Engine) Abandon(ctx context.Context, g Grant) error {
	return e.update(ctx, func(s Store) error {
		var errs []error
		for _, c := range g.Claimed {
			errs = append(errs, release(ctx, s, c, 0))
		}
		return errors.Join(errs...)
	})
}

// Release frees what the attachment has, and refuses requests of it that are
// still on their way. It frees nothing that went to another sandbox since.
func (e *Engine) Release(ctx context.Context, id ID, began time.Duration) error {
	return e.update(ctx, func(s Store) error {
		var errs []error
		if g, ok := s.(Graveyard); ok {
			errs = append(errs, g.Bury(ctx, Tombstone{ID: id, BootID: e.BootID, Began: began, Until: e.Now().Add(buryFor)}))
		}
		held, err := collect(s.Scan(ctx, Filter{Network: id.Network, ContainerID: id.ContainerID, IfName: id.IfName}))
		errs = append(errs, err)
		for _, h := range held {
			errs = append(errs, release(ctx, s, h, h.Record.Rest))
		}
		return errors.Join(errs...)
	})
}

// GC frees everything of the network that is not in valid, and goes on after
// errors. Records of other networks are never touched. An attachment that is
// valid keeps its address, even when it was made before the last boot: the
// runtime knows better what it is going to restart.
func (e *Engine) GC(ctx context.Context, network string, valid []ID) error {
	keep := map[ID]bool{}
	for _, id := range valid {
		keep[ID{Network: network, ContainerID: id.ContainerID, IfName: id.IfName}] = true
	}
	return e.update(ctx, func(s Store) error {
		held, err := collect(s.Scan(ctx, Filter{Network: network}))
		errs := []error{err}
		for _, h := range held {
			if !keep[h.Record.Attachment.ID] {
				errs = append(errs, release(ctx, s, h, h.Record.Rest))
			}
		}
		return errors.Join(errs...)
	})
}

// Held returns what the attachment has.
func (e *Engine) Held(ctx context.Context, id ID) ([]Entry, error) {
	return e.list(ctx, Filter{Network: id.Network, ContainerID: id.ContainerID, IfName: id.IfName})
}

// List returns what the filter selects.
func (e *Engine) List(ctx context.Context, f Filter) ([]Entry, error) { return e.list(ctx, f) }

func (e *Engine) list(ctx context.Context, f Filter) (out []Entry, err error) {
	view := func(s Store) (err error) {
		out, err = collect(s.Scan(ctx, f))
		return err
	}
	if t, ok := e.Store.(Transactor); ok {
		return out, t.View(ctx, view)
	}
	return out, view(e.Store)
}

// Use counts what of a set is held and resting.
func (e *Engine) Use(ctx context.Context, domain string, f *Family) (Use, error) {
	all, err := e.list(ctx, Filter{Domain: NewKey(domain, netip.Addr{}).Domain, Resting: true})
	if err != nil {
		return Use{}, err
	}
	u := Use{Total: f.Set.Size()}
	now := e.Now()
	for _, x := range all {
		switch {
		case !f.Set.Contains(x.Key.Addr):
		case x.Until.IsZero():
			u.Held++
		case now.Before(x.Until):
			u.Resting++
		}
	}
	return u, nil
}

func (e *Engine) update(ctx context.Context, f func(Store) error) error {
	if t, ok := e.Store.(Transactor); ok {
		return t.Update(ctx, f)
	}
	return f(e.Store)
}

func (e *Engine) reached(point string) {
	if e.Reached != nil {
		e.Reached(point)
	}
}

// release is Release that finds out what an unknown outcome was.
func release(ctx context.Context, s Store, h Entry, rest time.Duration) error {
	err := s.Release(ctx, h.Key, h.Version, rest)
	for range 3 {
		if !errors.Is(err, ErrUnknown) {
			break
		}
		// Repeating is safe: the version makes it remove the same record or nothing.
		err = s.Release(ctx, h.Key, h.Version, rest)
	}
	if err != nil {
		return fmt.Errorf("release %s: %w", h.Key, err)
	}
	return nil
}

func (a Attachment) validate() error {
	if a.Network == "" || a.ContainerID == "" || a.IfName == "" {
		return errors.New("an attachment needs a network, a container and an interface")
	}
	if strings.ContainsRune(a.Network+a.ContainerID+a.IfName+a.PodUID, 0) {
		return errors.New("the name of an attachment holds a NUL character")
	}
	return nil
}

func collect(seq func(yield func(Entry, error) bool)) (out []Entry, err error) {
	for e, err := range seq {
		if err != nil {
			return out, err
		}
		out = append(out, e)
	}
	return out, nil
}

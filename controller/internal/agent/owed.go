// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/weft-cni/weft/libs/agentapi"
	"github.com/weft-cni/weft/libs/agentapi/debts"
	"github.com/weft-cni/weft/libs/errcode"
	"github.com/weft-cni/weft/libs/lease"
)

// buriedFor is how long a released attachment is remembered here.
const buriedFor = 10 * time.Minute

// graveyard remembers released attachments, so that an ADD that began before
// its DEL gets nothing. Those that are owed are on the disk as well, also when
// the plugin alone knows of them.
type graveyard struct {
	debts  debts.Dir
	bootID string
	now    func() time.Time

	mu     sync.Mutex
	graves map[lease.ID]lease.Tombstone
}

func newGraveyard(owed debts.Dir, bootID string, now func() time.Time) *graveyard {
	return &graveyard{debts: owed, bootID: bootID, now: now, graves: map[lease.ID]lease.Tombstone{}}
}

func (g *graveyard) bury(id lease.ID, began time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	for old, t := range g.graves {
		if now.After(t.Until) {
			delete(g.graves, old)
		}
	}
	if t, ok := g.graves[id]; ok && t.Began > began {
		return
	}
	g.graves[id] = lease.Tombstone{ID: id, BootID: g.bootID, Began: began, Until: now.Add(buriedFor)}
}

// Bury implements lease.Graveyard.
func (g *graveyard) Bury(_ context.Context, t lease.Tombstone) error {
	g.bury(t.ID, t.Began)
	return nil
}

// Buried implements lease.Graveyard.
func (g *graveyard) Buried(_ context.Context, id lease.ID) (lease.Tombstone, bool, error) {
	g.mu.Lock()
	t, ok := g.graves[id]
	g.mu.Unlock()
	ok = ok && g.now().Before(t.Until)
	owed, has, err := g.debts.Load(agentapi.ID(id))
	if err != nil {
		return lease.Tombstone{}, false, err
	}
	if has && owed.BootID == g.bootID && (!ok || owed.Began > t.Began) {
		return lease.Tombstone{ID: id, BootID: owed.BootID, Began: owed.Began}, true, nil
	}
	return t, ok, nil
}

// payer delivers the releases that are owed.
type payer struct {
	debts  debts.Dir
	bootID string
	now    func() time.Time
	log    *slog.Logger
	// release delivers, unless still says, once nobody else works on the
	// attachment, that there is nothing to deliver any more.
	release func(ctx context.Context, in agentapi.Release, still func() bool) error
	kick    chan struct{}

	mu   sync.Mutex
	wait time.Duration // until the next try, since the last one did not work; 0: it did
}

// most is how long the payer waits between two tries.
const most = 30 * time.Second

// failing says that the last delivery did not work, so that the next one need not be awaited.
func (p *payer) failing() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wait > 0
}

// owe writes a release down.
func (p *payer) owe(in agentapi.Release) error {
	err := p.debts.Save(in.ID, debts.Debt{Began: in.Began, BootID: p.bootID, At: p.now().UTC()})
	if err != nil {
		return errcode.Wrap(errcode.IO, err, "weft-agent can neither deliver the release nor write it down")
	}
	select {
	case p.kick <- struct{}{}:
	default:
	}
	return nil
}

// forgive drops a debt that is older than an ADD of the same attachment: the
// runtime uses the container again, and its addresses with it.
func (p *payer) forgive(id agentapi.ID, began time.Duration) {
	owed, ok, err := p.debts.Load(id)
	if err == nil && ok && owed.BootID == p.bootID && owed.Began <= began {
		err = p.debts.Paid(debts.Owed{ID: id, Debt: owed})
	}
	if err != nil {
		p.log.Warn("a debt that no longer holds cannot be removed", slog.Any("err", err))
	}
}

// run delivers until ctx ends: what is there at the start, then what comes. The
// plugins write debts too, so it looks into the folder.
func (p *payer) run(ctx context.Context) {
	for {
		err := p.round(ctx)
		if ctx.Err() != nil {
			return
		}
		wait := p.result(err)
		if err != nil {
			p.log.Warn("releases are owed", slog.Duration("again_in", wait), slog.Any("err", err))
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		case <-p.kicked(err == nil):
		}
		timer.Stop()
	}
}

// kicked is nil while there is something to wait out.
func (p *payer) kicked(fine bool) <-chan struct{} {
	if !fine {
		return nil
	}
	return p.kick
}

// result settles how long to wait after a round.
func (p *payer) result(err error) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.wait = 0
		return debtEach
	}
	p.wait = min(most, max(time.Second, 2*p.wait))
	return p.wait
}

// round delivers all that is owed, or as much as works. What cannot be delivered
// for a reason of its own does not keep the others.
func (p *payer) round(ctx context.Context) error {
	owed, err := p.debts.List()
	misses := 0
	for _, o := range owed {
		if e := p.pay(ctx, o); e != nil {
			err = e
			if misses++; misses == 2 {
				break // it is not the debt, it is the server
			}
		}
	}
	return err
}

func (p *payer) pay(ctx context.Context, o debts.Owed) error {
	ctx, cancel := context.WithTimeout(ctx, deliverFor)
	defer cancel()
	began := o.Began
	if o.BootID != p.bootID {
		began = 0 // of another boot: no ADD of this one is older
	}
	still := func() bool {
		_, owed, err := p.debts.Load(o.ID)
		return owed || err != nil
	}
	if err := p.release(ctx, agentapi.Release{ID: o.ID, Began: began}, still); err != nil {
		return err
	}
	p.log.Info("a release that was owed is delivered", slog.String("network", o.Network), slog.String("container", o.ContainerID), slog.String("ifname", o.IfName))
	return p.debts.Paid(o)
}

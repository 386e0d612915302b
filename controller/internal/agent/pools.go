// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/tools/cache"

	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
	"github.com/weft-cni/weft/libs/k8s/poolview"
	"github.com/weft-cni/weft/libs/lease"
	"github.com/weft-cni/weft/libs/poolselect"
)

// pools holds all pools, read once for each change.
type pools struct {
	log      *slog.Logger
	informer cache.SharedIndexInformer
	done     cache.InformerSynced // everything listed has been read

	mu  sync.Mutex
	all map[string]pool
}

// pool is one IPPool as the two packages see it.
type pool struct {
	choice poolselect.Pool
	lease  lease.Pool // empty when the pool is invalid
}

func newPools(c *cluster, log *slog.Logger) (*pools, error) {
	p := &pools{log: log, all: map[string]pool{}}
	p.informer = cache.NewSharedIndexInformer(
		cache.NewListWatchFromClient(c.weft, "ippools", metav1.NamespaceAll, fields.Everything()), &v1alpha1.IPPool{}, 0, cache.Indexers{})
	err := p.informer.SetTransform(func(in any) (any, error) {
		if o, ok := in.(*v1alpha1.IPPool); ok {
			o.ManagedFields = nil
		}
		return in, nil
	})
	if err != nil {
		return nil, fmt.Errorf("watch the pools: %w", err)
	}
	handle, err := p.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    p.set,
		UpdateFunc: func(_, o any) { p.set(o) },
		DeleteFunc: p.drop,
	})
	if err != nil {
		return nil, fmt.Errorf("watch the pools: %w", err)
	}
	p.done = handle.HasSynced
	return p, nil
}

func (p *pools) run(ctx context.Context) { p.informer.RunWithContext(ctx) }

func (p *pools) set(in any) {
	o, ok := in.(*v1alpha1.IPPool)
	if !ok {
		return
	}
	choice, l, err := poolview.Of(o)
	if err != nil {
		p.log.Warn("a pool cannot be used", slog.String("pool", o.Name), slog.Any("err", err))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all[o.Name] = pool{choice: choice, lease: l}
}

func (p *pools) drop(in any) {
	if gone, ok := in.(cache.DeletedFinalStateUnknown); ok {
		in = gone.Obj
	}
	if o, ok := in.(*v1alpha1.IPPool); ok {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.all, o.Name)
	}
}

// choices are all pools, for poolselect.
func (p *pools) choices() []poolselect.Pool {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]poolselect.Pool, 0, len(p.all))
	for _, x := range p.all {
		out = append(out, x.choice)
	}
	return out
}

// leases are the pools of a selection, in its order.
func (p *pools) leases(chosen []poolselect.Pool) []lease.Pool {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []lease.Pool
	for _, c := range chosen {
		if x, ok := p.all[c.Name]; ok && (x.lease.IPv4 != nil || x.lease.IPv6 != nil) {
			out = append(out, x.lease)
		}
	}
	return out
}

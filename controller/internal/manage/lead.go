// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package manage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/weft-cni/weft/controller/internal/census"
	"github.com/weft-cni/weft/controller/internal/cluster"
	"github.com/weft-cni/weft/controller/internal/cooldown"
	"github.com/weft-cni/weft/controller/internal/fence"
	"github.com/weft-cni/weft/controller/internal/pools"
	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
	"github.com/weft-cni/weft/libs/lease"
)

const (
	countWorkers = 2
	restWorkers  = 8
)

// leader is what the replica that leads does.
type leader struct {
	*replica

	see   cluster.Informers
	book  *census.Book
	pools *pools.Reconciler
	rests *cooldown.Reconciler
	nodes *fence.Reconciler
}

// lead does the work until the context ends.
func (r *replica) lead(ctx context.Context) error {
	r.ready.Store(false)
	see, err := r.cluster.Informers()
	if err != nil {
		return fmt.Errorf("make the watches: %w", err)
	}
	l := &leader{replica: r, see: see, book: census.New()}
	l.wire()
	synced, err := l.listen()
	if err != nil {
		return fmt.Errorf("listen to the watches: %w", err)
	}
	began := time.Now()
	var all sync.WaitGroup
	defer all.Wait()
	for _, i := range []cache.SharedIndexInformer{see.Pools, see.Leases, see.Nodes} {
		all.Go(func() { i.RunWithContext(ctx) })
	}
	if !cache.WaitForCacheSync(ctx.Done(), synced...) {
		return nil
	}
	r.log.Info("has seen everything", slog.Int("leases", len(see.Leases.GetStore().ListKeys())), slog.Float64("seconds", time.Since(began).Seconds()))
	r.ready.Store(true)
	all.Go(func() { l.pools.Run(ctx, countWorkers) })
	all.Go(func() { l.rests.Run(ctx, restWorkers) })
	all.Go(func() { l.nodes.Run(ctx) })
	<-ctx.Done()
	return nil
}

func (l *leader) wire() {
	l.pools = pools.New(&pools.Reconciler{
		Book: l.book, Write: l.cluster, Pool: get[v1alpha1.IPPool](l.see.Pools),
		Nodes: func() []string {
			names := l.see.Nodes.GetStore().ListKeys()
			slices.Sort(names)
			return names
		},
		Now: time.Now, Instance: l.config.Identity, Log: l.log.With(slog.String("work", "pools")),
	})
	l.rests = cooldown.New(&cooldown.Reconciler{
		Lease: get[v1alpha1.IPLease](l.see.Leases), Write: l.cluster, Now: time.Now, Log: l.log.With(slog.String("work", "cooldown")),
	})
	l.nodes = fence.New(&fence.Reconciler{
		Cluster: l.cluster, Leases: l.leasesOn, Seen: get[corev1.Node](l.see.Nodes),
		Apart: l.config.NodeGone, Now: time.Now, Log: l.log.With(slog.String("work", "fence")),
	})
}

// get reads from what a watch has told.
func get[T any](i cache.SharedIndexInformer) func(name string) *T {
	return func(name string) *T {
		obj, ok, err := i.GetStore().GetByKey(name)
		if err != nil || !ok {
			return nil
		}
		t, _ := obj.(*T)
		return t
	}
}

func (l *leader) leasesOn(node string) (out []*v1alpha1.IPLease) {
	objs, err := l.see.Leases.GetIndexer().ByIndex(cluster.ByNode, node)
	if err != nil {
		return nil
	}
	for _, obj := range objs {
		if x, ok := obj.(*v1alpha1.IPLease); ok {
			out = append(out, x)
		}
	}
	slices.SortFunc(out, func(a, b *v1alpha1.IPLease) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// listen tells the census and the reconcilers what the watches tell.
func (l *leader) listen() (synced []cache.InformerSynced, err error) {
	pools, err1 := on(l.see.Pools,
		func(p *v1alpha1.IPPool) { l.pools.Touch(l.book.PutPool(p)...) },
		func(name string) { l.pools.Touch(append(l.book.RemovePool(name), name)...) })
	leases, err2 := on(l.see.Leases, l.seeLease, func(name string) {
		if k, err := lease.ParseKey(name); err == nil {
			l.pools.Touch(l.book.Remove(k)...)
		}
	})
	nodes, err3 := on(l.see.Nodes, func(n *corev1.Node) { l.nodes.SeeNode(n) }, func(name string) { l.nodes.Missed(name) })
	return []cache.InformerSynced{pools, leases, nodes}, errors.Join(err1, err2, err3)
}

func (l *leader) seeLease(x *v1alpha1.IPLease) {
	counted, err := census.Of(x)
	if err != nil { // its name says no address; CEL allows none such
		l.log.Warn("a lease that cannot be read is not counted", slog.String("lease", x.Name), slog.Any("err", err))
		return
	}
	l.pools.Touch(l.book.Put(counted)...)
	l.rests.See(x)
	l.nodes.See(x)
}

// on calls back with what a watch tells.
func on[T any](i cache.SharedIndexInformer, put func(*T), remove func(name string)) (cache.InformerSynced, error) {
	is := func(obj any) {
		if t, ok := obj.(*T); ok {
			put(t)
		}
	}
	r, err := i.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    is,
		UpdateFunc: func(_, obj any) { is(obj) },
		DeleteFunc: func(obj any) {
			if name, err := cache.DeletionHandlingMetaNamespaceKeyFunc(obj); err == nil {
				remove(name)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	return r.HasSynced, nil
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package leasestore

import (
	"context"
	"maps"
	"strconv"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"

	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
	"github.com/weft-cni/weft/libs/k8s/hint"
	store "github.com/weft-cni/weft/libs/k8s/leasestore"
	"github.com/weft-cni/weft/libs/lease"
)

// Interval is how often hints are written at most: four times a second.
const Interval = 250 * time.Millisecond

// Controller stands in for the controller: it publishes the hint of one pool
// from a watch of the leases. It ends no rests.
type Controller struct {
	t      testing.TB
	client *rest.RESTClient
	pool   lease.Pool
	nodes  []string

	mu    sync.Mutex
	seen  map[string]lease.Entry
	dirty bool
	wrote int
	last  string               // resourceVersion of the hint
	told  *v1alpha1.FamilyHint // what the hint says of IPv4
}

// Publish starts a controller for a pool; it ends with the test, or when the
// returned function is called. The first hint is written before it returns.
func Publish(t testing.TB, server *rest.Config, pool lease.Pool, nodes ...string) (*Controller, func()) {
	t.Helper()
	c := &Controller{t: t, client: Client(t, server), pool: pool, nodes: nodes, seen: map[string]lease.Entry{}}
	ctx, cancel := context.WithCancel(t.Context())
	list := &v1alpha1.IPLeaseList{}
	selector := v1alpha1.PoolLabel + "=" + pool.Name
	if err := c.client.Get().Resource("ipleases").Param("labelSelector", selector).Do(ctx).Into(list); err != nil {
		t.Fatal(err)
	}
	for i := range list.Items {
		c.see(watch.Added, &list.Items[i])
	}
	c.write(ctx)
	w, err := c.client.Get().Resource("ipleases").Param("labelSelector", selector).
		Param("watch", "true").Param("resourceVersion", list.ResourceVersion).Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for e := range w.ResultChan() {
			if l, ok := e.Object.(*v1alpha1.IPLease); ok {
				c.see(e.Type, l)
			}
		}
	})
	wg.Go(func() {
		tick := time.NewTicker(Interval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				c.write(ctx)
			case <-ctx.Done():
				return
			}
		}
	})
	stop := sync.OnceFunc(func() { cancel(); w.Stop(); wg.Wait() })
	t.Cleanup(stop)
	return c, stop
}

// Writes is how many hints were written.
func (c *Controller) Writes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wrote
}

// Free waits until the last hint written says that n addresses of IPv4 are free.
func (c *Controller) Free(ctx context.Context, n uint64) {
	c.t.Helper()
	c.until(ctx, func(h *v1alpha1.FamilyHint) bool { return h.Free == strconv.FormatUint(n, 10) })
}

// Resting waits until the last hint written says that n addresses of IPv4 rest.
func (c *Controller) Resting(ctx context.Context, n int64) {
	c.t.Helper()
	c.until(ctx, func(h *v1alpha1.FamilyHint) bool { return h.Resting == n })
}

func (c *Controller) until(ctx context.Context, enough func(*v1alpha1.FamilyHint) bool) {
	c.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		c.mu.Lock()
		h := c.told
		c.mu.Unlock()
		if h != nil && enough(h) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			c.t.Fatalf("the hint was never as awaited: %+v", h)
		}
	}
}

func (c *Controller) see(what watch.EventType, l *v1alpha1.IPLease) {
	e, err := store.Entry(l)
	if err != nil {
		c.t.Errorf("the server has a lease that cannot be read: %v", err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen[l.Name] = e
	if what == watch.Deleted {
		delete(c.seen, l.Name)
	}
	c.dirty = true
}

func (c *Controller) write(ctx context.Context) {
	c.mu.Lock()
	if !c.dirty && c.wrote > 0 {
		c.mu.Unlock()
		return
	}
	h := hint.Of(hint.Source{Pool: c.pool, Generation: 1, Leases: maps.Values(c.seen), Nodes: c.nodes, Now: time.Now()})
	h.ResourceVersion = c.last
	c.wrote++
	c.dirty = false
	c.mu.Unlock()
	request := c.client.Put().Resource("iphints").Name(h.Name)
	if h.ResourceVersion == "" {
		request = c.client.Post().Resource("iphints")
	}
	out := &v1alpha1.IPHint{}
	err := request.Body(h).Do(ctx).Into(out)
	if err != nil && ctx.Err() == nil {
		c.t.Errorf("write the hint: %v", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = out.ResourceVersion
	c.told = h.IPv4
}

// Client returns a client for weft's resources.
func Client(t testing.TB, server *rest.Config) *rest.RESTClient {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	gv := v1alpha1.GroupVersion()
	c := rest.CopyConfig(server)
	c.APIPath, c.GroupVersion, c.QPS = "/apis", &gv, -1
	c.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	r, err := rest.RESTClientFor(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Leases lists the leases of a pool, as the server has them now.
func Leases(ctx context.Context, t testing.TB, client rest.Interface, pool string) []v1alpha1.IPLease {
	t.Helper()
	list := &v1alpha1.IPLeaseList{}
	err := client.Get().Resource("ipleases").VersionedParams(&metav1.ListOptions{LabelSelector: v1alpha1.PoolLabel + "=" + pool}, metav1.ParameterCodec).Do(ctx).Into(list)
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package leasestore_test

import (
	"context"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/weft-cni/weft/e2e/api"
	"github.com/weft-cni/weft/e2e/leasestore"
	store "github.com/weft-cni/weft/libs/k8s/leasestore"
	"github.com/weft-cni/weft/libs/lease"
	"github.com/weft-cni/weft/libs/lease/storetest"
)

// TestConformance runs the suite of every store. The order of choice is not in
// it: that of a cluster is another than that of a host (TestChoice).
func TestConformance(t *testing.T) {
	t.Parallel()
	server := api.Start(t)
	storetest.Run(t, func(t *testing.T, now func() time.Time) (lease.Store, func() lease.Store) {
		t.Helper()
		began, from := time.Now(), now()
		// The server's clock runs by itself; the suite's moves on top of it.
		clock := func() time.Time { return time.Now().Add(now().Sub(from)) }
		mark := leasestore.Unique("c")
		open := func() lease.Store {
			s, err := store.New(store.Config{Server: server, Now: clock})
			if err != nil {
				t.Fatal(err)
			}
			return &apart{s: s, mark: mark, now: now, shift: began.Sub(from)}
		}
		return open(), open
	})
}

// apart is a store of its own on a server that is shared: it lives in domains
// with a mark. It also turns the server's times, of whole seconds, into those
// of the suite's clock.
type apart struct {
	s     lease.Store
	mark  string
	now   func() time.Time
	shift time.Duration
}

func (a *apart) domain(d string) string { return a.mark + "-" + d }

func (a *apart) key(k lease.Key) lease.Key { return lease.NewKey(a.domain(k.Domain), k.Addr) }

func (a *apart) Claim(ctx context.Context, k lease.Key, r lease.Record) (lease.Version, error) {
	return a.s.Claim(ctx, a.key(k), r)
}

func (a *apart) Swap(ctx context.Context, k lease.Key, v lease.Version, r lease.Record) (lease.Version, error) {
	return a.s.Swap(ctx, a.key(k), v, r)
}

// Release begins rests at the beginning of a second, where the server's stamp is exact.
func (a *apart) Release(ctx context.Context, k lease.Key, v lease.Version, quarantine time.Duration) error {
	if quarantine > 0 {
		<-time.After(time.Until(time.Now().Truncate(time.Second).Add(time.Second)))
	}
	return a.s.Release(ctx, a.key(k), v, quarantine)
}

func (a *apart) Get(ctx context.Context, k lease.Key) (lease.Record, lease.Version, error) {
	return a.s.Get(ctx, a.key(k))
}

func (a *apart) Scan(ctx context.Context, f lease.Filter) iter.Seq2[lease.Entry, error] {
	if f.Domain != "" {
		f.Domain = a.domain(f.Domain)
	}
	return func(yield func(lease.Entry, error) bool) {
		for e, err := range a.s.Scan(ctx, f) {
			d, ours := strings.CutPrefix(e.Key.Domain, a.mark+"-")
			if err == nil && !ours {
				continue
			}
			e.Key = lease.NewKey(d, e.Key.Addr)
			if !e.Until.IsZero() {
				e.Until = e.Until.Add(-a.shift)
				if want := a.now().Add(e.Record.Rest); e.Until.Sub(want).Abs() < 5*time.Second {
					e.Until = want
				}
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package leasestore_test

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/weft-cni/weft/e2e/api"
	"github.com/weft-cni/weft/e2e/leasestore"
	"github.com/weft-cni/weft/libs/k8s/hint"
	"github.com/weft-cni/weft/libs/lease"
)

// TestSizeDoesNotMatter compares the time of an ADD from pools of very
// different sizes with that from a pool of a thousand: one ADD from each in turn.
func TestSizeDoesNotMatter(t *testing.T) {
	server := api.Start(t)
	const rounds, most = 201, 1.2
	cases := []struct {
		name string
		pool lease.Pool
		held int // that the hint says are held, spread over the pool; -1: no hint
		took []time.Duration
	}{
		{name: "a thousand addresses", pool: leasestore.NewPool(t, time.Minute, []string{"10.0.0.0/22"})},
		{name: "a million addresses", pool: leasestore.NewPool(t, time.Minute, []string{"10.0.0.0/12"})},
		{name: "a million addresses, 900,000 held", pool: leasestore.NewPool(t, time.Minute, []string{"10.0.0.0/12"}), held: 900_000},
		{name: "sixteen million addresses", pool: leasestore.NewPool(t, time.Minute, []string{"10.0.0.0/8"})},
		{name: "a /64", pool: leasestore.NewPool(t, time.Minute, []string{"fd00:1::/64"})},
		{name: "a /64 without a hint", pool: leasestore.NewPool(t, time.Minute, []string{"fd00:1::/64"}), held: -1},
	}
	node := leasestore.NewNodes(t, server, 1)[0]
	client := leasestore.Client(t, server)
	for _, c := range cases {
		if c.held >= 0 {
			h := hint.Of(hint.Source{Pool: c.pool, Generation: 1, Leases: imagined(c.pool, c.held), Nodes: []string{node.Name, "another"}, Now: time.Now()})
			if err := client.Post().Resource("iphints").Body(h).Do(t.Context()).Error(); err != nil {
				t.Fatal(err)
			}
		}
		warm(t, node, c.pool)
	}
	for i := range rounds {
		for j := range cases {
			began := time.Now()
			if _, err := node.Add(t.Context(), fmt.Sprint(cases[j].pool.Name, "-", i), cases[j].pool); err != nil {
				t.Fatalf("%s: %v", cases[j].name, err)
			}
			cases[j].took = append(cases[j].took, time.Since(began))
		}
	}
	base := median(cases[0].took)
	for _, c := range cases {
		ratio := float64(median(c.took)) / float64(base)
		t.Logf("%-36s %v, ratio %.2f", c.name, median(c.took).Round(time.Microsecond), ratio)
		if ratio > most {
			t.Errorf("%s: an ADD takes %.2f times that of a thousand addresses, want at most %v", c.name, ratio, most)
		}
	}
}

// imagined are n leases all over the pool's IPv4 addresses.
func imagined(p lease.Pool, n int) iter.Seq[lease.Entry] {
	return func(yield func(lease.Entry) bool) {
		if p.IPv4 == nil || n == 0 {
			return
		}
		for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(int(p.IPv4.Set.Size()))[:n] {
			a, _ := p.IPv4.Set.At(uint64(i))
			if !yield(lease.Entry{Key: lease.NewKey(p.Domain, a)}) {
				return
			}
		}
	}
}

func median(d []time.Duration) time.Duration {
	d = slices.Clone(d)
	slices.Sort(d)
	return d[len(d)/2]
}

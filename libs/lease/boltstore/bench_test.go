// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package boltstore

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/weft-cni/weft/libs/lease"
)

// BenchmarkVerbs measures an ADD and a DEL inside one process.
func BenchmarkVerbs(b *testing.B) {
	for _, size := range []int{0, 2600, 20000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) { benchmarkVerbs(b, size) })
	}
}

func benchmarkVerbs(b *testing.B, size int) {
	b.Helper()
	ctx := b.Context()
	s := New(b.TempDir(), time.Now, nil)
	f, err := lease.NewFamily(netip.MustParsePrefix("10.0.0.0/16"), netip.Addr{}, nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	e := &lease.Engine{Store: s, Now: time.Now}
	id := func(i int) lease.ID {
		return lease.ID{Network: "lan", ContainerID: fmt.Sprintf("%064x", i), IfName: "eth0"}
	}
	request := func(i int) lease.Request {
		return lease.Request{
			Attachment: lease.Attachment{ID: id(i), PodUID: fmt.Sprintf("00000000-0000-4000-8000-%012d", i)},
			Pools:      []lease.Pool{{Name: "blue", IPv4: f, Cooldown: lease.DefaultCooldown}},
		}
	}
	inner := *e
	if err := s.Update(ctx, func(t lease.Store) error {
		inner.Store = t
		for i := range size {
			if _, err := inner.Assign(ctx, request(i)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		if _, err := e.Assign(ctx, request(size+i)); err != nil {
			b.Fatal(err)
		}
		if err := e.Release(ctx, id(size+i), 0); err != nil {
			b.Fatal(err)
		}
	}
}

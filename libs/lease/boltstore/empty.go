// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package boltstore

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/weft-cni/weft/libs/lease"
)

// empty is the store that does not exist yet.
type empty struct{}

var errEmpty = errors.New("the store is open for reading only")

func (empty) Claim(context.Context, lease.Key, lease.Record) (lease.Version, error) {
	return "", errEmpty
}

func (empty) Swap(context.Context, lease.Key, lease.Version, lease.Record) (lease.Version, error) {
	return "", errEmpty
}

func (empty) Release(context.Context, lease.Key, lease.Version, time.Duration) error { return nil }

func (empty) Get(context.Context, lease.Key) (lease.Record, lease.Version, error) {
	return lease.Record{}, "", lease.ErrAbsent
}

func (empty) Scan(context.Context, lease.Filter) iter.Seq2[lease.Entry, error] {
	return func(func(lease.Entry, error) bool) {}
}

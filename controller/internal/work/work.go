// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package work runs the workers of a queue.
//
// Job: take keys, do what each asks for, put it back when it is wanted again or
// went wrong.
//
// Failure model: an error is logged and tried again, later each time; nothing is
// given up. A panic ends the process.
package work

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"
)

// Queue is a delaying queue of keys.
type Queue[K comparable] = workqueue.TypedRateLimitingInterface[K]

// NewQueue returns a queue that tries what went wrong again after 50 ms at first
// and after a minute at most.
func NewQueue[K comparable]() Queue[K] {
	return workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[K](50*time.Millisecond, time.Minute))
}

// Do does what a key asks for. It returns after which time it is wanted again;
// zero is never.
type Do[K comparable] func(ctx context.Context, key K) (time.Duration, error)

// Run works until the context ends, and returns when the last worker has.
func Run[K comparable](ctx context.Context, q Queue[K], workers int, log *slog.Logger, do Do[K]) {
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for next(ctx, q, log, do) {
			}
		})
	}
	<-ctx.Done()
	q.ShutDown()
	all.Wait()
}

func next[K comparable](ctx context.Context, q Queue[K], log *slog.Logger, do Do[K]) bool {
	key, end := q.Get()
	if end {
		return false
	}
	defer q.Done(key)
	again, err := do(ctx, key)
	switch {
	case ctx.Err() != nil:
		return false
	case err != nil:
		log.Warn("will be tried again", slog.Any("key", key), slog.Any("err", err))
		q.AddRateLimited(key)
		return true
	case again > 0:
		q.AddAfter(key, again)
	}
	q.Forget(key)
	return true
}

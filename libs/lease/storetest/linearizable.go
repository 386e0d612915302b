// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/weft-cni/weft/libs/lease"
)

// op is one operation as the checker sees it.
type op struct {
	key  lease.Key
	kind string // claim swap release get
	arg  lease.Version
	who  string
}

// outcome is what it returned.
type outcome struct {
	version lease.Version
	who     string
	err     error
}

// state is a key: absent when the version is empty.
type state struct {
	version lease.Version
	who     string
}

// model says what one key may answer.
func model() porcupine.Model {
	return porcupine.Model{
		Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
			byKey := map[lease.Key][]porcupine.Operation{}
			for _, o := range history {
				in, _ := o.Input.(op)
				byKey[in.key] = append(byKey[in.key], o)
			}
			var out [][]porcupine.Operation
			for _, part := range byKey {
				out = append(out, part)
			}
			return out
		},
		Init: func() any { return state{} },
		Step: func(s, input, output any) (bool, any) {
			now, _ := s.(state)
			in, _ := input.(op)
			out, _ := output.(outcome)
			return step(now, in, out)
		},
		Equal: func(a, b any) bool { return a == b },
		DescribeOperation: func(input, output any) string {
			return fmt.Sprintf("%+v → %+v", input, output)
		},
	}
}

func step(now state, in op, out outcome) (bool, any) {
	next := state{version: out.version, who: in.who}
	switch in.kind {
	case "claim":
		if out.err != nil {
			return now.version != "" && errors.Is(out.err, lease.ErrTaken), now
		}
		return now.version == "", next
	case "swap":
		if out.err != nil {
			return now.version != in.arg && errors.Is(out.err, lease.ErrStale), now
		}
		return now.version == in.arg && in.arg != "", next
	case "release":
		if now.version == in.arg {
			return out.err == nil, state{}
		}
		return out.err == nil, now
	}
	if out.err != nil {
		return now.version == "" && errors.Is(out.err, lease.ErrAbsent), now
	}
	return now == state{version: out.version, who: out.who}, now
}

// linearizable records what concurrent clients see and asks whether one order
// of the operations explains it, key by key.
func (x *suite) linearizable() {
	const clients, each, keys = 4, 40, 3
	var mu sync.Mutex
	var history []porcupine.Operation
	start := time.Now()
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(c), 7)) //nolint:gosec // A test's choice.
			last := map[lease.Key]lease.Version{}
			for i := range each {
				in := op{
					key:  Key(fmt.Sprintf("10.0.0.%d", rng.IntN(keys)+1)),
					kind: []string{"claim", "swap", "release", "get"}[rng.IntN(4)],
					who:  fmt.Sprintf("c%d-%d", c, i),
				}
				in.arg = last[in.key]
				if in.kind == "swap" && in.arg == "" {
					in.kind = "claim"
				}
				call := time.Since(start)
				out := x.apply(in)
				mu.Lock()
				history = append(history, porcupine.Operation{
					ClientId: c, Input: in, Output: out, Call: int64(call), Return: int64(time.Since(start)),
				})
				mu.Unlock()
				if out.version != "" {
					last[in.key] = out.version
				}
			}
		})
	}
	wg.Wait()
	if porcupine.CheckOperationsTimeout(model(), history, 20*time.Second) == porcupine.Illegal {
		for _, o := range history {
			x.Log(model().DescribeOperation(o.Input, o.Output))
		}
		x.Fatal("no order of these operations explains what the clients saw")
	}
}

func (x *suite) apply(in op) (out outcome) {
	switch in.kind {
	case "claim":
		out.version, out.err = x.store.Claim(x.ctx, in.key, Record(in.who))
	case "swap":
		out.version, out.err = x.store.Swap(x.ctx, in.key, in.arg, Record(in.who))
	case "release":
		out.err = x.store.Release(x.ctx, in.key, in.arg, 0)
	default:
		var r lease.Record
		r, out.version, out.err = x.store.Get(x.ctx, in.key)
		out.who = r.Attachment.ContainerID
	}
	return out
}

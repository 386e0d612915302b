// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package agentapitest is an agent for the tests of those who ask one.
package agentapitest

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/weft-cni/weft/libs/agentapi"
	"github.com/weft-cni/weft/libs/errcode"
)

// Fake is a Handler that does what its fields say, and remembers what it was
// asked. A nil field answers with code 999, but for Release, GC and Status,
// which then succeed.
type Fake struct {
	OnAllocate func(context.Context, agentapi.Allocate) (agentapi.Allocation, error)
	OnRelease  func(context.Context, agentapi.Release) error
	OnCheck    func(context.Context, agentapi.Check) (agentapi.Held, error)
	OnGC       func(context.Context, agentapi.GC) error
	OnStatus   func(context.Context, agentapi.Status) error

	mu    sync.Mutex
	asked []any
}

var _ agentapi.Handler = (*Fake)(nil)

// Asked returns the requests in their order, as agentapi.Allocate and so on.
func (f *Fake) Asked() []any {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]any{}, f.asked...)
}

func (f *Fake) note(in any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, in)
}

// Allocate implements agentapi.Handler.
func (f *Fake) Allocate(ctx context.Context, in agentapi.Allocate) (agentapi.Allocation, error) {
	f.note(in)
	if f.OnAllocate == nil {
		return agentapi.Allocation{}, errcode.New(errcode.Internal, "the fake agent has no addresses", "")
	}
	return f.OnAllocate(ctx, in)
}

// Release implements agentapi.Handler.
func (f *Fake) Release(ctx context.Context, in agentapi.Release) error {
	f.note(in)
	if f.OnRelease == nil {
		return nil
	}
	return f.OnRelease(ctx, in)
}

// Check implements agentapi.Handler.
func (f *Fake) Check(ctx context.Context, in agentapi.Check) (agentapi.Held, error) {
	f.note(in)
	if f.OnCheck == nil {
		return agentapi.Held{}, errcode.New(errcode.Internal, "the fake agent knows no leases", "")
	}
	return f.OnCheck(ctx, in)
}

// GC implements agentapi.Handler.
func (f *Fake) GC(ctx context.Context, in agentapi.GC) error {
	f.note(in)
	if f.OnGC == nil {
		return nil
	}
	return f.OnGC(ctx, in)
}

// Status implements agentapi.Handler.
func (f *Fake) Status(ctx context.Context, in agentapi.Status) error {
	f.note(in)
	if f.OnStatus == nil {
		return nil
	}
	return f.OnStatus(ctx, in)
}

// Socket returns a path for a socket where nobody listens. It is short: the
// kernel takes 107 characters, which t.TempDir may well exceed.
func Socket(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "weft-agent-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "agent.sock")
}

// Start serves h until the test ends and returns the socket. The returned
// function ends the server earlier, as if the agent were killed: its socket stays.
func Start(t testing.TB, h agentapi.Handler) (socket string, stop func()) {
	t.Helper()
	socket = Socket(t)
	return socket, StartAt(t, socket, h)
}

// StartAt is Start with a path.
func StartAt(t testing.TB, socket string, h agentapi.Handler) (stop func()) {
	t.Helper()
	l, err := agentapi.Listen(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- (&agentapi.Server{Handler: h, Log: slog.New(slog.DiscardHandler)}).Serve(ctx, l) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

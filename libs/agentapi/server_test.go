// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package agentapi

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/weft-cni/weft/libs/errcode"
)

// nothing succeeds in everything.
type nothing struct{}

func (nothing) Allocate(context.Context, Allocate) (Allocation, error) { return Allocation{}, nil }
func (nothing) Release(context.Context, Release) error                 { return nil }
func (nothing) Check(context.Context, Check) (Held, error)             { return Held{}, nil }
func (nothing) GC(context.Context, GC) error                           { return nil }
func (nothing) Status(context.Context, Status) error                   { return nil }

// serveVersion serves in a version of the protocol.
func serveVersion(t *testing.T, version int) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "weft-agent-") //nolint:usetesting // the kernel takes 107 characters
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	l, err := Listen(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = (&Server{Handler: nothing{}, Log: slog.New(slog.DiscardHandler), version: version}).Serve(ctx, l)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return socket
}

// TestNeighbouringVersions lets each version of the client ask each of the server.
func TestNeighbouringVersions(t *testing.T) {
	t.Parallel()
	for server := 1; server <= 4; server++ {
		socket := serveVersion(t, server)
		for client := 1; client <= 4; client++ {
			err := Client{Socket: socket, version: client}.Release(t.Context(), Release{})
			near := client-server <= 1 && server-client <= 1
			if near && err != nil {
				t.Errorf("client %d, server %d: %v", client, server, err)
			}
			if !near && !errcode.Has(err, errcode.TryAgain) {
				t.Errorf("client %d, server %d: %v, want code 11", client, server, err)
			}
		}
	}
}

// TestRootOnly connects as another user, past a mode that would let it in.
func TestRootOnly(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become somebody else")
	}
	socket := serveVersion(t, 1)
	if err := os.Chmod(filepath.Dir(socket), 0o755); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(socket)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the socket's mode is %v, %v", st.Mode(), err)
	}
	if err := os.Chmod(socket, 0o666); err != nil {
		t.Fatal(err)
	}
	res := make(chan Response, 1)
	go func() {
		defer close(res)
		runtime.LockOSThread() // and never unlocked: the thread ends as nobody
		if _, _, e := syscall.RawSyscall(syscall.SYS_SETRESUID, 65534, 65534, 65534); e != 0 {
			t.Errorf("become nobody: %v", e)
			return
		}
		conn, err := net.Dial("unix", socket) //nolint:noctx // a test's
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		var r Response
		if err := readFrame(conn, &r); err != nil {
			t.Error(err)
		}
		res <- r
	}()
	if r := <-res; r.Error == nil || r.Error.Code != uint(errcode.BadEnvironment) {
		t.Errorf("user 65534 was answered %+v", r)
	}
}

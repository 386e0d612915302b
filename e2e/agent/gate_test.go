// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"bytes"
	"encoding/base64"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/rest"
)

func encode(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// What a gate does with connections.
const (
	through = iota
	mute    // what the client sends arrives, what the server answers does not
	closed
)

// gate stands between one agent and the API server.
type gate struct {
	address string
	down    atomic.Int64 // bytes from the server

	mu    sync.Mutex
	state int
	conns map[net.Conn]bool
}

func newGate(t *testing.T, server *rest.Config) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a test's
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{address: l.Addr().String(), conns: map[net.Conn]bool{}}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go g.serve(c, strings.TrimPrefix(server.Host, "https://"))
		}
	}()
	t.Cleanup(func() { _ = l.Close(); g.set(closed) })
	return g
}

func (g *gate) get() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state
}

func (g *gate) open() bool { return g.get() == through }

// set changes what happens; closed also cuts what is connected, and so does the
// end of mute, for then bytes are missing.
func (g *gate) set(state int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	cut := state == closed || g.state == mute && state != mute
	g.state = state
	if cut {
		for c := range g.conns {
			_ = c.Close()
		}
	}
}

func (g *gate) serve(client net.Conn, target string) {
	defer func() { _ = client.Close() }()
	if g.get() == closed {
		return
	}
	server, err := net.Dial("tcp", target) //nolint:noctx // a test's
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	g.mu.Lock()
	g.conns[client], g.conns[server] = true, true
	g.mu.Unlock()
	go func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	}()
	b := make([]byte, 64<<10)
	for {
		n, err := server.Read(b)
		if err != nil {
			return
		}
		g.down.Add(int64(n))
		if g.get() == mute {
			continue
		}
		if _, err := client.Write(b[:n]); err != nil {
			return
		}
	}
}

// lockedBuffer takes the output of a process.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

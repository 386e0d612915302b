// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package leasestore_test

import (
	"context"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// What a proxy does with what a client sends.
const (
	pass      = iota
	loseReply // the server gets it and answers; then the connection is cut
	cutAfter  // the server gets it, and the connection is cut at once
	cutBefore // the server never gets it
	late      // the server gets it when the client has given up
	manners
)

// proxy stands before the API server and breaks connections.
type proxy struct {
	t      testing.TB
	target string

	mu     sync.Mutex
	rng    *rand.Rand
	chance float64 // that a piece of what a client sends is maltreated
	every  int     // how every piece is treated, unless pass
	done   [manners]int
}

// newProxy returns a proxy that behaves, and a configuration to reach the server by it.
func newProxy(t testing.TB, server *rest.Config) (*proxy, *rest.Config) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	p := &proxy{t: t, target: strings.TrimPrefix(server.Host, "https://"), rng: rand.New(rand.NewPCG(3, 5))}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.serve(ctx, c) })
		}
	})
	t.Cleanup(func() { cancel(); _ = l.Close(); wg.Wait() })
	via := rest.CopyConfig(server)
	via.Host = "https://" + l.Addr().String() // the certificate is for 127.0.0.1
	return p, via
}

// always treats every piece alike; pass leaves it to chance again.
func (p *proxy) always(how int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.every = how
}

// misbehave sets the chance that something happens to a piece.
func (p *proxy) misbehave(chance float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.chance = chance
}

// counts returns how often pieces were treated in each way.
func (p *proxy) counts() [manners]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

func (p *proxy) next() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	how := p.every
	if how == pass && p.rng.Float64() < p.chance {
		how = 1 + p.rng.IntN(manners-1)
	}
	p.done[how]++
	return how
}

func (p *proxy) serve(ctx context.Context, client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", p.target) //nolint:noctx // loopback.
	if err != nil {
		p.t.Errorf("proxy: %v", err)
		return
	}
	defer func() { _ = server.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = client.Close(); _ = server.Close() })
	defer stop()
	mute := make(chan struct{})
	go func() {
		b := make([]byte, 64<<10)
		for {
			n, err := server.Read(b)
			if err != nil {
				_ = client.Close()
				return
			}
			select {
			case <-mute:
			default:
				_, _ = client.Write(b[:n])
			}
		}
	}()
	b := make([]byte, 64<<10)
	for pieces := 0; ; pieces++ {
		n, err := client.Read(b)
		if err != nil {
			return
		}
		how := pass
		if pieces > 4 { // let the handshake be
			how = p.next()
		}
		switch how {
		case cutBefore:
			return
		case late:
			pause(ctx, 700*time.Millisecond)
		case loseReply:
			close(mute)
		}
		if _, err := server.Write(b[:n]); err != nil {
			return
		}
		if how == loseReply {
			pause(ctx, 250*time.Millisecond)
		}
		if how == cutAfter || how == loseReply {
			return
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// freeAddress returns a loopback address where nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed at once
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// TestPages asks for health before and after the API server was heard.
func TestPages(t *testing.T) {
	t.Parallel()
	a := &agent{
		config:  config{health: freeAddress(t), pprof: freeAddress(t), silence: time.Minute},
		log:     slog.New(slog.DiscardHandler),
		cluster: &cluster{now: time.Now}, pools: &pools{done: func() bool { return true }},
	}
	var wg sync.WaitGroup
	stop, err := a.servePages(t.Context(), &wg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { stop(); wg.Wait() }()
	get := func(address, path string) (int, string) {
		res, err := http.Get("http://" + address + path) //nolint:noctx // a test's
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(body)
	}
	want := func(address, path string, code int, text string) {
		t.Helper()
		if got, body := get(address, path); got != code || !strings.Contains(body, text) {
			t.Errorf("%s: %d %q, want %d with %q", path, got, body, code, text)
		}
	}
	want(a.config.health, "/healthz", http.StatusOK, "ok")
	want(a.config.health, "/readyz", http.StatusServiceUnavailable, "not reached the API server")
	a.cluster.heard.Store(time.Now().UnixNano())
	want(a.config.health, "/readyz", http.StatusOK, "ok")
	a.cluster.heard.Store(time.Now().Add(-2 * time.Minute).UnixNano())
	want(a.config.health, "/readyz", http.StatusServiceUnavailable, "has not answered")
	want(a.config.pprof, "/debug/pprof/", http.StatusOK, "goroutine")
	want(a.config.health, "/debug/pprof/", http.StatusNotFound, "")
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"path"
	"sync"
	"time"

	"github.com/weft-cni/weft/libs/agentapi"
	"github.com/weft-cni/weft/libs/errcode"
)

// servePages serves health and profiles where the flags say so. The returned
// function ends that.
func (a *agent) servePages(ctx context.Context, wg *sync.WaitGroup) (func(), error) {
	health := http.NewServeMux()
	health.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") })
	health.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := a.Status(r.Context(), agentapi.Status{}); err != nil {
			http.Error(w, errcode.Of(err).Msg, http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, "ok")
	})
	profiles := http.NewServeMux()
	profiles.HandleFunc("/debug/pprof/", pprof.Index)
	profiles.HandleFunc("/debug/pprof/profile", pprof.Profile)
	profiles.HandleFunc("/debug/pprof/trace", pprof.Trace)
	var stops []func()
	stop := func() {
		for _, f := range stops {
			f()
		}
	}
	for _, page := range []struct {
		address string
		handler http.Handler
	}{{a.config.health, health}, {a.config.pprof, profiles}} {
		if page.address == "" {
			continue
		}
		var c net.ListenConfig
		l, err := c.Listen(ctx, "tcp", page.address)
		if err != nil {
			stop()
			return nil, fmt.Errorf("listen on %s: %w", page.address, err)
		}
		server := &http.Server{Handler: page.handler, ReadHeaderTimeout: 5 * time.Second}
		wg.Go(func() {
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				a.log.Error("health or profile page", slog.Any("err", err))
			}
		})
		stops = append(stops, func() { _ = server.Close() })
	}
	return stop, nil
}

// matches says whether a name or pattern of a configuration means the pool.
func matches(pattern, pool string) bool {
	ok, err := path.Match(pattern, pool)
	return pattern == pool || ok && err == nil
}

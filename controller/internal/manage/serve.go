// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package manage

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"
)

// serve answers for health and, when asked for, profiles, until stop is called.
func (r *replica) serve(healthy func(*http.Request) error) (stop func(), err error) {
	health, profiles := http.NewServeMux(), http.NewServeMux()
	health.HandleFunc("/healthz", answer(healthy))
	health.HandleFunc("/readyz", answer(func(*http.Request) error {
		if !r.ready.Load() {
			return errors.New("has not yet seen all pools, leases and nodes")
		}
		return nil
	}))
	profiles.HandleFunc("/debug/pprof/", pprof.Index)
	profiles.HandleFunc("/debug/pprof/profile", pprof.Profile)
	profiles.HandleFunc("/debug/pprof/trace", pprof.Trace)
	var servers []*http.Server
	stop = func() {
		for _, s := range servers {
			_ = s.Close()
		}
	}
	for _, x := range []struct {
		at  string
		mux *http.ServeMux
	}{{r.config.Health, health}, {r.config.PProf, profiles}} {
		if x.at == "" {
			continue
		}
		l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", x.at)
		if err != nil {
			stop()
			return nil, fmt.Errorf("listen on %s: %w", x.at, err)
		}
		s := &http.Server{Handler: x.mux, ReadHeaderTimeout: 5 * time.Second}
		servers = append(servers, s)
		go func() { _ = s.Serve(l) }()
	}
	return stop, nil
}

func answer(check func(*http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		if err := check(req); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	}
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package leasestore

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/weft-cni/weft/libs/lease"
)

// status answers as the API server does.
func status(w http.ResponseWriter, code int, reason metav1.StatusReason, after int) {
	w.Header().Set("Content-Type", "application/json")
	if after > 0 {
		w.Header().Set("Retry-After", fmt.Sprint(after))
	}
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(metav1.Status{ //nolint:errchkjson // a test server
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Reason: reason, Code: int32(code),
		Message: fmt.Sprintf("%s not found", reason), Details: &metav1.StatusDetails{RetryAfterSeconds: int32(after)},
	})
}

// TestAnswers claims from a server that answers badly; the conditions of real
// ones are hard to bring about on purpose.
func TestAnswers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		answer   func(w http.ResponseWriter, nth int64) bool // false: as if it went well
		requests int64
		unknown  bool
		fails    bool
	}{
		{name: "too busy once", requests: 2, answer: func(w http.ResponseWriter, nth int64) bool {
			if nth > 1 {
				return false
			}
			status(w, http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, 1)
			return true
		}},
		{name: "failed, says to try again", requests: 1, unknown: true, answer: func(w http.ResponseWriter, _ int64) bool {
			status(w, http.StatusInternalServerError, metav1.StatusReasonServerTimeout, 1)
			return true
		}},
		{name: "timed out behind", requests: 1, unknown: true, answer: func(w http.ResponseWriter, _ int64) bool {
			status(w, http.StatusGatewayTimeout, metav1.StatusReasonTimeout, 0)
			return true
		}},
		{name: "hung up", requests: 1, unknown: true, answer: func(http.ResponseWriter, int64) bool {
			panic(http.ErrAbortHandler)
		}},
		{name: "forbidden", requests: 1, fails: true, answer: func(w http.ResponseWriter, _ int64) bool {
			status(w, http.StatusForbidden, metav1.StatusReasonForbidden, 0)
			return true
		}},
		{name: "without CRDs", requests: 1, fails: true, answer: func(w http.ResponseWriter, _ int64) bool {
			status(w, http.StatusNotFound, metav1.StatusReasonNotFound, 0)
			return true
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			k, r := sample()
			var requests atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if c.answer(w, requests.Add(1)) {
					return
				}
				l := object(k, r)
				l.UID, l.Generation, l.ResourceVersion = "u", 1, "7"
				l.APIVersion, l.Kind = "weft.dev/v1alpha1", "IPLease"
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusCreated)
				_ = json.NewEncoder(w).Encode(l)
			}))
			t.Cleanup(server.Close)
			s, err := New(Config{Server: &rest.Config{Host: server.URL}, Node: "node1"})
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			v, err := s.Claim(t.Context(), k, r)
			if errors.Is(err, lease.ErrUnknown) != c.unknown || (err != nil) != (c.unknown || c.fails) {
				t.Errorf("claim: %q, %v", v, err)
			}
			if err == nil && time.Since(began) < time.Second {
				t.Errorf("tried again after %v, want what the server asked for", time.Since(began))
			}
			if got := requests.Load(); got != c.requests {
				t.Errorf("%d requests, want %d", got, c.requests)
			}
			if c.fails && strings.Contains(err.Error(), "not found") && c.name == "without CRDs" {
				t.Errorf("a runtime takes this for success: %v", err)
			}
			if s.inDoubt(k) != c.unknown {
				t.Errorf("in doubt: %v, want %v", s.inDoubt(k), c.unknown)
			}
		})
	}
}

// TestNoServer fails before anything is sent: that is no doubt.
func TestNoServer(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(nil)
	server.Close()
	s, err := New(Config{Server: &rest.Config{Host: server.URL}})
	if err != nil {
		t.Fatal(err)
	}
	k, r := sample()
	if _, err := s.Claim(t.Context(), k, r); err == nil || errors.Is(err, lease.ErrUnknown) {
		t.Errorf("claim: %v, want a plain failure", err)
	}
}

// TestDoubtAndSuccess claims one key twice: the first request was lost, the
// second one made the lease. Settle must leave it, and forget in time.
func TestDoubtAndSuccess(t *testing.T) {
	t.Parallel()
	k, r := sample()
	var posts, deletes atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch {
		case req.Method == http.MethodDelete:
			deletes.Add(1)
			status(w, http.StatusConflict, metav1.StatusReasonConflict, 0)
			return
		case req.Method == http.MethodPost && posts.Add(1) == 1:
			status(w, http.StatusInternalServerError, metav1.StatusReasonInternalError, 0)
			return
		}
		l := object(k, r)
		l.UID, l.Generation, l.ResourceVersion = "u", 1, "7"
		l.APIVersion, l.Kind = "weft.dev/v1alpha1", "IPLease"
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(l)
	}))
	t.Cleanup(server.Close)
	var ahead atomic.Int64
	// A store without a node keeps no index: the doubt itself must know.
	s, err := New(Config{Server: &rest.Config{Host: server.URL}, Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Claim(t.Context(), k, r); !errors.Is(err, lease.ErrUnknown) {
		t.Fatalf("the first claim: %v", err)
	}
	if _, err := s.Claim(t.Context(), k, r); err != nil {
		t.Fatalf("the second claim: %v", err)
	}
	for i, want := range []int{1, 0} { // while the first request may still come, and later
		if left, err := s.Settle(t.Context()); left != want || err != nil {
			t.Errorf("settle %d: %d left, %v, want %d", i+1, left, err, want)
		}
		ahead.Store(int64(2 * lateBy))
	}
	if n := deletes.Load(); n > 0 {
		t.Errorf("the lease in use was released %d times", n)
	}
}

// TestSettleReleases claims from a server that does what it is asked and says
// that it failed: nobody knows of the lease until Settle looks.
func TestSettleReleases(t *testing.T) {
	t.Parallel()
	k, r := sample()
	var deletes atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		l := object(k, r)
		l.UID, l.Generation, l.ResourceVersion = "u", 1, "7"
		l.APIVersion, l.Kind = "weft.dev/v1alpha1", "IPLease"
		switch req.Method {
		case http.MethodPost:
			status(w, http.StatusInternalServerError, metav1.StatusReasonInternalError, 0)
			return
		case http.MethodDelete:
			deletes.Add(1)
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Success"}`)
			return
		case http.MethodPatch:
			l.Finalizers, l.ResourceVersion = nil, "8"
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(l)
	}))
	t.Cleanup(server.Close)
	s, err := New(Config{Server: &rest.Config{Host: server.URL}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Claim(t.Context(), k, r); !errors.Is(err, lease.ErrUnknown) {
		t.Fatalf("claim: %v", err)
	}
	if left, err := s.Settle(t.Context()); left != 0 || err != nil || deletes.Load() != 1 {
		t.Errorf("settle: %d left, %v, %d deletes, want 1", left, err, deletes.Load())
	}
}

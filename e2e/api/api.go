// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package api runs a Kubernetes API server with weft's CRDs for tests: etcd and
// kube-apiserver as real processes on loopback, no nodes, no controllers.
//
// One server serves all tests of a process, so that a test must name its objects
// for itself. However the process ends, the kernel ends the servers and drops
// their files. It needs root and the folder of programs that
// e2e/cluster/k8s/build.sh makes, in WEFT_K8S: without either a test is skipped,
// or fails where WEFT_REQUIRE lists "api".
package api

import (
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
)

// server is this process's one, started by the first test that asks.
var server = sync.OnceValues(start) //nolint:gochecknoglobals // One server a process is the point.

// Start returns a client configuration with all rights on a server where the
// CRDs of charts/weft/crds are established.
func Start(t testing.TB) *rest.Config {
	t.Helper()
	if err := possible(); err != nil {
		if wanted := strings.Split(os.Getenv("WEFT_REQUIRE"), ","); slices.Contains(wanted, "api") || slices.Contains(wanted, "all") {
			t.Fatalf("api is required (WEFT_REQUIRE) and absent: %v", err)
		}
		t.Skipf("needs an API server: %v", err)
	}
	s, err := server()
	if err != nil {
		t.Fatal(err)
	}
	return rest.CopyConfig(s)
}

func possible() error {
	if os.Geteuid() != 0 {
		return errors.New("not root")
	}
	if os.Getenv("WEFT_K8S") == "" {
		return errors.New("WEFT_K8S names no folder of Kubernetes programs; make test-api does")
	}
	return nil
}

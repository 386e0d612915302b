// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCount(t *testing.T) {
	t.Parallel()
	got := count([]byte(`=== RUN   TestA
=== PAUSE TestA
=== RUN   TestB
=== RUN   TestB/vlan
    b_test.go:7: this kernel has no VLAN
--- FAIL: TestB (0.01s)
    --- SKIP: TestB/vlan (0.00s)
=== CONT  TestA
=== RUN   TestC
    c_test.go:1: needs a card
--- SKIP: TestC (0.00s)
--- PASS: TestA (0.00s)
--- SKIP: device: only in a guest
FAIL
`))
	want := counts{passed: 1, failed: 1, skipped: []string{"TestB/vlan: b_test.go:7: this kernel has no VLAN", "TestC: c_test.go:1: needs a card", "device: only in a guest"}}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(counts{})); d != "" {
		t.Errorf("counts (-want +got):\n%s", d)
	}
}

func TestSuiteCountsABrokenPackage(t *testing.T) {
	t.Parallel()
	got := suite(t.Output(), "/ /bin/false example.org/p\n", 0)
	if got.failed != 1 {
		t.Errorf("a package that ends with 1 and runs no test counts %d failures, want 1", got.failed)
	}
}

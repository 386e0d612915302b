// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package nettest

import (
	"strings"
	"testing"
)

func TestRequired(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		list, feature string
		want          bool
	}{
		{"", "nft", false},
		{"nft", "nft", true},
		{"ipvlan,nft", "nft", true},
		{"ipvlan", "nft", false},
		{"all", "nft", true},
	} {
		if got := required(tc.list, tc.feature); got != tc.want {
			t.Errorf("required(%q, %q) = %v", tc.list, tc.feature, got)
		}
	}
}

func TestWithoutRoot(t *testing.T) {
	for _, tc := range []struct {
		require string
		code    int
	}{{"", 0}, {"root", 1}, {"nft", 1}} {
		t.Setenv(requireEnv, tc.require)
		var out strings.Builder
		if got := withoutRoot(&out); got != tc.code {
			t.Errorf("%s=%q: exit code %d, want %d", requireEnv, tc.require, got, tc.code)
		}
		if strings.Count(out.String(), "\n") != 1 || !strings.Contains(out.String(), "root") {
			t.Errorf("reason is not one line about root: %q", out.String())
		}
	}
}

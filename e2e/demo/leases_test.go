// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// noLeases asks weft-ipam by hand what is held; resting addresses may be left.
func noLeases(t *testing.T, hosts ...*host) (string, error) {
	t.Helper()
	resting := 0
	for _, h := range hosts {
		out, err := exec.CommandContext(t.Context(), filepath.Join(h.bin, "weft-ipam"), "leases", "--state-dir", filepath.Join(h.state, "weft-ipam")).CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("weft-ipam leases: %w: %s", err, out)
		}
		for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n")[1:] {
			if !strings.Contains(line, "rests until") {
				return "", fmt.Errorf("host %s still holds: %s", h.name, line)
			}
			resting++
		}
	}
	return fmt.Sprintf("%d rest until their cooldown ends", resting), nil
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package cnitest

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
)

// WithStateDir returns the conflist with `stateDir` of every weft plugin set
// below dir, so that a test neither reads nor leaves state on the machine.
func WithStateDir(conflist []byte, dir string) ([]byte, error) {
	var list map[string]any
	if err := json.Unmarshal(conflist, &list); err != nil {
		return nil, fmt.Errorf("read conflist: %w", err)
	}
	plugins, _ := list["plugins"].([]any)
	for _, p := range plugins {
		plugin, _ := p.(map[string]any)
		ipam, _ := plugin["ipam"].(map[string]any)
		for _, conf := range []map[string]any{plugin, ipam} {
			if name, _ := conf["type"].(string); strings.HasPrefix(name, "weft-") {
				conf["stateDir"] = filepath.Join(dir, name)
			}
		}
	}
	return json.Marshal(list)
}

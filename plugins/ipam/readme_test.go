// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestReadmeNamesEveryKey keeps the tables complete.
func TestReadmeNamesEveryKey(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{ipamConf{}, poolConf{}, familyConf{}, clusterConf{}} {
		for f := range reflect.TypeOf(v).Fields() {
			key := f.Tag.Get("json")
			if !strings.Contains(string(text), "| `"+key+"`") && !strings.Contains(string(text), ", `"+key+"` |") {
				t.Errorf("README.md has no row for %q of %T", key, v)
			}
		}
	}
}

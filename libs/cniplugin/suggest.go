// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package cniplugin

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// field is one key that a struct type decodes.
type field struct {
	key string
	typ reflect.Type
}

// fields lists a struct's keys the way encoding/json names them, embedded structs flattened.
func fields(t reflect.Type) []field {
	var all []field
	for f := range t.Fields() {
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Tag.Get("json") == "-":
		case f.Anonymous && tag == "" && base(f.Type).Kind() == reflect.Struct:
			for _, inner := range fields(base(f.Type)) {
				if _, hidden := lookup(all, inner.key); !hidden {
					all = append(all, inner)
				}
			}
		case !f.IsExported():
		case tag == "":
			all = append([]field{{f.Name, f.Type}}, all...)
		default:
			all = append([]field{{tag, f.Type}}, all...)
		}
	}
	return all
}

func base(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

func lookup(known []field, key string) (reflect.Type, bool) {
	for _, f := range known {
		if f.key == key {
			return f.typ, true
		}
	}
	return nil, false
}

// suggest finds the key that was probably meant: the nearest within a third of its length, the case of letters aside.
// Without one, a short list of keys is a better help than nothing.
func suggest(key string, known []field) string {
	best, near := "", max(2, len(key)/3)+1
	for _, f := range known {
		if d := distance(strings.ToLower(key), strings.ToLower(f.key)); d < near || d == near && best != "" && f.key < best {
			best, near = f.key, d
		}
	}
	if best != "" && near < len(key) {
		return "did you mean " + strconv.Quote(best) + "?"
	}
	if len(known) == 0 || len(known) > 8 {
		return ""
	}
	keys := make([]string, 0, len(known))
	for _, f := range known {
		keys = append(keys, f.key)
	}
	slices.Sort(keys)
	return "known are " + strings.Join(keys, ", ")
}

// distance counts the insertions, deletions, replacements and swaps of neighbours that turn a into b.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package leasestore

import (
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
	"github.com/weft-cni/weft/libs/lease"
)

// swap is the patch that makes a lease of version at say r.
func swap(k lease.Key, at version, r lease.Record) []byte {
	meta := map[string]any{"resourceVersion": at.resource}
	l := map[string]any{v1alpha1.NodeLabel: nil}
	for name, value := range labels(r) {
		l[name] = value
	}
	meta["labels"] = l
	if r.Rest != at.rest {
		meta["finalizers"] = finalizers(r.Rest)
	}
	return mergePatch(meta, full(reflect.ValueOf(spec(k, r))))
}

// restFor is the patch that makes a lease rest as long once it is deleted. For
// no rest it leaves the spec alone, so that the version stays good for a retry.
func restFor(at version, rest time.Duration) []byte {
	meta := map[string]any{"resourceVersion": at.resource, "finalizers": finalizers(rest)}
	if rest == 0 {
		return mergePatch(meta, nil)
	}
	return mergePatch(meta, map[string]any{"cooldown": rest.String()})
}

func mergePatch(meta map[string]any, spec map[string]any) []byte {
	p := map[string]any{"metadata": meta}
	if spec != nil {
		p["spec"] = spec
	}
	b, _ := json.Marshal(p) //nolint:errchkjson // maps of strings, numbers and API types.
	return b
}

// full is a struct as a merge patch that leaves nothing of the old value: fields
// that JSON would omit are null.
func full(v reflect.Value) map[string]any {
	out := map[string]any{}
	for i := range v.NumField() {
		f := v.Field(i)
		name, opts, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if f.IsZero() && opts != "" {
			out[name] = nil
			continue
		}
		if f.Kind() == reflect.Pointer && !f.Type().Implements(marshaler()) {
			f = f.Elem()
		}
		if f.Kind() == reflect.Struct && !f.Type().Implements(marshaler()) {
			out[name] = full(f)
			continue
		}
		out[name] = f.Interface()
	}
	return out
}

func marshaler() reflect.Type { return reflect.TypeFor[json.Marshaler]() }

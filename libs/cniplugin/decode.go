// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package cniplugin

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	kjson "sigs.k8s.io/json"
)

// injected tells the keys that the specification, runtimes and meta plugins put into a plugin's configuration. At
// the top of a configuration they are allowed without being named.
func injected(key string) bool {
	switch key {
	case "cniVersion", "name", "type", "prevResult", "runtimeConfig", "args", "capabilities", "ipam", "dns",
		"deviceID", "pciBusID":
		return true
	}
	return strings.HasPrefix(key, "cni.dev/")
}

// Decode reads the object under the key at of a configuration, or with at "" the configuration itself, strictly: a key
// that T does not have, a key given twice, a key in the wrong case and a value of the wrong type are problems, and all
// of them are returned. allowed names keys of that object (not of objects inside it) that are somebody else's and pass
// unread; at the top, the keys that runtimes inject pass as well.
//
// The value holds whatever could be read, also when there are problems.
func Decode[T any](raw []byte, at string, allowed ...string) (T, Problems) {
	var v T
	var ps Problems
	pass := func(key string) bool { return slices.Contains(allowed, key) || at == "" && injected(key) }
	if !json.Valid(raw) {
		ps.Add(name(at), quote(string(raw)), "JSON")
		return v, ps
	}
	if at != "" {
		var ok bool
		if raw, ok = pick(raw, at, &ps); !ok {
			return v, ps
		}
	}
	strict, err := kjson.UnmarshalStrict(raw, &v)
	strict = slices.DeleteFunc(strict, func(e error) bool { return passes(e, raw, pass) })
	// The decoder stops at the first value of a wrong type, and then tells nothing of the keys; and it does not mind a
	// key twice that it does not know. The walk sees all of that. Should the walk be content and the decoder not, the
	// decoder is right.
	w := walker{pass: pass}
	w.value(raw, reflect.TypeFor[T](), at)
	if len(w.problems) == 0 {
		w.fallback(at, strict, err)
	}
	return v, append(ps, w.problems...)
}

// pick finds the object under the key at, which must be there once.
func pick(raw []byte, at string, ps *Problems) ([]byte, bool) {
	all, err := members(raw)
	if err != nil {
		ps.Add(at, show(raw), "a JSON object around it")
		return nil, false
	}
	var found [][]byte
	for _, m := range all {
		if m.key == at && string(m.raw) != "null" {
			found = append(found, m.raw)
		}
	}
	switch len(found) {
	case 0:
		ps.Add(at, "nothing", "an object")
		return nil, false
	case 1:
		return found[0], true
	}
	ps.Add(at, "the key twice", "it once")
	return found[len(found)-1], true
}

// passes tells whether a strict error is about a top-level key that is allowed. A duplicate of an allowed key is not.
func passes(e error, raw []byte, pass func(string) bool) bool {
	f, ok := e.(kjson.FieldError) //nolint:errorlint // sigs.k8s.io/json documents that strict errors are not wrapped
	if !ok || !pass(f.FieldPath()) || !strings.HasPrefix(e.Error(), "unknown") {
		return false
	}
	// A path with dots may also be a key with dots; then it is at the top.
	return !strings.ContainsAny(f.FieldPath(), ".[") || has(raw, f.FieldPath())
}

func has(raw []byte, key string) bool {
	all, err := members(raw)
	return err == nil && slices.ContainsFunc(all, func(m member) bool { return m.key == key })
}

// member is one key of a JSON object with its undecoded value.
type member struct {
	key string
	raw []byte
}

// members lists an object's keys in their order, duplicates included.
func members(raw []byte) ([]member, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if err := open(d, '{'); err != nil {
		return nil, err
	}
	var all []member
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		name, _ := key.(string)
		all = append(all, member{key: name, raw: value})
	}
	return all, nil
}

// elements lists an array's undecoded values.
func elements(raw []byte) ([][]byte, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if err := open(d, '['); err != nil {
		return nil, err
	}
	var all [][]byte
	for d.More() {
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		all = append(all, value)
	}
	return all, nil
}

func open(d *json.Decoder, want json.Delim) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	if t != want {
		return errForm
	}
	return nil
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package cniplugin

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	kjson "sigs.k8s.io/json"
)

var errForm = errors.New("another kind of JSON value")

// walker compares JSON with a Go type and notes every difference.
type walker struct {
	pass     func(key string) bool // keys of the outermost object that are nobody's business
	problems Problems
}

func (w *walker) value(raw []byte, t reflect.Type, path string) {
	for t.Kind() == reflect.Pointer && !decodesItself(t) {
		t = t.Elem()
	}
	if bytes.Equal(bytes.TrimSpace(raw), []byte("null")) {
		return // as everywhere in Go: null leaves the zero value
	}
	switch {
	case decodesItself(t):
		w.leaf(raw, t, path)
	case t.Kind() == reflect.Struct:
		w.object(raw, t, path)
	case t.Kind() == reflect.Map:
		w.mapping(raw, t, path)
	case t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8, t.Kind() == reflect.Array:
		w.list(raw, t, path)
	default:
		w.leaf(raw, t, path)
	}
}

func (w *walker) object(raw []byte, t reflect.Type, path string) {
	all, err := members(raw)
	if err != nil {
		w.problems.Add(name(path), show(raw), "an object")
		return
	}
	pass := w.pass
	w.pass = nil
	known := fields(t)
	seen := map[string]bool{}
	for _, m := range all {
		at := join(path, m.key)
		if seen[m.key] {
			w.problems.Add(at, "the key twice", "it once")
		}
		seen[m.key] = true
		ft, ok := lookup(known, m.key)
		switch {
		case ok:
			w.value(m.raw, ft, at)
		case pass == nil || !pass(m.key):
			w.problems = append(w.problems, Problem{Path: at, Got: showMember(m), Want: suggest(m.key, known), Unknown: true})
		}
	}
}

func (w *walker) mapping(raw []byte, t reflect.Type, path string) {
	all, err := members(raw)
	if err != nil {
		w.problems.Add(name(path), show(raw), "an object")
		return
	}
	w.pass = nil
	seen := map[string]bool{}
	for _, m := range all {
		at := join(path, m.key)
		if seen[m.key] {
			w.problems.Add(at, "the key twice", "it once")
		}
		seen[m.key] = true
		w.value(m.raw, t.Elem(), at)
	}
}

func (w *walker) list(raw []byte, t reflect.Type, path string) {
	all, err := elements(raw)
	if err != nil {
		w.problems.Add(name(path), show(raw), "a list")
		return
	}
	w.pass = nil
	for i, one := range all {
		w.value(one, t.Elem(), path+"["+strconv.Itoa(i)+"]")
	}
}

// leaf tries one value alone.
func (w *walker) leaf(raw []byte, t reflect.Type, path string) {
	v := reflect.New(t)
	strict, err := kjson.UnmarshalStrict(raw, v.Interface())
	for _, e := range strict { // inside a value of any form, where no key is unknown
		if f, ok := errors.AsType[kjson.FieldError](e); ok {
			w.problems.Add(join(path, f.FieldPath()), "the key twice", "it once")
		}
	}
	if err != nil {
		w.problems.Add(name(path), show(raw), wanted(t, raw, err))
	}
}

// fallback reports in the decoder's words what the walk could not see.
func (w *walker) fallback(at string, strict []error, err error) {
	for _, e := range strict {
		w.problems.Add(name(at), e.Error(), "no such key")
	}
	if err != nil {
		w.problems.Add(name(at), err.Error(), "what the plugin's README shows")
	}
}

// wanted says what a value of type t looks like. A type that decodes itself says the rest in its error.
func wanted(t reflect.Type, raw []byte, err error) string {
	if decodesText(t) && !bytes.HasPrefix(bytes.TrimSpace(raw), []byte(`"`)) {
		return article(typeName(t)) + " as a string"
	}
	if decodesItself(t) {
		return article(typeName(t)) + " (" + err.Error() + ")"
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "an integer" + width(t, 1)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return "an integer that is not negative" + width(t, 0)
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "a base64 string"
	default:
		return article(t.String())
	}
}

func width(t reflect.Type, sign int) string {
	if t.Bits() >= 64 {
		return ""
	}
	return fmt.Sprintf(" of at most %d", uint64(1)<<(t.Bits()-sign)-1)
}

// typeName names the well-known types in a user's words.
func typeName(t reflect.Type) string {
	switch t.String() {
	case "netip.Addr", "net.IP":
		return "IP address"
	case "netip.Prefix", "types.IPNet":
		return "IP prefix such as 10.0.0.0/24"
	case "netip.AddrPort":
		return "address with port"
	case "time.Time":
		return "time"
	}
	return t.Name()
}

func article(s string) string {
	if s == "" {
		return "another value"
	}
	if strings.ContainsRune("aeiouAEIO", rune(s[0])) {
		return "an " + s
	}
	return "a " + s
}

func decodesItself(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) || decodesText(t)
}

func decodesText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// show prints a JSON value on one short line. What is inside objects is left out: it is long, and may be secret.
func show(raw []byte) string {
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return quote(string(raw))
	}
	s := b.String()
	switch {
	case len(s) > 2 && s[0] == '{':
		return "{…}"
	case s[0] == '[' && strings.Contains(s, "{"):
		return "[{…}]"
	}
	return shorten(s)
}

// showMember prints the value of a key that we do not know, unless the key says that it is a secret.
func showMember(m member) string {
	key := strings.ToLower(m.key)
	for _, word := range []string{"pass", "secret", "token", "credential", "private"} {
		if strings.Contains(key, word) {
			return "(not shown)"
		}
	}
	return show(m.raw)
}

// name is the path for a message; the configuration itself has none.
func name(path string) string {
	if path == "" {
		return "configuration"
	}
	return path
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

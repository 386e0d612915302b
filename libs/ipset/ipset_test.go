// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package ipset

import (
	"math"
	"net/netip"
	"slices"
	"testing"

	"go4.org/netipx"
	"pgregory.net/rapid"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func set(t testing.TB, include string, exclude ...string) Set {
	t.Helper()
	in, err := Parse(include)
	if err != nil {
		t.Fatal(err)
	}
	var out []Range
	for _, e := range exclude {
		r, err := Parse(e)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	s, err := Of([]Range{in}, out...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestParse(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"10.0.0.1":                "10.0.0.1",
		"10.0.0.1-10.0.0.9":       "10.0.0.1-10.0.0.9",
		"10.0.0.1 - 10.0.0.9":     "10.0.0.1-10.0.0.9",
		"10.0.0.0-10.0.0.255":     "10.0.0.0/24",
		"10.0.0.0/24":             "10.0.0.0/24",
		"fd00::/64":               "fd00::/64",
		"fd00::1-fd00::ffff":      "fd00::1-fd00::ffff",
		"2001:DB8:0:0:0:0:0:1":    "2001:db8::1",
		"0.0.0.0-255.255.255.255": "0.0.0.0/0",
		"10.0.0.1/24":             "",
		"10.0.0.9-10.0.0.1":       "",
		"10.0.0.1-fd00::1":        "",
		"fe80::1%eth0":            "",
		"::ffff:10.0.0.1":         "",
		"10.0.0.256":              "",
		"10.0.0.1-":               "",
		"":                        "",
		"-":                       "",
		"/":                       "",
		"10.0.0.0/33":             "",
		"10.0.0.0-10.0.0.1-2":     "",
	} {
		r, err := Parse(in)
		switch {
		case want == "" && err == nil:
			t.Errorf("Parse(%q) = %s, want an error", in, Format(r))
		case want != "" && err != nil:
			t.Errorf("Parse(%q): %v", in, err)
		case want != "" && Format(r) != want:
			t.Errorf("Parse(%q) = %s, want %s", in, Format(r), want)
		}
	}
}

func TestLargeSetsSaturate(t *testing.T) {
	t.Parallel()
	s := set(t, "fd00::/64")
	if s.Size() != math.MaxUint64 || s.Indexed() {
		t.Errorf("a /64 has size %d, indexed %v", s.Size(), s.Indexed())
	}
	if s := set(t, "::/0"); s.Size() != math.MaxUint64 {
		t.Errorf("::/0 has size %d", s.Size())
	}
	if s := set(t, "fd00::/65"); s.Size() != 1<<63 || s.Indexed() {
		t.Errorf("a /65 has size %d, indexed %v", s.Size(), s.Indexed())
	}
	s = set(t, "fd00::/66", "fd00::")
	last, ok := s.At(s.Size() - 1)
	if !ok || last != addr("fd00::3fff:ffff:ffff:ffff") {
		t.Errorf("last of a /66 is %s", last)
	}
	if a, ok := set(t, "fd00::/64", "fd00::", "fd00::2").Next(addr("fd00::2")); !ok || a != addr("fd00::3") {
		t.Errorf("Next over a hole in a /64 gives %s", a)
	}
}

func TestEmpty(t *testing.T) {
	t.Parallel()
	var s Set
	if _, ok := s.Next(addr("10.0.0.1")); ok || s.Contains(addr("10.0.0.1")) || s.Size() != 0 {
		t.Error("the zero set has members")
	}
	if _, ok := s.First(); ok {
		t.Error("the zero set has a first member")
	}
	if _, ok := s.At(0); ok {
		t.Error("the zero set has a member 0")
	}
	if !Single(addr("10.0.0.7")).Contains(addr("10.0.0.7")) {
		t.Error("a single set misses its member")
	}
}

func TestOverlap(t *testing.T) {
	t.Parallel()
	a := set(t, "10.0.0.0/24", "10.0.0.100-10.0.0.200")
	if r, ok := a.Overlap(set(t, "10.0.0.100-10.0.0.210")); !ok || Format(r) != "10.0.0.201-10.0.0.210" {
		t.Errorf("overlap = %s, %v", Format(r), ok)
	}
	if r, ok := a.Overlap(set(t, "10.0.0.100-10.0.0.200")); ok {
		t.Errorf("a hole overlaps at %s", Format(r))
	}
}

// draw makes a set over a small universe, IPv4 or IPv6, and its naive oracle.
func draw(t *rapid.T) (Set, []netip.Addr, []netip.Addr) {
	base := addr(rapid.SampledFrom([]string{"10.0.0.0", "10.0.255.240", "fd00::fff0", "fd00:0:0:1::"}).Draw(t, "base"))
	var universe []netip.Addr
	for a := base; len(universe) < 64; a = a.Next() {
		universe = append(universe, a)
	}
	member := map[netip.Addr]bool{}
	ranges := func(label string, value bool) (out []Range) {
		for range rapid.IntRange(0, 4).Draw(t, label) {
			lo := rapid.IntRange(0, len(universe)-1).Draw(t, "lo")
			hi := rapid.IntRange(lo, len(universe)-1).Draw(t, "hi")
			out = append(out, netipx.IPRangeFrom(universe[lo], universe[hi]))
			for _, a := range universe[lo : hi+1] {
				member[a] = value
			}
		}
		return out
	}
	include := ranges("include", true)
	exclude := ranges("exclude", false)
	s, err := Of(include, exclude...)
	if err != nil {
		t.Fatal(err)
	}
	var want []netip.Addr
	for _, a := range universe {
		if member[a] {
			want = append(want, a)
		}
	}
	return s, universe, want
}

func TestSetAgainstNaiveOracle(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s, universe, want := draw(t)
		if s.Size() != uint64(len(want)) {
			t.Fatalf("size %d, want %d", s.Size(), len(want))
		}
		for i, a := range want {
			if got, ok := s.At(uint64(i)); !ok || got != a {
				t.Fatalf("At(%d) = %s, want %s", i, got, a)
			}
			if got, ok := s.Index(a); !ok || got != uint64(i) {
				t.Fatalf("Index(%s) = %d, want %d", a, got, i)
			}
		}
		for _, a := range universe {
			if s.Contains(a) != slices.Contains(want, a) {
				t.Fatalf("Contains(%s) = %v", a, s.Contains(a))
			}
			i := slices.IndexFunc(want, func(w netip.Addr) bool { return !w.Less(a) })
			got, ok := s.Next(a)
			if ok != (i >= 0) || ok && got != want[i] {
				t.Fatalf("Next(%s) = %s, %v", a, got, ok)
			}
		}
		if _, ok := s.At(s.Size()); ok {
			t.Fatal("At(Size) has a member")
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"10.0.0.1", "10.0.0.1-10.0.0.9", "10.0.0.0/24", "fd00::/64", "::-ffff::", "0.0.0.0/0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := Parse(s)
		if err != nil {
			return
		}
		again, err := Parse(Format(r))
		if err != nil || again != r {
			t.Fatalf("Parse(%q) = %s, which reads back as %s, %v", s, Format(r), Format(again), err)
		}
		set, err := Of([]Range{r})
		if err != nil {
			t.Fatal(err)
		}
		if !set.Contains(r.From()) || !set.Contains(r.To()) || set.Size() == 0 {
			t.Fatalf("the set of %q misses its ends", s)
		}
	})
}

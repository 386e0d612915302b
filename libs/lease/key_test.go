// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"net/netip"
	"regexp"
	"testing"
)

func TestKeyNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ domain, addr, want string }{
		{"", "192.0.2.7", "192.0.2.7"},
		{"default", "192.0.2.7", "192.0.2.7"},
		{"blue", "192.0.2.7", "192.0.2.7.blue"},
		{"8", "192.0.2.7", "192.0.2.7.8"},
		{"", "2001:db8::7", "2001-0db8-0000-0000-0000-0000-0000-0007"},
		{"blue", "::", "0000-0000-0000-0000-0000-0000-0000-0000.blue"},
		{"", "::ffff:192.0.2.7", "192.0.2.7"},
		{"", "fe80::1%eth0", "fe80-0000-0000-0000-0000-0000-0000-0001"},
	} {
		k := NewKey(c.domain, netip.MustParseAddr(c.addr))
		if k.String() != c.want {
			t.Errorf("the name of %s in %q is %s, want %s", c.addr, c.domain, k, c.want)
		}
		if back, err := ParseKey(c.want); err != nil || back != k {
			t.Errorf("%s reads back as %v, %v", c.want, back, err)
		}
	}
}

func TestParseKeyRefuses(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"", ".", "192.0.2", "192.0.2.256", "192.0.2.07", "192.0.2.7.default", "192.0.2.7.", "192.0.2.7.a.b", "192.0.2.7.A",
		"2001:db8::7", "2001-db8-0000-0000-0000-0000-0000-0007", "2001-0DB8-0000-0000-0000-0000-0000-0007",
		"20010db8-0000-0000-0000-0000-0000-00000007", "0000-0000-0000-0000-0000-ffff-c000-0207",
	} {
		if k, err := ParseKey(s); err == nil {
			t.Errorf("%q reads as %v", s, k)
		}
	}
}

// FuzzKey proves that names are injective (what is written reads back) and valid.
func FuzzKey(f *testing.F) {
	f.Add([]byte{192, 0, 2, 7}, "8")
	f.Add(make([]byte, 16), "default")
	valid := regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	f.Fuzz(func(t *testing.T, b []byte, domain string) {
		a, ok := netip.AddrFromSlice(b)
		if !ok || domain != "" && !ValidDomain(domain) {
			return
		}
		k := NewKey(domain, a)
		if s := k.String(); len(s) > 253 || !valid.MatchString(s) {
			t.Fatalf("%q is no DNS-1123 subdomain", s)
		}
		if back, err := ParseKey(k.String()); err != nil || back != k {
			t.Fatalf("%v is written %s and reads back as %v, %v", k, k, back, err)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	f.Add("192.0.2.7.8")
	f.Add("2001-0db8-0000-0000-0000-0000-0000-0007.x")
	f.Fuzz(func(t *testing.T, s string) {
		if k, err := ParseKey(s); err == nil && k.String() != s {
			t.Fatalf("%q reads as the key %s", s, k)
		}
	})
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// DefaultDomain is the domain of a pool that names none.
const DefaultDomain = "default"

// Key is the identity of a lease: an address in the domain where it is unique.
// Make keys with NewKey, so that equal addresses are equal keys.
type Key struct {
	Domain string
	Addr   netip.Addr
}

// NewKey returns the key of an address: no zone, no IPv4 in IPv6 clothing, and
// the default domain by its name.
func NewKey(domain string, a netip.Addr) Key {
	if domain == "" {
		domain = DefaultDomain
	}
	return Key{Domain: domain, Addr: a.Unmap().WithZone("")}
}

// String returns the name of the lease, a DNS-1123 subdomain: the dotted IPv4
// address, or the eight groups of four digits of the IPv6 address joined by
// '-', followed by '.' and the domain unless it is the default one.
//
// It is injective: an IPv4 name begins with exactly four all-digit labels and
// an IPv6 name with one label of 39 characters, so what follows is the domain.
func (k Key) String() string {
	name := k.Addr.String()
	if k.Addr.Is6() {
		name = strings.ReplaceAll(k.Addr.StringExpanded(), ":", "-")
	}
	if k.Domain == "" || k.Domain == DefaultDomain {
		return name
	}
	return name + "." + k.Domain
}

var errKey = errors.New("not the name of a lease")

// ParseKey reads what String wrote, and nothing else.
func ParseKey(s string) (Key, error) {
	a, domain, err := cutAddr(s)
	if err != nil {
		return Key{}, err
	}
	k := NewKey(domain, a)
	if k.String() != s || k.Domain != DefaultDomain && !ValidDomain(k.Domain) {
		return Key{}, fmt.Errorf("parse %q: %w", s, errKey)
	}
	return k, nil
}

func cutAddr(s string) (netip.Addr, string, error) {
	head, domain, _ := strings.Cut(s, ".")
	if len(head) == len("0000-0000-0000-0000-0000-0000-0000-0000") {
		b, err := hex.DecodeString(strings.ReplaceAll(head, "-", ""))
		if err != nil || len(b) != 16 {
			return netip.Addr{}, "", fmt.Errorf("parse %q: %w", s, errKey)
		}
		return netip.AddrFrom16([16]byte(b)), domain, nil
	}
	labels := strings.SplitN(s, ".", 5)
	if len(labels) < 4 {
		return netip.Addr{}, "", fmt.Errorf("parse %q: %w", s, errKey)
	}
	a, err := netip.ParseAddr(strings.Join(labels[:4], "."))
	if err != nil {
		return netip.Addr{}, "", fmt.Errorf("parse %q: %w", s, errKey)
	}
	return a, strings.Join(labels[4:], "."), nil
}

// ValidDomain says whether s can name a domain: a DNS-1123 label.
func ValidDomain(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package attach

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"unicode"
)

// How much one value may say. A pod has few interfaces; more is a mistake of
// whatever wrote it, and is told in one problem instead of thousands.
const (
	maxEntries = 16
	maxItems   = 32
	maxName    = 253
)

// kind is what the items of an annotation are.
type kind int

const (
	kindPools kind = iota
	kindIPs
	kindClaim
)

// example is an item as it should be, and key its name in the JSON form.
func (k kind) example() string { return [...]string{"blue", "192.0.2.7", "web"}[k] }
func (k kind) key() string     { return [...]string{"pools", "ips", "claim"}[k] }

// entry is what is wanted on one interface.
type entry struct {
	at    string // how problems call it
	nic   string // "" when it goes by position
	items []string
}

// addrs reads the items of a checked entry of kindIPs, IPv4 first.
func (e entry) addrs() []netip.Addr {
	var out []netip.Addr
	for _, s := range e.items {
		if a, err := netip.ParseAddr(s); err == nil {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}

// parse reads a value in either form. What it returns is complete only if it
// added no problem.
func (r *reader) parse(where, text string, k kind) []entry {
	text = strings.TrimSpace(text)
	if text == "" {
		r.add(where, "", "is empty", fmt.Sprintf("write %s, or remove the annotation", k.example()))
		return nil
	}
	var entries []entry
	if isJSON(text) {
		entries = r.parseJSON(where, text, k)
	} else {
		entries = r.split(where, text)
	}
	if len(entries) > maxEntries {
		r.add(where, "", fmt.Sprintf("has %d entries", len(entries)), fmt.Sprintf("write at most %d, one for each interface", maxEntries))
		return nil
	}
	for i := range entries {
		r.checkItems(where, &entries[i], k)
	}
	r.checkNICs(where, entries, k)
	if k == kindIPs {
		r.checkAcross(where, entries)
	}
	return entries
}

func (r *reader) split(where, text string) []entry {
	parts := strings.Split(text, ";")
	var out []entry
	for i, part := range parts {
		part = strings.TrimSpace(part)
		e := entry{}
		if len(parts) > 1 || strings.Contains(part, "=") {
			e.at = fmt.Sprintf("entry %d %s", i+1, quote(part))
		}
		items := part
		if nic, rest, ok := strings.Cut(part, "="); ok {
			e.nic, items = strings.TrimSpace(nic), rest
			if why := badNIC(e.nic); why != "" {
				r.add(where, e.at, why, "write the name of an interface, as in eth0="+firstOr(rest, "blue"))
				e.nic = "?" // named, though nobody knows what
			}
		}
		if strings.TrimSpace(items) != "" {
			e.items = trimmed(strings.Split(items, ","))
		}
		out = append(out, e)
	}
	return out
}

func firstOr(items, otherwise string) string {
	first, _, _ := strings.Cut(items, ",")
	if first = strings.TrimSpace(first); len(first) > 40 || strings.Trim(first, "abcdefghijklmnopqrstuvwxyz0123456789-.:*?") != "" || first == "" {
		return otherwise
	}
	return first
}

// badNIC says why the kernel would refuse the name, or "". Of the letters that
// the kernel allows, those with a meaning here or in a pattern are refused too.
func badNIC(s string) string {
	switch {
	case s == "":
		return `has no interface before "="`
	case len(s) > 15:
		return fmt.Sprintf("interface %s is longer than the 15 characters that Linux allows", quote(s))
	case s == "." || s == "..":
		return fmt.Sprintf("interface %s is a name that Linux refuses", quote(s))
	}
	for _, c := range s {
		if c <= ' ' || c > unicode.MaxASCII || c == 0x7f || strings.ContainsRune(`/:=,;*?[]"'\`, c) {
			return fmt.Sprintf("interface %s contains %q", quote(s), c)
		}
	}
	return ""
}

// checkNICs refuses entries that get in each other's way.
func (r *reader) checkNICs(where string, entries []entry, k kind) {
	named := 0
	seen := map[string]bool{}
	for _, e := range entries {
		if e.nic == "" {
			continue
		}
		named++
		switch {
		case e.nic == "?":
			continue
		case seen[e.nic]:
			r.add(where, e.at, "names interface "+e.nic+" a second time", fmt.Sprintf("write all of it in one entry, as in %s=%s", e.nic, k.example()))
		case len(r.in.NICs) > 0 && !slices.Contains(r.in.NICs, e.nic):
			r.add(where, e.at, "the pod has no interface "+e.nic, "write one of "+strings.Join(r.in.NICs, ", "))
		}
		seen[e.nic] = true
	}
	switch {
	case named > 0 && named < len(entries):
		r.add(where, "", fmt.Sprintf("%d of %d entries name an interface", named, len(entries)),
			"name one in every entry, or in none: then they go by position")
	case named == 0 && len(r.in.NICs) > 0 && len(entries) > len(r.in.NICs):
		r.add(where, "", fmt.Sprintf("has %d entries", len(entries)),
			fmt.Sprintf("write at most %d, for the pod has %s", len(r.in.NICs), strings.Join(r.in.NICs, ", ")))
	}
}

// checkItems refuses items that cannot be, and puts those that can into their
// canonical form.
func (r *reader) checkItems(where string, e *entry, k kind) {
	switch n := len(e.items); {
	case n == 0:
		r.add(where, e.at, "has nothing in it", "write "+k.withNIC(e.nic)+", or leave the entry out")
	case n > maxItems:
		r.add(where, e.at, fmt.Sprintf("has %d items", n), fmt.Sprintf("write at most %d, or a pattern", maxItems))
		return
	case k == kindClaim && n > 1:
		r.add(where, e.at, fmt.Sprintf("names %d claims", n), "write one: an interface has its addresses from one claim")
	}
	seen := map[string]bool{}
	family := map[bool]string{}
	for i, s := range e.items {
		canonical, got, want := k.item(s)
		switch {
		case got != "":
			r.add(where, e.at, got, want)
			continue
		case seen[canonical]:
			r.add(where, e.at, "has "+canonical+" twice", "write it once")
			continue
		}
		seen[canonical] = true
		e.items[i] = canonical
		if k != kindIPs {
			continue
		}
		six := strings.Contains(canonical, ":")
		if other := family[six]; other != "" {
			r.add(where, e.at, fmt.Sprintf("has %s and %s, which are of one family", other, canonical), "write at most one IPv4 and one IPv6 address for an interface")
		}
		family[six] = canonical
	}
}

func (k kind) withNIC(nic string) string {
	if nic == "" || nic == "?" {
		return k.example()
	}
	return nic + "=" + k.example()
}

// checkAcross refuses an address that is wanted on two interfaces.
func (r *reader) checkAcross(where string, entries []entry) {
	first := map[string]string{}
	for _, e := range entries {
		for _, s := range e.items {
			if at, ok := first[s]; ok && at != e.at {
				r.add(where, e.at, s+" is in "+at+" too", "write an address for one interface only")
				continue
			}
			first[s] = e.at
		}
	}
}

// item returns the canonical form, or what was got and what to write instead.
func (k kind) item(s string) (canonical, got, want string) {
	if s == "" {
		return "", "has an empty item", `remove the "," that nothing follows or precedes`
	}
	switch k {
	case kindIPs:
		return addressItem(s)
	case kindClaim:
		if !validName(s) {
			return "", fmt.Sprintf("%s cannot be the name of a claim", quote(s)), `write lower case letters, digits, "-" and ".", as in web`
		}
		return s, "", ""
	case kindPools:
	}
	return poolItem(s)
}

func addressItem(s string) (canonical, got, want string) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		if p, prefixErr := netip.ParsePrefix(s); prefixErr == nil {
			return "", quote(s) + " has a prefix length", fmt.Sprintf("write %s: the length comes from the pool", p.Addr().Unmap())
		}
		return "", quote(s) + " is no address", "write one as in 192.0.2.7 or 2001:db8::7"
	}
	switch {
	case a.Zone() != "":
		return "", quote(s) + " has a zone", "write " + a.WithZone("").String()
	case a.Is4In6():
		return "", quote(s) + " is an IPv4 address in IPv6 form", "write " + a.Unmap().String()
	case a.IsUnspecified(), a.IsMulticast(), a.IsLoopback():
		return "", quote(s) + " is an address that no interface can have", "write an address of one of the pools"
	}
	return a.String(), "", ""
}

func poolItem(s string) (canonical, got, want string) {
	const instead = `write lower case letters, digits, "-" and "." and, in a pattern, *, ? and [a-z]`
	for _, c := range s {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.ContainsRune("-.*?[]^", c) {
			continue
		}
		if lower := strings.ToLower(s); lower != s {
			if good, _, _ := poolItem(lower); good != "" {
				return "", quote(s) + " has capital letters", "write " + good
			}
		}
		return "", fmt.Sprintf("%s contains %q", quote(s), c), instead
	}
	if len(s) > maxName {
		return "", fmt.Sprintf("%s is longer than %d characters", quote(s), maxName), instead
	}
	if !IsPattern(s) {
		if !validName(s) {
			return "", quote(s) + " cannot be the name of a pool", instead
		}
		return s, "", ""
	}
	if _, err := path.Match(s, ""); err != nil {
		return "", quote(s) + " is a pattern that does not end well", `close every "[" with "]", without a comma or semicolon in between, as in pool-[ab]`
	}
	return s, "", ""
}

// IsPattern says whether an item of Want.Pools stands for all pools that match
// it (path.Match) and not for the pool of this name.
func IsPattern(s string) bool { return strings.ContainsAny(s, "*?[]^") }

// validName says whether s is a DNS-1123 subdomain, as names of objects are.
func validName(s string) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range label {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
				return false
			}
		}
	}
	return true
}

func trimmed(items []string) []string {
	out := make([]string, len(items))
	for i, s := range items {
		out[i] = strings.TrimSpace(s)
	}
	return out
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package nft describes one nftables table of the inet family as data: maps, chains and rules, and shows it as text.
//
// Job: constructors for the few statements weft uses, the text of any rule made of them (whether we made it or read it
// from the kernel), and comparison by that text.
//
// Non-goals: talking to the kernel (package kernel), other families, being complete.
//
// Failure model: an expression that is not known is shown by its Go type and value, so two rules never compare equal by
// mistake.
package nft

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables/expr"
)

// Table is a table of the inet family.
type Table struct {
	Name   string
	Maps   []Map
	Chains []Chain
}

// Map leads from the name of a link to an address.
type Map struct {
	Name string
	// Value is "ipv4_addr" or "ipv6_addr".
	Value string
}

// Elem is an element of a map.
type Elem struct {
	Map string
	// Key is the name of a link.
	Key   string
	Value netip.Addr
}

// String is the element as nft shows it.
func (e Elem) String() string { return fmt.Sprintf("%q : %s", e.Key, e.Value) }

// Chain is a base chain.
type Chain struct {
	Name string
	// Type is "filter", "route" or "nat"; Hook "prerouting", "input", "forward", "output" or "postrouting".
	Type, Hook string
	Priority   int
	Rules      []Rule
}

// Rule is a list of expressions.
type Rule []expr.Any

// String is the rule as nft would show it.
func (r Rule) String() string { return describe(r) }

// Equal says whether two tables have the same maps, chains and rules, in the same order of rules.
func Equal(a, b Table) bool { return Diff(a, b) == "" }

// Diff says in one line how what is there differs from what is wanted.
func Diff(want, have Table) string {
	w, h := lines(want), lines(have)
	var out []string
	for _, l := range w {
		if !slices.Contains(h, l) {
			out = append(out, "missing "+l)
		}
	}
	for _, l := range h {
		if !slices.Contains(w, l) {
			out = append(out, "unexpected "+l)
		}
	}
	if len(out) == 0 && !slices.Equal(w, h) {
		out = append(out, "rules are in another order or number")
	}
	return strings.Join(out, ", ")
}

// lines is the table as lines that can be compared: maps and chains sorted by name, rules in order.
func lines(t Table) []string {
	t.Maps, t.Chains = slices.Clone(t.Maps), slices.Clone(t.Chains)
	slices.SortFunc(t.Maps, func(a, b Map) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(t.Chains, func(a, b Chain) int { return strings.Compare(a.Name, b.Name) })
	var out []string
	for _, m := range t.Maps {
		out = append(out, "map "+m.Name+" "+mapSpec(m))
	}
	for _, c := range t.Chains {
		out = append(out, "chain "+c.Name+" "+chainSpec(c))
		for _, r := range c.Rules {
			out = append(out, "rule "+c.Name+" "+r.String())
		}
	}
	return out
}

// Render shows the lines for `nft` that make, remake or delete the table.
func Render(t Table, del, remake bool) []string {
	if del {
		return []string{"nft delete table inet " + t.Name}
	}
	out := []string{"nft add table inet " + t.Name}
	for _, m := range t.Maps {
		out = append(out, "nft add map inet "+t.Name+" "+m.Name+" "+mapSpec(m))
	}
	for _, c := range t.Chains {
		out = append(out, "nft add chain inet "+t.Name+" "+c.Name+" "+chainSpec(c))
		if remake {
			out = append(out, "nft flush chain inet "+t.Name+" "+c.Name)
		}
		for _, r := range c.Rules {
			out = append(out, "nft add rule inet "+t.Name+" "+c.Name+" "+r.String())
		}
	}
	return out
}

// RenderElem shows the line for `nft` that adds or deletes an element.
func RenderElem(table string, e Elem, del bool) string {
	if del {
		return fmt.Sprintf("nft delete element inet %s %s { %q }", table, e.Map, e.Key)
	}
	return fmt.Sprintf("nft add element inet %s %s { %s }", table, e.Map, e)
}

func mapSpec(m Map) string { return "{ type ifname : " + m.Value + "; }" }

func chainSpec(c Chain) string {
	return fmt.Sprintf("{ type %s hook %s priority %d; }", c.Type, c.Hook, c.Priority)
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package poolselect

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/weft-cni/weft/libs/lease"
)

// Pool is what of a pool decides who may have its addresses. Names are unique.
type Pool struct {
	Name     string
	Priority int  // higher first
	Default  bool // for interfaces for which nothing names a pool
	Suspend  bool // no new claims
	Deleting bool
	Invalid  string // why the pool cannot be used at all, or ""
	Allow    Allow

	IPv4, IPv6 *lease.Family // nil: the pool does not have the family

	Free string // a hint for people, may be old
}

// family returns the pool's half for the address, and its name.
func (p Pool) family(a netip.Addr) (*lease.Family, string) {
	if a.Is6() {
		return p.IPv6, "IPv6"
	}
	return p.IPv4, "IPv4"
}

// Allow says who may use a pool. A field that is not set allows everybody.
type Allow struct {
	Namespaces, Nodes *NameOrLabels
	Pods              *Selector
	Networks          []string // as namespace/name
}

// NameOrLabels matches what is named, or whose labels match. With neither it
// matches nothing: a list that came out empty must not open a pool to everybody.
type NameOrLabels struct {
	Names    []string
	Selector *Selector
}

// Object is a namespace, pod or node.
type Object struct {
	Name   string
	Labels map[string]string
}

func (m NameOrLabels) matches(o Object) bool {
	return slices.Contains(m.Names, o.Name) || m.Selector != nil && m.Selector.Matches(o.Labels)
}

// everything says whether it is as good as not set.
func (m *NameOrLabels) everything() bool {
	return m == nil || m.Selector != nil && m.Selector.Empty()
}

// String is "a, b or those with tier=web".
func (m NameOrLabels) String() string {
	names := few(m.Names)
	switch {
	case m.Selector == nil && names == "":
		return "none, for neither names nor selector is set"
	case m.Selector == nil:
		return names
	case names == "":
		return m.Selector.String()
	}
	return names + " or " + m.Selector.String()
}

// Specificity orders pools that are otherwise equal: the larger is the more
// specific. More fields that limit something beat fewer; with as many, pods beat
// nodes, nodes namespaces and namespaces networks; names alone beat labels.
func (a Allow) Specificity() int {
	fields, weight := 0, 0
	add := func(limits, namesOnly bool, bit int) {
		if !limits {
			return
		}
		fields++
		weight += 2 << bit
		if namesOnly {
			weight += 1 << bit
		}
	}
	add(a.Pods != nil && !a.Pods.Empty(), false, 6)
	add(!a.Nodes.everything(), a.Nodes != nil && a.Nodes.Selector == nil, 4)
	add(!a.Namespaces.everything(), a.Namespaces != nil && a.Namespaces.Selector == nil, 2)
	add(len(a.Networks) > 0, true, 0)
	return fields<<8 + weight
}

// refuses returns the filter of `allow` that refuses the subject, if one does.
func (a Allow) refuses(s Subject) (Filter, string) {
	if m := a.Namespaces; m != nil && !m.matches(s.Namespace) {
		return FilterNamespace, fmt.Sprintf("allows namespaces %s (this is %s)", m, name(s.Namespace))
	}
	if a.Pods != nil && !a.Pods.Matches(s.Pod.Labels) {
		return FilterPod, fmt.Sprintf("allows pods with %s (%s is not one)", a.Pods, name(s.Pod))
	}
	if m := a.Nodes; m != nil && !m.matches(s.Node) {
		return FilterNode, fmt.Sprintf("allows nodes %s (this is %s)", m, name(s.Node))
	}
	if len(a.Networks) > 0 && !slices.Contains(a.Networks, s.Network) {
		this := s.Network
		if this == "" {
			this = "none"
		}
		return FilterNetwork, fmt.Sprintf("allows networks %s (this is %s)", few(a.Networks), this)
	}
	return "", ""
}

func name(o Object) string {
	if o.Name == "" {
		return "unknown"
	}
	return o.Name
}

// few lists the first names and counts the rest.
func few(names []string) string {
	const most = 3
	if len(names) <= most+1 {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

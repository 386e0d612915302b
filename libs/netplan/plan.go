// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package netplan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weft-cni/weft/libs/netplan/nft"
)

// Step is one change with its way back.
type Step struct {
	Op Op
	// Undo is the inverse; nil where the way back is part of another step's (the link's own deletion).
	Undo *Op
	// Why says which difference the step removes.
	Why string
}

// Plan returns the ordered steps from what was observed to what is wanted. It is a pure function.
//
// Removals come first, in the reverse order of additions. Additions go from links to what needs them: links, sysctls,
// addresses, links raised, neighbours, routes in the order given, nftables, rules. What was observed and is not wanted is
// removed, unless the state is Shared.
func Plan(want, have State) ([]Step, error) {
	p := &planner{want: want, have: have}
	if err := p.links(); err != nil {
		return nil, err
	}
	p.sysctls()
	p.addrs()
	p.raise()
	p.neighs()
	p.routes()
	p.nft()
	p.rules()
	slices.Reverse(p.removals)
	return append(p.removals, p.steps...), nil
}

// Removal returns the steps that take everything observed away.
func Removal(have State) ([]Step, error) { return Plan(State{}, have) }

type planner struct {
	want, have      State
	removals, steps []Step
	// gone are the observed links that are removed: what hangs on them needs no step.
	gone map[string]bool
}

func (p *planner) add(why string, op Op, undo *Op) {
	p.steps = append(p.steps, Step{Op: op, Undo: undo, Why: why})
}

func (p *planner) remove(object any) {
	if p.want.Shared {
		return
	}
	p.removals = append(p.removals, Step{
		Op: Op{Verb: Del, Object: object}, Undo: &Op{Verb: Add, Object: object}, Why: "unexpected " + text(object),
	})
}

func (p *planner) links() error {
	p.gone = map[string]bool{}
	for _, h := range p.have.Links {
		if i := slices.IndexFunc(p.want.Links, func(w Link) bool { return w.Name == h.Name }); i >= 0 {
			if err := p.link(p.want.Links[i], h); err != nil {
				return err
			}
			continue
		}
		if !strings.HasPrefix(h.Alias, AliasPrefix) {
			return fmt.Errorf("remove link %s: %w", h.Name, ErrForeign)
		}
		if !p.want.Shared {
			p.gone[h.Name] = true
		}
		p.remove(h)
	}
	for _, w := range p.want.Links {
		if !slices.ContainsFunc(p.have.Links, func(h Link) bool { return w.Name == h.Name }) {
			p.newLink(w)
		}
	}
	return nil
}

func (p *planner) newLink(w Link) {
	verb := Add
	if w.Kind == "" {
		verb = Set
	}
	p.add("missing "+text(w), Op{Verb: verb, Object: w}, &Op{Verb: Del, Object: w})
	if verb == Set {
		p.steps[len(p.steps)-1].Undo = nil
	}
}

// link compares one link that is there with what it should be.
func (p *planner) link(w, h Link) error {
	if w.Kind != "" && (h.Kind != w.Kind || !strings.HasPrefix(h.Alias, AliasPrefix) && h.Alias != "") {
		return fmt.Errorf("link %s (%s, alias %q): %w", h.Name, h.Kind, h.Alias, ErrForeign)
	}
	if w.PeerIndex != 0 && w.PeerIndex != h.PeerIndex {
		p.gone[h.Name] = true
		p.removals = append(p.removals, Step{
			Op:  Op{Verb: Del, Object: h},
			Why: fmt.Sprintf("link %s is not connected to the pod's %s", h.Name, PodLink),
		})
		p.newLink(w)
		return nil
	}
	var diffs []string
	differ := func(what string, want, have any) {
		diffs = append(diffs, fmt.Sprintf("%s %v instead of %v", what, have, want))
	}
	if w.MAC != (MAC{}) && w.MAC != h.MAC {
		differ("address", w.MAC, h.MAC)
	}
	if w.MTU != 0 && w.MTU != h.MTU {
		differ("mtu", w.MTU, h.MTU)
	}
	if w.Alias != "" && w.Alias != h.Alias {
		differ("alias", quoted(w.Alias), quoted(h.Alias))
	}
	if len(diffs) > 0 {
		p.add(fmt.Sprintf("link %s has %s", w.Name, strings.Join(diffs, ", ")), Op{Verb: Set, Object: w}, &Op{Verb: Set, Object: h})
	}
	return nil
}

// raise sets links up, after what has to be there before (sysctls, addresses without duplicate detection).
func (p *planner) raise() {
	for _, w := range p.want.Links {
		i := slices.IndexFunc(p.have.Links, func(h Link) bool { return w.Name == h.Name })
		if !w.Up || i >= 0 && p.have.Links[i].Up && !p.gone[w.Name] {
			continue
		}
		p.add("link "+w.Name+" is down", Op{Verb: Up, Object: w}, nil)
	}
}

func (p *planner) sysctls() {
	// A link made anew has its variables anew.
	have := slices.DeleteFunc(slices.Clone(p.have.Sysctls), func(h Sysctl) bool {
		return slices.ContainsFunc(strings.Split(h.Key, "/"), func(part string) bool { return p.gone[part] })
	})
	for _, w := range p.want.Sysctls {
		i := slices.IndexFunc(have, func(h Sysctl) bool { return w.Key == h.Key })
		if i < 0 {
			p.add("missing "+text(w), Op{Verb: Set, Object: w}, nil)
			continue
		}
		if h := have[i]; h.Value != w.Value {
			p.add(fmt.Sprintf("%s is %s instead of %s", w.Key, h.Value, w.Value), Op{Verb: Set, Object: w}, &Op{Verb: Set, Object: h})
		}
	}
}

func (p *planner) addrs() {
	same := func(a, b Addr) bool { return a.Link == b.Link && a.Prefix == b.Prefix }
	diff(p, p.want.Addrs, p.live(p.have.Addrs), same, func(w, h Addr) bool { return w.Scope == h.Scope || w.Prefix.Addr().Is6() })
}

// live leaves out addresses that go with their link, and IPv6 link-local ones that nobody asked for: the kernel makes them.
func (p *planner) live(addrs []Addr) []Addr {
	return slices.DeleteFunc(slices.Clone(addrs), func(a Addr) bool {
		wanted := slices.ContainsFunc(p.want.Addrs, func(w Addr) bool { return w.Link == a.Link && w.Prefix == a.Prefix })
		return p.gone[a.Link] || !wanted && a.Prefix.Addr().Is6() && a.Prefix.Addr().IsLinkLocalUnicast()
	})
}

func (p *planner) neighs() {
	have := slices.DeleteFunc(slices.Clone(p.have.Neighs), func(n Neigh) bool { return p.gone[n.Link] })
	same := func(a, b Neigh) bool { return a.Link == b.Link && a.IP == b.IP }
	diff(p, p.want.Neighs, have, same, func(w, h Neigh) bool { return w == h })
}

func (p *planner) routes() {
	have := slices.DeleteFunc(slices.Clone(p.have.Routes), func(r Route) bool { return p.gone[r.Link] })
	same := func(a, b Route) bool { return a.table() == b.table() && a.Dst == b.Dst && a.Link == b.Link }
	diff(p, p.want.Routes, have, same, func(w, h Route) bool { return w.normal() == h.normal() })
}

func (p *planner) rules() {
	same := func(a, b Rule) bool { return a == b }
	diff(p, p.want.Rules, p.have.Rules, same, same)
}

func (p *planner) nft() {
	w, h := p.want.Nft, p.have.Nft
	switch {
	case w != nil && h == nil:
		p.add("missing "+text(*w), Op{Verb: Add, Object: *w}, &Op{Verb: Del, Object: *w})
	case w != nil && h != nil && !nft.Equal(*w, *h):
		p.add("nftables table "+w.Name+" differs: "+nft.Diff(*w, *h), Op{Verb: Set, Object: *w}, &Op{Verb: Set, Object: *h})
	case w == nil && h != nil:
		p.remove(*h)
		return
	}
	same := func(a, b nft.Elem) bool { return a.Map == b.Map && a.Key == b.Key }
	diff(p, p.want.Elems, p.have.Elems, same, func(a, b nft.Elem) bool { return a == b })
}

// diff plans the objects of one kind: same tells that two have one identity, equal that nothing differs.
func diff[T any](p *planner, want, have []T, same, equal func(w, h T) bool) {
	for _, h := range have {
		if !slices.ContainsFunc(want, func(w T) bool { return same(w, h) }) {
			p.remove(h)
		}
	}
	for _, w := range want {
		i := slices.IndexFunc(have, func(h T) bool { return same(w, h) })
		switch {
		case i < 0:
			p.add("missing "+text(w), Op{Verb: addVerb(w), Object: w}, &Op{Verb: Del, Object: w})
		case !equal(w, have[i]):
			p.add(text(have[i])+" instead of "+text(w), Op{Verb: Set, Object: w}, &Op{Verb: Set, Object: have[i]})
		}
	}
}

// addVerb is Set for what may stand in the way from a life before: a route in our own table, a neighbour, an element. In other
// tables a route to the same destination belongs to somebody else and is not replaced.
func addVerb(object any) Verb {
	switch o := object.(type) {
	case Route:
		if o.Table == Table {
			return Set
		}
	case Neigh, nft.Elem:
		return Set
	}
	return Add
}

func (r Route) table() int {
	if r.Table == 0 {
		return TableMain
	}
	return r.Table
}

// normal brings a route into the one form in which two that mean the same are equal.
func (r Route) normal() Route {
	r.Table = r.table()
	if r.Dst.Addr().Is6() {
		r.Scope = ScopeGlobal
	}
	return r
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package netplanfake is a netplan.Kernel in memory, for tests of what uses plans.
//
// Job: behave like the real kernel in what plans rely on: pairs whose ends live and die together, things that hang on a link
// and go with it, errors for what is there already or is not there. The suite of package netplantest runs against both.
//
// Non-goals: forwarding packets; checking that routes make sense.
//
// Failure model: Fail, when set, is asked before every change and its error returned instead.
package netplanfake

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/weft-cni/weft/libs/netplan"
	"github.com/weft-cni/weft/libs/netplan/nft"
)

// World is a set of namespaces by path.
type World struct {
	spaces map[string]*Kernel
	index  int
}

// NewWorld returns a world without namespaces.
func NewWorld() *World { return &World{spaces: map[string]*Kernel{}} }

// Namespace returns the namespace of a path, made when first asked for.
func (w *World) Namespace(path string) *Kernel {
	if w.spaces[path] == nil {
		w.spaces[path] = &Kernel{world: w, path: path, sysctls: map[string]string{}}
	}
	return w.spaces[path]
}

// Kernel is one namespace. It is not safe for concurrent use.
type Kernel struct {
	// Fail is asked before every change; an error is returned instead of making it.
	Fail func(netplan.Op) error

	world   *World
	path    string
	links   []link
	addrs   []netplan.Addr
	routes  []netplan.Route
	rules   []netplan.Rule
	neighs  []netplan.Neigh
	sysctls map[string]string
	nft     *nft.Table
	elems   []nft.Elem
}

type link struct {
	netplan.Link
	peerSpace string
}

var _ netplan.Kernel = (*Kernel)(nil)

// SetSysctl gives a variable a value, as the kernel has them from the start.
func (k *Kernel) SetSysctl(key, value string) { k.sysctls[key] = value }

// Observe returns what exists of what the query names.
func (k *Kernel) Observe(ctx context.Context, q netplan.Query) (netplan.State, error) {
	if err := ctx.Err(); err != nil {
		return netplan.State{}, err
	}
	var s netplan.State
	on := func(name string) bool { return slices.Contains(q.Links, name) }
	for _, l := range k.links {
		if on(l.Name) {
			s.Links = append(s.Links, l.Link)
		}
	}
	s.Addrs = keep(k.addrs, func(a netplan.Addr) bool { return on(a.Link) })
	s.Neighs = keep(k.neighs, func(n netplan.Neigh) bool { return on(n.Link) })
	s.Routes = keep(k.routes, func(r netplan.Route) bool { return on(r.Link) || slices.Contains(q.Tables, r.Table) })
	if q.Rules {
		s.Rules = keep(k.rules, func(netplan.Rule) bool { return true })
	}
	for _, key := range q.Sysctls {
		if v, ok := k.sysctls[key]; ok {
			s.Sysctls = append(s.Sysctls, netplan.Sysctl{Key: key, Value: v})
		}
	}
	if q.Nft && k.nft != nil {
		t := *k.nft
		s.Nft = &t
	}
	s.Elems = keep(k.elems, func(e nft.Elem) bool {
		if on(e.Key) && k.find(e.Key) < 0 {
			return false
		}
		return slices.ContainsFunc(q.Elems, func(w nft.Elem) bool { return w.Map == e.Map && (w.Key == "" || w.Key == e.Key) })
	})
	return s, nil
}

func keep[T any](list []T, wanted func(T) bool) []T {
	var out []T
	for _, v := range list {
		if wanted(v) {
			out = append(out, v)
		}
	}
	return out
}

// Do makes one change.
func (k *Kernel) Do(ctx context.Context, op netplan.Op) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if k.Fail != nil {
		if err := k.Fail(op); err != nil {
			return err
		}
	}
	switch o := op.Object.(type) {
	case netplan.Link:
		return k.doLink(op.Verb, o)
	case netplan.Addr:
		same := func(a netplan.Addr) bool { return a.Link == o.Link && a.Prefix == o.Prefix }
		o.NoDAD = false
		return change(k, &k.addrs, op.Verb, o, o.Link, same)
	case netplan.Route:
		if o.Table == 0 {
			o.Table = netplan.TableMain
		}
		if o.Dst.Addr().Is6() {
			o.Scope = netplan.ScopeGlobal
		}
		same := func(r netplan.Route) bool { return r.Table == o.Table && r.Dst == o.Dst }
		err := change(k, &k.routes, op.Verb, o, o.Link, same)
		if op.Verb == netplan.Add && err != nil {
			return fmt.Errorf("route to %s: %w", o.Dst, netplan.ErrForeign)
		}
		return err
	case netplan.Rule:
		return change(k, &k.rules, op.Verb, o, "", func(r netplan.Rule) bool { return r == o })
	case netplan.Neigh:
		same := func(n netplan.Neigh) bool { return n.Link == o.Link && n.IP == o.IP }
		return change(k, &k.neighs, op.Verb, o, o.Link, same)
	case netplan.Sysctl:
		return k.doSysctl(op.Verb, o)
	case nft.Table:
		return k.doTable(op.Verb, o)
	case nft.Elem:
		return k.doElem(op.Verb, o)
	}
	return fmt.Errorf("%s %T: the kernel has no such object", op.Verb, op.Object)
}

// change adds, replaces or deletes in a list; what hangs on a link needs it.
func change[T any](k *Kernel, list *[]T, verb netplan.Verb, object T, on string, same func(T) bool) error {
	if on != "" && k.find(on) < 0 {
		return fmt.Errorf("link %s: %w", on, netplan.ErrAbsent)
	}
	i := slices.IndexFunc(*list, same)
	switch {
	case verb == netplan.Del && i < 0:
		return netplan.ErrAbsent
	case verb == netplan.Del:
		*list = slices.Delete(*list, i, i+1)
	case verb == netplan.Add && i >= 0:
		return netplan.ErrExists
	case i >= 0:
		(*list)[i] = object
	default:
		*list = append(*list, object)
	}
	return nil
}

func (k *Kernel) find(name string) int {
	return slices.IndexFunc(k.links, func(l link) bool { return l.Name == name })
}

func (k *Kernel) doLink(verb netplan.Verb, l netplan.Link) error {
	if verb == netplan.Add {
		return k.addPair(l)
	}
	i := k.find(l.Name)
	if i < 0 {
		return fmt.Errorf("link %s: %w", l.Name, netplan.ErrAbsent)
	}
	switch verb {
	case netplan.Up:
		k.links[i].Up = true
	case netplan.Del:
		far := k.world.Namespace(k.links[i].peerSpace)
		index := k.links[i].PeerIndex
		k.drop(k.links[i].Index)
		far.drop(index)
	default:
		if l.MAC != (netplan.MAC{}) {
			k.links[i].MAC = l.MAC
		}
		if l.MTU != 0 {
			k.links[i].MTU = l.MTU
		}
		k.links[i].Alias = l.Alias
	}
	return nil
}

func (k *Kernel) addPair(l netplan.Link) error {
	if l.Kind != "veth" || l.Peer == nil {
		return fmt.Errorf("link %s: no links of kind %q are made here", l.Name, l.Kind)
	}
	far := k
	if l.Peer.Netns != "" {
		far = k.world.Namespace(l.Peer.Netns)
	}
	if k.find(l.Name) >= 0 || far.find(l.Peer.Name) >= 0 {
		return fmt.Errorf("make the pair %s and %s: file exists", l.Name, l.Peer.Name)
	}
	k.world.index += 2
	near, peer := k.world.index, k.world.index+1
	k.links = append(k.links, link{peerSpace: far.path, Link: netplan.Link{
		Name: l.Name, Kind: "veth", MAC: l.MAC, MTU: l.MTU, Alias: l.Alias, Index: near, PeerIndex: peer,
	}})
	far.links = append(far.links, link{peerSpace: k.path, Link: netplan.Link{
		Name: l.Peer.Name, Kind: "veth", MAC: l.Peer.MAC, MTU: l.Peer.MTU, Index: peer, PeerIndex: near,
	}})
	return nil
}

// drop removes a link with everything that hangs on it.
func (k *Kernel) drop(index int) {
	i := slices.IndexFunc(k.links, func(l link) bool { return l.Index == index })
	if i < 0 {
		return
	}
	name := k.links[i].Name
	k.links = slices.Delete(k.links, i, i+1)
	k.addrs = slices.DeleteFunc(k.addrs, func(a netplan.Addr) bool { return a.Link == name })
	k.neighs = slices.DeleteFunc(k.neighs, func(n netplan.Neigh) bool { return n.Link == name })
	k.routes = slices.DeleteFunc(k.routes, func(r netplan.Route) bool { return r.Link == name })
	for key := range k.sysctls {
		if strings.Contains(key, "/"+name+"/") {
			delete(k.sysctls, key)
		}
	}
}

func (k *Kernel) doSysctl(verb netplan.Verb, v netplan.Sysctl) error {
	if verb != netplan.Del {
		k.sysctls[v.Key] = v.Value
	}
	return nil
}

func (k *Kernel) doTable(verb netplan.Verb, t nft.Table) error {
	switch {
	case verb == netplan.Del && k.nft == nil:
		return netplan.ErrAbsent
	case verb == netplan.Del:
		k.nft, k.elems = nil, nil
	default:
		k.nft = &t
	}
	return nil
}

func (k *Kernel) doElem(verb netplan.Verb, e nft.Elem) error {
	known := k.nft != nil && slices.ContainsFunc(k.nft.Maps, func(m nft.Map) bool { return m.Name == e.Map })
	if !known && verb == netplan.Del {
		return netplan.ErrAbsent
	}
	if !known {
		return fmt.Errorf("nftables map %s: no such file or directory", e.Map)
	}
	return change(k, &k.elems, verb, e, "", func(h nft.Elem) bool { return h.Map == e.Map && h.Key == e.Key })
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package netplan

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"github.com/weft-cni/weft/libs/netplan/nft"
)

// What a Kernel says of an Op that has nothing to do; Apply takes both as success.
var (
	// ErrExists says that the thing to add is there already.
	ErrExists = errors.New("exists already")
	// ErrAbsent says that the thing to remove or change is not there.
	ErrAbsent = errors.New("does not exist")
)

// ErrForeign says that something that is not ours stands where ours is wanted.
var ErrForeign = errors.New("exists and is not weft's")

// MAC is an Ethernet hardware address. The zero value means "any".
type MAC [6]byte

// String renders the address like "ee:ee:ee:ee:ee:ee".
func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// Scope is the scope of an address or an IPv4 route.
type Scope uint8

// Scopes, with the kernel's numbers.
const (
	ScopeGlobal Scope = 0
	ScopeLink   Scope = 253
	ScopeHost   Scope = 254
)

// TableMain is the number of the main routing table.
const TableMain = 254

// State is what is wanted, or was observed, of one network namespace.
type State struct {
	Links   []Link
	Addrs   []Addr
	Routes  []Route
	Rules   []Rule
	Neighs  []Neigh
	Sysctls []Sysctl
	// Nft is the skeleton of our nftables table: maps and chains. Nil: no table.
	Nft *nft.Table
	// Elems are elements of the table's maps.
	Elems []nft.Elem
	// Shared says that others put things of the same kinds there too: Plan then removes nothing.
	Shared bool
}

// Link is a network device.
type Link struct {
	Name string
	// Kind is "veth" for a link to be made. A wanted link without a Kind is made elsewhere (the far end of a pair) and only
	// adjusted here.
	Kind  string
	MAC   MAC
	MTU   int
	Alias string
	Up    bool
	// Peer is the far end that is born together with a veth.
	Peer *Peer
	// Index is the observed number; a wanted Index is not looked at.
	Index int
	// PeerIndex is the number of the far end. A wanted number other than 0 must be the observed one, else the pair is made
	// anew; -1 is no link's number.
	PeerIndex int
}

// Peer is the far end of a veth pair.
type Peer struct {
	Name string
	// Netns is the path of the namespace it is born in; empty: the same namespace.
	Netns string
	MAC   MAC
	MTU   int
}

// Addr is an address of a link.
type Addr struct {
	Link   string
	Prefix netip.Prefix
	Scope  Scope
	// NoDAD adds an IPv6 address without duplicate address detection. It is not compared.
	NoDAD bool
}

// Route is a unicast route.
type Route struct {
	// Dst is the destination; the zero prefix of a family is its default route.
	Dst netip.Prefix
	// Via is the gateway; invalid: none.
	Via  netip.Addr
	Link string
	// Table is the table's number; 0 means the main table.
	Table int
	// Src is the preferred source; invalid: the kernel chooses.
	Src netip.Addr
	// Scope is looked at for IPv4 only.
	Scope Scope
	// OnLink says that the gateway is taken as reachable although no route covers it.
	OnLink bool
	// MTU of the path; 0: the link's.
	MTU int
}

// Rule is a routing policy rule that leads to a table. All our rules carry Protocol.
type Rule struct {
	// Family is 4 or 6.
	Family     int
	Preference int
	Mark, Mask uint32
	From       netip.Prefix
	IIF, OIF   string
	Table      int
}

// Neigh is a permanent neighbour.
type Neigh struct {
	Link string
	IP   netip.Addr
	MAC  MAC
}

// Sysctl is a kernel variable below net/, with its path ("net/ipv4/conf/eth0/rp_filter"): link names may hold dots.
type Sysctl struct {
	Key, Value string
}

// Query names the part of a namespace that is looked at.
type Query struct {
	// Links are the names of links, whose addresses, permanent neighbours and routes with our Protocol are looked at too.
	Links []string
	// Tables are routing tables whose routes with our Protocol are looked at, whatever their link.
	Tables []int
	// Rules asks for all rules with our Protocol.
	Rules bool
	// Sysctls are the paths of variables.
	Sysctls []string
	// Nft asks for our table.
	Nft bool
	// Elems are the elements looked at, by map and key; an empty key stands for the whole map. One whose key is among Links is
	// not looked for when that link is absent: Set replaces whatever is there.
	Elems []nft.Elem
}

// Query returns what has to be looked at to plan for the state.
func (s State) Query() Query {
	q := Query{Rules: len(s.Rules) > 0, Nft: s.Nft != nil, Elems: s.Elems}
	for _, l := range s.Links {
		q.Links = append(q.Links, l.Name)
	}
	for _, v := range s.Sysctls {
		q.Sysctls = append(q.Sysctls, v.Key)
	}
	return q
}

// Verb says what an Op does with its object.
type Verb string

// Verbs. Set changes or replaces, and adds what is missing; Up raises a link.
const (
	Add Verb = "add"
	Set Verb = "set"
	Up  Verb = "up"
	Del Verb = "del"
)

// Op is one change. Object is one of Link, Addr, Route, Rule, Neigh, Sysctl, nft.Table and nft.Elem.
type Op struct {
	Verb   Verb
	Object any
}

// Kernel is one network namespace.
type Kernel interface {
	// Observe returns what exists of what the query names. Things that are absent are absent from the State.
	Observe(ctx context.Context, q Query) (State, error)
	// Do makes one change. It returns ErrExists or ErrAbsent (wrapped) where there was nothing to do.
	Do(ctx context.Context, op Op) error
}

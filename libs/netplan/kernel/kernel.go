// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package kernel is the real netplan.Kernel: one network namespace of the running kernel, over netlink.
//
// Job: observe and change links, addresses, routes, rules, neighbours and nftables through sockets that live in the
// namespace, so the calling thread never leaves its own; only variables below /proc/sys need a thread inside.
//
// Non-goals: deciding anything; running programs.
//
// Failure model: errors wrap the kernel's errno. Dumps that the kernel says were interrupted are read again a few times. What
// is absent when it is to be removed is netplan.ErrAbsent, what is there when it is to be added is netplan.ErrExists. A kernel
// without IPv6 has no IPv6 things to observe.
package kernel

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-cni/weft/libs/netns"
	"github.com/weft-cni/weft/libs/netplan"
	"github.com/weft-cni/weft/libs/netplan/nft"
)

// Kernel is a network namespace. It is not safe for concurrent use.
type Kernel struct {
	ns     *netns.NS
	handle *netlink.Handle
	nft    *nftables.Conn
	// index remembers the numbers of links by name, known the links by number, until the next Observe.
	index map[string]int
	known map[int]netlink.Link
}

var _ netplan.Kernel = (*Kernel)(nil)

// Open opens the sockets in the namespace, which must stay open until Close.
func Open(ns *netns.NS) (*Kernel, error) {
	handle, err := ns.Netlink(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	return &Kernel{ns: ns, handle: handle, index: map[string]int{}, known: map[int]netlink.Link{}}, nil
}

// Handle is the routing socket, for questions that a plan does not ask.
func (k *Kernel) Handle() *netlink.Handle { return k.handle }

// Close closes the sockets.
func (k *Kernel) Close() error {
	k.handle.Close()
	if k.nft != nil {
		if err := k.nft.CloseLasting(); err != nil {
			return fmt.Errorf("close nftables: %w", err)
		}
	}
	return nil
}

// Do makes one change.
func (k *Kernel) Do(ctx context.Context, op netplan.Op) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	switch o := op.Object.(type) {
	case netplan.Link:
		return k.doLink(op.Verb, o)
	case netplan.Addr:
		return k.doAddr(op.Verb, o)
	case netplan.Route:
		return k.doRoute(op.Verb, o)
	case netplan.Rule:
		return k.doRule(op.Verb, o)
	case netplan.Neigh:
		return k.doNeigh(op.Verb, o)
	case netplan.Sysctl:
		return k.doSysctl(op.Verb, o)
	case nft.Table:
		return k.doTable(op.Verb, o)
	case nft.Elem:
		return k.doElem(op.Verb, o)
	}
	return fmt.Errorf("%s %T: the kernel has no such object", op.Verb, op.Object)
}

// Observe reads what the query names.
func (k *Kernel) Observe(ctx context.Context, q netplan.Query) (netplan.State, error) {
	var s netplan.State
	clear(k.index)
	clear(k.known)
	for _, read := range []func(netplan.Query, *netplan.State) error{
		k.readLinks, k.readAddrs, k.readNeighs, k.readRoutes, k.readRules, k.readSysctls, k.readNft,
	} {
		if err := ctx.Err(); err != nil {
			return netplan.State{}, err
		}
		if err := read(q, &s); err != nil {
			return netplan.State{}, err
		}
	}
	return s, nil
}

// maxDumps bounds how often an interrupted dump is read again: each time something else changed in between.
const maxDumps = 20

// Dump reads a list, again when the kernel says that it changed while being read.
func Dump[T any](read func() ([]T, error)) ([]T, error) {
	for range maxDumps {
		list, err := read()
		if err == nil || !errors.Is(err, netlink.ErrDumpInterrupted) {
			return list, err
		}
	}
	return nil, fmt.Errorf("%w %d times", netlink.ErrDumpInterrupted, maxDumps)
}

// linkIndex returns the number of a link.
func (k *Kernel) linkIndex(name string) (int, error) {
	if i, ok := k.index[name]; ok {
		return i, nil
	}
	l, err := k.Link(name)
	if err != nil {
		return 0, err
	}
	k.index[name] = l.Attrs().Index
	return k.index[name], nil
}

// Link looks up a link by its name; netplan.ErrAbsent if there is none.
func (k *Kernel) Link(name string) (netlink.Link, error) {
	l, err := k.handle.LinkByName(name)
	var missing netlink.LinkNotFoundError
	switch {
	case errors.As(err, &missing):
		return nil, fmt.Errorf("link %s: %w", name, netplan.ErrAbsent)
	case err != nil:
		return nil, fmt.Errorf("look up link %s: %w", name, err)
	}
	return l, nil
}

// LinkAt looks up a link by its number; netplan.ErrAbsent if there is none.
func (k *Kernel) LinkAt(index int) (netlink.Link, error) {
	if l, ok := k.known[index]; ok {
		return l, nil
	}
	l, err := k.handle.LinkByIndex(index)
	var missing netlink.LinkNotFoundError
	switch {
	case errors.As(err, &missing):
		return nil, fmt.Errorf("link number %d: %w", index, netplan.ErrAbsent)
	case err != nil:
		return nil, fmt.Errorf("look up link number %d: %w", index, err)
	}
	k.known[index] = l
	return l, nil
}

// Links lists all links.
func (k *Kernel) Links() ([]netlink.Link, error) {
	links, err := Dump(k.handle.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	return links, nil
}

// Addrs lists the addresses of all links.
func (k *Kernel) Addrs() ([]netlink.Addr, error) {
	addrs, err := Dump(func() ([]netlink.Addr, error) { return k.handle.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	return addrs, nil
}

// noIPv6 says whether an error means that the kernel runs without IPv6.
func noIPv6(err error) bool {
	return errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPFNOSUPPORT)
}

// translate turns the errno of an add or a removal into the words of netplan.
func translate(verb netplan.Verb, err error, absent ...unix.Errno) error {
	if err == nil {
		return nil
	}
	if verb == netplan.Add && errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("%w: %w", netplan.ErrExists, err)
	}
	if verb == netplan.Del {
		for _, errno := range absent {
			if errors.Is(err, errno) {
				return fmt.Errorf("%w: %w", netplan.ErrAbsent, err)
			}
		}
	}
	return err
}

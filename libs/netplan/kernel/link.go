// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-cni/weft/libs/netns"
	"github.com/weft-cni/weft/libs/netplan"
)

func (k *Kernel) readLinks(q netplan.Query, s *netplan.State) error {
	for _, name := range q.Links {
		l, err := k.Link(name)
		if errors.Is(err, netplan.ErrAbsent) {
			continue
		}
		if err != nil {
			return err
		}
		s.Links = append(s.Links, Describe(l))
		k.index[name] = l.Attrs().Index
	}
	return nil
}

// Describe turns a link of the netlink package into ours.
func Describe(l netlink.Link) netplan.Link {
	a := l.Attrs()
	out := netplan.Link{
		Name: a.Name, Kind: l.Type(), MTU: a.MTU, Alias: a.Alias,
		Up: a.RawFlags&unix.IFF_UP != 0, Index: a.Index, PeerIndex: a.ParentIndex,
	}
	copy(out.MAC[:], a.HardwareAddr)
	return out
}

func (k *Kernel) doLink(verb netplan.Verb, l netplan.Link) error {
	switch verb {
	case netplan.Add:
		return k.addLink(l)
	case netplan.Set:
		return k.setLink(l)
	case netplan.Up:
		have, err := k.Link(l.Name)
		if err != nil {
			return err
		}
		return k.handle.LinkSetUp(have)
	case netplan.Del:
	}
	delete(k.index, l.Name)
	have, err := k.Link(l.Name)
	if err != nil {
		return err
	}
	err = k.handle.LinkDel(have)
	if errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("%w: %w", netplan.ErrAbsent, err)
	}
	return err
}

// addLink makes a pair, its far end born where it belongs, and takes it back where it cannot be finished.
func (k *Kernel) addLink(l netplan.Link) error {
	if l.Kind != "veth" || l.Peer == nil {
		return fmt.Errorf("link %s: no links of kind %q are made here", l.Name, l.Kind)
	}
	delete(k.index, l.Name)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr = l.Name, l.MTU, hardware(l.MAC)
	pair := netlink.NewVeth(attrs)
	pair.PeerName, pair.PeerHardwareAddr, pair.PeerMTU = l.Peer.Name, hardware(l.Peer.MAC), uint32(l.Peer.MTU) //nolint:gosec // An MTU is small.
	if l.Peer.Netns != "" {
		far, err := netns.Open(l.Peer.Netns)
		if err != nil {
			return err
		}
		defer func() { _ = far.Close() }()
		pair.PeerNamespace = netlink.NsFd(far.FD())
	}
	if err := k.handle.LinkAdd(pair); err != nil {
		return fmt.Errorf("make the pair %s and %s: %w", l.Name, l.Peer.Name, err)
	}
	k.index[l.Name] = pair.Index
	if l.Alias == "" {
		return nil
	}
	if err := k.handle.LinkSetAlias(pair, l.Alias); err != nil {
		delete(k.index, l.Name)
		return errors.Join(fmt.Errorf("mark link %s: %w", l.Name, err), k.handle.LinkDel(pair))
	}
	return nil
}

// setLink changes what differs.
func (k *Kernel) setLink(l netplan.Link) error {
	have, err := k.Link(l.Name)
	if err != nil {
		return err
	}
	is := Describe(have)
	if l.MAC != (netplan.MAC{}) && l.MAC != is.MAC {
		if err := k.handle.LinkSetHardwareAddr(have, hardware(l.MAC)); err != nil {
			return fmt.Errorf("set the hardware address: %w", err)
		}
	}
	if l.MTU != 0 && l.MTU != is.MTU {
		if err := k.handle.LinkSetMTU(have, l.MTU); err != nil {
			return fmt.Errorf("set the MTU: %w", err)
		}
	}
	if l.Alias != is.Alias {
		if err := k.handle.LinkSetAlias(have, l.Alias); err != nil {
			return fmt.Errorf("set the alias: %w", err)
		}
	}
	return nil
}

func hardware(m netplan.MAC) net.HardwareAddr {
	if m == (netplan.MAC{}) {
		return nil
	}
	return net.HardwareAddr(m[:])
}

func (k *Kernel) readAddrs(_ netplan.Query, s *netplan.State) error {
	for _, l := range s.Links {
		link := &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: l.Index, Name: l.Name}}
		addrs, err := Dump(func() ([]netlink.Addr, error) { return k.handle.AddrList(link, netlink.FAMILY_ALL) })
		if err != nil {
			return fmt.Errorf("list the addresses of %s: %w", l.Name, err)
		}
		for _, a := range addrs {
			if p, ok := Prefix(a.IPNet); ok {
				s.Addrs = append(s.Addrs, netplan.Addr{Link: l.Name, Prefix: p, Scope: netplan.Scope(a.Scope)}) //nolint:gosec // The kernel's own byte.
			}
		}
	}
	return nil
}

func (k *Kernel) doAddr(verb netplan.Verb, a netplan.Addr) error {
	index, err := k.linkIndex(a.Link)
	if err != nil {
		return err
	}
	link := &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: index, Name: a.Link}}
	addr := &netlink.Addr{IPNet: IPNet(a.Prefix), Scope: int(a.Scope)}
	if a.NoDAD {
		addr.Flags = unix.IFA_F_NODAD
	}
	switch verb {
	case netplan.Add:
		err = k.handle.AddrAdd(link, addr)
	case netplan.Del:
		err = k.handle.AddrDel(link, addr)
	default:
		err = k.handle.AddrReplace(link, addr)
	}
	return translate(verb, err, unix.EADDRNOTAVAIL, unix.ENODEV)
}

func (k *Kernel) readNeighs(_ netplan.Query, s *netplan.State) error {
	for _, l := range s.Links {
		if !l.Up {
			continue // The kernel takes them away with the link.
		}
		for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
			neighs, err := Dump(func() ([]netlink.Neigh, error) { return k.handle.NeighList(l.Index, family) })
			if err != nil && !noIPv6(err) {
				return fmt.Errorf("list the neighbours of %s: %w", l.Name, err)
			}
			for _, n := range neighs {
				ip, ok := netip.AddrFromSlice(n.IP)
				if !ok || n.State&unix.NUD_PERMANENT == 0 || n.Flags&unix.NTF_PROXY != 0 {
					continue
				}
				out := netplan.Neigh{Link: l.Name, IP: ip.Unmap()}
				copy(out.MAC[:], n.HardwareAddr)
				s.Neighs = append(s.Neighs, out)
			}
		}
	}
	return nil
}

func (k *Kernel) doNeigh(verb netplan.Verb, n netplan.Neigh) error {
	index, err := k.linkIndex(n.Link)
	if err != nil {
		return err
	}
	neigh := &netlink.Neigh{
		LinkIndex: index, State: unix.NUD_PERMANENT, IP: n.IP.AsSlice(), HardwareAddr: hardware(n.MAC),
	}
	switch verb {
	case netplan.Add:
		err = k.handle.NeighAdd(neigh)
	case netplan.Del:
		err = k.handle.NeighDel(neigh)
	default:
		err = k.handle.NeighSet(neigh)
	}
	return translate(verb, err, unix.ENOENT, unix.ENODEV)
}

// Prefix turns an address with its mask into our form.
func Prefix(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	ip, ok := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(ip.Unmap(), ones), ok
}

// IPNet is the inverse of Prefix.
func IPNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

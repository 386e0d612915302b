// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/weft-cni/weft/libs/netplan"
	"github.com/weft-cni/weft/libs/netplan/nft"
)

// conn opens the nftables socket when it is first needed. It is born inside the namespace: nftables.WithNetNSFd would spend a
// thread on it, which costs more than the rest.
func (k *Kernel) conn() (*nftables.Conn, error) {
	if k.nft != nil {
		return k.nft, nil
	}
	var c *nftables.Conn
	err := k.ns.Here(func() (err error) {
		c, err = nftables.New(nftables.AsLasting())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	k.nft = c
	return c, nil
}

func inet(name string) *nftables.Table {
	return &nftables.Table{Name: name, Family: nftables.TableFamilyINet}
}

func (k *Kernel) readNft(q netplan.Query, s *netplan.State) error {
	q.Elems = slices.DeleteFunc(slices.Clone(q.Elems), func(e nft.Elem) bool {
		return slices.Contains(q.Links, e.Key) && !slices.ContainsFunc(s.Links, func(l netplan.Link) bool { return l.Name == e.Key })
	})
	if !q.Nft && len(q.Elems) == 0 {
		return nil
	}
	c, err := k.conn()
	if err != nil {
		return err
	}
	table := inet(netplan.NftTable)
	_, err = c.ListTableOfFamily(table.Name, table.Family)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look up nftables table %s: %w", table.Name, err)
	}
	maps, err := c.GetSets(table)
	if err != nil {
		return fmt.Errorf("list nftables maps: %w", err)
	}
	if q.Nft {
		if s.Nft, err = skeleton(c, table, maps); err != nil {
			return err
		}
	}
	return readElems(c, q, maps, s)
}

// skeleton reads the maps and chains of our table.
func skeleton(c *nftables.Conn, table *nftables.Table, maps []*nftables.Set) (*nft.Table, error) {
	out := &nft.Table{Name: table.Name}
	for _, m := range maps {
		out.Maps = append(out.Maps, nft.Map{Name: m.Name, Value: m.DataType.Name})
	}
	chains, err := c.ListChainsOfTableFamily(table.Family)
	if err != nil {
		return nil, fmt.Errorf("list nftables chains: %w", err)
	}
	for _, ch := range chains {
		if ch.Table.Name != table.Name {
			continue
		}
		rules, err := c.GetRules(table, ch)
		if err != nil {
			return nil, fmt.Errorf("list the rules of nftables chain %s: %w", ch.Name, err)
		}
		chain := nft.Chain{Name: ch.Name, Type: string(ch.Type)}
		if ch.Hooknum != nil && ch.Priority != nil {
			chain.Hook, chain.Priority = hookName(*ch.Hooknum), int(*ch.Priority)
		}
		for _, r := range rules {
			chain.Rules = append(chain.Rules, repair(r.Exprs))
		}
		out.Chains = append(out.Chains, chain)
	}
	return out, nil
}

// repair makes up for what google/nftables v0.3.0 does not read: the register that a connection's mark is set from, which
// leaves 0, the register of verdicts. Rules are made with one data register, so it is that one.
func repair(exprs []expr.Any) nft.Rule {
	for _, e := range exprs {
		if ct, ok := e.(*expr.Ct); ok && ct.Register == 0 {
			ct.Register, ct.SourceRegister = unix.NFT_REG_1, true
		}
	}
	return exprs
}

// readElems reads the elements asked for; a query with an empty key asks for the whole map.
func readElems(c *nftables.Conn, q netplan.Query, maps []*nftables.Set, s *netplan.State) error {
	for _, m := range maps {
		if !slices.ContainsFunc(q.Elems, func(e nft.Elem) bool { return e.Map == m.Name }) {
			continue
		}
		elems, err := c.GetSetElements(m)
		if err != nil {
			return fmt.Errorf("list the elements of nftables map %s: %w", m.Name, err)
		}
		for _, e := range elems {
			value, _ := netip.AddrFromSlice(e.Val)
			elem := nft.Elem{Map: m.Name, Key: strings.TrimRight(string(e.Key), "\x00"), Value: value}
			wanted := func(w nft.Elem) bool { return w.Map == elem.Map && (w.Key == "" || w.Key == elem.Key) }
			if slices.ContainsFunc(q.Elems, wanted) {
				s.Elems = append(s.Elems, elem)
			}
		}
	}
	return nil
}

// doTable adds or remakes the skeleton of our table, or deletes it with all that is in it. Elements of its maps stay when it
// is remade. Each is one transaction.
func (k *Kernel) doTable(verb netplan.Verb, t nft.Table) error {
	c, err := k.conn()
	if err != nil {
		return err
	}
	table := inet(t.Name)
	if verb == netplan.Del {
		c.DelTable(table)
		return translate(verb, c.Flush(), unix.ENOENT)
	}
	c.AddTable(table)
	for _, m := range t.Maps {
		if err := c.AddSet(set(table, m.Name, m.Value), nil); err != nil {
			return fmt.Errorf("describe nftables map %s: %w", m.Name, err)
		}
	}
	if verb == netplan.Set {
		if err := dropUnwanted(c, table, t); err != nil {
			return err
		}
	}
	for _, ch := range t.Chains {
		chain := &nftables.Chain{
			Name: ch.Name, Table: table, Type: nftables.ChainType(ch.Type),
			Hooknum: hook(ch.Hook), Priority: new(nftables.ChainPriority(ch.Priority)), //nolint:gosec // A small number.
		}
		c.AddChain(chain)
		for _, r := range ch.Rules {
			c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: r})
		}
	}
	return c.Flush()
}

// dropUnwanted empties the chains that are there, for remaking, and deletes those that are no longer wanted.
func dropUnwanted(c *nftables.Conn, table *nftables.Table, t nft.Table) error {
	chains, err := c.ListChainsOfTableFamily(table.Family)
	if err != nil {
		return fmt.Errorf("list nftables chains: %w", err)
	}
	for _, ch := range chains {
		if ch.Table.Name != table.Name {
			continue
		}
		ch.Table = table
		c.FlushChain(ch)
		same := func(w nft.Chain) bool {
			return w.Name == ch.Name && w.Type == string(ch.Type) && ch.Priority != nil && w.Priority == int(*ch.Priority)
		}
		if !slices.ContainsFunc(t.Chains, same) {
			c.DelChain(ch)
		}
	}
	return nil
}

func (k *Kernel) doElem(verb netplan.Verb, e nft.Elem) error {
	c, err := k.conn()
	if err != nil {
		return err
	}
	kind := "ipv4_addr"
	if e.Value.Is6() {
		kind = "ipv6_addr"
	}
	m := set(inet(netplan.NftTable), e.Map, kind)
	elem := nftables.SetElement{Key: nft.IfKey(e.Key), Val: e.Value.AsSlice()}
	if verb == netplan.Del {
		elem.Val = nil
		if err := c.SetDeleteElements(m, []nftables.SetElement{elem}); err != nil {
			return fmt.Errorf("describe nftables element: %w", err)
		}
		return translate(verb, c.Flush(), unix.ENOENT)
	}
	if err := c.SetAddElements(m, []nftables.SetElement{elem}); err != nil {
		return fmt.Errorf("describe nftables element: %w", err)
	}
	err = c.Flush()
	if !errors.Is(err, unix.EEXIST) && !errors.Is(err, unix.EBUSY) {
		return err
	}
	// The key is there with another value: out and in again, in one transaction.
	if err := c.SetDeleteElements(m, []nftables.SetElement{{Key: elem.Key}}); err != nil {
		return fmt.Errorf("describe nftables element: %w", err)
	}
	if err := c.SetAddElements(m, []nftables.SetElement{elem}); err != nil {
		return fmt.Errorf("describe nftables element: %w", err)
	}
	return c.Flush()
}

func set(table *nftables.Table, name, value string) *nftables.Set {
	data := nftables.TypeIPAddr
	if value == nftables.TypeIP6Addr.Name {
		data = nftables.TypeIP6Addr
	}
	return &nftables.Set{Table: table, Name: name, IsMap: true, KeyType: nftables.TypeIFName, DataType: data}
}

func hook(name string) *nftables.ChainHook {
	switch name {
	case "prerouting":
		return nftables.ChainHookPrerouting
	case "input":
		return nftables.ChainHookInput
	case "forward":
		return nftables.ChainHookForward
	case "output":
		return nftables.ChainHookOutput
	default:
		return nftables.ChainHookPostrouting
	}
}

func hookName(h nftables.ChainHook) string {
	for _, name := range []string{"prerouting", "input", "forward", "output", "postrouting"} {
		if *hook(name) == h {
			return name
		}
	}
	return "unknown"
}

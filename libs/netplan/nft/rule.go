// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// New makes a rule of statements, each made by one of the functions below.
func New(statements ...Rule) Rule { return slices.Concat(statements...) }

// ifNameSize is the size of a link's name in the kernel's registers.
const ifNameSize = 16

// IfKey is a link's name as the kernel keeps it in maps and comparisons.
func IfKey(name string) []byte {
	key := make([]byte, ifNameSize)
	copy(key, name)
	return key
}

// IIFName matches packets that came in over the named link.
func IIFName(name string) Rule {
	return Rule{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: IfKey(name)},
	}
}

// CTNew matches the first packets of a connection.
func CTNew() Rule {
	return Rule{
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: native(expr.CtStateBitNEW), Xor: native(0)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: native(0)},
	}
}

// CTMark matches connections whose mark has the bits.
func CTMark(bits uint32) Rule {
	return Rule{
		&expr.Ct{Key: expr.CtKeyMARK, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: native(bits), Xor: native(0)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: native(bits)},
	}
}

// SetCTMark adds bits to the connection's mark.
func SetCTMark(bits uint32) Rule {
	return Rule{
		&expr.Ct{Key: expr.CtKeyMARK, Register: 1},
		orBits(bits),
		&expr.Ct{Key: expr.CtKeyMARK, Register: 1, SourceRegister: true},
	}
}

// SetMark adds bits to the packet's mark.
func SetMark(bits uint32) Rule {
	return Rule{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		orBits(bits),
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true},
	}
}

// SNATByLink rewrites the source of packets of a family (4 or 6) to the address that the map has for the link they leave by.
func SNATByLink(family int, mapName string) Rule {
	proto := byte(unix.NFPROTO_IPV4)
	if family == 6 {
		proto = unix.NFPROTO_IPV6
	}
	return Rule{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{proto}},
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Lookup{SourceRegister: 1, DestRegister: 1, IsDestRegSet: true, SetName: mapName},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: uint32(proto), RegAddrMin: 1},
	}
}

func orBits(bits uint32) *expr.Bitwise {
	return &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: native(^bits), Xor: native(bits)}
}

// native is a number as the kernel keeps it in a register.
func native(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

// describe shows expressions as nft would, following what each register holds.
func describe(exprs []expr.Any) string {
	d := describer{regs: map[uint32]string{}}
	for _, e := range exprs {
		d.one(e)
	}
	return strings.Join(d.out, " ")
}

type describer struct {
	regs map[uint32]string
	out  []string
}

func (d *describer) emit(format string, args ...any) {
	d.out = append(d.out, fmt.Sprintf(format, args...))
}

func (d *describer) one(e expr.Any) {
	switch x := e.(type) {
	case *expr.Meta:
		d.keyed("meta", metaName(x.Key), x.Register, x.SourceRegister)
	case *expr.Ct:
		d.keyed("ct", ctName(x.Key), x.Register, x.SourceRegister)
	case *expr.Bitwise:
		d.regs[x.DestRegister] = bitwise(d.regs[x.SourceRegister], x)
	case *expr.Cmp:
		d.emit("%s", compared(d.regs[x.Register], x))
	case *expr.Lookup:
		if x.DestRegister != 0 || x.IsDestRegSet {
			d.regs[x.DestRegister] = d.regs[x.SourceRegister] + " map @" + x.SetName
			return
		}
		d.emit("%s @%s", d.regs[x.SourceRegister], x.SetName)
	case *expr.NAT:
		d.emit("%s", d.nat(x))
	default:
		d.emit("%T%+v", e, e)
	}
}

// keyed reads meta or ct data into a register, or writes it from there.
func (d *describer) keyed(what, name string, reg uint32, write bool) {
	if write {
		d.emit("%s %s set %s", what, name, d.regs[reg])
		return
	}
	d.regs[reg] = what + " " + name
}

func (d *describer) nat(x *expr.NAT) string {
	kind, family := "snat", "ip"
	if x.Type != expr.NATTypeSourceNAT {
		kind = "dnat"
	}
	if x.Family == unix.NFPROTO_IPV6 {
		family = "ip6"
	}
	s := kind + " " + family + " to " + d.regs[x.RegAddrMin]
	if x.RegProtoMin != 0 || x.Random || x.FullyRandom || x.Persistent || x.Prefix {
		s += fmt.Sprintf(" %+v", *x)
	}
	return s
}

func bitwise(reg string, x *expr.Bitwise) string {
	if len(x.Mask) != 4 || len(x.Xor) != 4 {
		return fmt.Sprintf("(%s & %x ^ %x)", reg, x.Mask, x.Xor)
	}
	mask, xor := binary.NativeEndian.Uint32(x.Mask), binary.NativeEndian.Uint32(x.Xor)
	switch {
	case xor == 0:
		return fmt.Sprintf("%s & %#x", reg, mask)
	case mask == ^xor:
		return fmt.Sprintf("%s or %#x", reg, xor)
	}
	return fmt.Sprintf("(%s & %#x) ^ %#x", reg, mask, xor)
}

func compared(reg string, x *expr.Cmp) string {
	if x.Op == expr.CmpOpNeq && reg == fmt.Sprintf("ct state & %#x", expr.CtStateBitNEW) {
		return "ct state new"
	}
	op := map[expr.CmpOp]string{
		expr.CmpOpEq: "==", expr.CmpOpNeq: "!=", expr.CmpOpLt: "<", expr.CmpOpLte: "<=", expr.CmpOpGt: ">", expr.CmpOpGte: ">=",
	}[x.Op]
	data := fmt.Sprintf("%#x", x.Data)
	switch {
	case strings.HasSuffix(reg, "ifname"):
		data = fmt.Sprintf("%q", bytes.TrimRight(x.Data, "\x00"))
	case reg == "meta nfproto" && len(x.Data) == 1 && x.Data[0] == unix.NFPROTO_IPV4:
		data = "ipv4"
	case reg == "meta nfproto" && len(x.Data) == 1 && x.Data[0] == unix.NFPROTO_IPV6:
		data = "ipv6"
	case len(x.Data) == 4:
		data = fmt.Sprintf("%#x", binary.NativeEndian.Uint32(x.Data))
	}
	return reg + " " + op + " " + data
}

func metaName(k expr.MetaKey) string {
	switch k {
	case expr.MetaKeyIIFNAME:
		return "iifname"
	case expr.MetaKeyOIFNAME:
		return "oifname"
	case expr.MetaKeyMARK:
		return "mark"
	case expr.MetaKeyNFPROTO:
		return "nfproto"
	default:
		return fmt.Sprintf("key%d", k)
	}
}

func ctName(k expr.CtKey) string {
	switch k {
	case expr.CtKeySTATE:
		return "state"
	case expr.CtKeyMARK:
		return "mark"
	default:
		return fmt.Sprintf("key%d", k)
	}
}

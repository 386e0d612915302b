// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package netplan

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"strings"
)

// Marks: everything weft leaves in a kernel carries one of these, so that it can be found, compared and removed.
const (
	// Protocol is the routing protocol number of our routes and of our rules.
	Protocol = 119
	// Table is the routing table of the pod routes on a host, and of the reply path in a pod.
	Table = 9338
	// RulePreference is the preference of the rules that lead to Table.
	RulePreference = 933
	// AliasPrefix begins the ifalias of our links; the attachment follows.
	AliasPrefix = "weft "
	// HostLinkPrefix begins the name of the host end of a pod's veth pair; 11 hexadecimal digits follow.
	HostLinkPrefix = "weft"
	// PodLink is the name of the pod end.
	PodLink = "veth0"
	// NftTable is the name of our nftables table, of the inet family.
	NftTable = "weft"
	// FlowMark is the bit of fwmark and connection mark for flows that came in over the veth; it is its own mask.
	FlowMark = 0x20000000
)

// NextHop4 and NextHop6 are the host end as every pod sees it: one link-local next hop per family.
func NextHop4() netip.Addr { return netip.AddrFrom4([4]byte{169, 254, 1, 1}) }

// NextHop6 is the link-local address that follows from HostMAC.
func NextHop6() netip.Addr { return netip.MustParseAddr("fe80::ecee:eeff:feee:eeee") }

// PodLinkLocal4 is the address of the pod end that makes REDIRECT work: never used as a source.
func PodLinkLocal4() netip.Addr { return netip.AddrFrom4([4]byte{169, 254, 1, 2}) }

// HostMAC is the hardware address of every host end: constant, so a pod's neighbour entry never goes stale.
func HostMAC() MAC { return MAC{0xee, 0xee, 0xee, 0xee, 0xee, 0xee} }

// Attachment names one interface of one container in one network.
type Attachment struct {
	Network, ContainerID, IfName string
}

// String is the attachment as our ifalias and log show it.
func (a Attachment) String() string { return a.Network + "/" + a.ContainerID + "/" + a.IfName }

// HostLink is the name of the host end of the attachment's veth pair.
func (a Attachment) HostLink() string {
	sum := a.sum()
	return HostLinkPrefix + hex.EncodeToString(sum[:])[:11]
}

// PodMAC is the hardware address of the pod end: locally administered, and the same each time.
func (a Attachment) PodMAC() MAC {
	sum := a.sum()
	return MAC{0x0a, sum[6], sum[7], sum[8], sum[9], sum[10]}
}

// maxAlias is the longest ifalias the kernel takes.
const maxAlias = 255

// Alias is the ifalias of both ends.
func (a Attachment) Alias() string {
	alias := AliasPrefix + a.String()
	if len(alias) > maxAlias {
		sum := a.sum()
		alias = AliasPrefix + "sha256:" + hex.EncodeToString(sum[:])
	}
	return alias
}

func (a Attachment) sum() [sha256.Size]byte { return sha256.Sum256([]byte(a.String())) }

// Ours says whether a link of that name and ifalias is the host end of one of our veth pairs.
func Ours(name, alias string) bool {
	return strings.HasPrefix(name, HostLinkPrefix) && strings.HasPrefix(alias, AliasPrefix)
}

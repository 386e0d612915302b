// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package nettest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
)

// requireEnv lists the features that must be there: comma separated, or "all".
const requireEnv = "WEFT_REQUIRE"

// Need skips the test where the machine lacks a feature, or fails it where WEFT_REQUIRE lists that feature.
//
// Link kinds are probed by making one: "macvlan", "ipvlan", "vlan", "bond", "vrf", "dummy", "bridge", "veth", "ifb", "vxlan".
// "nft" is the kernel's nftables with connection tracking marks, "sriov" a NIC that can make virtual functions, "rdma" an
// RDMA device, be it one in software, "program:<name>" a program on the PATH.
func Need(t testing.TB, feature string) {
	t.Helper()
	err := probe(t, feature)
	if err == nil {
		return
	}
	if required(os.Getenv(requireEnv), feature) {
		t.Fatalf("%s is required (%s) and absent: %v", feature, requireEnv, err)
	}
	t.Skipf("needs %s: %v", feature, err)
}

// required says whether a comma list asks for a feature.
func required(list, feature string) bool {
	wanted := strings.Split(list, ",")
	return slices.Contains(wanted, feature) || slices.Contains(wanted, "all")
}

// probe tries a feature; nil means that it is there.
func probe(t testing.TB, feature string) error {
	t.Helper()
	switch {
	case feature == "root":
		if os.Geteuid() != 0 {
			return errors.New("not root")
		}
		return nil
	case feature == "nft":
		return probeNft(t)
	case feature == "sriov":
		return probeSRIOV()
	case feature == "rdma":
		return probeRDMA(t)
	case strings.HasPrefix(feature, "program:"):
		_, err := exec.LookPath(strings.TrimPrefix(feature, "program:"))
		return err
	}
	return probeLink(t, feature)
}

// probeLink makes a link of the kind in a throw-away namespace.
func probeLink(t testing.TB, kind string) error {
	t.Helper()
	n := New(t, "probe")
	defer n.Remove()
	parent := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "parent"}, PeerName: "other"}
	if err := n.handle.LinkAdd(parent); err != nil {
		return fmt.Errorf("make a veth: %w", err)
	}
	attrs := netlink.LinkAttrs{Name: "probe", ParentIndex: parent.Index}
	free := netlink.LinkAttrs{Name: "probe"}
	var link netlink.Link
	switch kind {
	case "veth":
		return nil
	case "macvlan":
		link = &netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_BRIDGE}
	case "ipvlan":
		link = &netlink.IPVlan{LinkAttrs: attrs, Mode: netlink.IPVLAN_MODE_L2}
	case "vlan":
		link = &netlink.Vlan{LinkAttrs: attrs, VlanId: 100}
	case "bond":
		bond := netlink.NewLinkBond(free)
		bond.Mode = netlink.BOND_MODE_ACTIVE_BACKUP
		link = bond
	case "vrf":
		link = &netlink.Vrf{LinkAttrs: free, Table: 100}
	case "dummy":
		link = &netlink.Dummy{LinkAttrs: free}
	case "bridge":
		link = &netlink.Bridge{LinkAttrs: free}
	case "ifb":
		link = &netlink.Ifb{LinkAttrs: free}
	case "vxlan":
		link = &netlink.Vxlan{LinkAttrs: free, VxlanId: 1, Port: 4789}
	default:
		return fmt.Errorf("nettest knows no probe for %q", kind)
	}
	if err := n.handle.LinkAdd(link); err != nil {
		return fmt.Errorf("the kernel (%s) makes no %s: %w", kernelRelease(), kind, err)
	}
	return nil
}

// probeNft makes a table of the inet family in a throw-away namespace.
func probeNft(t testing.TB) error {
	t.Helper()
	n := New(t, "probe")
	defer n.Remove()
	conn, err := nftables.New(nftables.WithNetNSFd(n.FD()))
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	conn.AddTable(&nftables.Table{Name: "probe", Family: nftables.TableFamilyINet})
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("the kernel (%s) makes no nftables table: %w", kernelRelease(), err)
	}
	return nil
}

// probeSRIOV looks for a NIC that can make virtual functions.
func probeSRIOV() error {
	files, err := filepath.Glob("/sys/bus/pci/devices/*/sriov_totalvfs")
	if err != nil {
		return err
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err == nil && string(bytes.TrimSpace(raw)) != "0" {
			return nil
		}
	}
	return errors.New("no PCI device can make virtual functions")
}

// probeRDMA looks for an RDMA device of this namespace, or makes a software one in a throw-away namespace.
func probeRDMA(t testing.TB) error {
	t.Helper()
	links, err := netlink.RdmaLinkList()
	if err != nil {
		return fmt.Errorf("list RDMA devices: %w", err)
	}
	if len(links) > 0 {
		return nil
	}
	n := New(t, "probe")
	defer n.Remove()
	Cable(t, n, "parent", n, "other")
	n.Do(func() { err = netlink.RdmaLinkAdd("weftprobe", "rxe", "parent") })
	if err != nil {
		return fmt.Errorf("no RDMA device, and the kernel (%s) makes none: %w", kernelRelease(), err)
	}
	return nil
}

// kernelRelease returns the running kernel's release.
func kernelRelease() string {
	raw, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown"
	}
	return string(bytes.TrimSpace(raw))
}

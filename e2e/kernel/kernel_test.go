// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package kernel holds the facts about Linux that weft builds on, each as a test
// that fails when a kernel stops agreeing. The tests say nothing about weft: one
// that fails means that a decision has lost its ground. They need root, and a
// kernel with the link kinds they name; package device has those that need the
// first network namespace or a real card.
package kernel

import (
	"errors"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-cni/weft/libs/nettest"
)

func TestMain(m *testing.M) { nettest.Main(m) }

// host is a namespace with a parent link eth0 that is up and has carrier.
func host(t *testing.T) (*nettest.NS, netlink.Link) {
	t.Helper()
	ns := nettest.New(t, "host")
	must(t, ns.Netlink().LinkAdd(&netlink.Veth{LinkAttrs: attrs("eth0", nil), PeerName: "peer"}))
	ns.Up("peer")
	ns.Up("eth0")
	return ns, byName(t, ns, "eth0")
}

func attrs(name string, parent netlink.Link) netlink.LinkAttrs {
	a := netlink.NewLinkAttrs()
	a.Name = name
	if parent != nil {
		a.ParentIndex = parent.Attrs().Index
	}
	return a
}

func vlan(name string, parent netlink.Link, id int) *netlink.Vlan {
	return &netlink.Vlan{LinkAttrs: attrs(name, parent), VlanId: id, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q}
}

func macvlan(name string, parent netlink.Link) *netlink.Macvlan {
	return &netlink.Macvlan{LinkAttrs: attrs(name, parent), Mode: netlink.MACVLAN_MODE_BRIDGE}
}

func ipvlan(name string, parent netlink.Link, mode netlink.IPVlanMode) *netlink.IPVlan {
	return &netlink.IPVlan{LinkAttrs: attrs(name, parent), Mode: mode}
}

func bond(name string) *netlink.Bond {
	b := netlink.NewLinkBond(attrs(name, nil))
	b.Mode = netlink.BOND_MODE_ACTIVE_BACKUP
	return b
}

// add makes a link and returns it as the kernel has it.
func add(t *testing.T, ns *nettest.NS, l netlink.Link) netlink.Link {
	t.Helper()
	must(t, ns.Netlink().LinkAdd(l))
	return byName(t, ns, l.Attrs().Name)
}

func byName(t *testing.T, ns *nettest.NS, name string) netlink.Link {
	t.Helper()
	l, err := ns.Netlink().LinkByName(name)
	must(t, err)
	return l
}

func mtu(t *testing.T, ns *nettest.NS, name string) int {
	t.Helper()
	return byName(t, ns, name).Attrs().MTU
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually polls what the kernel does in its own time.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(5 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within 5 s: %s", what)
		}
	}
}

func wantErrno(t *testing.T, what string, got error, want unix.Errno) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want %v", what, got, want)
	}
}

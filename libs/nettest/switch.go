// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package nettest

import (
	"fmt"
	"testing"

	"github.com/vishvananda/netlink"
)

// switchBridge is the bridge inside the namespace a Switch makes.
const switchBridge = "br0"

// Switch makes a namespace with a bridge and gives each of the namespaces one port of it, as "eth0", up. Cables are
// there when it returns; addresses are the test's business. The returned namespace is the switch itself.
func Switch(t testing.TB, ns ...*NS) *NS {
	t.Helper()
	sw := New(t, "switch")
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: switchBridge}}
	if err := sw.handle.LinkAdd(bridge); err != nil {
		t.Fatalf("make the bridge: %v", err)
	}
	sw.Up(switchBridge)
	for i, n := range ns {
		Plug(t, sw, n, fmt.Sprintf("port%d", i), "eth0")
	}
	return sw
}

// Plug lays one more cable: port on the switch's bridge, nic in the namespace, both up.
func Plug(t testing.TB, sw, n *NS, port, nic string) {
	t.Helper()
	Cable(t, sw, port, n, nic)
	bridge, err := sw.handle.LinkByName(switchBridge)
	if err != nil {
		t.Fatalf("look up the bridge: %v", err)
	}
	link, err := sw.handle.LinkByName(port)
	if err != nil {
		t.Fatalf("look up port %s: %v", port, err)
	}
	if err := sw.handle.LinkSetMaster(link, bridge); err != nil {
		t.Fatalf("plug port %s: %v", port, err)
	}
}

// Cable makes a pair of connected links, one in each namespace, both up.
func Cable(t testing.TB, a *NS, nameA string, b *NS, nameB string) {
	t.Helper()
	pair := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: nameA},
		PeerName:      nameB,
		PeerNamespace: netlink.NsFd(b.FD()),
	}
	if err := a.handle.LinkAdd(pair); err != nil {
		t.Fatalf("lay a cable from %s in %s to %s in %s: %v", nameA, a.Name(), nameB, b.Name(), err)
	}
	a.Up(nameA)
	b.Up(nameB)
}

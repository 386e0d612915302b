// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"net"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-cni/weft/libs/nettest"
)

func TestVLANOnADownParentCannotRise(t *testing.T) {
	t.Parallel()
	nettest.Need(t, "vlan")
	ns, parent := host(t)
	must(t, ns.Netlink().LinkSetDown(parent))
	child := add(t, ns, vlan("eth0.10", parent, 10))
	wantErrno(t, "raise a VLAN on a parent that is down", ns.Netlink().LinkSetUp(child), unix.ENETDOWN)
}

func TestVLANIDIsThereOncePerParent(t *testing.T) {
	t.Parallel()
	nettest.Need(t, "vlan")
	ns, parent := host(t)
	add(t, ns, vlan("eth0.10", parent, 10))
	wantErrno(t, "the same VLAN under another name", ns.Netlink().LinkAdd(vlan("other", parent, 10)), unix.EEXIST)
	service := vlan("service", parent, 10)
	service.VlanProtocol = netlink.VLAN_PROTOCOL_8021AD
	if err := ns.Netlink().LinkAdd(service); err != nil {
		t.Errorf("the same number under 802.1ad is another VLAN, got %v", err)
	}
}

func TestInnerVLANKeepsTheMTU(t *testing.T) {
	t.Parallel()
	nettest.Need(t, "vlan")
	ns, parent := host(t)
	outer := vlan("outer", parent, 10)
	outer.VlanProtocol = netlink.VLAN_PROTOCOL_8021AD
	add(t, ns, vlan("inner", add(t, ns, outer), 20))
	if got := mtu(t, ns, "inner"); got != parent.Attrs().MTU {
		t.Errorf("MTU of a doubly tagged link is %d, want the parent's %d: nobody leaves room for tags", got, parent.Attrs().MTU)
	}
}

func TestMTUFollowsTheParentOnlyDown(t *testing.T) {
	t.Parallel()
	nettest.Need(t, "vlan")
	nettest.Need(t, "macvlan")
	ns, parent := host(t)
	kinds := map[string]netlink.Link{"vlan": vlan("vlan", parent, 10), "macvlan": macvlan("macvlan", parent)}
	for name, l := range kinds {
		kinds[name] = add(t, ns, l)
	}
	must(t, ns.Netlink().LinkSetMTU(parent, 1400))
	// A macvlan follows at once; since Linux 7.3 a VLAN does in the kernel's own time.
	for name := range kinds {
		eventually(t, "parent lowered to 1400: the "+name+" too", func() bool { return mtu(t, ns, name) == 1400 })
	}
	must(t, ns.Netlink().LinkSetMTU(parent, 1500))
	for name := range kinds {
		if got := mtu(t, ns, name); got != 1400 {
			t.Errorf("parent raised to 1500: the %s has %d, want it to stay at 1400", name, got)
		}
	}
	wantErrno(t, "a VLAN's MTU above its parent's", ns.Netlink().LinkSetMTU(kinds["vlan"], 1600), unix.ERANGE)
	wantErrno(t, "a macvlan's MTU above its parent's", ns.Netlink().LinkSetMTU(kinds["macvlan"], 1600), unix.EINVAL)
}

func TestMacvlanAndIpvlanExcludeEachOther(t *testing.T) {
	t.Parallel()
	nettest.Need(t, "macvlan")
	nettest.Need(t, "ipvlan")
	ns, parent := host(t)
	m := add(t, ns, macvlan("m", parent))
	wantErrno(t, "ipvlan beside macvlan", ns.Netlink().LinkAdd(ipvlan("i", parent, netlink.IPVLAN_MODE_L2)), unix.EBUSY)
	must(t, ns.Netlink().LinkDel(m))
	add(t, ns, ipvlan("i", parent, netlink.IPVLAN_MODE_L2))
	wantErrno(t, "macvlan beside ipvlan", ns.Netlink().LinkAdd(macvlan("m", parent)), unix.EBUSY)
}

func TestIpvlanModeBelongsToTheParent(t *testing.T) {
	t.Parallel()
	nettest.Need(t, "ipvlan")
	ns, parent := host(t)
	add(t, ns, ipvlan("first", parent, netlink.IPVLAN_MODE_L2))
	add(t, ns, ipvlan("second", parent, netlink.IPVLAN_MODE_L3S))
	got, ok := byName(t, ns, "first").(*netlink.IPVlan)
	if !ok || got.Mode != netlink.IPVLAN_MODE_L3S {
		t.Errorf("an l3s child beside an l2 child: the l2 one now is %+v, want mode %v", got, netlink.IPVLAN_MODE_L3S)
	}
}

func TestDeletedVLANTakesThePodsMacvlanAlong(t *testing.T) {
	t.Parallel()
	nettest.Need(t, "vlan")
	nettest.Need(t, "macvlan")
	ns, parent := host(t)
	pod := nettest.New(t, "pod")
	v := add(t, ns, vlan("eth0.10", parent, 10))
	m := add(t, ns, macvlan("m", v))
	must(t, ns.Netlink().LinkSetNsFd(m, pod.FD()))
	byName(t, pod, "m")
	must(t, ns.Netlink().LinkDel(v))
	if l, err := pod.Netlink().LinkByName("m"); err == nil {
		t.Errorf("the VLAN is deleted and the pod still has %s: reference counts of our own would be needless", l.Attrs().Name)
	}
}

func TestBondTakesOnlyLinksThatAreDown(t *testing.T) {
	t.Parallel()
	nettest.Need(t, "bond")
	ns, slave := host(t)
	ip := &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 1, 0, 1), Mask: net.CIDRMask(24, 32)}}
	must(t, ns.Netlink().AddrAdd(slave, ip))
	master := add(t, ns, bond("bond0"))
	if err := ns.Netlink().LinkSetMaster(slave, master); err == nil {
		t.Error("a bond took a link that is up")
	}
	must(t, ns.Netlink().LinkSetDown(slave))
	must(t, ns.Netlink().LinkSetMaster(slave, master))
	left, err := ns.Netlink().AddrList(slave, netlink.FAMILY_V4)
	must(t, err)
	if len(left) != 1 {
		t.Errorf("the slave has the IPv4 addresses %v, want the one it had: the kernel does not move it to the bond", left)
	}
}

func TestNoMacvlanOnABondSlave(t *testing.T) {
	t.Parallel()
	nettest.Need(t, "bond")
	nettest.Need(t, "macvlan")
	ns, slave := host(t)
	master := add(t, ns, bond("bond0"))
	must(t, ns.Netlink().LinkSetDown(slave))
	must(t, ns.Netlink().LinkSetMaster(slave, master))
	wantErrno(t, "macvlan on a bond slave", ns.Netlink().LinkAdd(macvlan("m", slave)), unix.EBUSY)
	add(t, ns, macvlan("m", master))
}

func TestVRFOwnsItsTable(t *testing.T) {
	t.Parallel()
	nettest.Need(t, "vrf")
	ns, slave := host(t)
	master := add(t, ns, &netlink.Vrf{LinkAttrs: attrs("red", nil), Table: 1001})
	must(t, ns.Netlink().LinkSetUp(master))
	must(t, ns.Netlink().LinkSetMaster(slave, master))
	must(t, ns.Netlink().AddrAdd(slave, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 1, 0, 1), Mask: net.CIDRMask(24, 32)}}))
	routes, err := ns.Netlink().RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: 1001}, netlink.RT_FILTER_TABLE)
	must(t, err)
	for _, r := range routes {
		if r.Dst != nil && r.Dst.String() == "10.1.0.0/24" && r.LinkIndex == slave.Attrs().Index {
			return
		}
	}
	t.Errorf("table 1001 has no route for the subnet of the VRF's link: %v", routes)
}

func TestAliasStays(t *testing.T) {
	t.Parallel()
	nettest.Need(t, "macvlan")
	ns, parent := host(t)
	pod := nettest.New(t, "pod")
	m := add(t, ns, macvlan("m", parent))
	must(t, ns.Netlink().LinkSetAlias(m, "weft mark"))
	must(t, ns.Netlink().LinkSetNsFd(m, pod.FD()))
	must(t, pod.Netlink().LinkSetName(byName(t, pod, "m"), "net1"))
	if got := byName(t, pod, "net1").Attrs().Alias; got != "weft mark" {
		t.Errorf("alias after a move and a new name is %q: ownership marks get lost", got)
	}
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"bytes"
	"errors"
	"net"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestVFAttributesAreSetOnTheCard(t *testing.T) {
	pf, _ := card(t)
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 7}
	must(t, netlink.LinkSetVfHardwareAddr(pf, 0, mac))
	must(t, netlink.LinkSetVfVlanQos(pf, 0, 7, 3))
	must(t, netlink.LinkSetVfSpoofchk(pf, 0, false))
	must(t, netlink.LinkSetVfTrust(pf, 0, true))
	eventually(t, "carrier, without which the card has no speed to limit", func() bool {
		l, err := netlink.LinkByIndex(pf.Attrs().Index)
		return err == nil && l.Attrs().OperState == netlink.OperUp
	})
	must(t, netlink.LinkSetVfRate(pf, 0, 0, 100))
	again, err := netlink.LinkByIndex(pf.Attrs().Index)
	must(t, err)
	vfs := again.Attrs().Vfs
	if len(vfs) != 2 {
		t.Fatalf("the card tells of %d VFs, want 2", len(vfs))
	}
	got := vfs[0]
	if !bytes.Equal(got.Mac, mac) || got.Vlan != 7 || got.Qos != 3 || got.Spoofchk || got.Trust == 0 || got.MaxTxRate != 100 {
		t.Errorf("VF 0 reads back as %+v", got)
	}
}

func TestVFLinkStateMayBeUnsupported(t *testing.T) {
	pf, _ := card(t)
	err := netlink.LinkSetVfState(pf, 0, netlink.VF_LINK_STATE_DISABLE)
	if !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("set a VF's link state on igb: got %v, want %v: the way back out of a half-done change needs a test", err, unix.EOPNOTSUPP)
	}
}

func TestVFMovesUnderANewNameInOneStep(t *testing.T) {
	_, vfs := card(t)
	pod := podSpace(t)
	must(t, moveAs(vfs[0].Attrs().Index, int(pod), "net1"))
	got, err := handle(t, pod).LinkByName("net1")
	must(t, err)
	if !bytes.Equal(got.Attrs().HardwareAddr, vfs[0].Attrs().HardwareAddr) {
		t.Errorf("net1 in the pod has %s, want the VF's %s", got.Attrs().HardwareAddr, vfs[0].Attrs().HardwareAddr)
	}
}

func TestVFComesBackWhenItsNamespaceDies(t *testing.T) {
	_, vfs := card(t)
	pod := podSpace(t)
	must(t, moveAs(vfs[0].Attrs().Index, int(pod), "net1"))
	end(t, pod)
	eventually(t, "the VF in the first namespace, with the name it had in the pod", func() bool {
		l, err := netlink.LinkByName("net1")
		return err == nil && bytes.Equal(l.Attrs().HardwareAddr, vfs[0].Attrs().HardwareAddr) && l.Attrs().Flags&net.FlagUp == 0
	})
}

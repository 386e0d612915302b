// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// moveAs moves a link into a namespace and renames it there in one request.
func moveAs(index, ns int, name string) error {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index)
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(ns))))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// exclusive makes every RDMA device belong to one namespace; "shared" is how a
// kernel starts.
func exclusive(t *testing.T) {
	t.Helper()
	if err := netlink.RdmaSystemSetNetnsMode("exclusive"); err != nil {
		absent(t, "rxe", "no RDMA: "+err.Error())
	}
	t.Cleanup(func() { must(t, netlink.RdmaSystemSetNetnsMode("shared")) })
}

// rxe makes an RDMA device on a link.
func rxe(t *testing.T, on netlink.Link) *netlink.RdmaLink {
	t.Helper()
	must(t, netlink.LinkSetUp(on))
	if err := netlink.RdmaLinkAdd("weftrxe0", "rxe", on.Attrs().Name); err != nil {
		absent(t, "rxe", "no rxe: "+err.Error())
	}
	t.Cleanup(func() { _ = netlink.RdmaLinkDel("weftrxe0") })
	l, err := netlink.RdmaLinkByName("weftrxe0")
	must(t, err)
	return l
}

func rdmaNames(t *testing.T, h *netlink.Handle) []string {
	t.Helper()
	links, err := h.RdmaLinkList()
	must(t, err)
	var names []string
	for _, l := range links {
		names = append(names, l.Attrs.Name)
	}
	return names
}

func veth(t *testing.T) netlink.Link {
	t.Helper()
	l := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "rdma0"}, PeerName: "rdma1"}
	must(t, netlink.LinkAdd(l))
	t.Cleanup(func() { _ = netlink.LinkDel(l) })
	return l
}

func TestRDMADeviceMovesAndComesBack(t *testing.T) {
	comesBack(t, veth(t))
}

func TestRDMADeviceOfAVFMovesAndComesBack(t *testing.T) {
	_, vfs := card(t)
	comesBack(t, vfs[0])
}

// comesBack moves an RDMA device to a namespace and ends that.
func comesBack(t *testing.T, on netlink.Link) {
	t.Helper()
	exclusive(t)
	dev := rxe(t, on)
	pod := podSpace(t)
	inPod, err := netlink.NewHandleAt(pod, unix.NETLINK_RDMA)
	must(t, err)
	must(t, netlink.RdmaLinkSetNsFd(dev, uint32(pod)))
	if got := rdmaNames(t, inPod); len(got) != 1 || got[0] != "weftrxe0" {
		t.Errorf("RDMA devices in the pod: %v, want weftrxe0 alone", got)
	}
	if _, err := netlink.RdmaLinkByName("weftrxe0"); err == nil {
		t.Error("the device is in the first namespace, too: the mode is not exclusive")
	}
	inPod.Close()
	end(t, pod)
	eventually(t, "the RDMA device back in the first namespace", func() bool {
		_, err := netlink.RdmaLinkByName("weftrxe0")
		return err == nil
	})
}

func TestRDMADeviceStaysInSharedMode(t *testing.T) {
	dev := rxe(t, veth(t))
	pod := podSpace(t)
	if err := netlink.RdmaLinkSetNsFd(dev, uint32(pod)); err == nil {
		t.Error("an RDMA device moved although the mode is shared")
	}
}

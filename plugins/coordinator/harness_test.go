// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft-cni/weft/libs/cniplugin"
	"github.com/weft-cni/weft/libs/netplan/kernel"
	"github.com/weft-cni/weft/libs/nettest"
	"github.com/weft-cni/weft/libs/undo"
)

// rig is a host on a switch with one pod on a macvlan of the host's NIC.
type rig struct {
	t         *testing.T
	host, pod *nettest.NS
	stateDir  string
	conf      map[string]any
	prev      *current.Result
	id        string
}

// families of a rig.
const (
	four = 1 << iota
	six
	both = four | six
)

// newRig makes a host with rp_filter=1 and a docker0 decoy whose address the kernel would choose first.
func newRig(t *testing.T, families int) *rig {
	t.Helper()
	nettest.Need(t, "macvlan")
	r := &rig{t: t, host: nettest.New(t, "host"), stateDir: t.TempDir(), conf: map[string]any{}}
	nettest.Switch(t, r.host)
	sysctl(t, r.host, "net/ipv4/conf/all/rp_filter", "1")
	sysctl(t, r.host, "net/ipv4/conf/default/rp_filter", "1")
	decoy(t, r.host)
	if families&four != 0 {
		address4(t, r.host, "eth0", "10.0.0.1/24")
		route(t, r.host, "0.0.0.0/0", "10.0.0.254")
	}
	if families&six != 0 {
		address4(t, r.host, "eth0", "fd00::1/64")
		route(t, r.host, "::/0", "fd00::fe")
	}
	r.pod, r.prev = r.newPod(families, 10)
	r.id = "c1"
	return r
}

// newPod makes a namespace with a macvlan NIC, as the main plugin and its IPAM would, and their result.
func (r *rig) newPod(families int, last byte) (*nettest.NS, *current.Result) {
	r.t.Helper()
	pod := nettest.New(r.t, "pod")
	parent, err := r.host.Netlink().LinkByName("eth0")
	if err != nil {
		r.t.Fatal(err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex, attrs.Namespace = "eth0", parent.Attrs().Index, netlink.NsFd(pod.FD())
	if err := r.host.Netlink().LinkAdd(&netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_BRIDGE}); err != nil {
		r.t.Fatal(err)
	}
	sysctl(r.t, pod, "net/ipv4/conf/eth0/rp_filter", "1")
	prev := &current.Result{CNIVersion: "1.1.0", Interfaces: []*current.Interface{{Name: "eth0", Sandbox: pod.Path()}}}
	nic := 0
	var texts []string
	if families&four != 0 {
		texts = append(texts, fmt.Sprintf("10.0.0.%d/24", last))
	}
	if families&six != 0 {
		texts = append(texts, fmt.Sprintf("fd00::%d/64", last))
	}
	for _, text := range texts {
		address4(r.t, pod, "eth0", text)
		p := netip.MustParsePrefix(text)
		prev.IPs = append(prev.IPs, &current.IPConfig{
			Interface: &nic,
			Address:   net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())},
		})
	}
	pod.Up("eth0")
	if families&four != 0 {
		route(r.t, pod, "0.0.0.0/0", "10.0.0.254")
	}
	if families&six != 0 {
		route(r.t, pod, "::/0", "fd00::fe")
	}
	return pod, prev
}

// decoy is a bridge that carries an address lower than all others, as docker0 does.
func decoy(t *testing.T, n *nettest.NS) {
	t.Helper()
	if err := n.Netlink().LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "docker0", TxQLen: -1}}); err != nil {
		t.Fatal(err)
	}
	address4(t, n, "docker0", "172.17.0.1/16")
	n.Up("docker0")
}

func address4(t *testing.T, n *nettest.NS, link, text string) {
	t.Helper()
	l, err := n.Netlink().LinkByName(link)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Netlink().AddrAdd(l, &netlink.Addr{IPNet: kernel.IPNet(netip.MustParsePrefix(text)), Flags: unix.IFA_F_NODAD}); err != nil {
		t.Fatalf("add %s to %s: %v", text, link, err)
	}
}

func route(t *testing.T, n *nettest.NS, dst, via string) {
	t.Helper()
	l, err := n.Netlink().LinkByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	r := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: kernel.IPNet(netip.MustParsePrefix(dst)), Gw: net.ParseIP(via)}
	if err := n.Netlink().RouteAdd(r); err != nil {
		t.Fatalf("add route %s: %v", dst, err)
	}
}

func sysctl(t *testing.T, n *nettest.NS, key, value string) {
	t.Helper()
	n.Do(func() {
		if err := os.WriteFile("/proc/sys/"+key, []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	})
}

func readSysctl(t *testing.T, n *nettest.NS, key string) string {
	t.Helper()
	var out string
	n.Do(func() {
		raw, err := os.ReadFile("/proc/sys/" + key)
		if err != nil {
			t.Fatal(err)
		}
		out = strings.TrimSpace(string(raw))
	})
	return out
}

// request is a call of the plugin for the rig's pod.
func (r *rig) request() *cniplugin.Request[config] {
	r.t.Helper()
	r.conf["stateDir"] = r.stateDir
	raw, err := json.Marshal(r.conf)
	if err != nil {
		r.t.Fatal(err)
	}
	c, ps := readConfig(raw)
	if err := ps.Err(); err != nil {
		r.t.Fatal(err)
	}
	req := &cniplugin.Request[config]{
		Config: c, Network: "underlay", CNIVersion: "1.1.0", ContainerID: r.id, IfName: "eth0",
		Log: slog.New(slog.DiscardHandler), Undo: &undo.Stack{},
	}
	if r.pod != nil {
		req.Netns = r.pod.Path()
	}
	if r.prev != nil {
		prev := *r.prev
		req.Prev = &prev
	}
	return req
}

// add runs ADD as the frame does: an error takes everything back.
func (r *rig) add(s sys, req *cniplugin.Request[config]) (res *current.Result, err error) {
	r.t.Helper()
	r.host.Do(func() {
		ctx := context.Background()
		res, err = s.add(ctx, req)
		if err != nil {
			err = errors.Join(err, req.Undo.Run(ctx))
		}
	})
	return res, err
}

func (r *rig) mustAdd() *current.Result {
	r.t.Helper()
	res, err := r.add(real(), r.request())
	if err != nil {
		r.t.Fatalf("ADD: %v", err)
	}
	return res
}

func (r *rig) del(netns string) {
	r.t.Helper()
	req := r.request()
	req.Netns = netns
	r.host.Do(func() {
		if err := real().del(r.t.Context(), req); err != nil {
			r.t.Fatalf("DEL: %v", err)
		}
	})
}

func (r *rig) check() error {
	r.t.Helper()
	var err error
	r.host.Do(func() { err = real().check(r.t.Context(), r.request()) })
	return err
}

// has says whether a variable exists on the host.
func (r *rig) has(key string) bool {
	r.t.Helper()
	found := false
	r.host.Do(func() {
		_, err := os.Stat("/proc/sys/" + key)
		found = err == nil
	})
	return found
}

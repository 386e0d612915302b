// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/vishvananda/netlink"

	"github.com/weft-cni/weft/libs/cnitest"
	"github.com/weft-cni/weft/libs/nettest"
)

func TestMain(m *testing.M) { nettest.Main(m) }

const (
	// payload is what a server sends after the client's address: enough to tell the way it took by counters.
	payload = 64 << 10
	// patience bounds a connection that should work, impatience one that must not.
	patience   = 5 * time.Second
	impatience = time.Second

	servicePort = 80
	nodePort    = 30080
	podPort     = 8080
)

// family is the addresses of one IP family.
type family struct {
	name                     string
	host, gateway            netip.Addr
	neighbour, outside, wan  netip.Addr // clients on the underlay and behind its gateway, and the gateway's far side
	bits                     int
	podService, farService   netip.Addr // Service addresses: backed by the pod, and by the outside
	ip                       string     // nft's word
	subnet, ranges, services string
}

func families() []family {
	a := netip.MustParseAddr
	return []family{
		{
			name: "IPv4", host: a("10.0.0.1"), gateway: a("10.0.0.254"), bits: 24,
			neighbour: a("10.0.0.9"), outside: a("198.51.100.9"), wan: a("198.51.100.1"),
			podService: a("10.96.0.10"), farService: a("10.96.0.20"), ip: "ip",
			subnet: "10.0.0.0/24", ranges: "10.0.0.20-10.0.0.29", services: "10.96.0.0/16",
		},
		{
			name: "IPv6", host: a("fd00:10::1"), gateway: a("fd00:10::fe"), bits: 64,
			neighbour: a("fd00:10::9"), outside: a("fd00:51::9"), wan: a("fd00:51::1"),
			podService: a("fd00:96::10"), farService: a("fd00:96::20"), ip: "ip6",
			subnet: "fd00:10::/64", ranges: "fd00:10::20-fd00:10::29", services: "fd00:96::/112",
		},
	}
}

// world is a switch with a host, one pod of the host, a neighbour, and a gateway to one outside.
type world struct {
	t                  *testing.T
	host, pod          *nettest.NS
	neighbour, outside *nettest.NS
	rt                 *cnitest.Runtime
	attachment         cnitest.Pod
	res                *current.Result
	before             string
}

// newWorld attaches a pod with the given main plugin and reply path.
func newWorld(t *testing.T, mainPlugin, replyPath string) *world {
	t.Helper()
	nettest.Need(t, mainPlugin)
	nettest.Need(t, "nft")
	nettest.Need(t, "program:nft")
	w := &world{
		t: t, host: nettest.New(t, "host"), pod: nettest.New(t, "pod"),
		neighbour: nettest.New(t, "neighbour"), outside: nettest.New(t, "outside"),
	}
	gateway := nettest.New(t, "gateway")
	nettest.Switch(t, w.host, w.neighbour, gateway)
	nettest.Cable(t, gateway, "wan", w.outside, "eth0")
	w.harden()
	write(t, gateway, "net/ipv4/ip_forward", "1")
	write(t, gateway, "net/ipv6/conf/all/forwarding", "1")
	for _, f := range families() {
		give := func(n *nettest.NS, link string, a netip.Addr) {
			n.Exec("ip", "addr", "add", fmt.Sprintf("%s/%d", a, f.bits), "dev", link, "nodad")
		}
		give(w.host, "eth0", f.host)
		give(w.neighbour, "eth0", f.neighbour)
		give(gateway, "eth0", f.gateway)
		give(gateway, "wan", f.wan)
		give(w.outside, "eth0", f.outside)
		w.host.Exec("ip", "route", "add", "default", "via", f.gateway.String())
		w.outside.Exec("ip", "route", "add", "default", "via", f.wan.String())
	}
	w.before = w.host.Snapshot()
	w.attach(mainPlugin, replyPath)
	for _, f := range families() {
		w.services(f)
	}
	return w
}

// harden makes the host an awkward one: strict reverse path filter, forwarding off, and a bridge whose address the kernel
// would choose as a source for a link that has none.
func (w *world) harden() {
	for key, value := range map[string]string{
		"net/ipv4/conf/all/rp_filter": "1", "net/ipv4/conf/default/rp_filter": "1", "net/ipv4/conf/eth0/rp_filter": "1",
		"net/ipv4/ip_forward": "0", "net/ipv6/conf/all/forwarding": "0",
	} {
		write(w.t, w.host, key, value)
	}
	write(w.t, w.pod, "net/ipv4/conf/all/rp_filter", "1")
	write(w.t, w.pod, "net/ipv4/conf/default/rp_filter", "1")
	w.host.Exec("ip", "link", "add", "docker0", "type", "bridge")
	w.host.Exec("ip", "addr", "add", "172.17.0.1/16", "dev", "docker0")
	w.host.Exec("ip", "link", "set", "docker0", "up")
}

func write(t *testing.T, n *nettest.NS, key, value string) {
	t.Helper()
	n.Do(func() {
		if err := os.WriteFile("/proc/sys/"+key, []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	})
}

// attach runs the chain.
func (w *world) attach(mainPlugin, replyPath string) {
	w.t.Helper()
	fam := families()
	pool := map[string]any{"name": "underlay"}
	for i, key := range []string{"ipv4", "ipv6"} {
		pool[key] = map[string]any{"subnet": fam[i].subnet, "ranges": []string{fam[i].ranges}, "gateway": fam[i].gateway}
	}
	mainConf := map[string]any{
		"type": mainPlugin, "master": "eth0",
		"ipam": map[string]any{"type": "weft-ipam", "pools": []any{pool}},
	}
	if mainPlugin == "ipvlan" {
		mainConf["mode"] = "l2"
	}
	conf, err := json.Marshal(map[string]any{
		"cniVersion": "1.1.0", "name": "underlay",
		"plugins": []any{mainConf, map[string]any{
			"type": "weft-coordinator", "replyPath": replyPath, "serviceCIDRs": []string{fam[0].services, fam[1].services},
		}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	dir := w.t.TempDir()
	if conf, err = cnitest.WithStateDir(conf, dir); err != nil {
		w.t.Fatal(err)
	}
	if w.rt, err = cnitest.NewRuntime(conf, dir, cnitest.Bin(w.t)); err != nil {
		w.t.Fatal(err)
	}
	w.attachment = cnitest.Pod{ID: "pod-1", Netns: w.pod.Path()}
	w.host.Do(func() { w.res, err = w.rt.Add(w.t.Context(), w.attachment) })
	if err != nil {
		w.t.Fatalf("ADD: %v", err)
	}
}

// services makes on the host, for one family, what kube-proxy would: a Service backed by the pod (also as a NodePort that keeps
// the client's address), and one backed by a server outside, masqueraded.
func (w *world) services(f family) {
	w.t.Helper()
	pod := w.podAddr(f)
	rules := fmt.Sprintf(`
table %[1]s kube {
	chain services {
		%[1]s daddr %[2]s tcp dport %[3]d dnat to %[4]s
		%[1]s daddr %[5]s tcp dport %[6]d dnat to %[4]s
		%[1]s daddr %[7]s tcp dport %[3]d dnat to %[8]s
	}
	chain prerouting { type nat hook prerouting priority dstnat; jump services; }
	chain output { type nat hook output priority -100; jump services; }
	chain postrouting { type nat hook postrouting priority srcnat; oifname "eth0" ct status dnat masquerade; }
}`, f.ip, f.podService, servicePort, netip.AddrPortFrom(pod, podPort), f.host, nodePort, f.farService, netip.AddrPortFrom(f.outside, podPort))
	file := w.t.TempDir() + "/rules.nft"
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.host.Exec("nft", "-f", file)
}

// podAddr is the pod's address of a family.
func (w *world) podAddr(f family) netip.Addr {
	w.t.Helper()
	for _, ip := range w.res.IPs {
		if a, ok := netip.AddrFromSlice(ip.Address.IP); ok && a.Unmap().Is4() == f.host.Is4() {
			return a.Unmap()
		}
	}
	w.t.Fatalf("the result has no %s address: %v", f.name, w.res)
	return netip.Addr{}
}

// serve answers every connection with the client's address and the payload.
func (w *world) serve(n *nettest.NS) {
	w.t.Helper()
	var l net.Listener
	var err error
	n.Do(func() { l, err = (&net.ListenConfig{}).Listen(w.t.Context(), "tcp", fmt.Sprintf(":%d", podPort)) })
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(patience))
				_, _ = io.WriteString(c, c.RemoteAddr().String()+"\n"+strings.Repeat("x", payload))
			}()
		}
	}()
}

// ask connects from a namespace and returns the address that the server saw.
func ask(t *testing.T, from *nettest.NS, to netip.AddrPort, limit time.Duration) (netip.Addr, error) {
	t.Helper()
	var c net.Conn
	var err error
	from.Do(func() { c, err = (&net.Dialer{Timeout: limit}).DialContext(t.Context(), "tcp", to.String()) })
	if err != nil {
		return netip.Addr{}, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		return netip.Addr{}, err
	}
	raw, err := io.ReadAll(c)
	if err != nil {
		return netip.Addr{}, err
	}
	line, rest, _ := strings.Cut(string(raw), "\n")
	if len(rest) != payload {
		return netip.Addr{}, fmt.Errorf("got %d bytes of %d: %w", len(rest), payload, io.ErrUnexpectedEOF)
	}
	seen, err := netip.ParseAddrPort(line)
	return seen.Addr().Unmap(), err
}

// hostLink is the name of the host end.
func (w *world) hostLink() string {
	w.t.Helper()
	for _, i := range w.res.Interfaces {
		if i.Sandbox == "" && strings.HasPrefix(i.Name, "weft") {
			return i.Name
		}
	}
	w.t.Fatalf("the result has no host end: %v", w.res)
	return ""
}

// sent counts the bytes a link sent; on the pod's NIC what went straight out, on veth0 what went to the node.
func sent(t *testing.T, n *nettest.NS, link string) uint64 {
	t.Helper()
	l, err := n.Netlink().LinkByName(link)
	if err != nil {
		t.Fatal(err)
	}
	return l.Attrs().Statistics.TxBytes
}

// timedOut says whether a connection failed by silence, not by refusal.
func timedOut(err error) bool {
	var nerr net.Error
	return errors.As(err, &nerr) && nerr.Timeout()
}

// linkGone says whether a link is absent.
func linkGone(n *nettest.NS, name string) bool {
	_, err := n.Netlink().LinkByName(name)
	var missing netlink.LinkNotFoundError
	return errors.As(err, &missing)
}

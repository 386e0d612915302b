// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/google/go-cmp/cmp"

	"github.com/weft-cni/weft/libs/cnitest"
	"github.com/weft-cni/weft/libs/nettest"
)

// host is one machine of the demo: a namespace, a runtime, its pods.
type host struct {
	name   string
	ns     *nettest.NS
	addr   map[string]string // by family
	bin    string
	state  string
	rt     *cnitest.Runtime
	before string
	pods   map[string]*pod
}

type pod struct {
	ns  *nettest.NS
	cni cnitest.Pod
	res *current.Result
}

// newHost makes host number n of the underlay; plug gives it its address once
// there is a switch.
func newHost(t *testing.T, name string, n int) *host {
	t.Helper()
	h := &host{
		name: name, ns: nettest.New(t, "host-"+name), bin: cnitest.Bin(t), state: t.TempDir(), pods: map[string]*pod{},
		addr: map[string]string{"IPv4": fmt.Sprintf("192.0.2.%d", n), "IPv6": fmt.Sprintf("2001:db8:2::%d", n)},
	}
	conf := conflist(t).JSON
	if name == "b" {
		conf = bytes.ReplaceAll(conf, []byte("192.0.2.10-192.0.2.99"), []byte("192.0.2.100-192.0.2.199"))
		conf = bytes.ReplaceAll(conf, []byte("2001:db8:2::10-2001:db8:2::99"), []byte("2001:db8:2::100-2001:db8:2::199"))
	}
	// Both hosts are one machine here, so each gets state folders of its own.
	conf, err := cnitest.WithStateDir(conf, h.state)
	if err != nil {
		t.Fatal(err)
	}
	rt, err := cnitest.NewRuntime(conf, h.state, h.bin)
	if err != nil {
		t.Fatal(err)
	}
	h.rt = rt
	return h
}

// plug addresses the host's NIC and remembers what the host looks like.
func (h *host) plug() {
	address(h.ns, h.addr["IPv4"]+"/24", h.addr["IPv6"]+"/64")
	h.before = h.ns.Snapshot()
}

func (h *host) attach(t *testing.T, name string) (string, error) {
	t.Helper()
	p := &pod{ns: nettest.New(t, name)}
	p.cni = cnitest.Pod{ID: name, Netns: p.ns.Path()}
	var err error
	h.ns.Do(func() { p.res, err = h.rt.Add(t.Context(), p.cni) })
	if err != nil {
		return "", err
	}
	h.pods[name] = p
	return addresses(p.res), nil
}

// again asks one plugin of the chain for the same attachment once more.
func (h *host) again(t *testing.T, name, plugin string) (string, error) {
	t.Helper()
	p := h.pods[name]
	var res *current.Result
	var err error
	h.ns.Do(func() { res, err = h.rt.Repeat(t.Context(), p.cni, plugin, p.nicOnly()) })
	if err != nil {
		return "", err
	}
	if got, want := addresses(res), addresses(p.res); got != want {
		return "", fmt.Errorf("got %s, want %s", got, want)
	}
	return addresses(res), nil
}

func (h *host) check(t *testing.T, name string) (err error) {
	t.Helper()
	h.ns.Do(func() { err = h.rt.Check(t.Context(), h.pods[name].cni) })
	return err
}

// sabotage removes the host's route to a pod, expects CHECK to tell, and puts
// it back with another ADD.
func (h *host) sabotage(t *testing.T, name string) (string, error) {
	t.Helper()
	addr := h.pods[name].addr("IPv4")
	h.ns.Exec("ip", "route", "flush", "table", "all", addr+"/32")
	err := h.check(t, name)
	if err == nil {
		return "", errors.New("CHECK is content without the route")
	}
	if !strings.Contains(err.Error(), addr) {
		return "", fmt.Errorf("CHECK does not name the route to %s: %w", addr, err)
	}
	if _, err := h.again(t, name, "weft-coordinator"); err != nil {
		return "", err
	}
	return "told, and mended by another ADD", h.check(t, name)
}

func (h *host) status(t *testing.T) (err error) {
	t.Helper()
	h.ns.Do(func() { err = h.rt.Status(t.Context()) })
	return err
}

func (h *host) gc(t *testing.T) (err error) {
	t.Helper()
	h.ns.Do(func() { err = h.rt.GC(t.Context()) })
	return err
}

func (h *host) detach(t *testing.T, name string) (err error) {
	t.Helper()
	h.ns.Do(func() { err = h.rt.Del(t.Context(), h.pods[name].cni) })
	return err
}

// detachDead removes the pod's namespace first, as a crash would.
func (h *host) detachDead(t *testing.T, name string) (string, error) {
	t.Helper()
	p := h.pods[name]
	p.ns.Remove()
	p.cni.Netns = ""
	return "gone", h.detach(t, name)
}

func (h *host) asBefore() (string, error) {
	if diff := cmp.Diff(h.before, h.ns.Snapshot()); diff != "" {
		return "", fmt.Errorf("differs (-before +now):\n%s", diff)
	}
	return "links, addresses, routes, rules, nftables", nil
}

// nicOnly is the result as it was before weft-coordinator added its veth.
func (p *pod) nicOnly() *current.Result {
	res := *p.res
	res.Interfaces = res.Interfaces[:1]
	return &res
}

func (p *pod) addr(family string) string {
	for _, ip := range p.res.IPs {
		if (ip.Address.IP.To4() != nil) == (family == "IPv4") {
			return ip.Address.IP.String()
		}
	}
	return "none"
}

// reach pings once and says how long the answer took.
func reach(from *nettest.NS, to string) (string, error) {
	out, err := from.Run("ping", "-n", "-c", "1", "-W", "3", to)
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	_, after, _ := strings.Cut(out, "time=")
	rtt, _, _ := strings.Cut(after, "\n")
	return to + " answers in " + rtt, nil
}

// address puts addresses on eth0; IPv6 without duplicate address detection.
func address(ns *nettest.NS, v4, v6 string) {
	ns.Exec("ip", "addr", "add", v4, "dev", "eth0")
	ns.Exec("ip", "addr", "add", v6, "dev", "eth0", "nodad")
}

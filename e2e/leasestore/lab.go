// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package leasestore proves the lease store of a cluster on a real API server.
//
// Job: what the tests here and the benchmark (e2e/bench/cluster) share: simulated
// nodes, each an engine over a store with a connection of its own; a stand-in
// for the controller that publishes hints; the server's own count of requests.
//
// Failure model: everything is told to the test and ends with it.
package leasestore

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/weft-cni/weft/libs/ipset"
	store "github.com/weft-cni/weft/libs/k8s/leasestore"
	"github.com/weft-cni/weft/libs/lease"
)

// Node is one simulated node.
type Node struct {
	Name   string
	Store  *store.Store
	Engine *lease.Engine
}

// NewNode makes a node with a connection of its own to the server.
func NewNode(t testing.TB, server *rest.Config, name string) *Node {
	t.Helper()
	s, err := store.New(store.Config{Server: server, Node: name})
	if err != nil {
		t.Fatal(err)
	}
	return &Node{Name: name, Store: s, Engine: &lease.Engine{Store: s, Now: time.Now, Node: name, BootID: "boot-" + name}}
}

// NewNodes makes n nodes that are ready: connected, their own leases read.
func NewNodes(t testing.TB, server *rest.Config, n int) []*Node {
	t.Helper()
	var out []*Node
	for i := range n {
		node := NewNode(t, server, fmt.Sprintf("node-%d.example.org", i))
		if err := node.Store.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		out = append(out, node)
	}
	return out
}

// Names returns the names of the nodes.
func Names(nodes []*Node) (out []string) {
	for _, n := range nodes {
		out = append(out, n.Name)
	}
	return out
}

// Add assigns addresses of the pools to a pod.
func (n *Node) Add(ctx context.Context, pod string, pools ...lease.Pool) (lease.Grant, error) {
	return n.Engine.Assign(ctx, Request(pod, pools...))
}

// Del releases what a pod has.
func (n *Node) Del(ctx context.Context, pod string) error {
	return n.Engine.Release(ctx, Request(pod).Attachment.ID, 0)
}

// Request is what a runtime asks for a pod.
func Request(pod string, pools ...lease.Pool) lease.Request {
	return lease.Request{
		Attachment: lease.Attachment{
			ID:         lease.ID{Network: "lan", ContainerID: "c-" + pod, IfName: "net1"},
			NetnsInode: 4026532000, PodNamespace: "shop", PodName: pod, PodUID: "uid-" + pod,
		},
		Holder: lease.Holder{Kind: "Pod", Namespace: "shop", Name: pod, UID: "uid-" + pod},
		Pools:  pools,
	}
}

// Unique returns a name that nobody else has on the server.
func Unique(prefix string) string {
	return fmt.Sprintf("%s-%08x", prefix, rand.Uint32())
}

// NewPool returns a pool of these subnets in a domain of its own, in which only
// the ranges are handed out, if there are any.
func NewPool(t testing.TB, cooldown time.Duration, subnets []string, ranges ...string) lease.Pool {
	t.Helper()
	name := Unique("pool")
	p := lease.Pool{Name: name, Domain: name, Cooldown: cooldown}
	for _, s := range subnets {
		subnet := netip.MustParsePrefix(s)
		var only []ipset.Range
		for _, r := range ranges {
			x, err := ipset.Parse(r)
			if err != nil {
				t.Fatal(err)
			}
			if x.From().Is4() == subnet.Addr().Is4() {
				only = append(only, x)
			}
		}
		f, err := lease.NewFamily(subnet, netip.Addr{}, only, nil)
		if err != nil {
			t.Fatal(err)
		}
		if subnet.Addr().Is4() {
			p.IPv4 = f
		} else {
			p.IPv6 = f
		}
	}
	return p
}

// Requests counts requests for weft's resources, by "VERB resource".
type Requests map[string]int

// CountRequests reads the server's apiserver_request_total.
func CountRequests(t testing.TB, server *rest.Config) Requests {
	t.Helper()
	client, err := rest.HTTPClientFor(server)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Get(server.Host + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var body bytes.Buffer
	if _, err := body.ReadFrom(res.Body); err != nil {
		t.Fatal(err)
	}
	out := Requests{}
	for lines := bufio.NewScanner(&body); lines.Scan(); {
		line, ok := strings.CutPrefix(lines.Text(), "apiserver_request_total{")
		if !ok || !strings.Contains(line, `group="weft.dev"`) {
			continue
		}
		n, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err != nil {
			t.Fatal(err)
		}
		out[label(line, "verb")+" "+label(line, "resource")] += int(n)
	}
	return out
}

func label(line, name string) string {
	_, rest, _ := strings.Cut(line, name+`="`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// Since returns what came after an earlier count, without what only the
// stand-in controller does: watching leases and writing hints.
func (r Requests) Since(before Requests) Requests {
	out := Requests{}
	for k, n := range r {
		if n -= before[k]; n > 0 && k != "WATCH ipleases" && k != "PUT iphints" && k != "POST iphints" {
			out[k] = n
		}
	}
	return out
}

// Sum is all of them.
func (r Requests) Sum() (n int) {
	for _, c := range r {
		n += c
	}
	return n
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-cni/weft/libs/agentapi"
	"github.com/weft-cni/weft/libs/agentapi/agentapitest"
	"github.com/weft-cni/weft/libs/agentapi/debts"
	"github.com/weft-cni/weft/libs/errcode"
)

// member is a host in cluster mode.
type member struct {
	*host
	socket, ipam string // ipam are more keys of that object, each with a comma before it
}

func newMember(t *testing.T, socket string) *member {
	t.Helper()
	return &member{host: newHost(t), socket: socket}
}

func (m *member) call(verb string) call {
	return call{verb: verb, container: "c1", uid: "u1", conf: fmt.Sprintf(
		`{"cniVersion":"1.1.0","name":"lan","type":"macvlan",%s"ipam":{"type":"weft-ipam","agent":%q,"stateDir":%q%s}}`, m.extra, m.socket, m.stateDir, m.ipam)}
}

func blue(context.Context, agentapi.Allocate) (agentapi.Allocation, error) {
	return agentapi.Allocation{
		Pool: "blue",
		IPs: []agentapi.Address{
			{Address: netip.MustParsePrefix("192.0.2.7/24"), Gateway: netip.MustParseAddr("192.0.2.1")},
			{Address: netip.MustParsePrefix("2001:db8::7/64")},
		},
		Routes: []agentapi.Route{{Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("192.0.2.1")}, {Dst: netip.MustParsePrefix("198.51.100.0/24")}},
	}, nil
}

// TestClusterVerbs runs each verb and looks at what the agent was asked.
func TestClusterVerbs(t *testing.T) {
	t.Parallel()
	fake := &agentapitest.Fake{OnAllocate: blue, OnCheck: func(context.Context, agentapi.Check) (agentapi.Held, error) {
		return agentapi.Held{Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")}}, nil
	}}
	socket, _ := agentapitest.Start(t, fake)
	m := newMember(t, socket)
	m.ipam = `,"pools":["blue","lab-*"],"statusOnExhaustion":true,"dns":{"nameservers":["192.0.2.53"]}`
	m.extra = `"runtimeConfig":{"ips":["192.0.2.7/24"]},`
	a := m.do(m.call("ADD"))
	if a.err != nil {
		t.Fatal(a.err)
	}
	const want = `"dns":{"nameservers":["192.0.2.53"]},"ips":[{"address":"192.0.2.7/24","gateway":"192.0.2.1"},{"address":"2001:db8::7/64"}],` +
		`"routes":[{"dst":"0.0.0.0/0","gw":"192.0.2.1"},{"dst":"198.51.100.0/24"}]`
	if got := regexp.MustCompile(`\s`).ReplaceAllString(a.stdout, ""); !strings.Contains(got, want) {
		t.Errorf("ADD printed %s, want %s in it", got, want)
	}
	m.extra = fmt.Sprintf(`"prevResult":%s,`, a.stdout)
	if a := m.do(m.call("CHECK")); a.err != nil {
		t.Errorf("CHECK: %v", a.err)
	}
	m.extra = `"prevResult":{"cniVersion":"1.1.0","ips":[{"address":"192.0.2.7/24"},{"address":"192.0.2.8/24"}]},`
	if a := m.do(m.call("CHECK")); a.err == nil || a.err.Code != uint(errcode.StateDiffers) || !strings.Contains(a.err.Msg, "192.0.2.8") || !strings.Contains(a.err.Msg, "2001:db8::7") {
		t.Errorf("CHECK of another result: %v", a.err)
	}
	m.extra = ""
	for _, verb := range []string{"DEL", "STATUS"} {
		if a := m.do(m.call(verb)); a.err != nil {
			t.Errorf("%s: %v", verb, a.err)
		}
	}
	m.extra = `"cni.dev/valid-attachments":[{"containerID":"c9","ifname":"eth0"}],`
	if a := m.do(m.call("GC")); a.err != nil {
		t.Errorf("GC: %v", a.err)
	}
	id := agentapi.ID{Network: "lan", ContainerID: "c1", IfName: "eth0"}
	began := cmp.Comparer(func(a, b time.Duration) bool { return (a > 0) == (b > 0) })
	if d := cmp.Diff([]any{
		agentapi.Allocate{
			ID: id, Pod: agentapi.Pod{Namespace: "ns", Name: "u1", UID: "u1"}, NetnsInode: inode(m.netns), Began: 1,
			Pools: []string{"blue", "lab-*"}, IPs: []string{"192.0.2.7"}, IPsFrom: "runtimeConfig.ips",
		},
		agentapi.Check{ID: id},
		agentapi.Check{ID: id},
		agentapi.Release{ID: id, Began: 1},
		agentapi.Status{Pools: []string{"blue", "lab-*"}, OnExhaustion: true},
		agentapi.GC{Network: "lan", Valid: []agentapi.ID{{Network: "lan", ContainerID: "c9", IfName: "eth0"}}},
	}, fake.Asked(), began); d != "" {
		t.Errorf("the agent was asked (-want +got):\n%s", d)
	}
}

// TestNoAgent takes the agent away: nobody listens, or nobody answers.
func TestNoAgent(t *testing.T) {
	t.Parallel()
	hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	hangs, _ := agentapitest.Start(t, &agentapitest.Fake{
		OnRelease: func(ctx context.Context, _ agentapi.Release) error { return hang(ctx) },
		OnStatus:  func(ctx context.Context, _ agentapi.Status) error { return hang(ctx) },
		OnAllocate: func(ctx context.Context, _ agentapi.Allocate) (agentapi.Allocation, error) {
			return agentapi.Allocation{}, hang(ctx)
		},
	})
	for name, socket := range map[string]string{"nobody listens": agentapitest.Socket(t), "nobody answers": hangs} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMember(t, socket)
			m.ipam = `,"timeout":"2s"`
			if a := m.do(m.call("ADD")); a.err == nil || a.err.Code != uint(errcode.TryAgain) || !strings.Contains(a.err.Msg, "agent") || a.took > 5*time.Second {
				t.Errorf("ADD: %v after %v", a.err, a.took)
			}
			m.ipam = ""
			if a := m.do(m.call("STATUS")); a.err == nil || a.err.Code != uint(errcode.Unavailable) || !strings.Contains(a.err.Msg, "agent") || a.took > 3*time.Second {
				t.Errorf("STATUS: %v after %v", a.err, a.took)
			}
			if a := m.do(m.call("DEL")); a.err != nil || a.took > 9*time.Second {
				t.Errorf("DEL: %v after %v", a.err, a.took)
			}
			owed, err := debts.Open(m.stateDir).List()
			if err != nil || len(owed) != 1 || owed[0].ID != (agentapi.ID{Network: "lan", ContainerID: "c1", IfName: "eth0"}) || owed[0].Began <= 0 || owed[0].BootID == "" {
				t.Errorf("written down are %+v, %v", owed, err)
			}
		})
	}
}

// TestNoAgentAndNoDisk leaves DEL nothing but to end well.
func TestNoAgentAndNoDisk(t *testing.T) {
	t.Parallel()
	m := newMember(t, agentapitest.Socket(t))
	if err := os.WriteFile(m.stateDir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if a := m.do(m.call("DEL")); a.err != nil || !strings.Contains(a.stderr, "not written down") {
		t.Errorf("DEL: %v, stderr %q", a.err, a.stderr)
	}
}

// TestClusterRefusals gives each mistake of a configuration, and an agent's refusal.
func TestClusterRefusals(t *testing.T) {
	t.Parallel()
	socket, _ := agentapitest.Start(t, &agentapitest.Fake{OnAllocate: func(context.Context, agentapi.Allocate) (agentapi.Allocation, error) {
		return agentapi.Allocation{}, errcode.New(errcode.PoolExhausted, "no free address: pool blue IPv4 5/5 used", "kubectl get ipleases")
	}})
	for ipam, want := range map[string]struct {
		code  errcode.Code
		words []string
	}{
		``:                             {errcode.PoolExhausted, []string{"pool blue IPv4 5/5 used"}},
		`,"pools":["blue"]`:            {errcode.PoolExhausted, nil},
		`,"pools":null`:                {errcode.PoolExhausted, nil},
		`,"pols":["blue"]`:             {errcode.UnsupportedField, []string{"ipam.pols", `"pools"`}},
		`,"pools":["blue",{"name":1}]`: {errcode.InvalidConfig, []string{"ipam.pools[1]"}},
		`,"pools":["blue",""]`:         {errcode.InvalidConfig, []string{"ipam.pools[1]"}},
		`,"timeout":"soon"`:            {errcode.InvalidConfig, []string{"ipam.timeout"}},
	} {
		m := newMember(t, socket)
		m.ipam = ipam
		a := m.do(m.call("ADD"))
		if a.err == nil || a.err.Code != uint(want.code) {
			t.Errorf("%s: %v, want code %d", ipam, a.err, want.code)
			continue
		}
		for _, w := range want.words {
			if !strings.Contains(a.err.Msg, w) {
				t.Errorf("%s: %q, want %q in it", ipam, a.err.Msg, w)
			}
		}
	}
	m := newMember(t, "agent.sock")
	m.ipam = `,"pools":["blue"]`
	if a := m.do(m.call("ADD")); a.err == nil || a.err.Code != uint(errcode.InvalidConfig) || !strings.Contains(a.err.Msg, "ipam.agent") {
		t.Errorf("a relative socket: %v", a.err)
	}
	m.socket, m.extra = socket, `"runtimeConfig":{"ips":["nonsense"]},`
	if a := m.do(m.call("ADD")); a.err == nil || a.err.Code != uint(errcode.InvalidConfig) || !strings.Contains(a.err.Msg, "runtimeConfig.ips[0]") {
		t.Errorf("an address that is none: %v", a.err)
	}
}

// TestStatusIsQuick counts the whole process.
func TestStatusIsQuick(t *testing.T) {
	t.Parallel()
	socket, _ := agentapitest.Start(t, &agentapitest.Fake{})
	m := newMember(t, socket)
	best := time.Hour
	for range 20 {
		a := m.do(m.call("STATUS"))
		if a.err != nil {
			t.Fatal(a.err)
		}
		best = min(best, a.took)
	}
	t.Logf("STATUS takes %v", best)
	if best > 20*time.Millisecond {
		t.Errorf("STATUS takes %v, want at most 20 ms", best)
	}
}

// TestReadmeCluster runs the configuration of the README against an agent.
func TestReadmeCluster(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)\n```json cluster\n(.*?)\n```\n").FindAllSubmatch(text, -1)
	if len(blocks) != 1 {
		t.Fatalf("%d configurations of cluster mode", len(blocks))
	}
	fake := &agentapitest.Fake{OnAllocate: blue}
	socket, _ := agentapitest.Start(t, fake)
	var conf map[string]any
	if err := json.Unmarshal(blocks[0][1], &conf); err != nil {
		t.Fatal(err)
	}
	conf["ipam"].(map[string]any)["agent"] = socket
	conf["ipam"].(map[string]any)["stateDir"] = filepath.Join(t.TempDir(), "state")
	with, err := json.Marshal(conf)
	if err != nil {
		t.Fatal(err)
	}
	h := newHost(t)
	for _, verb := range []string{"ADD", "DEL", "STATUS"} {
		if a := h.do(call{verb: verb, container: "c1", conf: string(with)}); a.err != nil {
			t.Errorf("%s: %v", verb, a.err)
		}
	}
	if len(fake.Asked()) != 3 {
		t.Errorf("the agent was asked %v", fake.Asked())
	}
}

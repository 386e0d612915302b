// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-cni/weft/libs/errcode"
)

// TestResult pins what a main plugin gets, in the first and the last version.
func TestResult(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.pools = `[{"name":"blue","ipv4":{"subnet":"10.0.0.0/24","gateway":"10.0.0.1","ranges":["10.0.0.10-10.0.0.19"]},
		"ipv6":{"subnet":"fd00::/64","gateway":"fd00::1","routes":[{"dst":"fd01::/48","via":"fd00::2"},{"dst":"::/0"}]}}],
		"dns":{"nameservers":["10.0.0.53"],"domain":"example.com"}`
	want := `{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.10/24","gateway":"10.0.0.1"},{"address":"fd00::2/64","gateway":"fd00::1"}],
		"routes":[{"dst":"0.0.0.0/0","gw":"10.0.0.1"},{"dst":"fd01::/48","gw":"fd00::2"},{"dst":"::/0","gw":"fd00::1"}],
		"dns":{"nameservers":["10.0.0.53"],"domain":"example.com"}}`
	// The gateway is not handed out, and the second address of fd00::/64 is the first free one.
	var got, wanted any
	a := h.do(call{verb: "ADD", container: "a"})
	if a.err != nil {
		t.Fatal(a.err)
	}
	if err := json.Unmarshal([]byte(a.stdout), &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(want), &wanted); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
	for _, v := range []string{"0.3.1", "0.4.0", "1.0.0"} {
		a := h.do(call{verb: "ADD", container: "a", version: v})
		if a.err != nil || !strings.Contains(a.stdout, `"cniVersion": "`+v+`"`) || !strings.Contains(a.stdout, "10.0.0.10/24") {
			t.Errorf("version %s: %v %s", v, a.err, a.stdout)
		}
	}
}

// TestIdentity follows an interface through repeats, new sandboxes and late releases.
func TestIdentity(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a1 := h.add("a1", "uid-a")
	modified := h.modified()
	if again := h.add("a1", "uid-a"); !slices.Equal(again, a1) {
		t.Errorf("a repeated ADD got %v, first %v", again, a1)
	}
	if h.modified() != modified {
		t.Error("a repeated ADD wrote to the store")
	}
	if next := h.add("a2", "uid-a"); !slices.Equal(next, a1) {
		t.Errorf("the pod's new sandbox got %v, had %v", next, a1)
	}
	h.del("a1")
	h.wantHeld("a2")
	if again := h.add("a2", "uid-a"); !slices.Equal(again, a1) {
		t.Errorf("after a late DEL: %v, had %v", again, a1)
	}
	other := h.add("b", "uid-b")
	if slices.Contains(a1, other[0]) {
		t.Errorf("another pod got %v too", other)
	}
	h.del("a2")
	h.del("a2")
	h.del("b")
	h.wantHeld()
}

func (h *host) modified() time.Time {
	h.Helper()
	info, err := os.Stat(filepath.Join(h.stateDir, "leases.db"))
	if err != nil {
		h.Fatal(err)
	}
	return info.ModTime()
}

// TestExactAddresses asks by each of the three ways, and for what cannot be had.
func TestExactAddresses(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.pools = `[{"name":"blue","cooldown":"0s","ipv4":{"subnet":"10.0.0.0/24","gateway":"10.0.0.1","ranges":["10.0.0.10-10.0.0.19"],"exclude":["10.0.0.15"]},"ipv6":{"subnet":"fd00::/64"}}]`
	const (
		byRuntime = `"runtimeConfig":{"ips":["10.0.0.12/24"]},`
		byArgs    = `"args":{"cni":{"ips":["10.0.0.13"]}},`
	)
	for i, c := range []struct{ extra, args, want string }{
		{byRuntime + byArgs, ";IP=10.0.0.14", "10.0.0.12"},
		{byArgs, ";IP=10.0.0.14", "10.0.0.13"},
		{"", ";IP=10.0.0.14", "10.0.0.14"},
		{"", ";IP=10.0.0.200", "10.0.0.200"}, // in the subnet, outside the ranges
		{`"runtimeConfig":{"ips":["fd00::7"]},`, "", "fd00::7"},
		{`"runtimeConfig":{"ips":["fd00::8","10.0.0.18"]},`, "", "10.0.0.18"},
	} {
		h.extra = c.extra
		a := h.do(call{verb: "ADD", container: fmt.Sprintf("c%d", i), args: c.args})
		if a.err != nil || len(a.ips()) != 2 || !strings.Contains(fmt.Sprint(a.ips()), c.want) {
			t.Errorf("%d: got %v %v, want %s and one of the other family", i, a.ips(), a.err, c.want)
		}
	}
	h.extra = ""
	for _, c := range []struct {
		ip   string
		code errcode.Code
		want []string
	}{
		{"10.0.0.12", errcode.AddressTaken, []string{"container c0", "eth0"}},
		{"192.0.2.1", errcode.InvalidConfig, []string{"192.0.2.1", "blue (10.0.0.0/24, fd00::/64)"}},
		{"10.0.0.1", errcode.InvalidConfig, []string{"gateway"}},
		{"10.0.0.0", errcode.InvalidConfig, []string{"network address"}},
		{"10.0.0.255", errcode.InvalidConfig, []string{"broadcast"}},
		{"10.0.0.15", errcode.InvalidConfig, []string{"excluded"}},
		{"fd00::", errcode.InvalidConfig, []string{"anycast"}},
		{"10.0.0.16,10.0.0.17", errcode.InvalidConfig, []string{"same family"}},
	} {
		h.fails(call{verb: "ADD", container: "x", args: ";IP=" + c.ip}, c.code, c.want...)
	}
	if held := strings.Join(h.held(), " "); strings.Contains(held, " x") {
		t.Errorf("refused requests left leases: %s", held)
	}
	// The pod may ask again for what it has, also from a new sandbox.
	if a := h.do(call{verb: "ADD", container: "c0", args: ";IP=10.0.0.12"}); a.err != nil {
		t.Error(a.err)
	}
}

// TestPoolOrder fills the first pool, then the second, both families together.
func TestPoolOrder(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.pools = `[{"name":"blue","ipv4":{"subnet":"10.0.0.0/29"},"ipv6":{"subnet":"fd00::/64","ranges":["fd00::1-fd00::2"]}},
		{"name":"green","ipv4":{"subnet":"10.0.1.0/30"}},{"name":"red","suspend":true,"ipv4":{"subnet":"10.0.2.0/24"}}]`
	var got []string
	for i := range 4 {
		got = append(got, fmt.Sprint(h.add(fmt.Sprintf("c%d", i), "")))
	}
	want := []string{"[10.0.0.1 fd00::1]", "[10.0.0.2 fd00::2]", "[10.0.1.1]", "[10.0.1.2]"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	h.fails(call{verb: "ADD", container: "x"}, errcode.PoolExhausted, "pool blue IPv6 2/2 used", "pool green IPv4 2/2 used", "pool red is suspended")
	for _, line := range h.held() {
		if strings.HasPrefix(line, "10.0.0.3 ") {
			t.Error("a half of a pair stayed behind")
		}
	}
}

func TestCooldownPolicies(t *testing.T) {
	t.Parallel()
	for policy, code := range map[string]errcode.Code{"Prefer": 0, "strict": errcode.PoolExhausted} {
		h := newHost(t)
		h.pools = fmt.Sprintf(`[{"name":"blue","cooldown":"1h","cooldownPolicy":%q,"ipv4":{"subnet":"10.0.0.0/30"}}]`, policy)
		first := h.add("a", "")
		h.add("b", "")
		h.del("a")
		h.del("b")
		if code != 0 {
			h.fails(call{verb: "ADD", container: "c"}, code, "0/2 used, 2 resting")
			h.fails(call{verb: "ADD", container: "c", args: ";IP=10.0.0.1"}, errcode.AddressTaken, "rests")
			continue
		}
		if got := h.add("c", ""); !slices.Equal(got, first) {
			t.Errorf("%s gave %v, want the one that rested longest: %v", policy, got, first)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	a := h.do(call{verb: "ADD", container: "a"})
	prev := strings.ReplaceAll(a.stdout, "\n", "")
	h.extra = fmt.Sprintf(`"prevResult":%s,`, prev)
	if c := h.do(call{verb: "CHECK", container: "a"}); c.err != nil {
		t.Errorf("CHECK right after ADD: %v", c.err)
	}
	h.fails(call{verb: "CHECK", container: "b"}, errcode.StateDiffers, "10.0.0.2", "fd00::10")
	h.extra = fmt.Sprintf(`"prevResult":%s,`, strings.Replace(prev, "10.0.0.2/29", "10.0.0.3/29", 1))
	h.fails(call{verb: "CHECK", container: "a"}, errcode.StateDiffers, "lease 10.0.0.2 is not in prevResult", "10.0.0.3")
	h.extra = ""
	h.del("a")
	h.extra = fmt.Sprintf(`"prevResult":%s,`, prev)
	h.fails(call{verb: "CHECK", container: "a"}, errcode.StateDiffers, "10.0.0.2")
}

// TestGC frees what is not listed, of this network only.
func TestGC(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.add("a", "")
	h.add("b", "")
	other := *h
	other.network = "dmz"
	other.add("c", "")
	h.gc("a", "c")
	h.wantHeld("a", "c")
	h.gc()
	h.wantHeld("c")
}

func TestStatus(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	status := func() answer {
		best := h.do(call{verb: "STATUS"})
		for range 10 {
			if a := h.do(call{verb: "STATUS"}); a.took < best.took {
				best = a
			}
		}
		return best
	}
	if a := status(); a.err != nil {
		t.Errorf("STATUS before the first ADD: %v", a.err)
	}
	if _, err := os.Stat(h.stateDir); err == nil {
		t.Error("STATUS made the state directory")
	}
	for i := range 5 {
		h.add(fmt.Sprintf("c%d", i), "")
	}
	if a := status(); a.err != nil || a.took > 20*time.Millisecond {
		t.Errorf("STATUS with a dry pool: %v after %v", a.err, a.took)
	}
	h.pools += `,"statusOnExhaustion":true`
	h.fails(call{verb: "STATUS"}, errcode.Unavailable, "pool blue IPv4 5/5 used")
	unlock := openLock(t, h.stateDir)
	defer unlock()
	h.pools = strings.TrimSuffix(h.pools, `,"statusOnExhaustion":true`)
	if a := status(); a.err != nil {
		t.Errorf("STATUS of a store at work: %v", a.err)
	}
}

func TestLeasesTable(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.add("a", "uid-a")
	cmd := exec.CommandContext(t.Context(), h.binary, "leases", "--state-dir", h.stateDir)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "10.0.0.2") || !strings.Contains(string(out), "ns/uid-a") || !strings.Contains(string(out), "held") {
		t.Errorf("leases: %v\n%s", err, out)
	}
}

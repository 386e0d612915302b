// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/weft-cni/weft/libs/cnitest"
	"github.com/weft-cni/weft/libs/lease"
	"github.com/weft-cni/weft/libs/nettest"
)

func TestMain(m *testing.M) { nettest.Main(m) }

// host is a node: a state directory and the real binary over it.
type host struct {
	*testing.T
	binary, stateDir, netns string
	network                 string
	pools                   string // the JSON list
	extra                   string // more keys of the configuration, each with a comma after it
}

// newHost returns a node whose only pool is dual stack and small: 5 addresses each.
func newHost(t *testing.T) *host {
	t.Helper()
	return &host{
		T: t, binary: cnitest.BuildPlugin(t, "github.com/weft-cni/weft/plugins/ipam"),
		stateDir: filepath.Join(t.TempDir(), "state"), netns: nettest.New(t, "pod").Path(), network: "lan",
		pools: `[{"name":"blue","cooldown":"0s","ipv4":{"subnet":"10.0.0.0/29","gateway":"10.0.0.1"},"ipv6":{"subnet":"fd00::/64","gateway":"fd00::1","ranges":["fd00::10-fd00::14"]}}]`,
	}
}

// call is one call of the plugin.
type call struct {
	verb, container, uid string
	args                 string // more of CNI_ARGS
	env                  []string
	conf                 string // instead of the host's
	version              string // of the configuration
}

// answer is what came of it.
type answer struct {
	result *current.Result
	err    *types.Error
	stdout string
	stderr string
	killed bool
	took   time.Duration
}

func (h *host) conf(c call) string {
	if c.conf != "" {
		return c.conf
	}
	version := c.version
	if version == "" {
		version = "1.1.0"
	}
	return fmt.Sprintf(`{"cniVersion":%q,"name":%q,"type":"macvlan",%s"ipam":{"type":"weft-ipam","stateDir":%q,"pools":%s}}`,
		version, h.network, h.extra, h.stateDir, h.pools)
}

func (h *host) command(c call) *exec.Cmd {
	cmd := exec.CommandContext(h.Context(), h.binary)
	cmd.Stdin = strings.NewReader(h.conf(c))
	args := "IgnoreUnknown=1"
	if c.uid != "" {
		args += ";K8S_POD_NAMESPACE=ns;K8S_POD_NAME=" + c.uid + ";K8S_POD_UID=" + c.uid
	}
	cmd.Env = append([]string{
		"CNI_COMMAND=" + c.verb, "CNI_CONTAINERID=" + c.container, "CNI_IFNAME=eth0", "CNI_NETNS=" + h.netns,
		"CNI_PATH=" + filepath.Dir(h.binary), "CNI_ARGS=" + args + c.args,
	}, c.env...)
	return cmd
}

func (h *host) do(c call) answer {
	h.Helper()
	return h.finish(h.command(c))
}

func (h *host) finish(cmd *exec.Cmd) answer {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	start := time.Now()
	err := cmd.Run()
	a := answer{stdout: stdout.String(), stderr: stderr.String(), took: time.Since(start)}
	switch {
	case err == nil && strings.Contains(a.stdout, "ips"):
		a.result = &current.Result{}
		if err := json.Unmarshal(stdout.Bytes(), a.result); err != nil {
			h.Errorf("result %q: %v", a.stdout, err)
		}
	case err == nil:
	case cmd.ProcessState == nil || cmd.ProcessState.ExitCode() == -1:
		a.killed = true
	default:
		a.err = &types.Error{}
		if err := json.Unmarshal(stdout.Bytes(), a.err); err != nil {
			h.Errorf("error %q, stderr %q: %v", a.stdout, a.stderr, err)
		}
	}
	return a
}

// ips returns the addresses of an answer, IPv4 first.
func (a answer) ips() (out []netip.Addr) {
	if a.result == nil {
		return nil
	}
	for _, ip := range a.result.IPs {
		addr, _ := netip.AddrFromSlice(ip.Address.IP)
		out = append(out, addr.Unmap())
	}
	return out
}

// add attaches and returns the addresses.
func (h *host) add(container, uid string) []netip.Addr {
	h.Helper()
	a := h.do(call{verb: "ADD", container: container, uid: uid})
	if a.err != nil || a.killed {
		h.Fatalf("ADD %s: %v %s", container, a.err, a.stderr)
	}
	return a.ips()
}

func (h *host) del(container string) {
	h.Helper()
	if a := h.do(call{verb: "DEL", container: container}); a.err != nil || a.killed {
		h.Fatalf("DEL %s: %v", container, a.err)
	}
}

// gc calls GC with the containers that are left.
func (h *host) gc(valid ...string) {
	h.Helper()
	list := make([]types.GCAttachment, 0, len(valid))
	for _, c := range valid {
		list = append(list, types.GCAttachment{ContainerID: c, IfName: "eth0"})
	}
	text, err := json.Marshal(list)
	if err != nil {
		h.Fatal(err)
	}
	g := *h
	g.extra = fmt.Sprintf(`"cni.dev/valid-attachments":%s,`, text)
	if a := g.do(call{verb: "GC"}); a.err != nil {
		h.Fatalf("GC: %v", a.err)
	}
}

// entries reads the store.
func (h *host) entries(f lease.Filter) []lease.Entry {
	h.Helper()
	all, err := openEngine(h.stateDir).List(h.Context(), f)
	if err != nil {
		h.Fatal(err)
	}
	return all
}

// held returns who holds what, as "address container", sorted.
func (h *host) held() (out []string) {
	h.Helper()
	for _, e := range h.entries(lease.Filter{}) {
		out = append(out, e.Key.Addr.String()+" "+e.Record.Attachment.ContainerID)
	}
	slices.Sort(out)
	return out
}

// wantHeld checks that exactly these containers hold leases: one IPv4 and one IPv6 each.
func (h *host) wantHeld(containers ...string) {
	h.Helper()
	families := map[string]string{}
	for _, e := range h.entries(lease.Filter{}) {
		families[e.Record.Attachment.ContainerID] += map[bool]string{true: "4", false: "6"}[e.Key.Addr.Is4()]
	}
	want := map[string]string{}
	for _, c := range containers {
		want[c] = "46"
	}
	if fmt.Sprint(families) != fmt.Sprint(want) {
		h.Errorf("containers hold families %v, want %v", families, want)
	}
}

// parallel runs f for 0 to n-1, at most 32 at a time.
func parallel(n int, f func(int)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, 32)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			f(i)
		})
	}
	wg.Wait()
}

// buildCrashing returns the binary with crash points: the prebuilt one when WEFT_BIN is set.
var buildCrashing = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv(cnitest.BinEnv); dir != "" {
		return filepath.Join(dir, "crash", "weft-ipam"), nil
	}
	dir, err := os.MkdirTemp("", "weft-crash-")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "weft-ipam")
	cmd := exec.Command("go", "build", "-tags", "crashpoints", "-o", file, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build with crash points: %w: %s", err, out)
	}
	return file, nil
})

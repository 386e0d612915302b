// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/weft-cni/weft/libs/cniplugin"
	"github.com/weft-cni/weft/libs/cnitest"
	"github.com/weft-cni/weft/libs/netplan"
	"github.com/weft-cni/weft/libs/netplan/nft"
	"github.com/weft-cni/weft/libs/nettest"
)

const (
	benchEnv = "WEFT_BENCH"       // set: run TestBudget
	traceEnv = "WEFT_BENCH_TRACE" // set: this process is the plugin, and writes its times there

	workBudget  = 5 * time.Millisecond // own work of ADD, p50, on an idle machine
	ratioBudget = 3.0                  // the same against starting a reference plugin, on any machine
	startBudget = 3 * time.Millisecond // CPU of CNI_COMMAND=VERSION, the least of starts
	starts      = 80
	adds        = 60
)

func TestMain(m *testing.M) {
	if file := os.Getenv(traceEnv); file != "" {
		c := &clock{file: file, at: time.Now(), Steps: map[string]time.Duration{}}
		cniplugin.Main(c.plugin())
	}
	nettest.Main(m)
}

// clock is the plugin with a watch at each of its steps.
type clock struct {
	file  string
	at    time.Time
	Total time.Duration            `json:"total"`
	Steps map[string]time.Duration `json:"steps"`
}

// plugin is the real one; only the place of the times is new.
func (c *clock) plugin() cniplugin.Plugin[config] {
	s := real()
	s.wrap = func(where string, k netplan.Kernel) netplan.Kernel { return timed{Kernel: k, where: where, c: c} }
	last := time.Time{}
	s.reached = func(stage string) {
		if stage == "survey" || stage == "layout" || stage == "journal" {
			c.Steps[stage] += time.Since(last)
		}
		last = time.Now()
	}
	p := plugin(s)
	read := p.Config
	p.Config = func(raw []byte) (config, cniplugin.Problems) {
		start := time.Now()
		defer func() { c.Steps["config"] += time.Since(start); c.Total += time.Since(start) }()
		return read(raw)
	}
	p.Add = func(ctx context.Context, r *cniplugin.Request[config]) (*current.Result, error) {
		start := time.Now()
		last = start
		res, err := s.add(ctx, r)
		c.Total += time.Since(start)
		raw, jerr := json.Marshal(c)
		if jerr == nil {
			jerr = os.WriteFile(c.file, raw, 0o600)
		}
		if jerr != nil {
			panic(jerr)
		}
		return res, err
	}
	return p
}

// timed is a Kernel with a watch.
type timed struct {
	netplan.Kernel
	where string
	c     *clock
}

func (k timed) Observe(ctx context.Context, q netplan.Query) (netplan.State, error) {
	start := time.Now()
	defer func() { k.c.Steps["observe "+k.where] += time.Since(start) }()
	return k.Kernel.Observe(ctx, q)
}

func (k timed) Do(ctx context.Context, op netplan.Op) error {
	start := time.Now()
	defer func() { k.c.Steps[kindOf(op)+" "+k.where] += time.Since(start) }()
	return k.Kernel.Do(ctx, op)
}

func kindOf(op netplan.Op) string {
	switch op.Object.(type) {
	case netplan.Link:
		return map[netplan.Verb]string{netplan.Add: "veth", netplan.Up: "link up"}[op.Verb] + map[netplan.Verb]string{netplan.Set: "link alias"}[op.Verb]
	case netplan.Sysctl:
		return "sysctls"
	case nft.Table, nft.Elem:
		return "nftables"
	case netplan.Rule:
		return "rules"
	default:
		return "addresses, neighbours, routes"
	}
}

// TestBudget measures ADD in fresh processes, step by step, next to the start of a reference plugin. It runs for
// `make bench-coordinator` alone: a test machine is busy.
func TestBudget(t *testing.T) {
	if os.Getenv(benchEnv) == "" {
		t.Skip("a benchmark: set " + benchEnv + ", or run make bench-coordinator")
	}
	binary := cnitest.BuildPlugin(t, "github.com/weft-cni/weft/plugins/coordinator")
	reference := filepath.Join(cnitest.Bin(t), "static")
	var out bytes.Buffer
	describe(&out)
	for _, replyPath := range []string{replyMark, replySNAT, replyNone} {
		benchAdds(t, &out, replyPath, binary, reference)
	}
	least := startCPU(t, binary)
	fmt.Fprintf(&out, "start: %.2f ms of CPU, the least of %d VERSION runs (budget %s)\n", ms(least), starts, startBudget)
	if least > startBudget {
		t.Errorf("start takes %s of CPU, budget %s", least, startBudget)
	}
	_, _ = os.Stdout.Write(out.Bytes())
}

func benchAdds(t *testing.T, out *bytes.Buffer, replyPath, binary, reference string) {
	t.Helper()
	var clocks []clock
	var whole, start, del []time.Duration
	r := newBenchRig(t, replyPath)
	for i := range adds {
		start = append(start, r.exec(t, i, reference, "VERSION", ""))
		c := clock{}
		file := filepath.Join(r.stateDir, fmt.Sprintf("trace%d", i))
		r.exec(t, i, os.Args[0], "ADD", file)
		raw, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(raw, &c)
		}
		if err != nil {
			t.Fatal(err)
		}
		clocks = append(clocks, c)
	}
	r.stateDir = t.TempDir()
	for i := range adds {
		del = append(del, r.exec(t, i, binary, "DEL", ""))
	}
	for i := range adds {
		whole = append(whole, r.exec(t, i, binary, "ADD", ""))
	}
	total := quantile(clocks, 0.5, func(c clock) time.Duration { return c.Total })
	median := func(list []time.Duration) time.Duration {
		return quantile(list, 0.5, func(d time.Duration) time.Duration { return d })
	}
	ref := median(start)
	fmt.Fprintf(out, "\nreplyPath %s, dual stack, %d ADDs in fresh processes\n", replyPath, adds)
	table(out, clocks)
	fmt.Fprintf(out, "own work %.2f ms p50; whole process %.2f ms, DEL %.2f ms; start of the reference plugin static %.2f ms; own work is %.2f times that (budget %.1f)\n",
		ms(total), ms(median(whole)), ms(median(del)), ms(ref), float64(total)/float64(ref), ratioBudget)
	switch {
	case float64(total)/float64(ref) > ratioBudget:
		t.Errorf("%s: own work of ADD is %.2f times the start of a reference plugin, budget %.1f", replyPath, float64(total)/float64(ref), ratioBudget)
	case idle() && total > workBudget:
		t.Errorf("%s: own work of ADD is %s on an idle machine, budget %s", replyPath, total, workBudget)
	}
}

// table prints the steps, the longest first.
func table(out *bytes.Buffer, clocks []clock) {
	names := map[string]bool{}
	for _, c := range clocks {
		for name := range c.Steps {
			names[name] = true
		}
	}
	median := func(name string, q float64) time.Duration {
		return quantile(clocks, q, func(c clock) time.Duration { return c.Steps[name] })
	}
	var order []string
	for name := range names {
		order = append(order, name)
	}
	slices.SortFunc(order, func(a, b string) int { return int(median(b, 0.5) - median(a, 0.5)) })
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "step\tp50 ms\tp95 ms\t")
	for _, name := range order {
		fmt.Fprintf(w, "%s\t%.3f\t%.3f\t\n", name, ms(median(name, 0.5)), ms(median(name, 0.95)))
	}
	rest := func(c clock) time.Duration {
		d := c.Total
		for _, s := range c.Steps {
			d -= s
		}
		return d
	}
	fmt.Fprintf(w, "the rest\t%.3f\t%.3f\t\n", ms(quantile(clocks, 0.5, rest)), ms(quantile(clocks, 0.95, rest)))
	all := func(c clock) time.Duration { return c.Total }
	fmt.Fprintf(w, "all\t%.3f\t%.3f\t\n", ms(quantile(clocks, 0.5, all)), ms(quantile(clocks, 0.95, all)))
	_ = w.Flush()
}

// benchRig is a host with pods that wait for their ADD.
type benchRig struct {
	*rig
	pods  []*nettest.NS
	prevs []*current.Result
	raw   []map[string]any
}

func newBenchRig(t *testing.T, replyPath string) *benchRig {
	t.Helper()
	r := &benchRig{rig: newRig(t, both)}
	for i := range adds {
		pod, prev := r.newPod(both, byte(20+i))
		r.pods, r.prevs = append(r.pods, pod), append(r.prevs, prev)
		r.raw = append(r.raw, map[string]any{
			"cniVersion": "1.1.0", "name": "bench", "type": "weft-coordinator", "prevResult": prev, "replyPath": replyPath,
			"serviceCIDRs": []string{"10.96.0.0/12", "fd96::/112"}, "podCIDRs": []string{"10.244.0.0/16", "fd24::/64"},
		})
	}
	return r
}

// exec runs one call of a plugin for pod i and returns how long it took.
func (r *benchRig) exec(t *testing.T, i int, binary, verb, trace string) time.Duration {
	t.Helper()
	r.raw[i]["stateDir"] = r.stateDir
	stdin, err := json.Marshal(r.raw[i])
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), binary)
	cmd.Env = []string{"CNI_COMMAND=" + verb, fmt.Sprintf("CNI_CONTAINERID=bench%d", i), "CNI_IFNAME=eth0", "CNI_PATH=/", "CNI_NETNS=" + r.pods[i].Path()}
	if trace != "" {
		cmd.Env = append(cmd.Env, traceEnv+"="+trace)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &out
	var took time.Duration
	r.host.Do(func() {
		start := time.Now()
		err = cmd.Run()
		took = time.Since(start)
	})
	if err != nil {
		t.Fatalf("%s: %v\n%s", verb, err, out.String())
	}
	return took
}

// startCPU is the least CPU time of many VERSION runs: the machine's noise only adds.
func startCPU(t *testing.T, binary string) time.Duration {
	t.Helper()
	var all []time.Duration
	for range starts {
		cmd := exec.CommandContext(t.Context(), binary)
		cmd.Env = []string{"CNI_COMMAND=VERSION"}
		cmd.Stdin = strings.NewReader(`{"cniVersion":"1.1.0"}`)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("VERSION: %v\n%s", err, out)
		}
		all = append(all, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
	}
	return slices.Min(all)
}

func describe(out *bytes.Buffer) {
	read := func(file string) string {
		raw, err := os.ReadFile(file)
		if err != nil {
			return "unknown"
		}
		return strings.TrimSpace(string(raw))
	}
	fmt.Fprintf(out, "kernel %s, %d CPUs, load average %s, %s\n", read("/proc/sys/kernel/osrelease"), runtime.NumCPU(), read("/proc/loadavg"), runtime.Version())
}

// idle says whether the machine has nothing else to do.
func idle() bool {
	raw, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return false
	}
	var load float64
	if _, err := fmt.Sscan(string(raw), &load); err != nil {
		return false
	}
	return load < 0.5*float64(runtime.NumCPU())
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// quantile is the q-th quantile of a figure.
func quantile[T any](list []T, q float64, figure func(T) time.Duration) time.Duration {
	var all []time.Duration
	for _, v := range list {
		all = append(all, figure(v))
	}
	slices.Sort(all)
	return all[min(int(q*float64(len(all))), len(all)-1)]
}

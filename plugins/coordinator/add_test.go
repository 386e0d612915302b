// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/google/go-cmp/cmp"

	"github.com/weft-cni/weft/libs/errcode"
	"github.com/weft-cni/weft/libs/netplan"
)

// world is both namespaces as text, forwarding included.
func (r *rig) world() string {
	r.t.Helper()
	s := "host\n" + r.host.Snapshot() + "pod\n" + r.pod.Snapshot()
	for _, key := range []string{"net/ipv4/conf/eth0/forwarding", "net/ipv6/conf/all/forwarding", "net/ipv6/conf/eth0/force_forwarding"} {
		if r.has(key) {
			s += key + "=" + readSysctl(r.t, r.host, key) + "\n"
		}
	}
	return s
}

// settled is world without what DEL leaves on purpose.
func (r *rig) settled() string {
	r.t.Helper()
	return "host\n" + r.host.Snapshot() + "pod\n" + r.pod.Snapshot()
}

func TestAddRepeatCheckDel(t *testing.T) {
	t.Parallel()
	for _, families := range []int{four, six, both} {
		for _, replyPath := range []string{replyMark, replySNAT, replyNone} {
			t.Run(fmt.Sprintf("families %d, %s", families, replyPath), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, families)
				r.conf["replyPath"] = replyPath
				r.conf["serviceCIDRs"] = []string{"10.96.0.0/16", "fd96::/112"}
				before := r.settled()
				first := r.mustAdd()
				after := r.world()
				if err := r.check(); err != nil {
					t.Errorf("CHECK: %v", err)
				}
				again := r.mustAdd()
				if diff := cmp.Diff(first, again); diff != "" {
					t.Errorf("ADD again gives another result (-first +again):\n%s", diff)
				}
				if diff := cmp.Diff(after, r.world()); diff != "" {
					t.Errorf("ADD again changed something (-first +again):\n%s", diff)
				}
				for range 2 {
					r.del(r.pod.Path())
					if diff := cmp.Diff(before, r.settled()); diff != "" {
						t.Errorf("DEL left something (-before +after):\n%s", diff)
					}
				}
				if err := r.check(); !errcode.Has(err, errcode.StateDiffers) {
					t.Errorf("CHECK after DEL: %v", err)
				}
			})
		}
	}
}

func TestResult(t *testing.T) {
	t.Parallel()
	r := newRig(t, both)
	prev := *r.prev
	got := r.mustAdd()
	a := netplan.Attachment{Network: "underlay", ContainerID: r.id, IfName: "eth0"}
	want := append([]*current.Interface{prev.Interfaces[0]},
		&current.Interface{Name: a.HostLink(), Mac: "ee:ee:ee:ee:ee:ee", Mtu: 1500},
		&current.Interface{Name: "veth0", Mac: a.PodMAC().String(), Mtu: 1500, Sandbox: r.pod.Path()})
	if diff := cmp.Diff(want, got.Interfaces); diff != "" {
		t.Errorf("interfaces (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(prev.IPs, got.IPs); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
	// A runtime may hand the whole result to a repeated call.
	r.prev = got
	if diff := cmp.Diff(got, r.mustAdd()); diff != "" {
		t.Errorf("with its own result as the previous one (-want +got):\n%s", diff)
	}
}

// breaking is a Kernel that lets a number of changes through, counted over all of them, and fails one.
type breaking struct {
	netplan.Kernel
	left  *int
	where string
	did   *[]string
}

var errInjected = errors.New("injected")

func (b breaking) Do(ctx context.Context, op netplan.Op) error {
	*b.left--
	if *b.left == -1 {
		*b.did = append(*b.did, fmt.Sprintf("%s: %s", b.where, strings.Join(netplan.Render([]netplan.Step{{Op: op}}), "; ")))
		return errInjected
	}
	return b.Kernel.Do(ctx, op)
}

func failing(n int, did *[]string) sys {
	s := real()
	s.wrap = func(where string, k netplan.Kernel) netplan.Kernel {
		return breaking{Kernel: k, left: &n, where: where, did: did}
	}
	return s
}

// TestFailAtEachStep fails ADD at each of its changes and compares both namespaces with what they were.
func TestFailAtEachStep(t *testing.T) {
	t.Parallel()
	for _, replyPath := range []string{replyMark, replySNAT} {
		t.Run(replyPath, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, both)
			r.conf["replyPath"] = replyPath
			sysctl(t, r.host, "net/ipv4/ip_forward", "0")
			sysctl(t, r.host, "net/ipv6/conf/all/forwarding", "0")
			before := r.world()
			var did []string
			for n := 0; ; n++ {
				_, err := r.add(failing(n, &did), r.request())
				if err == nil {
					break
				}
				if !errors.Is(err, errInjected) || errcode.Of(err).Code == uint(errcode.Internal) {
					t.Fatalf("step %d: %v", n, err)
				}
				if diff := cmp.Diff(before, r.world()); diff != "" {
					t.Fatalf("failed at %s: not as before (-before +after):\n%s", did[n], diff)
				}
				if names, err := journalOf(r.request().Config).Names(); err != nil || len(names) > 0 {
					t.Fatalf("failed at %s: the journal has %v, %v", did[n], names, err)
				}
			}
			if len(did) < 20 {
				t.Errorf("only %d steps: %q", len(did), did)
			}
			t.Logf("%d steps", len(did))
		})
	}
}

// TestFailedAddLeavesOthersAlone fails an ADD beside a pod that is there already, and a repeated ADD of that pod.
func TestFailedAddLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t, both)
	r.conf["replyPath"] = replySNAT
	r.mustAdd()
	first, firstPrev := r.pod, r.prev
	r.pod, r.prev = r.newPod(both, 11)
	r.id = "c2"
	before := r.world()
	for n := 0; ; n++ {
		var did []string
		if _, err := r.add(failing(n, &did), r.request()); err == nil {
			break
		}
		if diff := cmp.Diff(before, r.world()); diff != "" {
			t.Fatalf("failed at %s: not as before (-before +after):\n%s", did, diff)
		}
	}
	r.pod, r.prev, r.id = first, firstPrev, "c1"
	if err := r.check(); err != nil {
		t.Errorf("the first pod: %v", err)
	}
	r.host.Exec("ip", "route", "flush", "table", "9338")
	damaged := r.world()
	var did []string
	if _, err := r.add(failing(0, &did), r.request()); err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(damaged, r.world()); diff != "" {
		t.Errorf("a repeated ADD that failed at %s (-before +after):\n%s", did, diff)
	}
	if names, err := journalOf(r.request().Config).Names(); err != nil || len(names) != 2 {
		t.Errorf("the journal has %v, %v; want both pods", names, err)
	}
}

func TestAddAdjusts(t *testing.T) {
	t.Parallel()
	r := newRig(t, both)
	r.conf["extraCIDRs"] = []string{"203.0.113.0/24"}
	r.mustAdd()
	r.conf["extraCIDRs"] = []string{"198.51.100.0/24"}
	r.conf["mtu"] = 1400
	address4(t, r.host, "eth0", "10.0.0.2/24")
	err := r.check()
	if e := errcode.Of(err); err == nil || e.Code != uint(errcode.StateDiffers) {
		t.Fatalf("CHECK with another configuration: %v", err)
	}
	for _, want := range []string{"198.51.100.0/24", "203.0.113.0/24", "10.0.0.2/32", "mtu 1500 instead of 1400"} {
		if !strings.Contains(errcode.Of(err).Details, want) {
			t.Errorf("CHECK does not name %s: %v", want, err)
		}
	}
	r.mustAdd()
	if err := r.check(); err != nil {
		t.Errorf("CHECK after ADD: %v", err)
	}
}

func TestOneFamilyOnTheNode(t *testing.T) {
	t.Parallel()
	r := newRig(t, four)
	r.pod, r.prev = r.newPod(both, 12)
	before := r.settled()
	r.mustAdd()
	if snap := r.host.Snapshot(); !strings.Contains(snap, "route 10.0.0.12/32") || strings.Contains(snap, "fd00::12") {
		t.Errorf("want the IPv4 route only:\n%s", snap)
	}
	if err := r.check(); err != nil {
		t.Errorf("CHECK: %v", err)
	}
	r.del(r.pod.Path())
	if diff := cmp.Diff(before, r.settled()); diff != "" {
		t.Errorf("DEL left something (-before +after):\n%s", diff)
	}
}

func TestModeOff(t *testing.T) {
	t.Parallel()
	r := newRig(t, four)
	r.conf["mode"] = modeOff
	before := r.world()
	if diff := cmp.Diff(r.prev, r.mustAdd()); diff != "" {
		t.Errorf("the result is not the previous one (-want +got):\n%s", diff)
	}
	if err := r.check(); err != nil {
		t.Errorf("CHECK: %v", err)
	}
	r.del(r.pod.Path())
	if diff := cmp.Diff(before, r.world()); diff != "" {
		t.Errorf("something changed (-before +after):\n%s", diff)
	}
}

// TestManyAtOnce attaches and detaches pods in parallel; what they share is there as long as one of them is.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, both)
	r.conf["replyPath"] = replySNAT
	before := r.host.Snapshot()
	rigs := []*rig{}
	for i := range 12 {
		one := *r
		one.pod, one.prev = r.newPod(both, byte(20+i))
		one.id = fmt.Sprintf("many%d", i)
		one.conf = map[string]any{"replyPath": replySNAT}
		rigs = append(rigs, &one)
	}
	var all sync.WaitGroup
	for _, one := range rigs {
		all.Go(func() {
			for range 3 {
				if _, err := one.add(real(), one.request()); err != nil {
					t.Errorf("ADD %s: %v", one.id, err)
				}
				if err := one.check(); err != nil {
					t.Errorf("CHECK %s: %v", one.id, err)
				}
				one.del(one.pod.Path())
			}
		})
	}
	all.Wait()
	if diff := cmp.Diff(before, r.host.Snapshot()); diff != "" {
		t.Errorf("after all: (-before +after):\n%s", diff)
	}
}

// meanwhile is a Kernel that does something else before it refuses to make a link.
type meanwhile struct {
	netplan.Kernel
	do func()
}

func (m meanwhile) Do(ctx context.Context, op netplan.Op) error {
	if _, link := op.Object.(netplan.Link); link && op.Verb == netplan.Add {
		m.do()
		return errInjected
	}
	return m.Kernel.Do(ctx, op)
}

// TestFailedFirstAddKeepsWhatTheSecondUses: the first pod of a node makes what all share and fails after another has come.
func TestFailedFirstAddKeepsWhatTheSecondUses(t *testing.T) {
	t.Parallel()
	r := newRig(t, both)
	r.conf["replyPath"] = replySNAT
	second := *r
	second.pod, second.prev = r.newPod(both, 11)
	second.id, second.conf = "c2", map[string]any{"replyPath": replySNAT}
	s := real()
	s.wrap = func(_ string, k netplan.Kernel) netplan.Kernel {
		return meanwhile{Kernel: k, do: func() { second.mustAdd() }}
	}
	if _, err := r.add(s, r.request()); !errors.Is(err, errInjected) {
		t.Fatal(err)
	}
	if err := second.check(); err != nil {
		t.Errorf("the second pod: %v", err)
	}
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"

	"github.com/weft-cni/weft/libs/cniplugin"
	"github.com/weft-cni/weft/libs/errcode"
	"github.com/weft-cni/weft/libs/netplan"
	"github.com/weft-cni/weft/libs/nettest"
)

// journalFile is the path of the rig's record.
func (r *rig) journalFile() string {
	r.t.Helper()
	req := r.request()
	return filepath.Join(r.stateDir, journalOf(req.Config).Name(keyOf(attachment(req))))
}

// TestDel removes attachments whose surroundings are not what they were.
func TestDel(t *testing.T) {
	t.Parallel()
	for name, del := range map[string]func(r *rig){
		"as usual":                    func(r *rig) { r.del(r.pod.Path()) },
		"no namespace given":          func(r *rig) { r.del("") },
		"the journal is gone":         func(r *rig) { remove(r.t, r.journalFile()); r.del(r.pod.Path()) },
		"the journal is corrupt":      func(r *rig) { overwrite(r.t, r.journalFile()); r.del(r.pod.Path()) },
		"the host end is gone":        func(r *rig) { r.host.Exec("ip", "link", "del", hostLink(r)); r.del(r.pod.Path()) },
		"the NIC is gone":             func(r *rig) { r.pod.Exec("ip", "link", "del", "eth0"); r.del(r.pod.Path()) },
		"the namespace is gone":       func(r *rig) { r.pod.Remove(); r.pod = nil; r.del("") },
		"nothing of it is left":       func(r *rig) { r.del(""); remove(r.t, r.stateDir); r.del("") },
		"twice":                       func(r *rig) { r.del(r.pod.Path()); r.del(r.pod.Path()) },
		"the configuration is broken": func(r *rig) { r.delWith(config{stateDir: r.stateDir, mode: "nonsense"}) },
		"no previous result":          func(r *rig) { r.prev = nil; r.del(r.pod.Path()) },
	} {
		for _, replyPath := range []string{replyMark, replySNAT} {
			t.Run(name+", "+replyPath, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, both)
				r.conf["replyPath"] = replyPath
				host, pod := r.host.Snapshot(), r.pod.Snapshot()
				r.mustAdd()
				del(r)
				if diff := cmp.Diff(host, r.host.Snapshot()); diff != "" {
					t.Errorf("host (-before +after):\n%s", diff)
				}
				forgetful := strings.HasPrefix(name, "the journal") // The NIC's old rp_filter was in there.
				if r.pod == nil || forgetful || name == "the NIC is gone" {
					return
				}
				if diff := cmp.Diff(pod, r.pod.Snapshot()); diff != "" {
					t.Errorf("pod (-before +after):\n%s", diff)
				}
			})
		}
	}
}

func hostLink(r *rig) string { return attachment(r.request()).HostLink() }

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

func overwrite(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(`{"network":`), 0o600); err != nil {
		t.Fatal(err)
	}
}

// delWith runs DEL with a configuration as the frame hands it on when it could be read in part.
func (r *rig) delWith(c config) {
	r.t.Helper()
	req := r.request()
	req.Config = c
	r.host.Do(func() {
		if err := real().del(r.t.Context(), req); err != nil {
			r.t.Fatalf("DEL: %v", err)
		}
	})
}

// TestDelLeavesAReusedPathAlone: the path of the namespace means another pod's by now.
func TestDelLeavesAReusedPathAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t, both)
	r.mustAdd()
	old := r.id
	other := *r
	other.pod, other.prev = r.newPod(both, 11)
	other.id = "c2"
	other.conf = map[string]any{}
	other.mustAdd()
	r.id = old
	unconnected, _ := r.newPod(both, 12)
	sysctl(t, unconnected, "net/ipv4/conf/eth0/rp_filter", "0")
	before := unconnected.Snapshot()
	r.del(unconnected.Path())
	if diff := cmp.Diff(before, unconnected.Snapshot()); diff != "" {
		t.Errorf("a namespace of somebody else (-before +after):\n%s", diff)
	}
	r.del(other.pod.Path())
	if err := other.check(); err != nil {
		t.Errorf("the other pod: %v", err)
	}
}

// TestDelThatFailsIsLeftForGC keeps the record, ends well, and lets GC finish.
func TestDelThatFailsIsLeftForGC(t *testing.T) {
	t.Parallel()
	r := newRig(t, both)
	before := r.settled()
	r.mustAdd()
	var did []string
	req := r.request()
	r.host.Do(func() {
		if err := failing(0, &did).del(t.Context(), req); err != nil {
			t.Errorf("DEL: %v, want success", err)
		}
	})
	if _, err := os.Stat(r.journalFile()); err != nil {
		t.Errorf("the record is gone although %s did not succeed: %v", did, err)
	}
	if err := r.gc(); err != nil {
		t.Errorf("GC: %v", err)
	}
	if diff := cmp.Diff(before, r.settled()); diff != "" {
		t.Errorf("left after GC (-before +after):\n%s", diff)
	}
}

// gc runs GC for the rig's network with the given attachments valid.
func (r *rig) gc(valid ...string) error {
	r.t.Helper()
	req := r.request()
	for _, id := range valid {
		req.Valid = append(req.Valid, types.GCAttachment{ContainerID: id, IfName: "eth0"})
	}
	var err error
	r.host.Do(func() { err = real().gc(r.t.Context(), req) })
	return err
}

// TestGC keeps what is valid and what belongs to other networks, and removes the rest with or without its record.
func TestGC(t *testing.T) {
	t.Parallel()
	r := newRig(t, both)
	r.conf["replyPath"] = replySNAT
	before := r.host.Snapshot()
	pods := map[string]*rig{}
	for i, id := range []string{"valid", "stale", "unrecorded", "unreadable", "foreign"} {
		one := *r
		one.pod, one.prev = r.newPod(both, byte(30+i))
		one.id, one.conf = id, map[string]any{"replyPath": replySNAT}
		pods[id] = &one
		req := one.request()
		if id == "foreign" {
			req.Network = "other"
		}
		if _, err := one.add(real(), req); err != nil {
			t.Fatalf("ADD %s: %v", id, err)
		}
	}
	remove(t, pods["unrecorded"].journalFile())
	overwrite(t, pods["unreadable"].journalFile())
	overwrite(t, filepath.Join(r.stateDir, "of-nobody.json"))
	r.host.Exec("nft", "add", "element", "inet", "weft", "node4", `{ "weftdeadbeef000" : 10.0.0.1 }`)
	foreign := netplan.Attachment{Network: "other", ContainerID: "foreign", IfName: "eth0"}.HostLink()

	if err := r.gc("valid", "foreign"); err != nil {
		t.Errorf("GC: %v", err)
	}
	snap := r.host.Snapshot()
	for id, p := range pods {
		link := hostLink(p)
		if id == "foreign" {
			link = foreign
		}
		if stays := id == "valid" || id == "foreign"; strings.Contains(snap, "link "+link) != stays {
			t.Errorf("%s: want it there: %v", id, stays)
		}
	}
	if strings.Contains(snap, "77656674646561646265656630303000") {
		t.Errorf("the element without a link is still there:\n%s", snap)
	}
	if err := pods["valid"].check(); err != nil {
		t.Errorf("CHECK of the valid one: %v", err)
	}
	if names, err := journalOf(r.request().Config).Names(); err != nil || len(names) != 2 {
		t.Errorf("records %v, %v; want two", names, err)
	}
	req := r.request()
	req.Network = "other"
	r.host.Do(func() {
		if err := errors.Join(real().gc(t.Context(), r.request()), real().gc(t.Context(), req)); err != nil {
			t.Errorf("GC of all: %v", err)
		}
	})
	if diff := cmp.Diff(before, r.host.Snapshot()); diff != "" {
		t.Errorf("left after GC of all (-before +after):\n%s", diff)
	}
}

// TestCheckFindsDamage damages one thing at a time.
func TestCheckFindsDamage(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		where, command, want string
	}{
		{"host", "ip route del 10.0.0.10 table 9338", "10.0.0.10/32"},
		{"host", "ip -6 route del fd00::10 table 9338", "fd00::10/128"},
		{"host", "ip rule del pref 933", "rule pref 933"},
		{"host", "ip neigh del 10.0.0.10 dev LINK", "neighbour 10.0.0.10"},
		{"host", "ip neigh replace 10.0.0.10 lladdr 02:00:00:00:00:01 dev LINK nud permanent", "02:00:00:00:00:01"},
		{"host", "ip link set LINK down", "is down"},
		{"host", "ip link del LINK", "missing link"},
		{"host", "ip link set LINK alias 'weft x'", "alias"},
		{"host", "ip -6 addr flush dev LINK", "fe80::ecee:eeff:feee:eeee"},
		{"host", "sysctl -qw net/ipv4/conf/LINK/forwarding=0 || echo 0 > /proc/sys/net/ipv4/conf/LINK/forwarding", "forwarding is 0"},
		{"pod", "ip route del 10.0.0.1", "10.0.0.1/32"},
		{"pod", "ip route del 10.96.0.0/16", "10.96.0.0/16"},
		{"pod", "ip route flush table 9338", "table 9338"},
		{"pod", "ip rule del pref 933", "fwmark"},
		{"pod", "ip -6 rule del pref 933", "fwmark"},
		{"pod", "nft delete table inet weft", "nftables table weft"},
		{"pod", "nft flush chain inet weft output", "meta mark set"},
		{"pod", "nft insert rule inet weft prerouting accept", "unexpected rule prerouting"},
		{"pod", "ip neigh del 169.254.1.1 dev veth0", "169.254.1.1"},
		{"pod", "ip addr del 169.254.1.2/32 dev veth0", "169.254.1.2"},
		{"pod", "ip link set veth0 address 02:00:00:00:00:01", "02:00:00:00:00:01"},
		{"pod", "ip link set veth0 mtu 1300", "1300"},
		{"pod", "ip route add 198.51.100.7/32 dev veth0 proto 119", "unexpected route 198.51.100.7/32"},
		{"journal", "", "journal"},
	} {
		t.Run(tc.where+" "+tc.command, func(t *testing.T) {
			t.Parallel()
			if strings.Contains(tc.command, "nft ") {
				nettest.Need(t, "program:nft")
			}
			r := newRig(t, both)
			r.conf["serviceCIDRs"] = []string{"10.96.0.0/16"}
			r.mustAdd()
			command := strings.ReplaceAll(tc.command, "LINK", hostLink(r))
			switch tc.where {
			case "host":
				r.host.Exec("sh", "-c", command)
			case "pod":
				r.pod.Exec("sh", "-c", command)
			default:
				remove(t, r.journalFile())
			}
			damaged := r.world()
			err := r.check()
			if e := errcode.Of(err); err == nil || e.Code != uint(errcode.StateDiffers) || !strings.Contains(e.Msg+e.Details, tc.want) {
				t.Errorf("CHECK: %v, want code 105 about %s", err, tc.want)
			}
			if diff := cmp.Diff(damaged, r.world()); diff != "" {
				t.Errorf("CHECK changed something (-before +after):\n%s", diff)
			}
			r.mustAdd()
			if err := r.check(); err != nil {
				t.Errorf("CHECK after another ADD: %v", err)
			}
		})
	}
}

func TestCheckListsAllDifferences(t *testing.T) {
	t.Parallel()
	r := newRig(t, both)
	r.mustAdd()
	r.host.Exec("sh", "-c", "ip rule del pref 933; ip route del 10.0.0.10 table 9338")
	r.pod.Exec("sh", "-c", "ip rule del pref 933; ip route del 10.0.0.1")
	e := errcode.Of(r.check())
	for _, want := range []string{"node: missing rule", "10.0.0.10/32", "pod: missing rule", "10.0.0.1/32"} {
		if !strings.Contains(e.Details, want) {
			t.Errorf("no %q in %s", want, e.Details)
		}
	}
	if !strings.HasPrefix(e.Msg, "4 differences") {
		t.Errorf("message %q", e.Msg)
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	r := newRig(t, four)
	for _, replyPath := range []string{replyMark, replySNAT, replyNone} {
		r.conf["replyPath"] = replyPath
		req := &cniplugin.Request[config]{Config: r.request().Config}
		r.host.Do(func() {
			if err := real().status(t.Context(), req); err != nil {
				t.Errorf("%s: %v", replyPath, err)
			}
		})
	}
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-cni/weft/libs/errcode"
	"github.com/weft-cni/weft/libs/nettest"
)

// TestConflicts are pods that cannot be connected; nothing is left of them.
func TestConflicts(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		prepare func(r *rig)
		code    errcode.Code
		text    string
	}{
		"the node's own address": {
			func(r *rig) { address4(r.t, r.host, "docker0", "10.0.0.10/32") }, errcode.AddressConflict, "10.0.0.10",
		},
		"a veth0 of somebody else": {
			func(r *rig) { nettest.Cable(r.t, r.pod, "veth0", r.pod, "other") }, errcode.StateDiffers, "veth0",
		},
		"an extra network that is the pod's own": {
			func(r *rig) { r.conf["extraCIDRs"] = []string{"10.0.0.0/24"} }, errcode.StateDiffers, "10.0.0.0/24",
		},
		"no such interface in the pod": {
			func(r *rig) { r.pod.Exec("ip", "link", "del", "eth0") }, errcode.StateDiffers, "eth0",
		},
		"no interface in the result": {
			func(r *rig) { r.prev.Interfaces[0].Name = "net1" }, errcode.InvalidConfig, "eth0",
		},
		"the interface of the result is on the node": {
			func(r *rig) { r.prev.Interfaces[0].Sandbox = "" }, errcode.InvalidConfig, "eth0",
		},
		"no address in the result": {
			func(r *rig) { r.prev.IPs = nil }, errcode.InvalidConfig, "address",
		},
		"addresses of another interface only": {
			func(r *rig) {
				other := 7
				for _, ip := range r.prev.IPs {
					ip.Interface = &other
				}
			}, errcode.InvalidConfig, "address",
		},
		"a network namespace that is gone": {
			func(r *rig) { r.request() }, errcode.BadNetns, "/run/netns/gone",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, both)
			tc.prepare(r)
			before := r.world()
			req := r.request()
			if tc.code == errcode.BadNetns {
				req.Netns = "/run/netns/gone"
			}
			_, err := r.add(real(), req)
			e := errcode.Of(err)
			if err == nil || e.Code != uint(tc.code) || !strings.Contains(e.Msg+e.Details, tc.text) {
				t.Errorf("got %v, want code %d about %s", err, tc.code, tc.text)
			}
			if diff := cmp.Diff(before, r.world()); diff != "" {
				t.Errorf("something is left (-before +after):\n%s", diff)
			}
		})
	}
}

// TestAddressOfAnotherPod refuses an address in use on the node, unless it is the same pod in a new sandbox.
func TestAddressOfAnotherPod(t *testing.T) {
	t.Parallel()
	r := newRig(t, both)
	call := func(pod string) error {
		req := r.request()
		req.Args.PodNamespace, req.Args.PodName = "shop", pod
		_, err := r.add(real(), req)
		return err
	}
	if err := call("web-0"); err != nil {
		t.Fatal(err)
	}
	old := r.pod
	r.pod, r.prev = r.newPod(both, 10)
	r.id = "c2"
	before := r.world()
	err := call("web-1")
	if e := errcode.Of(err); err == nil || e.Code != uint(errcode.AddressConflict) || !strings.Contains(e.Msg, "shop/web-0") {
		t.Errorf("got %v, want a conflict with shop/web-0", err)
	}
	if diff := cmp.Diff(before, r.world()); diff != "" {
		t.Errorf("something is left (-before +after):\n%s", diff)
	}
	if err := call("web-0"); err != nil {
		t.Fatalf("the same pod in a new sandbox: %v", err)
	}
	if err := r.check(); err != nil {
		t.Errorf("CHECK of the new sandbox: %v", err)
	}
	// The old sandbox goes late and takes nothing of the new one along.
	pod := r.pod
	r.pod, r.id = old, "c1"
	r.del(old.Path())
	r.pod, r.id = pod, "c2"
	if err := r.check(); err != nil {
		t.Errorf("CHECK after the old sandbox went: %v", err)
	}
}

// TestAddressStillTentative: a main plugin that does not wait for duplicate address detection.
func TestAddressStillTentative(t *testing.T) {
	t.Parallel()
	r := newRig(t, both)
	r.pod.Exec("ip", "addr", "del", "fd00::10/64", "dev", "eth0")
	r.pod.Exec("ip", "addr", "add", "fd00::10/64", "dev", "eth0")
	r.mustAdd()
	if err := r.check(); err != nil {
		t.Errorf("CHECK: %v", err)
	}
}

// TestAddressNeverSettles: the NIC is down, so the kernel does not even begin to look.
func TestAddressNeverSettles(t *testing.T) {
	t.Parallel()
	r := newRig(t, both)
	r.pod.Exec("ip", "link", "set", "eth0", "down")
	r.pod.Exec("ip", "addr", "add", "fd00::11/64", "dev", "eth0")
	r.prev.IPs[1].Address.IP[15] = 0x11
	before := r.world()
	req := r.request()
	var err error
	r.host.Do(func() {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if _, err = real().add(ctx, req); err != nil {
			err = errors.Join(err, req.Undo.Run(t.Context()))
		}
	})
	if e := errcode.Of(err); err == nil || e.Code != uint(errcode.TryAgain) || !strings.Contains(e.Msg, "fd00::11") {
		t.Errorf("got %v, want code 11 about fd00::11", err)
	}
	if diff := cmp.Diff(before, r.world()); diff != "" {
		t.Errorf("something is left (-before +after):\n%s", diff)
	}
}

// TestAddressTakenOnTheNetwork: another machine has the pod's IPv6 address.
func TestAddressTakenOnTheNetwork(t *testing.T) {
	t.Parallel()
	r := newRig(t, both)
	other, _ := r.newPod(six, 12)
	other.Exec("ip", "addr", "add", "fd00::77/64", "dev", "eth0", "nodad")
	r.pod.Exec("ip", "addr", "add", "fd00::77/64", "dev", "eth0")
	r.prev.IPs[1].Address.IP[15] = 0x77
	_, err := r.add(real(), r.request())
	if e := errcode.Of(err); err == nil || e.Code != uint(errcode.AddressConflict) || !strings.Contains(e.Msg, "fd00::77") {
		t.Errorf("got %v, want a conflict about fd00::77", err)
	}
}

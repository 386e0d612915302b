// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-cni/weft/libs/nettest"
)

// TestTopology is the layout of one underlay NIC, with every way to take care of replies.
func TestTopology(t *testing.T) {
	t.Parallel()
	for _, mainPlugin := range []string{"macvlan", "ipvlan"} {
		for _, replyPath := range []string{"mark", "snat", "none"} {
			t.Run(mainPlugin+"/"+replyPath, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, mainPlugin, replyPath)
				w.serve(w.host)
				w.serve(w.neighbour)
				w.serve(w.outside)
				w.serve(w.pod)
				for _, f := range families() {
					t.Run(f.name, func(t *testing.T) {
						w.connections(t, f)
						w.replies(t, f, w.neighbour, f.neighbour, replyPath)
						w.replies(t, f, w.outside, f.outside, replyPath)
					})
				}
				w.leave()
			})
		}
	}
}

// connections are those that work whatever takes care of replies.
func (w *world) connections(t *testing.T, f family) {
	t.Helper()
	pod := w.podAddr(f)
	for _, tc := range []struct {
		what string
		from *nettest.NS
		to   netip.AddrPort
		want netip.Addr // what the server sees; invalid: not looked at
	}{
		{"host to pod", w.host, netip.AddrPortFrom(pod, podPort), f.host},
		{"pod to host", w.pod, netip.AddrPortFrom(f.host, podPort), pod},
		{"host to ClusterIP of the pod", w.host, netip.AddrPortFrom(f.podService, servicePort), netip.Addr{}},
		{"pod to ClusterIP outside", w.pod, netip.AddrPortFrom(f.farService, servicePort), f.host},
		{"neighbour to pod", w.neighbour, netip.AddrPortFrom(pod, podPort), f.neighbour},
		{"pod to neighbour", w.pod, netip.AddrPortFrom(f.neighbour, podPort), pod},
		{"outside to pod", w.outside, netip.AddrPortFrom(pod, podPort), f.outside},
		{"pod to outside", w.pod, netip.AddrPortFrom(f.outside, podPort), pod},
	} {
		seen, err := ask(t, tc.from, tc.to, patience)
		if err != nil {
			t.Errorf("%s (%s): %v", tc.what, tc.to, err)
			continue
		}
		if tc.want.IsValid() && seen != tc.want {
			t.Errorf("%s: the server saw %s, want %s", tc.what, seen, tc.want)
		}
	}
	w.straightOut(t, f)
}

// straightOut shows that what pod and outside say to each other never sees the node.
func (w *world) straightOut(t *testing.T, f family) {
	t.Helper()
	nic, veth, node := sent(t, w.pod, "eth0"), sent(t, w.pod, "veth0"), sent(t, w.host, w.hostLink())
	if _, err := ask(t, w.pod, netip.AddrPortFrom(f.outside, podPort), patience); err != nil {
		t.Errorf("pod to outside: %v", err)
	}
	if _, err := ask(t, w.outside, netip.AddrPortFrom(w.podAddr(f), podPort), patience); err != nil {
		t.Errorf("outside to pod: %v", err)
	}
	if more := sent(t, w.pod, "eth0") - nic; more < payload {
		t.Errorf("only %d bytes of the answer to the outside left by the NIC", more)
	}
	if more := sent(t, w.pod, "veth0") - veth + sent(t, w.host, w.hostLink()) - node; more > payload/4 {
		t.Errorf("%d bytes between pod and outside went over the node", more)
	}
}

// replies are connections from outside that the node forwards to the pod without rewriting their source.
func (w *world) replies(t *testing.T, f family, client *nettest.NS, addr netip.Addr, replyPath string) {
	t.Helper()
	to := netip.AddrPortFrom(f.host, nodePort)
	nic, veth := sent(t, w.pod, "eth0"), sent(t, w.pod, "veth0")
	if replyPath == "none" {
		seen, err := ask(t, client, to, impatience)
		if err == nil {
			t.Errorf(client.Name()+" to NodePort works without a reply path (saw %s): then what is it for?", seen)
		} else if !timedOut(err) {
			t.Errorf(client.Name()+" to NodePort: %v, want silence", err)
		}
		return
	}
	seen, err := ask(t, client, to, patience)
	if err != nil {
		t.Errorf(client.Name()+" to NodePort: %v", err)
		return
	}
	want := addr
	if replyPath == "snat" {
		want = f.host
	}
	if seen != want {
		t.Errorf(client.Name()+" to NodePort: the pod saw %s, want %s", seen, want)
	}
	if more := sent(t, w.pod, "veth0") - veth; more < payload {
		t.Errorf(client.Name()+" to NodePort: only %d bytes of the answer went back over the veth", more)
	}
	if more := sent(t, w.pod, "eth0") - nic; more > payload/4 {
		t.Errorf(client.Name()+" to NodePort: %d bytes of the answer left by the NIC", more)
	}
}

// leave checks, detaches twice, and compares the host with what it was.
func (w *world) leave() {
	w.t.Helper()
	w.host.Exec("nft", "delete", "table", "ip", "kube")
	w.host.Exec("nft", "delete", "table", "ip6", "kube")
	link := w.hostLink()
	w.host.Do(func() {
		if err := w.rt.Check(w.t.Context(), w.attachment); err != nil {
			w.t.Errorf("CHECK: %v", err)
		}
		for range 2 {
			if err := w.rt.Del(w.t.Context(), w.attachment); err != nil {
				w.t.Errorf("DEL: %v", err)
			}
		}
	})
	if !linkGone(w.host, link) {
		w.t.Errorf("%s is still there", link)
	}
	if diff := cmp.Diff(w.before, w.host.Snapshot()); diff != "" {
		w.t.Errorf("the host is not as before (-before +after):\n%s", diff)
	}
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package leasestore

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/rest"

	"github.com/weft-cni/weft/libs/ipset"
	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
	"github.com/weft-cni/weft/libs/k8s/hint"
	"github.com/weft-cni/weft/libs/lease"
)

func sample() (lease.Key, lease.Record) {
	return lease.NewKey("rack-7", netip.MustParseAddr("fd00::7")), lease.Record{
		Pool: "blue", Rest: time.Minute,
		Holder: lease.Holder{Kind: "Pod", Namespace: "shop", Name: "web-0", UID: "u1"},
		Attachment: lease.Attachment{
			ID:         lease.ID{Network: "lan", ContainerID: "c1", IfName: "net1"},
			NetnsInode: 4026532000, PodNamespace: "shop", PodName: "web-0", PodUID: "u1",
			Node: "node1", MAC: "02:00:00:00:00:01", Since: time.Date(2026, 11, 22, 12, 0, 0, 7000, time.UTC),
		},
		BootID: "boot",
	}
}

// TestRoundTrip writes every field and reads it again.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	k, r := sample()
	for v, i := reflect.ValueOf(r), 0; i < v.NumField(); i++ {
		if v.Field(i).IsZero() {
			t.Fatalf("the sample leaves %s out", v.Type().Field(i).Name)
		}
	}
	b, err := json.Marshal(object(k, r))
	if err != nil {
		t.Fatal(err)
	}
	l := &v1alpha1.IPLease{}
	if err := json.Unmarshal(b, l); err != nil {
		t.Fatal(err)
	}
	e, err := Entry(l)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, e.Record); diff != "" || e.Key != k {
		t.Errorf("%v came back as %v (-want +got):\n%s", k, e.Key, diff)
	}
}

// TestSwapLeavesNothing applies the patch of a swap to a full spec.
func TestSwapLeavesNothing(t *testing.T) {
	t.Parallel()
	k, r := sample()
	idle := lease.Record{Pool: "green", Holder: lease.Holder{Kind: "IPClaim", Name: "web"}}
	spare := lease.Record{Pool: "blue", Attachment: lease.Attachment{ID: r.Attachment.ID}}
	for _, to := range []lease.Record{idle, spare, r} {
		old := map[string]any{}
		if err := json.Unmarshal(mergePatch(nil, full(reflect.ValueOf(spec(k, r)))), &old); err != nil {
			t.Fatal(err)
		}
		patch := map[string]any{}
		if err := json.Unmarshal(swap(k, version{resource: "7", rest: r.Rest}, to), &patch); err != nil {
			t.Fatal(err)
		}
		merge(old, patch)
		b, err := json.Marshal(old)
		if err != nil {
			t.Fatal(err)
		}
		l := &v1alpha1.IPLease{}
		if err := json.Unmarshal(b, l); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(to, record(&l.Spec)); diff != "" {
			t.Errorf("after a swap (-want +got):\n%s", diff)
		}
	}
}

// merge is RFC 7386.
func merge(to, patch map[string]any) {
	for k, v := range patch {
		m, ok := v.(map[string]any)
		old, had := to[k].(map[string]any)
		switch {
		case v == nil:
			delete(to, k)
		case ok && had:
			merge(old, m)
		default:
			to[k] = v
		}
	}
}

func TestLabel(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("rack-7.", 20) + "example.org"
	seen := map[string]string{}
	for _, name := range []string{"node1", "node1.example.org", long, long + "x", "-" + long[1:]} {
		l := Label(name)
		if errs := validation.IsValidLabelValue(l); len(errs) > 0 {
			t.Errorf("label %q of %q: %v", l, name, errs)
		}
		if other, ok := seen[l]; ok {
			t.Errorf("%q and %q have the label %q", name, other, l)
		}
		seen[l] = name
	}
	if Label("node1.example.org") != "node1.example.org" {
		t.Error("a name that can be a label is not its own")
	}
}

func TestRandomOf(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for _, text := range []string{"fd00::/64", "fd00::1-fd00::2:0:0:0:5", "fd00::ffff-fd00:0:0:3::1", "10.0.0.0/8", "10.0.0.5-10.0.0.7", "fd00::/48"} {
		rng, err := ipset.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		set, err := ipset.Of([]ipset.Range{rng})
		if err != nil {
			t.Fatal(err)
		}
		seen := map[netip.Addr]bool{}
		for range 1000 {
			a := randomOf(set, r)
			if !set.Contains(a) {
				t.Fatalf("%s is not in %s", a, text)
			}
			seen[a] = true
		}
		if want := min(set.Size(), 990); uint64(len(seen)) < want {
			t.Errorf("1000 draws of %s gave %d addresses, want %d", text, len(seen), want)
		}
	}
}

// TestOrder draws without a server: by place first, each address once, in an
// order that depends on the node, and not what the hint or the process knows.
func TestOrder(t *testing.T) {
	t.Parallel()
	f, err := lease.NewFamily(netip.MustParsePrefix("10.0.0.0/24"), netip.Addr{}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	pool := lease.Pool{Name: "blue", IPv4: f}
	var held []lease.Entry
	for i := uint64(0); i < 254; i += 2 {
		a, _ := f.Set.At(i)
		held = append(held, lease.Entry{Key: lease.NewKey("", a)})
	}
	h := hint.Of(hint.Source{Pool: pool, Leases: slices.Values(held), Nodes: []string{"a", "b"}})
	w := lease.Want{Pool: "blue", Domain: lease.DefaultDomain, Set: f.Set, Ring: "blue/IPv4"}
	orders := map[string][]netip.Addr{}
	for _, node := range []string{"a", "a again", "b", "c"} {
		s, err := New(Config{Server: &rest.Config{Host: "https://192.0.2.1"}, Node: strings.TrimSuffix(node, " again")})
		if err != nil {
			t.Fatal(err)
		}
		s.sheets["blue"] = &sheet{hint: h, read: time.Now(), first: time.Now()}
		seen := map[netip.Addr]bool{}
		for {
			a, ok := s.draw(w, behind)
			if !ok {
				break
			}
			if i, _ := f.Set.Index(a); seen[a] || i%2 == 0 {
				t.Fatalf("node %s drew %s, which is taken", node, a)
			}
			seen[a] = true
			orders[node] = append(orders[node], a)
		}
		if len(seen) != 127 {
			t.Errorf("node %s drew %d addresses of 127", node, len(seen))
		}
	}
	if diff := cmp.Diff(fmt.Sprint(orders["a"]), fmt.Sprint(orders["a again"])); diff != "" {
		t.Errorf("the same node draws in another order:\n%s", diff)
	}
	if slices.Equal(orders["a"], orders["c"]) {
		t.Error("two nodes draw in the same order")
	}
	// a and b know their places: their first halves have nothing in common.
	for _, a := range orders["a"][:60] {
		if slices.Contains(orders["b"][:60], a) {
			t.Errorf("both shares have %s", a)
		}
	}
}

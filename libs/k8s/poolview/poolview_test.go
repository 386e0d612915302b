// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package poolview_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"pgregory.net/rapid"

	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
	"github.com/weft-cni/weft/libs/k8s/poolview"
	"github.com/weft-cni/weft/libs/lease"
	"github.com/weft-cni/weft/libs/poolselect"
)

func pool(change func(*v1alpha1.IPPoolSpec)) *v1alpha1.IPPool {
	p := &v1alpha1.IPPool{ObjectMeta: metav1.ObjectMeta{Name: "blue"}}
	p.Spec.IPv4 = &v1alpha1.AddressRange{Subnet: "192.0.2.0/24", Gateway: "192.0.2.1"}
	change(&p.Spec)
	return p
}

func TestOf(t *testing.T) {
	t.Parallel()
	p := pool(func(s *v1alpha1.IPPoolSpec) {
		s.IPv4.Ranges = []string{"192.0.2.10-192.0.2.19"}
		s.IPv4.Exclude = []string{"192.0.2.12"}
		s.IPv6 = &v1alpha1.AddressRange{
			Subnet: "2001:db8::/64", Gateway: "2001:db8::1", Ranges: []string{"2001:db8::10-2001:db8::1f"},
			Routes: []v1alpha1.PoolRoute{{Dst: "2001:db8:1::/48"}, {Dst: "2001:db8:2::/48", Via: "2001:db8::2"}},
		}
		s.Domain, s.Default, s.Priority, s.Suspend = "lab", true, 7, true
		s.Cooldown, s.CooldownPolicy = &metav1.Duration{Duration: time.Minute}, v1alpha1.CooldownStrict
		s.Allow = &v1alpha1.PoolAllow{
			Namespaces: &v1alpha1.NameOrLabels{Names: []string{"shop"}},
			Pods:       &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
			Nodes:      &v1alpha1.NameOrLabels{Selector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "rack", Operator: metav1.LabelSelectorOpExists}}}},
			Networks:   []string{"shop/lan"},
		}
	})
	p.Status.Free = "9"
	now := metav1.Now()
	p.DeletionTimestamp = &now
	s, l, err := poolview.Of(p)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff("blue lab 1m0s Strict true", fmt.Sprintf("%s %s %s %s %v", l.Name, l.Domain, l.Cooldown, l.Policy, l.Suspend)); d != "" {
		t.Error(d)
	}
	if got := l.IPv4.Set.String() + " | " + l.IPv6.Set.String(); got != "192.0.2.10/31, 192.0.2.13-192.0.2.19 | 2001:db8::10/124" {
		t.Error(got)
	}
	if got := fmt.Sprint(l.IPv4.Routes, l.IPv6.Routes); got != "[{0.0.0.0/0 192.0.2.1}] [{2001:db8:1::/48 2001:db8::1} {2001:db8:2::/48 2001:db8::2}]" {
		t.Error(got)
	}
	want := poolselect.Pool{
		Name: "blue", Priority: 7, Default: true, Suspend: true, Deleting: true, Free: "9",
		Allow: poolselect.Allow{
			Namespaces: &poolselect.NameOrLabels{Names: []string{"shop"}},
			Pods:       &poolselect.Selector{MatchLabels: map[string]string{"app": "web"}},
			Nodes:      &poolselect.NameOrLabels{Selector: &poolselect.Selector{MatchExpressions: []poolselect.Requirement{{Key: "rack", Operator: poolselect.Exists}}}},
			Networks:   []string{"shop/lan"},
		},
		IPv4: l.IPv4, IPv6: l.IPv6,
	}
	if d := cmp.Diff(want, s, cmp.Comparer(func(a, b *lease.Family) bool { return a == b })); d != "" {
		t.Error(d)
	}
}

func TestOfDefaults(t *testing.T) {
	t.Parallel()
	s, l, err := poolview.Of(pool(func(*v1alpha1.IPPoolSpec) {}))
	if err != nil {
		t.Fatal(err)
	}
	if l.Domain != "default" || l.Cooldown != 2*time.Minute || l.Policy != lease.Prefer || s.Deleting || s.Default {
		t.Errorf("%+v %+v", l, s)
	}
	_, l, err = poolview.Of(pool(func(s *v1alpha1.IPPoolSpec) { s.IPv4.Routes = []v1alpha1.PoolRoute{} }))
	if err != nil || len(l.IPv4.Routes) != 0 {
		t.Errorf("an empty list of routes gives %v, %v", l.IPv4.Routes, err)
	}
	if a := netip.MustParseAddr("192.0.2.1"); l.IPv4.Set.Contains(a) || l.IPv4.Reserved(a) != "the gateway of 192.0.2.0/24" {
		t.Error("the gateway is handed out")
	}
}

func TestOfRefuses(t *testing.T) {
	t.Parallel()
	six := func(change func(*v1alpha1.AddressRange)) func(*v1alpha1.IPPoolSpec) {
		return func(s *v1alpha1.IPPoolSpec) {
			s.IPv6 = &v1alpha1.AddressRange{Subnet: "2001:db8::/64"}
			change(s.IPv6)
		}
	}
	for name, c := range map[string]struct {
		change func(*v1alpha1.IPPoolSpec)
		want   []string
	}{
		"no family":         {func(s *v1alpha1.IPPoolSpec) { s.IPv4 = nil }, []string{"spec: got no family, want ipv4, ipv6 or both"}},
		"no subnet":         {func(s *v1alpha1.IPPoolSpec) { s.IPv4.Subnet = "lan" }, []string{`spec.ipv4.subnet: got "lan", want a prefix, for example 192.0.2.0/24`}},
		"host bits":         {func(s *v1alpha1.IPPoolSpec) { s.IPv4.Subnet = "192.0.2.1/24" }, []string{"spec.ipv4.subnet: got 192.0.2.1/24, want the network address: write 192.0.2.0/24"}},
		"IPv6 under ipv4":   {func(s *v1alpha1.IPPoolSpec) { s.IPv4.Subnet = "2001:db8::/64" }, []string{"spec.ipv4.subnet: got 2001:db8::/64, want an IPv4 prefix; write IPv6 under spec.ipv6"}},
		"IPv4 under ipv6":   {six(func(a *v1alpha1.AddressRange) { a.Subnet = "192.0.2.0/24" }), []string{"spec.ipv6.subnet: got 192.0.2.0/24, want an IPv6 prefix; write IPv4 under spec.ipv4"}},
		"IPv4 in IPv6":      {six(func(a *v1alpha1.AddressRange) { a.Subnet = "::ffff:192.0.2.0/120" }), []string{"spec.ipv6.subnet: got ::ffff:192.0.2.0/120, want IPv4 written as IPv4, under spec.ipv4"}},
		"IPv6 backwards":    {six(func(a *v1alpha1.AddressRange) { a.Ranges = []string{"2001:db8::10", "2001:db8::1f-2001:db8::1"} }), []string{`spec.ipv6.ranges[1]: got "2001:db8::1f-2001:db8::1", want the lower address first: write 2001:db8::1-2001:db8::1f`}},
		"exclude backwards": {six(func(a *v1alpha1.AddressRange) { a.Exclude = []string{"2001:db8::2-2001:db8::1"} }), []string{`spec.ipv6.exclude[0]: got "2001:db8::2-2001:db8::1", want the lower address first: write 2001:db8::1-2001:db8::2`}},
		"prefix, host bits": {func(s *v1alpha1.IPPoolSpec) { s.IPv4.Ranges = []string{"192.0.2.65/26"} }, []string{`spec.ipv4.ranges[0]: got "192.0.2.65/26", want a prefix without bits beyond its length: write 192.0.2.64/26`}},
		"no range":          {func(s *v1alpha1.IPPoolSpec) { s.IPv4.Ranges = []string{"192.0.2"} }, []string{`spec.ipv4.ranges[0]: got "192.0.2", want an address, first-last, or a prefix`}},
		"range outside":     {func(s *v1alpha1.IPPoolSpec) { s.IPv4.Ranges = []string{"192.0.2.9-192.0.3.1"} }, []string{"spec.ipv4.ranges[0]: got 192.0.2.9-192.0.3.1, want addresses inside 192.0.2.0/24"}},
		"gateway outside":   {func(s *v1alpha1.IPPoolSpec) { s.IPv4.Gateway = "192.0.3.1" }, []string{"spec.ipv4.gateway: got 192.0.3.1, want an address inside 192.0.2.0/24"}},
		"no gateway":        {func(s *v1alpha1.IPPoolSpec) { s.IPv4.Gateway = "gw" }, []string{`spec.ipv4.gateway: got "gw", want an address, for example 192.0.2.1`}},
		"nothing to give":   {func(s *v1alpha1.IPPoolSpec) { s.IPv4.Ranges = []string{"192.0.2.1"} }, []string{"spec.ipv4: got no address to give, want ranges that are not all excluded, reserved or the gateway"}},
		"route without via": {six(func(a *v1alpha1.AddressRange) { a.Routes = []v1alpha1.PoolRoute{{Dst: "::/0"}} }), []string{"spec.ipv6.routes[0]: got a route without via in a family without gateway, want a gateway, or via on the route"}},
		"route of IPv4": {six(func(a *v1alpha1.AddressRange) {
			a.Routes = []v1alpha1.PoolRoute{{Dst: "0.0.0.0/0", Via: "2001:db8::1"}}
		}), []string{"spec.ipv6.routes[0].dst: got 0.0.0.0/0, want a prefix of the subnet's family"}},
		"route to host bits": {six(func(a *v1alpha1.AddressRange) {
			a.Routes = []v1alpha1.PoolRoute{{Dst: "2001:db8::1/32", Via: "2001:db8::1"}}
		}), []string{"spec.ipv6.routes[0].dst: got 2001:db8::1/32, want the network address: write 2001:db8::/32"}},
		"no route": {six(func(a *v1alpha1.AddressRange) { a.Routes = []v1alpha1.PoolRoute{{Dst: "all", Via: "2001:db8::1"}} }), []string{`spec.ipv6.routes[0].dst: got "all", want a prefix, for example ::/0`}},
		"domain":   {func(s *v1alpha1.IPPoolSpec) { s.Domain = "A" }, []string{`spec.domain: got "A", want lower case letters, digits and "-", at most 63`}},
		"cooldown": {func(s *v1alpha1.IPPoolSpec) { s.Cooldown = &metav1.Duration{Duration: 25 * time.Hour} }, []string{"spec.cooldown: got 25h0m0s, want between 0s and 24h, for example 120s"}},
		"policy":   {func(s *v1alpha1.IPPoolSpec) { s.CooldownPolicy = "strict" }, []string{`spec.cooldownPolicy: got "strict", want Prefer or Strict`}},
		"network":  {func(s *v1alpha1.IPPoolSpec) { s.Allow = &v1alpha1.PoolAllow{Networks: []string{"lan"}} }, []string{`spec.allow.networks[0]: got "lan", want namespace/name`}},
		"selector": {func(s *v1alpha1.IPPoolSpec) {
			s.Allow = &v1alpha1.PoolAllow{Pods: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "In"}}}}
		}, []string{"spec.allow.pods: got a selector with matchExpressions[0]: operator In needs values, want a label selector, for example matchLabels: {team: a}"}},
		"all at once": {func(s *v1alpha1.IPPoolSpec) {
			s.Domain, s.IPv4.Gateway, s.IPv4.Ranges = "A", "x", []string{"y", "192.0.2.9"}
			s.IPv6 = &v1alpha1.AddressRange{Subnet: "z"}
		}, []string{
			`spec.domain: got "A", want lower case letters, digits and "-", at most 63`,
			`spec.ipv4.gateway: got "x", want an address, for example 192.0.2.1`,
			`spec.ipv4.ranges[0]: got "y", want an address, first-last, or a prefix`,
			`spec.ipv6.subnet: got "z", want a prefix, for example 2001:db8::/64`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, l, err := poolview.Of(pool(c.change))
			invalid := (*poolview.InvalidError)(nil)
			if !errors.As(err, &invalid) {
				t.Fatalf("accepted: %v", err)
			}
			var got []string
			for _, p := range invalid.Problems {
				got = append(got, p.String())
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
			if s.Name != "blue" || s.Invalid != strings.Join(got, "; ") || l.Name != "" {
				t.Errorf("%+v %+v", s, l)
			}
		})
	}
}

func TestSelectorWithALabelThatCannotBe(t *testing.T) {
	t.Parallel()
	if _, err := poolview.Selector(&metav1.LabelSelector{MatchLabels: map[string]string{"a b": "c"}}); err == nil {
		t.Error("accepted")
	}
	if s, err := poolview.Selector(nil); s != nil || err != nil {
		t.Errorf("%v %v", s, err)
	}
}

// TestSelectorLikeKubernetes compares with the selectors of apimachinery.
func TestSelectorLikeKubernetes(t *testing.T) {
	t.Parallel()
	key, value := rapid.SampledFrom([]string{"a", "b", "c"}), rapid.SampledFrom([]string{"", "1", "2"})
	rapid.Check(t, func(t *rapid.T) {
		in := metav1.LabelSelector{MatchLabels: rapid.MapOfN(key, value, 0, 2).Draw(t, "matchLabels")}
		for range rapid.IntRange(0, 3).Draw(t, "expressions") {
			e := metav1.LabelSelectorRequirement{Key: key.Draw(t, "key")}
			e.Operator = rapid.SampledFrom([]metav1.LabelSelectorOperator{"In", "NotIn", "Exists", "DoesNotExist", "Gt"}).Draw(t, "operator")
			e.Values = rapid.SliceOfN(value, 0, 2).Draw(t, "values")
			in.MatchExpressions = append(in.MatchExpressions, e)
		}
		theirs, theirErr := metav1.LabelSelectorAsSelector(&in)
		ours, err := poolview.Selector(&in)
		if (err == nil) != (theirErr == nil) {
			t.Fatalf("we say %v, Kubernetes %v", err, theirErr)
		}
		if err != nil {
			return
		}
		object := rapid.MapOfN(key, value, 0, 3).Draw(t, "labels")
		if ours.Matches(object) != theirs.Matches(labels.Set(object)) {
			t.Fatalf("%s on %v: we say %v", theirs, object, ours.Matches(object))
		}
	})
}

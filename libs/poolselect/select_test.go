// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package poolselect_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-cni/weft/libs/attach"
	"github.com/weft-cni/weft/libs/lease"
	"github.com/weft-cni/weft/libs/poolselect"
)

func family(tb testing.TB, subnet, gateway string) *lease.Family {
	tb.Helper()
	f, err := lease.NewFamily(netip.MustParsePrefix(subnet), netip.MustParseAddr(gateway), nil, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

func labels(kv ...string) map[string]string {
	m := map[string]string{}
	for _, s := range kv {
		k, v, _ := strings.Cut(s, "=")
		m[k] = v
	}
	return m
}

func selector(kv ...string) *poolselect.Selector {
	return &poolselect.Selector{MatchLabels: labels(kv...)}
}

func subject() poolselect.Subject {
	return poolselect.Subject{
		Namespace: poolselect.Object{Name: "shop", Labels: labels("team=a")},
		Pod:       poolselect.Object{Name: "web-0", Labels: labels("app=web")},
		Node:      poolselect.Object{Name: "n1", Labels: labels("rack=r1")},
		Network:   "shop/lan",
		NIC:       "eth0",
	}
}

func want(t testing.TB, in attach.Input) attach.Want {
	t.Helper()
	w, err := attach.Wanted(in)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func poolsOf(text string) attach.Input {
	return attach.Input{Pod: map[string]string{attach.PoolsAnnotation: text}, NIC: attach.NIC{Name: "eth0"}}
}

func ipsOf(text string) attach.Input {
	return attach.Input{Pod: map[string]string{attach.IPsAnnotation: text}, NIC: attach.NIC{Name: "eth0"}}
}

func verdicts(x poolselect.Explanation) []string {
	var out []string
	for _, v := range x.Verdicts {
		if v.Filter == "" {
			out = append(out, fmt.Sprintf("%d %s: %s", v.Place, v.Pool, v.Why))
			continue
		}
		out = append(out, fmt.Sprintf("%s [%s] %s", v.Pool, v.Filter, v.Why))
	}
	return out
}

func TestOrder(t *testing.T) {
	t.Parallel()
	pool := func(name string, priority int, a poolselect.Allow) poolselect.Pool {
		return poolselect.Pool{Name: name, Priority: priority, Default: true, Allow: a}
	}
	open := poolselect.Allow{}
	byPod := poolselect.Allow{Pods: selector("app=web")}
	byNode := poolselect.Allow{Nodes: &poolselect.NameOrLabels{Names: []string{"n1"}}}
	pools := []poolselect.Pool{
		pool("a", 0, open), pool("b", 5, open), pool("c", 0, byNode), pool("d", 0, byPod), pool("e", -1, byPod), pool("b-2", 5, open),
	}
	for name, c := range map[string]struct {
		in   attach.Input
		want string
	}{
		"default: priority, specificity, name": {attach.Input{NIC: attach.NIC{Name: "eth0"}}, "b b-2 d c a e"},
		"the list's own order":                 {poolsOf("e,a,b"), "e a b"},
		"a pattern at its place":               {poolsOf("e,*,b"), "e b b-2 d c a"},
		"a pattern of one":                     {poolsOf("b-?,a"), "b-2 a"},
		"a class":                              {poolsOf("[d-e]"), "d e"},
		"the first of several places":          {poolsOf("a,b*,[ac]"), "a b b-2 c"},
		"the configuration's list":             {attach.Input{Pools: []string{"c", "b"}, NIC: attach.NIC{Name: "eth0"}}, "c b"},
		"a pattern that matches nothing":       {poolsOf("x*,a"), "a"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := poolselect.Select(pools, poolselect.Request{Want: want(t, c.in), Subject: subject()})
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, p := range got.Candidates {
				names = append(names, p.Name)
			}
			if d := cmp.Diff(c.want, strings.Join(names, " ")); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestSpecificity(t *testing.T) {
	t.Parallel()
	names := &poolselect.NameOrLabels{Names: []string{"a"}}
	byLabel := &poolselect.NameOrLabels{Selector: selector("a=b")}
	all := &poolselect.NameOrLabels{Names: []string{"a"}, Selector: selector()}
	networks := []string{"a/b"}
	ascending := []poolselect.Allow{
		{},
		{Networks: networks},
		{Namespaces: byLabel},
		{Namespaces: names},
		{Nodes: byLabel},
		{Nodes: names},
		{Pods: selector("a=b")},
		{Namespaces: byLabel, Networks: networks},
		{Nodes: byLabel, Networks: networks},
		{Pods: selector("a=b"), Networks: networks},
		{Namespaces: names, Nodes: names, Networks: networks},
		{Pods: selector("a=b"), Namespaces: names, Nodes: names},
		{Pods: selector("a=b"), Namespaces: names, Nodes: names, Networks: networks},
	}
	for i := 1; i < len(ascending); i++ {
		if a, b := ascending[i-1].Specificity(), ascending[i].Specificity(); a >= b {
			t.Errorf("%d: %d is not less than %d", i, a, b)
		}
	}
	for _, a := range []poolselect.Allow{{Nodes: all}, {Namespaces: all}, {Pods: selector()}} {
		if a.Specificity() != 0 {
			t.Errorf("%+v allows everything and counts %d", a, a.Specificity())
		}
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	v4, v6 := family(t, "192.0.2.0/24", "192.0.2.1"), family(t, "2001:db8::/64", "2001:db8::1")
	for name, c := range map[string]struct {
		pool poolselect.Pool
		in   attach.Input
		req  poolselect.Request
		want string
	}{
		"passes":          {poolselect.Pool{}, poolsOf("p"), poolselect.Request{}, "1 p: named, priority 0"},
		"not named":       {poolselect.Pool{Suspend: true}, poolsOf("x*"), poolselect.Request{}, "p [wanted] not in weft.dev/pools of the pod"},
		"not default":     {poolselect.Pool{}, attach.Input{}, poolselect.Request{}, "p [wanted] default is not true"},
		"invalid":         {poolselect.Pool{Invalid: "no subnet", Suspend: true}, poolsOf("p"), poolselect.Request{}, "p [invalid] is invalid: no subnet"},
		"suspended":       {poolselect.Pool{Suspend: true}, poolsOf("p"), poolselect.Request{}, "p [suspended] is suspended"},
		"suspended, held": {poolselect.Pool{Suspend: true}, poolsOf("p"), poolselect.Request{Holds: []string{"p"}}, "1 p: named, priority 0"},
		"deleting":        {poolselect.Pool{Deleting: true, Suspend: true}, poolsOf("p"), poolselect.Request{}, "p [deleting] is being deleted"},
		"deleting, held":  {poolselect.Pool{Deleting: true}, poolsOf("p"), poolselect.Request{Holds: []string{"p"}}, "1 p: named, priority 0"},
		"IPv4 lacks":      {poolselect.Pool{IPv6: v6}, poolsOf("p"), poolselect.Request{IPv4: true}, "p [family] has no IPv4"},
		"IPv6 lacks":      {poolselect.Pool{IPv4: v4}, poolsOf("p"), poolselect.Request{IPv6: true}, "p [family] has no IPv6"},
		"both are there":  {poolselect.Pool{IPv4: v4, IPv6: v6}, poolsOf("p"), poolselect.Request{IPv4: true, IPv6: true}, "1 p: named, priority 0"},

		"address":           {poolselect.Pool{IPv4: v4}, ipsOf("192.0.2.7"), poolselect.Request{}, "1 p: has the addresses, priority 0"},
		"other subnet":      {poolselect.Pool{IPv4: v4, Suspend: true}, ipsOf("198.51.100.7"), poolselect.Request{}, "p [wanted] has 192.0.2.0/24, not 198.51.100.7"},
		"gateway":           {poolselect.Pool{IPv4: v4}, ipsOf("192.0.2.1"), poolselect.Request{}, "p [address] reserves 192.0.2.1: it is the gateway of 192.0.2.0/24"},
		"family of address": {poolselect.Pool{IPv4: v4}, ipsOf("192.0.2.7,2001:db8::7"), poolselect.Request{}, "p [address] has no IPv6"},
		"second address":    {poolselect.Pool{IPv4: v4, IPv6: v6}, ipsOf("198.51.100.7,2001:db8::7"), poolselect.Request{}, "p [address] has 192.0.2.0/24, not 198.51.100.7"},
		"address, invalid":  {poolselect.Pool{Invalid: "broken"}, ipsOf("192.0.2.7"), poolselect.Request{}, "p [invalid] is invalid: broken"},

		"namespace by name":     {poolselect.Pool{Allow: poolselect.Allow{Namespaces: &poolselect.NameOrLabels{Names: []string{"shop"}}}}, poolsOf("p"), poolselect.Request{}, "1 p: named, priority 0"},
		"namespace by label":    {poolselect.Pool{Allow: poolselect.Allow{Namespaces: &poolselect.NameOrLabels{Names: []string{"x"}, Selector: selector("team=a")}}}, poolsOf("p"), poolselect.Request{}, "1 p: named, priority 0"},
		"other namespaces":      {poolselect.Pool{Allow: poolselect.Allow{Namespaces: &poolselect.NameOrLabels{Names: []string{"x", "y"}, Selector: selector("team=b")}}}, poolsOf("p"), poolselect.Request{}, "p [namespace] allows namespaces x, y or team=b (this is shop)"},
		"nobody":                {poolselect.Pool{Allow: poolselect.Allow{Namespaces: &poolselect.NameOrLabels{}}}, poolsOf("p"), poolselect.Request{}, "p [namespace] allows namespaces none, for neither names nor selector is set (this is shop)"},
		"pods":                  {poolselect.Pool{Allow: poolselect.Allow{Pods: selector("app=web")}}, poolsOf("p"), poolselect.Request{}, "1 p: named, priority 0"},
		"other pods":            {poolselect.Pool{Allow: poolselect.Allow{Pods: selector("app=db", "a=b")}}, poolsOf("p"), poolselect.Request{}, "p [pod] allows pods with a=b,app=db (web-0 is not one)"},
		"node by label":         {poolselect.Pool{Allow: poolselect.Allow{Nodes: &poolselect.NameOrLabels{Selector: selector("rack=r1")}}}, poolsOf("p"), poolselect.Request{}, "1 p: named, priority 0"},
		"other nodes":           {poolselect.Pool{Allow: poolselect.Allow{Nodes: &poolselect.NameOrLabels{Names: []string{"a", "b", "c", "d", "e"}}}}, poolsOf("p"), poolselect.Request{}, "p [node] allows nodes a, b, c and 2 more (this is n1)"},
		"network":               {poolselect.Pool{Allow: poolselect.Allow{Networks: []string{"shop/lan"}}}, poolsOf("p"), poolselect.Request{}, "1 p: named, priority 0"},
		"other networks":        {poolselect.Pool{Allow: poolselect.Allow{Networks: []string{"shop/wan"}}}, poolsOf("p"), poolselect.Request{}, "p [network] allows networks shop/wan (this is shop/lan)"},
		"everything must match": {poolselect.Pool{Allow: poolselect.Allow{Pods: selector("app=web"), Networks: []string{"shop/wan"}}}, poolsOf("p"), poolselect.Request{}, "p [network] allows networks shop/wan (this is shop/lan)"},
		"the first refuses":     {poolselect.Pool{Allow: poolselect.Allow{Nodes: &poolselect.NameOrLabels{}, Networks: []string{"shop/wan"}, Pods: selector("a=b")}}, poolsOf("p"), poolselect.Request{}, "p [pod] allows pods with a=b (web-0 is not one)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.pool.Name, c.req.Subject, c.req.Want = "p", subject(), want(t, c.in)
			got, err := poolselect.Select([]poolselect.Pool{c.pool}, c.req)
			if d := cmp.Diff([]string{c.want}, verdicts(got.Explanation)); d != "" {
				t.Error(d)
			}
			if (err == nil) != (len(got.Candidates) == 1) || (err == nil) != strings.HasPrefix(c.want, "1 ") {
				t.Errorf("%d candidates with %v", len(got.Candidates), err)
			}
		})
	}
}

func TestShort(t *testing.T) {
	t.Parallel()
	v4 := family(t, "192.0.2.0/24", "192.0.2.1")
	byNode := poolselect.Allow{Nodes: &poolselect.NameOrLabels{Names: []string{"n2"}}}
	pools := []poolselect.Pool{
		{Name: "blue", Suspend: true, IPv4: v4}, {Name: "green", Allow: byNode, IPv4: family(t, "198.51.100.0/24", "198.51.100.1")}, {Name: "grey", IPv4: v4, Allow: byNode},
	}
	many := make([]poolselect.Pool, 50)
	for i := range many {
		many[i] = poolselect.Pool{Name: fmt.Sprintf("pool-%02d", i), Suspend: true}
	}
	claim := poolsOf("blue")
	claim.Pod[attach.ClaimAnnotation] = "web"
	named := attach.Input{NIC: attach.NIC{Name: "net1", Position: 1}, Pod: map[string]string{attach.PoolsAnnotation: "eth0=blue"}}
	for name, c := range map[string]struct {
		pools []poolselect.Pool
		in    attach.Input
		err   error // of this type
		want  string
	}{
		"chosen": {append(pools, poolselect.Pool{Name: "red"}, poolselect.Pool{Name: "rose"}), poolsOf("r*"), nil, "pools for eth0: red, rose"},
		"missing": {
			pools, poolsOf("gren,xx"),
			&poolselect.MissingPoolError{}, "weft.dev/pools of the pod names pools that do not exist: gren (did you mean green?), xx",
		},
		"missing beside one that would do": {
			append(pools, poolselect.Pool{Name: "red"}), poolsOf("blu,red"),
			&poolselect.MissingPoolError{}, "weft.dev/pools of the pod names a pool that does not exist: blu (did you mean blue?)",
		},
		"missing in the configuration": {
			pools,
			attach.Input{Pools: []string{"gray"}, NIC: attach.NIC{Name: "eth0"}},
			&poolselect.MissingPoolError{}, "ipam.pools of the configuration names a pool that does not exist: gray (did you mean grey?)",
		},
		"no level": {
			pools,
			attach.Input{NIC: attach.NIC{Name: "eth0"}},
			&poolselect.NoPoolError{},
			"no pool for eth0: weft.dev/ips of the pod, weft.dev/claim of the pod, weft.dev/pools of the pod, weft.dev/pools of the namespace and ipam.pools of the configuration are not set; and no pool has default: true",
		},
		"no level for this interface": {
			nil, named,
			&poolselect.NoPoolError{},
			"no pool for net1: weft.dev/pools of the pod names eth0, not net1; weft.dev/ips of the pod, weft.dev/claim of the pod, weft.dev/pools of the namespace and ipam.pools of the configuration are not set; and there is no pool at all",
		},
		"nothing allowed": {
			pools, poolsOf("green,b*"),
			&poolselect.NotAllowedError{}, "no pool may serve eth0 (weft.dev/pools of the pod): green allows nodes n2 (this is n1); blue is suspended",
		},
		"nothing allowed for a claim": {
			pools, claim,
			&poolselect.NotAllowedError{}, "no pool may serve eth0 (claim web) (weft.dev/pools of the pod): blue is suspended",
		},
		"pattern of nothing": {
			pools, poolsOf("x*,y*"),
			&poolselect.NotAllowedError{}, "no pool may serve eth0 (weft.dev/pools of the pod): none matches x*, y*; there is blue, green, grey",
		},
		"pattern and no pools": {
			nil, poolsOf("x*"),
			&poolselect.NotAllowedError{}, "no pool may serve eth0 (weft.dev/pools of the pod): there is no pool",
		},
		"address, refused": {
			pools, ipsOf("192.0.2.7"),
			&poolselect.NotAllowedError{}, "no pool can give 192.0.2.7 to eth0 (weft.dev/ips of the pod): grey allows nodes n2 (this is n1); blue is suspended",
		},
		"address of no pool": {
			pools[:2], ipsOf("203.0.113.7"),
			&poolselect.NotAllowedError{}, "no pool can give 203.0.113.7 to eth0 (weft.dev/ips of the pod): blue has 192.0.2.0/24, not 203.0.113.7; green has 198.51.100.0/24, not 203.0.113.7",
		},
		"many": {
			many, poolsOf("*"),
			&poolselect.NotAllowedError{},
			"no pool may serve eth0 (weft.dev/pools of the pod): pool-00 is suspended; pool-01 is suspended; pool-02 is suspended; pool-03 is suspended; pool-04 is suspended; pool-05 is suspended; pool-06 is suspended; pool-07 is suspended; pool-08 is suspended; pool-09 is suspended; and 40 more",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := poolselect.Select(c.pools, poolselect.Request{Want: want(t, c.in), Subject: func() poolselect.Subject {
				s := subject()
				s.NIC = c.in.NIC.Name
				return s
			}()})
			if fmt.Sprintf("%T", err) != fmt.Sprintf("%T", c.err) {
				t.Fatalf("%T, not %T", err, c.err)
			}
			if d := cmp.Diff(c.want, got.Explanation.Short()); d != "" {
				t.Error(d)
			}
			if err != nil && err.Error() != c.want {
				t.Errorf("the error says %q", err)
			}
			if len(c.want) > poolselect.MaxShort {
				t.Errorf("%d bytes", len(c.want))
			}
		})
	}
}

func TestShortIsClippedBetweenCharacters(t *testing.T) {
	t.Parallel()
	for _, head := range []string{"", "a"} {
		p := poolselect.Pool{Name: "p", Invalid: head + strings.Repeat("ä", 400)}
		_, err := poolselect.Select([]poolselect.Pool{p}, poolselect.Request{Want: want(t, poolsOf("p"))})
		if err == nil || len(err.Error()) > poolselect.MaxShort || !strings.HasSuffix(err.Error(), "ä…") {
			t.Errorf("%v", err)
		}
	}
}

func TestClaimDrawsFromItsOwnPools(t *testing.T) {
	t.Parallel()
	in := poolsOf("blue")
	in.Pod[attach.ClaimAnnotation] = "web"
	w := want(t, in).DrawFrom("spec.pools of claim web", []string{"green"})
	got, err := poolselect.Select([]poolselect.Pool{{Name: "blue"}, {Name: "green"}}, poolselect.Request{Want: w, Subject: subject()})
	if err != nil || len(got.Candidates) != 1 || got.Candidates[0].Name != "green" {
		t.Errorf("%v %v", got.Candidates, err)
	}
	if s := got.Explanation.Full(); !strings.Contains(s, "weft.dev/claim of the pod: web, drawing from spec.pools of claim web: green") {
		t.Error(s)
	}
}

func TestSelectLeavesItsInputAlone(t *testing.T) {
	t.Parallel()
	pools := []poolselect.Pool{{Name: "b"}, {Name: "a"}}
	if _, err := poolselect.Select(pools, poolselect.Request{Want: want(t, poolsOf("*"))}); err != nil {
		t.Fatal(err)
	}
	if pools[0].Name != "b" {
		t.Error("the caller's slice was sorted")
	}
}

func TestErrorsCarryTheExplanation(t *testing.T) {
	t.Parallel()
	_, err := poolselect.Select([]poolselect.Pool{{Name: "blue", Suspend: true}}, poolselect.Request{Want: want(t, poolsOf("blue"))})
	e := (*poolselect.NotAllowedError)(nil)
	if !errors.As(fmt.Errorf("select: %w", err), &e) || !slices.ContainsFunc(e.Explanation.Verdicts, func(v poolselect.Verdict) bool { return v.Filter == poolselect.FilterSuspended }) {
		t.Errorf("%v", err)
	}
}

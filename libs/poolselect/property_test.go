// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package poolselect_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weft-cni/weft/libs/attach"
	"github.com/weft-cni/weft/libs/poolselect"
)

// drawPools draws pools over which every filter can refuse.
func drawPools(t *rapid.T) []poolselect.Pool {
	sel := rapid.Custom(func(t *rapid.T) *poolselect.NameOrLabels {
		return rapid.SampledFrom([]*poolselect.NameOrLabels{
			nil, nil, {}, {Names: []string{"shop", "n1"}}, {Names: []string{"other"}}, {Selector: selector("team=a")}, {Selector: selector("rack=r1")}, {Selector: selector()},
		}).Draw(t, "sel")
	})
	names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-c]{1,3}`), 0, 8, rapid.ID[string]).Draw(t, "names")
	out := make([]poolselect.Pool, 0, len(names))
	for _, n := range names {
		rare := func(what string) bool { return rapid.IntRange(0, 5).Draw(t, what) == 0 }
		p := poolselect.Pool{
			Name: n, Priority: rapid.IntRange(-1, 1).Draw(t, "priority"), Default: !rare("not default"),
			Suspend: rare("suspend"), Deleting: rare("deleting"),
			Allow: poolselect.Allow{
				Namespaces: sel.Draw(t, "namespaces"), Nodes: sel.Draw(t, "nodes"),
				Pods:     rapid.SampledFrom([]*poolselect.Selector{nil, nil, selector("app=web"), selector("app=db")}).Draw(t, "pods"),
				Networks: rapid.SampledFrom([][]string{nil, nil, {"shop/lan"}, {"shop/wan"}}).Draw(t, "networks"),
			},
		}
		if rare("invalid") {
			p.Invalid = "broken"
		}
		out = append(out, p)
	}
	return out
}

// TestEveryPoolHasOneVerdict draws pools and wishes, and checks what must hold
// of any answer: each pool is a candidate or refused by one filter, the order is
// the promised one, and it does not depend on the order of the input.
func TestEveryPoolHasOneVerdict(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		pools := drawPools(t)
		in := attach.Input{NIC: attach.NIC{Name: "eth0"}}
		in.Pools = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "ab", "*", "a*", "[bc]*", "??"}), 0, 3, rapid.ID[string]).Draw(t, "list")
		w, err := attach.Wanted(in)
		if err != nil {
			t.Fatal(err)
		}
		r := poolselect.Request{Want: w, Subject: subject()}
		got, err := poolselect.Select(pools, r)
		again, againErr := poolselect.Select(rapid.Permutation(pools).Draw(t, "permutation"), r)
		if d := cmp.Diff(verdicts(got.Explanation), verdicts(again.Explanation)); d != "" || fmt.Sprint(err) != fmt.Sprint(againErr) {
			t.Fatalf("another order gives another answer: %v, %v\n%s", err, againErr, d)
		}
		seen := map[string]bool{}
		place := 0
		for _, v := range got.Explanation.Verdicts {
			if seen[v.Pool] {
				t.Fatalf("two verdicts for %s", v.Pool)
			}
			seen[v.Pool] = true
			if (v.Filter == "") != (v.Place > 0) || v.Why == "" {
				t.Fatalf("no verdict: %+v", v)
			}
			if v.Place > 0 {
				if place++; v.Place != place {
					t.Fatalf("place %d after %d", v.Place, place-1)
				}
			}
		}
		if len(seen) != len(pools) {
			t.Fatalf("%d verdicts for %d pools", len(seen), len(pools))
		}
		if err == nil && place != len(got.Candidates) || err != nil && len(got.Candidates) > 0 {
			t.Fatalf("%d candidates, %d places, %v", len(got.Candidates), place, err)
		}
		checkOrder(t, w.Pools, got.Candidates)
		if s := got.Explanation.Short(); len(s) > poolselect.MaxShort || s == "" || strings.Contains(s, "not found") {
			t.Fatalf("short text %q", s)
		}
	})
}

// checkOrder compares every two candidates with the rule.
func checkOrder(t *rapid.T, items []string, candidates []poolselect.Pool) {
	place := func(name string) int {
		for i, item := range items {
			alone, err := poolselect.Select([]poolselect.Pool{{Name: name}}, poolselect.Request{Want: attach.Want{Pools: []string{item}}})
			if err == nil && len(alone.Candidates) == 1 {
				return i
			}
		}
		return len(items)
	}
	for i := 1; i < len(candidates); i++ {
		a, b := candidates[i-1], candidates[i]
		pa, pb := place(a.Name), place(b.Name)
		sa, sb := a.Allow.Specificity(), b.Allow.Specificity()
		ok := pa < pb || pa == pb && (a.Priority > b.Priority || a.Priority == b.Priority && (sa > sb || sa == sb && a.Name < b.Name))
		if !ok {
			t.Fatalf("%s before %s", a.Name, b.Name)
		}
	}
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package poolselect_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weft-cni/weft/libs/poolselect"
)

// oracle evaluates a requirement by its definition in words, from the sorted
// facts "key=value" of an object.
func oracle(facts []string, r poolselect.Requirement) bool {
	has, among := false, false
	for _, f := range facts {
		if !strings.HasPrefix(f, r.Key+"=") {
			continue
		}
		has = true
		for _, v := range r.Values {
			if f == r.Key+"="+v {
				among = true
			}
		}
	}
	return map[poolselect.Operator]bool{
		poolselect.In: among, poolselect.NotIn: !among, poolselect.Exists: has, poolselect.DoesNotExist: !has,
	}[r.Operator]
}

func TestSelectorAgainstOracle(t *testing.T) {
	t.Parallel()
	key, value := rapid.SampledFrom([]string{"a", "b", "c"}), rapid.SampledFrom([]string{"", "1", "2"})
	rapid.Check(t, func(t *rapid.T) {
		objectLabels := rapid.MapOfN(key, value, 0, 3).Draw(t, "labels")
		s := poolselect.Selector{
			MatchLabels: rapid.MapOfN(key, value, 0, 2).Draw(t, "matchLabels"),
			MatchExpressions: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) poolselect.Requirement {
				r := poolselect.Requirement{Key: key.Draw(t, "key"), Operator: rapid.SampledFrom([]poolselect.Operator{poolselect.In, poolselect.NotIn, poolselect.Exists, poolselect.DoesNotExist, "Gt"}).Draw(t, "operator")}
				if r.Operator == poolselect.In || r.Operator == poolselect.NotIn {
					r.Values = rapid.SliceOfN(value, 1, 2).Draw(t, "values")
				}
				return r
			}), 0, 3).Draw(t, "expressions"),
		}
		var facts []string
		for k, v := range objectLabels {
			facts = append(facts, k+"="+v)
		}
		want := true
		for k, v := range s.MatchLabels {
			want = want && oracle(facts, poolselect.Requirement{Key: k, Operator: poolselect.In, Values: []string{v}})
		}
		for _, r := range s.MatchExpressions {
			want = want && oracle(facts, r)
		}
		if s.Matches(objectLabels) != want {
			t.Fatalf("%s on %v is %v", s, objectLabels, !want)
		}
	})
}

func TestSelectorProblems(t *testing.T) {
	t.Parallel()
	s := poolselect.Selector{
		MatchLabels: map[string]string{"": "a"},
		MatchExpressions: []poolselect.Requirement{
			{Key: "a", Operator: poolselect.In},
			{Key: "a", Operator: poolselect.Exists, Values: []string{"b"}},
			{Operator: poolselect.DoesNotExist},
			{Key: "a", Operator: "in", Values: []string{"b"}},
			{Key: "a", Operator: poolselect.NotIn, Values: []string{"b"}},
		},
	}
	if d := cmp.Diff([]string{
		"matchLabels has an empty key",
		"matchExpressions[0]: operator In needs values",
		"matchExpressions[1]: operator Exists takes no values",
		"matchExpressions[2] has no key",
		`matchExpressions[3]: operator "in" is none of In, NotIn, Exists, DoesNotExist`,
	}, s.Problems()); d != "" {
		t.Error(d)
	}
}

func TestSelectorString(t *testing.T) {
	t.Parallel()
	s := poolselect.Selector{
		MatchLabels: map[string]string{"b": "2", "a": "1"},
		MatchExpressions: []poolselect.Requirement{
			{Key: "c", Operator: poolselect.In, Values: []string{"x", "y"}},
			{Key: "d", Operator: poolselect.NotIn, Values: []string{"z"}},
			{Key: "e", Operator: poolselect.Exists},
			{Key: "f", Operator: poolselect.DoesNotExist},
		},
	}
	if d := cmp.Diff("a=1,b=2,c in (x,y),d notin (z),e,!f", s.String()); d != "" {
		t.Error(d)
	}
	if got := (poolselect.Selector{}).String(); got != "anything" {
		t.Error(got)
	}
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package poolselect

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Operator of a requirement.
type Operator string

// The operators that label selectors of Kubernetes have.
const (
	In           Operator = "In"
	NotIn        Operator = "NotIn"
	Exists       Operator = "Exists"
	DoesNotExist Operator = "DoesNotExist"
)

// Requirement is one expression over one label.
type Requirement struct {
	Key      string
	Operator Operator
	Values   []string
}

// Selector selects by labels with the meaning of metav1.LabelSelector:
// everything in it must match, and an empty selector matches everything.
type Selector struct {
	MatchLabels      map[string]string
	MatchExpressions []Requirement
}

// Matches says whether the labels are selected. A requirement with an unknown
// operator matches nothing.
func (s Selector) Matches(labels map[string]string) bool {
	for k, v := range s.MatchLabels {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	for _, r := range s.MatchExpressions {
		if !r.matches(labels) {
			return false
		}
	}
	return true
}

func (r Requirement) matches(labels map[string]string) bool {
	v, ok := labels[r.Key]
	switch r.Operator {
	case In:
		return ok && slices.Contains(r.Values, v)
	case NotIn:
		return !ok || !slices.Contains(r.Values, v)
	case Exists:
		return ok
	case DoesNotExist:
		return !ok
	}
	return false
}

// Problems says what a selector has that no selector may have.
func (s Selector) Problems() []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(s.MatchLabels)) {
		if k == "" {
			out = append(out, "matchLabels has an empty key")
		}
	}
	for i, r := range s.MatchExpressions {
		at := fmt.Sprintf("matchExpressions[%d]", i)
		if r.Key == "" {
			out = append(out, at+" has no key")
		}
		switch r.Operator {
		case In, NotIn:
			if len(r.Values) == 0 {
				out = append(out, fmt.Sprintf("%s: operator %s needs values", at, r.Operator))
			}
		case Exists, DoesNotExist:
			if len(r.Values) > 0 {
				out = append(out, fmt.Sprintf("%s: operator %s takes no values", at, r.Operator))
			}
		default:
			out = append(out, fmt.Sprintf("%s: operator %q is none of In, NotIn, Exists, DoesNotExist", at, string(r.Operator)))
		}
	}
	return out
}

// Empty says whether the selector matches everything.
func (s Selector) Empty() bool { return len(s.MatchLabels)+len(s.MatchExpressions) == 0 }

// String writes the selector as kubectl --selector does.
func (s Selector) String() string {
	if s.Empty() {
		return "anything"
	}
	var out []string
	for _, k := range slices.Sorted(maps.Keys(s.MatchLabels)) {
		out = append(out, k+"="+s.MatchLabels[k])
	}
	for _, r := range s.MatchExpressions {
		out = append(out, r.String())
	}
	return strings.Join(out, ",")
}

// String writes the requirement as kubectl --selector does.
func (r Requirement) String() string {
	switch r.Operator {
	case In:
		return fmt.Sprintf("%s in (%s)", r.Key, strings.Join(r.Values, ","))
	case NotIn:
		return fmt.Sprintf("%s notin (%s)", r.Key, strings.Join(r.Values, ","))
	case Exists:
		return r.Key
	case DoesNotExist:
		return "!" + r.Key
	}
	return fmt.Sprintf("%s %s (%s)", r.Key, r.Operator, strings.Join(r.Values, ","))
}

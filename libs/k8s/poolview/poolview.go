// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package poolview

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
	"github.com/weft-cni/weft/libs/lease"
	"github.com/weft-cni/weft/libs/poolselect"
)

// Problem is one thing that is wrong with a pool.
type Problem struct{ Path, Got, Want string }

// String is "spec.ipv4.gateway: got X, want Y".
func (p Problem) String() string { return fmt.Sprintf("%s: got %s, want %s", p.Path, p.Got, p.Want) }

// InvalidError says why a pool cannot be used, completely.
type InvalidError struct {
	Pool     string
	Problems []Problem
}

// Error implements error.
func (e *InvalidError) Error() string { return "pool " + e.Pool + ": " + e.why() }

func (e *InvalidError) why() string {
	texts := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		texts[i] = p.String()
	}
	return strings.Join(texts, "; ")
}

// Of reads a pool. With an error the poolselect.Pool is marked invalid and the
// lease.Pool is empty.
func Of(p *v1alpha1.IPPool) (poolselect.Pool, lease.Pool, error) {
	r := &reader{}
	l := r.lease(p)
	s := poolselect.Pool{
		Name:     p.Name,
		Priority: int(p.Spec.Priority),
		Default:  p.Spec.Default,
		Suspend:  p.Spec.Suspend,
		Deleting: p.DeletionTimestamp != nil,
		Allow:    r.allow(p.Spec.Allow),
		IPv4:     l.IPv4,
		IPv6:     l.IPv6,
		Free:     p.Status.Free,
	}
	if len(r.problems) > 0 {
		err := &InvalidError{Pool: p.Name, Problems: r.problems}
		s.Invalid = err.why()
		return s, lease.Pool{}, err
	}
	return s, l, nil
}

// Selector reads a label selector; nil stays nil.
func Selector(in *metav1.LabelSelector) (*poolselect.Selector, error) {
	if in == nil {
		return nil, nil //nolint:nilnil // an absent selector is an absent selector
	}
	out := &poolselect.Selector{MatchLabels: in.MatchLabels}
	for _, e := range in.MatchExpressions {
		out.MatchExpressions = append(out.MatchExpressions, poolselect.Requirement{
			Key: e.Key, Operator: poolselect.Operator(e.Operator), Values: e.Values,
		})
	}
	if ps := out.Problems(); len(ps) > 0 {
		return out, fmt.Errorf("selector with %s", strings.Join(ps, ", "))
	}
	if _, err := metav1.LabelSelectorAsSelector(in); err != nil {
		return out, fmt.Errorf("selector with a key or value that no label can have: %w", err)
	}
	return out, nil
}

// reader collects what is wrong.
type reader struct{ problems []Problem }

func (r *reader) add(path, got, want string) {
	r.problems = append(r.problems, Problem{path, got, want})
}

func (r *reader) lease(p *v1alpha1.IPPool) lease.Pool {
	in := p.Spec
	out := lease.Pool{
		Name: p.Name, Domain: in.Domain, Suspend: in.Suspend,
		Cooldown: lease.DefaultCooldown, Policy: lease.Policy(in.CooldownPolicy),
	}
	if out.Domain == "" {
		out.Domain = lease.DefaultDomain
	}
	if !lease.ValidDomain(out.Domain) {
		r.add("spec.domain", quote(in.Domain), `lower case letters, digits and "-", at most 63`)
	}
	if c := in.Cooldown; c != nil {
		out.Cooldown = c.Duration
		if c.Duration < 0 || c.Duration > 24*time.Hour {
			r.add("spec.cooldown", c.Duration.String(), "between 0s and 24h, for example 120s")
		}
	}
	switch out.Policy {
	case "":
		out.Policy = lease.Prefer
	case lease.Prefer, lease.Strict:
	default:
		r.add("spec.cooldownPolicy", quote(string(in.CooldownPolicy)), "Prefer or Strict")
	}
	if in.IPv4 == nil && in.IPv6 == nil {
		r.add("spec", "no family", "ipv4, ipv6 or both")
	}
	out.IPv4 = family{r, "spec.ipv4", true}.read(in.IPv4)
	out.IPv6 = family{r, "spec.ipv6", false}.read(in.IPv6)
	return out
}

func (r *reader) allow(in *v1alpha1.PoolAllow) poolselect.Allow {
	if in == nil {
		return poolselect.Allow{}
	}
	for i, n := range in.Networks {
		ns, name, ok := strings.Cut(n, "/")
		if !ok || ns == "" || name == "" || strings.Contains(name, "/") {
			r.add(fmt.Sprintf("spec.allow.networks[%d]", i), quote(n), "namespace/name")
		}
	}
	return poolselect.Allow{
		Namespaces: r.nameOrLabels("spec.allow.namespaces", in.Namespaces),
		Nodes:      r.nameOrLabels("spec.allow.nodes", in.Nodes),
		Pods:       r.selector("spec.allow.pods", in.Pods),
		Networks:   in.Networks,
	}
}

func (r *reader) nameOrLabels(path string, in *v1alpha1.NameOrLabels) *poolselect.NameOrLabels {
	if in == nil {
		return nil
	}
	return &poolselect.NameOrLabels{Names: in.Names, Selector: r.selector(path+".selector", in.Selector)}
}

func (r *reader) selector(path string, in *metav1.LabelSelector) *poolselect.Selector {
	s, err := Selector(in)
	if err != nil {
		r.add(path, "a "+err.Error(), "a label selector, for example matchLabels: {team: a}")
	}
	return s
}

func quote(s string) string { return fmt.Sprintf("%q", s) }

// unspecified is 0.0.0.0 or ::.
func unspecified(is4 bool) netip.Addr {
	if is4 {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

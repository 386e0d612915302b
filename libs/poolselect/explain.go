// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package poolselect

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/weft-cni/weft/libs/attach"
)

// MaxShort is how long Explanation.Short is at most, in bytes.
const MaxShort = 300

// Verdict is what became of one pool.
type Verdict struct {
	Pool   string
	Place  int    // from 1 for a candidate, 0 for a pool that was refused
	Filter Filter // that refused the pool, "" for a candidate
	Why    string // goes after the pool's name
	Free   string
}

// Missing is a pool that is named and does not exist.
type Missing struct{ Pool, Nearest string }

// Explanation says what became of every pool: candidates in their order, then
// refused pools in the order they would have, then those that nothing named. With
// Missing, candidates are what would be tried without it.
type Explanation struct {
	NIC      string
	Want     attach.Want
	Missing  []Missing
	Verdicts []Verdict
}

// MissingPoolError says that a pool is named and does not exist.
type MissingPoolError struct{ Explanation Explanation }

// NoPoolError says that nothing named a pool, and that there is no default pool.
type NoPoolError struct{ Explanation Explanation }

// NotAllowedError says that every pool that is wanted refuses the interface.
type NotAllowedError struct{ Explanation Explanation }

// Error implements error with the short explanation.
func (e *MissingPoolError) Error() string { return e.Explanation.Short() }

// Error implements error with the short explanation.
func (e *NoPoolError) Error() string { return e.Explanation.Short() }

// Error implements error with the short explanation.
func (e *NotAllowedError) Error() string { return e.Explanation.Short() }

// outcome is how a selection ended.
type outcome int

const (
	chosen outcome = iota
	missingPool
	noPool
	notAllowed
)

func (x Explanation) outcome() outcome {
	switch {
	case len(x.Missing) > 0:
		return missingPool
	case len(x.candidates()) > 0:
		return chosen
	case x.Want.Draw == attach.LevelDefault && len(x.wanted()) == 0:
		return noPool
	}
	return notAllowed
}

func (x Explanation) failure() error {
	switch x.outcome() {
	case missingPool:
		return &MissingPoolError{x}
	case noPool:
		return &NoPoolError{x}
	case notAllowed:
		return &NotAllowedError{x}
	case chosen:
	}
	return nil
}

// candidates are the names of the candidates in order.
func (x Explanation) candidates() []string {
	var out []string
	for _, v := range x.Verdicts {
		if v.Filter == "" {
			out = append(out, v.Pool)
		}
	}
	return out
}

// wanted are the verdicts on pools that something named.
func (x Explanation) wanted() []Verdict {
	var out []Verdict
	for _, v := range x.Verdicts {
		if v.Filter != FilterWanted {
			out = append(out, v)
		}
	}
	return out
}

// Short is one sentence of at most MaxShort bytes, for the CNI error and the
// event of the pod.
func (x Explanation) Short() string {
	switch x.outcome() {
	case missingPool:
		return x.shortMissing()
	case noPool:
		return clip(fmt.Sprintf("no pool for %s: %s; and %s", x.what(), x.passed(), x.noDefault()))
	case notAllowed:
		return x.shortRefused()
	case chosen:
	}
	return list("pools for "+x.what()+": ", ", ", x.candidates())
}

// what is wanted, and for which interface.
func (x Explanation) what() string {
	nic := x.NIC
	if nic == "" {
		nic = "the interface"
	}
	if x.Want.Level == attach.LevelClaim {
		return fmt.Sprintf("%s (claim %s)", nic, x.Want.Claim)
	}
	return nic
}

func (x Explanation) shortMissing() string {
	var out []string
	for _, m := range x.Missing {
		s := m.Pool
		if m.Nearest != "" {
			s += " (did you mean " + m.Nearest + "?)"
		}
		out = append(out, s)
	}
	noun := "a pool that does not exist: "
	if len(out) > 1 {
		noun = "pools that do not exist: "
	}
	return list(x.Want.PoolsSource+" names "+noun, ", ", out)
}

func (x Explanation) shortRefused() string {
	wanted := x.wanted()
	head := fmt.Sprintf("no pool may serve %s (%s): ", x.what(), x.source())
	if x.Want.Level == attach.LevelIPs {
		head = fmt.Sprintf("no pool can give %s to %s (%s): ", x.addrs(), x.what(), x.Want.Source)
	}
	if len(x.Verdicts) == 0 {
		return clip(head + "there is no pool")
	}
	if x.Want.Level == attach.LevelIPs && len(wanted) == 0 {
		wanted = x.Verdicts
	}
	if len(wanted) == 0 {
		names := make([]string, len(x.Verdicts))
		for i, v := range x.Verdicts {
			names[i] = v.Pool
		}
		return clip(fmt.Sprintf("%snone matches %s; there is %s", head, few(x.Want.Pools), few(names)))
	}
	clauses := make([]string, len(wanted))
	for i, v := range wanted {
		clauses[i] = v.Pool + " " + v.Why
	}
	return list(head, "; ", clauses)
}

func (x Explanation) source() string {
	if x.Want.PoolsSource == "" {
		return x.Want.Source
	}
	return x.Want.PoolsSource
}

func (x Explanation) addrs() string {
	out := make([]string, len(x.Want.Addrs))
	for i, a := range x.Want.Addrs {
		out[i] = a.String()
	}
	return strings.Join(out, " and ")
}

// passed says in few clauses why no level decided.
func (x Explanation) passed() string {
	var clauses, unset []string
	for _, p := range x.Want.Passed {
		if p.Why == "is not set" {
			unset = append(unset, p.Source)
			continue
		}
		clauses = append(clauses, p.String())
	}
	switch n := len(unset); {
	case n == 1:
		clauses = append(clauses, unset[0]+" is not set")
	case n > 1:
		clauses = append(clauses, strings.Join(unset[:n-1], ", ")+" and "+unset[n-1]+" are not set")
	case len(clauses) == 0:
		return "nothing names one"
	}
	return strings.Join(clauses, "; ")
}

func (x Explanation) noDefault() string {
	if len(x.Verdicts) == 0 {
		return "there is no pool at all"
	}
	return "no pool has default: true"
}

// Full says everything, in lines: the answer, the levels that did not decide,
// and the table.
func (x Explanation) Full() string {
	var b strings.Builder
	b.WriteString(x.Short() + "\n")
	fmt.Fprintf(&b, "decided by: %s\n", x.decidedBy())
	for _, p := range x.Want.Passed {
		fmt.Fprintf(&b, "passed:     %s\n", p)
	}
	if len(x.Verdicts) > 0 {
		b.WriteString("\n" + x.Table())
	}
	return b.String()
}

func (x Explanation) decidedBy() string {
	s := x.Want.Source
	switch x.Want.Level {
	case attach.LevelIPs:
		return s + ": " + x.addrs()
	case attach.LevelClaim:
		s += ": " + x.Want.Claim + ", drawing from " + x.Want.PoolsSource
	case attach.LevelPodPools, attach.LevelNamespacePools, attach.LevelConfig, attach.LevelDefault:
	}
	if len(x.Want.Pools) > 0 {
		s += ": " + strings.Join(x.Want.Pools, ", ")
	}
	return s
}

// Table has a line for each pool, for kubectl.
func (x Explanation) Table() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	_, _ = fmt.Fprintln(w, "POOL\tTRY\tFREE\tFILTER\tWHY") // a Builder takes everything
	for _, v := range x.Verdicts {
		try, filter := "-", string(v.Filter)
		if v.Place > 0 {
			try, filter = fmt.Sprint(v.Place), "-"
		}
		free := v.Free
		if free == "" {
			free = "-"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", v.Pool, try, free, filter, v.Why)
	}
	_ = w.Flush()
	return b.String()
}

// list writes as many items as there is room for, and counts the rest.
func list(head, between string, items []string) string {
	out := head
	for i, s := range items {
		if i > 0 {
			s = between + s
		}
		more := ""
		if left := len(items) - i - 1; left > 0 {
			more = fmt.Sprintf("%sand %d more", between, left)
		}
		if len(out)+len(s)+len(more) > MaxShort && i > 0 {
			return clip(fmt.Sprintf("%s%sand %d more", out, between, len(items)-i))
		}
		out += s
	}
	return clip(out)
}

// clip cuts a text at MaxShort bytes, between characters.
func clip(s string) string {
	const dots = "…"
	if len(s) <= MaxShort {
		return s
	}
	s = s[:MaxShort-len(dots)]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s + dots
}

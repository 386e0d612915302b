// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package poolselect

import (
	"cmp"
	"fmt"
	"net/netip"
	"path"
	"slices"

	"github.com/weft-cni/weft/libs/attach"
)

// Filter is what refused a pool.
type Filter string

// The filters in the order in which a pool passes them.
const (
	FilterWanted    Filter = "wanted" // nothing names it, or it has no address asked for
	FilterInvalid   Filter = "invalid"
	FilterFamily    Filter = "family"
	FilterAddress   Filter = "address"
	FilterDeleting  Filter = "deleting"
	FilterSuspended Filter = "suspended"
	FilterNamespace Filter = "namespace"
	FilterPod       Filter = "pod"
	FilterNode      Filter = "node"
	FilterNetwork   Filter = "network"
)

// Subject is the interface that wants an address.
type Subject struct {
	Namespace, Pod, Node Object
	Network              string // as namespace/name
	NIC                  string // the interface's name
}

// Request says what is wanted for whom.
type Request struct {
	Want    attach.Want
	Subject Subject
	// IPv4 and IPv6 ask for pools that have the family.
	IPv4, IPv6 bool
	// Holds are the pools of which the interface has an address already. A pool
	// that is suspended or being deleted gives out no new ones, and leaves those.
	Holds []string
}

// Selection is an answer.
type Selection struct {
	Candidates  []Pool // the preferred one first
	Explanation Explanation
}

// Select returns the candidates in order. The error is a *MissingPoolError,
// *NoPoolError or *NotAllowedError; then there are no candidates.
func Select(pools []Pool, r Request) (Selection, error) {
	pools = slices.Clone(pools)
	slices.SortFunc(pools, func(a, b Pool) int { return cmp.Compare(a.Name, b.Name) })

	x := Explanation{NIC: r.Subject.NIC, Want: r.Want, Missing: missing(pools, r.Want)}
	var passed, refused, others []ranked
	for _, p := range pools {
		place, how, wanted := named(p, r.Want)
		c := ranked{pool: p, place: place, verdict: Verdict{Pool: p.Name, Free: p.Free, Why: how}}
		if !wanted {
			c.verdict.Filter = FilterWanted
			others = append(others, c)
			continue
		}
		if f, why := refuse(p, r); f != "" {
			c.verdict.Filter, c.verdict.Why = f, why
			refused = append(refused, c)
			continue
		}
		passed = append(passed, c)
	}
	slices.SortFunc(passed, before)
	slices.SortFunc(refused, before)

	out := Selection{}
	for i := range passed {
		passed[i].verdict.Place = i + 1
		out.Candidates = append(out.Candidates, passed[i].pool)
	}
	for _, c := range slices.Concat(passed, refused, others) {
		x.Verdicts = append(x.Verdicts, c.verdict)
	}
	out.Explanation = x
	if err := x.failure(); err != nil {
		out.Candidates = nil
		return out, err
	}
	return out, nil
}

// ranked is a pool with what orders it.
type ranked struct {
	pool    Pool
	place   int // in the list
	verdict Verdict
}

func before(a, b ranked) int {
	return cmp.Or(
		cmp.Compare(a.place, b.place),
		cmp.Compare(b.pool.Priority, a.pool.Priority),
		cmp.Compare(b.pool.Allow.Specificity(), a.pool.Allow.Specificity()),
		cmp.Compare(a.pool.Name, b.pool.Name),
	)
}

// named says whether the pool is wanted, at which place of the list, and how it
// came in or why it did not.
func named(p Pool, w attach.Want) (place int, how string, ok bool) {
	priority := fmt.Sprintf("priority %d", p.Priority)
	switch {
	case w.Level == attach.LevelIPs:
		if why := elsewhere(p, w.Addrs); why != "" {
			return 0, why, false
		}
		return 0, "has the addresses, " + priority, true
	case w.Draw == attach.LevelDefault:
		if !p.Default {
			return 0, "default is not true", false
		}
		return 0, "default, " + priority, true
	}
	for i, item := range w.Pools {
		if item == p.Name {
			return i, "named, " + priority, true
		}
		if ok, err := path.Match(item, p.Name); attach.IsPattern(item) && ok && err == nil {
			return i, "matches " + item + ", " + priority, true
		}
	}
	return 0, "not in " + w.PoolsSource, false
}

// refuse returns the first filter that refuses the pool, if one does.
func refuse(p Pool, r Request) (Filter, string) {
	switch {
	case p.Invalid != "":
		return FilterInvalid, "is invalid: " + p.Invalid
	case r.IPv4 && p.IPv4 == nil:
		return FilterFamily, "has no IPv4"
	case r.IPv6 && p.IPv6 == nil:
		return FilterFamily, "has no IPv6"
	}
	for _, a := range r.Want.Addrs {
		if why := lacks(p, a); why != "" {
			return FilterAddress, why
		}
	}
	switch holds := slices.Contains(r.Holds, p.Name); {
	case p.Deleting && !holds:
		return FilterDeleting, "is being deleted"
	case p.Suspend && !holds:
		return FilterSuspended, "is suspended"
	}
	return p.Allow.refuses(r.Subject)
}

// elsewhere says that none of the addresses is in the pool, or "". Nobody knows
// where an invalid pool is.
func elsewhere(p Pool, addrs []netip.Addr) string {
	why := ""
	for _, a := range addrs {
		f, _ := p.family(a)
		if p.Invalid != "" || f != nil && f.Subnet.Contains(a) {
			return ""
		}
		if why == "" {
			why = lacks(p, a)
		}
	}
	return why
}

// lacks says why the pool cannot give the address, or "".
func lacks(p Pool, a netip.Addr) string {
	f, family := p.family(a)
	switch {
	case f == nil:
		return "has no " + family
	case !f.Subnet.Contains(a):
		return fmt.Sprintf("has %s, not %s", f.Subnet, a)
	case f.Reserved(a) != "":
		return fmt.Sprintf("reserves %s: it is %s", a, f.Reserved(a))
	}
	return ""
}

// missing lists the pools that are named and do not exist.
func missing(pools []Pool, w attach.Want) []Missing {
	var out []Missing
	for _, item := range w.Pools {
		exists := slices.ContainsFunc(pools, func(p Pool) bool { return p.Name == item })
		if !exists && !attach.IsPattern(item) {
			out = append(out, Missing{Pool: item, Nearest: nearest(item, pools)})
		}
	}
	return out
}

// nearest returns the name that was probably meant, or "": at most a third of
// the letters differ.
func nearest(s string, pools []Pool) string {
	best, least := "", max(2, len(s)/3)+1
	for _, p := range pools {
		if d := distance(s, p.Name); d < least && d < len(s) {
			best, least = p.Name, d
		}
	}
	return best
}

// distance counts the letters to insert, remove or replace.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			up := row[j+1]
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(up+1, row[j]+1, diagonal+cost)
			diagonal = up
		}
	}
	return row[len(b)]
}

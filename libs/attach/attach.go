// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package attach

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// The annotations. PoolsAnnotation is read on pods and on namespaces, the
// others on pods.
const (
	IPsAnnotation   = "weft.dev/ips"
	ClaimAnnotation = "weft.dev/claim"
	PoolsAnnotation = "weft.dev/pools"
)

// Level is where a wish was found. Lower levels come first.
type Level int

// The levels, in the order in which they are looked at.
const (
	LevelIPs Level = iota + 1
	LevelClaim
	LevelPodPools
	LevelNamespacePools
	LevelConfig
	LevelDefault
)

// String names the level as the documentation does.
func (l Level) String() string {
	switch l {
	case LevelIPs:
		return "exact addresses"
	case LevelClaim:
		return "claim"
	case LevelPodPools:
		return "pools of the pod"
	case LevelNamespacePools:
		return "pools of the namespace"
	case LevelConfig:
		return "pools of the configuration"
	case LevelDefault:
		return "default pools"
	}
	return fmt.Sprintf("level %d", int(l))
}

// NIC is the interface at hand.
type NIC struct {
	Name string // in the pod, as in CNI_IFNAME
	// Position among the pod's interfaces, counted from 0; below 0 when it is
	// not known, and then annotations that go by position are refused.
	Position int
}

// Input is everything that may say which address an interface gets.
type Input struct {
	Pod, Namespace map[string]string // their annotations

	// IPs are the addresses that the runtime asks for, with or without a prefix
	// length, and IPsFrom where they stood ("runtimeConfig.ips").
	IPs     []string
	IPsFrom string

	Pools []string // of the plugin's configuration

	NIC NIC
	// NICs are the names of all interfaces of the pod, if they are known: then
	// an annotation that names another one is refused.
	NICs []string
}

// Want is what is wanted on the interface.
type Want struct {
	Level  Level
	Source string // what was written where: "weft.dev/pools of the pod"

	Addrs []netip.Addr // LevelIPs: these, at most one of each family, IPv4 first
	Claim string       // LevelClaim: the IPClaim in the pod's namespace

	// Pools are names and patterns, the preferred one first. For a claim they
	// are what it draws from if it has no pools of its own. Nil means the
	// default pools, and for LevelIPs every pool that has the addresses.
	Pools []string
	// Draw is the level that gave Pools, and PoolsSource its Source: the same as
	// Level and Source unless a claim draws from a lower level; for LevelIPs they
	// are zero.
	Draw        Level
	PoolsSource string

	Passed []Passed // the levels before Draw that did not decide
}

// DrawFrom returns what is wanted from a claim that has pools of its own; source
// says where they are written. They take the place of those of a lower level.
func (w Want) DrawFrom(source string, pools []string) Want {
	w.Draw, w.PoolsSource, w.Pools = LevelClaim, source, slices.Clone(pools)
	return w
}

// Passed says why a level did not decide.
type Passed struct {
	Level  Level
	Source string
	Why    string // "is not set"
}

// String is "weft.dev/ips of the pod is not set".
func (p Passed) String() string { return p.Source + " " + p.Why }

// Wanted says what is wanted on the interface at hand, or returns an
// *InvalidError with everything that could not be read.
func Wanted(in Input) (Want, error) {
	r := reader{in: in}
	r.nearMisses()
	ips := r.annotation(in.Pod, IPsAnnotation, "pod", kindIPs)
	claim := r.annotation(in.Pod, ClaimAnnotation, "pod", kindClaim)
	pools := r.annotation(in.Pod, PoolsAnnotation, "pod", kindPools)
	if err := r.err(); err != nil {
		return Want{}, err
	}
	var w Want
	switch e, ok := r.decide(LevelIPs, ips); {
	case ok:
		w = Want{Level: LevelIPs, Source: ips.source, Addrs: e.addrs()}
	case len(in.IPs) > 0:
		w = Want{Level: LevelIPs, Source: r.ipsFrom(), Addrs: r.capability()}
	default:
		w = r.claimOrPools(claim, pools)
	}
	if err := r.err(); err != nil {
		return Want{}, err
	}
	w.Passed = r.passed
	return w, nil
}

func (r *reader) claimOrPools(claim, pools annotation) Want {
	e, claimed := r.decide(LevelClaim, claim)
	w := r.pools(pools)
	if claimed {
		w.Level, w.Source, w.Claim = LevelClaim, claim.source, e.items[0]
	}
	return w
}

// pools looks at levels 3 to 6.
func (r *reader) pools(pod annotation) Want {
	at := func(l Level, source string, items []string) Want {
		return Want{Level: l, Source: source, Pools: items, Draw: l, PoolsSource: source}
	}
	if e, ok := r.decide(LevelPodPools, pod); ok {
		return at(LevelPodPools, pod.source, e.items)
	}
	ns := r.annotation(r.in.Namespace, PoolsAnnotation, "namespace", kindPools)
	if e, ok := r.decide(LevelNamespacePools, ns); ok {
		return at(LevelNamespacePools, ns.source, e.items)
	}
	const config = "ipam.pools of the configuration"
	if len(r.in.Pools) > 0 {
		e := entry{items: trimmed(r.in.Pools)}
		r.checkItems(config, &e, kindPools)
		return at(LevelConfig, config, e.items)
	}
	r.passed = append(r.passed, Passed{LevelConfig, config, "is not set"})
	return at(LevelDefault, "pools with default: true", nil)
}

// reader collects what it reads and what it cannot.
type reader struct {
	in       Input
	problems []Problem
	passed   []Passed
}

func (r *reader) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	return &InvalidError{Problems: r.problems}
}

func (r *reader) add(where, entry, got, want string) {
	r.problems = append(r.problems, Problem{where, entry, got, want})
}

// annotation is a value that was read.
type annotation struct {
	source  string
	set     bool
	entries []entry
}

func (r *reader) annotation(all map[string]string, key, of string, k kind) annotation {
	a := annotation{source: key + " of the " + of}
	text, ok := all[key]
	if !ok {
		return a
	}
	a.set = true
	before := len(r.problems)
	a.entries = r.parse("annotation "+a.source, text, k)
	if len(r.problems) > before {
		a.entries = nil
	}
	return a
}

// decide returns the entry for the interface at hand, or notes why there is none.
func (r *reader) decide(l Level, a annotation) (entry, bool) {
	pass := func(why string) (entry, bool) {
		r.passed = append(r.passed, Passed{l, a.source, why})
		return entry{}, false
	}
	nic := r.in.NIC
	switch {
	case !a.set:
		return pass("is not set")
	case len(a.entries) == 0: // a problem already
		return entry{}, false
	case a.entries[0].nic != "":
		i := slices.IndexFunc(a.entries, func(e entry) bool { return e.nic == nic.Name })
		if i < 0 {
			var names []string
			for _, e := range a.entries {
				names = append(names, e.nic)
			}
			return pass(fmt.Sprintf("names %s, not %s", strings.Join(names, ", "), nic.Name))
		}
		return a.entries[i], true
	case len(a.entries) == 1:
		return a.entries[0], true
	case nic.Position < 0:
		r.add("annotation "+a.source, "", fmt.Sprintf("has %d entries by position, and nobody knows the position of %s", len(a.entries), nic.Name),
			fmt.Sprintf("name the interfaces, as in %s=%s", nic.Name, a.entries[0].items[0]))
		return entry{}, false
	case nic.Position >= len(a.entries):
		return pass(fmt.Sprintf("has %d entries, and %s is interface number %d", len(a.entries), nic.Name, nic.Position+1))
	}
	return a.entries[nic.Position], true
}

func (r *reader) ipsFrom() string {
	if r.in.IPsFrom == "" {
		return "the CNI ips capability"
	}
	return r.in.IPsFrom
}

// capability reads the addresses that the runtime asks for. CNI lets them carry
// the length of their subnet; which one that is, only the pool knows.
func (r *reader) capability() []netip.Addr {
	e := entry{}
	for _, s := range trimmed(r.in.IPs) {
		if p, err := netip.ParsePrefix(s); err == nil {
			s = p.Addr().Unmap().String()
		}
		e.items = append(e.items, s)
	}
	r.checkItems(r.ipsFrom(), &e, kindIPs)
	return e.addrs()
}

// nearMisses refuses keys that somebody wrote instead of ours: an annotation
// that nobody reads would silently give the pod another address.
func (r *reader) nearMisses() {
	for _, n := range [][2]string{
		{"weft.dev/claims", ClaimAnnotation},
		{"weft.dev/ip", IPsAnnotation},
		{"weft.dev/ippool", PoolsAnnotation},
		{"weft.dev/ippools", PoolsAnnotation},
		{"weft.dev/pool", PoolsAnnotation},
	} {
		if _, ok := r.in.Pod[n[0]]; ok {
			r.add("annotation "+n[0]+" of the pod", "", "is not read by anything", "write "+n[1])
		}
	}
}

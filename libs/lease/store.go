// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"time"

	"github.com/weft-cni/weft/libs/ipset"
)

// Record is what is known of a held address.
type Record struct {
	Pool string `json:"pool"`
	// Rest is how long the address rests after its release. It is settled when
	// the address is claimed, so that a release needs no configuration.
	Rest       time.Duration `json:"rest,omitempty"`
	Holder     Holder        `json:"holder"`
	Attachment Attachment    `json:"attachment"`
	// BootID of the node when the address was taken. No namespace outlives it.
	BootID string `json:"bootID,omitempty"`
}

// Holder is for whom an address is kept.
type Holder struct {
	Kind      string `json:"kind"` // Pod, or Container when no pod is known
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	UID       string `json:"uid,omitempty"`
}

// ID names an interface of a sandbox, as CNI does.
type ID struct {
	Network     string `json:"network"`
	ContainerID string `json:"containerID"`
	IfName      string `json:"ifName"`
}

// Attachment is who uses an address now.
type Attachment struct {
	ID
	NetnsInode   uint64    `json:"netnsInode,omitempty"`
	PodNamespace string    `json:"podNamespace,omitempty"`
	PodName      string    `json:"podName,omitempty"`
	PodUID       string    `json:"podUID,omitempty"`
	Node         string    `json:"node,omitempty"`
	MAC          string    `json:"mac,omitempty"`
	Since        time.Time `json:"since,omitzero"`
}

// String names the attachment for a person.
func (a Attachment) String() string {
	id := a.ContainerID
	if len(id) > 12 {
		id = id[:12]
	}
	if a.PodName != "" {
		return fmt.Sprintf("pod %s/%s (%s, %s)", a.PodNamespace, a.PodName, a.IfName, id)
	}
	return fmt.Sprintf("container %s (%s)", id, a.IfName)
}

// Version identifies one write of one key. It is opaque, and never given twice
// for a key, not even after a release and a new claim.
type Version string

// Entry is a key with what the store knows of it.
type Entry struct {
	Key     Key
	Record  Record // of a resting address: its last holder
	Version Version
	Until   time.Time // not zero: nobody holds the address, it rests until then
}

// Filter selects entries. A zero field matches everything.
type Filter struct {
	Domain, Pool, Node                   string
	Network, ContainerID, IfName, PodUID string
	// OtherBoot selects leases that were made in a boot other than this one.
	OtherBoot string
	Resting   bool // resting addresses too, also those whose rest is over but not yet forgotten
}

// Matches says whether the filter selects e.
func (f Filter) Matches(e Entry) bool {
	a := e.Record.Attachment
	for _, pair := range [...][2]string{
		{f.Domain, e.Key.Domain},
		{f.Pool, e.Record.Pool},
		{f.Node, a.Node},
		{f.Network, a.Network},
		{f.ContainerID, a.ContainerID},
		{f.IfName, a.IfName},
		{f.PodUID, a.PodUID},
	} {
		if pair[0] != "" && pair[0] != pair[1] {
			return false
		}
	}
	if b := e.Record.BootID; f.OtherBoot != "" && (b == "" || b == f.OtherBoot) {
		return false
	}
	return f.Resting || e.Until.IsZero()
}

// What a Store answers, to be tested with errors.Is.
var (
	// ErrTaken refuses a claim: the address is held, or rests.
	ErrTaken = errors.New("the address is taken")
	// ErrStale refuses a swap: the record is no longer the version given.
	ErrStale = errors.New("the record has changed")
	// ErrAbsent answers Get for an address that nobody holds.
	ErrAbsent = errors.New("nobody holds the address")
	// ErrUnknown means that a write may have happened, and may still happen.
	ErrUnknown = errors.New("it is unknown whether the write happened")
)

// Store keeps one record per held address. Every other error of a write means
// that nothing was changed.
type Store interface {
	// Claim creates the record, or returns ErrTaken.
	Claim(ctx context.Context, k Key, r Record) (Version, error)
	// Swap replaces the record of version v, or returns ErrStale.
	Swap(ctx context.Context, k Key, v Version, r Record) (Version, error)
	// Release removes the record of version v; the address then rests for
	// quarantine before it can be claimed. An absent record, or one of another
	// version, is left alone and is no error.
	Release(ctx context.Context, k Key, v Version, quarantine time.Duration) error
	// Get reads the record, or returns ErrAbsent.
	Get(ctx context.Context, k Key) (Record, Version, error)
	// Scan yields what the filter selects, ordered by domain and address; it
	// stops after an error. The store may be changed while it runs; such
	// changes are seen or not.
	Scan(ctx context.Context, f Filter) iter.Seq2[Entry, error]
}

// Transactor is a Store that can do several operations at once, or none.
type Transactor interface {
	// Update runs f alone; what f does through the Store it is given happens if
	// and only if Update returns nil. f must not use the Transactor itself.
	Update(ctx context.Context, f func(Store) error) error
	// View runs f on an unchanging store, for reading only.
	View(ctx context.Context, f func(Store) error) error
}

// Want is what a Chooser is asked for.
type Want struct {
	Pool   string // whose addresses they are; a Chooser may know more about it
	Domain string
	Set    ipset.Set
	// Ring names a durable cursor: the choice goes on where the last one on
	// that ring ended. Without it the first member comes first.
	Ring string
	// Break allows ending the rest that is over soonest when nothing is free.
	Break bool
}

// Chooser is a Store that knows what is free near its data. A choice is no
// claim: the address may be gone by then, and Claim decides.
type Chooser interface {
	// Choose returns a member of the set that is neither held nor resting, or a *DryError.
	Choose(ctx context.Context, w Want) (netip.Addr, error)
}

// Graveyard is a Store that remembers released attachments for a while.
type Graveyard interface {
	Bury(ctx context.Context, t Tombstone) error
	// Buried returns the latest tombstone of the attachment, if there is one.
	Buried(ctx context.Context, id ID) (Tombstone, bool, error)
}

// Tombstone says that an attachment was released.
type Tombstone struct {
	ID
	BootID string
	Began  time.Duration // since boot: when the process that released it began
	Until  time.Time     // when it may be forgotten
}

// Use counts the members of a set.
type Use struct{ Total, Held, Resting uint64 }

// DryError says that a set has no address to give.
type DryError struct{ Use }

// Error implements error.
func (e *DryError) Error() string { return "no address is free: " + e.Use.String() }

// String is "254/254 used", with what rests.
func (u Use) String() string {
	s := fmt.Sprintf("%d/%d used", u.Held, u.Total)
	if u.Resting > 0 {
		s += fmt.Sprintf(", %d resting", u.Resting)
	}
	return s
}

// Pick is the choice of an address from a sorted map of what is taken, in the
// order that every Chooser promises. held says what is known of an address:
// the zero time with true when it is held, the end of its rest otherwise. It
// returns the address whose rest it proposes to end with rest true.
func Pick(w Want, cursor netip.Addr, taken func(netip.Addr) (until time.Time, ok bool), now time.Time) (a netip.Addr, rest bool, err error) {
	dry := &DryError{Use{Total: w.Set.Size()}}
	var soonest netip.Addr
	var soonestUntil time.Time
	visit := func(a netip.Addr) bool {
		until, ok := taken(a)
		switch {
		case !ok, !until.IsZero() && !now.Before(until):
			return true
		case until.IsZero():
			dry.Held++
		default:
			dry.Resting++
			if !soonest.IsValid() || until.Before(soonestUntil) {
				soonest, soonestUntil = a, until
			}
		}
		return false
	}
	if a, ok := walk(w.Set, cursor, visit); ok {
		return a, false, nil
	}
	if w.Break && soonest.IsValid() {
		return soonest, true, nil
	}
	return netip.Addr{}, false, dry
}

// walk visits the members of a set once, beginning after cursor and going
// round, until visit accepts one.
func walk(set ipset.Set, cursor netip.Addr, visit func(netip.Addr) bool) (netip.Addr, bool) {
	first, ok := set.First()
	if !ok {
		return netip.Addr{}, false
	}
	start := first
	if cursor.IsValid() && cursor.Next().IsValid() {
		if a, ok := set.Next(cursor.Next()); ok {
			start = a
		}
	}
	for a := start; ; {
		if visit(a) {
			return a, true
		}
		next, ok := netip.Addr{}, false
		if n := a.Next(); n.IsValid() {
			next, ok = set.Next(n)
		}
		if !ok {
			next = first
		}
		if a = next; a == start {
			return netip.Addr{}, false
		}
	}
}

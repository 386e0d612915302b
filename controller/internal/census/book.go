// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package census

import (
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/weft-cni/weft/libs/ipset"
	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
	"github.com/weft-cni/weft/libs/k8s/poolview"
	"github.com/weft-cni/weft/libs/lease"
)

// State is what an address is doing.
type State int

// The states of a lease.
const (
	Claimed State = iota // a sandbox uses it
	Idle                 // kept for its holder
	Resting              // released
)

// Lease is what is counted of a lease.
type Lease struct {
	Key   lease.Key
	Pool  string // that handed it out
	State State
	Until time.Time // of a resting one
}

// Book counts. Make it with New; it is safe for concurrent use.
type Book struct {
	mu     sync.Mutex
	leases map[lease.Key]Lease
	pools  map[string]*pool
	// of are the leases by the pool that handed them out, known or not.
	of map[string]map[lease.Key]struct{}
}

// pool is a pool that the book was told of.
type pool struct {
	object   *v1alpha1.IPPool
	view     lease.Pool
	invalid  error
	v4, v6   *tally // nil: no such family, or invalid
	overlaps []Overlap
	strays   map[lease.Key]struct{} // handed out by the pool, and no longer among its addresses
}

// Overlap says that another pool of the same domain hands out addresses of this one.
type Overlap struct {
	Pool  string
	First ipset.Range
}

// New returns an empty book.
func New() *Book {
	return &Book{leases: map[lease.Key]Lease{}, pools: map[string]*pool{}, of: map[string]map[lease.Key]struct{}{}}
}

// Put tells the book of a lease, new or changed, and returns the pools whose
// counts it changes.
func (b *Book) Put(l Lease) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	old, known := b.leases[l.Key]
	if known && old == l {
		return nil
	}
	changed := map[string]bool{l.Pool: true}
	if known {
		b.drop(old, changed)
	}
	b.leases[l.Key] = l
	if b.of[l.Pool] == nil {
		b.of[l.Pool] = map[lease.Key]struct{}{}
	}
	b.of[l.Pool][l.Key] = struct{}{}
	if p := b.pools[l.Pool]; p != nil && p.outside(l.Key) {
		p.strays[l.Key] = struct{}{}
	}
	for name, p := range b.pools {
		if t := p.tally(l.Key); t != nil {
			t.add(l)
			changed[name] = true
		}
	}
	return slices.Sorted(maps.Keys(changed))
}

// Remove tells the book that a lease is gone, and returns the pools whose counts
// that changes.
func (b *Book) Remove(k lease.Key) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	old, known := b.leases[k]
	if !known {
		return nil
	}
	changed := map[string]bool{}
	b.drop(old, changed)
	delete(b.leases, k)
	return slices.Sorted(maps.Keys(changed))
}

func (b *Book) drop(l Lease, changed map[string]bool) {
	changed[l.Pool] = true
	delete(b.of[l.Pool], l.Key)
	if len(b.of[l.Pool]) == 0 {
		delete(b.of, l.Pool)
	}
	if p := b.pools[l.Pool]; p != nil {
		delete(p.strays, l.Key)
	}
	for name, p := range b.pools {
		if t := p.tally(l.Key); t != nil {
			t.remove(l)
			changed[name] = true
		}
	}
}

// PutPool tells the book of a pool, new or changed, and returns the pools of
// which something changes. Only other addresses are a reason to count again.
func (b *Book) PutPool(object *v1alpha1.IPPool) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	old := b.pools[object.Name]
	if old != nil && old.object.UID == object.UID && old.object.Generation == object.Generation {
		old.object = object
		return []string{object.Name}
	}
	_, view, err := poolview.Of(object)
	p := &pool{object: object, view: view, invalid: err, strays: map[lease.Key]struct{}{}}
	b.pools[object.Name] = p
	for k := range b.of[object.Name] {
		if p.outside(k) {
			p.strays[k] = struct{}{}
		}
	}
	if old != nil && sameAddresses(old, p) {
		p.v4, p.v6, p.overlaps = old.v4, old.v6, old.overlaps
		return []string{object.Name}
	}
	p.v4, p.v6 = newTally(view.IPv4), newTally(view.IPv6)
	for _, l := range b.leases {
		if t := p.tally(l.Key); t != nil {
			t.add(l)
		}
	}
	return append(b.meet(object.Name), object.Name)
}

// RemovePool tells the book that a pool is gone, and returns the pools that
// overlapped it.
func (b *Book) RemovePool(name string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.pools, name)
	return b.meet(name)
}

// meet finds anew what overlaps a pool, and returns the other pools for which
// that changes something.
func (b *Book) meet(name string) []string {
	var changed []string
	p := b.pools[name]
	if p != nil {
		p.overlaps = nil
	}
	for other, q := range b.pools {
		if other == name {
			continue
		}
		had := len(q.overlaps)
		q.overlaps = slices.DeleteFunc(q.overlaps, func(o Overlap) bool { return o.Pool == name })
		first, meets := q.meets(p)
		if meets {
			p.overlaps = insert(p.overlaps, Overlap{other, first})
			q.overlaps = insert(q.overlaps, Overlap{name, first})
		}
		if meets || len(q.overlaps) != had {
			changed = append(changed, other)
		}
	}
	slices.Sort(changed)
	return changed
}

func insert(all []Overlap, o Overlap) []Overlap {
	i, _ := slices.BinarySearchFunc(all, o.Pool, func(x Overlap, name string) int {
		if x.Pool < name {
			return -1
		}
		return 1
	})
	return slices.Insert(all, i, o)
}

// meets returns the first range that two pools of one domain both hand out.
func (p *pool) meets(q *pool) (ipset.Range, bool) {
	if q == nil || p.view.Domain != q.view.Domain {
		return ipset.Range{}, false
	}
	for _, pair := range [][2]*tally{{p.v4, q.v4}, {p.v6, q.v6}} {
		if pair[0] == nil || pair[1] == nil {
			continue
		}
		if r, ok := pair[0].set.Overlap(pair[1].set); ok {
			return r, true
		}
	}
	return ipset.Range{}, false
}

// tally returns the counts that a key belongs to, or nil.
func (p *pool) tally(k lease.Key) *tally {
	if k.Domain != p.view.Domain {
		return nil
	}
	t := p.v6
	if k.Addr.Is4() {
		t = p.v4
	}
	if t == nil || !t.set.Contains(k.Addr) {
		return nil
	}
	return t
}

func sameAddresses(p, q *pool) bool {
	same := func(a, b *lease.Family) bool {
		if a == nil || b == nil {
			return a == b
		}
		return a.Set.String() == b.Set.String()
	}
	return p.view.Domain == q.view.Domain && same(p.view.IPv4, q.view.IPv4) && same(p.view.IPv6, q.view.IPv6)
}

// Leases is how many leases the pool of that name handed out, resting ones too.
func (b *Book) Leases(pool string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.of[pool])
}

// outside says whether the pool does not have the address, not even for those
// who ask for it by name.
func (p *pool) outside(k lease.Key) bool {
	if p.invalid != nil {
		return false // nobody knows what it has
	}
	f := p.view.IPv6
	if k.Addr.Is4() {
		f = p.view.IPv4
	}
	return k.Domain != p.view.Domain || f == nil || !f.Exact.Contains(k.Addr)
}

// first returns the n lowest addresses of some keys.
func first(keys map[lease.Key]struct{}, n int) (out []netip.Addr) {
	for k := range keys {
		i, _ := slices.BinarySearchFunc(out, k.Addr, netip.Addr.Compare)
		if i < n {
			out = slices.Insert(out, i, k.Addr)
			out = out[:min(n, len(out))]
		}
	}
	return out
}

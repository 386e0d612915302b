// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package boltstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"iter"
	"net/netip"
	"time"

	"go.etcd.io/bbolt"

	"github.com/weft-cni/weft/libs/lease"
)

const (
	format = "weft leases 1"

	bucketMeta       = "meta"
	bucketLeases     = "leases"
	bucketContainers = "containers"
	bucketPods       = "pods"
	bucketRests      = "rests"
	bucketCursors    = "cursors"
	bucketGraves     = "graves"
	bucketForget     = "forget"

	stateHeld    = 'h'
	stateResting = 'r'

	// header is state, version and until, in front of the record.
	header = 1 + 8 + 8

	// forgetAtOnce bounds what one transaction forgets of graves and rests that
	// are over. It is more than one transaction adds, so neither ever piles up.
	forgetAtOnce = 4
)

// buckets are all of them.
var buckets = [...]string{ //nolint:gochecknoglobals // A constant that Go cannot write as one.
	bucketMeta, bucketLeases, bucketContainers, bucketPods, bucketRests, bucketCursors, bucketGraves, bucketForget,
}

// tx is the store inside one bbolt transaction.
type tx struct {
	tx    *bbolt.Tx
	now   time.Time
	dirty bool
	// failed is the first write that bbolt refused; it spoils the transaction.
	failed error
}

var (
	_ lease.Store     = (*tx)(nil)
	_ lease.Chooser   = (*tx)(nil)
	_ lease.Graveyard = (*tx)(nil)
)

// row is a lease as it is stored.
type row struct {
	held    bool
	version uint64
	until   time.Time
	record  []byte
}

func (t *tx) bucket(name string) *bbolt.Bucket { return t.tx.Bucket([]byte(name)) }

func (t *tx) put(bucket string, key, value []byte) {
	t.dirty = true
	if err := t.bucket(bucket).Put(key, value); err != nil && t.failed == nil {
		t.failed = fmt.Errorf("write to table %s: %w", bucket, err)
	}
}

func (t *tx) del(bucket string, key []byte) {
	t.dirty = true
	if err := t.bucket(bucket).Delete(key); err != nil && t.failed == nil {
		t.failed = fmt.Errorf("delete from table %s: %w", bucket, err)
	}
}

// Claim implements lease.Store.
func (t *tx) Claim(ctx context.Context, k lease.Key, r lease.Record) (lease.Version, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	key := leaseKey(k)
	old, ok, err := t.row(key)
	switch {
	case err != nil:
		return "", err
	case ok && (old.held || t.now.Before(old.until)):
		return "", lease.ErrTaken
	case ok:
		t.del(bucketRests, restKey(old.until, key))
	}
	return t.hold(key, r)
}

// Swap implements lease.Store.
func (t *tx) Swap(ctx context.Context, k lease.Key, v lease.Version, r lease.Record) (lease.Version, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	key := leaseKey(k)
	old, ok, err := t.row(key)
	if err != nil {
		return "", err
	}
	if !ok || !old.held || version(old.version) != v {
		return "", lease.ErrStale
	}
	if err := t.unindex(key, old); err != nil {
		return "", err
	}
	return t.hold(key, r)
}

// Release implements lease.Store.
func (t *tx) Release(ctx context.Context, k lease.Key, v lease.Version, quarantine time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	key := leaseKey(k)
	old, ok, err := t.row(key)
	if err != nil || !ok || !old.held || version(old.version) != v {
		return err
	}
	if err := t.unindex(key, old); err != nil {
		return err
	}
	if quarantine <= 0 {
		t.del(bucketLeases, key)
		return t.failed
	}
	old.held, old.until = false, t.now.Add(quarantine)
	t.put(bucketLeases, key, old.encode())
	t.put(bucketRests, restKey(old.until, key), nil)
	return t.failed
}

// Get implements lease.Store.
func (t *tx) Get(ctx context.Context, k lease.Key) (lease.Record, lease.Version, error) {
	if err := ctx.Err(); err != nil {
		return lease.Record{}, "", err
	}
	key := leaseKey(k)
	old, ok, err := t.row(key)
	if err != nil {
		return lease.Record{}, "", err
	}
	if !ok || !old.held {
		return lease.Record{}, "", lease.ErrAbsent
	}
	r, err := old.decode(key)
	return r, version(old.version), err
}

// Scan implements lease.Store. A filter that names an attachment uses an index.
func (t *tx) Scan(ctx context.Context, f lease.Filter) iter.Seq2[lease.Entry, error] {
	return func(yield func(lease.Entry, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(lease.Entry{}, err)
			return
		}
		for key := range t.keys(f) {
			// A record that names this boot is of this boot: no need to decode it.
			if f.OtherBoot != "" && bytes.Contains(t.bucket(bucketLeases).Get(key), []byte(f.OtherBoot)) {
				continue
			}
			e, ok, err := t.entry(key)
			if err != nil {
				yield(lease.Entry{}, err)
				return
			}
			if ok && f.Matches(e) && !yield(e, nil) {
				return
			}
		}
	}
}

// Choose implements lease.Chooser.
func (t *tx) Choose(ctx context.Context, w lease.Want) (netip.Addr, error) {
	if err := ctx.Err(); err != nil {
		return netip.Addr{}, err
	}
	var cursor netip.Addr
	if w.Ring != "" {
		cursor, _ = netip.AddrFromSlice(t.bucket(bucketCursors).Get([]byte(w.Ring)))
	}
	leases := t.bucket(bucketLeases)
	a, rest, err := lease.Pick(w, cursor, func(a netip.Addr) (time.Time, bool) {
		v := leases.Get(leaseKey(lease.NewKey(w.Domain, a)))
		if len(v) >= header && v[0] == stateResting {
			return fromNanos(binary.BigEndian.Uint64(v[9:])), true
		}
		return time.Time{}, v != nil
	}, t.now)
	if err != nil {
		return netip.Addr{}, err
	}
	if rest {
		if err := t.endRest(leaseKey(lease.NewKey(w.Domain, a))); err != nil {
			return netip.Addr{}, err
		}
	}
	if w.Ring != "" {
		t.put(bucketCursors, []byte(w.Ring), a.AsSlice())
	}
	return a, t.failed
}

// Bury implements lease.Graveyard.
func (t *tx) Bury(ctx context.Context, g lease.Tombstone) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	key := idKey(g.ID)
	if old := t.bucket(bucketGraves).Get(key); len(old) >= 8 {
		t.del(bucketForget, append(bytes.Clone(old[:8]), key...))
	}
	value := binary.BigEndian.AppendUint64(nil, nanos(g.Until))
	value = binary.BigEndian.AppendUint64(value, uint64(g.Began)) //nolint:gosec // Read back by the same conversion.
	t.put(bucketGraves, key, append(value, g.BootID...))
	t.put(bucketForget, restKey(g.Until, key), nil)
	return t.failed
}

// Buried implements lease.Graveyard.
func (t *tx) Buried(ctx context.Context, id lease.ID) (lease.Tombstone, bool, error) {
	if err := ctx.Err(); err != nil {
		return lease.Tombstone{}, false, err
	}
	v := t.bucket(bucketGraves).Get(idKey(id))
	if len(v) < 16 {
		return lease.Tombstone{}, false, nil
	}
	g := lease.Tombstone{
		ID:     id,
		Until:  fromNanos(binary.BigEndian.Uint64(v)),
		Began:  time.Duration(binary.BigEndian.Uint64(v[8:])), //nolint:gosec // Written by the same conversion.
		BootID: string(v[16:]),
	}
	return g, !t.now.After(g.Until), nil
}

// keys yields the lease keys that can match the filter, in order.
func (t *tx) keys(f lease.Filter) iter.Seq[[]byte] {
	bucket, prefix := bucketLeases, []byte(nil)
	switch {
	case f.Resting:
	case f.Network != "" && f.ContainerID != "" && f.IfName != "":
		bucket, prefix = bucketContainers, indexKey(f.Network, f.ContainerID, f.IfName)
	case f.Network != "" && f.PodUID != "" && f.IfName != "":
		bucket, prefix = bucketPods, indexKey(f.Network, f.PodUID, f.IfName)
	}
	if bucket == bucketLeases && f.Domain != "" {
		prefix = append([]byte(f.Domain), 0)
	}
	skip := 0
	if bucket != bucketLeases {
		skip = len(prefix)
	}
	return func(yield func([]byte) bool) {
		c := t.bucket(bucket).Cursor()
		for k, _ := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, _ = c.Next() {
			if !yield(k[skip:]) {
				return
			}
		}
	}
}

func (t *tx) row(key []byte) (row, bool, error) {
	v := t.bucket(bucketLeases).Get(key)
	if v == nil {
		return row{}, false, nil
	}
	if len(v) < header || v[0] != stateHeld && v[0] != stateResting {
		return row{}, false, fmt.Errorf("%w: the lease %q is not readable", ErrDamaged, key)
	}
	r := row{held: v[0] == stateHeld, version: binary.BigEndian.Uint64(v[1:]), record: bytes.Clone(v[header:])}
	if !r.held {
		r.until = fromNanos(binary.BigEndian.Uint64(v[9:]))
	}
	return r, true, nil
}

func (t *tx) entry(key []byte) (lease.Entry, bool, error) {
	k, err := parseLeaseKey(key)
	if err != nil {
		return lease.Entry{}, false, err
	}
	old, ok, err := t.row(key)
	if err != nil || !ok {
		return lease.Entry{}, false, err
	}
	r, err := old.decode(key)
	return lease.Entry{Key: k, Record: r, Version: version(old.version), Until: old.until}, true, err
}

// hold writes a held lease and its index entries.
func (t *tx) hold(key []byte, r lease.Record) (lease.Version, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("encode lease: %w", err)
	}
	seq, err := t.bucket(bucketLeases).NextSequence()
	if err != nil {
		return "", fmt.Errorf("number lease: %w", err)
	}
	t.put(bucketLeases, key, row{held: true, version: seq, record: text}.encode())
	for bucket, prefix := range indexes(r.Attachment) {
		t.put(bucket, append(prefix, key...), nil)
	}
	return version(seq), t.failed
}

func (t *tx) unindex(key []byte, old row) error {
	r, err := old.decode(key)
	if err != nil {
		return err
	}
	for bucket, prefix := range indexes(r.Attachment) {
		t.del(bucket, append(prefix, key...))
	}
	return t.failed
}

func (t *tx) endRest(key []byte) error {
	old, ok, err := t.row(key)
	if err != nil || !ok || old.held {
		return err
	}
	t.del(bucketRests, restKey(old.until, key))
	t.del(bucketLeases, key)
	return t.failed
}

// forget drops some of what is over.
func (t *tx) forget() {
	for _, key := range t.over(bucketRests) {
		t.del(bucketRests, key)
		if old, ok, err := t.row(key[8:]); err == nil && ok && !old.held && !t.now.Before(old.until) {
			t.del(bucketLeases, key[8:])
		}
	}
	for _, key := range t.over(bucketForget) {
		t.del(bucketForget, key)
		t.del(bucketGraves, key[8:])
	}
}

// over returns the first keys of a bucket whose time has come.
func (t *tx) over(bucket string) (out [][]byte) {
	c := t.bucket(bucket).Cursor()
	now := nanos(t.now)
	for k, _ := c.First(); len(k) > 8 && binary.BigEndian.Uint64(k) < now && len(out) < forgetAtOnce; k, _ = c.Next() {
		out = append(out, bytes.Clone(k))
	}
	return out
}

func (r row) encode() []byte {
	out := make([]byte, 0, header+len(r.record))
	state := byte(stateResting)
	if r.held {
		state = stateHeld
	}
	out = binary.BigEndian.AppendUint64(append(out, state), r.version)
	out = binary.BigEndian.AppendUint64(out, nanos(r.until))
	return append(out, r.record...)
}

func (r row) decode(key []byte) (out lease.Record, err error) {
	if err := json.Unmarshal(r.record, &out); err != nil {
		return out, fmt.Errorf("%w: the lease %q is not readable: %w", ErrDamaged, key, err)
	}
	return out, nil
}

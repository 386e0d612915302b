// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package boltstore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/weft-cni/weft/libs/lease"
)

func leaseKey(k lease.Key) []byte {
	family := byte(6)
	if k.Addr.Is4() {
		family = 4
	}
	return append(append([]byte(k.Domain), 0, family), k.Addr.AsSlice()...)
}

func parseLeaseKey(key []byte) (lease.Key, error) {
	domain, rest, ok := bytes.Cut(key, []byte{0})
	if ok && len(rest) > 0 {
		if a, ok := netip.AddrFromSlice(rest[1:]); ok && (rest[0] == 4) == a.Is4() {
			return lease.Key{Domain: string(domain), Addr: a}, nil
		}
	}
	return lease.Key{}, fmt.Errorf("%w: %q is not the key of a lease", ErrDamaged, key)
}

// indexes yields where an attachment is looked up, and as what.
func indexes(a lease.Attachment) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		if yield(bucketContainers, indexKey(a.Network, a.ContainerID, a.IfName)) && a.PodUID != "" {
			yield(bucketPods, indexKey(a.Network, a.PodUID, a.IfName))
		}
	}
}

func indexKey(parts ...string) []byte { return []byte(strings.Join(parts, "\x00") + "\x00") }

func idKey(id lease.ID) []byte { return indexKey(id.Network, id.ContainerID, id.IfName) }

func restKey(until time.Time, key []byte) []byte {
	return append(binary.BigEndian.AppendUint64(nil, nanos(until)), key...)
}

func version(n uint64) lease.Version { return lease.Version(strconv.FormatUint(n, 10)) }

func nanos(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(t.UnixNano())
}

func fromNanos(n uint64) time.Time { return time.Unix(0, int64(n)).UTC() } //nolint:gosec // Before 2262.

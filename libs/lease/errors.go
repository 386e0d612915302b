// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// ErrReleased refuses an ADD that began before the release of the same
// attachment: whoever asked has given up, and nobody would free the address.
var ErrReleased = errors.New("the attachment was released after this request began")

// PoolState says why a pool gave nothing.
type PoolState struct {
	Pool, Family string
	Use          Use
	Suspended    bool
}

// String is "pool blue IPv4 254/254 used".
func (s PoolState) String() string {
	if s.Suspended {
		return fmt.Sprintf("pool %s is suspended", s.Pool)
	}
	return fmt.Sprintf("pool %s %s %s", s.Pool, s.Family, s.Use)
}

// ExhaustedError says that no candidate pool has an address to give.
type ExhaustedError struct{ Pools []PoolState }

// Error implements error.
func (e *ExhaustedError) Error() string {
	if len(e.Pools) == 0 {
		return "no free address: there is no pool to choose from"
	}
	states := make([]string, len(e.Pools))
	for i, p := range e.Pools {
		states[i] = p.String()
	}
	return "no free address: " + strings.Join(states, "; ")
}

// TakenError says that an address asked for is somebody else's.
type TakenError struct {
	Key    Key
	Holder *Record // nil: nobody's, it rests
}

// Error implements error.
func (e *TakenError) Error() string {
	if e.Holder == nil {
		return fmt.Sprintf("address %s still rests after its last use", e.Key.Addr)
	}
	return fmt.Sprintf("address %s is held by %s of network %s", e.Key.Addr, e.Holder.Attachment, e.Holder.Attachment.Network)
}

// RefusedError says that an address asked for cannot be given to anybody.
type RefusedError struct {
	Addr netip.Addr
	Why  string
}

// Error implements error.
func (e *RefusedError) Error() string { return fmt.Sprintf("address %s %s", e.Addr, e.Why) }

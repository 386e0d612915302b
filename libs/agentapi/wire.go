// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package agentapi

import (
	"encoding/json"
	"net/netip"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/weft-cni/weft/libs/errcode"
)

const (
	// Version is the newest version of the protocol that this package speaks.
	Version = 1
	// DefaultSocket is where an agent listens unless it is told otherwise.
	DefaultSocket = "/run/weft/agent.sock"
)

// The verbs.
const (
	verbAllocate = "allocate"
	verbRelease  = "release"
	verbCheck    = "check"
	verbGC       = "gc"
	verbStatus   = "status"
)

// Request is the frame from the client.
type Request struct {
	Version int    `json:"version"`
	Verb    string `json:"verb"`
	// Timeout is how long the client is going to wait.
	Timeout time.Duration   `json:"timeout,omitempty"`
	Body    json.RawMessage `json:"body"`
}

// Response is the frame from the server: Error or Body.
type Response struct {
	Version int             `json:"version"`
	Error   *Error          `json:"error,omitempty"`
	Body    json.RawMessage `json:"body,omitempty"`
}

// Error is an error of package errcode on its way.
type Error struct {
	Code    uint   `json:"code"`
	Msg     string `json:"msg"`
	Details string `json:"details,omitempty"`
}

func wireError(err error) *Error {
	e := errcode.Of(err)
	return &Error{Code: e.Code, Msg: e.Msg, Details: e.Details}
}

func (e *Error) unwire() *types.Error { return errcode.New(errcode.Code(e.Code), e.Msg, e.Details) }

// ID names an interface of a sandbox, as CNI does.
type ID struct {
	Network     string `json:"network"`
	ContainerID string `json:"containerID"`
	IfName      string `json:"ifName"`
}

// Pod is what the runtime said of the pod; empty when it said nothing.
type Pod struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	UID       string `json:"uid,omitempty"`
}

// Allocate asks for the addresses of an attachment: those that it has, or new
// ones.
type Allocate struct {
	ID
	Pod Pod `json:"pod,omitzero"`
	// NetnsInode identifies the sandbox's network namespace, 0 if that is unknown.
	NetnsInode uint64 `json:"netnsInode,omitempty"`
	// Began is when the process was forked for which this is asked, since boot.
	Began time.Duration `json:"began,omitempty"`
	// Pools are the names and patterns of the plugin's configuration.
	Pools []string `json:"pools,omitempty"`
	// IPs are the addresses that the runtime asks for, and IPsFrom where they stood.
	IPs     []string `json:"ips,omitempty"`
	IPsFrom string   `json:"ipsFrom,omitempty"`
}

// Allocation is what an attachment has.
type Allocation struct {
	Pool   string    `json:"pool"`
	IPs    []Address `json:"ips"` // IPv4 first
	Routes []Route   `json:"routes,omitempty"`
}

// Address is one address with the length of its subnet.
type Address struct {
	Address netip.Prefix `json:"address"`
	Gateway netip.Addr   `json:"gateway,omitzero"`
}

// Route goes with an address.
type Route struct {
	Dst netip.Prefix `json:"dst"`
	Via netip.Addr   `json:"via,omitzero"`
}

// Release says that an attachment is gone.
type Release struct {
	ID
	Began time.Duration `json:"began,omitempty"`
}

// Check asks what an attachment holds.
type Check struct{ ID }

// Held is what an attachment holds.
type Held struct {
	Addrs []netip.Addr `json:"addrs"`
}

// GC says which attachments of a network are left.
type GC struct {
	Network string `json:"network"`
	Valid   []ID   `json:"valid"` // their Network is not read
}

// Status asks whether an Allocate could work.
type Status struct {
	Pools []string `json:"pools,omitempty"`
	// OnExhaustion makes it matter whether one of the pools has a free address.
	OnExhaustion bool `json:"onExhaustion,omitempty"`
}

// none is the body of an answer that says nothing.
type none struct{}

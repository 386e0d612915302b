// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package agentapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"
)

// Client asks the agent. Every call is a connection of its own, and waits as
// long as its context allows.
type Client struct {
	Socket string // "" is DefaultSocket

	version int // to speak instead of Version, for tests
}

// UnreachableError says that the agent gave no answer.
type UnreachableError struct {
	Socket string
	Sent   bool // the agent may have heard the request, and may yet do it
	Err    error
}

// Error implements error.
func (e *UnreachableError) Error() string {
	return fmt.Sprintf("no answer from the node agent on %s: %v", e.Socket, e.Err)
}

// Unwrap returns what was in the way.
func (e *UnreachableError) Unwrap() error { return e.Err }

// Allocate returns the addresses of an attachment.
func (c Client) Allocate(ctx context.Context, in Allocate) (Allocation, error) {
	return call[Allocation](ctx, c, verbAllocate, in)
}

// Release says that an attachment is gone.
func (c Client) Release(ctx context.Context, in Release) error {
	_, err := call[none](ctx, c, verbRelease, in)
	return err
}

// Check returns what an attachment holds.
func (c Client) Check(ctx context.Context, in Check) (Held, error) {
	return call[Held](ctx, c, verbCheck, in)
}

// GC frees what of a network is not in the list.
func (c Client) GC(ctx context.Context, in GC) error {
	_, err := call[none](ctx, c, verbGC, in)
	return err
}

// Status says whether an Allocate could work.
func (c Client) Status(ctx context.Context, in Status) error {
	_, err := call[none](ctx, c, verbStatus, in)
	return err
}

// call sends a request, once more in the version before when the agent is older.
func call[Out, In any](ctx context.Context, c Client, verb string, in In) (Out, error) {
	var out Out
	if c.Socket == "" {
		c.Socket = DefaultSocket
	}
	if c.version == 0 {
		c.version = Version
	}
	body, err := json.Marshal(in)
	if err != nil {
		return out, fmt.Errorf("encode the %s request: %w", verb, err)
	}
	for v := c.version; ; v-- {
		res, err := c.exchange(ctx, Request{Version: v, Verb: verb, Body: body})
		if err != nil {
			return out, err
		}
		older := res.Version == v-1 && res.Version > 0 && v == c.version
		if res.Error != nil && older {
			continue
		}
		if res.Error != nil {
			return out, res.Error.unwire()
		}
		if err := json.Unmarshal(res.Body, &out); err != nil {
			return out, &UnreachableError{Socket: c.Socket, Sent: true, Err: fmt.Errorf("decode the answer: %w", err)}
		}
		return out, nil
	}
}

func (c Client) exchange(ctx context.Context, req Request) (res Response, err error) {
	sent := false
	defer func() {
		if err != nil {
			if cause := ctx.Err(); cause != nil && !errors.Is(err, cause) {
				err = fmt.Errorf("%w: %w", cause, err)
			}
			err = &UnreachableError{Socket: c.Socket, Sent: sent, Err: err}
		}
	}()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.Socket)
	if err != nil {
		return Response{}, err
	}
	defer func() { _ = conn.Close() }()
	if end, ok := ctx.Deadline(); ok {
		req.Timeout = time.Until(end)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	sent = true
	if err := writeFrame(conn, req); err != nil {
		return Response{}, err
	}
	return res, readFrame(conn, &res)
}

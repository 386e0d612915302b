// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package agentapi_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-cni/weft/libs/agentapi"
	"github.com/weft-cni/weft/libs/agentapi/agentapitest"
	"github.com/weft-cni/weft/libs/errcode"
)

func id() agentapi.ID { return agentapi.ID{Network: "lan", ContainerID: "c", IfName: "eth0"} }

// TestVerbs sends everything that a request can hold there and back.
func TestVerbs(t *testing.T) {
	t.Parallel()
	given := agentapi.Allocation{
		Pool: "blue",
		IPs: []agentapi.Address{
			{Address: netip.MustParsePrefix("192.0.2.7/24"), Gateway: netip.MustParseAddr("192.0.2.1")},
			{Address: netip.MustParsePrefix("2001:db8::7/64")},
		},
		Routes: []agentapi.Route{{Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("192.0.2.1")}, {Dst: netip.MustParsePrefix("198.51.100.0/24")}},
	}
	held := agentapi.Held{Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.7")}}
	fake := &agentapitest.Fake{
		OnAllocate: func(context.Context, agentapi.Allocate) (agentapi.Allocation, error) { return given, nil },
		OnCheck:    func(context.Context, agentapi.Check) (agentapi.Held, error) { return held, nil },
	}
	socket, _ := agentapitest.Start(t, fake)
	c := agentapi.Client{Socket: socket}
	asked := []any{
		agentapi.Allocate{
			ID: id(), Pod: agentapi.Pod{Namespace: "shop", Name: "web", UID: "u"}, NetnsInode: 4026532000, Began: 90 * time.Second,
			Pools: []string{"blue", "g*"}, IPs: []string{"192.0.2.7/24"}, IPsFrom: "runtimeConfig.ips",
		},
		agentapi.Check{ID: id()},
		agentapi.Release{ID: id(), Began: time.Minute},
		agentapi.GC{Network: "lan", Valid: []agentapi.ID{{ContainerID: "d", IfName: "eth0"}}},
		agentapi.Status{Pools: []string{"blue"}, OnExhaustion: true},
	}
	got, err := c.Allocate(t.Context(), asked[0].(agentapi.Allocate))
	if err != nil || cmp.Diff(given, got, cmp.Comparer(same[netip.Addr]), cmp.Comparer(same[netip.Prefix])) != "" {
		t.Errorf("Allocate: %+v, %v", got, err)
	}
	has, err := c.Check(t.Context(), asked[1].(agentapi.Check))
	if err != nil || cmp.Diff(held, has, cmp.Comparer(same[netip.Addr])) != "" {
		t.Errorf("Check: %+v, %v", has, err)
	}
	if err := errors.Join(c.Release(t.Context(), asked[2].(agentapi.Release)), c.GC(t.Context(), asked[3].(agentapi.GC)), c.Status(t.Context(), asked[4].(agentapi.Status))); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff(asked, fake.Asked()); d != "" {
		t.Errorf("what arrived (-sent +arrived):\n%s", d)
	}
}

func same[T comparable](a, b T) bool { return a == b }

func TestErrorsTravel(t *testing.T) {
	t.Parallel()
	socket, _ := agentapitest.Start(t, &agentapitest.Fake{
		OnAllocate: func(context.Context, agentapi.Allocate) (agentapi.Allocation, error) {
			return agentapi.Allocation{}, errcode.New(errcode.PoolExhausted, "no free address: pool blue IPv4 5/5 used", "blue is full")
		},
		OnRelease: func(context.Context, agentapi.Release) error { panic("ouch") },
		OnGC:      func(context.Context, agentapi.GC) error { return errors.New("plain") },
		OnStatus:  func(context.Context, agentapi.Status) error { return context.DeadlineExceeded },
	})
	c := agentapi.Client{Socket: socket}
	_, err := c.Allocate(t.Context(), agentapi.Allocate{ID: id()})
	if e := errcode.Of(err); e.Code != 100 || e.Msg != "no free address: pool blue IPv4 5/5 used" || e.Details != "blue is full" {
		t.Errorf("Allocate: %+v", e)
	}
	if e := errcode.Of(c.Release(t.Context(), agentapi.Release{})); e.Code != 999 || !strings.Contains(e.Msg, "ouch") {
		t.Errorf("a panic: %+v", e)
	}
	if e := errcode.Of(c.GC(t.Context(), agentapi.GC{})); e.Code != 999 || e.Msg != "plain" {
		t.Errorf("an error without a number: %+v", e)
	}
	if e := errcode.Of(c.Status(t.Context(), agentapi.Status{})); e.Code != 11 {
		t.Errorf("out of time: %+v", e)
	}
}

// TestNobodyThere says whether the request may have been heard.
func TestNobodyThere(t *testing.T) {
	t.Parallel()
	socket, stop := agentapitest.Start(t, &agentapitest.Fake{})
	stop()
	mute := agentapitest.Socket(t)
	l, err := net.Listen("unix", mute) //nolint:noctx // a test's
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.ReadFull(conn, make([]byte, 4))
			_ = conn.Close()
		}
	}()
	for _, c := range []struct {
		name, socket string
		sent         bool
	}{
		{"no socket", agentapitest.Socket(t), false},
		{"nobody listens", socket, false},
		{"the agent dies", mute, true},
	} {
		err := agentapi.Client{Socket: c.socket}.Release(t.Context(), agentapi.Release{})
		var u *agentapi.UnreachableError
		if !errors.As(err, &u) || u.Sent != c.sent || u.Socket != c.socket {
			t.Errorf("%s: %#v", c.name, err)
		}
	}
}

// TestTheDeadlineTravels hangs the agent: the client gives up, and what the
// agent does for it ends too.
func TestTheDeadlineTravels(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 2)
	limit := make(chan time.Duration, 2)
	socket, _ := agentapitest.Start(t, &agentapitest.Fake{OnRelease: func(ctx context.Context, _ agentapi.Release) error {
		end, _ := ctx.Deadline()
		limit <- time.Until(end)
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	}})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := agentapi.Client{Socket: socket}.Release(ctx, agentapi.Release{})
	var u *agentapi.UnreachableError
	if !errors.As(err, &u) || !u.Sent || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if err := <-ended; err == nil {
		t.Error("the agent's context ended without a reason")
	}
	if d := <-limit; d > 100*time.Millisecond {
		t.Errorf("the agent had %v", d)
	}
	// Without a deadline, hanging up is what ends it.
	ctx, hangUp := context.WithCancel(t.Context())
	go func() { <-limit; hangUp() }()
	if err := (agentapi.Client{Socket: socket}).Release(ctx, agentapi.Release{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the agent's context ended with %v", err)
	}
}

// TestRubbish sends what is no request; the agent goes on.
func TestRubbish(t *testing.T) {
	t.Parallel()
	socket, _ := agentapitest.Start(t, &agentapitest.Fake{})
	for _, body := range []string{"", "{", `{"version":1,"verb":"dance","body":{}}`, `{"version":1,"verb":"gc","body":7}`, `{"version":0,"verb":"gc","body":{}}`} {
		conn, err := net.Dial("unix", socket) //nolint:noctx // a test's
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...))
		answer, err := io.ReadAll(conn)
		if err != nil || !strings.Contains(string(answer), `"code":`) || len(answer) < 8 {
			t.Errorf("%q was answered %q, %v", body, answer, err)
		}
		_ = conn.Close()
	}
	if err := (agentapi.Client{Socket: socket}).Status(t.Context(), agentapi.Status{}); err != nil {
		t.Error(err)
	}
}

// TestTheSocketChangesHands starts a second agent on the socket of the first.
func TestTheSocketChangesHands(t *testing.T) {
	t.Parallel()
	first, second := &agentapitest.Fake{}, &agentapitest.Fake{}
	socket, stop := agentapitest.Start(t, first)
	agentapitest.StartAt(t, socket, second)
	stop()
	if err := (agentapi.Client{Socket: socket}).Status(t.Context(), agentapi.Status{}); err != nil {
		t.Error(err)
	}
	if len(first.Asked()) != 0 || len(second.Asked()) != 1 {
		t.Errorf("asked were %v and %v", first.Asked(), second.Asked())
	}
}

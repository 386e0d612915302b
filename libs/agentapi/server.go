// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package agentapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/weft-cni/weft/libs/errcode"
)

// Handler does what is asked. Its errors get their numbers from package errcode.
type Handler interface {
	Allocate(ctx context.Context, in Allocate) (Allocation, error)
	Release(ctx context.Context, in Release) error
	Check(ctx context.Context, in Check) (Held, error)
	GC(ctx context.Context, in GC) error
	Status(ctx context.Context, in Status) error
}

const (
	requestLimit = 2 * time.Minute  // for the whole of one request
	frameLimit   = 10 * time.Second // for a frame to come or go
	atOnce       = 256              // requests; more wait to be accepted
)

// Server serves a Handler.
type Server struct {
	Handler Handler
	Log     *slog.Logger
	// Grace is how long requests under way may take once Serve is to end.
	Grace time.Duration

	version int // to speak instead of Version, for tests
}

// Listen makes the socket, for root alone. It takes the place of an older one
// in one step, so that there is no moment without a socket, and it stays when
// the listener is closed.
func Listen(ctx context.Context, socket string) (*net.UnixListener, error) {
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil { //nolint:gosec // the folder is for others too; the socket is not.
		return nil, fmt.Errorf("make the socket's folder: %w", err)
	}
	fresh := fmt.Sprintf("%s.%d", socket, os.Getpid())
	_ = os.Remove(fresh) // of an earlier process with our number
	var c net.ListenConfig
	l, err := c.Listen(ctx, "unix", fresh)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	u, ok := l.(*net.UnixListener)
	if !ok {
		return nil, errors.Join(errors.New("listen: no unix socket"), l.Close())
	}
	u.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(fresh, 0o600), os.Rename(fresh, socket)); err != nil {
		return nil, errors.Join(fmt.Errorf("put the socket into its place: %w", err), u.Close())
	}
	return u, nil
}

// Serve answers until ctx ends, and returns when no request is under way any
// more. It closes the listener.
func (s *Server) Serve(ctx context.Context, l *net.UnixListener) error {
	working, finish := context.WithCancel(context.WithoutCancel(ctx))
	defer finish()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	var under sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for {
		slots <- struct{}{}
		conn, err := l.AcceptUnix()
		if err == nil {
			under.Go(func() {
				defer func() { <-slots }()
				s.serve(working, conn)
			})
			continue
		}
		<-slots
		if ctx.Err() == nil && transient(err) {
			s.Log.Warn("accept", slog.Any("err", err))
			continue
		}
		end := time.AfterFunc(s.Grace, finish)
		under.Wait()
		end.Stop()
		if ctx.Err() != nil {
			return nil
		}
		return errors.Join(fmt.Errorf("accept: %w", err), l.Close())
	}
}

func transient(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ECONNABORTED) || errors.Is(err, syscall.EINTR)
}

// serve answers one connection.
func (s *Server) serve(ctx context.Context, conn *net.UnixConn) {
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(frameLimit)) // it fails only on a closed connection
	version := s.version
	if version == 0 {
		version = Version
	}
	res := Response{Version: version}
	var req Request
	err := rootOnly(conn)
	if err == nil {
		if err = readFrame(conn, &req); err != nil {
			err = errcode.Wrap(errcode.Decode, err, "the agent cannot read the request")
		} else if !understands(version, req.Version) {
			err = errcode.Newf(errcode.TryAgain,
				"the agent of this node speaks version %d of its protocol, and was asked in version %d: the upgrade of the node is not finished", version, req.Version)
		}
	}
	if err == nil {
		_ = conn.SetDeadline(time.Time{})
		var out any
		if out, err = s.handle(ctx, conn, req); err == nil {
			res.Body, err = json.Marshal(out)
		}
	}
	if ended := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled); ended && errcode.Of(err).Code == uint(errcode.Internal) {
		err = errcode.Wrap(errcode.TryAgain, err, "the agent did not finish within the time of the call")
	}
	if err != nil {
		res.Error = wireError(err)
	}
	_ = conn.SetDeadline(time.Now().Add(frameLimit))
	if err := writeFrame(conn, res); err != nil {
		s.Log.Info("nobody waits for the answer any more", slog.String("verb", req.Verb), slog.Any("err", err))
	}
}

// understands says whether a server of a version can be asked in another.
func understands(server, client int) bool {
	return client > 0 && (client == server || client == server-1)
}

func (s *Server) handle(ctx context.Context, conn net.Conn, req Request) (out any, err error) {
	limit := requestLimit
	if req.Timeout > 0 {
		limit = min(limit, req.Timeout)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	go func() {
		// A client sends nothing more: whatever ends this read, it has gone.
		_, _ = conn.Read(make([]byte, 1))
		cancel()
	}()
	defer func() {
		if r := recover(); r != nil {
			s.Log.Error("panic", slog.Any("panic", r), slog.String("stack", string(debug.Stack())))
			err = errcode.Newf(errcode.Internal, "the agent hit a bug in %s: %v", req.Verb, r)
		}
	}()
	switch req.Verb {
	case verbAllocate:
		return do(ctx, req, s.Handler.Allocate)
	case verbRelease:
		return do(ctx, req, silent(s.Handler.Release))
	case verbCheck:
		return do(ctx, req, s.Handler.Check)
	case verbGC:
		return do(ctx, req, silent(s.Handler.GC))
	case verbStatus:
		return do(ctx, req, silent(s.Handler.Status))
	}
	return nil, errcode.Newf(errcode.Decode, "the agent does not know the verb %q", req.Verb)
}

func do[In, Out any](ctx context.Context, req Request, f func(context.Context, In) (Out, error)) (any, error) {
	var in In
	if err := json.Unmarshal(req.Body, &in); err != nil {
		return nil, errcode.Wrap(errcode.Decode, err, "the agent cannot read the "+req.Verb+" request")
	}
	return f(ctx, in)
}

func silent[In any](f func(context.Context, In) error) func(context.Context, In) (none, error) {
	return func(ctx context.Context, in In) (none, error) { return none{}, f(ctx, in) }
}

// rootOnly asks the kernel who is at the other end.
func rootOnly(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return errcode.Wrap(errcode.IO, err, "the agent cannot see who asks")
	}
	var who *syscall.Ucred
	var whoErr error
	err = raw.Control(func(fd uintptr) {
		who, whoErr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err := errors.Join(err, whoErr); err != nil {
		return errcode.Wrap(errcode.IO, err, "the agent cannot see who asks")
	}
	if who.Uid != 0 {
		return errcode.Newf(errcode.BadEnvironment, "the agent answers root only, and was asked by user %d", who.Uid)
	}
	return nil
}

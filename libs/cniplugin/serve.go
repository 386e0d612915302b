// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package cniplugin

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	cniversion "github.com/containernetworking/cni/pkg/version"

	"github.com/weft-cni/weft/libs/errcode"
	"github.com/weft-cni/weft/libs/undo"
)

const (
	defaultTimeout = 30 * time.Second
	undoTimeout    = 10 * time.Second // of its own: the call's deadline may be what brought us here
)

// frame is one call under way.
type frame[C any] struct {
	plugin  Plugin[C]
	verb    string
	version string // of the configuration, once known
	out     io.Writer
	log     *slog.Logger
	timeout time.Duration
	undo    undo.Stack
}

// serve lets skel carry the protocol and adds what it lacks.
func (f *frame[C]) serve() *types.Error {
	funcs := skel.CNIFuncs{Add: f.call, Del: f.call, Check: f.call, GC: f.call, Status: f.call}
	// Without an about text skel answers a missing CNI_COMMAND with an error; with one, it would be a success.
	return clearer(skel.PluginMainFuncsWithError(funcs, cniversion.PluginSupports(versions()...), ""))
}

// clearer rewords what skel says before the frame is asked, for a reader who does not know skel.
func clearer(e *types.Error) *types.Error {
	if e == nil {
		return nil
	}
	if rest, ok := strings.CutPrefix(e.Msg, "error unmarshall network config: "); ok {
		return errcode.New(errcode.Decode, "network configuration on standard input is not valid JSON: "+rest, e.Details)
	}
	if verb, ok := strings.CutPrefix(e.Msg, "config version does not allow "); ok {
		first := map[string]string{"CHECK": "0.4.0"}[verb]
		return errcode.Newf(errcode.IncompatibleVersion, "cniVersion: got one older than %s, which %s needs", cmp.Or(first, "1.1.0"), verb)
	}
	return errcode.New(errcode.Code(e.Code), e.Msg, e.Details)
}

// call is every verb: whatever happens in it, an error comes out as an error, and is undone.
func (f *frame[C]) call(args *skel.CmdArgs) error {
	err := f.guarded(args)
	// skel looks at the namespace after the handler, when it is too late; the frame did before. The answer is out by
	// now, and a second one would garble it.
	args.NetnsOverride = "TRUE"
	if err == nil {
		f.undo.Drop()
		return nil
	}
	if errors.Is(err, context.DeadlineExceeded) && errcode.Of(err).Code == uint(errcode.Internal) {
		err = errcode.Wrap(errcode.TryAgain, err, fmt.Sprintf("%s did not finish within %v", f.verb, f.timeout))
	}
	e := errcode.Of(err)
	if back := f.takeBack(); back != nil {
		f.log.Error("undo incomplete", slog.Any("err", back))
		e = errcode.New(errcode.Code(e.Code), e.Msg, strings.TrimPrefix(e.Details+"; undo incomplete: "+back.Error(), "; "))
	}
	return e
}

func (f *frame[C]) takeBack() error {
	if f.undo.Len() == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), undoTimeout)
	defer cancel()
	return f.undo.Run(ctx)
}

// guarded turns a panic of plugin code into an error.
func (f *frame[C]) guarded(args *skel.CmdArgs) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errcode.New(errcode.Internal, fmt.Sprintf("%s hit a bug in %s: %v", f.plugin.Name, f.verb, r), frames())
		}
	}()
	// Whatever prints while plugin code runs, a library for instance, must not end up in the result.
	stdout := os.Stdout
	os.Stdout = os.Stderr
	defer func() { os.Stdout = stdout }()
	r, err := f.request(args)
	if err != nil {
		return err
	}
	f.timeout = defaultTimeout
	if f.plugin.Timeout != nil {
		if t := f.plugin.Timeout(r.Config); t > 0 {
			f.timeout = t
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), f.timeout)
	defer cancel()
	return f.handle(ctx, r)
}

func (f *frame[C]) handle(ctx context.Context, r *Request[C]) error {
	if f.verb == "ADD" {
		if f.plugin.Add == nil {
			return f.noHandler()
		}
		result, err := f.plugin.Add(ctx, r)
		if err != nil {
			return err
		}
		return f.print(result, r.CNIVersion)
	}
	if f.verb == "STATUS" && f.plugin.Status == nil {
		return nil
	}
	handler := map[string]func(context.Context, *Request[C]) error{
		"DEL": f.plugin.Del, "CHECK": f.plugin.Check, "GC": f.plugin.GC, "STATUS": f.plugin.Status,
	}[f.verb]
	if handler == nil {
		return f.noHandler()
	}
	return handler(ctx, r)
}

func (f *frame[C]) noHandler() error {
	return errcode.Newf(errcode.Internal, "%s does not implement %s", f.plugin.Name, f.verb)
}

// print writes the result in the caller's version, whole or not at all.
func (f *frame[C]) print(result *current.Result, version string) error {
	if result == nil {
		return errcode.Newf(errcode.Internal, "%s made no result in %s", f.plugin.Name, f.verb)
	}
	converted, err := result.GetAsVersion(version)
	if err != nil {
		return errcode.Wrap(errcode.IncompatibleVersion, err, "the result cannot be expressed in CNI "+version)
	}
	var b bytes.Buffer
	if err := converted.PrintTo(&b); err != nil {
		return errcode.Wrap(errcode.IO, err, "the result cannot be encoded")
	}
	b.WriteByte('\n')
	if _, err := f.out.Write(b.Bytes()); err != nil {
		return errcode.Wrap(errcode.IO, err, "the result cannot be handed to the runtime")
	}
	return nil
}

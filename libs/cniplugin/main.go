// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package cniplugin

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	current "github.com/containernetworking/cni/pkg/types/100"
)

// Plugin describes one plugin. Add, Del, Check and GC must be set: a verb without a handler is answered with an
// error, because skel would answer it with success. A nil Status means that the plugin can always serve.
type Plugin[C any] struct {
	// Name is the binary's name, as in "weft-ipam"; About says in one sentence what it does.
	Name, About string

	// NeedsPrev makes ADD and CHECK refuse (code 7) a configuration without prevResult.
	NeedsPrev bool

	// Config decodes, defaults and validates, and reports all problems at once. The bytes are the whole
	// configuration from standard input. On DEL the problems are logged and Del runs with the returned value: it must
	// be usable as far as it could be read.
	Config func(raw []byte) (C, Problems)

	// Timeout is how long a verb may take; nil or 0 means 30 seconds.
	Timeout func(C) time.Duration

	// Add attaches and returns the result to print.
	Add func(ctx context.Context, r *Request[C]) (*current.Result, error)

	// Del, Check, GC and Status are the other verbs. Nothing is printed when they return nil.
	Del, Check, GC, Status func(ctx context.Context, r *Request[C]) error

	// Extra are sub-commands for people, run when CNI_COMMAND is unset, listed by --help.
	Extra map[string]func(w io.Writer, args []string) error
}

// Main is the whole of a plugin's main function. It does not return.
func Main[C any](p Plugin[C]) {
	// A thread that entered a namespace must never run another goroutine, and the handler has to stay on the thread
	// whose namespace it set.
	runtime.LockOSThread()
	// Without this, writing the result to a runtime that is gone kills the process before it can undo.
	signal.Ignore(syscall.SIGPIPE)
	os.Exit(run(p))
}

func run[C any](p Plugin[C]) int {
	if os.Getenv("CNI_COMMAND") == "" && !calledByRuntime() {
		return byHand(p, os.Args[1:], os.Stdout, os.Stderr)
	}
	f := &frame[C]{plugin: p, verb: os.Getenv("CNI_COMMAND"), out: os.Stdout, log: newLog(os.Stderr)}
	e := f.serve()
	if e == nil {
		return 0
	}
	if err := printError(os.Stdout, f.version, e); err != nil {
		_, _ = fmt.Fprintf(os.Stderr, "%s: %v (printing it: %v)\n", p.Name, e, err)
	}
	return 1
}

// calledByRuntime tells a call over the protocol that lacks CNI_COMMAND from a person trying the binary.
func calledByRuntime() bool {
	for _, name := range []string{"CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"} {
		if os.Getenv(name) != "" {
			return true
		}
	}
	return false
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/weft-cni/weft/libs/agentapi"
)

// config is what the flags say.
type config struct {
	node       string
	socket     string
	stateDir   string
	kubeconfig string
	proc       string
	health     string
	pprof      string
	sweep      time.Duration
	silence    time.Duration
	level      slog.Level
	version    bool
}

// parse reads the flags, strictly: what is not understood is an error.
func parse(args []string, out io.Writer) (config, error) {
	c := config{}
	f := flag.NewFlagSet("weft-agent", flag.ContinueOnError)
	f.SetOutput(out)
	f.StringVar(&c.node, "node", os.Getenv("NODE_NAME"), "name of this node; by default $NODE_NAME")
	f.StringVar(&c.socket, "socket", agentapi.DefaultSocket, "unix socket to serve on")
	f.StringVar(&c.stateDir, "state-dir", "/var/lib/weft/ipam", "state directory of weft-ipam, in which releases that are owed are kept")
	f.StringVar(&c.kubeconfig, "kubeconfig", "", "file that says how to reach the API server; by default as a pod does")
	f.StringVar(&c.proc, "proc", "/proc", "where the node's processes are seen")
	f.StringVar(&c.health, "health-address", "", "loopback address and port of /healthz and /readyz; none by default")
	f.StringVar(&c.pprof, "pprof-address", "", "loopback address and port of /debug/pprof; none by default")
	f.DurationVar(&c.sweep, "sweep-interval", 30*time.Second, "how far apart the two sights are that prove an attachment dead")
	f.DurationVar(&c.silence, "api-silence", 30*time.Second, "after how long without an answer the API server counts as gone")
	f.TextVar(&c.level, "log-level", slog.LevelInfo, "debug, info, warn or error")
	f.BoolVar(&c.version, "version", false, "print the version and end")
	if err := f.Parse(args); err != nil {
		return config{}, err
	}
	return c, c.validate(f.Args())
}

func (c config) validate(rest []string) error {
	var errs []error
	add := func(text string, args ...any) { errs = append(errs, fmt.Errorf(text, args...)) } //nolint:err113 // for people
	if len(rest) > 0 {
		add("arguments: got %q, want flags only", rest)
	}
	if c.node == "" && !c.version {
		add("--node: got nothing, want the name of this node (or $NODE_NAME)")
	}
	for name, path := range map[string]string{"socket": c.socket, "state-dir": c.stateDir, "proc": c.proc} {
		if !filepath.IsAbs(path) {
			add("--%s: got %q, want an absolute path", name, path)
		}
	}
	for name, address := range map[string]string{"health-address": c.health, "pprof-address": c.pprof} {
		if ap, err := netip.ParseAddrPort(address); address != "" && (err != nil || !ap.Addr().IsLoopback()) {
			add("--%s: got %q, want a loopback address and a port, as in 127.0.0.1:9338", name, address)
		}
	}
	for name, d := range map[string]time.Duration{"sweep-interval": c.sweep, "api-silence": c.silence} {
		if d < time.Second {
			add("--%s: got %v, want at least 1s", name, d)
		}
	}
	return errors.Join(errs...)
}

func bootID(proc string) string {
	b, err := os.ReadFile(filepath.Join(proc, "sys/kernel/random/boot_id"))
	if err != nil {
		return "" // then no lease is ever seen to be of an earlier boot
	}
	return strings.TrimSpace(string(b))
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package manage

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"time"
)

// Config is what the flags say.
type Config struct {
	Kubeconfig string        // empty: the pod's service account
	Namespace  string        // of the Lease of the election
	Identity   string        // of this replica
	Health     string        // address; empty: none
	PProf      string        // loopback address; empty: none
	NodeGone   time.Duration // between two observations of an absent node
	Election   time.Duration // how long a leader that has gone silent stays
	Level      slog.Level
}

const (
	minNodeGone = time.Second
	minElection = 2 * time.Second
)

// Parse reads the flags. flag.ErrHelp means that help was asked for and given.
func Parse(args []string, out io.Writer) (Config, error) {
	var c Config
	f := flag.NewFlagSet("weft-controller", flag.ContinueOnError)
	f.SetOutput(out)
	f.Usage = func() {
		_, _ = fmt.Fprintln(out, "weft-controller keeps pools' status and hints, ends rests, and frees the addresses of nodes that are gone.")
		f.PrintDefaults()
	}
	host, _ := os.Hostname()
	f.StringVar(&c.Kubeconfig, "kubeconfig", "", "file to reach the API server with; empty is the pod's service account")
	f.StringVar(&c.Namespace, "namespace", "weft-system", "namespace of the Lease by which replicas elect one of them")
	f.StringVar(&c.Identity, "identity", host, "name of this replica, different from every other")
	f.StringVar(&c.Health, "health", ":9810", "address of /healthz and /readyz; empty is none")
	f.StringVar(&c.PProf, "pprof", "", "loopback address of /debug/pprof, for example 127.0.0.1:9811; empty is none")
	f.DurationVar(&c.NodeGone, "node-gone-after", 5*time.Minute, "time between two looks at a node that is absent, before its addresses are freed")
	f.DurationVar(&c.Election, "election", 15*time.Second, "time after which a replica that has gone silent no longer leads")
	f.TextVar(&c.Level, "log-level", slog.LevelInfo, "debug, info, warn or error")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	if f.NArg() > 0 {
		return c, fmt.Errorf("%q: got an argument, want flags only", f.Arg(0))
	}
	return c, c.check()
}

func (c Config) check() error {
	var errs []error
	if c.Namespace == "" {
		errs = append(errs, errors.New("-namespace: got nothing, want the namespace of weft"))
	}
	if c.Identity == "" {
		errs = append(errs, errors.New("-identity: got nothing, want a name that no other replica has"))
	}
	if a, err := netip.ParseAddrPort(c.PProf); c.PProf != "" && (err != nil || !a.Addr().IsLoopback()) {
		errs = append(errs, fmt.Errorf("-pprof: got %q, want a loopback address and port, for example 127.0.0.1:9811", c.PProf))
	}
	if c.NodeGone < minNodeGone {
		errs = append(errs, fmt.Errorf("-node-gone-after: got %v, want at least %v", c.NodeGone, minNodeGone))
	}
	if c.Election < minElection {
		errs = append(errs, fmt.Errorf("-election: got %v, want at least %v", c.Election, minElection))
	}
	return errors.Join(errs...)
}

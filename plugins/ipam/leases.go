// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/weft-cni/weft/libs/lease"
)

// extra are the commands for people.
func extra() map[string]func(io.Writer, []string) error {
	return map[string]func(io.Writer, []string) error{"leases": leases}
}

// leases prints who holds what.
func leases(w io.Writer, args []string) error {
	flags := flag.NewFlagSet("leases", flag.ContinueOnError)
	flags.SetOutput(w)
	stateDir := flags.String("state-dir", defaultStateDir, "directory of the lease store")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	all, err := openEngine(*stateDir).List(ctx, lease.Filter{Resting: true})
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "ADDRESS\tDOMAIN\tPOOL\tNETWORK\tCONTAINER\tINTERFACE\tPOD\tSINCE\tSTATE")
	for _, e := range all {
		a := e.Record.Attachment
		pod, state := "-", "held"
		if a.PodName != "" {
			pod = a.PodNamespace + "/" + a.PodName
		}
		if !e.Until.IsZero() {
			state = "rests until " + e.Until.Format(time.RFC3339)
			if time.Now().After(e.Until) {
				state = "free"
			}
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%.13s\t%s\t%s\t%s\t%s\n", e.Key.Addr, e.Key.Domain, e.Record.Pool,
			a.Network, a.ContainerID, a.IfName, pod, a.Since.Format(time.RFC3339), state)
	}
	return t.Flush()
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Command ipam compares weft-ipam with the reference plugin host-local.
//
// Job: run both binaries the way a runtime does, one process per call, in blocks
// that take turns (A B A B), with 0, 2,600 and 20,000 addresses in their stores,
// and print medians with their spread. It exits with 1 when a budget is missed; budgets
// are ratios, because absolute times belong to the machine.
//
// Non-goals: concurrency (the plugin's own tests do that), clusters.
//
// Failure model: any call that fails ends the run; a number is never made up.
// The method and the figures are explained in docs/performance.md.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"
)

const (
	flatBudget  = 1.3                  // ours, the largest store against the empty one
	peerBudget  = 8.0                  // host-local against ours, at peerSize
	startBudget = 3 * time.Millisecond // CPU of CNI_COMMAND=VERSION, the least of starts
	peerSize    = 2600
	starts      = 80
)

var errMissed = errors.New("a budget was missed")

func main() {
	rounds := flag.Int("rounds", 7, "rounds, at least 5")
	calls := flag.Int("calls", 10, "ADDs and DELs of each plugin, size and round")
	tries := flag.Int("tries", 3, "how often to measure before a missed budget is believed")
	patience := flag.Duration("patience", 2*time.Minute, "how long to wait in all for moments in which the machine is idle")
	dir := flag.String("dir", "/var/tmp", "where the stores are made; a real disk, or fsync costs nothing")
	flag.Parse()
	q := &quiet{patience: *patience}
	err := run(os.Stdout, *dir, max(*rounds, 5), max(*calls, 1), q)
	for try := 1; errors.Is(err, errMissed) && try < *tries; try++ {
		_, _ = fmt.Fprintf(os.Stdout, "\nmeasured again, for other programs may have been in the way (%d of %d)\n", try+1, *tries)
		err = run(os.Stdout, *dir, max(*rounds, 5), max(*calls, 1), q)
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(w io.Writer, dir string, rounds, calls int, q *quiet) error {
	bin := os.Getenv("WEFT_BIN")
	if bin == "" {
		return errors.New("WEFT_BIN must name the folder of the plugins; make bench-ipam sets it")
	}
	work, err := os.MkdirTemp(dir, "weft-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	if err := describe(w, bin, work); err != nil {
		return err
	}
	var rows []*row
	for _, size := range []int{0, peerSize, 20000} {
		weft, err := weftIPAM(bin, filepath.Join(work, fmt.Sprintf("weft-%d", size)), size)
		if err != nil {
			return fmt.Errorf("prefill weft-ipam with %d: %w", size, err)
		}
		peer, err := hostLocal(bin, filepath.Join(work, fmt.Sprintf("host-local-%d", size)), size)
		if err != nil {
			return fmt.Errorf("prefill host-local with %d: %w", size, err)
		}
		rows = append(rows, &row{size: size, peer: peer, weft: weft})
	}
	for round := range rounds {
		for _, r := range rows {
			q.wait()
			if err := r.measure(round, calls); err != nil {
				return err
			}
		}
	}
	start, err := startCPU(rows[0].weft)
	if err != nil {
		return err
	}
	return report(w, rows, start)
}

// row is one size of store, with the times of every call by round.
type row struct {
	size       int
	peer, weft *subject
}

// measure runs one round: a block of calls of the one plugin, then of the other,
// so that both meet the same minute of the machine. Call by call in turn would
// charge weft-ipam for the processor caches that host-local has just emptied.
func (r *row) measure(round, calls int) error {
	for _, s := range []*subject{r.peer, r.weft} {
		for i := range calls {
			id := fmt.Sprintf("bench-%d-%d-%d", r.size, round, i)
			for _, verb := range []string{"ADD", "DEL"} {
				d, err := s.call(verb, id)
				if err != nil {
					return err
				}
				s.record(verb, round, d)
			}
		}
	}
	return nil
}

func report(w io.Writer, rows []*row, start time.Duration) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(t, "entries\tverb\thost-local ms\tspread\tweft-ipam ms\tspread\tratio\t")
	for _, r := range rows {
		for _, verb := range []string{"ADD", "DEL"} {
			p, o := r.peer.median(verb), r.weft.median(verb)
			_, _ = fmt.Fprintf(t, "%d\t%s\t%.2f\t%s\t%.2f\t%s\t%.1f\t\n", r.size, verb,
				ms(p), r.peer.spread(verb), ms(o), r.weft.spread(verb), float64(p)/float64(o))
		}
	}
	_ = t.Flush()
	_, _ = fmt.Fprintln(w, "median of all calls; spread: lowest and highest median of a round; ratio: host-local over weft-ipam")

	first, last := rows[0].weft.median("ADD"), rows[len(rows)-1].weft.median("ADD")
	i := slices.IndexFunc(rows, func(r *row) bool { return r.size == peerSize })
	missed := false
	for _, b := range []struct {
		what      string
		got, want float64
		atLeast   bool
		unit      string
	}{
		{fmt.Sprintf("ADD with %d entries over ADD with none", rows[len(rows)-1].size), float64(last) / float64(first), flatBudget, false, ""},
		{fmt.Sprintf("ADD of host-local over ADD of weft-ipam at %d", peerSize), float64(rows[i].peer.median("ADD")) / float64(rows[i].weft.median("ADD")), peerBudget, true, ""},
		{fmt.Sprintf("CPU of a start, least of %d", starts), ms(start), ms(startBudget), false, " ms"},
	} {
		ok, sign := b.got <= b.want, "≤"
		if b.atLeast {
			ok, sign = b.got >= b.want, "≥"
		}
		verdict := "holds "
		if !ok {
			verdict, missed = "MISSED", true
		}
		_, _ = fmt.Fprintf(w, "%s  %s: %.2f%s (budget %s %.1f%s)\n", verdict, b.what, b.got, b.unit, sign, b.want, b.unit)
	}
	if missed {
		return errMissed
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

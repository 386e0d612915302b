// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"debug/buildinfo"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weft-cni/weft/libs/ipset"
	"github.com/weft-cni/weft/libs/lease"
)

// describe prints what the figures depend on.
func describe(w io.Writer, bin, dir string) error {
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	load, _ := os.ReadFile("/proc/loadavg")
	sync, err := fsync(dir)
	if err != nil {
		return fmt.Errorf("measure fsync: %w", err)
	}
	_, _ = fmt.Fprintf(w, "machine: %d processors, Linux %s, load average %s\n",
		runtime.NumCPU(), strings.TrimSpace(string(kernel)), strings.Join(strings.Fields(string(load))[:3], " "))
	_, _ = fmt.Fprintf(w, "fdatasync of 4 KiB in %s: median %.2f ms, 90th percentile %.2f ms\n", filepath.Dir(dir), ms(sync[len(sync)/2]), ms(sync[len(sync)*9/10]))
	for _, name := range []string{"host-local", "weft-ipam"} {
		info, err := buildinfo.ReadFile(filepath.Join(bin, name))
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(w, "%s: %s %s, %s\n", name, info.Main.Path, info.Main.Version, info.GoVersion)
		for _, d := range info.Deps {
			if d.Path == "github.com/containernetworking/plugins" || d.Path == "go.etcd.io/bbolt" {
				_, _ = fmt.Fprintf(w, "  with %s %s\n", d.Path, d.Version)
			}
		}
	}
	return nil
}

// quiet waits for moments in which other programs leave the machine alone.
type quiet struct{ patience time.Duration }

// wait returns when the processors were idle for most of a while, or when all
// patience is spent.
func (q *quiet) wait() {
	const while = 200 * time.Millisecond
	for q.patience > 0 {
		idle, all := ticks()
		<-time.After(while)
		idleNow, allNow := ticks()
		if float64(idleNow-idle) >= 0.75*float64(allNow-all) {
			return
		}
		q.patience -= while
	}
}

// ticks returns the idle time and all time of the processors since boot.
func ticks() (idle, all uint64) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0
	}
	line, _, _ := strings.Cut(string(stat), "\n")
	for i, field := range strings.Fields(line)[1:] {
		n, _ := strconv.ParseUint(field, 10, 64)
		if all += n; i == 3 { // user nice system idle …
			idle = n
		}
	}
	return idle, all
}

// fsync returns the sorted times of writing a page and making it durable.
func fsync(dir string) ([]time.Duration, error) {
	f, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	page := make([]byte, 4096)
	var out []time.Duration
	for i := range 100 {
		page[0] = byte(i)
		start := time.Now()
		if _, err := f.WriteAt(page, int64(i%8)*4096); err != nil {
			return nil, err
		}
		if err := f.Sync(); err != nil {
			return nil, err
		}
		out = append(out, time.Since(start))
	}
	slices.Sort(out)
	return out, nil
}

// all returns the addresses that both plugins hand out.
func all() ipset.Set {
	f, err := lease.NewFamily(netip.MustParsePrefix(subnet), netip.MustParseAddr(gateway), nil, nil)
	if err != nil {
		panic(err)
	}
	return f.Set
}

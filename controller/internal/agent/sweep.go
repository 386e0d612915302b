// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/weft-cni/weft/libs/lease"
)

// namespaces are the network namespaces of the node by their inodes.
type namespaces map[uint64]bool

// liveNamespaces looks through all processes, and through the mounts of the
// first one, which keep namespaces without a process. What it may not look at
// makes it an error: half a view proves nothing.
func liveNamespaces(proc string) (namespaces, error) {
	out := namespaces{}
	mounts, err := os.ReadFile(filepath.Join(proc, "1/mountinfo"))
	if err != nil {
		return nil, fmt.Errorf("read the node's mounts: %w", err)
	}
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 3 { // the fourth is what of the file system is mounted
			out.add(fields[3])
		}
	}
	processes, err := os.ReadDir(proc)
	if err != nil {
		return nil, fmt.Errorf("list the node's processes: %w", err)
	}
	for _, p := range processes {
		if _, err := strconv.Atoi(p.Name()); err != nil {
			continue
		}
		link, err := os.Readlink(filepath.Join(proc, p.Name(), "ns/net"))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it has ended
		}
		if err != nil {
			return nil, fmt.Errorf("see the network namespace of process %s: %w", p.Name(), err)
		}
		out.add(link)
	}
	return out, nil
}

// add reads "net:[4026531840]" and passes over anything else.
func (n namespaces) add(text string) {
	digits, ok := strings.CutPrefix(text, "net:[")
	if inode, err := strconv.ParseUint(strings.TrimSuffix(digits, "]"), 10, 64); ok && err == nil {
		n[inode] = true
	}
}

// sight is a lease that was seen to be of a dead attachment.
type sight struct {
	key     lease.Key
	version lease.Version
}

// sweeper frees leases of this node whose network namespace is proven gone:
// missing from a whole view of the node, or of an earlier boot, and both seen
// twice, at least interval apart.
type sweeper struct {
	interval time.Duration
	bootID   string
	now      func() time.Time
	log      *slog.Logger
	leases   func(context.Context) ([]lease.Entry, error)
	alive    func() (namespaces, error)
	free     func(context.Context, lease.Entry) error

	mu    sync.Mutex
	seen  map[sight]time.Time // since when
	sound bool                // the view once had a namespace of a lease in it
}

// round looks once, and frees what was seen before.
func (s *sweeper) round(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	leases, err := s.leases(ctx)
	if err != nil {
		return fmt.Errorf("read the node's leases: %w", err)
	}
	// Looked at after the leases: what is in use by then is seen.
	alive, viewErr := s.alive()
	for _, e := range leases {
		if e.Record.BootID == s.bootID && alive[e.Record.Attachment.NetnsInode] {
			s.sound = true
		}
	}
	now, still := s.now(), map[sight]time.Time{}
	errs := []error{viewErr}
	for _, e := range leases {
		why := s.dead(e, alive)
		if why == "" {
			continue
		}
		at := sight{e.Key, e.Version}
		since, ok := s.seen[at]
		if !ok {
			since = now
		}
		still[at] = since
		if now.Sub(since) < s.interval {
			continue
		}
		if err := s.free(ctx, e); err != nil {
			errs = append(errs, fmt.Errorf("free %s: %w", e.Key, err))
			continue
		}
		delete(still, at)
		s.log.Info("freed an address that nobody uses", slog.String("address", e.Key.Addr.String()),
			slog.String("attachment", e.Record.Attachment.String()), slog.String("why", why))
	}
	s.seen = still
	return errors.Join(errs...)
}

// dead says why nobody can use the lease any more, or "". Leases that are kept
// for somebody else than the pod or container that uses them are not judged here.
func (s *sweeper) dead(e lease.Entry, alive namespaces) string {
	r := e.Record
	if kind := r.Holder.Kind; kind != "Pod" && kind != "Container" {
		return ""
	}
	switch {
	case r.BootID != "" && s.bootID != "" && r.BootID != s.bootID:
		return "it is of an earlier boot"
	case alive == nil || !s.sound || r.BootID == "" || r.Attachment.NetnsInode == 0:
		return ""
	case !alive[r.Attachment.NetnsInode]:
		return "its network namespace is gone"
	}
	return ""
}

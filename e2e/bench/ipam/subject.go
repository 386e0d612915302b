// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weft-cni/weft/libs/lease"
	"github.com/weft-cni/weft/libs/lease/boltstore"
)

const (
	network = "bench"
	subnet  = "10.64.0.0/16"
	gateway = "10.64.0.1"
	deadAge = time.Minute // no call takes that long
)

// subject is a plugin with its configuration and its times.
type subject struct {
	binary, stdin string
	times         map[string][][]time.Duration // by verb and round
}

// weftIPAM returns our plugin over a store with size leases, as it ships: with cooldown.
func weftIPAM(bin, dir string, size int) (*subject, error) {
	ctx := context.Background()
	store := boltstore.New(dir, time.Now, nil)
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	// Several transactions, as a store gets filled: one would leave it denser than life does.
	for first := 0; first < size; first += 500 {
		err := store.Update(ctx, func(s lease.Store) error {
			for i := first; i < min(first+500, size); i++ {
				a := lease.Attachment{
					ID:     lease.ID{Network: network, ContainerID: container(i), IfName: "eth0"},
					PodUID: fmt.Sprintf("00000000-0000-4000-8000-%012d", i), PodNamespace: "default", PodName: fmt.Sprintf("pod-%d", i),
					Node: "bench", Since: time.Now(),
				}
				r := lease.Record{
					Pool: "bench", Rest: lease.DefaultCooldown, BootID: strings.TrimSpace(string(boot)),
					Holder: lease.Holder{Kind: "Pod", Name: a.PodName, UID: a.PodUID}, Attachment: a,
				}
				if _, err := s.Claim(ctx, lease.NewKey("", address(i)), r); err != nil {
					return err
				}
			}
			_, err := s.(lease.Chooser).Choose(ctx, lease.Want{Set: all(), Ring: "bench/IPv4"}) //nolint:forcetypeassert // A store of ours.
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return &subject{
		binary: filepath.Join(bin, "weft-ipam"),
		stdin: fmt.Sprintf(`{"cniVersion":"1.0.0","name":%q,"type":"macvlan","ipam":{"type":"weft-ipam","stateDir":%q,
			"pools":[{"name":"bench","ipv4":{"subnet":%q,"gateway":%q}}]}}`, network, dir, subnet, gateway),
		times: map[string][][]time.Duration{},
	}, nil
}

// hostLocal returns the reference plugin over a directory with size
// reservations in its format: a file per address, with container and interface.
func hostLocal(bin, dir string, size int) (*subject, error) {
	data := filepath.Join(dir, network)
	if err := os.MkdirAll(data, 0o750); err != nil {
		return nil, err
	}
	for i := range size {
		text := container(i) + "\r\neth0"
		if err := os.WriteFile(filepath.Join(data, address(i).String()), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	if size > 0 {
		last := filepath.Join(data, "last_reserved_ip.0")
		if err := os.WriteFile(last, []byte(address(size-1).String()), 0o600); err != nil {
			return nil, err
		}
	}
	return &subject{
		binary: filepath.Join(bin, "host-local"),
		stdin: fmt.Sprintf(`{"cniVersion":"1.0.0","name":%q,"type":"macvlan","ipam":{"type":"host-local","dataDir":%q,
			"ranges":[[{"subnet":%q,"gateway":%q}]]}}`, network, dir, subnet, gateway),
		times: map[string][][]time.Duration{},
	}, nil
}

func container(i int) string { return fmt.Sprintf("%064x", i+1) }

// address returns the i-th address that both plugins would give.
func address(i int) netip.Addr {
	a, _ := all().At(uint64(i))
	return a
}

// call runs the plugin once and returns the time from fork to exit.
func (s *subject) call(verb, id string) (time.Duration, error) {
	cmd, out, cancel := s.command(verb, id)
	defer cancel()
	start := time.Now()
	err := cmd.Run()
	d := time.Since(start)
	if err != nil {
		return 0, fmt.Errorf("%s %s: %w: %s", filepath.Base(s.binary), verb, err, out)
	}
	return d, nil
}

func (s *subject) command(verb, id string) (*exec.Cmd, *bytes.Buffer, func()) {
	ctx, cancel := context.WithTimeout(context.Background(), deadAge)
	cmd := exec.CommandContext(ctx, s.binary)
	out := &bytes.Buffer{}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader([]byte(s.stdin)), out, out
	cmd.Env = []string{
		"CNI_COMMAND=" + verb, "CNI_CONTAINERID=" + id, "CNI_IFNAME=eth0", "CNI_PATH=" + filepath.Dir(s.binary),
		// An IPAM plugin does nothing in the namespace; the override lets both take our own.
		"CNI_NETNS=/proc/self/ns/net", "CNI_NETNS_OVERRIDE=1",
	}
	return cmd, out, cancel
}

func (s *subject) record(verb string, round int, d time.Duration) {
	for len(s.times[verb]) <= round {
		s.times[verb] = append(s.times[verb], nil)
	}
	s.times[verb][round] = append(s.times[verb][round], d)
}

func (s *subject) median(verb string) time.Duration { return median(slices.Concat(s.times[verb]...)) }

func (s *subject) spread(verb string) string {
	var medians []time.Duration
	for _, round := range s.times[verb] {
		medians = append(medians, median(round))
	}
	return fmt.Sprintf("%.2f-%.2f", ms(slices.Min(medians)), ms(slices.Max(medians)))
}

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2]
}

// startCPU returns the processor time that the binary needs to say its version.
func startCPU(s *subject) (time.Duration, error) {
	least := deadAge
	for range starts {
		cmd, out, cancel := s.command("VERSION", "none")
		err := cmd.Run()
		cancel()
		if err != nil {
			return 0, fmt.Errorf("VERSION: %w: %s", err, out)
		}
		least = min(least, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
	}
	return least, nil
}

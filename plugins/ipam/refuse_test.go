// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weft-cni/weft/libs/errcode"
)

// pool4 is a list with one IPv4 pool and these keys.
func pool4(keys string) string { return fmt.Sprintf(`[{"name":"blue","ipv4":{%s}}]`, keys) }

// TestBadConfiguration gives every kind of mistake: a numbered error that says
// where and what would do, and nothing left behind.
func TestBadConfiguration(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pools string
		code  errcode.Code
		want  []string
	}{
		"misspelt key":         {pool4(`"subnet":"10.0.0.0/24","gatway":"10.0.0.1"`), errcode.UnsupportedField, []string{"ipam.pools[0].ipv4.gatway", `"gateway"`}},
		"outside":              {pool4(`"subnet":"10.0.0.0/24","ranges":["10.0.1.1-10.0.1.9"]`), errcode.InvalidConfig, []string{"ipam.pools[0].ipv4.ranges[0]", "inside 10.0.0.0/24"}},
		"half outside":         {pool4(`"subnet":"10.0.0.0/24","ranges":["10.0.0.250-10.0.1.9"]`), errcode.InvalidConfig, []string{"ranges[0]", "inside 10.0.0.0/24"}},
		"exclude outside":      {pool4(`"subnet":"10.0.0.0/24","exclude":["10.0.1.1"]`), errcode.InvalidConfig, []string{"exclude[0]", "inside 10.0.0.0/24"}},
		"overlap":              {pool4(`"subnet":"10.0.0.0/24","ranges":["10.0.0.10-10.0.0.20","10.0.0.20-10.0.0.30"]`), errcode.InvalidConfig, []string{"ranges[1]", "do not overlap"}},
		"gateway outside":      {pool4(`"subnet":"10.0.0.0/24","gateway":"10.0.1.1"`), errcode.InvalidConfig, []string{"ipv4.gateway: got 10.0.1.1, want an address inside 10.0.0.0/24"}},
		"unknown family":       {`[{"name":"blue","ipv5":{"subnet":"10.0.0.0/24"}}]`, errcode.UnsupportedField, []string{"ipam.pools[0].ipv5"}},
		"IPv6 in ipv4":         {pool4(`"subnet":"fd00::/64"`), errcode.InvalidConfig, []string{"ipv4.subnet", "write IPv6 under ipv6"}},
		"IPv6 gateway in ipv4": {pool4(`"subnet":"10.0.0.0/24","gateway":"fd00::1"`), errcode.InvalidConfig, []string{"ipv4.gateway"}},
		"not canonical":        {pool4(`"subnet":"10.0.0.5/24"`), errcode.InvalidConfig, []string{"write 10.0.0.0/24"}},
		"no family":            {`[{"name":"blue"}]`, errcode.InvalidConfig, []string{"ipv4, ipv6 or both"}},
		"no pool":              {`[]`, errcode.InvalidConfig, []string{"ipam.pools", "at least one pool"}},
		"a pool's name":        {`[{"name":"blue","ipv4":{"subnet":"10.0.0.0/24"}},"green"]`, errcode.InvalidConfig, []string{"ipam.pools[1]", `"green"`, "weft-agent"}},
		"empty pool":           {pool4(`"subnet":"10.0.0.0/30","gateway":"10.0.0.1","exclude":["10.0.0.2"]`), errcode.InvalidConfig, []string{"without any address"}},
		"duplicate names":      {`[{"name":"blue","ipv4":{"subnet":"10.0.0.0/24"}},{"name":"blue","ipv4":{"subnet":"10.0.1.0/24"}}]`, errcode.InvalidConfig, []string{"ipam.pools[1].name"}},
		"pools overlap":        {`[{"name":"blue","ipv4":{"subnet":"10.0.0.0/24"}},{"name":"green","ipv4":{"subnet":"10.0.0.0/16"}}]`, errcode.InvalidConfig, []string{"ipam.pools[1].ipv4.ranges", "or another domain"}},
		"bad duration":         {`[{"name":"blue","cooldown":"two minutes","ipv4":{"subnet":"10.0.0.0/24"}}]`, errcode.InvalidConfig, []string{"cooldown", "two minutes"}},
		"negative duration":    {`[{"name":"blue","cooldown":"-1s","ipv4":{"subnet":"10.0.0.0/24"}}]`, errcode.InvalidConfig, []string{"cooldown"}},
		"bad policy":           {`[{"name":"blue","cooldownPolicy":"never","ipv4":{"subnet":"10.0.0.0/24"}}]`, errcode.InvalidConfig, []string{"cooldownPolicy", `"Prefer" or "Strict"`}},
		"bad name":             {`[{"name":"Blue_1","ipv4":{"subnet":"10.0.0.0/24"}}]`, errcode.InvalidConfig, []string{"name", "Blue_1"}},
		"no name":              {`[{"ipv4":{"subnet":"10.0.0.0/24"}}]`, errcode.InvalidConfig, []string{"ipam.pools[0].name"}},
		"bad domain":           {`[{"name":"blue","domain":"a.b","ipv4":{"subnet":"10.0.0.0/24"}}]`, errcode.InvalidConfig, []string{"domain"}},
		"route without via":    {pool4(`"subnet":"10.0.0.0/24","routes":[{"dst":"10.1.0.0/16"}]`), errcode.InvalidConfig, []string{"routes[0]", "via"}},
		"route of IPv6":        {pool4(`"subnet":"10.0.0.0/24","gateway":"10.0.0.1","routes":[{"dst":"fd00::/8"}]`), errcode.InvalidConfig, []string{"routes[0].dst"}},
		"route not canonical":  {pool4(`"subnet":"10.0.0.0/24","gateway":"10.0.0.1","routes":[{"dst":"10.1.0.1/16"}]`), errcode.InvalidConfig, []string{"write 10.1.0.0/16"}},
		"all at once":          {`[{"name":"B","cooldown":"x","ipv4":{"subnet":"10.0.0.5/24"}},{"nam":"c"}]`, errcode.UnsupportedField, []string{"[0].name", "[0].cooldown", "[0].ipv4.subnet", "[1].nam"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			h.pools = c.pools
			h.refused(call{verb: "ADD", container: "a"}, c.code, c.want...)
			if a := h.do(call{verb: "DEL", container: "a"}); a.err != nil {
				t.Errorf("DEL with that configuration: %v", a.err)
			}
		})
	}
}

// refused checks that a call fails with a number and words, and leaves nothing.
func (h *host) refused(c call, code errcode.Code, words ...string) {
	h.Helper()
	a := h.do(c)
	if a.err == nil {
		h.Fatalf("%s passed: %s", c.verb, a.stdout)
	}
	text := a.err.Msg + " " + a.err.Details
	if errcode.Code(a.err.Code) != code {
		h.Errorf("code %d, want %d: %s", a.err.Code, code, text)
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			h.Errorf("%q does not say %q", text, w)
		}
	}
	if strings.Contains(text, "not found") {
		h.Errorf("%q would be taken for success", text)
	}
	if _, err := os.Stat(h.stateDir); !errors.Is(err, fs.ErrNotExist) {
		h.Error("a state directory was left behind")
	}
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h.refused(call{verb: "ADD", container: "a", conf: " "}, errcode.Decode)
	h.refused(call{verb: "ADD", container: "a", conf: "{"}, errcode.Decode)
	h.refused(call{verb: "ADD", container: "a", version: "9.9.9"}, errcode.IncompatibleVersion)
	h.refused(call{verb: "ADD", container: "a", env: []string{"CNI_NETNS=" + file}}, errcode.BadNetns, file)
	h.refused(call{verb: "ADD", container: "a", env: []string{"CNI_NETNS=/nowhere"}}, errcode.BadNetns, "/nowhere")
	h.refused(call{verb: "ADD", container: "a", args: ";IP=10.0.0.300"}, errcode.InvalidConfig, "CNI_ARGS IP", "10.0.0.300")
	h.refused(call{verb: "ADD", container: "a", args: ";IP=10.0.0.3/24"}, errcode.InvalidConfig, "10.0.0.3/29")
	h.extra = `"prevResult":{"cniVersion":"9.0.0","ips":[]},`
	h.refused(call{verb: "ADD", container: "a"}, errcode.IncompatibleVersion, "prevResult")
	h.extra = ""
	h.refused(call{verb: "CHECK", container: "a"}, errcode.InvalidConfig, "prevResult")
	h.refused(call{verb: "GC"}, errcode.InvalidConfig, "nothing was deleted")
	h.pools = `[{"name":"blue","ipv4":{"subnet":"10.0.0.0/24"}}],"stateDir":"relative"`
	h.refused(call{verb: "ADD", container: "a"}, errcode.InvalidConfig, "stateDir")
}

// TestDamagedStore has a file that is torn, or somebody else's: ADD and STATUS
// say so by number, DEL ends well, and nobody repairs it by guessing.
func TestDamagedStore(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func([]byte) []byte{
		"torn":    func(b []byte) []byte { return b[:len(b)/2] },
		"empty":   func([]byte) []byte { return nil },
		"foreign": func([]byte) []byte { return []byte("a shopping list, longer than a few bytes") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			h.add("a", "")
			file := filepath.Join(h.stateDir, "leases.db")
			whole, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, damage(whole), 0o600); err != nil {
				t.Fatal(err)
			}
			h.fails(call{verb: "ADD", container: "b"}, errcode.IO, file, "Repair")
			h.fails(call{verb: "STATUS"}, errcode.Unavailable, file)
			if a := h.do(call{verb: "DEL", container: "a"}); a.err != nil || !strings.Contains(a.stderr, "release owed") {
				t.Errorf("DEL: %v, %q", a.err, a.stderr)
			}
			if err := os.WriteFile(file, whole, 0o600); err != nil {
				t.Fatal(err)
			}
			h.wantHeld("a")
		})
	}
}

// fails checks that a call fails with a number and words.
func (h *host) fails(c call, code errcode.Code, words ...string) {
	h.Helper()
	a := h.do(c)
	if a.err == nil {
		h.Errorf("%s passed: %s", c.verb, a.stdout)
		return
	}
	if errcode.Code(a.err.Code) != code {
		h.Errorf("%s: code %d, want %d: %s", c.verb, a.err.Code, code, a.err.Msg)
	}
	for _, w := range words {
		if !strings.Contains(a.err.Msg+a.err.Details, w) {
			h.Errorf("%s: %q does not say %q", c.verb, a.err.Msg, w)
		}
	}
}

// TestDiskTrouble makes the disk of the store read-only and full: ADD fails by
// number and keeps nothing, DEL ends well, and all is well when the disk is.
func TestDiskTrouble(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	disk := t.TempDir()
	if err := unix.Mount("weft-test", disk, "tmpfs", 0, "size=512k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(disk, unix.MNT_DETACH) })
	h.stateDir = filepath.Join(disk, "state")
	remount := func(flags uintptr) {
		t.Helper()
		if err := unix.Mount("weft-test", disk, "tmpfs", unix.MS_REMOUNT|flags, "size=512k"); err != nil {
			t.Fatal(err)
		}
	}
	remount(unix.MS_RDONLY)
	h.fails(call{verb: "ADD", container: "a"}, errcode.IO, "read-only")
	h.fails(call{verb: "STATUS"}, errcode.Unavailable, "read-only")
	remount(0)
	h.add("a", "")
	remount(unix.MS_RDONLY)
	h.fails(call{verb: "ADD", container: "b"}, errcode.IO, "read-only")
	h.fails(call{verb: "STATUS"}, errcode.Unavailable, "read-only")
	h.del("a")
	remount(0)
	h.wantHeld("a")

	filler := filepath.Join(disk, "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	h.fails(call{verb: "STATUS"}, errcode.Unavailable, "full")
	refusals := 0
	h.pools = strings.Replace(h.pools, "10.0.0.0/29", "10.0.0.0/24", 1)
	h.pools = strings.Replace(h.pools, "fd00::14", "fd00::ff", 1)
	var kept []string
	for i := range 60 { // Free pages inside the file serve the first few.
		name := fmt.Sprintf("full%d", i)
		a := h.do(call{verb: "ADD", container: name, uid: name})
		if a.err == nil {
			kept = append(kept, name)
			continue
		}
		refusals++
		if errcode.Code(a.err.Code) != errcode.IO || !strings.Contains(a.err.Msg, "full") {
			t.Errorf("ADD on a full disk: %v", a.err)
		}
	}
	if refusals == 0 {
		t.Error("the disk never got full: the test tests nothing")
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	h.wantHeld(append(kept, "a")...)
	h.add("b", "")
}

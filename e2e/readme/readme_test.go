// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package readme

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/google/go-cmp/cmp"

	"github.com/weft-cni/weft/libs/cnitest"
	"github.com/weft-cni/weft/libs/nettest"
)

func TestMain(m *testing.M) { nettest.Main(m) }

const root = "../.."

func TestEveryConflistBlockRuns(t *testing.T) {
	t.Parallel()
	ran := 0
	for _, file := range markdown(t) {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		blocks, err := cnitest.Conflists(string(text))
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
		for _, b := range blocks {
			ran++
			t.Run(fmt.Sprintf("%s:%d", file, b.Line), func(t *testing.T) {
				t.Parallel()
				run(t, b)
			})
		}
	}
	if ran < 3 {
		t.Errorf("found %d conflist blocks; README.md and both plugins have one each", ran)
	}
}

// run takes one conflist through a pod's life.
func run(t *testing.T, b cnitest.Block) {
	t.Helper()
	host := nettest.New(t, "host")
	nettest.Switch(t, host)
	host.Exec("ip", "addr", "add", "192.0.2.2/24", "dev", "eth0")
	host.Exec("ip", "addr", "add", "2001:db8:2::2/64", "dev", "eth0", "nodad")
	rt := runtime(t, b)
	for _, plugin := range rt.Plugins() {
		if plugin == "ipvlan" || plugin == "vlan" || plugin == "bond" {
			nettest.Need(t, plugin)
		}
	}
	before := host.Snapshot()

	ns := nettest.New(t, "pod")
	pod := cnitest.Pod{ID: "weft-readme", Netns: ns.Path(), Args: [][2]string{{"IgnoreUnknown", "1"}, {"K8S_POD_NAME", "web-0"}, {"K8S_POD_NAMESPACE", "shop"}, {"K8S_POD_UID", "6e7c7a52-1d2c-4c5e-9b55-1f6f9a1d6d10"}}}
	ctx := t.Context()
	var res *current.Result
	do := func(what string, f func() error) {
		t.Helper()
		host.Do(func() {
			if err := f(); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		})
	}
	do("STATUS", func() error { return rt.Status(ctx) })
	do("ADD", func() (err error) { res, err = rt.Add(ctx, pod); return err })
	if len(res.IPs) == 0 {
		t.Errorf("the result has no address: %v", res)
	}
	for _, plugin := range rt.Plugins() {
		if strings.HasPrefix(plugin, "weft-") {
			do("ADD again, "+plugin, func() error { return same(res)(rt.Repeat(ctx, pod, plugin, nicOnly(res))) })
		}
	}
	do("CHECK", func() error { return rt.Check(ctx, pod) })
	do("GC with the pod alive", func() error { return rt.GC(ctx, pod) })
	do("CHECK after GC", func() error { return rt.Check(ctx, pod) })
	do("DEL", func() error { return rt.Del(ctx, pod) })
	do("DEL again", func() error { return rt.Del(ctx, pod) })
	do("GC", func() error { return rt.GC(ctx) })
	if diff := cmp.Diff(before, host.Snapshot()); diff != "" {
		t.Errorf("the host is not as before (-before +after):\n%s", diff)
	}
}

// runtime reads a block with its state below the test's own folder.
func runtime(t *testing.T, b cnitest.Block) *cnitest.Runtime {
	t.Helper()
	dir := t.TempDir()
	conf, err := cnitest.WithStateDir(b.JSON, dir)
	if err != nil {
		t.Fatal(err)
	}
	rt, err := cnitest.NewRuntime(conf, dir, cnitest.Bin(t))
	if err != nil {
		t.Fatal(err)
	}
	return rt
}

// same compares the addresses of a repeated ADD with those of the first.
func same(want *current.Result) func(*current.Result, error) error {
	return func(got *current.Result, err error) error {
		if err != nil {
			return err
		}
		if diff := cmp.Diff(addresses(want), addresses(got)); diff != "" {
			return fmt.Errorf("other addresses than before (-first +now):\n%s", diff)
		}
		return nil
	}
}

func addresses(r *current.Result) []string {
	var out []string
	for _, ip := range r.IPs {
		out = append(out, ip.Address.String())
	}
	slices.Sort(out)
	return out
}

// nicOnly is the result of the main plugin.
func nicOnly(r *current.Result) *current.Result {
	res := *r
	res.Interfaces = res.Interfaces[:1]
	return &res
}

// markdown lists the Markdown files of the repository.
func markdown(t *testing.T) []string {
	t.Helper()
	var files []string
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != "." {
			return fs.SkipDir
		}
		if strings.HasSuffix(path, ".md") {
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

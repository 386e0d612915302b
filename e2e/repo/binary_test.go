// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package repo_test

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weft-cni/weft/e2e/repo"
)

// maxBinary is what a plugin may weigh, stripped. A runtime executes it for every pod, and every few seconds for STATUS.
const maxBinary = 5_000_000

// forbidden imports of a plugin binary, direct or not, with the reason. A trailing slash means everything below.
func forbidden() map[string]string {
	return map[string]string{
		"k8s.io/":                         "a Kubernetes client costs 8 to 27 MB and up to 14 ms of CPU per call; the agent speaks to the API",
		"sigs.k8s.io/controller-runtime/": "the same, and more",
		"net/http":                        "costs 4 MB; the agent is reached over its socket",
		"crypto/tls":                      "nothing a plugin does crosses the node's border",
		"google.golang.org/grpc":          "costs more than all of a plugin; one request over a socket needs no framework",
		"go.uber.org/zap":                 "log/slog is there",
		"github.com/sirupsen/logrus":      "log/slog is there",
		"github.com/prometheus/":          "a process that lives for milliseconds has no metrics; the agent has them",
		"os/exec":                         "nothing on the ADD path executes a program; it would be the only cause of many failures",
		"text/template":                   "keeps all exported methods alive: the linker can no longer drop what is unused",
		"html/template":                   "the same",
		"testing":                         "test code in a plugin",
		"net/http/pprof":                  "opens a door",
		"github.com/containernetworking/cni/libcni": "that is the runtime's side, and executes plugins",
		"github.com/weft-cni/weft/libs/k8s/":        "the types of the API stay out of plugins; the agent translates",
	}
}

// breaches lists the imports that are forbidden.
func breaches(deps []string) []string {
	var bad []string
	for _, dep := range deps {
		for name, reason := range forbidden() {
			if dep == name || strings.HasSuffix(name, "/") && strings.HasPrefix(dep+"/", name) {
				bad = append(bad, dep+": "+reason)
			}
		}
	}
	return bad
}

// TestPluginBinaries builds every plugin the way a release does.
func TestPluginBinaries(t *testing.T) {
	t.Parallel()
	plugins := slices.DeleteFunc(repo.Workspace(load(t)), func(dir string) bool { return !strings.HasPrefix(dir, "plugins/") })
	if len(plugins) < 2 {
		t.Fatalf("plugins in go.work: %q", plugins)
	}
	for _, dir := range plugins {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			t.Parallel()
			deps := strings.Fields(goRun(t, dir, "list", "-deps", "."))
			if len(deps) < 50 {
				t.Fatalf("only %d packages: %q", len(deps), deps)
			}
			for _, b := range breaches(deps) {
				t.Error(b)
			}
			bin := filepath.Join(t.TempDir(), "plugin")
			goRun(t, dir, "build", "-trimpath", "-ldflags", "-s -w", "-o", bin, ".")
			st, err := os.Stat(bin)
			if err != nil {
				t.Fatal(err)
			}
			if st.Size() > maxBinary {
				t.Errorf("%d bytes, want at most %d", st.Size(), maxBinary)
			}
			if needs := libraries(t, bin); len(needs) > 0 {
				t.Errorf("needs the host's %q", needs)
			}
			t.Logf("%d bytes, %d packages", st.Size(), len(deps))
		})
	}
}

// libraries lists what a binary loads from the host; a static one nothing.
func libraries(t *testing.T, bin string) []string {
	t.Helper()
	f, err := elf.Open(bin)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	libs, err := f.ImportedLibraries()
	if err != nil {
		t.Fatal(err)
	}
	return libs
}

func TestBreachesAreNoticed(t *testing.T) {
	t.Parallel()
	deps := []string{"fmt", "net", "net/http", "k8s.io/api/core/v1", "k8s.iox", "sigs.k8s.io/json", "internal/testing", "os/exec", "google.golang.org/grpc"}
	var got []string
	for _, b := range breaches(deps) {
		dep, _, _ := strings.Cut(b, ":")
		got = append(got, dep)
	}
	if want := []string{"net/http", "k8s.io/api/core/v1", "os/exec", "google.golang.org/grpc"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestModulesBuildAlone builds each module without the workspace, as somebody who imports it does: a require that is
// missing is invisible in the workspace.
func TestModulesBuildAlone(t *testing.T) {
	t.Parallel()
	for _, dir := range repo.Workspace(load(t)) {
		goRun(t, dir, "build", "-o", os.DevNull, "./...") // a module of one command would leave it in the tree
	}
}

// goRun runs the go command in a folder of the repository, without workspace and C compiler, and returns what it prints.
func goRun(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = filepath.Join(root, dir)
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	var diag strings.Builder
	cmd.Stderr = &diag
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: go %s: %v\n%s", dir, strings.Join(args, " "), err, diag.String())
	}
	return string(out)
}

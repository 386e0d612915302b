// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package cniplugin

import (
	"fmt"
	"io"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
)

// version is set by -ldflags "-X github.com/weft-cni/weft/libs/cniplugin.version=v1.2.3".
var version string

const errorsDoc = "docs/errors.md in github.com/weft-cni/weft"

func versions() []string { return []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"} }

// Version is what the binary calls itself: the linked-in version, else what the Go toolchain recorded.
func Version() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	return "devel"
}

// byHand answers a person at a shell; a runtime always sets CNI_COMMAND.
func byHand[C any](p Plugin[C], args []string, out, diag io.Writer) int {
	switch {
	case len(args) == 0:
		// What skel does with an about text: say who this is, where a result would not be expected.
		help(p, diag)
		return 0
	case slices.Contains([]string{"--version", "-version", "version"}, args[0]):
		_, _ = fmt.Fprintf(out, "CNI %s plugin %s\nCNI versions: %s\n", p.Name, Version(), strings.Join(versions(), ", "))
		return 0
	case slices.Contains([]string{"--help", "-help", "-h", "help"}, args[0]):
		help(p, out)
		return 0
	}
	run := p.Extra[args[0]]
	if run == nil {
		_, _ = fmt.Fprintf(diag, "%s: unknown argument %q\n\n", p.Name, args[0])
		help(p, diag)
		return 2
	}
	if err := run(out, args[1:]); err != nil {
		_, _ = fmt.Fprintf(diag, "%s %s: %v\n", p.Name, args[0], err)
		return 1
	}
	return 0
}

func help[C any](p Plugin[C], w io.Writer) {
	var b strings.Builder
	fmt.Fprintf(&b, "CNI %s plugin %s\n%s\n\n", p.Name, Version(), p.About)
	fmt.Fprintf(&b, "A container runtime runs it with CNI_COMMAND set and the configuration on standard input.\n\n")
	fmt.Fprintf(&b, "  verbs         ADD DEL CHECK GC STATUS VERSION\n")
	fmt.Fprintf(&b, "  CNI versions  %s (CHECK from 0.4.0, GC and STATUS from 1.1.0)\n", strings.Join(versions(), ", "))
	fmt.Fprintf(&b, "  error codes   %s\n\n", errorsDoc)
	fmt.Fprintf(&b, "By hand: %s --version | --help", p.Name)
	for _, name := range slices.Sorted(maps.Keys(p.Extra)) {
		fmt.Fprintf(&b, " | %s", name)
	}
	_, _ = io.WriteString(w, b.String()+"\n")
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package repo

import (
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const (
	prefix    = "github.com/weft-cni/weft"
	goVersion = "1.26.0"
)

// outside lists the modules that are not in go.work, each with its reason. go.work has one list of versions for all of
// its modules, so what is in there reaches every plugin.
func outside() map[string]string {
	return map[string]string{
		"tools":           "the dependencies of linters",
		"e2e/cluster/k8s": "Kubernetes' own programs in the versions that the cluster lane runs",
	}
}

// Workspace lists the modules of go.work by their folder.
func Workspace(t Tree) []string {
	var dirs []string
	for _, m := range regexp.MustCompile(`(?m)^\s+\./(\S+)$`).FindAllStringSubmatch(string(t["go.work"]), -1) {
		dirs = append(dirs, m[1])
	}
	return dirs
}

// Modules wants every module to build alone on any machine: the go line as agreed, no toolchain line, a replace for each
// sibling it requires, and no module outside go.work but the tools and lists of pinned versions without code.
func Modules(t Tree) []string {
	var bad []string
	say := func(p, format string, args ...any) { bad = append(bad, p+": "+fmt.Sprintf(format, args...)) }
	work := Workspace(t)
	for _, dir := range work {
		if _, ok := t[dir+"/go.mod"]; !ok {
			say("go.work", "%s has no go.mod", dir)
		}
	}
	for _, p := range append(t.Paths("/go.mod"), "go.work") {
		mod, dir := string(t[p]), path.Dir(p)
		if regexp.MustCompile(`(?m)^toolchain`).MatchString(mod) {
			say(p, "a toolchain line forces a download on everybody")
		}
		if p != "go.work" && !slices.Contains(work, dir) && dir != "tools" {
			if code := t.code(dir); code != "" && outside()[dir] == "" {
				say(p, "holds code (%s) and is not in go.work", code)
			}
			continue
		}
		if !regexp.MustCompile(`(?m)^go ` + regexp.QuoteMeta(goVersion) + `$`).MatchString(mod) {
			say(p, "want the line go %s", goVersion)
		}
		if p == "go.work" {
			continue
		}
		if want := prefix + "/" + dir; !strings.HasPrefix(mod, "module "+want+"\n") {
			say(p, "want module %s", want)
		}
		for _, r := range regexp.MustCompile(`(?m)^(?:require)?\s+(`+regexp.QuoteMeta(prefix)+`/\S+) v`).FindAllStringSubmatch(mod, -1) {
			to, err := filepath.Rel(dir, strings.TrimPrefix(r[1], prefix+"/"))
			if line := r[1] + " => " + filepath.ToSlash(to); err != nil || !regexp.MustCompile(`(?m)^(?:replace)?\s+`+regexp.QuoteMeta(line)+`$`).MatchString(mod) {
				say(p, "want the line replace %s", line)
			}
		}
	}
	return bad
}

// code names a Go file of the module in dir, if it has any.
func (t Tree) code(dir string) string {
	for _, p := range t.Paths(".go") {
		if strings.HasPrefix(p, dir+"/") {
			return p
		}
	}
	return ""
}

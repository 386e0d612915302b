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
// sibling it requires, and no code in a module that go.work does not know.
func Modules(t Tree) []string {
	work := Workspace(t)
	bad := goLines("go.work", string(t["go.work"]))
	for _, dir := range work {
		if _, ok := t[dir+"/go.mod"]; !ok {
			bad = append(bad, fmt.Sprintf("go.work: %s has no go.mod", dir))
		}
	}
	for _, p := range t.Paths("/go.mod") {
		mod, dir := string(t[p]), path.Dir(p)
		if slices.Contains(work, dir) || dir == "tools" {
			bad = append(bad, goLines(p, mod)...)
			bad = append(bad, siblings(p, mod)...)
		} else if code := t.code(dir); code != "" && outside()[dir] == "" {
			bad = append(bad, fmt.Sprintf("%s: holds code (%s) and is not in go.work", p, code))
		}
	}
	return bad
}

func goLines(p, mod string) []string {
	var bad []string
	if regexp.MustCompile(`(?m)^toolchain`).MatchString(mod) {
		bad = append(bad, p+": a toolchain line forces a download on everybody")
	}
	if !regexp.MustCompile(`(?m)^go ` + regexp.QuoteMeta(goVersion) + `$`).MatchString(mod) {
		bad = append(bad, p+": want the line go "+goVersion)
	}
	return bad
}

// siblings wants a module to be named by its folder, and its requirements on others of ours to be replaced by theirs.
func siblings(p, mod string) []string {
	var bad []string
	dir := path.Dir(p)
	if want := prefix + "/" + dir; !strings.HasPrefix(mod, "module "+want+"\n") {
		bad = append(bad, fmt.Sprintf("%s: want module %s", p, want))
	}
	ours := regexp.QuoteMeta(prefix)
	for _, r := range regexp.MustCompile(`(?m)^(?:require)?\s+(`+ours+`/\S+) v`).FindAllStringSubmatch(mod, -1) {
		to, err := filepath.Rel(dir, strings.TrimPrefix(r[1], prefix+"/"))
		line := r[1] + " => " + filepath.ToSlash(to)
		if err != nil || !regexp.MustCompile(`(?m)^(?:replace)?\s+`+regexp.QuoteMeta(line)+`/?$`).MatchString(mod) {
			bad = append(bad, fmt.Sprintf("%s: want the line replace %s", p, line))
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

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package repo

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path"
	"slices"
	"strings"
)

const (
	copyright = "SPDX-FileCopyrightText: The weft Authors"
	license   = "SPDX-License-Identifier: Apache-2.0"
	maxLines  = 450
)

// PackageDocs wants exactly one package doc per package. A package that is all tests has it in a test file.
func PackageDocs(t Tree) []string {
	docs, tests := map[string][]string{}, map[string][]string{}
	all := map[string]bool{}
	var bad []string
	for _, p := range t.Paths(".go") {
		f, err := parser.ParseFile(token.NewFileSet(), p, t[p], parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			bad = append(bad, fmt.Sprintf("%s: %v", p, err))
			continue
		}
		dir := path.Dir(p)
		into := docs
		if strings.HasSuffix(p, "_test.go") {
			into = tests
		} else {
			all[dir] = true
		}
		if _, seen := into[dir]; !seen {
			into[dir] = nil
		}
		if f.Doc != nil {
			into[dir] = append(into[dir], p)
		}
	}
	for dir := range tests {
		if !all[dir] {
			docs[dir] = tests[dir]
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(docs)) {
		if n := len(docs[dir]); n != 1 {
			bad = append(bad, fmt.Sprintf("%s: %d package docs, want one %v", dir, n, docs[dir]))
		}
	}
	return bad
}

// Headers wants the licence at the top of every Go file, exactly, and near the top of every script.
func Headers(t Tree) []string {
	var bad []string
	want := []byte("// " + copyright + "\n// " + license + "\n\n")
	for _, p := range t.Paths(".go") {
		ok := bytes.HasPrefix(t[p], want)
		if generated(t[p]) {
			ok = licensed(t[p])
		}
		if !ok {
			bad = append(bad, p+": does not start with the licence header and an empty line")
		}
	}
	for _, p := range t.scripts() {
		if !licensed(t[p]) {
			bad = append(bad, p+": no licence header in the first lines")
		}
	}
	return bad
}

func licensed(b []byte) bool {
	head := string(b[:min(len(b), 500)])
	return strings.Contains(head, copyright) && strings.Contains(head, license)
}

// PackageNames refuses names that say nothing.
func PackageNames(t Tree) []string {
	empty := []string{"util", "utils", "common", "helper", "helpers", "types", "misc", "shared", "base", "lib"}
	var bad []string
	for _, p := range t.Paths(".go") {
		f, err := parser.ParseFile(token.NewFileSet(), p, t[p], parser.PackageClauseOnly)
		if err == nil && (slices.Contains(empty, f.Name.Name) || slices.Contains(empty, path.Base(path.Dir(p)))) {
			bad = append(bad, fmt.Sprintf("%s: package %s: a name that says nothing", p, f.Name.Name))
		}
	}
	return bad
}

// FileSizes refuses long files; nobody reads them. Generated ones are not read.
func FileSizes(t Tree) []string {
	var bad []string
	for _, p := range append(t.Paths(".go"), t.scripts()...) {
		if n := bytes.Count(t[p], []byte("\n")); n > maxLines && !generated(t[p]) {
			bad = append(bad, fmt.Sprintf("%s: %d lines, want at most %d", p, n, maxLines))
		}
	}
	return bad
}

// ErrorTexts refuses words in string literals that end in an error text: a container runtime takes "not found" in the
// answer to DEL for success, and "failed to" says nothing that the rest of the sentence does not.
func ErrorTexts(t Tree) []string {
	words := []string{"not found", "failed to"}
	exempt := map[string]string{
		"libs/errcode/errcode.go": "takes the words out of other people's texts",
		"e2e/repo/source.go":      "this rule",
	}
	var bad []string
	for _, p := range t.Paths(".go") {
		if strings.HasSuffix(p, "_test.go") || generated(t[p]) || exempt[p] != "" {
			continue
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, p, t[p], 0)
		if err != nil {
			bad = append(bad, fmt.Sprintf("%s: %v", p, err))
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			for _, w := range words {
				if strings.Contains(strings.ToLower(lit.Value), w) {
					bad = append(bad, fmt.Sprintf("%v: %q in a text", fset.Position(lit.Pos()), w))
				}
			}
			return true
		})
	}
	return bad
}

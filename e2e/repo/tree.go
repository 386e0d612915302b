// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package repo

import (
	"bytes"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Tree is the repository's files by their path, with what they hold.
type Tree map[string][]byte

// Load reads the files that belong to the repository: not what git keeps, not what is built.
func Load(fsys fs.FS) (Tree, error) {
	t := Tree{}
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (p == ".git" || p == "bin"):
			return fs.SkipDir
		case !d.Type().IsRegular() || strings.HasSuffix(p, ".test") || strings.HasSuffix(p, ".out"):
			return nil
		}
		b, err := fs.ReadFile(fsys, p)
		if err != nil {
			return err
		}
		t[p] = b
		return nil
	})
	return t, err
}

// Paths lists the files with one of the endings, or all, in order.
func (t Tree) Paths(endings ...string) []string {
	var all []string
	for p := range t {
		if len(endings) == 0 || slices.ContainsFunc(endings, func(e string) bool { return strings.HasSuffix(p, e) }) {
			all = append(all, p)
		}
	}
	slices.Sort(all)
	return all
}

// Has tells whether p is a file or a folder that holds one.
func (t Tree) Has(p string) bool {
	p = path.Clean(p)
	if _, ok := t[p]; ok || p == "." {
		return true
	}
	for f := range t {
		if strings.HasPrefix(f, p+"/") {
			return true
		}
	}
	return false
}

// scripts lists the files that a shell or Python runs or sources.
func (t Tree) scripts() []string {
	var all []string
	for _, p := range t.Paths() {
		first, _, _ := bytes.Cut(t[p], []byte("\n"))
		if bytes.HasPrefix(first, []byte("#!")) || bytes.HasPrefix(first, []byte("# shellcheck shell=")) ||
			strings.HasSuffix(p, ".sh") || strings.HasSuffix(p, ".mk") || path.Base(p) == "Makefile" {
			all = append(all, p)
		}
	}
	return all
}

func generated(b []byte) bool {
	head := b[:min(len(b), 1000)]
	return bytes.Contains(head, []byte("// Code generated ")) && bytes.Contains(head, []byte("DO NOT EDIT"))
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package repo

import (
	"bytes"
	"fmt"
	"path"
	"regexp"
	"strings"
)

// Links wants every link of a Markdown file to a file of the repository, and to a heading or anchor in one, to lead
// somewhere. Links to the web are not looked at.
func Links(t Tree) []string {
	link := regexp.MustCompile(`\]\(([^)\s]+)(?:\s+"[^"]*")?\)`)
	var bad []string
	for _, p := range t.Paths(".md") {
		text := withoutCode(string(t[p]))
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			file, anchor, _ := strings.Cut(m[1], "#")
			target := path.Join(path.Dir(p), file)
			switch {
			case file == "":
				target = p
			case strings.HasPrefix(file, "/"):
				bad = append(bad, fmt.Sprintf("%s: %s is absolute", p, m[1]))
				continue
			}
			if !t.Has(target) {
				bad = append(bad, fmt.Sprintf("%s: %s leads nowhere", p, m[1]))
			} else if anchor != "" && strings.HasSuffix(target, ".md") && !anchors(string(t[target]))[anchor] {
				bad = append(bad, fmt.Sprintf("%s: %s: no such heading", p, m[1]))
			}
		}
	}
	return bad
}

// withoutCode drops fenced blocks and inline code, in which a link is an example.
func withoutCode(s string) string {
	var out []string
	fenced := false
	for line := range strings.Lines(s) {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
			continue
		}
		if !fenced {
			out = append(out, line)
		}
	}
	return regexp.MustCompile("`[^`\n]*`").ReplaceAllString(strings.Join(out, ""), "")
}

// anchors are the names in a Markdown file that a link can point at: explicit ones, and those GitHub gives headings.
func anchors(s string) map[string]bool {
	all := map[string]bool{}
	for _, m := range regexp.MustCompile(`<a (?:id|name)="([^"]+)"`).FindAllStringSubmatch(s, -1) {
		all[m[1]] = true
	}
	drop := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	for line := range strings.Lines(s) {
		if text := strings.TrimLeft(line, "#"); text != line && strings.HasPrefix(text, " ") {
			slug := drop.ReplaceAllString(strings.ToLower(strings.TrimSpace(text)), "")
			all[strings.ReplaceAll(slug, " ", "-")] = true
		}
	}
	return all
}

// Private refuses traces of the place where the project is developed.
func Private(t Tree) []string {
	traces := []string{"/" + "work/", "../" + "shared/design", "../" + "shared/lanes", "issues" + " show"}
	var bad []string
	for _, p := range t.Paths() {
		for _, s := range traces {
			if bytes.Contains(t[p], []byte(s)) {
				bad = append(bad, fmt.Sprintf("%s: %q means nothing elsewhere", p, s))
			}
		}
	}
	return bad
}

// Built refuses programs: what is built is not source, and stays in the history for ever.
func Built(t Tree) []string {
	var bad []string
	for _, p := range t.Paths() {
		if bytes.HasPrefix(t[p], []byte("\x7fELF")) || bytes.HasPrefix(t[p], []byte("!<arch>\n")) {
			bad = append(bad, p+": a built program")
		}
	}
	return bad
}

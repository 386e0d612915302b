// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package errcode

import (
	"fmt"
	"strings"
)

const preface = `<!--
SPDX-FileCopyrightText: The weft Authors
SPDX-License-Identifier: Apache-2.0
Generated from libs/errcode/table*.go by "make generate". Do not edit.
-->

# Error codes

A pod that cannot be attached shows a warning in ` + "`kubectl describe pod`" + `. Its text ends with what a weft plugin said: one line that says
what is wrong, then the number of this page in brackets, such as [e100], then the evidence.

Numbers below 100 have the meaning that the CNI specification gives them, numbers from 100 are weft's own. A number never changes
its meaning. kubelet tries a failed pod again and again by itself; the last column says whether that can help.

`

// Markdown is the table as docs/errors.md, one section for each code with an anchor such as e100.
func Markdown() string {
	var b strings.Builder
	b.WriteString(preface)
	b.WriteString("| code | meaning | does a retry help? |\n| --- | --- | --- |\n")
	for _, e := range Table() {
		fmt.Fprintf(&b, "| [%d](#e%d) | %s | %s |\n", e.Code, e.Code, e.Name, e.retry())
	}
	for _, e := range Table() {
		fmt.Fprintf(&b, "\n<a id=\"e%d\"></a>\n\n## %d: %s\n\n%s\n\n", e.Code, e.Code, e.Name, e.Meaning)
		fmt.Fprintf(&b, "For example:\n\n```text\n%s [e%d]%s\n```\n\n", e.Sees, e.Code, e.evidence())
		fmt.Fprintf(&b, "**What to do.** %s\n\n**Does kubelet's retry help?** %s.\n", e.Fix, capital(e.retry()))
	}
	return b.String()
}

func (e Entry) retry() string {
	if e.Retry {
		return "yes, when " + e.When
	}
	return "no: " + e.When
}

func (e Entry) evidence() string {
	if e.Details == "" {
		return ""
	}
	return "; " + e.Details
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

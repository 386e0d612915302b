// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package attach

import (
	"fmt"
	"strings"
)

// Problem is one thing that cannot be read.
type Problem struct {
	Where string // "annotation weft.dev/pools of the pod"
	Entry string // `entry 2 "eth0="`; "" for the whole value
	Got   string
	Want  string // what to write instead
}

// String is one clause that names everything.
func (p Problem) String() string {
	at := p.Where
	if p.Entry != "" {
		at += ", " + p.Entry
	}
	return fmt.Sprintf("%s: %s; %s", at, p.Got, p.Want)
}

// InvalidError says that an annotation or a configuration cannot be read. It
// stays until somebody changes what is written: CNI code 7, invalid configuration.
type InvalidError struct{ Problems []Problem }

// Error implements error: one line with all problems.
func (e *InvalidError) Error() string {
	texts := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		texts[i] = p.String()
	}
	return strings.Join(texts, " | ")
}

// quote shows a piece of what was written, cut where it gets long.
func quote(s string) string {
	const most = 40
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return fmt.Sprintf("%q", s)
}

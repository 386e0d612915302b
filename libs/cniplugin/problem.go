// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package cniplugin

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/weft-cni/weft/libs/errcode"
)

// Problem is one thing wrong with a configuration.
type Problem struct {
	Path    string // where, as in "ipam.pools[0].ipv4.gateway"
	Got     string // what is there; for an unknown key its value
	Want    string // what would do; for an unknown key a suggestion or nothing
	Unknown bool   // the key does not exist
}

// String is the problem as a person reads it.
func (p Problem) String() string {
	switch {
	case p.Unknown && p.Want != "":
		return fmt.Sprintf("%s: unknown key with value %s, %s", p.Path, p.Got, p.Want)
	case p.Unknown:
		return fmt.Sprintf("%s: unknown key with value %s", p.Path, p.Got)
	case p.Want == "":
		return fmt.Sprintf("%s: got %s", p.Path, p.Got)
	default:
		return fmt.Sprintf("%s: got %s, want %s", p.Path, p.Got, p.Want)
	}
}

// Problems is everything wrong with a configuration. Its zero value is none.
type Problems []Problem

// Add appends one: at path, got was found and want would do.
func (p *Problems) Add(path, got, want string) {
	*p = append(*p, Problem{Path: path, Got: got, Want: want})
}

// Err is nil without problems. Else it is one error that lists them all: code 2 if any of them is an unknown key,
// else code 7. What does not fit into the message is in the details.
func (p Problems) Err() error {
	if len(p) == 0 {
		return nil
	}
	code := errcode.InvalidConfig
	for _, one := range p {
		if one.Unknown {
			code = errcode.UnsupportedField
		}
	}
	return p.as(code)
}

// as lists the problems under a code of the caller's choice.
func (p Problems) as(code errcode.Code) error {
	msg, rest := p.split(errcode.MaxMsg)
	texts := make([]string, 0, len(rest))
	for _, one := range rest {
		texts = append(texts, one.String())
	}
	return errcode.New(code, msg, strings.Join(texts, "; "))
}

// split takes as many problems as fit into limit characters, and always the first.
func (p Problems) split(limit int) (string, Problems) {
	msg := p[0].String()
	if room := limit - len(andMore(len(p)-1)); len(p) > 1 && utf8.RuneCountInString(msg) > room {
		return cut(msg, room) + andMore(len(p)-1), p // one that alone is too long must not push the count out
	}
	for i := 1; i < len(p); i++ {
		next := msg + "; " + p[i].String()
		more := ""
		if left := len(p) - i - 1; left > 0 {
			more = andMore(left)
		}
		if utf8.RuneCountInString(next+more) > limit {
			return msg + andMore(len(p)-i), p[i:]
		}
		msg = next
	}
	return msg, nil
}

func andMore(n int) string { return "; and " + strconv.Itoa(n) + " more" }

// quote shows a value from outside: in quotes, on one line, not longer than a line can bear.
func quote(s string) string { return strconv.Quote(shorten(s)) }

const maxShown = 60

func shorten(s string) string { return cut(s, maxShown) }

func cut(s string, limit int) string {
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	return string([]rune(s)[:limit-1]) + "…"
}

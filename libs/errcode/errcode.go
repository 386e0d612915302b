// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package errcode is the one numbered table of everything a weft plugin can refuse, and the way from a Go error to
// the error object of the CNI protocol.
//
// The text of such an error is what `kubectl describe pod` shows, so it is held to one line and 400 characters; the
// evidence goes to the details. Numbers below 100 are the CNI specification's, 100 and up are weft's own. A number,
// once released, never changes its meaning. docs/errors.md is generated from Table.
//
// It is not a logging package and knows no verb, plugin or network.
//
// Failure model: no function here returns an error or panics. An error that nobody gave a code becomes Internal
// (999), so that it is seen as the bug it is.
package errcode

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/containernetworking/cni/pkg/types"
)

// Code is the number of an error.
type Code uint

// The numbers below 100 have the meaning of the CNI specification, section 5.
const (
	IncompatibleVersion Code = 1
	UnsupportedField    Code = 2
	UnknownContainer    Code = 3
	BadEnvironment      Code = 4
	IO                  Code = 5
	Decode              Code = 6
	InvalidConfig       Code = 7
	BadNetns            Code = 8
	TryAgain            Code = 11
	Unavailable         Code = 50
	LimitedService      Code = 51
	PoolExhausted       Code = 100
	AddressConflict     Code = 101
	GatewayUnreachable  Code = 102
	ParentUnavailable   Code = 103
	DeviceUnavailable   Code = 104
	StateDiffers        Code = 105
	KernelFeature       Code = 106
	AddressTaken        Code = 107
	Internal            Code = 999
)

// Limits of the two texts, in characters. The message limit is part of the contract with users; an event of
// Kubernetes holds 1,024 bytes, so longer details would be cut there anyway, but a runtime's log keeps them.
const (
	MaxMsg     = 400
	MaxDetails = 4000
)

// New makes a CNI error. Message and details are brought into form: one line, within their limits; what does not
// fit into the message moves to the details.
func New(c Code, msg, details string) *types.Error {
	msg, details = clean(msg), clean(details)
	if utf8.RuneCountInString(msg) > MaxMsg {
		if details != "" {
			details = "; " + details
		}
		details = "in full: " + msg + details
		msg = cut(msg, MaxMsg)
	}
	return types.NewError(uint(c), msg, cut(details, MaxDetails))
}

// Newf is New with a formatted message and no details.
func Newf(c Code, format string, args ...any) *types.Error {
	return New(c, fmt.Sprintf(format, args...), "")
}

// Wrap gives err a code and a sentence for the person who reads the pod's events; err's own text becomes the
// details. errors.Is and errors.As see through to err. A nil err gives nil.
func Wrap(c Code, err error, msg string) error {
	if err == nil {
		return nil
	}
	return &coded{cni: New(c, msg, err.Error()), msg: msg, err: err}
}

// coded is a Go error that carries the CNI error made from it.
type coded struct {
	cni *types.Error
	msg string
	err error
}

func (e *coded) Error() string { return e.msg + ": " + e.err.Error() }

// Unwrap lists the CNI error first, so that the outermost code wins over one that err may carry itself.
func (e *coded) Unwrap() []error { return []error{e.cni, e.err} }

// Of turns any error into a CNI error: the outermost code given by New or Wrap, else Internal. Text that was put
// around a coded error with fmt.Errorf goes to the details. A nil error gives nil.
func Of(err error) *types.Error {
	if err == nil {
		return nil
	}
	var e *types.Error
	if !errors.As(err, &e) {
		return New(Internal, err.Error(), "")
	}
	details, text := e.Details, err.Error()
	if details == "" && text != e.Msg {
		details = text
	}
	return New(Code(e.Code), e.Msg, details)
}

// Has says whether err carries the code, at any depth.
func Has(err error, c Code) bool {
	var e *types.Error
	return errors.As(err, &e) && e.Code == uint(c)
}

// clean makes one line of text, and takes the words out that a container runtime reads as success: containerd's
// CNI client treats a failed DEL whose text holds "not found", or "no such file or directory" with an empty
// namespace path, as done.
func clean(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	s = strings.ReplaceAll(s, "no such file or directory", "does not exist")
	return strings.ReplaceAll(s, "not found", "missing")
}

func cut(s string, limit int) string {
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	return string([]rune(s)[:limit-1]) + "…"
}

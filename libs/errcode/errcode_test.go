// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package errcode_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"

	"github.com/weft-cni/weft/libs/errcode"
)

func TestDocumentIsFresh(t *testing.T) {
	t.Parallel()
	const path = "../../docs/errors.md"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(errcode.Markdown(), string(b)); diff != "" {
		t.Errorf("%s is not what the table says; run make generate\n%s", path, diff)
	}
}

// TestTable checks that every row can be used as it is.
func TestTable(t *testing.T) {
	t.Parallel()
	last := errcode.Code(0)
	for _, e := range errcode.Table() {
		if e.Code <= last {
			t.Errorf("%d comes after %d", e.Code, last)
		}
		last = e.Code
		for what, text := range map[string]string{"name": e.Name, "meaning": e.Meaning, "example": e.Sees, "fix": e.Fix, "when": e.When} {
			if text == "" || strings.ContainsAny(text, "\n\t") || strings.Contains(text, "not found") || strings.Contains(text, "failed to") {
				t.Errorf("%d: %s %q", e.Code, what, text)
			}
		}
		if utf8.RuneCountInString(e.Sees) > errcode.MaxMsg {
			t.Errorf("%d: the example is longer than a message may be", e.Code)
		}
		if got, ok := errcode.Lookup(e.Code); !ok || got != e {
			t.Errorf("lookup of %d gives %v", e.Code, got)
		}
	}
	if _, ok := errcode.Lookup(12); ok {
		t.Error("a code that does not exist was looked up")
	}
}

// TestNumbersStay pins the numbers: users and alerts rely on them.
func TestNumbersStay(t *testing.T) {
	t.Parallel()
	want := map[errcode.Code]uint{
		errcode.IncompatibleVersion: types.ErrIncompatibleCNIVersion, errcode.UnsupportedField: types.ErrUnsupportedField,
		errcode.UnknownContainer: types.ErrUnknownContainer, errcode.BadEnvironment: types.ErrInvalidEnvironmentVariables,
		errcode.IO: types.ErrIOFailure, errcode.Decode: types.ErrDecodingFailure, errcode.InvalidConfig: types.ErrInvalidNetworkConfig,
		errcode.BadNetns: types.ErrInvalidNetNS, errcode.TryAgain: types.ErrTryAgainLater, errcode.Unavailable: types.ErrPluginNotAvailable,
		errcode.LimitedService: types.ErrLimitedConnectivity, errcode.PoolExhausted: 100, errcode.AddressConflict: 101,
		errcode.GatewayUnreachable: 102, errcode.ParentUnavailable: 103, errcode.DeviceUnavailable: 104, errcode.StateDiffers: 105,
		errcode.KernelFeature: 106, errcode.AddressTaken: 107, errcode.Internal: types.ErrInternal,
	}
	got := map[errcode.Code]uint{}
	for _, e := range errcode.Table() {
		got[e.Code] = uint(e.Code)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", errcode.MaxMsg+1)
	for _, c := range []struct{ name, msg, details, wantMsg, wantDetails string }{
		{"plain", "pool blue is full", "254 of 254", "pool blue is full", "254 of 254"},
		{"one line", "a\nb\tc\r\n", "d\n\n e", "a b c", "d e"},
		{"words that mean success", "Link not found", "open x: no such file or directory", "Link missing", "open x: does not exist"},
		{"just fits", long[2:], "", long[2:], ""},
		{"too long", long, "", strings.Repeat("é", errcode.MaxMsg-1) + "…", "in full: " + long},
		{"too long, details", long, "d", strings.Repeat("é", errcode.MaxMsg-1) + "…", "in full: " + long + "; d"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			want := &types.Error{Code: 100, Msg: c.wantMsg, Details: c.wantDetails}
			if diff := cmp.Diff(want, errcode.New(errcode.PoolExhausted, c.msg, c.details)); diff != "" {
				t.Error(diff)
			}
		})
	}
	if n := utf8.RuneCountInString(errcode.New(errcode.IO, "x", strings.Repeat("é", 2*errcode.MaxDetails)).Details); n != errcode.MaxDetails {
		t.Errorf("details of %d characters", n)
	}
}

func TestWrap(t *testing.T) {
	t.Parallel()
	cause := fmt.Errorf("open lock: %w", fs.ErrPermission)
	err := fmt.Errorf("claim address: %w", errcode.Wrap(errcode.IO, cause, "state cannot be written"))
	if !errors.Is(err, fs.ErrPermission) {
		t.Error("the cause is hidden")
	}
	var e *types.Error
	if !errors.As(err, &e) {
		t.Fatal("no CNI error inside")
	}
	if diff := cmp.Diff(&types.Error{Code: 5, Msg: "state cannot be written", Details: cause.Error()}, e); diff != "" {
		t.Error(diff)
	}
	if got := err.Error(); got != "claim address: state cannot be written: open lock: permission denied" {
		t.Error(got)
	}
	outer := errcode.Wrap(errcode.TryAgain, err, "busy")
	if !errcode.Has(outer, errcode.TryAgain) || errcode.Has(outer, errcode.IO) {
		t.Error("the outermost code must win")
	}
	if errcode.Wrap(errcode.IO, nil, "x") != nil {
		t.Error("an error was made of nothing")
	}
}

func TestOf(t *testing.T) {
	t.Parallel()
	coded := errcode.New(errcode.PoolExhausted, "full", "")
	for _, c := range []struct {
		name string
		err  error
		want *types.Error
	}{
		{"nothing", nil, nil},
		{"nobody gave a code", errors.New("a\nb"), &types.Error{Code: 999, Msg: "a b"}},
		{"coded", coded, coded},
		{"text around it", fmt.Errorf("pool blue: %w", coded), &types.Error{Code: 100, Msg: "full", Details: "pool blue: full"}},
		{"from elsewhere", types.NewError(7, "x\ny", "not found"), &types.Error{Code: 7, Msg: "x y", Details: "missing"}},
		{"joined", errors.Join(errors.New("one"), coded), &types.Error{Code: 100, Msg: "full", Details: "one full"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, errcode.Of(c.err)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

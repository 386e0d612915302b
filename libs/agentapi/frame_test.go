// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package agentapi

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"testing"
)

func TestFrame(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := writeFrame(&b, Request{Version: 7, Verb: "check", Body: json.RawMessage(`{}`)}); err != nil {
		t.Fatal(err)
	}
	whole := b.Bytes()
	var got Request
	if err := readFrame(bytes.NewReader(whole), &got); err != nil || got.Version != 7 || got.Verb != "check" {
		t.Errorf("read back %+v, %v", got, err)
	}
	for n := range whole {
		if err := readFrame(bytes.NewReader(whole[:n]), &got); err == nil {
			t.Errorf("a frame cut after %d bytes was read", n)
		}
	}
	if err := readFrame(bytes.NewReader([]byte{0xff, 0xff, 0xff, 0xff, 'x'}), &got); !errors.Is(err, errTooLong) {
		t.Errorf("a frame of 4 GiB: %v", err)
	}
	if err := writeFrame(io.Discard, string(make([]byte, MaxFrame))); !errors.Is(err, errTooLong) {
		t.Errorf("write a frame that is too long: %v", err)
	}
}

// FuzzFrame reads anything: no panic, no more memory than there are bytes, and
// what is read can be written and read again.
func FuzzFrame(f *testing.F) {
	for _, body := range []string{``, `{}`, `{"version":1,"verb":"allocate","body":{"network":"lan"}}`, `[1]`, `{"version":"1"}`} {
		f.Add(append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...))
	}
	f.Add([]byte{0, 0x40, 0, 0, '{'})
	f.Fuzz(func(t *testing.T, in []byte) {
		var req Request
		if err := readFrame(bytes.NewReader(in), &req); err != nil {
			return
		}
		var b bytes.Buffer
		if err := writeFrame(&b, req); err != nil {
			t.Fatalf("%+v cannot be written: %v", req, err)
		}
		var again Request
		if err := readFrame(&b, &again); err != nil || again.Verb != req.Verb || again.Version != req.Version {
			t.Fatalf("%+v reads back as %+v, %v", req, again, err)
		}
	})
}

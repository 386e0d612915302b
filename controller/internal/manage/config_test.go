// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package manage_test

import (
	"errors"
	"flag"
	"io"
	"strings"
	"testing"

	"github.com/weft-cni/weft/controller/internal/manage"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"":                              "",
		"-pprof=127.0.0.1:9811":         "",
		"-pprof=[::1]:9811":             "",
		"-election=2s -health=":         "",
		"serve":                         `"serve": got an argument, want flags only`,
		"-pools=4":                      "flag provided but not defined: -pools",
		"-pprof=:9811":                  `-pprof: got ":9811", want a loopback address and port, for example 127.0.0.1:9811`,
		"-pprof=192.0.2.1:9811":         `-pprof: got "192.0.2.1:9811", want a loopback address`,
		"-node-gone-after=1ms":          "-node-gone-after: got 1ms, want at least 1s",
		"-election=1s -identity=":       "-identity: got nothing, want a name that no other replica has\n-election: got 1s, want at least 2s",
		"-namespace=":                   "-namespace: got nothing, want the namespace of weft",
		"-log-level=loud":               `invalid value "loud" for flag -log-level`,
		"-node-gone-after=five-minutes": `invalid value "five-minutes" for flag -node-gone-after`,
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			_, err := manage.Parse(strings.Fields(args), io.Discard)
			if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	if _, err := manage.Parse([]string{"-help"}, &out); !errors.Is(err, flag.ErrHelp) || !strings.Contains(out.String(), "-node-gone-after") {
		t.Errorf("%v, %s", err, out.String())
	}
	if err := manage.Main(t.Context(), []string{"-help"}, io.Discard); err != nil {
		t.Errorf("asking for help is an error: %v", err)
	}
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package cnitest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-cni/weft/libs/cnitest"
)

func TestConflistsFindsLabelledBlocks(t *testing.T) {
	t.Parallel()
	text := "# x\n```json\n{\"a\": 1}\n```\ntext\n```json conflist demo\n{\"b\": 2}\n```\n```sh\nls\n```\n"
	got, err := cnitest.Conflists(text)
	if err != nil {
		t.Fatal(err)
	}
	want := []cnitest.Block{{Label: "demo", Line: 6, JSON: []byte(`{"b": 2}`)}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("blocks differ (-want +got):\n%s", diff)
	}
}

func TestConflistsRefusesWhatNobodyWouldRun(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"a conflist without its label": "```json\n{\"plugins\": []}\n```\n",
		"a block without an end":       "```json conflist\n{}\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, err := cnitest.Conflists(text); err == nil {
				t.Errorf("got %v, want an error", got)
			}
		})
	}
}

// recorder is a plugin that notes how it was called and answers well.
const recorder = `#!/bin/sh
conf=$(cat)
echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME $CNI_ARGS" >>"$(dirname "$0")/calls"
case $CNI_COMMAND in ADD) echo '{"cniVersion":"1.1.0","ips":[{"address":"192.0.2.7/24"}]}' ;; esac
`

func TestRuntimeDrivesEveryVerb(t *testing.T) {
	t.Parallel()
	dir, ctx := t.TempDir(), t.Context()
	if err := os.WriteFile(filepath.Join(dir, "recorder"), []byte(recorder), 0o755); err != nil {
		t.Fatal(err)
	}
	r, err := cnitest.NewRuntime([]byte(`{"cniVersion":"1.1.0","name":"blue","plugins":[{"type":"recorder","ipam":{"type":"x"}}]}`), dir, dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"recorder", "x"}, r.Plugins()); diff != "" {
		t.Errorf("plugins differ (-want +got):\n%s", diff)
	}
	pod := cnitest.Pod{ID: "c1", Netns: "/run/x", Args: [][2]string{{"K8S_POD_NAME", "web"}}}
	res, err := r.Add(ctx, pod)
	if err != nil {
		t.Fatal(err)
	}
	if got := res.IPs[0].Address.String(); got != "192.0.2.7/24" {
		t.Errorf("address: got %s, want 192.0.2.7/24", got)
	}
	verbs := []struct {
		name string
		call func() error
	}{
		{"CHECK", func() error { return r.Check(ctx, pod) }},
		{"STATUS", func() error { return r.Status(ctx) }},
		{"GC", func() error { return r.GC(ctx, pod) }},
		{"DEL", func() error { return r.Del(ctx, pod) }},
	}
	for _, v := range verbs {
		if err := v.call(); err != nil {
			t.Errorf("%s: %v", v.name, err)
		}
	}
	calls, err := os.ReadFile(filepath.Join(dir, "calls"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ADD c1 eth0 K8S_POD_NAME=web\n", "CHECK c1 eth0", "DEL c1 eth0", "STATUS ", "GC "} {
		if !strings.Contains(string(calls), want) {
			t.Errorf("calls lack %q:\n%s", want, calls)
		}
	}
}

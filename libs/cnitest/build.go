// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package cnitest

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"sync"
	"testing"
)

// BinEnv names the folder of prebuilt plugins: weft's and the reference ones.
const BinEnv = "WEFT_BIN"

//nolint:gochecknoglobals // One build per package and test process, whoever asks first.
var built sync.Map

// Bin returns the folder of prebuilt plugins, or ends the test saying how to
// make one.
func Bin(t testing.TB) string {
	t.Helper()
	dir := os.Getenv(BinEnv)
	if dir == "" {
		t.Fatalf("set %s to a folder with the plugins (`make plugins` fills bin/)", BinEnv)
	}
	return dir
}

// BuildPlugin returns the path of the binary of one of weft's plugins, named
// by its package (".../plugins/ipam" is "weft-ipam"): the prebuilt one when
// WEFT_BIN is set, else one built for this test process.
func BuildPlugin(t testing.TB, pkg string) string {
	t.Helper()
	name := "weft-" + path.Base(pkg)
	if dir := os.Getenv(BinEnv); dir != "" {
		return filepath.Join(dir, name)
	}
	once, _ := built.LoadOrStore(pkg, sync.OnceValues(func() (string, error) { return build(pkg, name) }))
	file, err := once.(func() (string, error))()
	if err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, file)
	}
	return file
}

// build compiles pkg below the system's folder for temporary files; on error
// it returns what the compiler said.
func build(pkg, name string) (string, error) {
	dir, err := os.MkdirTemp("", "weft-bin-")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, name)
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", file, pkg) //nolint:noctx // Outlives one test.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return string(out), err
	}
	return file, nil
}

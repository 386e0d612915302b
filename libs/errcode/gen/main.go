// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Command gen writes docs/errors.md from the table of error codes. It is run by go generate, has no options but the
// file to write, and fails when it cannot write it.
package main

import (
	"fmt"
	"os"

	"github.com/weft-cni/weft/libs/errcode"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gen FILE")
		os.Exit(2)
	}
	//nolint:gosec // a document for everybody, where its caller wants it
	if err := os.WriteFile(os.Args[1], []byte(errcode.Markdown()), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "write errors page:", err)
		os.Exit(1)
	}
}

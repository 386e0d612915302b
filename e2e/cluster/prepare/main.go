// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Command prepare writes the files that a test cluster starts from: images out
// of files, with no registry and no container engine, and credentials.
//
//	prepare image [-entrypoint PATH] OUT.tar NAME:TAG DEST=FILE...
//	prepare pki DIR SERVER NODE...
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "prepare:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) > 0 && args[0] == "image":
		flags := flag.NewFlagSet("image", flag.ContinueOnError)
		entry := flags.String("entrypoint", "", "`path` run in the image")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		if flags.NArg() > 2 {
			return writeImage(flags.Arg(0), flags.Arg(1), *entry, flags.Args()[2:])
		}
	case len(args) > 2 && args[0] == "pki":
		return writePKI(args[1], args[2], args[3:])
	}
	return errors.New("usage: prepare image [-entrypoint PATH] OUT.tar NAME:TAG DEST=FILE [DEST=FILE] | prepare pki DIR SERVER NODE")
}

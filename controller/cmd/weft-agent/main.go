// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Command weft-agent serves the plugins of one node: see internal/agent.
package main

import (
	"os"

	"github.com/weft-cni/weft/controller/internal/agent"
)

func main() {
	os.Exit(agent.Main(os.Args[1:], os.Stdout, os.Stderr))
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

//go:build crashpoints

package crashpoint

import (
	"os"
	"syscall"
)

// Hit kills the process when WEFT_CRASH_AT names this point.
func Hit(name string) {
	if os.Getenv("WEFT_CRASH_AT") != name {
		return
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // the signal arrives before anything else happens
}

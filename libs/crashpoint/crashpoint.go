// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

//go:build !crashpoints

// Package crashpoint marks the instants at which tests kill a program.
//
// Job: prove that a process may die anywhere. Hit(name) is empty unless the
// binary was built with -tags crashpoints; then it kills the process with
// SIGKILL when the environment variable WEFT_CRASH_AT equals name.
//
// Non-goals: error injection, delays, anything in a released binary.
//
// Failure model: none; nothing runs after a hit.
package crashpoint

// Hit does nothing in a released binary.
func Hit(string) {}

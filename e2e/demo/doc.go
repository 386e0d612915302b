// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package demo is `make demo`: two hosts and a router on a switch, all network
// namespaces, two pods attached with the conflist of the README, and one line
// per step that says what was seen.
//
// It is a test so that the kernel removes its world however it ends, and so
// that the README cannot promise what does not run. A step that fails says why
// and the rest is skipped; the exit code is 1.
package demo

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package cnitest runs CNI plugins in tests the way a container runtime does:
// real binaries, through libcni, from a conflist.
//
// Job: a Runtime for one conflist (ADD, CHECK, DEL, GC, STATUS with a result
// cache of its own), the conflist blocks of a Markdown file, and the path of a
// plugin's binary.
//
// Non-goals: making namespaces and links (package nettest), deciding what a
// result should be (the test).
//
// Failure model: what the caller's test set up wrongly ends the test; what a
// plugin answers is returned as it came.
package cnitest

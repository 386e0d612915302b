// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package nettest gives tests throw-away network worlds: namespaces, cables and switches on the real kernel.
//
// Job: Main re-executes the test binary as the first process of private network, mount, process and IPC namespaces, so
// that everything a test makes (links, namespaces, mounts, processes) lives below that one process and the kernel removes it
// when the process ends, even by kill -9. Inside, New makes named namespaces under /run/netns and Switch cables them
// together. Test binaries run in parallel without seeing each other, and nothing reaches the machine's own network.
//
// Non-goals: isolation from a hostile test; worlds that outlive the test binary.
//
// Failure model: a helper that cannot do its work ends the test with t.Fatal. What the machine lacks (root, a kernel feature)
// skips the test and says so in one line; where the environment variable WEFT_REQUIRE lists the feature ("root", "nft",
// "ipvlan", …, or "all") it is a failure instead.
package nettest

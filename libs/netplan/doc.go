// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package netplan holds the wanted kernel state of one network namespace as data, and takes a namespace there.
//
// Job: Observe -> Plan -> Apply -> Verify -> Undo. A State lists links, addresses, routes, rules, neighbours, sysctls and
// our nftables table. A Kernel (package kernel, or netplanfake in tests) observes the part of a namespace that a Query names
// and does one Op at a time. Plan is a pure function of what is wanted and what was observed; Apply does its steps and
// pushes an inverse for each; Verify lists the differences; Render shows the steps as `ip`, `nft` and `sysctl` lines. The
// marks by which weft finds its own things on a host live here too.
//
// Non-goals: deciding what is wanted (the plugins' work), running programs, keeping state.
//
// Failure model: Plan refuses to touch what is not ours. Apply stops at the first step that does not succeed and leaves the
// undo stack ready to run; a thing that already is as wanted, or already gone, is success.
package netplan

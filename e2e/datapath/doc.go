// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package datapath proves on the real kernel that a pod on an underlay NIC, its own node, Services and the outside reach
// each other, in the layout that weft-coordinator makes.
//
// Job: a switch, a host with strict reverse path filtering and a docker0 decoy, a client outside, and a pod attached by
// libcni with a reference main plugin, weft-ipam and weft-coordinator; then real connections, and the way they took.
//
// Non-goals: Kubernetes (the cluster lane), timing (the benchmark).
//
// Failure model: a connection that should work fails the test within seconds; one that must not work is given one second.
package datapath

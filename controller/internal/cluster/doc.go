// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package cluster is what the controller reads and writes of a cluster.
//
// Job: the clients, the informers with what they leave out to stay small, and
// every write the controller does, each with the condition under which it may.
//
// Non-goals: deciding anything.
//
// Failure model: errors are those of the API server. Writes that repeat a count
// (status, hints) wait for each other at twenty a second; those that free an
// address do not.
package cluster

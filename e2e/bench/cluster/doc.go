// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package cluster measures ADD and DEL of the lease store of a cluster beside
// bare creates and deletes of the same objects, on one API server, in turn.
//
// bench.sh runs it and prints one table; docs/performance-cluster.md says how to
// read it.
package cluster

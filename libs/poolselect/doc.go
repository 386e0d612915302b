// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package poolselect says which pools may serve an interface, in which order,
// and why every other pool may not.
//
// Job: all pools and what is wanted (package attach) go in; candidates and an
// Explanation come out. The same input gives the same answer in whatever order
// the pools come.
//
// A pool passes these filters, and is refused by the first that refuses it:
// wanted, invalid, family, address, deleting, suspended, namespace, pod, node,
// network. Of `allow` everything that is set must match; names and selector of
// one field are alternatives.
//
// Candidates come in the order of the list in which somebody named them. A
// pattern stands for all pools that match it, at its place in the list; a pool
// that several items name has the place of the first. Within one place, and
// where nobody wrote a list, the higher priority comes first, then the more
// specific `allow` (Allow.Specificity), then the name.
//
// A pool that is named, not by a pattern, has to exist: to take the next one
// would silently put a pod on another network. A pattern may match nothing as
// long as a candidate is left.
//
// What is free steers nothing here: Pool.Free is only shown. Which candidate has
// an address is found out by claiming (package lease), one after the other.
//
// Non-goals: IO, Kubernetes types (package poolview of libs/k8s converts), claims.
//
// Failure model: Select returns the explanation in every case. A
// *MissingPoolError, *NoPoolError or *NotAllowedError says in at most 300
// characters why there is no candidate; all three stay until somebody changes a
// pool or what is wanted.
package poolselect

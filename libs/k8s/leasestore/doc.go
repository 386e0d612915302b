// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package leasestore keeps leases as IPLease objects: the lease.Store of a cluster.
//
// Job: one object per held address, named after it. Creating it is the claim,
// and the API server lets one create win; deleting it, with the uid and the
// resourceVersion that were read, is the release. What it costs, in requests:
//
//	Claim    1 (POST). Of an address that Choose gave, a refusal costs no more; of
//	         another one it costs a GET, to see whether an earlier request of ours
//	         was the one that came first, or whether the address only rests.
//	Swap     1 (PATCH)
//	Release  1 (DELETE). 2 where the rest is another than the lease was born with,
//	         above all none: it has had the cooldown finalizer since its birth, so
//	         a PATCH takes that away before the DELETE.
//	Choose   0; 1 (GET of the pool's IPHint) after two misses, when the hint is
//	         old, and before a refusal. Never a list.
//	Scan     0 with Config.Node, after the first; else a list in pages.
//
// A version is the uid and the generation, so a change of metadata alone (an
// annotation, a label) does not make it stale. The resourceVersion that a write
// needs as its condition is remembered; where it is not, or is no longer the
// last, the write costs a GET more.
//
// Rest. A lease whose record has a Rest carries the finalizer weft.dev/cooldown
// from birth, so that releasing it is one plain DELETE: the object stays, and
// with it the name. The server's clock stamps the beginning (deletionTimestamp,
// whole seconds, so a rest may end up to a second early). The
// controller removes the finalizer at the end; a Claim of the address or a
// Choose that finds nothing else removes it when the controller does not.
//
// Config.Node makes the store that of a node: Scan sees the leases of that node
// and no other, out of an index that one list fills and the store's own writes
// keep. So the engine finds what an attachment has without a request, and
// garbage collection cannot reach another node's leases.
//
// Choice. A node draws from what the pool's hint says is free, in a
// pseudo-random order that its name seeds, first from its own share of the pool
// when the hint knows the node's place; it leaves out what it has learnt since.
// Sets that are too large for a hint's bitmap are drawn from at random. After a
// row of misses Choose waits a moment, longer each time, for a hint that has
// caught up. What was found taken is tried again only when a newer hint says
// that it is free.
//
// Non-goals: watching, caching other nodes' leases, tombstones and release
// debts (the agent wraps the store with a lease.Graveyard on its disk), writing
// hints (package hint makes them, the controller writes them).
//
// Failure model. A request that may have reached the server and was not
// answered, or was answered with 5xx, is lease.ErrUnknown; the key of such a
// claim is remembered as in doubt, and Settle finds out what became of it and
// releases what nobody uses. 429 is waited out as long as the context and a few
// tries allow. Every other error means that nothing was changed.
//
// There is no fake: tests that need no API server use memstore, and the tests of
// this package run against a real one (e2e/leasestore).
package leasestore

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package lease decides which address an attachment gets, and remembers it.
//
// Job: the rules of address management, apart from any place where they are
// kept: pools and what is reserved in them, the order of choice, identity
// across retries and new sandboxes, cooldown, exact addresses, dual stack as
// all or nothing, release by owner, garbage collection.
//
// One record per address is the only truth about who has it (see Key). Counts
// and free ranges are derived. A Store keeps the records; memstore and
// boltstore implement it here, and storetest is the suite that every store
// must pass.
//
// Non-goals: IO, Kubernetes, wall clocks of its own (Engine.Now), choosing
// which pools a pod may use: the caller passes the candidates in order.
//
// Failure model: an error from Assign means that nothing was kept. Over a
// Transactor that is a rollback; over a plain Store every step is taken back,
// and what cannot be taken back (the store is gone) still names its attachment
// in the record, so the next ADD of the same attachment uses it, DEL frees it,
// and GC finds it. Release and GC change only records that they have read as
// the attachment's own, by version: a late DEL frees nobody else's address.
package lease

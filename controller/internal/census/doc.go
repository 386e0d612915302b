// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package census counts the addresses of pools as leases come and go.
//
// Job: a Book is told of pools and of leases, one at a time and in any order,
// and keeps for every pool how many of its addresses are claimed, held idle or at
// rest, which ones, and which leases of the pool lie outside of what it hands out.
// One lease costs the same however many there are. Asked, it makes the pool's
// IPHint and IPPool status.
//
// The counts of a pool are of its addresses, whoever handed them out: where pools
// of one domain overlap, a lease counts in each of them, because none of them can
// give the address to anybody else.
//
// Non-goals: IO, time, deciding when something is written.
//
// Failure model: nothing fails. A pool that cannot be read has no counts; its
// leases are still counted as its leases.
package census

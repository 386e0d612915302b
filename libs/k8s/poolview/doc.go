// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package poolview reads IPPool objects for the packages that know nothing of
// Kubernetes.
//
// Job: one IPPool becomes a poolselect.Pool (who may use it) and a lease.Pool
// (what it hands out). Everything is checked again, also what CEL has checked
// when the object was written: rules grow, and objects stay. The order of the
// two ends of an IPv6 range and the syntax of selectors are checked only here.
//
// Non-goals: IO, watching, defaults that the API server has filled in already
// beyond those that an object written without them needs.
//
// Failure model: a pool with any problem is not used at all. Of returns an
// *InvalidError with all of them, and a poolselect.Pool that is marked invalid,
// so that an explanation still names the pool.
package poolview

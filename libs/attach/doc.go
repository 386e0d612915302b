// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package attach turns what people wrote about a pod's addresses into what is
// wanted on the interface at hand.
//
// Job: the annotations weft.dev/ips, weft.dev/claim and weft.dev/pools of a pod,
// weft.dev/pools of its namespace, the addresses that the runtime asks for and
// the pools of the plugin's configuration go in; one Want comes out. The first
// level that says something about the interface decides, and nothing of another
// level is mixed in:
//
//  1. weft.dev/ips on the pod, then the CNI ips capability or IP argument
//  2. weft.dev/claim on the pod
//  3. weft.dev/pools on the pod
//  4. weft.dev/pools on the namespace
//  5. pools in the plugin's configuration
//  6. the pools that are marked default: true
//
// An annotation that names interfaces, but not this one, says nothing about it;
// Want.Passed tells so. A claim that does not exist yet draws its addresses from
// pools, and those are found on levels 3 to 6.
//
// # Grammar
//
//	value  = entry *( ";" entry )
//	entry  = [ interface "=" ] item *( "," item )
//
// Blanks around each part mean nothing. All entries name an interface, or none
// does. Without names, one entry is for whichever interface is at hand, and
// several go by position: the first is for the pod's first interface. An item is
// an address without a prefix length (weft.dev/ips, at most one of each family),
// the name of a claim (weft.dev/claim, exactly one), or the name of a pool
// (weft.dev/pools), in which *, ? and [a-z] match as in path.Match.
//
// Since people who write NetworkAttachmentDefinitions write JSON, the same can
// be said in JSON: a list of names is one entry without interface,
//
//	["blue", "green"]
//
// and a list of objects is one entry each:
//
//	[{"interface": "eth0", "pools": ["blue"]}, {"interface": "net1", "pools": ["green"]}]
//
// with the key "ips" in weft.dev/ips and "claim", a string, in weft.dev/claim. A
// pool's name cannot hold a quote or a brace, so a value that begins with [" or
// [{ is JSON and every other one is not, [bg]lue included.
//
// Non-goals: knowing the pools (package poolselect), IO, Kubernetes types.
//
// Failure model: what cannot be read is refused as an *InvalidError that lists
// every problem, each with the annotation, the entry and what to write instead.
// All annotations of the pod are read, also those behind the level that decides;
// the namespace's and the configuration are read only where they decide, so that
// nobody's mistake stops a pod that does not depend on it.
package attach

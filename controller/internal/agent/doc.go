// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package agent is weft-agent: it gives the interfaces of one node their
// addresses out of the cluster's pools.
//
// Job: it serves package agentapi on the node's socket. What a pod wants is read
// from its annotations (package attach), its pools are chosen (poolselect), and
// lease.Engine claims over IPLease objects (leasestore): one write per address.
// It remembers released attachments, delivers the releases that are owed (package
// debts), settles claims of unknown outcome, and frees what belongs to network
// namespaces that are proven gone.
//
// It holds what belongs to its node, and all pools: the metadata of the node's
// pods, the node's leases. Namespaces and the node itself are read when they are
// needed and remembered for a short time. Nothing it holds grows with the cluster.
//
// Non-goals: deciding for other nodes, pool status and hints (the controller),
// keeping addresses for identities that outlive a pod, metrics.
//
// Failure model: an ADD that cannot be done now is code 11, and the runtime asks
// again. A release that cannot be delivered is on the disk before it is answered
// with success. An agent that is killed at any point leaves leases that name
// their attachments; the next one reads them, and what nobody uses is swept. The
// sweep frees on proof alone, seen twice: without a whole view of the node's
// namespaces it frees nothing.
package agent

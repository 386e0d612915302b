// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package agentapi is how plugins speak to the agent of their node: over a unix
// socket, in frames of JSON.
//
// Job: the types on the wire, the client, and the server that an agent puts its
// Handler behind. A frame is four bytes of length, the high byte first, and that
// many bytes of JSON, at most MaxFrame. A connection carries one Request and one
// Response. Each side says which version of the protocol it speaks; a server
// understands Version and the one before it, and a client that meets a server
// one version older speaks that one, so that plugin and agent of a node can be
// upgraded in either order.
//
// A server answers root alone (SO_PEERCRED), whatever the file's mode says. The
// context of a Handler ends when the client hangs up, so that nothing is done
// for somebody who has gone.
//
// Non-goals: net/http, Kubernetes, knowing why a request is made.
//
// Failure model: an *UnreachableError says that there was no answer, and whether
// the request may have been heard. Every other error is the agent's own, with
// its number (package errcode). A damaged or oversized frame ends its connection
// and nothing else. A Handler that panics is answered with code 999.
//
// Its fake is agentapitest.
package agentapi

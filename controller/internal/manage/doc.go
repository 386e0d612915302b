// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package manage is the process weft-controller.
//
// Job: flags, health, the election of one replica, and the wiring of what that one
// does: watches feed the census and the reconcilers, which write.
//
// The replica that leads starts its watches when it is elected and does nothing
// before all of them have told what there is. One that loses its leadership ends,
// and is started again by the kubelet with nothing in its memory.
//
// Failure model: without the API server the watches are tried again, and the
// leadership ends when it could not be renewed. Nothing on the path of a pod waits
// for this process.
package manage

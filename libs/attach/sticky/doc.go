// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package sticky says for whom the addresses of a pod are kept, and whether
// they outlive the pod.
//
// Job: Of turns a pod and its owners into an Identity; Identity.Holder is what
// a lease records for one interface; Entitled says whether a holder may still
// keep an address that nobody uses.
//
//	pod                                      kept for                released when
//	ordinary                                 the pod (uid)           the pod is gone or has finished
//	of a StatefulSet                         the set and pod name    the set is gone, or the ordinal is outside its replicas
//	weft.dev/sticky: "true", a controller    the controller and      the controller is gone
//	that gives stable names                  pod name
//	virt-launcher of KubeVirt                the VirtualMachine, or  it is gone
//	                                         an instance without one
//	weft.dev/claim                           the IPClaim             by the claim's own policy (not asked here)
//
// weft.dev/sticky: "false" makes a pod of a StatefulSet or a virtual machine
// ordinary. "true" is refused where it could not work: pods without a controller
// have nobody whose end would free the address, and pods of a ReplicaSet, Job or
// DaemonSet, or with a generated name, never come back under their name.
//
// The two launcher pods of a live migration have one Identity, so that the
// target takes over the address that the source still uses.
//
// Only an idle address is ever judged by Entitled. An address in use is freed
// when its attachment is proven dead, whatever became of the holder: a
// StatefulSet deleted with --cascade=orphan leaves pods that run on.
//
// Non-goals: looking anything up, deciding when to ask, IPClaim objects.
//
// Failure model: an annotation that asks for what cannot be is an error, and so
// is an owner that was not looked up (ErrOwnerUnknown). What is not known is never
// taken for proof: the address stays.
package sticky

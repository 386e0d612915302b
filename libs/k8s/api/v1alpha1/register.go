// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Group is the API group of every weft resource.
const Group = "weft.dev"

// What weft writes into the metadata of a lease.
const (
	// CooldownFinalizer keeps a released lease, and with it the address, until
	// its rest is over. A lease whose spec.cooldown is not zero has it from birth.
	CooldownFinalizer = Group + "/cooldown"
	// PoolLabel and NodeLabel select the leases of a pool and of a node.
	PoolLabel = Group + "/pool"
	NodeLabel = Group + "/node"
)

// GroupVersion names the group and version of this package.
func GroupVersion() schema.GroupVersion {
	return schema.GroupVersion{Group: Group, Version: "v1alpha1"}
}

// AddToScheme registers the kinds of this package.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion(), &IPPool{}, &IPPoolList{}, &IPLease{}, &IPLeaseList{}, &IPHint{}, &IPHintList{})
	metav1.AddToGroupVersion(s, GroupVersion())
	return nil
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// IPHint says which addresses of the pool of the same name are probably taken.
// The controller writes it, a few times a second at most; nodes read it when
// they run into taken addresses. It steers their choice and decides nothing: an
// old or absent hint costs requests, never an address.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=iphints,scope=Cluster,shortName=iph,categories=weft
// +kubebuilder:printcolumn:name="IPv4-Free",type=string,JSONPath=`.ipv4.free`
// +kubebuilder:printcolumn:name="IPv4-Total",type=string,JSONPath=`.ipv4.total`
// +kubebuilder:printcolumn:name="IPv6-Free",type=string,JSONPath=`.ipv6.free`
// +kubebuilder:printcolumn:name="IPv6-Total",type=string,JSONPath=`.ipv6.total`
// +kubebuilder:printcolumn:name="Made",type=date,JSONPath=`.made`
// +kubebuilder:validation:XValidation:rule="has(self.ipv4) || has(self.ipv6)",message="a hint needs ipv4, ipv6 or both, as its pool has"
type IPHint struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// PoolGeneration is the metadata.generation of the IPPool that the hint was
	// made from.
	// +required
	// +kubebuilder:validation:Minimum=0
	PoolGeneration int64 `json:"poolGeneration"`

	// Made is when the leases were counted.
	// +required
	Made metav1.MicroTime `json:"made"`

	// +optional
	IPv4 *FamilyHint `json:"ipv4,omitempty"`
	// +optional
	IPv6 *FamilyHint `json:"ipv6,omitempty"`

	// Nodes tells each node its place among all nodes, so that nodes begin in
	// different parts of a pool: the sorted 32-bit hashes of their names, four
	// bytes each, the high byte first.
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	Nodes []byte `json:"nodes,omitempty"`
}

// FamilyHint is the hint for one family of a pool.
//
// +kubebuilder:validation:XValidation:rule="!has(self.taken) || (size(self.total) <= 7 && int(self.total) <= 1048576)",message="taken is for pools of at most 1048576 addresses; leave it out of a larger one"
// +kubebuilder:validation:XValidation:rule="size(self.total) > 18 || (size(self.free) <= 18 && int(self.total) == int(self.free) + self.used + self.resting)",message="free must be total less used and resting"
type FamilyHint struct {
	// Addresses identifies the set of addresses that the indexes of taken count
	// in: a hint for another set than the pool has now says nothing.
	// +required
	// +kubebuilder:validation:MaxLength=64
	Addresses string `json:"addresses"`

	// Total is how many addresses the pool hands out, as a decimal number;
	// 18446744073709551615 stands for "that many or more".
	// +required
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:Pattern=`^[0-9]+$`
	Total string `json:"total"`
	// Used is how many of them have a lease and do not rest.
	// +required
	// +kubebuilder:validation:Minimum=0
	Used int64 `json:"used"`
	// Resting is how many were released and rest.
	// +required
	// +kubebuilder:validation:Minimum=0
	Resting int64 `json:"resting"`
	// Free is the others, as a decimal number.
	// +required
	// +kubebuilder:validation:MaxLength=20
	// +kubebuilder:validation:Pattern=`^[0-9]+$`
	Free string `json:"free"`

	// Taken holds the indexes of the addresses that are used or rest, counted
	// in address order over all that the pool hands out: a 32-bit roaring
	// bitmap in its portable serialisation.
	// +optional
	// +kubebuilder:validation:MaxLength=200000
	Taken []byte `json:"taken,omitempty"`

	// Rests are the addresses whose rest is over first.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Rests []HintRest `json:"rests,omitempty"`
}

// HintRest is an address at rest.
type HintRest struct {
	// +required
	// +kubebuilder:validation:MaxLength=39
	Address string `json:"address"`
	// Until is when its rest is over.
	// +required
	Until metav1.Time `json:"until"`
}

// IPHintList is a list of IPHints.
//
// +kubebuilder:object:root=true
type IPHintList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	Items []IPHint `json:"items"`
}

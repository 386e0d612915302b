// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// IPLease says that one address is held, for whom, and who uses it now. Its
// name is the address, so creating it is the claim and deleting it is the
// release; nothing else records who has an address.
//
// The name of an IPv4 lease is the address ("192.0.2.7"), of an IPv6 lease the
// eight groups in full ("2001-0db8-0000-0000-0000-0000-0000-0007"); outside the
// domain "default", "." and the domain follow.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=ipleases,scope=Cluster,shortName=ipl,categories=weft
// +kubebuilder:printcolumn:name="Address",type=string,JSONPath=`.spec.address`
// +kubebuilder:printcolumn:name="Namespace",type=string,JSONPath=`.spec.attachment.podNamespace`
// +kubebuilder:printcolumn:name="Pod",type=string,JSONPath=`.spec.attachment.podName`
// +kubebuilder:printcolumn:name="Node",type=string,JSONPath=`.spec.attachment.node`
// +kubebuilder:printcolumn:name="NIC",type=string,JSONPath=`.spec.attachment.interface`
// +kubebuilder:printcolumn:name="Pool",type=string,JSONPath=`.spec.pool`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="!isIP(self.spec.address) || (ip(self.spec.address).family() == 4 ? (self.spec.domain == 'default' ? self.metadata.name == self.spec.address : self.metadata.name == self.spec.address + '.' + self.spec.domain) : self.metadata.name.matches('^([0-9a-f]{4}-){7}[0-9a-f]{4}([.].*)?$') && ip(self.metadata.name.substring(0, 39).replace('-', ':')) == ip(self.spec.address) && (self.spec.domain == 'default' ? size(self.metadata.name) == 39 : self.metadata.name.substring(39) == '.' + self.spec.domain))",message="a lease is named after its address and domain: 192.0.2.7, 192.0.2.7.DOMAIN, or for IPv6 eight groups of four digits joined by '-'"
type IPLease struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// +required
	Spec IPLeaseSpec `json:"spec"`
}

// IPLeaseSpec is the record of one address.
type IPLeaseSpec struct {
	// Address in its canonical form.
	// +required
	// +kubebuilder:validation:MaxLength=39
	// +kubebuilder:validation:XValidation:rule="isIP(self) && ip.isCanonical(self)",message="address must be in canonical form, for example 192.0.2.7 or 2001:db8::7"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="address cannot change"
	Address string `json:"address"`

	// Domain in which the address is unique.
	// +optional
	// +kubebuilder:default=default
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="domain cannot change"
	Domain string `json:"domain,omitempty"`

	// Pool that handed the address out.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Pool string `json:"pool"`

	// Cooldown is how long the address rests once it is released. It is settled
	// when the address is claimed, so that a release needs no pool; absent means
	// that it does not rest.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('24h')",message="cooldown must be between 0s and 24h, for example 120s"
	Cooldown *metav1.Duration `json:"cooldown,omitempty"`

	// Holder is for whom the address is kept.
	// +required
	Holder Holder `json:"holder"`

	// Attachment is who uses the address now; absent when it is held but idle.
	// +optional
	Attachment *Attachment `json:"attachment,omitempty"`
}

// Holder names the object for which an address is kept.
type Holder struct {
	// Kind is Pod, IPClaim, IPReservation or Node; Container where the runtime
	// named no pod.
	// +required
	// +kubebuilder:validation:Enum=Pod;Container;IPClaim;IPReservation;Node
	Kind string `json:"kind"`
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
	// +required
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// +optional
	// +kubebuilder:validation:MaxLength=64
	UID string `json:"uid,omitempty"`
}

// Attachment is one interface of one sandbox.
type Attachment struct {
	// +optional
	// +kubebuilder:validation:MaxLength=63
	PodNamespace string `json:"podNamespace,omitempty"`
	// +optional
	// +kubebuilder:validation:MaxLength=253
	PodName string `json:"podName,omitempty"`
	// +optional
	// +kubebuilder:validation:MaxLength=64
	PodUID string `json:"podUID,omitempty"`
	// Node on which the sandbox runs.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Node string `json:"node"`
	// Network is the name in the CNI configuration.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Network string `json:"network"`
	// Interface in the pod.
	// +required
	// +kubebuilder:validation:MaxLength=15
	Interface string `json:"interface"`
	// SandboxID is the container ID that the runtime gave.
	// +required
	// +kubebuilder:validation:MaxLength=253
	SandboxID string `json:"sandboxID"`
	// +optional
	// +kubebuilder:validation:MaxLength=59
	MAC string `json:"mac,omitempty"`
	// Netns is the inode of the sandbox's network namespace, the proof of life
	// on its node.
	// +optional
	Netns int64 `json:"netns,omitempty"`
	// BootID of the node when the address was taken; no namespace outlives it.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	BootID string `json:"bootID,omitempty"`
	// Since is when the attachment took the address.
	// +optional
	Since *metav1.MicroTime `json:"since,omitempty"`
}

// IPLeaseList is a list of IPLeases.
//
// +kubebuilder:object:root=true
type IPLeaseList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	Items []IPLease `json:"items"`
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// IPPool is a set of addresses that pods may get: IPv4, IPv6, or a pair of
// both. Its spec is what an administrator wants; who holds which address is
// told by IPLeases alone.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=ippools,scope=Cluster,shortName=ipp,categories=weft
// +kubebuilder:printcolumn:name="Subnets",type=string,JSONPath=`.status.subnets`
// +kubebuilder:printcolumn:name="Total",type=string,JSONPath=`.status.total`
// +kubebuilder:printcolumn:name="Used",type=string,JSONPath=`.status.used`
// +kubebuilder:printcolumn:name="Free",type=string,JSONPath=`.status.free`
// +kubebuilder:printcolumn:name="Default",type=boolean,JSONPath=`.spec.default`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
type IPPool struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// +required
	Spec IPPoolSpec `json:"spec"`

	// +optional
	Status IPPoolStatus `json:"status,omitzero"`
}

// IPPoolSpec says which addresses a pool has, what a pod gets with one of
// them, and who may have them.
//
// +kubebuilder:validation:XValidation:rule="has(self.ipv4) || has(self.ipv6)",message="a pool needs ipv4, ipv6 or both"
// +kubebuilder:validation:XValidation:rule="!has(self.ipv4) || !isCIDR(self.ipv4.subnet) || cidr(self.ipv4.subnet).ip().family() == 4",message="ipv4.subnet must be an IPv4 prefix; write IPv6 under ipv6"
// +kubebuilder:validation:XValidation:rule="!has(self.ipv6) || !isCIDR(self.ipv6.subnet) || cidr(self.ipv6.subnet).ip().family() == 6",message="ipv6.subnet must be an IPv6 prefix; write IPv4 under ipv4"
type IPPoolSpec struct {
	// IPv4 is the pool's IPv4 half. A pod gets one address of each half that
	// the pool has, or none at all.
	// +optional
	IPv4 *AddressRange `json:"ipv4,omitempty"`

	// IPv6 is the pool's IPv6 half.
	// +optional
	IPv6 *AddressRange `json:"ipv6,omitempty"`

	// Domain is the L2 or routing domain in which an address is unique. Two
	// pools of one domain can overlap and still never hand out one address
	// twice; pools of different domains may use equal addresses.
	// +optional
	// +kubebuilder:default=default
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="domain cannot change: leases are named after it; make a new pool"
	Domain string `json:"domain,omitempty"`

	// Default puts the pool among those used by pods for which nothing else
	// names a pool.
	// +optional
	Default bool `json:"default,omitempty"`

	// Priority orders pools that are equally eligible: higher is tried first.
	// +optional
	// +kubebuilder:validation:Minimum=-1000
	// +kubebuilder:validation:Maximum=1000
	Priority int32 `json:"priority,omitempty"`

	// Suspend stops new claims. Addresses in use stay, and are released as usual.
	// +optional
	Suspend bool `json:"suspend,omitempty"`

	// Allow limits who may use the pool. Everything that is set must match; an
	// absent field allows all.
	// +optional
	Allow *PoolAllow `json:"allow,omitempty"`

	// Cooldown is how long a released address rests before it is handed out
	// again, so that neighbours' ARP entries and half-open connections die first.
	// +optional
	// +kubebuilder:default="120s"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('24h')",message="cooldown must be between 0s and 24h, for example 120s"
	Cooldown *metav1.Duration `json:"cooldown,omitempty"`

	// CooldownPolicy says what happens when only resting addresses are left:
	// Prefer ends the longest rest early rather than refuse a pod, Strict refuses.
	// +optional
	// +kubebuilder:default=Prefer
	CooldownPolicy CooldownPolicy `json:"cooldownPolicy,omitempty"`
}

// CooldownPolicy is Prefer or Strict.
//
// +kubebuilder:validation:Enum=Prefer;Strict
type CooldownPolicy string

// The two policies for a pool that has only resting addresses left.
const (
	CooldownPrefer CooldownPolicy = "Prefer"
	CooldownStrict CooldownPolicy = "Strict"
)

// AddressRange is one family of a pool. A range is one address
// ("192.0.2.7"), two ends ("192.0.2.10-192.0.2.99") or a prefix
// ("192.0.2.64/26"). The subnet's network and broadcast address, the IPv6
// subnet-router anycast address and the gateway are never handed out.
//
// +kubebuilder:validation:XValidation:rule="!isCIDR(self.subnet) || cidr(self.subnet).masked() == cidr(self.subnet)",message="subnet has host bits set; write the network address, for example 192.0.2.0/24"
// +kubebuilder:validation:XValidation:rule="!has(self.gateway) || !isCIDR(self.subnet) || !isIP(self.gateway) || cidr(self.subnet).containsIP(self.gateway)",message="gateway must be inside subnet"
// +kubebuilder:validation:XValidation:rule="!has(self.ranges) || !isCIDR(self.subnet) || self.ranges.all(r, r.contains('/') ? isCIDR(r) && cidr(self.subnet).containsCIDR(r) : r.split('-').all(a, isIP(a) && cidr(self.subnet).containsIP(a)))",message="every range must lie inside subnet: write one address, two ends as first-last, or a prefix"
// +kubebuilder:validation:XValidation:rule="!has(self.exclude) || !isCIDR(self.subnet) || self.exclude.all(r, r.contains('/') ? isCIDR(r) && cidr(self.subnet).containsCIDR(r) : r.split('-').all(a, isIP(a) && cidr(self.subnet).containsIP(a)))",message="every exclude must lie inside subnet: write one address, two ends as first-last, or a prefix"
// +kubebuilder:validation:XValidation:rule="!has(self.ranges) || self.ranges.all(r, !r.contains('-') || !r.split('-').all(a, isIP(a) && ip(a).family() == 4) || r.split('-').map(a, a.split('.')).map(o, int(o[0]) * 16777216 + int(o[1]) * 65536 + int(o[2]) * 256 + int(o[3])).isSorted())",message="a range must be written first-last, the lower address first"
// +kubebuilder:validation:XValidation:rule="!has(self.exclude) || self.exclude.all(r, !r.contains('-') || !r.split('-').all(a, isIP(a) && ip(a).family() == 4) || r.split('-').map(a, a.split('.')).map(o, int(o[0]) * 16777216 + int(o[1]) * 65536 + int(o[2]) * 256 + int(o[3])).isSorted())",message="a range must be written first-last, the lower address first"
// +kubebuilder:validation:XValidation:rule="!has(self.routes) || !isCIDR(self.subnet) || self.routes.all(r, (!isCIDR(r.dst) || cidr(r.dst).ip().family() == cidr(self.subnet).ip().family()) && (!has(r.via) || !isIP(r.via) || cidr(self.subnet).containsIP(r.via)))",message="every route needs a dst of the subnet's family and a via inside subnet"
// +kubebuilder:validation:XValidation:rule="!has(self.routes) || has(self.gateway) || self.routes.all(r, has(r.via))",message="a route without via goes by the gateway: set gateway, or via on each route"
type AddressRange struct {
	// Subnet is the prefix that the addresses carry.
	// +required
	// +kubebuilder:validation:MaxLength=43
	// +kubebuilder:validation:XValidation:rule="isCIDR(self)",message="subnet must be a prefix, for example 192.0.2.0/24 or 2001:db8::/64"
	Subnet string `json:"subnet"`

	// Ranges are the addresses to hand out; absent means the whole subnet.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=128
	// +kubebuilder:validation:items:MaxLength=80
	// +kubebuilder:validation:items:Pattern=`^[0-9a-fA-F:.]+(-[0-9a-fA-F:.]+|/[0-9]{1,3})?$`
	Ranges []string `json:"ranges,omitempty"`

	// Exclude are addresses never handed out.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=128
	// +kubebuilder:validation:items:MaxLength=80
	// +kubebuilder:validation:items:Pattern=`^[0-9a-fA-F:.]+(-[0-9a-fA-F:.]+|/[0-9]{1,3})?$`
	Exclude []string `json:"exclude,omitempty"`

	// Gateway is the next hop of the default route, and of every route without
	// a via. It is never handed out.
	// +optional
	// +kubebuilder:validation:MaxLength=39
	// +kubebuilder:validation:XValidation:rule="isIP(self)",message="gateway must be an address, for example 192.0.2.1"
	Gateway string `json:"gateway,omitempty"`

	// Routes replace the default route that a gateway gives. Absent with a
	// gateway: one default route by it. Absent without: none.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Routes []PoolRoute `json:"routes,omitempty"`
}

// PoolRoute is a route that a pod gets with an address of the pool.
type PoolRoute struct {
	// Dst is the destination prefix; 0.0.0.0/0 or ::/0 is the default route.
	// +required
	// +kubebuilder:validation:MaxLength=43
	// +kubebuilder:validation:XValidation:rule="isCIDR(self)",message="dst must be a prefix, for example 198.51.100.0/24"
	Dst string `json:"dst"`

	// Via is the next hop; absent means the gateway.
	// +optional
	// +kubebuilder:validation:MaxLength=39
	// +kubebuilder:validation:XValidation:rule="isIP(self)",message="via must be an address, for example 192.0.2.1"
	Via string `json:"via,omitempty"`
}

// PoolAllow says who may use a pool.
type PoolAllow struct {
	// Namespaces by name or by label.
	// +optional
	Namespaces *NameOrLabels `json:"namespaces,omitempty"`

	// Pods by label.
	// +optional
	Pods *metav1.LabelSelector `json:"pods,omitempty"`

	// Nodes by name or by label.
	// +optional
	Nodes *NameOrLabels `json:"nodes,omitempty"`

	// Networks are attachments as namespace/name.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=253
	Networks []string `json:"networks,omitempty"`
}

// NameOrLabels matches an object that is named, or whose labels match. Where
// both are set, either is enough.
type NameOrLabels struct {
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1024
	// +kubebuilder:validation:items:MaxLength=253
	Names []string `json:"names,omitempty"`

	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
}

// IPPoolStatus is derived from IPLeases a few times a second at most; it is a
// hint for people and never the truth.
type IPPoolStatus struct {
	// Subnets of both families, for display.
	// +optional
	Subnets string `json:"subnets,omitempty"`

	// Total, Used and Free, one number per family, for display.
	// +optional
	Total string `json:"total,omitempty"`
	// +optional
	Used string `json:"used,omitempty"`
	// +optional
	Free string `json:"free,omitempty"`

	// +optional
	IPv4 *FamilyStatus `json:"ipv4,omitempty"`
	// +optional
	IPv6 *FamilyStatus `json:"ipv6,omitempty"`

	// Conditions are Ready, Exhausted and Overlaps.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// FamilyStatus counts one family of a pool. Numbers are decimal strings: an
// IPv6 pool can have more addresses than an integer holds.
type FamilyStatus struct {
	// Capacity is how many addresses the pool has.
	// +optional
	Capacity string `json:"capacity,omitempty"`
	// Claimed are in use by a pod.
	// +optional
	Claimed string `json:"claimed,omitempty"`
	// Held are kept for a holder, or rest, and are not in use.
	// +optional
	Held string `json:"held,omitempty"`
	// Free can be claimed now.
	// +optional
	Free string `json:"free,omitempty"`
	// FreeRanges are the first free ranges, compact.
	// +optional
	// +listType=atomic
	FreeRanges []string `json:"freeRanges,omitempty"`
}

// IPPoolList is a list of IPPools.
//
// +kubebuilder:object:root=true
type IPPoolList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	Items []IPPool `json:"items"`
}

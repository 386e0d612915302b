// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package errcode

// weftTable holds weft's own codes, and the library's code for a bug.
func weftTable() []Entry {
	return []Entry{
		{
			Code: PoolExhausted, Name: "No free address",
			Meaning: "No pool that this pod may use has an address left that is neither used, excluded, reserved nor resting after its last use. Each pool is named with its use.",
			Sees:    "no free address: pool blue 254/254 used, 0 cooling",
			Fix:     "Enlarge a range, add a pool, shorten the cooldown, or find addresses kept for pods that no longer exist (a garbage collection frees them).",
			Retry:   true, When: "an address is released",
		},
		{
			Code: AddressConflict, Name: "Address in use on the network",
			Meaning: "Another device on the same network segment answers for the address that the pod was to get.",
			Sees:    "address 10.0.0.7 is in use by 02:42:ac:11:00:02 on eth1",
			Fix:     "Find the device by the hardware address in the message, then exclude that address from the pool or remove it from the device.",
			Retry:   true, When: "the retry gets another address, or the other device leaves",
		},
		{
			Code: GatewayUnreachable, Name: "Gateway does not answer",
			Meaning: "The gateway of the pod's subnet answered none of the probes (ARP for IPv4, neighbour solicitation for IPv6) sent from the pod's interface.",
			Sees:    "gateway 10.0.0.1 did not answer 3 probes on net1",
			Fix:     "Check VLAN and switch port of the parent interface, the gateway address in the pool, and whether the port limits hardware addresses.",
			Retry:   true, When: "the network recovers",
		},
		{
			Code: ParentUnavailable, Name: "Parent interface unavailable",
			Meaning: "The host interface on which the pod's interface is built is missing or down.",
			Sees:    "parent interface eth1.100 is down",
			Fix:     "Bring the interface up on that node, or correct its name in the network's configuration.",
			Retry:   true, When: "the interface comes up",
		},
		{
			Code: DeviceUnavailable, Name: "Device unavailable",
			Meaning: "The SR-IOV or RDMA device given to the pod is missing, bound to the wrong driver, or in the wrong RDMA namespace mode.",
			Sees:    "device 0000:3b:02.1 is bound to vfio-pci, want a network driver",
			Fix:     "Check device plugin resource, driver binding and the node's RDMA mode (exclusive or shared).",
			Retry:   false, When: "the node has to be set up differently",
		},
		{
			Code: StateDiffers, Name: "Found something else",
			Meaning: "What is on the node is not what ADD made: an interface, address, route, rule, firewall rule or address record was changed or removed since. Every difference is listed.",
			Sees:    "3 differences: route 10.0.0.7/32 dev weft0a1b2c is missing; …",
			Fix:     "Find who changed it (another agent, a script, an administrator). Deleting the pod rebuilds everything.",
			Retry:   false, When: "the difference stays until the pod is made anew",
		},
		{
			Code: KernelFeature, Name: "Kernel feature missing",
			Meaning: "The node's kernel lacks something that the configuration needs. The message names the feature, what is needed and what is running.",
			Sees:    "nftables is needed and this kernel (5.4.0) has no nf_tables module",
			Fix:     "Load the module, update the kernel, or choose the setting that does without (the plugin's README names it).",
			Retry:   false, When: "the node has to change",
		},
		{
			Code: AddressTaken, Name: "Requested address is taken",
			Meaning: "The pod asked for this very address, and it belongs to somebody else, or is excluded or reserved. No other address is given in its place.",
			Sees:    "address 10.0.0.7 of pool blue is held by pod shop/db-0",
			Fix:     "Ask for another address, or remove its holder. A predecessor pod of the same name frees it when it has ended.",
			Retry:   true, When: "the holder leaves",
		},
		{
			Code: Internal, Name: "Bug in the plugin",
			Meaning: "The plugin met a situation that its authors did not foresee. Everything done so far was undone.",
			Sees:    "weft-ipam hit a bug in ADD: index out of range [3] with length 3",
			Details: "at main.pick choose.go:41, main.add add.go:22, cniplugin.(*frame).handle serve.go:140",
			Fix:     "Report it with the message and its details, which hold the place in the program. Nothing in them is secret.",
			Retry:   false, When: "a fixed version is needed",
		},
	}
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package errcode

import "slices"

// Entry is one row of the table: what a code means and what to do about it.
type Entry struct {
	Code    Code
	Name    string // two to four words, a heading
	Meaning string // what happened, in whole sentences
	Sees    string // an example of the message in the pod's events
	Details string // and of the details behind it, if they say something here
	Fix     string // what to do
	Retry   bool   // kubelet tries again by itself: does that help?
	When    string // the condition under which a retry helps, or why it does not
}

// Table lists every code, ascending.
func Table() []Entry {
	return slices.Concat(callTable(), inputTable(), weftTable())
}

// Lookup gives the row of a code.
func Lookup(c Code) (Entry, bool) {
	for _, e := range Table() {
		if e.Code == c {
			return e, true
		}
	}
	return Entry{}, false
}

// callTable holds the specification's codes for what is wrong with the call.
func callTable() []Entry {
	return []Entry{
		{
			Code: IncompatibleVersion, Name: "CNI version not spoken",
			Meaning: "The configuration, or the result handed over by the plugin before this one, is written in a CNI version the plugin " +
				"does not speak, or the verb does not exist in that version (CHECK needs 0.4.0, GC and STATUS need 1.1.0).",
			Sees:    "incompatible CNI versions",
			Details: `config is "0.2.0", plugin supports ["0.3.1" "0.4.0" "1.0.0" "1.1.0"]`,
			Fix:     "Set cniVersion of the network to one of 0.3.1, 0.4.0, 1.0.0, 1.1.0; upgrade the plugin that made the foreign result.",
			Retry:   false, When: "the configuration has to change",
		},
		{
			Code: UnsupportedField, Name: "Unknown configuration key",
			Meaning: "The configuration holds a key that the plugin does not know. weft refuses it rather than ignore it, because an ignored key is " +
				"nearly always a typing error. Every problem found is listed, not only the first.",
			Sees:  `ipam.pols: unknown key with value ["blue"], did you mean "pools"?`,
			Fix:   "Correct the key in the conflist or NetworkAttachmentDefinition; names are case-sensitive. The plugin's README lists all keys.",
			Retry: false, When: "the configuration has to change",
		},
		{
			Code: UnknownContainer, Name: "Container unknown",
			Meaning: "The container does not exist and nothing was done for it, so there is nothing to clean up.",
			Sees:    "container 0a1b2c is unknown here",
			Fix:     "Nothing by hand: the runtime drops such a container. If it repeats, look for a runtime that reuses container identifiers.",
			Retry:   false, When: "the container is gone",
		},
		{
			Code: BadEnvironment, Name: "Bad call environment",
			Meaning: "One of the variables CNI_COMMAND, CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME, CNI_PATH, CNI_ARGS is missing or has an impossible value.",
			Sees:    "required env variables [CNI_NETNS] missing",
			Fix:     "Container runtimes set these; look for the caller (a script, a wrapper plugin) that does not, and for pod annotations with an impossible interface name.",
			Retry:   false, When: "the caller has to change",
		},
		{
			Code: IO, Name: "Input or output failed",
			Meaning: "A file, socket or pipe could not be read or written: the state directory, standard input or standard output.",
			Sees:    "state directory /var/lib/weft/ipam cannot be written",
			Details: "open lock: read-only file system",
			Fix:     "Look at the path in the message on that node: free space, mount options, permissions, SELinux or AppArmor denials in the kernel log.",
			Retry:   true, When: "the disk or path recovers",
		},
	}
}

// inputTable holds the specification's codes for what is wrong with the configuration or the node.
func inputTable() []Entry {
	return []Entry{
		{
			Code: Decode, Name: "Undecodable input",
			Meaning: "The configuration on standard input, or the result of the plugin before this one, is empty or is not JSON of the expected form.",
			Sees:    "network configuration on standard input is not valid JSON: unexpected end of JSON input",
			Fix:     "Check the conflist with any JSON tool; for a NetworkAttachmentDefinition check spec.config, a string that holds JSON.",
			Retry:   false, When: "the configuration has to change",
		},
		{
			Code: InvalidConfig, Name: "Invalid configuration",
			Meaning: "The configuration is understood and contradicts itself or lacks something. Each problem is listed as path, what was got, what is wanted.",
			Sees:    `ipam.pools[0].ipv4.gateway: got "10.1.0.1", want an address inside 10.0.0.0/24`,
			Fix:     "Correct every key listed. Details hold the problems that did not fit into the message.",
			Retry:   false, When: "the configuration has to change",
		},
		{
			Code: BadNetns, Name: "Not a network namespace",
			Meaning: "The path in CNI_NETNS does not exist, is not a network namespace, or is the namespace the plugin itself runs in. Nothing was done.",
			Sees:    "CNI_NETNS: got /run/netns/x, an ordinary file, want a network namespace",
			Fix:     "Usually the sandbox died while it was set up; look into the runtime's log for that sandbox. A plugin must not be called for a host-network pod.",
			Retry:   true, When: "the runtime makes a new sandbox",
		},
		{
			Code: TryAgain, Name: "Try again later",
			Meaning: "Something passing is in the way: the node agent restarts, a lock is held, the deadline of the call was reached. Everything done so far was undone.",
			Sees:    "ADD did not finish within 30s",
			Fix:     "Nothing at first. If it repeats, details name what was waited for.",
			Retry:   true, When: "the cause passes, usually within seconds",
		},
		{
			Code: Unavailable, Name: "Plugin cannot serve",
			Meaning: "STATUS: the plugin cannot serve an ADD now. For the cluster's default network kubelet reports the node as not ready.",
			Sees:    "state directory /var/lib/weft/ipam is not writable",
			Fix:     "Repair what the message names on that node.",
			Retry:   true, When: "the named cause is repaired",
		},
		{
			Code: LimitedService, Name: "Limited service",
			Meaning: "STATUS: the plugin cannot serve an ADD now, and pods that run already may have lost connectivity.",
			Sees:    "parent interface eth1 is down",
			Fix:     "Repair what the message names on that node; running pods on this network are affected.",
			Retry:   true, When: "the named cause is repaired",
		},
	}
}

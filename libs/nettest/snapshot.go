// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package nettest

import "strings"

// Snapshot is what the namespace's network is made of, as text: links,
// addresses, routes and rules of both families, and nftables. Two equal
// snapshots mean that nothing was left behind.
func (n *NS) Snapshot() string {
	n.t.Helper()
	var out strings.Builder
	for _, cmd := range []string{
		"ip -br link", "ip -br addr", "ip -4 route show table all", "ip -6 route show table all",
		"ip -4 rule", "ip -6 rule", "ip -4 neigh show nud permanent", "ip -6 neigh show nud permanent", "nft list ruleset",
	} {
		args := strings.Fields(cmd)
		out.WriteString("$ " + cmd + "\n" + n.Exec(args[0], args[1:]...))
	}
	return out.String()
}

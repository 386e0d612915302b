// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package poolselect_test

import (
	"fmt"

	"github.com/weft-cni/weft/libs/attach"
	"github.com/weft-cni/weft/libs/poolselect"
)

func ExampleSelect() {
	w, err := attach.Wanted(attach.Input{
		Pod: map[string]string{"weft.dev/pools": "blue, gr*"},
		NIC: attach.NIC{Name: "eth0"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	pools := []poolselect.Pool{
		{Name: "blue", Suspend: true},
		{Name: "green", Free: "12"},
		{Name: "grey", Priority: 5, Allow: poolselect.Allow{Nodes: &poolselect.NameOrLabels{Names: []string{"n2"}}}},
		{Name: "red"},
	}
	s, err := poolselect.Select(pools, poolselect.Request{
		Want:    w,
		Subject: poolselect.Subject{Node: poolselect.Object{Name: "n1"}, NIC: "eth0"},
	})
	fmt.Println(s.Candidates[0].Name, err)
	fmt.Print(s.Explanation.Table())
	// Output:
	// green <nil>
	// POOL    TRY   FREE   FILTER      WHY
	// green   1     12     -           matches gr*, priority 0
	// blue    -     -      suspended   is suspended
	// grey    -     -      node        allows nodes n2 (this is n1)
	// red     -     -      wanted      not in weft.dev/pools of the pod
}

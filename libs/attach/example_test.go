// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package attach_test

import (
	"fmt"

	"github.com/weft-cni/weft/libs/attach"
)

func ExampleWanted() {
	w, err := attach.Wanted(attach.Input{
		Pod:       map[string]string{"weft.dev/pools": "eth0=blue; net1=green, spare-*"},
		Namespace: map[string]string{"weft.dev/pools": "grey"},
		NIC:       attach.NIC{Name: "net1", Position: 1},
	})
	fmt.Println(w.Source, w.Pools, err)
	// Output: weft.dev/pools of the pod [green spare-*] <nil>
}

func ExampleWanted_refused() {
	_, err := attach.Wanted(attach.Input{
		Pod: map[string]string{"weft.dev/ips": "192.0.2.7/24"},
		NIC: attach.NIC{Name: "eth0"},
	})
	fmt.Println(err)
	// Output: annotation weft.dev/ips of the pod: "192.0.2.7/24" has a prefix length; write 192.0.2.7: the length comes from the pool
}

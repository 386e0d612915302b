// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package cniplugin_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/weft-cni/weft/libs/cniplugin"
)

// conf is the configuration of the plugin in this example.
type conf struct {
	Address netip.Prefix `json:"address"`
	Note    string       `json:"note"`
}

func readConf(raw []byte) (conf, cniplugin.Problems) {
	c, ps := cniplugin.Decode[conf](raw, "ipam", "type")
	if c.Address.IsValid() && c.Address.Addr() == c.Address.Masked().Addr() {
		ps.Add("ipam.address", c.Address.String(), "an address of the subnet, not the subnet itself")
	}
	return c, ps
}

// minimal is a whole IPAM plugin: it gives the one address of its configuration.
func minimal() cniplugin.Plugin[conf] {
	nothing := func(context.Context, *cniplugin.Request[conf]) error { return nil }
	return cniplugin.Plugin[conf]{
		Name:   "minimal",
		About:  "gives the one address of its configuration",
		Config: readConf,
		Add: func(_ context.Context, r *cniplugin.Request[conf]) (*current.Result, error) {
			a := r.Config.Address
			return &current.Result{IPs: []*current.IPConfig{{Address: net.IPNet{
				IP: a.Addr().AsSlice(), Mask: net.CIDRMask(a.Bits(), a.Addr().BitLen()),
			}}}}, nil
		},
		Del: nothing, Check: nothing, GC: nothing,
	}
}

// The main function of a plugin is one line:
//
//	func main() { cniplugin.Main(minimal()) }
//
// This example shows what a user gets for three mistakes in one configuration.
func Example() {
	p := minimal()
	_, problems := p.Config([]byte(`{
		"cniVersion": "1.1.0", "name": "lan", "type": "macvlan",
		"ipam": {"type": "minimal", "adddress": "10.0.0.0/24", "note": 7, "Note": "x"}
	}`))
	for _, one := range problems {
		fmt.Println(one)
	}
	if e, ok := errors.AsType[*types.Error](problems.Err()); ok {
		fmt.Println("code", e.Code)
	}
	// Output:
	// ipam.adddress: unknown key with value "10.0.0.0/24", did you mean "address"?
	// ipam.note: got 7, want a string
	// ipam.Note: unknown key with value "x", did you mean "note"?
	// code 2
}

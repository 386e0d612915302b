// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package kernel_test

import (
	"testing"

	"github.com/weft-cni/weft/libs/netns"
	"github.com/weft-cni/weft/libs/netplan/kernel"
	"github.com/weft-cni/weft/libs/netplan/netplantest"
	"github.com/weft-cni/weft/libs/nettest"
)

func TestMain(m *testing.M) { nettest.Main(m) }

func TestSuite(t *testing.T) {
	t.Parallel()
	nettest.Need(t, "nft")
	netplantest.Run(t, func(t *testing.T) netplantest.Pair {
		t.Helper()
		near, far := nettest.New(t, "near"), nettest.New(t, "far")
		return netplantest.Pair{Near: open(t, near), Far: open(t, far), FarPath: far.Path()}
	})
}

func open(t *testing.T, n *nettest.NS) *kernel.Kernel {
	t.Helper()
	ns, err := netns.Open(n.Path())
	if err != nil {
		t.Fatal(err)
	}
	k, err := kernel.Open(ns)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
		if err := ns.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

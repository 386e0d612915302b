// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package netplanfake_test

import (
	"testing"

	"github.com/weft-cni/weft/libs/netplan/netplanfake"
	"github.com/weft-cni/weft/libs/netplan/netplantest"
)

func TestSuite(t *testing.T) {
	t.Parallel()
	netplantest.Run(t, func(*testing.T) netplantest.Pair {
		w := netplanfake.NewWorld()
		return netplantest.Pair{Near: w.Namespace("near"), Far: w.Namespace("far"), FarPath: "far"}
	})
}

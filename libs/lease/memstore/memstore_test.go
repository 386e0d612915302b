// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package memstore_test

import (
	"testing"
	"time"

	"github.com/weft-cni/weft/libs/lease"
	"github.com/weft-cni/weft/libs/lease/memstore"
	"github.com/weft-cni/weft/libs/lease/storetest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(_ *testing.T, now func() time.Time) (lease.Store, func() lease.Store) {
		return memstore.New(now), nil
	})
}

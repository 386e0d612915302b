// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package census

import (
	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
	"github.com/weft-cni/weft/libs/k8s/leasestore"
)

// Of reads what is counted of a lease.
func Of(l *v1alpha1.IPLease) (Lease, error) {
	e, err := leasestore.Entry(l)
	if err != nil {
		return Lease{}, err
	}
	out := Lease{Key: e.Key, Pool: l.Spec.Pool, State: Idle, Until: e.Until}
	switch {
	case !e.Until.IsZero():
		out.State = Resting
	case l.Spec.Attachment != nil:
		out.State = Claimed
	}
	return out, nil
}

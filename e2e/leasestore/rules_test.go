// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package leasestore_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/weft-cni/weft/e2e/api"
	"github.com/weft-cni/weft/e2e/leasestore"
	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
)

// TestRules tries the rules of what the controller and the store write.
func TestRules(t *testing.T) {
	t.Parallel()
	client := leasestore.Client(t, api.Start(t))
	family := func(total, free string, used, resting int64, taken string) *v1alpha1.FamilyHint {
		return &v1alpha1.FamilyHint{Addresses: "0123456789abcdef", Total: total, Free: free, Used: used, Resting: resting, Taken: []byte(taken)}
	}
	hint := func(v4, v6 *v1alpha1.FamilyHint) *v1alpha1.IPHint {
		h := &v1alpha1.IPHint{IPv4: v4, IPv6: v6, Made: metav1.NewMicroTime(time.Now())}
		h.Name = "blue"
		return h
	}
	lease := func(kind string, cooldown time.Duration) *v1alpha1.IPLease {
		l := &v1alpha1.IPLease{Spec: v1alpha1.IPLeaseSpec{
			Address: "192.0.2.7", Domain: "rules", Pool: "blue",
			Holder: v1alpha1.Holder{Kind: kind, Name: "web"}, Cooldown: &metav1.Duration{Duration: cooldown},
		}}
		l.Name = "192.0.2.7.rules"
		return l
	}
	const large = "18446744073709551615"
	for _, c := range []struct {
		name, refused string
		object        runtime.Object
	}{
		{name: "a hint of IPv4", object: hint(family("254", "250", 3, 1, "x"), nil)},
		{name: "a hint of both families", object: hint(family("1048576", "1048576", 0, 0, "x"), family(large, large, 0, 0, ""))},
		{name: "a hint of nothing", object: hint(nil, nil), refused: "a hint needs ipv4, ipv6 or both"},
		{name: "a bitmap of a large pool", object: hint(nil, family(large, large, 0, 0, "x")), refused: "taken is for pools of at most 1048576 addresses"},
		{name: "a bitmap of a pool that is one too large", object: hint(family("1048577", "1048577", 0, 0, "x"), nil), refused: "taken is for pools of at most 1048576 addresses"},
		{name: "more free than there are", object: hint(family("254", "254", 3, 1, "x"), nil), refused: "free must be total less used and resting"},
		{name: "a count that is none", object: hint(family("many", "1", 0, 0, ""), nil), refused: "total"},
		{name: "a lease that rests a minute", object: lease("Pod", time.Minute)},
		{name: "a lease of a container", object: lease("Container", 0)},
		{name: "a lease that rests too long", object: lease("Pod", 48*time.Hour), refused: "cooldown must be between 0s and 24h"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			resource := "iphints"
			if _, ok := c.object.(*v1alpha1.IPLease); ok {
				resource = "ipleases"
			}
			err := client.Post().Resource(resource).Param("dryRun", "All").Param("fieldValidation", "Strict").Body(c.object).Do(t.Context()).Error()
			switch {
			case c.refused == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.refused != "" && err == nil:
				t.Errorf("taken, want it refused with %q", c.refused)
			case c.refused != "" && !strings.Contains(err.Error(), c.refused):
				t.Errorf("refused with %q, want %q in it", err, c.refused)
			}
		})
	}
}

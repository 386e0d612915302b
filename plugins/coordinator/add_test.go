// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package main

import "testing"

func TestSmoke(t *testing.T) {
	r := newRig(t, both)
	r.conf["serviceCIDRs"] = []string{"10.96.0.0/16", "fd96::/112"}
	r.mustAdd()
	for _, cmd := range []string{"ip -d addr", "ip route show table all", "ip -6 route show table all", "ip rule", "ip -6 rule", "ip neigh show nud permanent"} {
		t.Log(r.host.Exec("sh", "-c", cmd))
		t.Log(r.pod.Exec("sh", "-c", cmd))
	}
	if err := r.check(); err != nil {
		t.Error(err)
	}
	r.mustAdd()
	r.del(r.pod.Path())
}

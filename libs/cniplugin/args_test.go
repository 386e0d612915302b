// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package cniplugin

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseArgs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in       string
		want     Args
		problems int
	}{
		{"", Args{}, 0},
		{";;", Args{}, 0},
		{"IgnoreUnknown=1;K8S_POD_NAMESPACE=a;K8S_POD_NAME=b;K8S_POD_UID=c;K8S_POD_INFRA_CONTAINER_ID=d", Args{PodNamespace: "a", PodName: "b", PodUID: "c"}, 0},
		{"IP=10.0.0.7,fd00::7;X=y=z", Args{IP: "10.0.0.7,fd00::7"}, 0},
		{"IP=", Args{}, 0},
		{"K8S_POD_NAME=a;K8S_POD_NAME=a", Args{PodName: "a"}, 0},
		{"K8S_POD_NAME=a;K8S_POD_NAME=b", Args{PodName: "a"}, 1},
		{"nonsense;=x;K8S_POD_NAME=a", Args{PodName: "a"}, 2},
		{"k8s_pod_name=a", Args{}, 0},
	} {
		got, ps := parseArgs(c.in)
		if diff := cmp.Diff(c.want, got); diff != "" || len(ps) != c.problems {
			t.Errorf("%q: %v %s", c.in, ps, diff)
		}
	}
}

func TestPod(t *testing.T) {
	t.Parallel()
	if got := (Args{PodNamespace: "shop"}).Pod(); got != "" {
		t.Errorf("a pod without a name: %q", got)
	}
	if got := (Args{PodNamespace: "shop", PodName: "db-0"}).Pod(); got != "shop/db-0" {
		t.Error(got)
	}
}

func TestDistance(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"abc", "", 3},
		{"pools", "pools", 0},
		{"pols", "pools", 1},
		{"poosl", "pools", 1},
		{"gatewya", "gateway", 1},
		{"kitten", "sitting", 3},
		{"ab", "ba", 1},
	} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("%q to %q: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

// FuzzParseArgs checks that whatever is parsed was in the input, and that parsing what was parsed gives the same.
func FuzzParseArgs(f *testing.F) {
	f.Add("IgnoreUnknown=1;K8S_POD_NAMESPACE=a;K8S_POD_NAME=b;IP=::1")
	f.Add(";;=;K8S_POD_NAME==;K8S_POD_NAME")
	f.Fuzz(func(t *testing.T, in string) {
		a, ps := parseArgs(in)
		for _, v := range []string{a.PodNamespace, a.PodName, a.PodUID, a.IP} {
			if !strings.Contains(in, v) {
				t.Errorf("%q came from nowhere", v)
			}
		}
		again, none := parseArgs("IP=" + a.IP + ";K8S_POD_UID=" + a.PodUID + ";K8S_POD_NAME=" + a.PodName + ";K8S_POD_NAMESPACE=" + a.PodNamespace)
		if again != a || len(none) != 0 {
			t.Errorf("%+v, again %+v (%v)", a, again, none)
		}
		for _, p := range ps {
			if strings.ContainsAny(p.String(), "\n\r") {
				t.Errorf("problem in several lines: %q", p)
			}
		}
	})
}

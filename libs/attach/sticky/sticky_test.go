// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package sticky_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weft-cni/weft/libs/attach/sticky"
)

func web() sticky.Owner {
	return sticky.Owner{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "web", UID: "set-1"}
}

func vm() sticky.Owner {
	return sticky.Owner{APIVersion: "kubevirt.io/v1", Kind: "VirtualMachine", Name: "db", UID: "vm-1"}
}

func vmi() sticky.Owner {
	return sticky.Owner{APIVersion: "kubevirt.io/v1", Kind: "VirtualMachineInstance", Name: "db", UID: "vmi-1"}
}

func pod(name string, owners ...sticky.Owner) sticky.Pod {
	return sticky.Pod{Namespace: "shop", Name: name, UID: "pod-1", Owners: owners, Labels: map[string]string{}, Annotations: map[string]string{}}
}

func wish(p sticky.Pod, value string) sticky.Pod {
	p.Annotations[sticky.Annotation] = value
	return p
}

func from(p sticky.Pod, generateName string) sticky.Pod {
	p.GenerateName = generateName
	return p
}

func launcher(p sticky.Pod) sticky.Pod {
	p.Labels["kubevirt.io"] = "virt-launcher"
	return p
}

func alone(p sticky.Pod) sticky.Pod {
	p.Complete = true
	return p
}

func target(p sticky.Pod) sticky.Pod {
	p.Annotations["kubevirt.io/migrationJobName"] = "kubevirt-evacuation-x7k"
	return p
}

func TestOf(t *testing.T) {
	t.Parallel()
	own := func(api, kind string) sticky.Owner {
		return sticky.Owner{APIVersion: api, Kind: kind, Name: "web", UID: "own-1"}
	}
	const ordinary = "Pod shop/%s pod-1"
	for name, c := range map[string]struct {
		pod  sticky.Pod
		want string // the holder of eth0, and what else is so
	}{
		"bare pod":                       {pod("a"), fmt.Sprintf(ordinary, "a")},
		"Deployment":                     {from(pod("web-6d4cf56db6-x7kzt", own("apps/v1", "ReplicaSet")), "web-6d4cf56db6-"), fmt.Sprintf(ordinary, "web-6d4cf56db6-x7kzt")},
		"Job":                            {pod("web-x7kzt", own("batch/v1", "Job")), fmt.Sprintf(ordinary, "web-x7kzt")},
		"StatefulSet":                    {from(pod("web-0", web()), "web-"), "IPClaim shop/pod.web-0.eth0 set-1"},
		"StatefulSet, large ordinal":     {from(pod("web-24567", web()), "web-"), "IPClaim shop/pod.web-24567.eth0 set-1"},
		"StatefulSet, no ordinal":        {pod("web-a", web()), fmt.Sprintf(ordinary, "web-a")},
		"StatefulSet, padded ordinal":    {pod("web-01", web()), fmt.Sprintf(ordinary, "web-01")},
		"StatefulSet, other name":        {pod("webb-1", web()), fmt.Sprintf(ordinary, "webb-1")},
		"StatefulSet that will not":      {wish(pod("web-0", web()), "false"), fmt.Sprintf(ordinary, "web-0")},
		"StatefulSet that says so":       {wish(pod("web-0", web()), "true"), "IPClaim shop/pod.web-0.eth0 set-1"},
		"StatefulSet of somebody else":   {pod("web-0", own("apps.kruise.io/v1beta1", "StatefulSet")), fmt.Sprintf(ordinary, "web-0")},
		"somebody else's, asked for":     {wish(from(pod("web-0", own("apps.kruise.io/v1beta1", "StatefulSet")), "web-"), "true"), "IPClaim shop/pod.web-0.eth0 own-1"},
		"database operator":              {wish(pod("pg-1", own("postgresql.cnpg.io/v1", "Cluster")), "true"), "IPClaim shop/pod.pg-1.eth0 own-1"},
		"operator that numbers by five":  {wish(from(pod("pg-24567", own("example.org/v1", "Cluster")), "pg-"), "true"), "IPClaim shop/pod.pg-24567.eth0 own-1"},
		"virtual machine":                {launcher(pod("virt-launcher-db-x7kzt", vmi(), vm())), "IPClaim shop/vm.db.eth0 vm-1"},
		"virtual machine that will not":  {wish(launcher(pod("virt-launcher-db-x7kzt", vmi(), vm())), "false"), fmt.Sprintf(ordinary, "virt-launcher-db-x7kzt")},
		"migration target":               {target(launcher(pod("virt-launcher-db-wq5zp", vmi(), vm()))), "IPClaim shop/vm.db.eth0 vm-1 migrating"},
		"instance without a machine":     {alone(launcher(pod("virt-launcher-db-x7kzt", vmi()))), "IPClaim shop/vm.db.eth0 vmi-1"},
		"hotplug pod of a machine":       {pod("hp-volume-x7kzt", sticky.Owner{APIVersion: "v1", Kind: "Pod", Name: "virt-launcher-db-x7kzt", UID: "l-1"}), fmt.Sprintf(ordinary, "hp-volume-x7kzt")},
		"somebody else's VM":             {launcher(pod("a", sticky.Owner{APIVersion: "example.org/v1", Kind: "VirtualMachineInstance", Name: "db", UID: "u"})), fmt.Sprintf(ordinary, "a")},
		"label without an owner":         {launcher(pod("a")), fmt.Sprintf(ordinary, "a")},
		"bare pod, asked for":            {wish(pod("a"), "true"), "the pod has no controller whose end would free the address"},
		"Deployment, asked for":          {wish(pod("web-x", own("apps/v1", "ReplicaSet")), "true"), "each pod of a ReplicaSet has a name of its own"},
		"unlabelled pod of a machine":    {wish(pod("a", vmi(), vm()), "true"), "each pod of a VirtualMachineInstance has a name of its own"},
		"generated name, asked for":      {wish(from(pod("job-x7kzt", own("example.org/v1", "Batch")), "job-"), "true"), "job-x7kzt ends in letters that were drawn by lot"},
		"long generated name, asked for": {wish(from(pod(strings.Repeat("a", 58)+"x7kzt", own("example.org/v1", "Batch")), strings.Repeat("a", 60)), "true"), "ends in letters that were drawn by lot"},
		"neither true nor false":         {wish(pod("web-0", web()), "yes"), `"yes" is neither "true" nor "false"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id, err := sticky.Of(c.pod)
			if err != nil {
				if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "weft.dev/sticky") {
					t.Errorf("%v does not say %q", err, c.want)
				}
				return
			}
			h := id.Holder("eth0")
			got := fmt.Sprintf("%s %s/%s %s", h.Kind, h.Namespace, h.Name, h.UID)
			if id.Migrating {
				got += " migrating"
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
			if id.Keep != (h.Kind == sticky.HolderClaim) {
				t.Errorf("Keep is %v for a %s", id.Keep, h.Kind)
			}
		})
	}
}

func TestMigrationHasOneHolder(t *testing.T) {
	t.Parallel()
	source, err := sticky.Of(launcher(pod("virt-launcher-db-x7kzt", vmi(), vm())))
	if err != nil {
		t.Fatal(err)
	}
	next, err := sticky.Of(target(launcher(pod("virt-launcher-db-wq5zp", vmi(), vm()))))
	if err != nil {
		t.Fatal(err)
	}
	if source.Holder("eth0") != next.Holder("eth0") || source.Migrating || !next.Migrating {
		t.Errorf("%+v and %+v", source, next)
	}
}

func TestOfDoesNotGuessTheOwner(t *testing.T) {
	t.Parallel()
	_, err := sticky.Of(launcher(pod("virt-launcher-db-x7kzt", vmi())))
	if !errors.Is(err, sticky.ErrOwnerUnknown) {
		t.Errorf("%v", err)
	}
	if _, err := sticky.Of(wish(launcher(pod("virt-launcher-db-x7kzt", vmi())), "false")); err != nil {
		t.Errorf("nobody needs to know: %v", err)
	}
}

func TestNeedsOwner(t *testing.T) {
	t.Parallel()
	if !vmi().NeedsOwner() {
		t.Error("an instance may belong to a machine")
	}
	for _, o := range []sticky.Owner{web(), vm(), {APIVersion: "example.org/v1", Kind: "VirtualMachineInstance"}} {
		if o.NeedsOwner() {
			t.Errorf("%s %s is looked up for nothing", o.APIVersion, o)
		}
	}
}

func TestEntitled(t *testing.T) {
	t.Parallel()
	some := func(n int) *int { return &n }
	is := func(uid string) sticky.State { return sticky.State{Presence: sticky.Present, UID: uid} }
	set := func(replicas *int, start int) sticky.State {
		return sticky.State{Presence: sticky.Present, UID: "set-1", Replicas: replicas, Start: start}
	}
	of := func(p sticky.Pod) sticky.Identity {
		id, err := sticky.Of(p)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	web3 := of(pod("web-3", web()))
	ordinary := of(pod("a"))
	machine := of(launcher(pod("virt-launcher-db-x7kzt", vmi(), vm())))
	operator := of(wish(pod("pg-1", sticky.Owner{APIVersion: "example.org/v1", Kind: "Cluster", Name: "pg", UID: "c-1"}), "true"))
	for name, c := range map[string]struct {
		id    sticky.Identity
		state sticky.State
		want  bool
		why   string
	}{
		"nothing is known":            {web3, sticky.State{}, true, "whether StatefulSet web exists is not known"},
		"set gone":                    {web3, sticky.State{Presence: sticky.Absent}, false, "StatefulSet web is gone"},
		"set made again":              {web3, is("set-2"), false, "StatefulSet web is gone, and another one has its name"},
		"uid unknown":                 {web3, is(""), true, "which StatefulSet web it was is not known"},
		"last ordinal":                {web3, set(some(4), 0), true, "StatefulSet web wants web-3"},
		"scaled down":                 {web3, set(some(3), 0), false, "StatefulSet web wants web-0 to web-2 only"},
		"scaled to zero":              {web3, set(some(0), 0), false, "StatefulSet web wants no pods"},
		"one pod":                     {web3, set(some(1), 0), false, "StatefulSet web wants web-0 only"},
		"first of a later start":      {web3, set(some(1), 3), true, "StatefulSet web wants web-3"},
		"below the start":             {web3, set(some(9), 4), false, "StatefulSet web wants web-4 to web-12 only"},
		"later start, scaled down":    {web3, set(some(2), 1), false, "StatefulSet web wants web-1 to web-2 only"},
		"replicas unknown":            {web3, set(nil, 0), true, "StatefulSet web exists, and whether it wants web-3 is not known"},
		"pod runs":                    {ordinary, is("pod-1"), true, "Pod a exists"},
		"pod finished":                {ordinary, sticky.State{Presence: sticky.Present, UID: "pod-1", Finished: true}, false, "Pod a has finished"},
		"pod gone":                    {ordinary, sticky.State{Presence: sticky.Absent}, false, "Pod a is gone"},
		"pod of the same name":        {ordinary, is("pod-2"), false, "Pod a is gone, and another one has its name"},
		"machine stands":              {machine, is("vm-1"), true, "VirtualMachine db exists"},
		"machine deleted":             {machine, sticky.State{Presence: sticky.Absent}, false, "VirtualMachine db is gone"},
		"operator's cluster":          {operator, is("c-1"), true, "Cluster pg exists"},
		"operator's cluster finished": {operator, sticky.State{Presence: sticky.Present, UID: "c-1", Finished: true}, true, "Cluster pg exists"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if d := cmp.Diff(sticky.Verdict{Entitled: c.want, Why: c.why}, c.id.Entitled(c.state)); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestEntitledIsTheReplicas compares with the definition: the ordinals that the
// StatefulSet controller makes are start, start+1, …, start+replicas-1.
func TestEntitledIsTheReplicas(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n, start, replicas := rapid.IntRange(0, 12).Draw(t, "ordinal"), rapid.IntRange(0, 9).Draw(t, "start"), rapid.IntRange(0, 6).Draw(t, "replicas")
		id, err := sticky.Of(pod(fmt.Sprintf("web-%d", n), web()))
		if err != nil {
			t.Fatal(err)
		}
		want := false
		for i := range replicas {
			want = want || start+i == n
		}
		v := id.Entitled(sticky.State{Presence: sticky.Present, UID: "set-1", Replicas: &replicas, Start: start})
		if v.Entitled != want {
			t.Fatalf("%+v, not %v", v, want)
		}
	})
}

// TestClaimNames checks that two members or interfaces never share a claim, and
// that every name can be the name of an object.
func TestClaimNames(t *testing.T) {
	t.Parallel()
	names := rapid.StringMatching(`[a-z0-9]([a-z0-9.]{0,3}[a-z0-9])?|[a-z]{225,250}`)
	nics := rapid.StringMatching(`[a-zA-Z0-9._-]{1,4}|x-[0-9a-f]{2}`)
	draw := func(t *rapid.T, which string) (member, nic string, id sticky.Identity) {
		o := web()
		if rapid.Bool().Draw(t, which+" machine") {
			o = vm()
		}
		member = names.Draw(t, which+" member")
		return o.Kind + member, nics.Draw(t, which+" nic"), sticky.Identity{Keep: true, Owner: o, Member: member}
	}
	rapid.Check(t, func(t *rapid.T) {
		m1, n1, a := draw(t, "a")
		m2, n2, b := draw(t, "b")
		if rapid.Bool().Draw(t, "same member") {
			m2, b = m1, a
		}
		x, y := a.ClaimName(n1), b.ClaimName(n2)
		if (x == y) != (m1 == m2 && n1 == n2) {
			t.Fatalf("%q for %s %s, %q for %s %s", x, m1, n1, y, m2, n2)
		}
		if len(x) > 253 || strings.Trim(x, "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" || strings.HasSuffix(x, "-") {
			t.Fatalf("%q is no name", x)
		}
	})
}

func TestClaimNamesThatAreNearlyEqual(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 250)
	for _, c := range [][4]string{{"a", "Eth0", "a", "x-45746830"}, {long + "b", "eth0", long + "c", "eth0"}, {"a.b", "c", "a", "b.c"}} {
		x := sticky.Identity{Keep: true, Owner: web(), Member: c[0]}.ClaimName(c[1])
		y := sticky.Identity{Keep: true, Owner: web(), Member: c[2]}.ClaimName(c[3])
		if x == y {
			t.Errorf("%s of %s and %s of %s share %s", c[1], c[0], c[3], c[2], x)
		}
	}
}

func ExampleIdentity_Holder() {
	id, _ := sticky.Of(sticky.Pod{
		Namespace: "shop", Name: "web-0", UID: "3f0c",
		Owners: []sticky.Owner{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "web", UID: "a1b2"}},
	})
	h := id.Holder("net1")
	fmt.Println(id.Keep, h.Kind, h.Namespace, h.Name, h.UID)

	replicas := 3
	fmt.Println(id.Entitled(sticky.State{Presence: sticky.Present, UID: "a1b2", Replicas: &replicas}).Why)
	// Output:
	// true IPClaim shop pod.web-0.net1 a1b2
	// StatefulSet web wants web-0
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package attach_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weft-cni/weft/libs/attach"
)

func pod(kv ...string) map[string]string {
	m := map[string]string{}
	for i := 0; i < len(kv); i += 2 {
		m[kv[i]] = kv[i+1]
	}
	return m
}

func show(w attach.Want) string {
	var b strings.Builder
	b.WriteString(w.Level.String() + " (" + w.Source + ")")
	for _, a := range w.Addrs {
		b.WriteString(" " + a.String())
	}
	if w.Claim != "" {
		b.WriteString(" " + w.Claim + " from " + w.Draw.String())
	}
	if len(w.Pools) > 0 {
		b.WriteString(": " + strings.Join(w.Pools, " > "))
	}
	return b.String()
}

func TestWanted(t *testing.T) {
	t.Parallel()
	eth0 := attach.NIC{Name: "eth0"}
	net1 := attach.NIC{Name: "net1", Position: 1}
	for name, c := range map[string]struct {
		in   attach.Input
		want string
	}{
		"nothing is set":                 {attach.Input{NIC: eth0}, "default pools (pools with default: true)"},
		"configuration":                  {attach.Input{NIC: eth0, Pools: []string{" b ", "a"}}, "pools of the configuration (ipam.pools of the configuration): b > a"},
		"namespace before configuration": {attach.Input{NIC: eth0, Pools: []string{"a"}, Namespace: pod("weft.dev/pools", "ns")}, "pools of the namespace (weft.dev/pools of the namespace): ns"},
		"pod before namespace": {
			attach.Input{NIC: eth0, Pod: pod("weft.dev/pools", "p"), Namespace: pod("weft.dev/pools", "ns")},
			"pools of the pod (weft.dev/pools of the pod): p",
		},
		"claim before pools, which it draws from": {
			attach.Input{NIC: eth0, Pod: pod("weft.dev/claim", "web", "weft.dev/pools", "p")},
			"claim (weft.dev/claim of the pod) web from pools of the pod: p",
		},
		"claim that draws from default pools": {attach.Input{NIC: eth0, Pod: pod("weft.dev/claim", "web")}, "claim (weft.dev/claim of the pod) web from default pools"},
		"addresses before all": {
			attach.Input{NIC: eth0, Pod: pod("weft.dev/ips", "2001:db8::7, 192.0.2.7", "weft.dev/claim", "web", "weft.dev/pools", "p"), IPs: []string{"192.0.2.9"}},
			"exact addresses (weft.dev/ips of the pod) 192.0.2.7 2001:db8::7",
		},
		"addresses of the runtime before the claim": {
			attach.Input{NIC: eth0, Pod: pod("weft.dev/claim", "web"), IPs: []string{"192.0.2.9/24", "2001:db8::9"}, IPsFrom: "runtimeConfig.ips"},
			"exact addresses (runtimeConfig.ips) 192.0.2.9 2001:db8::9",
		},
		"one entry is for the interface at hand": {attach.Input{NIC: net1, Pod: pod("weft.dev/pools", "a, b")}, "pools of the pod (weft.dev/pools of the pod): a > b"},
		"first by position":                      {attach.Input{NIC: eth0, Pod: pod("weft.dev/pools", "a,b ; c")}, "pools of the pod (weft.dev/pools of the pod): a > b"},
		"second by position":                     {attach.Input{NIC: net1, Pod: pod("weft.dev/pools", "a,b ; c")}, "pools of the pod (weft.dev/pools of the pod): c"},
		"position behind the last entry":         {attach.Input{NIC: attach.NIC{Name: "net2", Position: 2}, Pod: pod("weft.dev/pools", "a;b"), Pools: []string{"c"}}, "pools of the configuration (ipam.pools of the configuration): c"},
		"by name":                                {attach.Input{NIC: net1, Pod: pod("weft.dev/pools", "eth0 = a ; net1 = b,c*")}, "pools of the pod (weft.dev/pools of the pod): b > c*"},
		"other interfaces are named":             {attach.Input{NIC: net1, Pod: pod("weft.dev/pools", "eth0=a"), Namespace: pod("weft.dev/pools", "ns")}, "pools of the namespace (weft.dev/pools of the namespace): ns"},
		"addresses of another interface":         {attach.Input{NIC: net1, Pod: pod("weft.dev/ips", "eth0=192.0.2.7", "weft.dev/pools", "p")}, "pools of the pod (weft.dev/pools of the pod): p"},
		"runtime's addresses behind those of another interface": {
			attach.Input{NIC: net1, Pod: pod("weft.dev/ips", "eth0=192.0.2.7"), IPs: []string{"192.0.2.9"}},
			"exact addresses (the CNI ips capability) 192.0.2.9",
		},
		"namespace by name":     {attach.Input{NIC: net1, Namespace: pod("weft.dev/pools", "eth0=a;net1=b")}, "pools of the namespace (weft.dev/pools of the namespace): b"},
		"class that looks JSON": {attach.Input{NIC: eth0, Pod: pod("weft.dev/pools", "[bg]lue")}, "pools of the pod (weft.dev/pools of the pod): [bg]lue"},
		"JSON names":            {attach.Input{NIC: net1, Pod: pod("weft.dev/pools", ` [ "a", "b" ] `)}, "pools of the pod (weft.dev/pools of the pod): a > b"},
		"JSON by name":          {attach.Input{NIC: net1, Pod: pod("weft.dev/pools", `[{"interface":"eth0","pools":["a"]},{"interface":"net1","pools":["b"]}]`)}, "pools of the pod (weft.dev/pools of the pod): b"},
		"JSON by position":      {attach.Input{NIC: net1, Pod: pod("weft.dev/ips", `[{"ips":["192.0.2.7"]},{"ips":["192.0.2.8"]}]`)}, "exact addresses (weft.dev/ips of the pod) 192.0.2.8"},
		"JSON claim":            {attach.Input{NIC: eth0, Pod: pod("weft.dev/claim", `[{"interface":"eth0","claim":"web"}]`)}, "claim (weft.dev/claim of the pod) web from default pools"},
		"a namespace's mistake that nobody depends on": {
			attach.Input{NIC: eth0, Pod: pod("weft.dev/pools", "p"), Namespace: pod("weft.dev/pools", "=;,")},
			"pools of the pod (weft.dev/pools of the pod): p",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, err := attach.Wanted(c.in)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, show(w)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestWantedRefuses(t *testing.T) {
	t.Parallel()
	const at = "annotation weft.dev/pools of the pod"
	for name, c := range map[string]struct {
		key, value string
		want       []string // every problem, in order
	}{
		"empty":             {"pools", " ", []string{at + `: is empty; write blue, or remove the annotation`}},
		"empty item":        {"pools", "a,,b", []string{at + `: has an empty item; remove the "," that nothing follows or precedes`}},
		"empty entry":       {"pools", "a;", []string{at + `, entry 2 "": has nothing in it; write blue, or leave the entry out`}},
		"entry of a comma":  {"pools", ",", []string{at + `: has an empty item; remove the "," that nothing follows or precedes`, at + `: has an empty item; remove the "," that nothing follows or precedes`}},
		"name, no items":    {"pools", "eth0=", []string{at + `, entry 1 "eth0=": has nothing in it; write eth0=blue, or leave the entry out`}},
		"no name":           {"pools", "=a", []string{at + `, entry 1 "=a": has no interface before "="; write the name of an interface, as in eth0=a`}},
		"mixed":             {"pools", "eth0=a;b", []string{at + `: 1 of 2 entries name an interface; name one in every entry, or in none: then they go by position`}},
		"interface twice":   {"pools", "eth0=a;eth0=b", []string{at + `, entry 2 "eth0=b": names interface eth0 a second time; write all of it in one entry, as in eth0=blue`}},
		"long interface":    {"pools", "interface0123456=a", []string{at + `, entry 1 "interface0123456=a": interface "interface0123456" is longer than the 15 characters that Linux allows; write the name of an interface, as in eth0=a`}},
		"interface pattern": {"pools", "net*=a", []string{at + `, entry 1 "net*=a": interface "net*" contains '*'; write the name of an interface, as in eth0=a`}},
		"colon":             {"pools", "eth0: a", []string{at + `: "eth0: a" contains ':'; write lower case letters, digits, "-" and "." and, in a pattern, *, ? and [a-z]`}},
		"pool twice":        {"pools", "a,b,a", []string{at + `: has a twice; write it once`}},
		"capitals":          {"pools", "Blue", []string{at + `: "Blue" has capital letters; write blue`}},
		"bad name":          {"pools", "-a", []string{at + `: "-a" cannot be the name of a pool; write lower case letters, digits, "-" and "." and, in a pattern, *, ? and [a-z]`}},
		"open class":        {"pools", "pool-[ab", []string{at + `: "pool-[ab" is a pattern that does not end well; close every "[" with "]", without a comma or semicolon in between, as in pool-[ab]`}},
		"several problems": {"pools", "eth0=A,b,b;net1=", []string{
			at + `, entry 1 "eth0=A,b,b": "A" has capital letters; write a`,
			at + `, entry 1 "eth0=A,b,b": has b twice; write it once`,
			at + `, entry 2 "net1=": has nothing in it; write net1=blue, or leave the entry out`,
		}},
		"too many entries": {"pools", strings.Repeat("a;", 99) + "a", []string{at + `: has 100 entries; write at most 16, one for each interface`}},
		"too many items":   {"pools", strings.Repeat("a,", 99) + "a", []string{at + `: has 100 items; write at most 32, or a pattern`}},
		"unknown interface": {"pools", "eth0=a;eht1=b", []string{
			at + `, entry 2 "eht1=b": the pod has no interface eht1; write one of eth0, net1`,
		}},
		"more entries than interfaces": {"pools", "a;b;c", []string{at + `: has 3 entries; write at most 2, for the pod has eth0, net1`}},

		"no address":         {"ips", "192.0.2", []string{`annotation weft.dev/ips of the pod: "192.0.2" is no address; write one as in 192.0.2.7 or 2001:db8::7`}},
		"prefix length":      {"ips", "192.0.2.7/24", []string{`annotation weft.dev/ips of the pod: "192.0.2.7/24" has a prefix length; write 192.0.2.7: the length comes from the pool`}},
		"zone":               {"ips", "fe80::1%eth0", []string{`annotation weft.dev/ips of the pod: "fe80::1%eth0" has a zone; write fe80::1`}},
		"IPv4 in IPv6":       {"ips", "::ffff:192.0.2.7", []string{`annotation weft.dev/ips of the pod: "::ffff:192.0.2.7" is an IPv4 address in IPv6 form; write 192.0.2.7`}},
		"multicast":          {"ips", "ff02::1", []string{`annotation weft.dev/ips of the pod: "ff02::1" is an address that no interface can have; write an address of one of the pools`}},
		"address twice":      {"ips", "2001:db8::7,2001:DB8:0::7", []string{`annotation weft.dev/ips of the pod: has 2001:db8::7 twice; write it once`}},
		"one family twice":   {"ips", "192.0.2.7,192.0.2.8", []string{`annotation weft.dev/ips of the pod: has 192.0.2.7 and 192.0.2.8, which are of one family; write at most one IPv4 and one IPv6 address for an interface`}},
		"address on two":     {"ips", "eth0=192.0.2.7;net1=192.0.2.7", []string{`annotation weft.dev/ips of the pod, entry 2 "net1=192.0.2.7": 192.0.2.7 is in entry 1 "eth0=192.0.2.7" too; write an address for one interface only`}},
		"two claims":         {"claim", "a,b", []string{`annotation weft.dev/claim of the pod: names 2 claims; write one: an interface has its addresses from one claim`}},
		"claim as a pattern": {"claim", "a*", []string{`annotation weft.dev/claim of the pod: "a*" cannot be the name of a claim; write lower case letters, digits, "-" and ".", as in web`}},

		"JSON unknown key": {"pools", `[{"nic":"eth0","pools":["a"]}]`, []string{at + `: is JSON that cannot be read: unknown field "[0].nic"; write [{"interface": "eth0", "pools": ["blue"]}]`}},
		"JSON other kind":  {"pools", `[{"interface":"eth0","ips":["192.0.2.7"]}]`, []string{at + `, entry 1: has the key "ips"; write "pools" here, and ips in the annotation weft.dev/ips`, at + `, entry 1: has nothing in it; write eth0=blue, or leave the entry out`}},
		"JSON object":      {"pools", `{"pools":["a"]}`, []string{at + `: is JSON that cannot be read: a JSON object stands where something else belongs; write [{"interface": "eth0", "pools": ["blue"]}]`}},
		"JSON type":        {"pools", `[{"pools":"a"}]`, []string{at + `: is JSON that cannot be read: pools must not be a JSON string; write [{"interface": "eth0", "pools": ["blue"]}]`}},
		"JSON cut short":   {"pools", `["a"`, []string{at + `: is JSON that cannot be read: unexpected end of JSON input; write [{"interface": "eth0", "pools": ["blue"]}]`}},
		"near miss":        {"pool", "a", []string{"annotation weft.dev/pool of the pod: is not read by anything; write weft.dev/pools"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := attach.Input{Pod: pod("weft.dev/"+c.key, c.value), NIC: attach.NIC{Name: "eth0"}}
			if strings.Contains(name, "interface") && !strings.Contains(name, "pattern") && !strings.Contains(name, "long") {
				in.NICs = []string{"eth0", "net1"}
			}
			_, err := attach.Wanted(in)
			var got []string
			if invalid := (*attach.InvalidError)(nil); errors.As(err, &invalid) {
				for _, p := range invalid.Problems {
					got = append(got, p.String())
				}
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestWantedRefusesAllAtOnce(t *testing.T) {
	t.Parallel()
	_, err := attach.Wanted(attach.Input{
		NIC: attach.NIC{Name: "eth0"},
		Pod: pod("weft.dev/ips", "192.0.2", "weft.dev/claim", "Web", "weft.dev/pools", "a,"),
	})
	for _, s := range []string{"weft.dev/ips", "weft.dev/claim", "weft.dev/pools"} {
		if err == nil || !strings.Contains(err.Error(), s) {
			t.Errorf("%v does not name %s", err, s)
		}
	}
}

func TestWantedRefusesInConfigurationAndCapability(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in   attach.Input
		want string
	}{
		"configuration": {attach.Input{Pools: []string{"a", ""}}, `ipam.pools of the configuration: has an empty item; remove the "," that nothing follows or precedes`},
		"namespace":     {attach.Input{Namespace: pod("weft.dev/pools", "A")}, `annotation weft.dev/pools of the namespace: "A" has capital letters; write a`},
		"capability":    {attach.Input{IPs: []string{"192.0.2.7/24", "192.0.2.8"}}, "the CNI ips capability: has 192.0.2.7 and 192.0.2.8, which are of one family; write at most one IPv4 and one IPv6 address for an interface"},
		"position": {
			attach.Input{NIC: attach.NIC{Name: "lan", Position: -1}, Pod: pod("weft.dev/pools", "a;b")},
			"annotation weft.dev/pools of the pod: has 2 entries by position, and nobody knows the position of lan; name the interfaces, as in lan=a",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := attach.Wanted(c.in)
			if err == nil || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestDrawFrom(t *testing.T) {
	t.Parallel()
	w, err := attach.Wanted(attach.Input{NIC: attach.NIC{Name: "eth0"}, Pod: pod("weft.dev/claim", "web", "weft.dev/pools", "p")})
	if err != nil {
		t.Fatal(err)
	}
	own := w.DrawFrom("spec.pools of claim web", []string{"q"})
	if own.Level != attach.LevelClaim || own.Draw != attach.LevelClaim || own.PoolsSource != "spec.pools of claim web" || !cmp.Equal(own.Pools, []string{"q"}) || w.Pools[0] != "p" {
		t.Errorf("%+v of %+v", own, w)
	}
}

func TestPassedLevels(t *testing.T) {
	t.Parallel()
	w, err := attach.Wanted(attach.Input{
		NIC:       attach.NIC{Name: "net2", Position: 2},
		Pod:       pod("weft.dev/ips", "192.0.2.7;192.0.2.8", "weft.dev/pools", "eth0=a;net1=b"),
		Namespace: pod("weft.dev/pools", "eth0=c"),
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range w.Passed {
		got = append(got, p.String())
	}
	if d := cmp.Diff([]string{
		"weft.dev/ips of the pod has 2 entries, and net2 is interface number 3",
		"weft.dev/claim of the pod is not set",
		"weft.dev/pools of the pod names eth0, net1, not net2",
		"weft.dev/pools of the namespace names eth0, not net2",
		"ipam.pools of the configuration is not set",
	}, got); d != "" {
		t.Error(d)
	}
}

// TestPrecedence sets any mixture of levels and expects the first that is set.
func TestPrecedence(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := attach.Input{Pod: pod(), Namespace: pod(), NIC: attach.NIC{Name: "eth0"}}
		set := map[attach.Level]bool{attach.LevelDefault: true}
		maybe := func(l attach.Level, f func()) {
			if rapid.Bool().Draw(t, l.String()) {
				set[l] = true
				f()
			}
		}
		maybe(attach.LevelIPs, func() {
			if rapid.Bool().Draw(t, "by annotation") {
				in.Pod[attach.IPsAnnotation] = "eth0=192.0.2.7"
				return
			}
			in.IPs = []string{"192.0.2.7"}
		})
		maybe(attach.LevelClaim, func() { in.Pod[attach.ClaimAnnotation] = "web" })
		maybe(attach.LevelPodPools, func() { in.Pod[attach.PoolsAnnotation] = "of-pod" })
		maybe(attach.LevelNamespacePools, func() { in.Namespace[attach.PoolsAnnotation] = "of-namespace" })
		maybe(attach.LevelConfig, func() { in.Pools = []string{"of-config"} })

		w, err := attach.Wanted(in)
		if err != nil {
			t.Fatal(err)
		}
		first := func(from attach.Level) attach.Level {
			for l := from; l < attach.LevelDefault; l++ {
				if set[l] {
					return l
				}
			}
			return attach.LevelDefault
		}
		if w.Level != first(attach.LevelIPs) {
			t.Fatalf("decided at %s, not at %s", w.Level, first(attach.LevelIPs))
		}
		if (len(w.Addrs) > 0) != (w.Level == attach.LevelIPs) || (w.Claim != "") != (w.Level == attach.LevelClaim) {
			t.Fatalf("another level is mixed in: %+v", w)
		}
		draw := first(attach.LevelPodPools)
		if w.Level == attach.LevelIPs {
			draw = 0
		}
		pools := map[attach.Level][]string{
			attach.LevelPodPools: {"of-pod"}, attach.LevelNamespacePools: {"of-namespace"}, attach.LevelConfig: {"of-config"},
		}[draw]
		if w.Draw != draw || !cmp.Equal(pools, w.Pools) {
			t.Fatalf("draws %v from %s, not %v from %s", w.Pools, w.Draw, pools, draw)
		}
	})
}

func FuzzWanted(f *testing.F) {
	for _, s := range []string{
		"", "a", "a,b;c", "eth0=a;net1=b*", "192.0.2.7,2001:db8::7", `[{"interface":"eth0","pools":["a"]}]`, `["a"]`,
		"[bg]lue", "=;,=", `[{"ips":null}]`, "::ffff:192.0.2.7", "[", "{", "[\"", "eth0=a;b", "a=b=c", "\x00", "[ ", "é",
	} {
		f.Add(s, s, s)
	}
	f.Fuzz(func(t *testing.T, ips, claim, pools string) {
		in := attach.Input{Pod: pod("weft.dev/ips", ips, "weft.dev/claim", claim, "weft.dev/pools", pools), NIC: attach.NIC{Name: "eth0"}}
		w, err := attach.Wanted(in)
		again, againErr := attach.Wanted(in)
		if (err == nil) != (againErr == nil) || !cmp.Equal(w, again, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })) {
			t.Fatalf("two answers: %v %v, %v %v", w, err, again, againErr)
		}
		if err != nil {
			if invalid := (*attach.InvalidError)(nil); !errors.As(err, &invalid) || len(invalid.Problems) == 0 {
				t.Fatalf("a refusal without a problem: %v", err)
			}
			if strings.ContainsAny(err.Error(), "\n\x00") || strings.Contains(err.Error(), "attach.") {
				t.Fatalf("a text that is no sentence: %q", err)
			}
			return
		}
		if len(w.Addrs) > 2 || w.Level == attach.LevelIPs && len(w.Addrs) == 0 {
			t.Fatalf("%d addresses", len(w.Addrs))
		}
		if (w.Level == attach.LevelClaim) != (w.Claim != "") {
			t.Fatalf("claim %q at %s", w.Claim, w.Level)
		}
		for _, p := range w.Pools {
			if p == "" || strings.ContainsAny(p, " ,;=\"{") {
				t.Fatalf("pool %q", p)
			}
		}
	})
}

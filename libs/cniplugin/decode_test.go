// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package cniplugin_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"
	kjson "sigs.k8s.io/json"

	"github.com/weft-cni/weft/libs/cniplugin"
	"github.com/weft-cni/weft/libs/errcode"
)

// shape has one field of every form that a configuration may use.
type shape struct {
	embedded
	Pools   []pool            `json:"pools"`
	Gateway netip.Addr        `json:"gateway"`
	Prefix  *netip.Prefix     `json:"prefix"`
	Enabled bool              `json:"enabled"`
	Count   int               `json:"count"`
	VLAN    uint8             `json:"vlan"`
	Ratio   float64           `json:"ratio"`
	Labels  map[string]string `json:"labels"`
	Nested  pool              `json:"nested"`
	Byname  map[string]pool   `json:"byName"`
	Free    any               `json:"free"`
	Raw     json.RawMessage   `json:"raw"`
	Level   level             `json:"level"`
	Bytes   []byte            `json:"bytes"`
	Hidden  string            `json:"-"`
}

type embedded struct {
	Mode string `json:"mode"`
}

type pool struct {
	Name string  `json:"name"`
	IPv4 *family `json:"ipv4"`
}

type family struct {
	Subnet netip.Prefix   `json:"subnet"`
	Ranges []netip.Prefix `json:"ranges"`
}

// level decodes itself.
type level int

func (l *level) UnmarshalJSON(b []byte) error {
	if string(b) != `"high"` {
		return errors.New(`only "high" will do`)
	}
	*l = 1
	return nil
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, raw, at string
		want          []string
	}{
		{"all well", `{"mode":"x","pools":[{"name":"a","ipv4":{"subnet":"10.0.0.0/24"}}],"gateway":"10.0.0.1","vlan":255,"free":{"a":[1]},"raw":{"b":1},"level":"high"}`, "", nil},
		{"nothing", `{}`, "", nil},
		{"null everywhere", `{"pools":null,"gateway":null,"count":null,"labels":null}`, "", nil},
		{"injected keys", `{"cniVersion":"1.1.0","name":"n","type":"t","prevResult":{},"cni.dev/attachments":[],"pciBusID":"x","mine":1}`, "", nil},
		{"under a key", `{"foo":1,"ipam":{"type":"weft-ipam","mode":"x"}}`, "ipam", []string{`ipam.type: unknown key with value "weft-ipam"`}},
		{"near", `{"pols":["blue"]}`, "", []string{`pols: unknown key with value ["blue"], did you mean "pools"?`}},
		{"swapped", `{"gatewya":"x"}`, "", []string{`gatewya: unknown key with value "x", did you mean "gateway"?`}},
		{"another case", `{"Pools":[],"GATEWAY":""}`, "", []string{`Pools: unknown key with value [], did you mean "pools"?`, `GATEWAY: unknown key with value "", did you mean "gateway"?`}},
		{"far", `{"colour":1}`, "", []string{`colour: unknown key with value 1`}},
		{"hidden field", `{"Hidden":"x"}`, "", []string{`Hidden: unknown key with value "x"`}},
		{"deep", `{"pools":[{},{"ipv4":{"subent":"10.0.0.0/8"}}]}`, "", []string{`pools[1].ipv4.subent: unknown key with value "10.0.0.0/8", did you mean "subnet"?`}},
		{"few known keys", `{"pools":[{"colour":1}]}`, "", []string{`pools[0].colour: unknown key with value 1, known are ipv4, name`}},
		{"injected key below the top", `{"pools":[{"cniVersion":"x"}]}`, "", []string{`pools[0].cniVersion: unknown key with value "x", known are ipv4, name`}},
		{"injected key in an object", `{"nested":{"type":"x"},"byName":{"name":{"type":"y"}}}`, "", []string{
			`nested.type: unknown key with value "x", known are ipv4, name`, `byName.name.type: unknown key with value "y", known are ipv4, name`,
		}},
		{"twice", `{"count":1,"count":2}`, "", []string{`count: got the key twice, want it once`}},
		{"injected key twice", `{"ipam":{},"ipam":{}}`, "", []string{`ipam: got the key twice, want it once`}},
		{"twice in any form", `{"free":{"a":{"b":1,"b":2}}}`, "", []string{`free.a.b: got the key twice, want it once`}},
		{"twice in a map", `{"labels":{"a":"1","a":"2"}}`, "", []string{`labels.a: got the key twice, want it once`}},
		{"types", `{"pools":{"x":1},"gateway":7,"enabled":"yes","count":"1","vlan":256,"ratio":"x","labels":[1],"mode":[{"p":"w"}],"bytes":"%"}`, "", []string{
			`pools: got {…}, want a list`, `gateway: got 7, want an IP address as a string`, `enabled: got "yes", want true or false`,
			`count: got "1", want an integer`, `vlan: got 256, want an integer that is not negative of at most 255`, `ratio: got "x", want a number`,
			`labels: got [1], want an object`, `mode: got [{…}], want a string`, `bytes: got "%", want a base64 string`,
		}},
		{"fraction and sign", `{"count":1.5,"vlan":-1}`, "", []string{`count: got 1.5, want an integer`, `vlan: got -1, want an integer that is not negative of at most 255`}},
		{"values that decode themselves", `{"gateway":"10.0.0.300","prefix":"10.0.0.0","level":"low"}`, "", []string{
			`gateway: got "10.0.0.300", want an IP address (ParseAddr("10.0.0.300"): IPv4 field has value >255)`,
			`prefix: got "10.0.0.0", want an IP prefix such as 10.0.0.0/24 (netip.ParsePrefix("10.0.0.0"): no '/')`,
			`level: got "low", want a level (only "high" will do)`,
		}},
		{"wrong elements", `{"pools":["a",{"ipv4":{"ranges":["x",1]}}],"labels":{"a":1}}`, "", []string{
			`pools[0]: got "a", want an object`,
			`pools[1].ipv4.ranges[0]: got "x", want an IP prefix such as 10.0.0.0/24 (netip.ParsePrefix("x"): no '/')`,
			`pools[1].ipv4.ranges[1]: got 1, want an IP prefix such as 10.0.0.0/24 as a string`,
			`labels.a: got 1, want a string`,
		}},
		{"of every kind at once", `{"pols":1,"count":"x","count":2,"Mode":"y"}`, "", []string{
			`pols: unknown key with value 1, did you mean "pools"?`, `count: got "x", want an integer`, `count: got the key twice, want it once`,
			`Mode: unknown key with value "y", did you mean "mode"?`,
		}},
		{"secret", `{"passwd":"hunter2","private_key":"x"}`, "", []string{`passwd: unknown key with value (not shown)`, `private_key: unknown key with value (not shown)`}},
		{"no object", `[1]`, "", []string{`configuration: got [1], want an object`}},
		{"no JSON", `{"a":`, "", []string{`configuration: got "{\"a\":", want JSON`}},
		{"key missing", `{}`, "ipam", []string{`ipam: got nothing, want an object`}},
		{"key null", `{"ipam":null}`, "ipam", []string{`ipam: got nothing, want an object`}},
		{"key in another case", `{"IPAM":{}}`, "ipam", []string{`ipam: got nothing, want an object`}},
		{"key twice", `{"ipam":{"count":1},"ipam":{"count":2}}`, "ipam", []string{`ipam: got the key twice, want it once`}},
		{"key is no object", `{"ipam":"weft"}`, "ipam", []string{`ipam: got "weft", want an object`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			allowed := []string{"mine"}
			_, ps := cniplugin.Decode[shape]([]byte(c.raw), c.at, allowed...)
			var got []string
			for _, p := range ps {
				got = append(got, p.String())
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDecodeKeepsWhatIsGood(t *testing.T) {
	t.Parallel()
	v, ps := cniplugin.Decode[shape]([]byte(`{"ipam":{"type":"x","mode":"auto","count":"bad","vlan":7,"pols":1}}`), "ipam", "type")
	if v.Mode != "auto" || v.VLAN != 7 || len(ps) != 2 {
		t.Errorf("%+v %v", v, ps)
	}
}

func TestProblemsErr(t *testing.T) {
	t.Parallel()
	var none cniplugin.Problems
	if err := none.Err(); err != nil {
		t.Error(err)
	}
	var ps cniplugin.Problems
	ps.Add("a", "1", "2")
	if err := ps.Err(); !errcode.Has(err, errcode.InvalidConfig) || err.Error() != "a: got 1, want 2" {
		t.Error(err)
	}
	ps = append(ps, cniplugin.Problem{Path: "b", Got: "3", Unknown: true})
	if err := ps.Err(); !errcode.Has(err, errcode.UnsupportedField) || err.Error() != "a: got 1, want 2; b: unknown key with value 3" {
		t.Error(err)
	}
}

func TestProblemsTooMany(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		count int
		width int
	}{{"many", 100, 20}, {"two, long", 2, 390}, {"one, too long", 1, 500}, {"two, too long", 2, 500}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var ps cniplugin.Problems
			for i := range c.count {
				ps.Add(fmt.Sprintf("pools[%03d]", i), strings.Repeat("ü", c.width), "less")
			}
			var e *types.Error
			if !errors.As(ps.Err(), &e) {
				t.Fatal("no CNI error")
			}
			if n := utf8.RuneCountInString(e.Msg); n > errcode.MaxMsg {
				t.Errorf("message of %d characters", n)
			}
			if c.count > 1 && !strings.HasSuffix(e.Msg, "more") {
				t.Errorf("message %q does not say that there is more", e.Msg)
			}
			for _, p := range ps[:min(len(ps), 60)] {
				if !strings.Contains(e.Msg+e.Details, p.String()) {
					t.Errorf("%q is nowhere", p)
				}
			}
		})
	}
}

// FuzzDecode holds the walk that explains against the decoder that decides: for every input they must agree whether
// there is a problem, and every problem must be fit to print.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{"pools":[{"name":"a","ipv4":{"subnet":"10.0.0.0/24","ranges":["10.0.0.0/25"]}}]}`, `{"pols":1,"count":"x","count":2}`,
		`{"Free":1,"free":{"a":1,"a":2},"raw":[],"labels":{"a":"b","a":"c"}}`, `{"gateway":"::1","prefix":"x","level":"high","bytes":"aGk="}`,
		`null`, `[]`, `{"count":1e3,"ratio":1e400,"vlan":-1}`, `{"name":"x","name":"y","cni.dev/a":1,"cni.dev/a":2}`, `{"a.b":1,"mode":"\ud800"}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		var plain shape
		strict, err := kjson.UnmarshalStrict([]byte(raw), &plain)
		_, ps := cniplugin.Decode[shape]([]byte(raw), "")
		if err == nil && len(strict) == 0 && len(ps) > 0 {
			t.Fatalf("the decoder is content, the walk is not: %v", ps)
		}
		if err != nil && len(ps) == 0 {
			t.Fatalf("nobody reports %v", err)
		}
		for _, p := range ps {
			if s := p.String(); strings.Contains(s, "what the plugin's README shows") {
				t.Errorf("the walk missed %v %v", strict, err)
			}
		}
		if err := ps.Err(); err != nil {
			e := errcode.Of(err)
			if strings.ContainsAny(e.Msg, "\n\r") || utf8.RuneCountInString(e.Msg) > errcode.MaxMsg {
				t.Errorf("message %q", e.Msg)
			}
		}
		if _, at := cniplugin.Decode[shape]([]byte(`{"ipam":`+raw+`}`), "ipam"); json.Valid([]byte(raw)) && raw != "null" && len(at) < len(ps) {
			t.Errorf("under a key %v, alone %v", at, ps)
		}
	})
}

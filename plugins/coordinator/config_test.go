// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"

	"github.com/weft-cni/weft/libs/cnitest"
	"github.com/weft-cni/weft/libs/errcode"
)

func TestConfigDefaults(t *testing.T) {
	t.Parallel()
	c, ps := readConfig([]byte(`{"cniVersion":"1.1.0","name":"n","type":"weft-coordinator","prevResult":{},"runtimeConfig":{}}`))
	if err := ps.Err(); err != nil {
		t.Fatal(err)
	}
	want := config{
		mode: modeUnderlay, replyPath: replyMark, podRPFilter: 2, hostRPFilter: -1, linkLocal: true,
		stateDir: "/run/weft/coordinator", timeout: defaultTimeout,
	}
	if got, want := fmt.Sprintf("%+v", c), fmt.Sprintf("%+v", want); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestConfigProblems reads wrong configurations; each problem is named by its path, all at once.
func TestConfigProblems(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		`{"mode":"auto"}`:                              {`mode: got "auto", want "underlay" or "off"; this mode comes with a later version`},
		`{"mode":"overlay"}`:                           {`mode: got "overlay"`, "later version"},
		`{"mode":"Underlay"}`:                          {`mode: got "Underlay"`},
		`{"replyPath":"masquerade"}`:                   {`replyPath: got "masquerade", want "mark", "snat" or "none"`},
		`{"serviceCIDRs":["10.96.0.1/12"]}`:            {`serviceCIDRs[0]: got "10.96.0.1/12", want "10.96.0.0/12"`},
		`{"podCIDRs":["10.0.0.0/8","x"]}`:              {`podCIDRs[1]: got "x"`},
		`{"extraCIDRs":["0.0.0.0/0"]}`:                 {"extraCIDRs[0]", "default route"},
		`{"extraCIDRs":["::/0"]}`:                      {"extraCIDRs[0]", "default route"},
		`{"extraCIDRs":["::ffff:10.0.0.0/104"]}`:       {"extraCIDRs[0]"},
		`{"nodeAddresses":["10.0.0.1/24"]}`:            {"nodeAddresses[0]"},
		`{"nodeAddresses":["127.0.0.1"]}`:              {"nodeAddresses[0]", "others can reach"},
		`{"nodeAddresses":["fe80::1"]}`:                {"nodeAddresses[0]", "others can reach"},
		`{"nodeAddresses":[""]}`:                       {"nodeAddresses[0]"},
		`{"hostSourceIPv4":"fd00::1"}`:                 {"hostSourceIPv4", "IPv4"},
		`{"hostSourceIPv6":"10.0.0.1"}`:                {"hostSourceIPv6", "IPv6"},
		`{"hostSourceIPv6":"fd00::1%eth0"}`:            {"hostSourceIPv6"},
		`{"mtu":67}`:                                   {"mtu: got 67"},
		`{"mtu":-1}`:                                   {"mtu: got -1"},
		`{"mtu":70000}`:                                {"mtu: got 70000"},
		`{"podRPFilter":3}`:                            {"podRPFilter: got 3"},
		`{"hostRPFilter":-2}`:                          {"hostRPFilter: got -2"},
		`{"stateDir":"weft"}`:                          {`stateDir: got "weft", want an absolute path`},
		`{"timeout":"30"}`:                             {`timeout: got "30"`},
		`{"timeout":"0s"}`:                             {`timeout: got "0s"`},
		`{"mode":"x","mtu":1,"replyPath":"y"}`:         {"mode", "mtu", "replyPath"},
		`{"serviceCIDR":["10.96.0.0/12"],"mtu":70000}`: {"serviceCIDR: unknown key", `did you mean "serviceCIDRs"`, "mtu"},
	} {
		_, ps := readConfig([]byte(text))
		err := ps.Err()
		if err == nil {
			t.Errorf("%s: no problem", text)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: got %v, want %q in it", text, err, w)
			}
		}
	}
}

// TestBadInputOverTheProtocol gives the built plugin what it must refuse: a numbered error, and nothing left behind.
func TestBadInputOverTheProtocol(t *testing.T) {
	t.Parallel()
	binary := cnitest.BuildPlugin(t, "github.com/weft-cni/weft/plugins/coordinator")
	r := newRig(t, both)
	prev, err := json.Marshal(r.prev)
	if err != nil {
		t.Fatal(err)
	}
	foreign := strings.Replace(string(prev), "1.1.0", "9.9.9", 1)
	before := r.world()
	for name, tc := range map[string]struct {
		stdin, netns string
		code         errcode.Code
	}{
		"empty standard input":               {"", "", errcode.Decode},
		"no previous result":                 {`{"cniVersion":"1.1.0","name":"n","type":"weft-coordinator"}`, "", errcode.InvalidConfig},
		"previous result of another version": {conflist(foreign, ""), "", errcode.IncompatibleVersion},
		"misspelt key":                       {conflist(string(prev), `,"serviceCIDR":["10.96.0.0/12"]`), "", errcode.UnsupportedField},
		"wrong values":                       {conflist(string(prev), `,"mtu":1,"mode":"auto"`), "", errcode.InvalidConfig},
		"empty previous result":              {conflist(`{"cniVersion":"1.1.0"}`, ""), "", errcode.InvalidConfig},
		"namespace that is a file":           {conflist(string(prev), ""), "/etc/passwd", errcode.BadNetns},
		"namespace of another kind":          {conflist(string(prev), ""), "/proc/self/ns/uts", errcode.BadNetns},
		"no namespace there":                 {conflist(string(prev), ""), "/run/netns/none", errcode.BadNetns},
		"the node's own namespace":           {conflist(string(prev), ""), r.host.Path(), errcode.BadNetns},
	} {
		for _, verb := range []string{"ADD", "CHECK"} {
			netns := tc.netns
			if netns == "" {
				netns = r.pod.Path()
			}
			var out bytes.Buffer
			cmd := exec.CommandContext(t.Context(), binary)
			cmd.Env = append(os.Environ(), "CNI_COMMAND="+verb, "CNI_CONTAINERID=c", "CNI_IFNAME=eth0", "CNI_PATH=/", "CNI_NETNS="+netns)
			cmd.Stdin, cmd.Stdout = strings.NewReader(tc.stdin), &out
			r.host.Do(func() { err = cmd.Run() })
			var got types.Error
			if jerr := json.Unmarshal(out.Bytes(), &got); jerr != nil || err == nil {
				t.Errorf("%s, %s: %v, answer %q", name, verb, err, out.String())
				continue
			}
			if got.Code != uint(tc.code) {
				t.Errorf("%s, %s: code %d, want %d: %s", name, verb, got.Code, tc.code, got.Msg)
			}
		}
	}
	if diff := cmp.Diff(before, r.world()); diff != "" {
		t.Errorf("something is left (-before +after):\n%s", diff)
	}
}

func conflist(prev, more string) string {
	return `{"cniVersion":"1.1.0","name":"n","type":"weft-coordinator","prevResult":` + prev + more + `}`
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package cniplugin_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/types/create"
	"github.com/google/go-cmp/cmp"

	"github.com/weft-cni/weft/libs/cniplugin"
	"github.com/weft-cni/weft/libs/errcode"
)

const (
	list = `"cni.dev/valid-attachments":[{"containerID":"a","ifname":"eth0"}]`
	prev = `"prevResult":{"cniVersion":"1.0.0","interfaces":[{"name":"macvlan0"}],"ips":[{"address":"10.0.0.7/24"}]}`
)

// TestVerbsByVersion runs every verb in every version, and the versions around them.
func TestVerbsByVersion(t *testing.T) {
	t.Parallel()
	since := map[string]string{"ADD": "0.3.1", "DEL": "0.3.1", "CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}
	for verb, first := range since {
		for _, version := range []string{"", "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0", "1.2.0", "9.9.9", "x"} {
			t.Run(verb+" "+version, func(t *testing.T) {
				t.Parallel()
				a := call(t, verb, netconf(version, list))
				spoken := slices.Contains([]string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"}, version)
				if !spoken || version < first {
					if a.exit != 1 || a.Code != errcode.IncompatibleVersion && a.Code != errcode.Decode {
						t.Errorf("exit %d code %d: %s", a.exit, a.Code, a.stdout)
					}
					wantUntouched(t, a)
					return
				}
				if a.exit != 0 || a.stderr != "" || len(a.trace) != 1 || !strings.HasPrefix(a.trace[0], verb+" net=lan v="+version) {
					t.Fatalf("exit %d, trace %q\n%s%s", a.exit, a.trace, a.stdout, a.stderr)
				}
				if verb != "ADD" {
					if a.stdout != "" {
						t.Errorf("%s printed %q", verb, a.stdout)
					}
					return
				}
				wantResult(t, a.stdout, version)
			})
		}
	}
}

func wantResult(t *testing.T, stdout, version string) {
	t.Helper()
	if got, err := create.DecodeVersion([]byte(stdout)); err != nil || got != version {
		t.Fatalf("result in version %q, %v, want %s", got, err, version)
	}
	parsed, err := create.Create(version, []byte(stdout))
	if err != nil {
		t.Fatal(err)
	}
	r, err := current.NewResultFromResult(parsed)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.IPs[0].Address.String(); got != "10.0.0.7/24" {
		t.Errorf("address %s", got)
	}
}

func TestVersionVerb(t *testing.T) {
	t.Parallel()
	a := call(t, "VERSION", "")
	var got struct {
		CNIVersion        string
		SupportedVersions []string
	}
	if err := json.Unmarshal([]byte(a.stdout), &got); err != nil || a.exit != 0 {
		t.Fatal(a.exit, err)
	}
	if diff := cmp.Diff([]string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"}, got.SupportedVersions); diff != "" {
		t.Error(diff)
	}
}

// TestRefusedBeforeTheHandler holds everything that must not reach a handler.
func TestRefusedBeforeTheHandler(t *testing.T) {
	t.Parallel()
	plain := t.TempDir()
	foreign := func(v string) string { return strings.Replace(prev, "1.0.0", v, 1) }
	for _, c := range []struct {
		name, verb, conf string
		env              string
		code             errcode.Code
		says             string
	}{
		{"empty stdin", "ADD", "", "", errcode.Decode, "standard input is not valid JSON"},
		{"broken JSON", "ADD", `{"name":"lan"`, "", errcode.Decode, "standard input is not valid JSON"},
		{"list instead of object", "ADD", `[]`, "", errcode.Decode, "standard input"},
		{"no name", "ADD", `{"cniVersion":"1.1.0"}`, "", errcode.InvalidConfig, "missing network name"},
		{"impossible name", "ADD", `{"cniVersion":"1.1.0","name":"../x"}`, "", errcode.InvalidConfig, "network name"},
		{"no command", "", netconf("1.1.0"), "", errcode.BadEnvironment, "CNI_COMMAND"},
		{"unknown command", "PLAY", netconf("1.1.0"), "", errcode.BadEnvironment, "PLAY"},
		{"ADD without namespace", "ADD", netconf("1.1.0"), "CNI_NETNS=", errcode.BadEnvironment, "CNI_NETNS"},
		{"ADD without container", "ADD", netconf("1.1.0"), "CNI_CONTAINERID=", errcode.BadEnvironment, "CNI_CONTAINERID"},
		{"DEL without interface", "DEL", netconf("1.1.0"), "CNI_IFNAME=", errcode.BadEnvironment, "CNI_IFNAME"},
		{"GC without path", "GC", netconf("1.1.0"), "CNI_PATH=", errcode.BadEnvironment, "CNI_PATH"},
		{"container id", "ADD", netconf("1.1.0"), "CNI_CONTAINERID=a/b", errcode.BadEnvironment, "containerID"},
		{"interface too long", "ADD", netconf("1.1.0"), "CNI_IFNAME=abcdefghijklmnop", errcode.BadEnvironment, "too long"},
		{"interface with slash", "CHECK", netconf("1.1.0"), "CNI_IFNAME=a/b", errcode.BadEnvironment, "interface name"},
		{"arguments", "ADD", netconf("1.1.0"), "CNI_ARGS=K8S_POD_NAME", errcode.BadEnvironment, "K8S_POD_NAME"},
		{"ADD namespace is a folder", "ADD", netconf("1.1.0"), "CNI_NETNS=" + plain, errcode.BadNetns, "a directory"},
		{"ADD namespace is a file", "ADD", netconf("1.1.0"), "CNI_NETNS=/etc/passwd", errcode.BadNetns, "an ordinary file"},
		{"ADD namespace is a device", "ADD", netconf("1.1.0"), "CNI_NETNS=/dev/null", errcode.BadNetns, "something else"},
		{"ADD namespace is gone", "ADD", netconf("1.1.0"), "CNI_NETNS=" + plain + "/gone", errcode.BadNetns, "does not exist"},
		{"ADD namespace in proc", "ADD", netconf("1.1.0"), "CNI_NETNS=/proc/self/status", errcode.BadNetns, "want the pod's network namespace"},
		{"ADD namespace of another kind", "ADD", netconf("1.1.0"), "CNI_NETNS=/proc/self/ns/uts", errcode.BadNetns, "another kind"},
		{"ADD namespace is our own", "ADD", netconf("1.1.0"), "CNI_NETNS_OVERRIDE=", errcode.BadNetns, "plugin itself"},
		{"CHECK namespace is our own", "CHECK", netconf("1.1.0"), "CNI_NETNS_OVERRIDE=", errcode.BadNetns, "plugin itself"},
		{"CHECK namespace is a file", "CHECK", netconf("1.1.0"), "CNI_NETNS=/etc/passwd", errcode.BadNetns, "an ordinary file"},
		{"unknown key", "ADD", netconf("1.1.0", `"conut":3`), "", errcode.UnsupportedField, `conut: unknown key with value 3, did you mean "count"?`},
		{"unknown key, STATUS", "STATUS", netconf("1.1.0", `"conut":3`), "", errcode.UnsupportedField, "conut"},
		{"unknown key, GC", "GC", netconf("1.1.0", list, `"conut":3`), "", errcode.UnsupportedField, "conut"},
		{"unknown key, CHECK", "CHECK", netconf("1.1.0", `"conut":3`), "", errcode.UnsupportedField, "conut"},
		{"wrong type", "ADD", netconf("1.1.0", `"count":"many"`), "", errcode.InvalidConfig, `count: got "many", want an integer`},
		{"foreign result", "ADD", netconf("1.1.0", foreign("9.9.9")), "", errcode.IncompatibleVersion, `prevResult.cniVersion: got "9.9.9"`},
		{"ancient result", "ADD", netconf("1.1.0", foreign("0.2.0")), "", errcode.IncompatibleVersion, `"0.2.0"`},
		{"foreign result, CHECK", "CHECK", netconf("1.1.0", foreign("2.0.0")), "", errcode.IncompatibleVersion, `"2.0.0"`},
		{"result is no object", "ADD", netconf("1.1.0", `"prevResult":[]`), "", errcode.Decode, "prevResult"},
		{"result with a bad address", "ADD", netconf("1.1.0", `"prevResult":{"cniVersion":"1.0.0","ips":[{"address":"x"}]}`), "", errcode.Decode, "prevResult"},
		{"result missing", "ADD", netconf("1.1.0"), "FRAME_NEEDS_PREV=1", errcode.InvalidConfig, "prevResult: got nothing"},
		{"result missing, CHECK", "CHECK", netconf("1.1.0"), "FRAME_NEEDS_PREV=1", errcode.InvalidConfig, "prevResult: got nothing"},
		{"GC without a list", "GC", netconf("1.1.0"), "", errcode.InvalidConfig, "nothing was deleted"},
		{"GC with null", "GC", netconf("1.1.0", `"cni.dev/valid-attachments":null`), "", errcode.InvalidConfig, "nothing was deleted"},
		{"GC with null by the old key", "GC", netconf("1.1.0", `"cni.dev/attachments":null`), "", errcode.InvalidConfig, "nothing was deleted"},
		{"GC with something else", "GC", netconf("1.1.0", `"cni.dev/attachments":{}`), "", errcode.InvalidConfig, "nothing was deleted"},
		{"GC with half an attachment", "GC", netconf("1.1.0", `"cni.dev/attachments":[{"containerID":"a"}]`), "", errcode.InvalidConfig, "nothing was deleted"},
		{"handler missing, ADD", "ADD", netconf("1.1.0"), "FRAME_BARE=1", errcode.Internal, "does not implement ADD"},
		{"handler missing, DEL", "DEL", netconf("1.1.0"), "FRAME_BARE=1", errcode.Internal, "does not implement DEL"},
		{"handler missing, GC", "GC", netconf("1.1.0", list), "FRAME_BARE=1", errcode.Internal, "does not implement GC"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var env []string
			if c.env != "" {
				env = append(env, c.env)
			}
			a := call(t, c.verb, c.conf, env...)
			wantError(t, a, c.code, c.says)
			wantUntouched(t, a)
		})
	}
}

// TestDelGoesOn holds what is refused elsewhere and must not keep a pod from ending.
func TestDelGoesOn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, conf, env, trace, logs string }{
		{"no namespace", netconf("1.1.0"), "CNI_NETNS=", "ns=false", ""},
		{"namespace gone", netconf("1.1.0"), "CNI_NETNS=/run/netns/gone", "ns=false", ""},
		{"namespace is a file", netconf("1.1.0"), "CNI_NETNS=/etc/passwd", "ns=false", ""},
		{"namespace is our own", netconf("1.1.0"), "CNI_NETNS_OVERRIDE=", "ns=false", "CNI_NETNS ignored"},
		{"foreign result", netconf("1.1.0", `"prevResult":{"cniVersion":"9.9.9"}`), "", "prev=none", "prevResult ignored"},
		{"broken result", netconf("1.1.0", `"prevResult":7`), "", "prev=none", "prevResult ignored"},
		{"result missing", netconf("1.1.0"), "FRAME_NEEDS_PREV=1", "prev=none", ""},
		{"unknown key", netconf("1.1.0", `"conut":3`), "", "DEL", "DEL goes on"},
		{"arguments", netconf("1.1.0"), "CNI_ARGS=nonsense", "DEL", "CNI_ARGS ignored"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := call(t, "DEL", c.conf, "X=", c.env)
			if a.exit != 0 || len(a.trace) != 1 || !strings.Contains(a.trace[0], c.trace) {
				t.Fatalf("exit %d, trace %q\n%s", a.exit, a.trace, a.stdout)
			}
			if (c.logs == "") != (a.stderr == "") || !strings.Contains(a.stderr, c.logs) {
				t.Errorf("log %q, want %q", a.stderr, c.logs)
			}
		})
	}
}

// TestRequest checks what handlers are given.
func TestRequest(t *testing.T) {
	t.Parallel()
	const (
		args   = "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=db-0;K8S_POD_UID=u;X=y=z;"
		old    = `"prevResult":{"cniVersion":"0.4.0","interfaces":[{"name":"old0"}],"ips":[{"version":"4","address":"10.0.0.7/24"}]}`
		silent = `"prevResult":{"interfaces":[{"name":"silent0"}]}`
		both   = `"cni.dev/valid-attachments":[{"containerID":"a","ifname":"eth0"}],"cni.dev/attachments":[{"containerID":"a","ifname":"eth0"},{"containerID":"b","ifname":"eth0"}]`
	)
	for _, c := range []struct{ name, verb, conf, env, want string }{
		{"pod", "ADD", netconf("1.1.0"), args, "ADD net=lan v=1.1.0 id=c0ffee if=net1 ns=true pod=shop/db-0 prev=none valid=[]"},
		{"previous result", "ADD", netconf("1.1.0", prev), "", "prev=macvlan0"},
		{"previous result of an older version", "CHECK", netconf("1.1.0", old), "", "prev=old0"},
		{"previous result without a version", "DEL", netconf("1.1.0", silent), "", "prev=silent0"},
		{"previous result is null", "ADD", netconf("1.1.0", `"prevResult":null`), "", "prev=none"},
		{"attachments", "GC", netconf("1.1.0", list), "", "valid=[{a eth0}]"},
		{"attachments by the old key", "GC", netconf("1.1.0", strings.Replace(list, "valid-", "", 1)), "", "valid=[{a eth0}]"},
		{"attachments by both keys", "GC", netconf("1.1.0", both), "", "valid=[{a eth0} {b eth0}]"},
		{"no attachments", "GC", netconf("1.1.0", `"cni.dev/attachments":[]`), "", "valid=[]"},
		{"no attachments, as libcni says it", "GC", netconf("1.1.0", `"cni.dev/attachments":null,"cni.dev/valid-attachments":null`), "", "valid=[]"},
		{"one attachment and null", "GC", netconf("1.1.0", list, `"cni.dev/attachments":null`), "", "valid=[{a eth0}]"},
		{"GC has no result before it", "GC", netconf("1.1.0", list, `"prevResult":{"cniVersion":"9.9.9"}`), "FRAME_NEEDS_PREV=1", "prev=none"},
		{"STATUS has none either", "STATUS", netconf("1.1.0"), "FRAME_NEEDS_PREV=1", "prev=none"},
		{"STATUS has no namespace", "STATUS", netconf("1.1.0"), "CNI_NETNS=/etc/passwd", "STATUS"},
		{"keys of others", "ADD", netconf("1.1.0", `"other":1,"ipam":{"x":1},"deviceID":"d","runtimeConfig":{"mac":""},"cni.dev/new":1`), "", "ADD"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := call(t, c.verb, c.conf, "X=", c.env)
			if a.exit != 0 || len(a.trace) != 1 || !strings.Contains(a.trace[0], c.want) {
				t.Fatalf("exit %d, trace %q, want %q\n%s", a.exit, a.trace, c.want, a.stdout)
			}
		})
	}
}

func TestStatusNeedsNoHandler(t *testing.T) {
	t.Parallel()
	if a := call(t, "STATUS", netconf("1.1.0"), "FRAME_BARE=1"); a.exit != 0 {
		t.Errorf("exit %d: %s", a.exit, a.stdout)
	}
}

func TestByHand(t *testing.T) {
	t.Parallel()
	unset := []string{"CNI_COMMAND=", "CNI_CONTAINERID=", "CNI_IFNAME=", "CNI_NETNS="}
	for _, c := range []struct {
		args, out, diag string
		exit            int
	}{
		{"--version", "CNI weft-test plugin " + cniplugin.Version(), "", 0},
		{"--help", "does what it is told", "", 0},
		{"-h", "fall | sing", "", 0},
		{"--help", "docs/errors.md", "", 0},
		{"", "", "ADD DEL CHECK GC STATUS VERSION", 0},
		{"sing loud", "la [loud]", "", 0},
		{"fall", "", "weft-test fall: fell", 1},
		{"dance", "", `unknown argument "dance"`, 2},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			a := call(t, "", "", append([]string{"ARGS=" + c.args}, unset...)...)
			if a.exit != c.exit || !strings.Contains(a.stdout, c.out) || !strings.Contains(a.stderr, c.diag) {
				t.Errorf("exit %d\n%s\n%s", a.exit, a.stdout, a.stderr)
			}
		})
	}
}

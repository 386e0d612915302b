// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package cniplugin_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/weft-cni/weft/libs/errcode"
)

// doing scripts one verb.
func doing(verb, what string, more ...string) string {
	return netconf("1.1.0", append([]string{`"do":{"` + verb + `":"` + what + `"}`, list}, more...)...)
}

func TestPanicIsAnError(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"ADD", "DEL", "CHECK", "GC", "STATUS"} {
		for what, says := range map[string]string{
			"panic": "assignment to entry in nil map", "panic-nil": "nil", "panic-error": "thrown",
		} {
			t.Run(verb+" "+what, func(t *testing.T) {
				t.Parallel()
				a := call(t, verb, doing(verb, what))
				wantError(t, a, errcode.Internal, "weft-test hit a bug in "+verb, says, "harness_test.go:")
				if !strings.HasPrefix(a.Details, "at cniplugin_test.act") {
					t.Errorf("details %q do not start at the place of the panic", a.Details)
				}
			})
		}
		t.Run(verb+" Config", func(t *testing.T) {
			t.Parallel()
			a := call(t, verb, doing("config", "panic"))
			wantError(t, a, errcode.Internal, "in Config")
			wantUntouched(t, a)
		})
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"ADD", "DEL", "CHECK", "GC", "STATUS"} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			wantError(t, call(t, verb, doing(verb, "error")), errcode.Internal, "plain error in two lines")
			a := call(t, verb, doing(verb, "coded"))
			wantError(t, a, errcode.PoolExhausted, "no free address in pool blue", "254 of 254 used")
			if a.Version != "1.1.0" {
				t.Errorf("error in version %q", a.Version)
			}
		})
	}
}

func TestUndo(t *testing.T) {
	t.Parallel()
	reverse := []string{"undo third", "undo second", "undo first"}
	for _, c := range []struct {
		name, do string
		code     errcode.Code
		says     string
	}{
		{"error", `{"ADD":"error"}`, errcode.Internal, "plain error"},
		{"panic", `{"ADD":"panic"}`, errcode.Internal, "nil map"},
		{"no result", `{"result":"none"}`, errcode.Internal, "no result"},
		{"result cannot be printed", `{"result":"unprintable"}`, errcode.IncompatibleVersion, "cannot be expressed"},
		{"a step back goes wrong", `{"ADD":"coded","undo":"second"}`, errcode.PoolExhausted, "undo incomplete: undo second: stuck"},
		{"deadline", `{"ADD":"wait"}`, errcode.TryAgain, "ADD did not finish within 50ms"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := call(t, "ADD", netconf("1.1.0", `"timeout":"50ms"`, `"do":`+c.do))
			wantError(t, a, c.code, c.says)
			if diff := cmp.Diff(reverse, a.trace[1:]); diff != "" {
				t.Errorf("undo order: %s", diff)
			}
		})
	}
	t.Run("success", func(t *testing.T) {
		t.Parallel()
		if a := call(t, "ADD", netconf("1.1.0")); len(a.trace) != 1 {
			t.Errorf("trace %q", a.trace)
		}
	})
}

// TestRuntimeGone closes the pipe that the result is to be written to.
func TestRuntimeGone(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	traced := filepath.Join(t.TempDir(), "trace")
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = []string{"GOCOVERDIR=" + t.TempDir(), "FRAME_TRACE=" + traced, "CNI_COMMAND=ADD", "CNI_PATH=/x", "CNI_CONTAINERID=a", "CNI_IFNAME=e", "CNI_NETNS=/proc/self/ns/net", "CNI_NETNS_OVERRIDE=1"}
	cmd.Stdin = strings.NewReader(netconf("1.1.0"))
	var diag bytes.Buffer
	cmd.Stdout, cmd.Stderr = w, &diag
	if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("exit %v, want 1", err)
	}
	_ = w.Close()
	b, err := os.ReadFile(traced)
	if err != nil || !strings.HasSuffix(string(b), "undo third\nundo second\nundo first\n") {
		t.Errorf("nothing was undone: %s %v", b, err)
	}
	if !strings.Contains(diag.String(), "cannot be handed to the runtime") {
		t.Errorf("stderr %q", diag.String())
	}
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"ADD", "DEL", "CHECK", "GC", "STATUS"} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			a := call(t, verb, doing(verb, "wait", `"timeout":"30ms"`))
			wantError(t, a, errcode.TryAgain, verb+" did not finish within 30ms", "wait for lock")
		})
	}
}

func TestLog(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	a := call(t, "ADD", netconf("1.1.0", `"do":{"ADD":"warn"}`, `"other":"`+secret+`"`), "CNI_ARGS=K8S_POD_NAMESPACE=shop;K8S_POD_NAME=db-0")
	var got map[string]any
	if err := json.Unmarshal([]byte(a.stderr), &got); err != nil {
		t.Fatalf("log is not one JSON line: %v\n%s", err, a.stderr)
	}
	delete(got, "time")
	want := map[string]any{
		"level": "WARN", "msg": "watch out", "verb": "ADD", "network": "lan", "container_id": "c0ffee", "ifname": "net1", "pod": "shop/db-0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	// Neither log nor error may hold the configuration.
	for _, bad := range []string{`"count":"` + secret, `"passwort":"` + secret + `"`, `"x":{"a":"` + secret + `"}`, `"do":[{"a":"` + secret + `"}]`} {
		a := call(t, "DEL", strings.TrimSuffix(netconf("1.1.0"), "}")+","+bad+"}")
		if strings.Contains(a.stderr+a.stdout, secret) && !strings.HasPrefix(bad, `"count"`) {
			t.Errorf("%s: secret in %s%s", bad, a.stdout, a.stderr)
		}
	}
}

// TestStrayPrint has something print where the result goes.
func TestStrayPrint(t *testing.T) {
	t.Parallel()
	a := call(t, "ADD", doing("ADD", "chatter"))
	if a.exit != 0 || a.stderr != "a library talks\n" {
		t.Errorf("exit %d, stderr %q", a.exit, a.stderr)
	}
	wantResult(t, a.stdout, "1.1.0")
}

// TestForeignNetns gives a namespace that really is another one.
func TestForeignNetns(t *testing.T) {
	t.Parallel()
	path := make(chan string)
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			path <- ""
			return
		}
		path <- "/proc/" + strconv.Itoa(os.Getpid()) + "/task/" + strconv.Itoa(unix.Gettid()) + "/ns/net"
		<-done
	}()
	netns := <-path
	if netns == "" {
		if os.Getenv("WEFT_REQUIRE") != "" {
			t.Fatal("needs the right to make a network namespace")
		}
		t.Skip("needs the right to make a network namespace")
	}
	for _, verb := range []string{"ADD", "CHECK", "DEL"} {
		a := call(t, verb, netconf("1.1.0"), "CNI_NETNS="+netns, "CNI_NETNS_OVERRIDE=")
		if a.exit != 0 || !strings.Contains(a.trace[0], "ns=true") {
			t.Errorf("%s: exit %d, trace %q\n%s", verb, a.exit, a.trace, a.stdout)
		}
	}
}

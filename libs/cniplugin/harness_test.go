// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package cniplugin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/weft-cni/weft/libs/cniplugin"
	"github.com/weft-cni/weft/libs/errcode"
)

// TestMain makes this test binary the plugin that the tests call, when they call it.
func TestMain(m *testing.M) {
	if os.Getenv("FRAME_TRACE") != "" {
		cniplugin.Main(scripted())
	}
	os.Exit(m.Run())
}

// script is the configuration of the plugin under test: what each verb is to do.
type script struct {
	Do      map[string]string `json:"do"`
	Timeout string            `json:"timeout"`
	Count   int               `json:"count"`
}

func scripted() cniplugin.Plugin[script] {
	p := cniplugin.Plugin[script]{
		Name:      "weft-test",
		About:     "does what it is told",
		NeedsPrev: os.Getenv("FRAME_NEEDS_PREV") != "",
		Config: func(raw []byte) (script, cniplugin.Problems) {
			c, ps := cniplugin.Decode[script](raw, "", "other")
			if c.Do["config"] == "panic" {
				panic("in Config")
			}
			return c, ps
		},
		Timeout: func(c script) time.Duration {
			d, err := time.ParseDuration(c.Timeout)
			if err != nil {
				return 0
			}
			return d
		},
		Add:   add,
		Del:   func(ctx context.Context, r *request) error { return act(ctx, "DEL", r) },
		Check: func(ctx context.Context, r *request) error { return act(ctx, "CHECK", r) },
		GC:    func(ctx context.Context, r *request) error { return act(ctx, "GC", r) },
		Extra: map[string]func(io.Writer, []string) error{
			"sing": func(w io.Writer, args []string) error {
				_, err := fmt.Fprintln(w, "la", args)
				return err
			},
			"fall": func(io.Writer, []string) error { return errors.New("fell") },
		},
	}
	if os.Getenv("FRAME_BARE") != "" {
		p.Add, p.Del, p.Check, p.GC = nil, nil, nil, nil
		return p
	}
	p.Status = func(ctx context.Context, r *request) error { return act(ctx, "STATUS", r) }
	return p
}

type request = cniplugin.Request[script]

func add(ctx context.Context, r *request) (*current.Result, error) {
	for _, name := range []string{"first", "second", "third"} {
		r.Undo.Push("undo "+name, func(ctx context.Context) error {
			trace("undo " + name)
			if r.Config.Do["undo"] == name {
				return errors.New("stuck")
			}
			return ctx.Err()
		})
	}
	if err := act(ctx, "ADD", r); err != nil {
		return nil, err
	}
	switch r.Config.Do["result"] {
	case "none":
		return nil, nil //nolint:nilnil // the mistake under test
	case "unprintable":
		return &current.Result{CNIVersion: "no version"}, nil
	}
	return &current.Result{
		Interfaces: []*current.Interface{{Name: r.IfName, Mtu: 1400}},
		IPs:        []*current.IPConfig{{Address: net.IPNet{IP: net.IP{10, 0, 0, 7}, Mask: net.CIDRMask(24, 32)}}},
	}, nil
}

// act does what the script says for the verb, after noting in the trace what the handler was given.
func act(ctx context.Context, verb string, r *request) error {
	prev := "none"
	if r.Prev != nil {
		prev = r.Prev.Interfaces[0].Name
	}
	trace(fmt.Sprintf("%s net=%s v=%s id=%s if=%s ns=%t pod=%s prev=%s valid=%v", verb, r.Network, r.CNIVersion, r.ContainerID,
		r.IfName, r.Netns != "", r.Args.Pod(), prev, r.Valid))
	switch r.Config.Do[verb] {
	case "panic":
		r.Config.Do = nil
		r.Config.Do["x"] = "assignment to a nil map"
	case "panic-nil":
		panic(nil) //nolint:govet // a value that recover used to miss
	case "panic-error":
		panic(errcode.New(errcode.TryAgain, "thrown", ""))
	case "error":
		return errors.New("plain error\nin two lines")
	case "coded":
		return fmt.Errorf("outer: %w", errcode.Wrap(errcode.PoolExhausted, errors.New("254 of 254 used"), "no free address in pool blue"))
	case "wait":
		<-ctx.Done()
		return fmt.Errorf("wait for lock: %w", ctx.Err())
	case "chatter":
		fmt.Println("a library talks")
	case "warn":
		r.Log.Info("nobody wants to read this")
		r.Log.Warn("watch out")
	}
	return nil
}

func trace(line string) {
	f, err := os.OpenFile(os.Getenv("FRAME_TRACE"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := fmt.Fprintln(f, line); err != nil {
		panic(err)
	}
}

// answer is what came out of one call.
type answer struct {
	exit           int
	stdout, stderr string
	trace          []string // what the handlers and undo steps noted

	Code    errcode.Code `json:"code"`
	Msg     string       `json:"msg"`
	Details string       `json:"details"`
	Version string       `json:"cniVersion"`
}

// call runs this test binary as a plugin. env entries replace the defaults; "NAME=" unsets.
func call(t *testing.T, verb, conf string, env ...string) answer {
	t.Helper()
	traced := filepath.Join(t.TempDir(), "trace")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], strings.Fields(argsOf(env))...)
	cmd.Env = append([]string{
		"FRAME_TRACE=" + traced, "CNI_COMMAND=" + verb, "CNI_PATH=/opt/cni/bin", "CNI_CONTAINERID=c0ffee", "CNI_IFNAME=net1",
		"CNI_NETNS=/proc/self/ns/net", "CNI_NETNS_OVERRIDE=1", "GOCOVERDIR=" + t.TempDir(),
	}, env...)
	cmd.Stdin = strings.NewReader(conf)
	var out, diag bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diag
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	a := answer{exit: cmd.ProcessState.ExitCode(), stdout: out.String(), stderr: diag.String()}
	if b, err := os.ReadFile(traced); err == nil {
		a.trace = strings.Split(strings.TrimSpace(string(b)), "\n")
	}
	if a.exit == 1 && out.Len() > 0 {
		if err := json.Unmarshal(out.Bytes(), &a); err != nil {
			t.Fatalf("stdout is not one JSON object: %v\n%s", err, a.stdout)
		}
	}
	return a
}

func argsOf(env []string) string {
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "ARGS="); ok {
			return v
		}
	}
	return ""
}

// wantError checks an error's number, and that its text is fit for a pod's events.
func wantError(t *testing.T, a answer, code errcode.Code, parts ...string) {
	t.Helper()
	if a.exit != 1 || a.Code != code {
		t.Fatalf("exit %d, code %d, want 1 and %d\nstdout: %s\nstderr: %s", a.exit, a.Code, code, a.stdout, a.stderr)
	}
	for _, part := range parts {
		if !strings.Contains(a.Msg+"\n"+a.Details, part) {
			t.Errorf("%q lacks %q (details %q)", a.Msg, part, a.Details)
		}
	}
	if a.Msg == "" || len([]rune(a.Msg)) > errcode.MaxMsg || strings.ContainsAny(a.Msg, "\n\r\t") {
		t.Errorf("message is not one line of at most %d characters: %q", errcode.MaxMsg, a.Msg)
	}
	if tag := fmt.Sprintf(" [e%d]", code); !strings.HasSuffix(a.Msg, tag) {
		t.Errorf("the text %q does not end in%s", a.Msg, tag)
	}
	if strings.Contains(a.stdout, "not found") {
		t.Errorf("a runtime takes these words for success: %s", a.stdout)
	}
	if a.Version == "" {
		t.Errorf("error without cniVersion: %s", a.stdout)
	}
}

// wantUntouched checks that no handler ran.
func wantUntouched(t *testing.T, a answer) {
	t.Helper()
	if len(a.trace) != 0 {
		t.Errorf("something was done: %q", a.trace)
	}
}

// netconf is a configuration with more members in it.
func netconf(version string, members ...string) string {
	all := append([]string{fmt.Sprintf(`"cniVersion":%q,"name":"lan","type":"weft-test"`, version)}, members...)
	return "{" + strings.Join(all, ",") + "}"
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Command runsuite runs Go test binaries one after the other and says how each
// went: one line a package, the reason of every skipped test, the whole output
// of a package that failed, and a closing line with the counts.
//
//	runsuite [-timeout 5m] LANE LIST
//
// LIST is a file of lines "FOLDER BINARY PACKAGE". It runs inside a guest, where
// there is no Go tool; what it prints is its only result, with exit code 1 when
// a test failed. It builds nothing and retries nothing.
package main

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

func main() {
	timeout := flag.Duration("timeout", 5*time.Minute, "end a package's tests after this `time`")
	flag.Parse()
	if flag.NArg() != 2 {
		fmt.Fprintln(os.Stderr, "usage: runsuite [-timeout 5m] LANE LIST")
		os.Exit(2)
	}
	list, err := os.ReadFile(flag.Arg(1))
	if err != nil {
		fmt.Fprintln(os.Stderr, "runsuite:", err)
		os.Exit(2)
	}
	total := suite(os.Stdout, string(list), *timeout)
	fmt.Printf("lane %s: %d passed, %d failed, %d skipped\n", flag.Arg(0), total.passed, total.failed, len(total.skipped))
	if total.failed > 0 || total.passed == 0 {
		os.Exit(1)
	}
}

func suite(w io.Writer, list string, timeout time.Duration) counts {
	var total counts
	for line := range strings.Lines(list) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		start := time.Now()
		out, err := run(f[0], f[1], timeout)
		c := count(out)
		word := "ok  "
		if err != nil {
			word = "FAIL"
			c.failed = max(c.failed, 1)
		}
		fmt.Fprintf(w, "%s %s (%d passed, %d skipped, %.1fs)\n", word, f[2], c.passed, len(c.skipped), time.Since(start).Seconds())
		for _, s := range c.skipped {
			fmt.Fprintln(w, "     skipped", s)
		}
		if err != nil {
			fmt.Fprintf(w, "%s\n%s: %v\n", out, f[2], err)
		}
		total.passed += c.passed
		total.failed += c.failed
		total.skipped = append(total.skipped, c.skipped...)
	}
	return total
}

func run(dir, binary string, timeout time.Duration) ([]byte, error) {
	// The binary ends itself with every goroutine's stack; the context is for
	// one that cannot.
	ctx, cancel := context.WithTimeout(context.Background(), timeout+10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "-test.v", "-test.timeout="+timeout.String())
	cmd.Dir = dir
	cmd.WaitDelay = time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.Bytes(), err
}

// counts is what the output of "-test.v" says. Passed and failed count
// top-level tests; skipped has every skipped test with its reason.
type counts struct {
	passed, failed int
	skipped        []string
}

func count(out []byte) counts {
	var c counts
	said := map[string]string{} // a test's last own line, the reason if it is skipped
	now := ""
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		line := s.Text()
		verb, name, ok := event(line)
		switch {
		case ok && verb == "PASS" && strings.HasPrefix(line, "---"):
			c.passed++
		case ok && verb == "FAIL" && strings.HasPrefix(line, "---"):
			c.failed++
		case ok && verb == "SKIP" && strings.HasSuffix(name, ":"): // a TestMain's own line: the reason follows
			c.skipped = append(c.skipped, strings.TrimPrefix(line, "--- SKIP: "))
		case ok && verb == "SKIP":
			c.skipped = append(c.skipped, name+": "+said[name])
		case ok:
			now = name
		case strings.TrimSpace(line) != "":
			said[now] = strings.TrimSpace(line)
		}
	}
	return c
}

// event splits "=== RUN   TestX" and "--- PASS: TestX (0.00s)".
func event(line string) (verb, name string, ok bool) {
	f := strings.Fields(line)
	if len(f) < 3 || f[0] != "===" && f[0] != "---" {
		return "", "", false
	}
	return strings.TrimSuffix(f[1], ":"), f[2], true
}

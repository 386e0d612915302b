// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package nettest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// insideEnv marks the re-executed process, by its own process number in the private namespaces.
const insideEnv = "WEFT_NETTEST_INSIDE"

// netnsDir is where named namespaces live, as `ip netns` expects.
const netnsDir = "/run/netns"

// Main runs the tests of a package in private network, mount, process and IPC namespaces. It is the whole of TestMain:
//
//	func TestMain(m *testing.M) { nettest.Main(m) }
func Main(m *testing.M) {
	if Inside() {
		os.Exit(inside(m))
	}
	if listing() {
		os.Exit(m.Run())
	}
	if os.Geteuid() != 0 {
		os.Exit(withoutRoot(os.Stdout))
	}
	os.Exit(outside())
}

// Inside says whether this process runs in the private namespaces. A TestMain that has work to do with the machine's
// network still there (building a program) does it before Main when Inside is false.
func Inside() bool { return os.Getenv(insideEnv) != "" && os.Getpid() == 1 }

// listing says whether the test binary was only asked for the names of its tests.
func listing() bool {
	for _, arg := range os.Args[1:] {
		if name := strings.TrimLeft(arg, "-"); name != arg && strings.HasPrefix(name, "test.list") {
			return true
		}
	}
	return false
}

// withoutRoot says in one line why nothing ran.
func withoutRoot(out io.Writer) int {
	const reason = "nettest: these tests need root (network namespaces)"
	if os.Getenv(requireEnv) != "" {
		_, _ = fmt.Fprintf(out, "%s, and %s asks for them\n", reason, requireEnv)
		return 1
	}
	_, _ = fmt.Fprintf(out, "--- SKIP: %s\n", reason)
	return 0
}

// outside starts the same binary inside and passes its exit code on.
func outside() int {
	// The kernel sends PDEATHSIG when the thread that forked ends, so that thread stays.
	runtime.LockOSThread()
	cmd := exec.Command("/proc/self/exe") //nolint:noctx // Its life is bound to this process by PDEATHSIG.
	cmd.Args = os.Args
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT)
	if err := cmd.Start(); err != nil {
		_, _ = fmt.Fprintf(os.Stderr, "nettest: start the test binary in private namespaces: %v\n", err)
		return 1
	}
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s)
		}
	}()
	err := cmd.Wait()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit) && exit.Exited():
		return exit.ExitCode()
	}
	_, _ = fmt.Fprintf(os.Stderr, "nettest: test process: %v\n", err)
	return 1
}

// inside prepares the private world and runs the tests.
func inside(m *testing.M) int {
	if err := prepare(); err != nil {
		_, _ = fmt.Fprintf(os.Stderr, "nettest: prepare the private world: %v\n", err)
		return 1
	}
	return m.Run()
}

// prepare gives the process its own /proc, /sys and /run and raises the loopback device.
func prepare() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := unix.Mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /sys: %w", err)
	}
	dirs := []string{"/run"}
	if real, err := filepath.EvalSymlinks("/var/run"); err == nil && real != "/run" {
		dirs = append(dirs, "/var/run")
	}
	for _, dir := range dirs {
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
			return fmt.Errorf("mount %s: %w", dir, err)
		}
		if err := os.Mkdir(filepath.Join(dir, "netns"), 0o755); err != nil {
			return fmt.Errorf("make the folder of namespaces: %w", err)
		}
	}
	return loopbackUp()
}

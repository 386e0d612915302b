// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package nettest_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	vnetns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/weft-cni/weft/libs/netns"
	"github.com/weft-cni/weft/libs/nettest"
)

// victimEnv holds the path of the killer's namespace and tells the victim to be one.
const victimEnv = "WEFT_NETTEST_VICTIM"

// patience bounds every wait for the kernel to tear namespaces down.
const patience = 30 * time.Second

func TestMain(m *testing.M) { nettest.Main(m) }

func TestWorldIsPrivate(t *testing.T) {
	if os.Getpid() != 1 {
		t.Errorf("process %d, want the first of a process namespace", os.Getpid())
	}
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if _, ok := link.(*netlink.Device); ok && link.Attrs().Name != "lo" {
			t.Errorf("the machine's %s is visible", link.Attrs().Name)
		}
		if link.Attrs().Name == "lo" && link.Attrs().Flags&unix.IFF_UP == 0 {
			t.Error("lo is down")
		}
	}
}

func TestNamespaceGoesWithTheTest(t *testing.T) {
	t.Parallel()
	var path string
	t.Run("inner", func(t *testing.T) {
		n := nettest.New(t, "short")
		path = n.Path()
		if is, err := netns.Is(path); err != nil || !is {
			t.Errorf("Is(%s) = %v, %v", path, is, err)
		}
		n.Do(func() {
			id, err := netns.Identify("/proc/thread-self/ns/net")
			if err != nil {
				t.Fatal(err)
			}
			want, err := netns.Identify(path)
			if err != nil || id != want {
				t.Errorf("inside %v, want %v (%v)", id, want, err)
			}
		})
	})
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", path, err)
	}
}

func TestSwitchConnects(t *testing.T) {
	t.Parallel()
	a, b := nettest.New(t, "a"), nettest.New(t, "b")
	nettest.Switch(t, a, b)
	for i, n := range []*nettest.NS{a, b} {
		link, err := n.Netlink().LinkByName("eth0")
		if err != nil {
			t.Fatal(err)
		}
		addr, err := netlink.ParseAddr(fmt.Sprintf("192.0.2.%d/24", i+1))
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Netlink().AddrAdd(link, addr); err != nil {
			t.Fatal(err)
		}
	}
	var listener *os.File
	b.Do(func() { listener = udpSocket(t) })
	if err := unix.Bind(int(listener.Fd()), &unix.SockaddrInet4{Port: 9, Addr: [4]byte{192, 0, 2, 2}}); err != nil {
		t.Fatal(err)
	}
	a.Do(func() {
		s := udpSocket(t)
		if err := unix.Sendto(int(s.Fd()), []byte("hello"), 0, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{192, 0, 2, 2}}); err != nil {
			t.Fatal(err)
		}
	})
	buf := make([]byte, 16)
	n, err := unix.Read(int(listener.Fd()), buf)
	if err != nil || string(buf[:n]) != "hello" {
		t.Errorf("read %q, %v", buf[:max(n, 0)], err)
	}
}

// udpSocket opens a datagram socket in the thread's namespace, with a receive deadline.
func udpSocket(t *testing.T) *os.File {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}); err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "udp")
	t.Cleanup(func() { _ = file.Close() })
	return file
}

func TestExecRunsInside(t *testing.T) {
	t.Parallel()
	nettest.Need(t, "program:cat")
	n := nettest.New(t, "exec")
	nettest.Cable(t, n, "left", n, "right")
	out := n.Exec("cat", "/proc/thread-self/net/dev")
	if !strings.Contains(out, "left:") || !strings.Contains(out, "right:") {
		t.Errorf("links of the namespace are not in\n%s", out)
	}
}

// TestVictim is no test of its own: TestKilledWorldLeavesNothing starts and kills it.
func TestVictim(t *testing.T) {
	outer := os.Getenv(victimEnv)
	if outer == "" {
		t.Skip("only useful to TestKilledWorldLeavesNothing")
	}
	home, err := os.Open(outer)
	if err != nil {
		t.Fatal(err)
	}
	n := nettest.New(t, "victim")
	canary := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: "inner"},
		PeerName:      "canary",
		PeerNamespace: netlink.NsFd(int(home.Fd())),
	}
	if err := n.Netlink().LinkAdd(canary); err != nil {
		t.Fatal(err)
	}
	_ = home.Close()
	sleeper := exec.CommandContext(t.Context(), "sleep", "1000")
	sleeper.Stdout = os.Stdout
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	fmt.Println("ready")
	select {}
}

// TestKilledWorldLeavesNothing kills the process the user would kill. The victim's namespace holds one end of a cable whose
// other end is here, and its processes hold the pipe: both must go.
func TestKilledWorldLeavesNothing(t *testing.T) {
	t.Parallel()
	watcher := nettest.New(t, "watcher")
	outer := filepath.Join(t.TempDir(), "outer")
	if err := os.WriteFile(outer, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(watcher.Path(), outer, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(outer, unix.MNT_DETACH) })
	updates, done := make(chan netlink.LinkUpdate, 64), make(chan struct{})
	defer close(done)
	if err := netlink.LinkSubscribeAt(vnetns.NsHandle(watcher.FD()), updates, done); err != nil {
		t.Fatal(err)
	}
	before := mounts(t)

	victim := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestVictim$", "-test.v")
	victim.Env = append(os.Environ(), victimEnv+"="+outer)
	victim.Stderr = os.Stderr
	pipe, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(pipe)
	said := ""
	for line := ""; strings.TrimSpace(line) != "ready"; said += line {
		if line, err = lines.ReadString('\n'); err != nil {
			t.Fatalf("victim never was ready: %v\n%s", err, said)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	waitLink(ctx, t, updates, unix.RTM_NEWLINK)

	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _, _ = io.Copy(io.Discard, lines); close(ended) }()
	select {
	case <-ended:
	case <-ctx.Done():
		t.Error("a process of the killed world still holds the pipe")
	}
	_ = victim.Wait()
	waitLink(ctx, t, updates, unix.RTM_DELLINK)
	if after := mounts(t); after != before {
		t.Errorf("mounts changed\nbefore:\n%s\nafter:\n%s", before, after)
	}
}

// waitLink waits for news of the canary.
func waitLink(ctx context.Context, t *testing.T, updates <-chan netlink.LinkUpdate, kind uint16) {
	t.Helper()
	for {
		select {
		case u := <-updates:
			if u.Header.Type == kind && u.Attrs().Name == "canary" {
				return
			}
		case <-ctx.Done():
			t.Fatalf("no message of kind %d about the canary: its namespace is not gone", kind)
		}
	}
}

// mounts returns the mounts of this process outside of the folder where other tests name namespaces at the same time.
func mounts(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var kept []string
	for line := range strings.Lines(string(raw)) {
		if !strings.Contains(line, "weft-") || strings.Contains(line, "victim") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

func TestNeed(t *testing.T) {
	t.Parallel()
	nettest.Need(t, "root")
	nettest.Need(t, "veth")
	for _, kind := range []string{"macvlan", "ipvlan", "vlan", "bond", "vrf", "dummy", "bridge", "ifb", "vxlan", "nft", "sriov", "rdma"} {
		t.Run(kind, func(t *testing.T) { nettest.Need(t, kind) })
	}
}

func TestSnapshotSeesChanges(t *testing.T) {
	t.Parallel()
	n := nettest.New(t, "snap")
	nettest.Cable(t, n, "left", n, "right")
	before := n.Snapshot()
	if again := n.Snapshot(); again != before {
		t.Fatalf("two snapshots of the same differ:\n%s\n%s", before, again)
	}
	link, err := n.Netlink().LinkByName("left")
	if err != nil {
		t.Fatal(err)
	}
	addr, err := netlink.ParseAddr("192.0.2.1/24")
	if err != nil {
		t.Fatal(err)
	}
	rule := netlink.NewRule()
	rule.Table, rule.Priority = 77, 77
	changes := map[string][2]func() error{
		"address": {
			func() error { return n.Netlink().AddrAdd(link, addr) },
			func() error { return n.Netlink().AddrDel(link, addr) },
		},
		"rule": {func() error { return n.Netlink().RuleAdd(rule) }, func() error { return n.Netlink().RuleDel(rule) }},
		"alias": {
			func() error { return n.Netlink().LinkSetAlias(link, "x") },
			func() error { return n.Netlink().LinkSetAlias(link, "") },
		},
	}
	for what, change := range changes {
		if err := change[0](); err != nil {
			t.Fatal(err)
		}
		if n.Snapshot() == before {
			t.Errorf("a changed %s is not seen", what)
		}
		if err := change[1](); err != nil {
			t.Fatal(err)
		}
		if after := n.Snapshot(); after != before {
			t.Errorf("%s: not as before:\n%s\n%s", what, before, after)
		}
	}
}

// TestRemovedNameIsNotTakenTwice: a namespace removed early must not take away the next one of the same name.
func TestRemovedNameIsNotTakenTwice(t *testing.T) {
	t.Parallel()
	var second *nettest.NS
	outer := t
	t.Run("first", func(t *testing.T) {
		first := nettest.New(t, "reused")
		first.Remove()
		second = nettest.New(outer, "reused")
		if first.Path() != second.Path() {
			t.Errorf("the second has another name: %s", second.Path())
		}
	})
	if is, err := netns.Is(second.Path()); err != nil || !is {
		t.Errorf("%s was taken away by its predecessor: %v", second.Path(), err)
	}
}

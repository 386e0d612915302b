// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/rest"

	"github.com/weft-cni/weft/e2e/cluster/pki"
)

// patience is how long a server may take to be ready; 3 s are usual.
const patience = 2 * time.Minute

func start() (*rest.Config, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	root, err := repository()
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(ctx, 3)
	if err != nil {
		return nil, err
	}
	config, env, err := credentials(ports[2])
	if err != nil {
		return nil, fmt.Errorf("make certificates: %w", err)
	}
	log := &tail{}
	ended := run(filepath.Join(root, "e2e/api/server.sh"), ports, env, log)
	if err := ready(ctx, config, ended); err != nil {
		return nil, fmt.Errorf("start kube-apiserver: %w; its last output:\n%s", err, log)
	}
	return config, apply(ctx, config, filepath.Join(root, "charts/weft/crds"))
}

// credentials makes certificates: of a client with all rights in the
// configuration, of the server as its environment.
func credentials(port string) (*rest.Config, []string, error) {
	ca, err := pki.New()
	if err != nil {
		return nil, nil, err
	}
	server, err := ca.Server("kube-apiserver", []netip.Addr{netip.MustParseAddr("127.0.0.1")}, "localhost")
	if err != nil {
		return nil, nil, err
	}
	admin, err := ca.Client("admin", "system:masters")
	if err != nil {
		return nil, nil, err
	}
	sign, err := pki.SigningKey()
	if err != nil {
		return nil, nil, err
	}
	config := &rest.Config{
		Host:            "https://127.0.0.1:" + port,
		TLSClientConfig: rest.TLSClientConfig{CAData: ca.Cert, CertData: admin.Cert, KeyData: admin.Key},
		QPS:             -1,
	}
	return config, []string{
		"PKI_CA=" + string(ca.Cert), "PKI_SERVER_CERT=" + string(server.Cert), "PKI_SERVER_KEY=" + string(server.Key),
		"PKI_SIGN_CERT=" + string(sign.Cert), "PKI_SIGN_KEY=" + string(sign.Key),
	}, nil
}

// run starts the script as the first process of its namespaces. The channel
// gets why it ended.
func run(script string, args, env []string, log io.Writer) <-chan error {
	ended := make(chan error, 1)
	go func() {
		// The kernel ends the script when the thread that made it ends: this one
		// never does before the process.
		runtime.LockOSThread()
		cmd := exec.Command(script, args...) //nolint:noctx // It lives as long as the process.
		cmd.Env = append(os.Environ(), env...)
		cmd.Stdout, cmd.Stderr = log, log
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
		err := cmd.Run()
		ended <- errors.Join(errors.New("it ended"), err)
		select {}
	}()
	return ended
}

// ready waits until the server says that it is.
func ready(ctx context.Context, config *rest.Config, ended <-chan error) error {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, config.Host+"/readyz", nil)
		if err != nil {
			return err
		}
		if res, err := client.Do(req); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case err := <-ended:
			return err
		case <-ctx.Done():
			return fmt.Errorf("not ready within %v", patience)
		}
	}
}

// freePorts finds loopback ports that nobody listens on, all different.
func freePorts(ctx context.Context, n int) ([]string, error) {
	var ports []string
	for range n {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer func() { _ = l.Close() }()
		ports = append(ports, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
	return ports, nil
}

// repository finds the folder that has go.work, from a package's folder up.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no go.work in this folder or above: run the tests in weft's tree")
		}
	}
}

// tail keeps the last of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (l *tail) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, b...)
	if keep := 16 << 10; len(l.text) > 2*keep {
		l.text = append([]byte(nil), l.text[len(l.text)-keep:]...)
	}
	return len(b), nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}

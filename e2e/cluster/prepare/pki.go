// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"os"
	"path/filepath"

	"github.com/weft-cni/weft/e2e/cluster/pki"
)

// writePKI fills a folder with the authority, the servers' and the API server's
// own pairs, the service accounts' key, and a kubeconfig a user.
func writePKI(dir, server string, nodes []string) error {
	address, err := netip.ParseAddr(server)
	if err != nil {
		return err
	}
	ca, err := pki.New()
	if err != nil {
		return err
	}
	w := writer{dir: dir}
	w.err = os.MkdirAll(dir, 0o755)
	w.pair("ca", ca.Pair, nil)
	own := []netip.Addr{address, netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.AddrFrom4([4]byte{10, 96, 0, 1})}
	pair, err := ca.Server("kube-apiserver", own, "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
	w.pair("apiserver", pair, err)
	pair, err = ca.Client("kube-apiserver-kubelet-client", "system:masters")
	w.pair("kubelet-client", pair, err)
	pair, err = pki.SigningKey()
	w.pair("sa", pair, err)

	users := map[string][]string{
		"admin":              {"admin", "system:masters"},
		"controller-manager": {"system:kube-controller-manager"},
		"scheduler":          {"system:kube-scheduler"},
		"proxy":              {"system:kube-proxy"},
	}
	for _, n := range nodes {
		users[n] = []string{"system:node:" + n, "system:nodes"}
	}
	for file, user := range users {
		pair, err := ca.Client(user[0], user[1:]...)
		w.file(file+".conf", ca.Kubeconfig("https://"+server+":6443", pair), err)
	}
	return w.err
}

// writer writes files until something fails, and keeps what did.
type writer struct {
	dir string
	err error
}

func (w *writer) pair(name string, p pki.Pair, err error) {
	w.file(name+".crt", p.Cert, err)
	w.file(name+".key", p.Key, err)
}

func (w *writer) file(name string, data []byte, err error) {
	if w.err == nil {
		w.err = err
	}
	if w.err == nil {
		w.err = os.WriteFile(filepath.Join(w.dir, name), data, 0o600)
	}
}

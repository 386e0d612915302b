// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package pki makes the certificates, keys and kubeconfigs of a test cluster.
// They are good for a day and for nothing else: one authority signs servers and
// clients alike. It reads and writes no files.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"time"
)

// Pair is a certificate and its key in PEM.
type Pair struct{ Cert, Key []byte }

// Authority signs.
type Authority struct {
	Pair
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// New makes an authority.
func New() (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	cert := template("weft-test-ca")
	cert.IsCA, cert.BasicConstraintsValid = true, true
	cert.KeyUsage |= x509.KeyUsageCertSign
	a := &Authority{cert: cert, key: key}
	a.Pair, err = a.sign(cert, key)
	return a, err
}

// Server makes a certificate for what clients call the server by.
func (a *Authority) Server(name string, addresses []netip.Addr, hosts ...string) (Pair, error) {
	c := template(name)
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	c.DNSNames = hosts
	for _, ip := range addresses {
		c.IPAddresses = append(c.IPAddresses, net.IP(ip.AsSlice()))
	}
	return a.pair(c)
}

// Client makes a certificate for a user of some groups.
func (a *Authority) Client(user string, groups ...string) (Pair, error) {
	c := template(user)
	c.Subject.Organization = groups
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return a.pair(c)
}

// Kubeconfig is the configuration of a client that calls server with a pair.
func (a *Authority) Kubeconfig(server string, user Pair) []byte {
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: weft
contexts: [{name: weft, context: {cluster: weft, user: weft}}]
clusters: [{name: weft, cluster: {server: %q, certificate-authority-data: %s}}]
users: [{name: weft, user: {client-certificate-data: %s, client-key-data: %s}}]
`, server, b64(a.Cert), b64(user.Cert), b64(user.Key))
}

// SigningKey makes a key pair for service account tokens: the public key in
// Cert, the private one in Key.
func SigningKey() (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return Pair{}, err
	}
	private, err := x509.MarshalECPrivateKey(key)
	return Pair{encode("PUBLIC KEY", public), encode("EC PRIVATE KEY", private)}, err
}

func (a *Authority) pair(c *x509.Certificate) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, err
	}
	return a.sign(c, key)
}

func (a *Authority) sign(c *x509.Certificate, key *ecdsa.PrivateKey) (Pair, error) {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return Pair{}, err
	}
	c.SerialNumber = serial
	cert, err := x509.CreateCertificate(rand.Reader, c, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return Pair{}, err
	}
	private, err := x509.MarshalECPrivateKey(key)
	return Pair{encode("CERTIFICATE", cert), encode("EC PRIVATE KEY", private)}, err
}

func template(name string) *x509.Certificate {
	return &x509.Certificate{
		Subject:   pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour),
		NotAfter:  time.Now().Add(24 * time.Hour),
		KeyUsage:  x509.KeyUsageDigitalSignature,
	}
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

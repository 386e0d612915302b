// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
)

// askLimit bounds a read that an ADD waits for.
const askLimit = 5 * time.Second

// cluster is the one HTTP/2 connection to the API server, and what it tells of
// the server's health.
type cluster struct {
	config *rest.Config
	meta   metadata.Interface // pods, namespaces, nodes: nothing but their metadata
	weft   rest.Interface
	now    func() time.Time
	heard  atomic.Int64 // when the server last answered, in nanoseconds; 0: never
}

func newCluster(server *rest.Config, now func() time.Time) (*cluster, error) {
	server = rest.CopyConfig(server)
	server.UserAgent = "weft-agent"
	transport, err := rest.TransportFor(server)
	if err != nil {
		return nil, fmt.Errorf("make a connection to the API server: %w", err)
	}
	c := &cluster{now: now}
	// The others use this transport, and with it this connection.
	c.config = &rest.Config{Host: server.Host, APIPath: server.APIPath, Transport: &ear{transport, c}, QPS: -1, UserAgent: server.UserAgent}
	if c.meta, err = metadata.NewForConfig(metadata.ConfigFor(c.config)); err != nil {
		return nil, fmt.Errorf("make a client of the API server: %w", err)
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("register weft's kinds: %w", err)
	}
	gv := v1alpha1.GroupVersion()
	weft := rest.CopyConfig(c.config)
	weft.APIPath, weft.GroupVersion = "/apis", &gv
	weft.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	if c.weft, err = rest.RESTClientFor(weft); err != nil {
		return nil, fmt.Errorf("make a client of the API server: %w", err)
	}
	return c, nil
}

// ear notes when the server answers.
type ear struct {
	next    http.RoundTripper
	cluster *cluster
}

// RoundTrip implements http.RoundTripper.
func (e *ear) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := e.next.RoundTrip(r)
	if err == nil && res.StatusCode < http.StatusInternalServerError {
		e.cluster.heard.Store(e.cluster.now().UnixNano())
	}
	return res, err
}

// silent says for how long the server has not answered, and whether it ever has.
func (c *cluster) silent() (time.Duration, bool) {
	at := c.heard.Load()
	if at == 0 {
		return 0, false
	}
	return c.now().Sub(time.Unix(0, at)), true
}

// listen asks the server for its version when nobody else has asked anything.
func (c *cluster) listen(ctx context.Context) {
	const each = 10 * time.Second
	every(ctx, each/4, func() {
		if d, ever := c.silent(); ever && d < each {
			return
		}
		ctx, cancel := context.WithTimeout(ctx, askLimit)
		defer cancel()
		_ = c.weft.Get().AbsPath("/version").Do(ctx).Error() // what counts is noted by the ear
	})
}

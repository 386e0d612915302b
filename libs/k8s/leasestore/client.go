// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package leasestore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
	"github.com/weft-cni/weft/libs/lease"
)

const (
	leases = "ipleases"
	hints  = "iphints"

	// requestLimit ends a request whose context has no end of its own.
	requestLimit = 30 * time.Second
	// throttled is how often a request is tried that the server has no time for.
	throttled = 10
	pageSize  = 500
)

// client speaks to the API server over one HTTP/2 connection of its own.
type client struct{ rest rest.Interface }

func newClient(c *rest.Config) (*client, error) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("register weft's kinds: %w", err)
	}
	gv := v1alpha1.GroupVersion()
	c = rest.CopyConfig(c)
	c.APIPath, c.GroupVersion = "/apis", &gv
	c.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	c.QPS = -1 // the server's priority and fairness decide
	if c.Timeout == 0 {
		c.Timeout = requestLimit
	}
	if c.Dial == nil {
		// client-go shares connections between equal configurations; a dialer
		// makes this one different.
		c.Dial = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	r, err := rest.RESTClientFor(c)
	if err != nil {
		return nil, fmt.Errorf("make a client of the API server: %w", err)
	}
	return &client{rest: r}, nil
}

func (c *client) create(ctx context.Context, l *v1alpha1.IPLease) (*v1alpha1.IPLease, error) {
	out := &v1alpha1.IPLease{}
	return out, c.send(ctx, out, func() *rest.Request { return c.rest.Post().Resource(leases).Body(l) })
}

func (c *client) get(ctx context.Context, name string) (*v1alpha1.IPLease, error) {
	out := &v1alpha1.IPLease{}
	return out, c.send(ctx, out, func() *rest.Request { return c.rest.Get().Resource(leases).Name(name) })
}

func (c *client) patch(ctx context.Context, name string, patch []byte) (*v1alpha1.IPLease, error) {
	out := &v1alpha1.IPLease{}
	return out, c.send(ctx, out, func() *rest.Request {
		return c.rest.Patch(types.MergePatchType).Resource(leases).Name(name).Body(patch)
	})
}

// remove returns what the server answered: the lease when something keeps it,
// else an object without a uid.
func (c *client) remove(ctx context.Context, name string, uid types.UID, resourceVersion string) (*v1alpha1.IPLease, error) {
	out := &v1alpha1.IPLease{}
	opts := &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &resourceVersion}}
	err := c.send(ctx, nil, func() *rest.Request { return c.rest.Delete().Resource(leases).Name(name).Body(opts) }, func(r rest.Result) error {
		obj, err := r.Get()
		if l, ok := obj.(*v1alpha1.IPLease); ok {
			out = l
		}
		return err
	})
	return out, err
}

func (c *client) list(ctx context.Context, selector, token string) (*v1alpha1.IPLeaseList, error) {
	out := &v1alpha1.IPLeaseList{}
	return out, c.send(ctx, out, func() *rest.Request {
		r := c.rest.Get().Resource(leases).Param("limit", fmt.Sprint(pageSize))
		if selector != "" {
			r = r.Param("labelSelector", selector)
		}
		if token != "" {
			r = r.Param("continue", token)
		}
		return r
	})
}

// hint reads a hint as the server's cache has it, without asking etcd.
func (c *client) hint(ctx context.Context, pool string) (*v1alpha1.IPHint, error) {
	out := &v1alpha1.IPHint{}
	return out, c.send(ctx, out, func() *rest.Request {
		return c.rest.Get().Resource(hints).Name(pool).Param("resourceVersion", "0")
	})
}

// send sends a request, again when the server says that it was too busy to look
// at it, and decodes the answer. The error is a status that the server gave, or
// lease.ErrUnknown, or something that happened before the request was sent.
func (c *client) send(ctx context.Context, into runtime.Object, request func() *rest.Request, decode ...func(rest.Result) error) error {
	for try := 1; ; try++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		var sent atomic.Bool
		trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }}
		// client-go would send a write again after a 5xx that it may have done.
		result := request().MaxRetries(0).Do(httptrace.WithClientTrace(ctx, trace))
		err := result.Error()
		if err == nil {
			if into != nil {
				err = result.Into(into)
			}
			for _, d := range decode {
				err = d(result)
			}
		}
		if wait, busy := tooBusy(err); busy && try < throttled {
			if err := sleep(ctx, wait); err != nil {
				return fmt.Errorf("the API server is too busy: %w", err)
			}
			continue
		}
		return classify(err, sent.Load())
	}
}

// classify tells an answer from an outcome that nobody knows.
func classify(err error, sent bool) error {
	if err == nil {
		return nil
	}
	status := apierrors.APIStatus(nil)
	answered := errors.As(err, &status) && status.Status().Code < http.StatusInternalServerError && status.Status().Code != 0
	if answered || !sent {
		return fmt.Errorf("ask the API server: %w", err)
	}
	return fmt.Errorf("ask the API server: %w: %w", lease.ErrUnknown, err)
}

func tooBusy(err error) (time.Duration, bool) {
	if !apierrors.IsTooManyRequests(err) {
		return 0, false
	}
	seconds, ok := apierrors.SuggestsClientDelay(err)
	if !ok || seconds < 1 {
		seconds = 1
	}
	return time.Duration(seconds) * time.Second, true
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

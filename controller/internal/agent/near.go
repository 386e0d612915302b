// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/weft-cni/weft/libs/errcode"
)

const (
	// nearFor is how long namespaces and the node are remembered.
	nearFor = 30 * time.Second
	// nearMost bounds the memory; a node has pods of few namespaces.
	nearMost = 256
)

// near remembers for a short time what is read for several pods in a row.
type near struct {
	cluster *cluster
	now     func() time.Time

	mu   sync.Mutex
	seen map[string]nearby
}

type nearby struct {
	object *metav1.PartialObjectMetadata
	at     time.Time
}

func newNear(c *cluster, now func() time.Time) *near {
	return &near{cluster: c, now: now, seen: map[string]nearby{}}
}

func (n *near) namespace(ctx context.Context, name string, since time.Time) (*metav1.PartialObjectMetadata, error) {
	return n.get(ctx, "namespaces", "namespace", name, since)
}

func (n *near) node(ctx context.Context, name string, since time.Time) (*metav1.PartialObjectMetadata, error) {
	return n.get(ctx, "nodes", "node", name, since)
}

// get returns an object as it was after since, or, if that is zero, a short time ago.
func (n *near) get(ctx context.Context, resource, kind, name string, since time.Time) (*metav1.PartialObjectMetadata, error) {
	if since.IsZero() {
		since = n.now().Add(-nearFor)
	}
	key := resource + "/" + name
	n.mu.Lock()
	had, ok := n.seen[key]
	n.mu.Unlock()
	if ok && !had.at.Before(since) {
		return had.object, nil
	}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	at := n.now()
	o, err := n.cluster.meta.Resource(schema.GroupVersionResource{Version: "v1", Resource: resource}).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, errcode.Newf(errcode.TryAgain, "%s %s does not exist in the API server", kind, name)
	}
	if err != nil {
		return nil, errcode.Wrap(errcode.TryAgain, err, "the API server cannot be asked for "+kind+" "+name)
	}
	o.ManagedFields = nil
	n.mu.Lock()
	defer n.mu.Unlock()
	for old, x := range n.seen {
		if len(n.seen) >= nearMost || n.now().Sub(x.at) > nearFor {
			delete(n.seen, old)
		}
	}
	n.seen[key] = nearby{o, at}
	return o, nil
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"

	"github.com/weft-cni/weft/libs/agentapi"
	"github.com/weft-cni/weft/libs/errcode"
)

// mirrorAnnotation holds the uid that kubelet knows a static pod by.
const mirrorAnnotation = "kubernetes.io/config.mirror"

func podResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: "pods"}
}

// pods holds the metadata of the node's pods, reduced to what an ADD reads.
type pods struct {
	cluster  *cluster
	informer cache.SharedIndexInformer
}

func newPods(c *cluster, node string) (*pods, error) {
	p := &pods{cluster: c}
	p.informer = metadatainformer.NewFilteredMetadataInformer(c.meta, podResource(), "", 0, cache.Indexers{},
		func(o *metav1.ListOptions) { o.FieldSelector = "spec.nodeName=" + node }).Informer()
	if err := p.informer.SetTransform(reduce); err != nil {
		return nil, fmt.Errorf("watch the node's pods: %w", err)
	}
	return p, nil
}

func (p *pods) run(ctx context.Context) { p.informer.RunWithContext(ctx) }

// reduce drops what no ADD reads.
func reduce(in any) (any, error) {
	o, ok := in.(*metav1.PartialObjectMetadata)
	if !ok {
		return in, nil
	}
	kept := map[string]string{}
	for k, v := range o.Annotations {
		if strings.HasPrefix(k, "weft.dev/") || k == mirrorAnnotation || k == networksAnnotation {
			kept[k] = v
		}
	}
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: o.Namespace, Name: o.Name, UID: o.UID, ResourceVersion: o.ResourceVersion,
		Labels: o.Labels, Annotations: kept,
	}}, nil
}

// get returns the pod that the runtime named: from memory, else from the API
// server. Nil means that the runtime named none.
func (p *pods) get(ctx context.Context, want agentapi.Pod) (*metav1.PartialObjectMetadata, error) {
	if want.Name == "" {
		return nil, nil //nolint:nilnil // the call is for no pod that is known
	}
	if o, ok, err := p.informer.GetStore().GetByKey(want.Namespace + "/" + want.Name); ok && err == nil {
		if pod, ok := o.(*metav1.PartialObjectMetadata); ok && is(pod, want) {
			return pod, nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	pod, err := p.cluster.meta.Resource(podResource()).Namespace(want.Namespace).Get(ctx, want.Name, metav1.GetOptions{})
	name := want.Namespace + "/" + want.Name
	switch {
	case apierrors.IsNotFound(err):
		return nil, errcode.Newf(errcode.TryAgain, "pod %s does not exist in the API server", name)
	case err != nil:
		return nil, errcode.Wrap(errcode.TryAgain, err, "the API server cannot be asked for pod "+name)
	case !is(pod, want):
		return nil, errcode.Newf(errcode.TryAgain, "pod %s with uid %s is gone: another pod has its name", name, want.UID)
	}
	return pod, nil
}

// is says whether the pod is the one that the runtime means. A runtime that
// gives no uid means whatever has the name.
func is(pod *metav1.PartialObjectMetadata, want agentapi.Pod) bool {
	return want.UID == "" || string(pod.UID) == want.UID || pod.Annotations[mirrorAnnotation] == want.UID
}

// synced waits a little for a cache that is being filled.
func synced(ctx context.Context, what string, has func() bool) error {
	if has() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if has() {
				return nil
			}
		case <-ctx.Done():
			return errcode.New(errcode.TryAgain, "weft-agent has not read the "+what+" from the API server yet",
				"the agent started a moment ago, or the API server does not answer: see the agent's log")
		}
	}
}

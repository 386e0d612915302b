// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"unique"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
)

// ByNode is the index of leases by the node that uses them.
const ByNode = "node"

// Fenced is the taint by which somebody says that a node is off.
const Fenced = corev1.TaintNodeOutOfService

// Informers are what the controller knows of the cluster.
type Informers struct{ Pools, Leases, Nodes cache.SharedIndexInformer }

// Informers makes the informers; nothing is read before they run.
func (c *Cluster) Informers() (Informers, error) {
	i := Informers{
		Pools:  informer(c.weft, pools, &v1alpha1.IPPool{}, nil),
		Leases: informer(c.weft, leases, &v1alpha1.IPLease{}, cache.Indexers{ByNode: byNode}),
		Nodes:  informer(c.Kube.CoreV1().RESTClient(), "nodes", &corev1.Node{}, nil),
	}
	for _, x := range []struct {
		cache.SharedIndexInformer

		less cache.TransformFunc
	}{{i.Pools, lessPool}, {i.Leases, lessLease}, {i.Nodes, lessNode}} {
		if err := x.SetTransform(x.less); err != nil {
			return Informers{}, err
		}
	}
	return i, nil
}

func informer(from rest.Interface, resource string, of runtime.Object, by cache.Indexers) cache.SharedIndexInformer {
	lw := cache.NewListWatchFromClient(from, resource, metav1.NamespaceAll, fields.Everything())
	return cache.NewSharedIndexInformer(lw, of, 0, by)
}

// NodeOf returns the node that uses the address of a lease, or "".
func NodeOf(l *v1alpha1.IPLease) string {
	switch {
	case l.Spec.Attachment != nil:
		return l.Spec.Attachment.Node
	case l.Spec.Holder.Kind == "Node":
		return l.Spec.Holder.Name
	}
	return ""
}

func byNode(obj any) ([]string, error) {
	l, ok := obj.(*v1alpha1.IPLease)
	if !ok || l.DeletionTimestamp != nil || NodeOf(l) == "" {
		return nil, nil
	}
	return []string{NodeOf(l)}, nil
}

// identity is what is kept of an object's metadata.
func identity(m metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion, Generation: m.Generation,
		DeletionTimestamp: m.DeletionTimestamp, Finalizers: m.Finalizers,
	}
}

func lessPool(obj any) (any, error) {
	if p, ok := obj.(*v1alpha1.IPPool); ok {
		p.ObjectMeta = identity(p.ObjectMeta)
	}
	return obj, nil
}

// lessLease keeps a third of a lease: there can be a hundred thousand.
func lessLease(obj any) (any, error) {
	l, ok := obj.(*v1alpha1.IPLease)
	if !ok {
		return obj, nil
	}
	less := &v1alpha1.IPLease{ObjectMeta: identity(l.ObjectMeta)}
	less.Finalizers = nil
	for _, f := range l.Finalizers {
		less.Finalizers = append(less.Finalizers, one(f))
	}
	less.Spec.Domain, less.Spec.Pool = one(l.Spec.Domain), one(l.Spec.Pool)
	less.Spec.Cooldown = l.Spec.Cooldown
	less.Spec.Holder.Kind = one(l.Spec.Holder.Kind)
	if less.Spec.Holder.Kind == "Node" {
		less.Spec.Holder.Name = one(l.Spec.Holder.Name)
	}
	if a := l.Spec.Attachment; a != nil {
		less.Spec.Attachment = &v1alpha1.Attachment{Node: one(a.Node)}
	}
	return less, nil
}

func lessNode(obj any) (any, error) {
	n, ok := obj.(*corev1.Node)
	if !ok {
		return obj, nil
	}
	less := &corev1.Node{ObjectMeta: identity(n.ObjectMeta)}
	for _, t := range n.Spec.Taints {
		if t.Key == Fenced {
			less.Spec.Taints = append(less.Spec.Taints, t)
		}
	}
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			less.Status.Conditions = append(less.Status.Conditions, corev1.NodeCondition{Type: c.Type, Status: c.Status})
		}
	}
	return less, nil
}

// one returns one copy of a string that many objects have.
func one(s string) string { return unique.Make(s).Value() }

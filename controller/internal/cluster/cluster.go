// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
)

// Manager is the field manager of everything that the controller writes.
const Manager = "weft-controller"

const (
	pools  = "ippools"
	leases = "ipleases"
	hints  = "iphints"

	// countsPerSecond and countsBurst limit the writes of counts, of all pools together.
	countsPerSecond, countsBurst = 20, 40
)

// Cluster reads and writes. Make it with Connect.
type Cluster struct {
	Kube   kubernetes.Interface
	weft   rest.Interface
	counts rest.Interface // limited
}

// Connect makes the clients. It sends no request.
func Connect(c *rest.Config) (*Cluster, error) {
	c = rest.CopyConfig(c)
	c.UserAgent = Manager
	c.QPS = -1 // the server's priority and fairness decide
	kube, err := kubernetes.NewForConfig(c)
	if err != nil {
		return nil, fmt.Errorf("make a client of the API server: %w", err)
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("register weft's kinds: %w", err)
	}
	gv := v1alpha1.GroupVersion()
	c.APIPath, c.GroupVersion = "/apis", &gv
	c.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	weft, err := rest.RESTClientFor(c)
	if err != nil {
		return nil, fmt.Errorf("make a client of the API server: %w", err)
	}
	c.QPS, c.Burst = countsPerSecond, countsBurst
	counts, err := rest.RESTClientFor(c)
	if err != nil {
		return nil, fmt.Errorf("make a client of the API server: %w", err)
	}
	return &Cluster{Kube: kube, weft: weft, counts: counts}, nil
}

// ApplyStatus writes the status of the pool that has this uid.
func (c *Cluster) ApplyStatus(ctx context.Context, p *v1alpha1.IPPool, s v1alpha1.IPPoolStatus) error {
	return c.apply(ctx, c.counts.Patch(types.ApplyPatchType).Resource(pools).Name(p.Name).SubResource("status"), map[string]any{
		"apiVersion": v1alpha1.GroupVersion().String(), "kind": "IPPool",
		"metadata": map[string]any{"name": p.Name, "uid": p.UID}, "status": s,
	})
}

// ApplyHint writes the hint of a pool, which owns it.
func (c *Cluster) ApplyHint(ctx context.Context, p *v1alpha1.IPPool, h *v1alpha1.IPHint) error {
	h.APIVersion, h.Kind = v1alpha1.GroupVersion().String(), "IPHint"
	h.OwnerReferences = []metav1.OwnerReference{{APIVersion: h.APIVersion, Kind: "IPPool", Name: p.Name, UID: p.UID}}
	return c.apply(ctx, c.counts.Patch(types.ApplyPatchType).Resource(hints).Name(h.Name), h)
}

func (c *Cluster) apply(ctx context.Context, r *rest.Request, object any) error {
	body, err := json.Marshal(object)
	if err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return r.Param("fieldManager", Manager).Param("force", "true").Body(body).Do(ctx).Error()
}

// SetFinalizers replaces the finalizers of a pool, if it is as it was read.
func (c *Cluster) SetFinalizers(ctx context.Context, p *v1alpha1.IPPool, finalizers []string) error {
	return c.patch(ctx, pools, p.ObjectMeta, map[string]any{"finalizers": finalizers}, nil)
}

// Lift ends the rest of a lease, if it is as it was read: without its finalizer
// the server drops it.
func (c *Cluster) Lift(ctx context.Context, l *v1alpha1.IPLease) error {
	rest := slices.DeleteFunc(slices.Clone(l.Finalizers), func(f string) bool { return f == v1alpha1.CooldownFinalizer })
	return c.patch(ctx, leases, l.ObjectMeta, map[string]any{"finalizers": rest}, nil)
}

// Release frees the address of a lease, if the lease is as it was read. It then
// rests as the lease says. An address that is kept for somebody else than the pod
// stays with them, unused.
func (c *Cluster) Release(ctx context.Context, l *v1alpha1.IPLease) error {
	switch l.Spec.Holder.Kind {
	case "Pod", "Container", "Node":
		return c.weft.Delete().Resource(leases).Name(l.Name).Body(&metav1.DeleteOptions{
			Preconditions: &metav1.Preconditions{UID: &l.UID, ResourceVersion: &l.ResourceVersion},
		}).Do(ctx).Error()
	}
	labels := map[string]any{"labels": map[string]any{v1alpha1.NodeLabel: nil}}
	return c.patch(ctx, leases, l.ObjectMeta, labels, map[string]any{"attachment": nil})
}

func (c *Cluster) patch(ctx context.Context, resource string, of metav1.ObjectMeta, meta, spec map[string]any) error {
	meta["uid"], meta["resourceVersion"] = of.UID, of.ResourceVersion
	patch := map[string]any{"metadata": meta}
	if spec != nil {
		patch["spec"] = spec
	}
	body, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return c.weft.Patch(types.MergePatchType).Resource(resource).Name(of.Name).Param("fieldManager", Manager).Body(body).Do(ctx).Error()
}

// Node reads a node from the server itself, not from a cache. Nil without an
// error means that the server says that there is none.
func (c *Cluster) Node(ctx context.Context, name string) (*corev1.Node, error) {
	n, err := c.Kube.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // no node is what was asked about
	}
	if err != nil {
		return nil, fmt.Errorf("read node %s: %w", name, err)
	}
	return n, nil
}

// Event is something that happened to a pool.
type Event struct {
	Pool           *v1alpha1.IPPool
	Warning        bool
	Reason, Action string
	Note           string
	At             time.Time
	By             string // the replica
}

// Tell writes an event.
func (c *Cluster) Tell(ctx context.Context, e Event) error {
	kind := corev1.EventTypeNormal
	if e.Warning {
		kind = corev1.EventTypeWarning
	}
	_, err := c.Kube.EventsV1().Events(metav1.NamespaceDefault).Create(ctx, &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: eventName(e), Namespace: metav1.NamespaceDefault},
		EventTime:  metav1.NewMicroTime(e.At), ReportingController: v1alpha1.Group + "/controller", ReportingInstance: e.By,
		Action: e.Action, Reason: e.Reason, Note: e.Note, Type: kind,
		Regarding: corev1.ObjectReference{
			APIVersion: v1alpha1.GroupVersion().String(), Kind: "IPPool", Name: e.Pool.Name, UID: e.Pool.UID,
		},
	}, metav1.CreateOptions{FieldManager: Manager})
	return err
}

func eventName(e Event) string {
	const most = 230 // what a name takes, less the suffix
	return fmt.Sprintf("%s.%x", e.Pool.Name[:min(most, len(e.Pool.Name))], e.At.UnixNano())
}

// Gone says that a write came too late: what it was to change has changed, or is
// no more. Whoever watches will see, and look again.
func Gone(err error) bool { return apierrors.IsConflict(err) || apierrors.IsNotFound(err) }

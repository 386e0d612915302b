// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package leasestore

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
	"github.com/weft-cni/weft/libs/lease"
)

// Entry reads a lease. A resting one has Until: its rest after the server's
// deletionTimestamp, which is in whole seconds, rounded down.
func Entry(l *v1alpha1.IPLease) (lease.Entry, error) {
	k, err := lease.ParseKey(l.Name)
	if err != nil {
		return lease.Entry{}, fmt.Errorf("lease %s: %w", l.Name, err)
	}
	e := lease.Entry{Key: k, Record: record(&l.Spec), Version: versionOf(l).encode()}
	if l.DeletionTimestamp != nil {
		e.Until = l.DeletionTimestamp.Add(e.Record.Rest).UTC()
		if !slices.Contains(l.Finalizers, v1alpha1.CooldownFinalizer) {
			e.Until = l.DeletionTimestamp.UTC() // kept by somebody else's finalizer
		}
	}
	return e, nil
}

func record(s *v1alpha1.IPLeaseSpec) lease.Record {
	r := lease.Record{
		Pool:   s.Pool,
		Holder: lease.Holder{Kind: s.Holder.Kind, Namespace: s.Holder.Namespace, Name: s.Holder.Name, UID: s.Holder.UID},
	}
	if s.Cooldown != nil {
		r.Rest = s.Cooldown.Duration
	}
	a := s.Attachment
	if a == nil {
		return r
	}
	r.BootID = a.BootID
	r.Attachment = lease.Attachment{
		ID:           lease.ID{Network: a.Network, ContainerID: a.SandboxID, IfName: a.Interface},
		NetnsInode:   uint64(a.Netns), //nolint:gosec // it was one
		PodNamespace: a.PodNamespace, PodName: a.PodName, PodUID: a.PodUID, Node: a.Node, MAC: a.MAC,
	}
	if a.Since != nil {
		r.Attachment.Since = a.Since.UTC()
	}
	return r
}

func spec(k lease.Key, r lease.Record) v1alpha1.IPLeaseSpec {
	s := v1alpha1.IPLeaseSpec{
		Address: k.Addr.String(), Domain: k.Domain, Pool: r.Pool,
		Holder: v1alpha1.Holder{Kind: r.Holder.Kind, Namespace: r.Holder.Namespace, Name: r.Holder.Name, UID: r.Holder.UID},
	}
	if r.Rest > 0 {
		s.Cooldown = &metav1.Duration{Duration: r.Rest}
	}
	a := r.Attachment
	if a == (lease.Attachment{}) {
		return s
	}
	s.Attachment = &v1alpha1.Attachment{
		PodNamespace: a.PodNamespace, PodName: a.PodName, PodUID: a.PodUID, Node: a.Node,
		Network: a.Network, Interface: a.IfName, SandboxID: a.ContainerID, MAC: a.MAC,
		Netns: int64(a.NetnsInode), BootID: r.BootID, //nolint:gosec // an inode number
	}
	if !a.Since.IsZero() {
		t := metav1.NewMicroTime(a.Since.UTC())
		s.Attachment.Since = &t
	}
	return s
}

func object(k lease.Key, r lease.Record) *v1alpha1.IPLease {
	return &v1alpha1.IPLease{
		ObjectMeta: metav1.ObjectMeta{Name: k.String(), Labels: labels(r), Finalizers: finalizers(r.Rest)},
		Spec:       spec(k, r),
	}
}

func labels(r lease.Record) map[string]string {
	out := map[string]string{v1alpha1.PoolLabel: Label(r.Pool)}
	if r.Attachment.Node != "" {
		out[v1alpha1.NodeLabel] = Label(r.Attachment.Node)
	}
	return out
}

func finalizers(rest time.Duration) []string {
	if rest <= 0 {
		return nil
	}
	return []string{v1alpha1.CooldownFinalizer}
}

// Label returns the label value that stands for a name: the name, or where that
// is too long for a label its beginning and a hash.
func Label(name string) string {
	if len(validation.IsValidLabelValue(name)) == 0 {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	head := strings.Map(func(r rune) rune {
		if r < 'a' || r > 'z' {
			return 'x'
		}
		return r
	}, name[:min(len(name), 40)])
	return head + "." + hex.EncodeToString(sum[:8])
}

// version is what a lease.Version says, uid and generation, which never repeat,
// and what the store remembers with it: the last write of the object, of its
// metadata too, and how long it is to rest.
type version struct {
	uid        types.UID
	generation int64
	resource   string
	rest       time.Duration
}

func versionOf(l *v1alpha1.IPLease) version {
	v := version{uid: l.UID, generation: l.Generation, resource: l.ResourceVersion}
	if l.Spec.Cooldown != nil && slices.Contains(l.Finalizers, v1alpha1.CooldownFinalizer) {
		v.rest = l.Spec.Cooldown.Duration
	}
	return v
}

func (v version) encode() lease.Version {
	return lease.Version(fmt.Sprintf("%s/%d", v.uid, v.generation))
}

// uidOf returns the part of a version that names the object.
func uidOf(v lease.Version) string {
	uid, _, _ := strings.Cut(string(v), "/")
	return uid
}

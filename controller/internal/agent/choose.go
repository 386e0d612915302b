// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weft-cni/weft/libs/agentapi"
	"github.com/weft-cni/weft/libs/attach"
	"github.com/weft-cni/weft/libs/errcode"
	"github.com/weft-cni/weft/libs/lease"
	"github.com/weft-cni/weft/libs/poolselect"
)

func itoa(i int) string { return strconv.Itoa(i) }

// choice is what an attachment is to be given.
type choice struct {
	request lease.Request
	table   string // why these pools, for people
}

// choose finds the pools for an attachment. What it remembers of the namespace
// and the node may be some seconds old; before it refuses, it asks again.
func (a *agent) choose(ctx context.Context, in agentapi.Allocate, pod *metav1.PartialObjectMetadata) (choice, error) {
	asked := a.now()
	c, err := a.chooseFrom(ctx, in, pod, time.Time{})
	if err == nil || errcode.Has(err, errcode.TryAgain) {
		return c, err
	}
	return a.chooseFrom(ctx, in, pod, asked)
}

func (a *agent) chooseFrom(ctx context.Context, in agentapi.Allocate, pod *metav1.PartialObjectMetadata, since time.Time) (choice, error) {
	node, err := a.near.node(ctx, a.config.node, since)
	if err != nil {
		return choice{}, err
	}
	wish := attach.Input{NIC: attach.NIC{Name: in.IfName, Position: -1}, IPs: in.IPs, IPsFrom: in.IPsFrom, Pools: in.Pools}
	who := poolselect.Subject{Node: object(node), NIC: in.IfName}
	if pod != nil {
		ns, err := a.near.namespace(ctx, pod.Namespace, since)
		if err != nil {
			return choice{}, err
		}
		who.Namespace, who.Pod = object(ns), object(pod)
		wish.Pod, wish.Namespace = pod.Annotations, ns.Annotations
		wish.NIC, who.Network = interfaces(pod.Namespace, pod.Annotations, in.IfName)
	}
	want, err := attach.Wanted(wish)
	if err != nil {
		return choice{}, errcode.New(errcode.InvalidConfig, err.Error(), "")
	}
	if want.Level == attach.LevelClaim {
		return choice{}, errcode.New(errcode.InvalidConfig, "annotation "+attach.ClaimAnnotation+" of the pod: this version of weft keeps no claims; write "+attach.PoolsAnnotation, "")
	}
	r := lease.Request{Attachment: attachment(in, pod), Holder: holder(in, pod), Began: in.Began, Exact: want.Addrs}
	holds, err := a.holds(ctx, r.Attachment)
	if err != nil {
		return choice{}, err
	}
	s, err := poolselect.Select(a.pools.choices(), poolselect.Request{Want: want, Subject: who, Holds: holds})
	c := choice{request: r, table: s.Explanation.Full()}
	if err != nil {
		return c, errcode.New(errcode.InvalidConfig, err.Error(), c.table)
	}
	if c.request.Pools = a.pools.leases(s.Candidates); len(c.request.Pools) == 0 {
		return c, errcode.New(errcode.TryAgain, "the pools changed while they were chosen from", c.table)
	}
	return c, nil
}

// holds are the pools of which the attachment has addresses.
func (a *agent) holds(ctx context.Context, at lease.Attachment) ([]string, error) {
	f := lease.Filter{Network: at.Network, IfName: at.IfName, ContainerID: at.ContainerID}
	if at.PodUID != "" {
		f = lease.Filter{Network: at.Network, IfName: at.IfName, PodUID: at.PodUID}
	}
	has, err := a.engine.List(ctx, f)
	if err != nil {
		return nil, numbered(err)
	}
	var out []string
	for _, e := range has {
		out = append(out, e.Record.Pool)
	}
	return out, nil
}

func object(o *metav1.PartialObjectMetadata) poolselect.Object {
	return poolselect.Object{Name: o.Name, Labels: o.Labels}
}

func attachment(in agentapi.Allocate, pod *metav1.PartialObjectMetadata) lease.Attachment {
	at := lease.Attachment{
		ID:         lease.ID(in.ID),
		NetnsInode: in.NetnsInode, PodNamespace: in.Pod.Namespace, PodName: in.Pod.Name, PodUID: in.Pod.UID,
	}
	if pod != nil {
		at.PodUID = string(pod.UID)
	}
	return at
}

func holder(in agentapi.Allocate, pod *metav1.PartialObjectMetadata) lease.Holder {
	if pod == nil {
		return lease.Holder{Kind: "Container", Name: in.ContainerID}
	}
	return lease.Holder{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: string(pod.UID)}
}

// numbered gives an error of the engine or the store its number, and words for
// the person who reads them in an event.
func numbered(err error) error {
	var (
		dry     *lease.ExhaustedError
		taken   *lease.TakenError
		refused *lease.RefusedError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &dry):
		return errcode.New(errcode.PoolExhausted, dry.Error(), "kubectl get ipleases shows who holds them")
	case errors.As(err, &taken):
		return errcode.New(errcode.AddressTaken, taken.Error(), "")
	case errors.As(err, &refused):
		return errcode.New(errcode.InvalidConfig, refused.Error(), "")
	case errors.Is(err, lease.ErrReleased):
		return errcode.Wrap(errcode.TryAgain, err, "this ADD came too late: its container was released meanwhile, and gets nothing any more")
	case errors.Is(err, lease.ErrStale), errors.Is(err, lease.ErrTaken):
		return errcode.Wrap(errcode.TryAgain, err, "others changed the same leases at the same time")
	}
	return errcode.Wrap(errcode.TryAgain, err, "the API server did not do what weft-agent asked of it")
}

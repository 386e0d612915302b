// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/weft-cni/weft/libs/cniplugin"
	"github.com/weft-cni/weft/libs/errcode"
	"github.com/weft-cni/weft/libs/journal"
	"github.com/weft-cni/weft/libs/netns"
	"github.com/weft-cni/weft/libs/netplan"
	"github.com/weft-cni/weft/libs/netplan/kernel"
	"github.com/weft-cni/weft/libs/netplan/nft"
)

// sys is what the plugin takes from the system. wrap sits between the plans and the kernel; tests fail or time steps there.
type sys struct {
	wrap func(where string, k netplan.Kernel) netplan.Kernel
	// reached is told when a stage of ADD is done.
	reached func(stage string)
}

func real() sys {
	return sys{
		wrap:    func(_ string, k netplan.Kernel) netplan.Kernel { return k },
		reached: func(string) {},
	}
}

// record is what the journal keeps of an attachment.
type record struct {
	// Pod is "namespace/name" when the runtime said so.
	Pod       string       `json:"pod,omitempty"`
	HostLink  string       `json:"hostLink"`
	Addresses []netip.Addr `json:"addresses"`
	// NetnsDev and NetnsIno identify the pod's network namespace: its path may come to mean another one.
	NetnsDev uint64 `json:"netnsDev"`
	NetnsIno uint64 `json:"netnsIno"`
	Netns    string `json:"netns"`
	// PodSysctls are the values that variables of the pod's own NIC had before.
	PodSysctls []netplan.Sysctl `json:"podSysctls,omitempty"`
}

// world is both namespaces.
type world struct {
	hostNS, podNS *netns.NS
	host, pod     *kernel.Kernel
}

// enterHost opens the namespace the plugin was started in.
func enterHost() (*world, error) {
	w := &world{}
	var err error
	if w.hostNS, err = netns.Current(); err != nil {
		return nil, errcode.Wrap(errcode.IO, err, "the node's network namespace cannot be opened")
	}
	if w.host, err = kernel.Open(w.hostNS); err != nil {
		return nil, errcode.Wrap(errcode.IO, errors.Join(err, w.hostNS.Close()), "the node's kernel cannot be asked")
	}
	return w, nil
}

// enter opens both namespaces.
func enter(path string) (*world, error) {
	w, err := enterHost()
	if err != nil {
		return nil, err
	}
	if err := w.openPod(path); err != nil {
		return nil, errors.Join(errcode.Wrap(errcode.BadNetns, err, "the pod's network namespace "+path+" cannot be used"), w.close())
	}
	return w, nil
}

func (w *world) openPod(path string) error {
	var err error
	if w.podNS, err = netns.Open(path); err != nil {
		return err
	}
	w.pod, err = kernel.Open(w.podNS)
	return err
}

func (w *world) close() error {
	var errs []error
	for _, k := range []*kernel.Kernel{w.host, w.pod} {
		if k != nil {
			errs = append(errs, k.Close())
		}
	}
	for _, ns := range []*netns.NS{w.hostNS, w.podNS} {
		if ns != nil {
			errs = append(errs, ns.Close())
		}
	}
	return errors.Join(errs...)
}

func attachment(r *cniplugin.Request[config]) netplan.Attachment {
	return netplan.Attachment{Network: r.Network, ContainerID: r.ContainerID, IfName: r.IfName}
}

func journalOf(c config) journal.Dir[record] { return journal.Open[record](c.stateDir) }

func keyOf(a netplan.Attachment) journal.Key {
	return journal.Key{Network: a.Network, ContainerID: a.ContainerID, IfName: a.IfName}
}

// sharedQuery is what all attachments use together, wherever it came from.
func sharedQuery() netplan.Query {
	return netplan.Query{Rules: true, Nft: true, Tables: []int{netplan.Table}}
}

// dropShared removes what attachments share when nobody is left to use it. The journal's lock is held.
func dropShared(ctx context.Context, k netplan.Kernel, j journal.Dir[record]) error {
	names, err := j.Names()
	if err != nil || len(names) > 0 {
		return err
	}
	have, err := k.Observe(ctx, sharedQuery())
	if err != nil {
		return err
	}
	if len(have.Routes) > 0 {
		return nil
	}
	return netplan.Remove(ctx, k, have)
}

// removeOwn removes what one attachment has on the host. Elements are asked for apart: they may outlive their link.
func removeOwn(ctx context.Context, k netplan.Kernel, hostLink string) error {
	elems := []nft.Elem{{Map: mapNode4, Key: hostLink}, {Map: mapNode6, Key: hostLink}}
	return errors.Join(
		removeAll(ctx, k, netplan.Query{Elems: elems}),
		removeAll(ctx, k, netplan.Query{Links: []string{hostLink}}),
	)
}

// kernelError gives an error of the kernel its number.
func kernelError(err error, where string) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EAFNOSUPPORT) {
		return errcode.Wrap(errcode.KernelFeature, err, "the node's kernel lacks a feature that weft-coordinator needs "+where)
	}
	if errors.Is(err, netplan.ErrForeign) {
		return errcode.Wrap(errcode.StateDiffers, err, "something that is not weft's stands in the way "+where)
	}
	return errcode.Wrap(errcode.IO, err, "the kernel refused a change "+where)
}

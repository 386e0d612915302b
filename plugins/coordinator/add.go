// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/weft-cni/weft/libs/cniplugin"
	"github.com/weft-cni/weft/libs/errcode"
	"github.com/weft-cni/weft/libs/journal"
	"github.com/weft-cni/weft/libs/netplan"
	"github.com/weft-cni/weft/libs/undo"
)

// add connects the pod. Steps back are pushed as it goes; the frame takes them when it ends with an error.
func (s sys) add(ctx context.Context, r *cniplugin.Request[config]) (*current.Result, error) {
	if r.Config.mode == modeOff {
		return r.Prev, nil
	}
	w, err := enter(r.Netns)
	if err != nil {
		return nil, err
	}
	// Open sockets are not in the way of a process about to end, and the way back needs them.
	f, err := survey(r, w)
	if err != nil {
		return nil, err
	}
	if err := f.ownVeth(w); err != nil {
		return nil, err
	}
	if err := f.rivalsOf(r); err != nil {
		return nil, err
	}
	s.reached("survey")
	l := layoutOf(r.Config, f)
	for _, note := range l.notes {
		r.Log.Warn("left out", slog.String("what", note))
	}
	if len(l.addrs) == 0 {
		return r.Prev, nil
	}
	if err := f.settle(ctx, w); err != nil {
		return nil, err
	}
	s.reached("layout")
	if err := s.apply(ctx, r, w, f, l); err != nil {
		return nil, err
	}
	return resultOf(r, f, l), nil
}

// apply takes host and pod to the layout.
func (s sys) apply(ctx context.Context, r *cniplugin.Request[config], w *world, f facts, l layout) error {
	host, pod := s.wrap("host", w.host), s.wrap("pod", w.pod)
	before, err := pod.Observe(ctx, netplan.Query{Sysctls: nicSysctls(f, l)})
	if err != nil {
		return kernelError(err, "in the pod")
	}
	s.reached("observe")
	if err := s.enroll(ctx, r, host, l.shared, s.newRecord(r, w, f, l, before)); err != nil {
		return err
	}
	if err := netplan.Reach(ctx, host, l.host, r.Undo); err != nil {
		return kernelError(err, "on the node")
	}
	s.reached("host")
	if err := netplan.Reach(ctx, pod, l.pod, r.Undo); err != nil {
		return kernelError(err, "in the pod")
	}
	s.reached("pod")
	return nil
}

// newRecord says what DEL will have to know.
func (s sys) newRecord(r *cniplugin.Request[config], w *world, f facts, l layout, before netplan.State) record {
	id := w.podNS.ID()
	rec := record{
		Pod: r.Args.Pod(), HostLink: f.att.HostLink(), Addresses: l.addrs,
		Netns: r.Netns, NetnsDev: id.Dev, NetnsIno: id.Ino,
	}
	rec.PodSysctls = before.Sysctls
	return rec
}

// nicSysctls are the variables of the pod's own NIC that will be changed: DEL puts them back.
func nicSysctls(f facts, l layout) []string {
	var out []string
	for _, v := range l.pod.Sysctls {
		if strings.Contains(v.Key, "/"+f.nic.Name+"/") {
			out = append(out, v.Key)
		}
	}
	return out
}

// enroll writes the journal and sees to what all attachments share, both under the journal's lock, so that nobody removes it
// as the last one meanwhile.
func (s sys) enroll(ctx context.Context, r *cniplugin.Request[config], host netplan.Kernel, shared netplan.State, rec record) error {
	j, key := journalOf(r.Config), keyOf(attachment(r))
	unlock, err := j.Lock(ctx)
	if err != nil {
		return errcode.Wrap(errcode.IO, err, "the journal of attachments cannot be locked")
	}
	defer unlock()
	old, err := j.Load(key)
	again := err == nil && old.NetnsDev == rec.NetnsDev && old.NetnsIno == rec.NetnsIno
	if again {
		rec.PodSysctls = old.PodSysctls
	}
	if err := j.Save(key, rec); err != nil {
		return errcode.Wrap(errcode.IO, err, "the journal of attachments cannot be written")
	}
	s.reached("journal")
	back := &undo.Stack{}
	r.Undo.Push("take the attachment out of the journal", func(ctx context.Context) error {
		unlock, err := j.Lock(ctx)
		if err != nil {
			return err
		}
		defer unlock()
		if again {
			return j.Save(key, old)
		}
		errs := []error{j.Remove(key)}
		names, err := j.Names()
		if errs = append(errs, err); len(names) == 0 {
			errs = append(errs, back.Run(ctx))
		}
		return errors.Join(errs...)
	})
	if err := netplan.Reach(ctx, host, shared, back); err != nil {
		return kernelError(err, "on the node")
	}
	s.reached("shared")
	return nil
}

// ownVeth refuses a veth0 in the pod that is not the far end of our own host end.
func (f *facts) ownVeth(w *world) error {
	if f.veth == nil {
		return nil
	}
	host, err := optional(w.host, f.att.HostLink())
	if err != nil {
		return errcode.Wrap(errcode.IO, err, "the node's links cannot be read")
	}
	if host != nil && host.PeerIndex == f.veth.Index {
		return nil
	}
	if other, ours := strings.CutPrefix(f.veth.Alias, netplan.AliasPrefix); ours {
		return errcode.New(errcode.StateDiffers,
			fmt.Sprintf("the pod is connected to its node already, by %s: weft-coordinator serves one interface of a pod", other), "")
	}
	return errcode.New(errcode.StateDiffers,
		fmt.Sprintf("the pod has an interface %s that is not weft's", netplan.PodLink), "")
}

// rivalsOf refuses an address that another pod of this node has. The same pod in a new sandbox takes it over.
func (f *facts) rivalsOf(r *cniplugin.Request[config]) error {
	for _, rival := range f.rivals {
		records, err := journalOf(r.Config).List()
		if err != nil {
			r.Log.Warn("journal read in part", slog.Any("err", err))
		}
		i := slices.IndexFunc(records, func(rec journal.Record[record]) bool { return rec.Data.HostLink == rival.link.Name })
		if i >= 0 && records[i].Data.Pod != "" && records[i].Data.Pod == r.Args.Pod() {
			continue
		}
		owner := strings.TrimPrefix(rival.link.Alias, netplan.AliasPrefix)
		if i >= 0 && records[i].Data.Pod != "" {
			owner += " (pod " + records[i].Data.Pod + ")"
		}
		return errcode.New(errcode.AddressConflict,
			fmt.Sprintf("address %s of interface %s is in use on this node by %s", rival.addr, f.att.IfName, owner), "")
	}
	return nil
}

// resultOf is the previous result with our two links.
func resultOf(r *cniplugin.Request[config], f facts, l layout) *current.Result {
	host := l.host.Links[0]
	for _, i := range []*current.Interface{
		{Name: host.Name, Mac: host.MAC.String(), Mtu: host.MTU},
		{Name: netplan.PodLink, Mac: f.att.PodMAC().String(), Mtu: host.MTU, Sandbox: r.Netns},
	} {
		same := func(have *current.Interface) bool { return have.Name == i.Name && have.Sandbox == i.Sandbox }
		if !slices.ContainsFunc(r.Prev.Interfaces, same) {
			r.Prev.Interfaces = append(r.Prev.Interfaces, i)
		}
	}
	return r.Prev
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/weft-cni/weft/libs/cniplugin"
	"github.com/weft-cni/weft/libs/journal"
	"github.com/weft-cni/weft/libs/netns"
	"github.com/weft-cni/weft/libs/netplan"
)

// del removes what add made, from the journal or, without one, by the names that follow from the attachment. It ends well:
// what cannot be removed now is logged and stays in the journal for GC.
func (s sys) del(ctx context.Context, r *cniplugin.Request[config]) error {
	if r.Config.stateDir == "" {
		r.Config.stateDir = defaultStateDir
	}
	if err := s.detach(ctx, r, attachment(r), r.Netns); err != nil {
		r.Log.Error("left for garbage collection", slog.Any("err", err))
	}
	return nil
}

// detach removes one attachment.
func (s sys) detach(ctx context.Context, r *cniplugin.Request[config], att netplan.Attachment, path string) error {
	w, err := enterHost()
	if err != nil {
		return err
	}
	defer func() { _ = w.close() }()
	j := journalOf(r.Config)
	rec, err := j.Load(keyOf(att))
	if errors.Is(err, journal.ErrCorrupt) {
		r.Log.Warn("journal record unreadable, going by names", slog.Any("err", err))
	}
	known := err == nil
	if known && path == "" {
		path = rec.Netns
	}
	host := s.wrap("host", w.host)
	errHost := removeOwn(ctx, host, att.HostLink())
	errPod := s.detachPod(ctx, w, path, rec, known)
	if err := errors.Join(errHost, errPod); err != nil {
		return err
	}
	return s.withdraw(ctx, host, j, keyOf(att))
}

// withdraw takes the attachment out of the journal and, after the last one, removes what all shared.
func (s sys) withdraw(ctx context.Context, host netplan.Kernel, j journal.Dir[record], key journal.Key) error {
	unlock, err := j.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := j.Remove(key); err != nil {
		return err
	}
	return dropShared(ctx, host, j)
}

// detachPod removes the pod's side where the namespace still lives and is the one of the record: Multus may keep it.
func (s sys) detachPod(ctx context.Context, w *world, path string, rec record, known bool) error {
	if path == "" {
		return nil
	}
	if is, err := netns.Is(path); err != nil || !is {
		return err
	}
	if err := w.openPod(path); err != nil {
		return err
	}
	if id := w.podNS.ID(); known && (id.Dev != rec.NetnsDev || id.Ino != rec.NetnsIno) || id == w.hostNS.ID() {
		return nil
	}
	// The host end is gone, and with it the pod's; another veth0 belongs to somebody else, and so may the rest.
	veth, err := optional(w.pod, netplan.PodLink)
	if err != nil || veth != nil {
		return err
	}
	pod := s.wrap("pod", w.pod)
	errs := []error{removeAll(ctx, pod, netplan.Query{Rules: true, Nft: true, Tables: []int{netplan.Table}})}
	for _, v := range rec.PodSysctls {
		if now, err := w.pod.Sysctls(v.Key); err != nil || len(now) == 0 {
			continue // The NIC is gone already.
		}
		errs = append(errs, pod.Do(ctx, netplan.Op{Verb: netplan.Set, Object: v}))
	}
	return errors.Join(errs...)
}

// removeAll observes and removes everything.
func removeAll(ctx context.Context, k netplan.Kernel, q netplan.Query) error {
	have, err := k.Observe(ctx, q)
	if err != nil {
		return err
	}
	return netplan.Remove(ctx, k, have)
}

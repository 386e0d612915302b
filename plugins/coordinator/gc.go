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

	"github.com/vishvananda/netlink"

	"github.com/weft-cni/weft/libs/cniplugin"
	"github.com/weft-cni/weft/libs/errcode"
	"github.com/weft-cni/weft/libs/netplan"
	"github.com/weft-cni/weft/libs/netplan/kernel"
	"github.com/weft-cni/weft/libs/netplan/nft"
)

// gc removes what carries our mark, belongs to this network and has no valid attachment: by journal, by the host ends'
// ifalias, and elements of maps whose link is gone. It goes on after errors.
func (s sys) gc(ctx context.Context, r *cniplugin.Request[config]) error {
	valid := func(a netplan.Attachment) bool {
		return slices.ContainsFunc(r.Valid, func(v gcAttachment) bool { return v.ContainerID == a.ContainerID && v.IfName == a.IfName })
	}
	stale, errs := s.stale(r, valid)
	for _, a := range stale {
		r.Log.Info("collecting", slog.String("attachment", a.String()))
		if err := s.detach(ctx, r, a, ""); err != nil {
			errs = append(errs, fmt.Errorf("remove attachment %s: %w", a, err))
		}
	}
	errs = append(errs, s.sweep(ctx, r))
	if err := errors.Join(errs...); err != nil {
		return errcode.Wrap(errcode.IO, err, "some attachments that are no longer valid could not be removed")
	}
	return nil
}

// stale lists the attachments of this network that are not valid, from the journal and from the host ends.
func (s sys) stale(r *cniplugin.Request[config], valid func(netplan.Attachment) bool) ([]netplan.Attachment, []error) {
	var errs []error
	records, err := journalOf(r.Config).List()
	if err != nil {
		// Unreadable records are swept below; the host ends tell what they would.
		r.Log.Warn("journal read in part", slog.Any("err", err))
	}
	var found []netplan.Attachment
	for _, rec := range records {
		found = append(found, netplan.Attachment(rec.Key))
	}
	w, err := enterHost()
	if err != nil {
		return nil, append(errs, err)
	}
	defer func() { _ = w.close() }()
	links, err := hostEnds(w.host)
	if err != nil {
		return nil, append(errs, err)
	}
	for _, l := range links {
		if a, ok := attachmentOf(l); ok {
			found = append(found, a)
		}
	}
	var out []netplan.Attachment
	for _, a := range found {
		if a.Network == r.Network && !valid(a) && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out, errs
}

// hostEnds lists the host ends of all our pairs.
func hostEnds(host *kernel.Kernel) ([]netplan.Link, error) {
	links, err := host.Links()
	if err != nil {
		return nil, err
	}
	var out []netplan.Link
	for _, l := range links {
		if _, veth := l.(*netlink.Veth); veth && netplan.Ours(l.Attrs().Name, l.Attrs().Alias) {
			out = append(out, kernel.Describe(l))
		}
	}
	return out, nil
}

// attachmentOf reads the attachment from an ifalias; the name must be the one that follows from it.
func attachmentOf(l netplan.Link) (netplan.Attachment, bool) {
	parts := strings.Split(strings.TrimPrefix(l.Alias, netplan.AliasPrefix), "/")
	if len(parts) != 3 {
		return netplan.Attachment{}, false
	}
	a := netplan.Attachment{Network: parts[0], ContainerID: parts[1], IfName: parts[2]}
	return a, a.HostLink() == l.Name
}

// sweep removes elements of maps whose link is gone, and records that nobody can read and no host end needs.
func (s sys) sweep(ctx context.Context, r *cniplugin.Request[config]) error {
	w, err := enterHost()
	if err != nil {
		return err
	}
	defer func() { _ = w.close() }()
	links, err := hostEnds(w.host)
	if err != nil {
		return err
	}
	host := s.wrap("host", w.host)
	have, err := host.Observe(ctx, netplan.Query{Elems: []nft.Elem{{Map: mapNode4}, {Map: mapNode6}}})
	if err != nil {
		return err
	}
	have.Elems = slices.DeleteFunc(have.Elems, func(e nft.Elem) bool {
		return slices.ContainsFunc(links, func(l netplan.Link) bool { return l.Name == e.Key })
	})
	errs := []error{netplan.Remove(ctx, host, netplan.State{Elems: have.Elems})}

	j := journalOf(r.Config)
	unlock, err := j.Lock(ctx)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	defer unlock()
	needed := map[string]bool{}
	for _, l := range links {
		if a, ok := attachmentOf(l); ok {
			needed[j.Name(keyOf(a))] = true
		}
	}
	readable := map[string]bool{}
	records, _ := j.List() // What cannot be read is what is looked for.
	for _, rec := range records {
		readable[j.Name(rec.Key)] = true
	}
	names, err := j.Names()
	errs = append(errs, err)
	for _, name := range names {
		if !readable[name] && !needed[name] {
			errs = append(errs, j.Drop(name))
		}
	}
	return errors.Join(append(errs, dropShared(ctx, host, j))...)
}

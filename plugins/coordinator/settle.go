// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	vnetns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/weft-cni/weft/libs/errcode"
	"github.com/weft-cni/weft/libs/netplan/kernel"
)

// settle waits until the kernel has found no duplicate of the pod's IPv6 addresses: before that it takes none of them as a
// route's source. Main plugins that wait themselves, or add addresses without that search, cost nothing here. The kernel says
// when it is done; nothing is asked twice.
func (f *facts) settle(ctx context.Context, w *world) error {
	open, err := f.unsettled(w.pod)
	if err != nil || len(open) == 0 {
		return err
	}
	updates, done, failed := make(chan netlink.AddrUpdate, 16), make(chan struct{}), make(chan error, 1)
	defer close(done)
	opts := netlink.AddrSubscribeOptions{
		Namespace: new(vnetns.NsHandle(w.podNS.FD())),
		ErrorCallback: func(err error) {
			select {
			case failed <- err:
			default: // Nobody listens any more.
			}
		},
	}
	if err := netlink.AddrSubscribeWithOptions(updates, done, opts); err != nil {
		return errcode.Wrap(errcode.IO, err, "the pod's addresses cannot be watched")
	}
	// What was done between the question and the watch is asked once more; after that, news come by themselves.
	for {
		if open, err = f.unsettled(w.pod); err != nil || len(open) == 0 {
			return err
		}
		select {
		case <-updates:
		case err := <-failed:
			return errcode.Wrap(errcode.IO, err, "the pod's addresses cannot be watched")
		case <-ctx.Done():
			return errcode.Wrap(errcode.TryAgain, context.Cause(ctx),
				fmt.Sprintf("the kernel is still looking for a duplicate of %s on interface %s; is the interface's parent connected?", open[0], f.nic.Name))
		}
	}
}

// unsettled lists the pod's addresses for which the kernel still looks for a duplicate; one that has a duplicate is an error.
func (f *facts) unsettled(pod *kernel.Kernel) ([]netip.Addr, error) {
	if !slices.ContainsFunc(f.podAddrs, netip.Addr.Is6) {
		return nil, nil
	}
	addrs, err := pod.Addrs()
	if err != nil {
		return nil, errcode.Wrap(errcode.IO, err, "the pod's addresses cannot be read")
	}
	var out []netip.Addr
	for _, a := range addrs {
		p, ok := kernel.Prefix(a.IPNet)
		if !ok || a.LinkIndex != f.nic.Index || !slices.Contains(f.podAddrs, p.Addr()) {
			continue
		}
		if a.Flags&unix.IFA_F_DADFAILED != 0 {
			return nil, errcode.New(errcode.AddressConflict,
				fmt.Sprintf("address %s of interface %s is in use by another machine on the network", p.Addr(), f.nic.Name), "duplicate address detection")
		}
		if a.Flags&unix.IFA_F_TENTATIVE != 0 {
			out = append(out, p.Addr())
		}
	}
	return out, nil
}

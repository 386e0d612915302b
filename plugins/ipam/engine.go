// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/weft-cni/weft/libs/cniplugin"
	"github.com/weft-cni/weft/libs/crashpoint"
	"github.com/weft-cni/weft/libs/errcode"
	"github.com/weft-cni/weft/libs/lease"
	"github.com/weft-cni/weft/libs/lease/boltstore"
)

func openStore(stateDir string) *boltstore.Store {
	return boltstore.New(stateDir, time.Now, crashpoint.Hit)
}

func openEngine(stateDir string) *lease.Engine {
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // Without it, no lease is seen to be of an earlier boot.
	node, _ := os.Hostname()
	return &lease.Engine{
		Store: openStore(stateDir), Now: time.Now, Reached: crashpoint.Hit,
		BootID: strings.TrimSpace(string(boot)), Node: node,
	}
}

func id(r *cniplugin.Request[config]) lease.ID {
	return lease.ID{Network: r.Network, ContainerID: r.ContainerID, IfName: r.IfName}
}

// began returns when this process was forked, since boot. Forked, and not
// when it came to run: a plugin forked before its runtime gave up is late
// however long it then had to wait.
func began() time.Duration {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0
	}
	// Field 22, counted from after the name, which ends at the last ")" and is field 2.
	_, rest, _ := bytes.Cut(stat[max(bytes.LastIndexByte(stat, ')'), 0):], []byte(" "))
	fields := bytes.Fields(rest)
	if len(fields) < 20 {
		return 0
	}
	ticks, err := strconv.ParseInt(string(fields[19]), 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(ticks) * (time.Second / 100) // USER_HZ is 100 on every architecture that Go knows.
}

// numbered gives an error of the engine or the store its number, and words for
// the person who reads them in an event.
func numbered(err error) error {
	if err == nil {
		return nil
	}
	var (
		dry     *lease.ExhaustedError
		taken   *lease.TakenError
		refused *lease.RefusedError
	)
	switch {
	case errors.As(err, &dry):
		return errcode.New(errcode.PoolExhausted, dry.Error(), "weft-ipam leases shows who holds them")
	case errors.As(err, &taken):
		return errcode.New(errcode.AddressTaken, taken.Error(), "")
	case errors.As(err, &refused):
		return errcode.New(errcode.InvalidConfig, refused.Error(), "")
	case errors.Is(err, lease.ErrReleased):
		return errcode.Wrap(errcode.TryAgain, err, "this ADD came too late: its container was released meanwhile, and gets nothing any more")
	case errors.Is(err, boltstore.ErrBusy), errors.Is(err, context.DeadlineExceeded):
		return errcode.Wrap(errcode.TryAgain, err, "the lease store was locked by other calls for the whole time allowed")
	case errors.Is(err, lease.ErrStale), errors.Is(err, lease.ErrTaken), errors.Is(err, lease.ErrUnknown):
		return errcode.Wrap(errcode.TryAgain, err, "others changed the same leases at the same time")
	}
	return errcode.Wrap(errcode.IO, err, storeTrouble(err))
}

// storeTrouble says in one sentence why the store is unusable and what helps.
func storeTrouble(err error) string {
	switch {
	case errors.Is(err, boltstore.ErrDamaged):
		return err.Error() + "; it is left as it is, because it may hold addresses in use: see README.md, Repair"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "the disk of the lease store is full: " + err.Error()
	case errors.Is(err, syscall.EROFS):
		return "the disk of the lease store is read-only: " + err.Error()
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return "the lease store may not be used: " + err.Error()
	}
	return "the lease store cannot be used: " + err.Error()
}

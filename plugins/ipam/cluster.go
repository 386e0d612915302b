// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/weft-cni/weft/libs/agentapi"
	"github.com/weft-cni/weft/libs/agentapi/debts"
	"github.com/weft-cni/weft/libs/cniplugin"
	"github.com/weft-cni/weft/libs/errcode"
)

// Cluster mode: the pools are IPPool objects, and weft-agent keeps the leases.

const (
	// delWait is how long DEL waits for the agent before it writes the release down.
	delWait = 6 * time.Second
	// statusWait is how long STATUS waits for an agent that hangs.
	statusWait = time.Second
)

// clusterConf is the `ipam` object of cluster mode.
type clusterConf struct {
	// Pools are names and patterns of IPPools, for pods for which nobody names others.
	Pools []string `json:"pools"`
	// Agent is the socket of weft-agent.
	Agent string `json:"agent"`
	// The others are those of host mode.
	StateDir           string    `json:"stateDir"`
	Timeout            string    `json:"timeout"`
	DNS                types.DNS `json:"dns"`
	StatusOnExhaustion bool      `json:"statusOnExhaustion"`
}

// cluster is what a configuration of cluster mode asks the agent.
type cluster struct {
	socket  string
	pools   []string
	ips     []string
	ipsFrom string
}

// verb is a handler without a result.
type verb func(context.Context, *cniplugin.Request[config]) error

// either returns the handler for both modes.
func either(host, inCluster verb) verb {
	return func(ctx context.Context, r *cniplugin.Request[config]) error {
		if r.Config.cluster != nil {
			return inCluster(ctx, r)
		}
		return host(ctx, r)
	}
}

// inCluster says whether the pools of a configuration are named, or absent.
func inCluster(raw []byte) bool {
	var outer struct {
		IPAM struct {
			Pools json.RawMessage `json:"pools"`
		} `json:"ipam"`
	}
	if err := json.Unmarshal(raw, &outer); err != nil {
		return false
	}
	pools := bytes.TrimSpace(outer.IPAM.Pools)
	if len(pools) == 0 || string(pools) == "null" {
		return true
	}
	rest, ok := bytes.CutPrefix(pools, []byte("["))
	return ok && bytes.HasPrefix(bytes.TrimSpace(rest), []byte(`"`))
}

func readClusterConfig(raw []byte) (config, cniplugin.Problems) {
	in, ps := cniplugin.Decode[clusterConf](raw, "ipam", "type")
	c := config{
		stateDir: in.StateDir, dns: in.DNS, statusOnExhaustion: in.StatusOnExhaustion,
		timeout: duration(in.Timeout, 0, "ipam.timeout", &ps),
		cluster: &cluster{socket: in.Agent, pools: in.Pools},
	}
	if c.cluster.socket == "" {
		c.cluster.socket = agentapi.DefaultSocket
	}
	if c.stateDir == "" {
		c.stateDir = defaultStateDir
	}
	for key, path := range map[string]string{"stateDir": c.stateDir, "agent": c.cluster.socket} {
		if !filepath.IsAbs(path) {
			ps.Add("ipam."+key, quote(path), "an absolute path")
		}
	}
	for i, name := range in.Pools {
		if strings.TrimSpace(name) == "" {
			ps.Add(fmt.Sprintf("ipam.pools[%d]", i), quote(name), "the name of an IPPool, or a pattern")
		}
	}
	at, texts := asked(raw, &ps)
	c.cluster.wish(at, texts, &ps)
	return c, ps
}

// wish takes the addresses that the runtime asks for.
func (c *cluster) wish(at string, texts []string, ps *cniplugin.Problems) {
	c.ips = nil
	for _, a := range exact(at, texts, nil, ps) {
		c.ips = append(c.ips, a.String())
	}
	c.ipsFrom = at
}

func (c *cluster) client() agentapi.Client { return agentapi.Client{Socket: c.socket} }

func agentID(r *cniplugin.Request[config]) agentapi.ID {
	return agentapi.ID{Network: r.Network, ContainerID: r.ContainerID, IfName: r.IfName}
}

// answered gives the absence of an answer a number, and says what to look at.
func answered(err error, c errcode.Code) error {
	if gone := (*agentapi.UnreachableError)(nil); errors.As(err, &gone) {
		return errcode.Wrap(c, err, "weft-agent of this node does not answer on "+gone.Socket+": see that its pod runs on the node and is ready")
	}
	return err
}

func clusterAdd(ctx context.Context, r *cniplugin.Request[config]) (*current.Result, error) {
	c := *r.Config.cluster
	if len(c.ips) == 0 && r.Args.IP != "" {
		var ps cniplugin.Problems
		if c.wish("CNI_ARGS IP", strings.Split(r.Args.IP, ","), &ps); ps.Err() != nil {
			return nil, ps.Err()
		}
	}
	in := agentapi.Allocate{
		ID: agentID(r), Pod: agentapi.Pod{Namespace: r.Args.PodNamespace, Name: r.Args.PodName, UID: r.Args.PodUID},
		NetnsInode: inode(r.Netns), Began: began(), Pools: c.pools, IPs: c.ips, IPsFrom: c.ipsFrom,
	}
	got, err := c.client().Allocate(ctx, in)
	if err != nil {
		return nil, answered(err, errcode.TryAgain)
	}
	r.Undo.Push("give back the addresses", func(ctx context.Context) error {
		return c.client().Release(ctx, agentapi.Release{ID: in.ID, Began: in.Began})
	})
	out := &current.Result{CNIVersion: current.ImplementedSpecVersion, DNS: r.Config.dns}
	for _, a := range got.IPs {
		ip := &current.IPConfig{Address: ipNet(a.Address)}
		if a.Gateway.IsValid() {
			ip.Gateway = a.Gateway.AsSlice()
		}
		out.IPs = append(out.IPs, ip)
	}
	for _, x := range got.Routes {
		route := &types.Route{Dst: ipNet(x.Dst)}
		if x.Via.IsValid() {
			route.GW = x.Via.AsSlice()
		}
		out.Routes = append(out.Routes, route)
	}
	return out, nil
}

// clusterDel always ends well: what the agent did not take is written down, and
// the agent delivers it. When even that is impossible, the agent's sweep frees
// the address once the network namespace is gone.
func clusterDel(ctx context.Context, r *cniplugin.Request[config]) error {
	in := agentapi.Release{ID: agentID(r), Began: began()}
	waiting, cancel := context.WithTimeout(ctx, delWait)
	defer cancel()
	err := r.Config.cluster.client().Release(waiting, in)
	if err == nil {
		return nil
	}
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // a debt of an unknown boot is delivered as well
	debt := debts.Debt{Began: in.Began, BootID: strings.TrimSpace(string(boot)), At: time.Now().UTC()}
	if saveErr := debts.Open(r.Config.stateDir).Save(in.ID, debt); saveErr != nil {
		r.Log.Error("release owed and not written down, weft-agent's sweep will do it", slog.Any("err", errors.Join(err, saveErr)))
		return nil
	}
	r.Log.Warn("release owed, weft-agent will deliver it", slog.Any("err", err))
	return nil
}

func clusterGC(ctx context.Context, r *cniplugin.Request[config]) error {
	in := agentapi.GC{Network: r.Network, Valid: []agentapi.ID{}}
	for _, v := range r.Valid {
		in.Valid = append(in.Valid, agentapi.ID{Network: r.Network, ContainerID: v.ContainerID, IfName: v.IfName})
	}
	return answered(r.Config.cluster.client().GC(ctx, in), errcode.TryAgain)
}

func clusterStatus(ctx context.Context, r *cniplugin.Request[config]) error {
	ctx, cancel := context.WithTimeout(ctx, statusWait)
	defer cancel()
	c := r.Config.cluster
	err := c.client().Status(ctx, agentapi.Status{Pools: c.pools, OnExhaustion: r.Config.statusOnExhaustion})
	if err = answered(err, errcode.Unavailable); err == nil || errcode.Has(err, errcode.Unavailable) {
		return err
	}
	return errcode.Wrap(errcode.Unavailable, err, "weft-agent of this node answers with an error: "+errcode.Of(err).Msg)
}

// clusterCheck compares prevResult with what the agent knows.
func clusterCheck(ctx context.Context, r *cniplugin.Request[config]) error {
	if r.Prev == nil {
		return errcode.New(errcode.InvalidConfig, "prevResult: got nothing, want the result of the ADD to check", "")
	}
	held, err := r.Config.cluster.client().Check(ctx, agentapi.Check{ID: agentID(r)})
	if err != nil {
		return answered(err, errcode.TryAgain)
	}
	if diffs := differences(held.Addrs, addresses(r.Prev, r.IfName)); len(diffs) > 0 {
		return errcode.New(errcode.StateDiffers, "leases differ from prevResult: "+strings.Join(diffs, "; "), "")
	}
	return nil
}

func differences(held, told []netip.Addr) []string {
	var out []string
	for _, a := range held {
		if !slices.Contains(told, a) {
			out = append(out, fmt.Sprintf("lease %s is not in prevResult", a))
		}
	}
	for _, a := range told {
		if !slices.Contains(held, a) {
			out = append(out, fmt.Sprintf("address %s of prevResult is not leased to this attachment", a))
		}
	}
	if len(held)+len(told) == 0 {
		out = append(out, "this attachment holds no lease")
	}
	return out
}

// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package cnitest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
)

// Runtime runs one conflist. Plugins are started by the calling thread, so
// they see the network namespace that it is in.
type Runtime struct {
	cni  *libcni.CNIConfig
	list *libcni.NetworkConfigList
}

// Pod is one interface of one sandbox, as a runtime names it.
type Pod struct {
	ID     string // container ID
	Netns  string // path of the network namespace
	IfName string // "eth0" when empty
	Args   [][2]string
	Caps   map[string]any
}

// NewRuntime reads a conflist. Plugins are looked up in binDirs; results are
// cached below stateDir.
func NewRuntime(conflist []byte, stateDir string, binDirs ...string) (*Runtime, error) {
	list, err := libcni.ConfListFromBytes(conflist)
	if err != nil {
		return nil, fmt.Errorf("read conflist: %w", err)
	}
	return &Runtime{
		cni:  libcni.NewCNIConfigWithCacheDir(binDirs, filepath.Join(stateDir, "cni-cache"), nil),
		list: list,
	}, nil
}

// Network returns the name of the network.
func (r *Runtime) Network() string { return r.list.Name }

// Plugins returns the types of the plugins of the chain, and of their IPAM.
func (r *Runtime) Plugins() []string {
	var names []string
	for _, p := range r.list.Plugins {
		names = append(names, p.Network.Type)
		if p.Network.IPAM.Type != "" {
			names = append(names, p.Network.IPAM.Type)
		}
	}
	return names
}

// Add attaches a pod and returns the result of the whole chain.
func (r *Runtime) Add(ctx context.Context, p Pod) (*current.Result, error) {
	res, err := r.cni.AddNetworkList(ctx, r.list, p.conf())
	if err != nil {
		return nil, err
	}
	return current.NewResultFromResult(res)
}

// Check runs CHECK with the cached result of ADD.
func (r *Runtime) Check(ctx context.Context, p Pod) error {
	return r.cni.CheckNetworkList(ctx, r.list, p.conf())
}

// Del detaches a pod, with the cached result if there is one.
func (r *Runtime) Del(ctx context.Context, p Pod) error {
	return r.cni.DelNetworkList(ctx, r.list, p.conf())
}

// GC tells the network which pods are left.
func (r *Runtime) GC(ctx context.Context, valid ...Pod) error {
	list := []types.GCAttachment{}
	for _, p := range valid {
		list = append(list, types.GCAttachment{ContainerID: p.ID, IfName: p.conf().IfName})
	}
	return r.cni.GCNetworkList(ctx, r.list, &libcni.GCArgs{ValidAttachments: list})
}

// Status asks whether the network can take an ADD.
func (r *Runtime) Status(ctx context.Context) error {
	return r.cni.GetStatusNetworkList(ctx, r.list)
}

// conf is the pod in libcni's words.
func (p Pod) conf() *libcni.RuntimeConf {
	if p.IfName == "" {
		p.IfName = "eth0"
	}
	return &libcni.RuntimeConf{ContainerID: p.ID, NetNS: p.Netns, IfName: p.IfName, Args: p.Args, CapabilityArgs: p.Caps}
}

// Repeat runs ADD of one plugin of the chain (or of its IPAM) once more for
// the same attachment, with prev as what came before it in the chain. The
// reference plugins cannot be asked twice, so a whole chain cannot either.
func (r *Runtime) Repeat(ctx context.Context, p Pod, plugin string, prev *current.Result) (*current.Result, error) {
	for _, conf := range r.list.Plugins {
		name := conf.Network.Type
		isIPAM := conf.Network.IPAM.Type == plugin
		if name != plugin && !isIPAM {
			continue
		}
		inject := map[string]any{"name": r.list.Name, "cniVersion": r.list.CNIVersion}
		if !isIPAM {
			inject["prevResult"] = prev
		}
		full, err := libcni.InjectConf(conf, inject)
		if err != nil {
			return nil, fmt.Errorf("inject network into the configuration of %s: %w", plugin, err)
		}
		return r.exec(ctx, p, plugin, full.Bytes)
	}
	return nil, fmt.Errorf("network %s has no plugin %s", r.list.Name, plugin)
}

// exec runs ADD of one binary.
func (r *Runtime) exec(ctx context.Context, p Pod, plugin string, conf []byte) (*current.Result, error) {
	path, err := invoke.FindInPath(plugin, r.cni.Path)
	if err != nil {
		return nil, fmt.Errorf("look up plugin: %w", err)
	}
	rc := p.conf()
	res, err := invoke.ExecPluginWithResult(ctx, path, conf, &invoke.Args{
		Command: "ADD", ContainerID: rc.ContainerID, NetNS: rc.NetNS, IfName: rc.IfName,
		PluginArgs: rc.Args, Path: strings.Join(r.cni.Path, string(os.PathListSeparator)),
	}, nil)
	if err != nil {
		return nil, err
	}
	return current.NewResultFromResult(res)
}

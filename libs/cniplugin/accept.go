// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package cniplugin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/types/create"

	"github.com/weft-cni/weft/libs/errcode"
)

// envelope is what the frame itself reads of a configuration.
type envelope struct {
	CNIVersion string          `json:"cniVersion"`
	Name       string          `json:"name"`
	PrevResult json.RawMessage `json:"prevResult"`
	Valid      json.RawMessage `json:"cni.dev/valid-attachments"` //nolint:tagliatelle // the specification's spelling
	Misprint   json.RawMessage `json:"cni.dev/attachments"`       //nolint:tagliatelle // its first spelling, containernetworking/cni#1101
}

// request checks a call as far as it can be checked without the plugin, and then its configuration.
func (f *frame[C]) request(args *skel.CmdArgs) (*Request[C], error) {
	var env envelope
	if err := json.Unmarshal(args.StdinData, &env); err != nil {
		return nil, errcode.Wrap(errcode.Decode, err, "network configuration on standard input cannot be read")
	}
	f.version = env.CNIVersion
	r := &Request[C]{
		Network: env.Name, CNIVersion: env.CNIVersion, ContainerID: args.ContainerID, Netns: args.Netns, IfName: args.IfName,
		Raw: args.StdinData, Undo: &f.undo,
	}
	f.log = f.log.With(slog.String("verb", f.verb), slog.String("network", r.Network),
		slog.String("container_id", r.ContainerID), slog.String("ifname", r.IfName))
	err := f.pod(r, args.Args)
	r.Log = f.log
	if err != nil {
		return nil, err
	}
	if err := f.netns(r, args); err != nil {
		return nil, err
	}
	if err := f.previous(r, env.PrevResult); err != nil {
		return nil, err
	}
	if f.verb == "GC" {
		if r.Valid, err = validAttachments(env); err != nil {
			return nil, err
		}
	}
	return r, f.config(r)
}

func (f *frame[C]) pod(r *Request[C], cniArgs string) error {
	var ps Problems
	r.Args, ps = parseArgs(cniArgs)
	if pod := r.Args.Pod(); pod != "" {
		f.log = f.log.With(slog.String("pod", pod))
	}
	if len(ps) == 0 {
		return nil
	}
	return f.unlessDel("CNI_ARGS ignored in part", ps.as(errcode.BadEnvironment))
}

// unlessDel logs on DEL what is refused on every other verb.
func (f *frame[C]) unlessDel(msg string, err error) error {
	if f.verb != "DEL" {
		return err
	}
	f.log.Warn(msg, slog.Any("err", err)) //nolint:sloglint // msg is one of a few constants
	return nil
}

func (f *frame[C]) netns(r *Request[C], args *skel.CmdArgs) error {
	if r.Netns == "" || f.verb == "GC" || f.verb == "STATUS" {
		return nil
	}
	ownAllowed := strings.EqualFold(args.NetnsOverride, "TRUE") || args.NetnsOverride == "1"
	err := checkNetns(r.Netns, ownAllowed)
	if err == nil {
		return nil
	}
	if f.verb == "DEL" {
		r.Netns = "" // nothing to do inside; what is outside is still to be removed
		if errors.Is(err, errOwnNetns) {
			f.log.Warn("CNI_NETNS ignored", slog.Any("err", err))
		}
		return nil
	}
	return errcode.Newf(errcode.BadNetns, "CNI_NETNS: got %v, want the pod's network namespace", err)
}

// previous reads the result of the plugins before this one, in the version it says it has.
func (f *frame[C]) previous(r *Request[C], raw json.RawMessage) error {
	if f.verb == "GC" || f.verb == "STATUS" {
		return nil
	}
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		if f.plugin.NeedsPrev && f.verb != "DEL" {
			return errcode.Newf(errcode.InvalidConfig, "prevResult: got nothing, want the result of a plugin before %s in the chain", f.plugin.Name)
		}
		return nil
	}
	prev, err := parsePrev(raw, r.CNIVersion)
	if err != nil {
		return f.unlessDel("prevResult ignored", err)
	}
	r.Prev = prev
	return nil
}

func parsePrev(raw []byte, confVersion string) (*current.Result, error) {
	var head struct {
		CNIVersion string `json:"cniVersion"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return nil, errcode.Wrap(errcode.Decode, err, "prevResult cannot be read")
	}
	v := head.CNIVersion
	if v == "" {
		v = confVersion // as libcni does; a result without a version parses as none of them
		var err error
		if raw, err = withVersion(raw, v); err != nil {
			return nil, errcode.Wrap(errcode.Decode, err, "prevResult cannot be read")
		}
	}
	if !slices.Contains(versions(), v) {
		return nil, errcode.Newf(errcode.IncompatibleVersion, "prevResult.cniVersion: got %s, want one of %s", quote(v), strings.Join(versions(), ", "))
	}
	result, err := create.Create(v, raw)
	if err != nil {
		return nil, errcode.Wrap(errcode.Decode, err, "prevResult is no CNI "+v+" result")
	}
	prev, err := current.NewResultFromResult(result)
	if err != nil {
		return nil, errcode.Wrap(errcode.Decode, err, "prevResult is no CNI "+v+" result")
	}
	return prev, nil
}

func withVersion(raw []byte, v string) ([]byte, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, err
	}
	quoted, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	all["cniVersion"] = quoted
	return json.Marshal(all)
}

// validAttachments reads both spellings of the list. A missing list is not an empty one: taken for empty, it would
// free every address on the node. When both are there and differ, what either of them names stays.
//
// null is no list, with one exception: libcni sends both keys as null when a runtime calls it with an empty Go slice, and
// CRI-O does so for a network that no pod is on. Refusing that would keep the leases of a rebooted node for ever.
func validAttachments(env envelope) ([]types.GCAttachment, error) {
	null := []byte("null")
	valid, given := []types.GCAttachment{}, bytes.Equal(env.Valid, null) && bytes.Equal(env.Misprint, null)
	for _, l := range []struct {
		key string
		raw json.RawMessage
	}{{"cni.dev/valid-attachments", env.Valid}, {"cni.dev/attachments", env.Misprint}} {
		if len(l.raw) == 0 || bytes.Equal(l.raw, null) {
			continue
		}
		given = true
		var list []types.GCAttachment
		if err := json.Unmarshal(l.raw, &list); err != nil {
			return nil, errcode.Wrap(errcode.InvalidConfig, err, l.key+": want a list of {containerID, ifname}; nothing was deleted")
		}
		for i, a := range list {
			if a.ContainerID == "" || a.IfName == "" {
				return nil, errcode.Newf(errcode.InvalidConfig, "%s[%d]: got %+v, want containerID and ifname; nothing was deleted", l.key, i, a)
			}
			if !slices.Contains(valid, a) {
				valid = append(valid, a)
			}
		}
	}
	if !given {
		return nil, errcode.New(errcode.InvalidConfig, "cni.dev/valid-attachments: got no list, want the attachments still in use ([] for none); nothing was deleted", "")
	}
	return valid, nil
}

func (f *frame[C]) config(r *Request[C]) error {
	if f.plugin.Config == nil {
		return nil
	}
	var ps Problems
	r.Config, ps = f.plugin.Config(r.Raw)
	if err := ps.Err(); err != nil {
		return f.unlessDel("configuration has problems, DEL goes on", err)
	}
	return nil
}

// frames names the innermost calls of a panic, without the runtime's own and without addresses.
func frames() string {
	pcs := make([]uintptr, 32)
	it := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	var all []string
	for len(all) < 6 {
		fr, more := it.Next()
		if fr.Function != "" && !strings.HasPrefix(fr.Function, "runtime.") {
			all = append(all, fmt.Sprintf("%s %s:%d", fr.Function[strings.LastIndex(fr.Function, "/")+1:], filepath.Base(fr.File), fr.Line))
		}
		if !more {
			break
		}
	}
	return "at " + strings.Join(all, ", ")
}

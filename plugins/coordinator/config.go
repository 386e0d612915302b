// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strconv"
	"time"

	"github.com/weft-cni/weft/libs/cniplugin"
)

const (
	modeUnderlay = "underlay"
	modeOff      = "off"

	replyMark = "mark"
	replySNAT = "snat"
	replyNone = "none"

	defaultStateDir    = "/run/weft/coordinator"
	defaultTimeout     = 30 * time.Second
	defaultPodRPFilter = 2
	untouched          = -1
	maxMTU             = 65535
)

// conf is the configuration as it is written. README.md's table is made from these comments.
type conf struct {
	// Mode is "underlay" (the NIC is the pod's way out) or "off" (nothing is done).
	Mode string `json:"mode"`
	// ReplyPath says how replies to connections that came in over the veth find back: "mark", "snat" or "none".
	ReplyPath string `json:"replyPath"`
	// ServiceCIDRs are the cluster's Service networks, reached through the node.
	ServiceCIDRs []string `json:"serviceCIDRs"`
	// PodCIDRs are the overlay networks of other pods, reached through the node.
	PodCIDRs []string `json:"podCIDRs"`
	// ExtraCIDRs are more networks to reach through the node.
	ExtraCIDRs []string `json:"extraCIDRs"`
	// NodeAddresses are the addresses of the node that the pod reaches over the veth; absent: all its global addresses.
	NodeAddresses []string `json:"nodeAddresses"`
	// HostSourceIPv4 is the source address with which the node speaks to its pods.
	HostSourceIPv4 string `json:"hostSourceIPv4"`
	// HostSourceIPv6 is the same for IPv6.
	HostSourceIPv6 string `json:"hostSourceIPv6"`
	// MTU of the veth pair; absent: the NIC's.
	MTU int `json:"mtu"`
	// PodRPFilter is rp_filter of the NIC and of veth0 in the pod; -1 leaves it alone.
	PodRPFilter *int `json:"podRPFilter"`
	// HostRPFilter is rp_filter of the host end; -1 leaves it alone.
	HostRPFilter *int `json:"hostRPFilter"`
	// LinkLocal gives veth0 an IPv4 link-local address, which nftables' and iptables' REDIRECT need.
	LinkLocal *bool `json:"linkLocal"`
	// StateDir is the folder of the journal.
	StateDir string `json:"stateDir"`
	// Timeout is how long one call may take, as in "30s".
	Timeout string `json:"timeout"`
}

// config is a configuration that was read, defaulted and validated.
type config struct {
	mode, replyPath string
	// cidrs are the networks behind the node: Services, pods, extra.
	cidrs []netip.Prefix
	// nodeAddrs replace the addresses found on the node when nodeAddrsSet.
	nodeAddrs                 []netip.Addr
	nodeAddrsSet              bool
	source4, source6          netip.Addr
	mtu                       int
	podRPFilter, hostRPFilter int
	linkLocal                 bool
	stateDir                  string
	timeout                   time.Duration
}

// readConfig turns the whole configuration into ours, with all problems at once.
func readConfig(raw []byte) (config, cniplugin.Problems) {
	in, ps := cniplugin.Decode[conf](raw, "")
	c := config{
		mode: in.Mode, replyPath: in.ReplyPath, mtu: in.MTU, linkLocal: in.LinkLocal == nil || *in.LinkLocal,
		nodeAddrsSet: in.NodeAddresses != nil, stateDir: in.StateDir, timeout: defaultTimeout,
	}
	c.readMode(&ps)
	for _, list := range []struct {
		key  string
		text []string
	}{{"serviceCIDRs", in.ServiceCIDRs}, {"podCIDRs", in.PodCIDRs}, {"extraCIDRs", in.ExtraCIDRs}} {
		for i, text := range list.text {
			c.cidrs = append(c.cidrs, prefix(fmt.Sprintf("%s[%d]", list.key, i), text, &ps)...)
		}
	}
	for i, text := range in.NodeAddresses {
		if a := address(fmt.Sprintf("nodeAddresses[%d]", i), text, 0, &ps); a.IsValid() {
			c.nodeAddrs = append(c.nodeAddrs, a)
		}
	}
	c.source4 = address("hostSourceIPv4", in.HostSourceIPv4, 4, &ps)
	c.source6 = address("hostSourceIPv6", in.HostSourceIPv6, 6, &ps)
	c.podRPFilter = rpFilter("podRPFilter", in.PodRPFilter, defaultPodRPFilter, &ps)
	c.hostRPFilter = rpFilter("hostRPFilter", in.HostRPFilter, untouched, &ps)
	if in.MTU < 0 || in.MTU > maxMTU || in.MTU > 0 && in.MTU < 68 {
		ps.Add("mtu", strconv.Itoa(in.MTU), "0 for the NIC's, or a number from 68 to 65535")
	}
	if c.stateDir == "" {
		c.stateDir = defaultStateDir
	}
	if !filepath.IsAbs(c.stateDir) {
		ps.Add("stateDir", strconv.Quote(c.stateDir), "an absolute path")
	}
	if in.Timeout != "" {
		d, err := time.ParseDuration(in.Timeout)
		if err != nil || d <= 0 {
			ps.Add("timeout", strconv.Quote(in.Timeout), `a duration above zero, as in "30s"`)
		} else {
			c.timeout = d
		}
	}
	return c, ps
}

func (c *config) readMode(ps *cniplugin.Problems) {
	switch c.mode {
	case "":
		c.mode = modeUnderlay
	case modeUnderlay, modeOff:
	case "auto", "overlay":
		ps.Add("mode", strconv.Quote(c.mode), `"underlay" or "off"; this mode comes with a later version`)
	default:
		ps.Add("mode", strconv.Quote(c.mode), `"underlay" or "off"`)
	}
	switch c.replyPath {
	case "":
		c.replyPath = replyMark
	case replyMark, replySNAT, replyNone:
	default:
		ps.Add("replyPath", strconv.Quote(c.replyPath), `"mark", "snat" or "none"`)
	}
}

// prefix reads one network, in its canonical form. The default route stays the NIC's.
func prefix(at, text string, ps *cniplugin.Problems) []netip.Prefix {
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil || p.Addr().Is4In6():
		ps.Add(at, strconv.Quote(text), `a network, as in "10.96.0.0/12"`)
	case p != p.Masked():
		ps.Add(at, strconv.Quote(text), strconv.Quote(p.Masked().String()))
	case p.Bits() == 0:
		ps.Add(at, strconv.Quote(text), "a network smaller than everything: the default route is the NIC's")
	default:
		return []netip.Prefix{p}
	}
	return nil
}

// address reads one address; family 0 takes both. Nothing is no address.
func address(at, text string, family int, ps *cniplugin.Problems) netip.Addr {
	if text == "" && family != 0 {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(text)
	want := map[int]string{0: "an address", 4: "an IPv4 address", 6: "an IPv6 address"}[family]
	switch {
	case err != nil, a.Is4In6(), a.Zone() != "", family == 4 && !a.Is4(), family == 6 && !a.Is6():
		ps.Add(at, strconv.Quote(text), want)
	case a.IsUnspecified(), a.IsMulticast(), a.IsLoopback(), a.Is6() && a.IsLinkLocalUnicast():
		ps.Add(at, strconv.Quote(text), want+" that others can reach")
	default:
		return a
	}
	return netip.Addr{}
}

func rpFilter(at string, v *int, def int, ps *cniplugin.Problems) int {
	if v == nil {
		return def
	}
	if *v < untouched || *v > 2 {
		ps.Add(at, strconv.Itoa(*v), "0, 1, 2, or -1 to leave it alone")
	}
	return *v
}

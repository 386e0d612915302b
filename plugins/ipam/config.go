// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/weft-cni/weft/libs/cniplugin"
	"github.com/weft-cni/weft/libs/lease"
)

const defaultStateDir = "/var/lib/weft/ipam"

type timeout = time.Duration

// config is a configuration that was read, defaulted and validated.
type config struct {
	pools              []lease.Pool
	exact              []netip.Addr // asked for by runtimeConfig or args
	stateDir           string
	timeout            timeout
	dns                types.DNS
	statusOnExhaustion bool
	cluster            *cluster // nil in host mode
}

// ipamConf is the `ipam` object.
type ipamConf struct {
	// Pools to choose from, the preferred one first.
	Pools []poolConf `json:"pools"`
	// StateDir is the directory of the lease store.
	StateDir string `json:"stateDir"`
	// Timeout is how long one call may take, as in "30s".
	Timeout string `json:"timeout"`
	// DNS is handed through to the result.
	DNS types.DNS `json:"dns"`
	// StatusOnExhaustion makes STATUS report code 50 when every pool is dry.
	StatusOnExhaustion bool `json:"statusOnExhaustion"`
}

// poolConf is the spec of an IPPool with its name.
type poolConf struct {
	// Name of the pool, as errors and leases show it.
	Name string `json:"name"`
	// Domain is the network in which the addresses are unique.
	Domain string `json:"domain"`
	// IPv4 and IPv6 are the families; an interface gets one address of each.
	IPv4 *familyConf `json:"ipv4"`
	IPv6 *familyConf `json:"ipv6"`
	// Cooldown is how long a released address rests, as in "120s"; "0s" for not at all.
	Cooldown string `json:"cooldown"`
	// CooldownPolicy is Prefer (end a rest rather than refuse) or Strict (refuse).
	CooldownPolicy string `json:"cooldownPolicy"`
	// Suspend stops new claims.
	Suspend bool `json:"suspend"`
}

type familyConf struct {
	// Subnet is the prefix that the addresses carry.
	Subnet string `json:"subnet"`
	// Ranges are handed out: "address", "first-last" or a prefix; absent: the whole subnet.
	Ranges []string `json:"ranges"`
	// Exclude is never handed out; same forms.
	Exclude []string `json:"exclude"`
	// Gateway is the next hop of the default route, and of routes without via.
	Gateway string `json:"gateway"`
	// Routes replace the default route.
	Routes []routeConf `json:"routes"`
}

type routeConf struct {
	// Dst is the destination prefix.
	Dst string `json:"dst"`
	// Via is the next hop; absent: the gateway.
	Via string `json:"via"`
}

// readConfig turns the whole configuration of the caller into ours.
func readConfig(raw []byte) (config, cniplugin.Problems) {
	if inCluster(raw) {
		return readClusterConfig(raw)
	}
	in, ps := cniplugin.Decode[ipamConf](raw, "ipam", "type")
	explainPoolNames(ps)
	c := config{
		stateDir:           in.StateDir,
		dns:                in.DNS,
		statusOnExhaustion: in.StatusOnExhaustion,
		timeout:            duration(in.Timeout, 0, "ipam.timeout", &ps),
	}
	if c.stateDir == "" {
		c.stateDir = defaultStateDir
	}
	if !filepath.IsAbs(c.stateDir) {
		ps.Add("ipam.stateDir", quote(c.stateDir), "an absolute path")
	}
	if len(in.Pools) == 0 && len(ps) == 0 {
		ps.Add("ipam.pools", "none", "at least one pool")
	}
	// An element that could not be read is a problem already.
	broken := len(ps) > 0
	for i := range in.Pools {
		v := poolReader{at: fmt.Sprintf("ipam.pools[%d]", i), ps: &ps, lenient: broken}
		c.pools = append(c.pools, v.pool(in.Pools[i]))
	}
	unique(c.pools, &ps)
	c.exact = exactFromConfig(raw, c.pools, &ps)
	return c, ps
}

// explainPoolNames tells who names a pool what to do instead.
func explainPoolNames(ps cniplugin.Problems) {
	for i, p := range ps {
		if strings.HasPrefix(p.Path, "ipam.pools[") && strings.HasSuffix(p.Path, "]") && strings.HasPrefix(p.Got, `"`) {
			ps[i].Want = "the pool itself as an object, like the first; or names of IPPools only, for weft-agent"
		}
	}
}

// unique reports pools that get in each other's way.
func unique(pools []lease.Pool, ps *cniplugin.Problems) {
	for i, p := range pools {
		for j, q := range pools[:i] {
			at := fmt.Sprintf("ipam.pools[%d]", i)
			if p.Name == q.Name && p.Name != "" {
				ps.Add(at+".name", quote(p.Name), fmt.Sprintf("a name of its own: ipam.pools[%d] has it already", j))
			}
			if p.Domain == q.Domain {
				apart(at+".ipv4", p.IPv4, q.IPv4, j, ps)
				apart(at+".ipv6", p.IPv6, q.IPv6, j, ps)
			}
		}
	}
}

// apart reports addresses that a family shares with that of another pool.
func apart(at string, f, other *lease.Family, j int, ps *cniplugin.Problems) {
	if f == nil || other == nil {
		return
	}
	if r, ok := f.Set.Overlap(other.Set); ok {
		ps.Add(at+".ranges", fmt.Sprintf("addresses that ipam.pools[%d] has too: %s", j, format(r)), "ranges of its own, or another domain")
	}
}

// exactFromConfig reads the addresses asked for.
func exactFromConfig(raw []byte, pools []lease.Pool, ps *cniplugin.Problems) []netip.Addr {
	at, texts := asked(raw, ps)
	return exact(at, texts, pools, ps)
}

// asked returns where addresses are asked for, and which: runtimeConfig.ips before args.cni.ips.
func asked(raw []byte, ps *cniplugin.Problems) (at string, texts []string) {
	var outer struct {
		RuntimeConfig struct {
			IPs []string `json:"ips"`
		} `json:"runtimeConfig"`
		Args struct {
			CNI struct {
				IPs []string `json:"ips"`
			} `json:"cni"`
		} `json:"args"`
	}
	if err := json.Unmarshal(raw, &outer); err != nil {
		ps.Add("runtimeConfig.ips, args.cni.ips", "something else", "lists of addresses")
		return "", nil
	}
	if ips := outer.RuntimeConfig.IPs; len(ips) > 0 {
		return "runtimeConfig.ips", ips
	}
	return "args.cni.ips", outer.Args.CNI.IPs
}

// exact reads addresses with or without the length of their subnet.
func exact(at string, texts []string, pools []lease.Pool, ps *cniplugin.Problems) []netip.Addr {
	var out []netip.Addr
	for i, text := range texts {
		where := fmt.Sprintf("%s[%d]", at, i)
		bare, bits, given := strings.Cut(text, "/")
		a, err := netip.ParseAddr(bare)
		if err != nil || a.Zone() != "" {
			ps.Add(where, quote(text), "an address, as in 192.0.2.7 or 192.0.2.7/24")
			continue
		}
		a = a.Unmap()
		out = append(out, a)
		if !given {
			continue
		}
		for _, p := range pools {
			f := p.IPv4
			if a.Is6() {
				f = p.IPv6
			}
			if f != nil && f.Subnet.Contains(a) && strconv.Itoa(f.Subnet.Bits()) != bits {
				ps.Add(where, quote(text), fmt.Sprintf("%s/%d, for that is the subnet of pool %s", a, f.Subnet.Bits(), p.Name))
				break
			}
		}
	}
	return out
}

func duration(text string, missing time.Duration, at string, ps *cniplugin.Problems) time.Duration {
	if text == "" {
		return missing
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > 24*time.Hour {
		ps.Add(at, quote(text), `a duration between "0s" and "24h", as in "120s"`)
		return missing
	}
	return d
}

func quote(s string) string { return strconv.Quote(s) }

#!/bin/bash
# SPDX-FileCopyrightText: The weft Authors
# SPDX-License-Identifier: Apache-2.0
#
# network.sh NODE overlay|underlay|both: the conflists of this node. Its next pods
# get an interface of each:
#	overlay   a stand-in for a cluster's first network: ptp and host-local
#	underlay  macvlan on eth0 with weft's plugins, a slice of the nodes' own subnet
set -euo pipefail
i=${1#node} mode=$2 coordinator=
mkdir -p /etc/cni/net.d
case $mode in
overlay | underlay | both) ;;
*) echo "no such network: $mode" >&2; exit 2 ;;
esac
overlay() {
	cat <<JSON
{"cniVersion": "1.1.0", "name": "overlay", "plugins": [
  {"type": "ptp", "ipMasq": false, "mtu": 1500, "ipam": {"type": "host-local",
    "ranges": [[{"subnet": "10.244.$i.0/24"}], [{"subnet": "fd00:244:$i::/64"}]],
    "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
}
underlay() {
	cat <<JSON
{"cniVersion": "1.1.0", "name": "underlay", "plugins": [
  {"type": "macvlan", "master": "eth0", "mode": "bridge", "ipam": {"type": "weft-ipam", "pools": [{"name": "underlay",
    "ipv4": {"subnet": "10.200.0.0/24", "ranges": ["10.200.0.$((32 * i))/27"], "gateway": "$SERVER"},
    "ipv6": {"subnet": "fd00:200::/64", "ranges": ["fd00:200::$i:0/112"], "gateway": "$SERVER6"}}]}}$coordinator]}
JSON
}
# Each at once: a runtime reads the folder whenever it changes.
put() { mv "/etc/cni/net.d/.new" "/etc/cni/net.d/$1"; }
if [ "$mode" != underlay ]; then
	overlay >/etc/cni/net.d/.new
	put 10-overlay.conflist
else
	rm -f /etc/cni/net.d/10-overlay.conflist
fi
if [ "$mode" != overlay ]; then
	# Beside an overlay the host reaches the pod by that.
	[ "$mode" = both ] || [ ! -e /opt/cni/bin/weft-coordinator ] || coordinator=', {"type": "weft-coordinator", "serviceCIDRs": ["10.96.0.0/16", "fd00:96::/112"]}'
	underlay >/etc/cni/net.d/.new
	put 20-underlay.conflist
else
	rm -f /etc/cni/net.d/20-underlay.conflist
fi

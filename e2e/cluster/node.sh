#!/bin/bash
# SPDX-FileCopyrightText: The weft Authors
# SPDX-License-Identifier: Apache-2.0
#
# node.sh NAME: one Kubernetes node, the first process of its namespaces: mounts,
# network, containerd, kubelet, kube-proxy. Started by node-start.sh.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
name=$1 i=${1#node} dir=$WEFT_CLUSTER/$1 pki=$WEFT_CLUSTER/pki
ip=10.200.0.$((10 + i)) ip6=fd00:200::$((10 + i))
PATH=$K8S:$PATH

# Own mounts: what a node writes lies in its own folder, the rest is the machine's.
mount --make-rshared /
mount -t proc proc /proc
mount -t sysfs sysfs /sys
if [ "$(grep -c : /proc/self/cgroup)" = 1 ]; then
	mount -t cgroup2 cgroup2 /sys/fs/cgroup
	read -ra controllers </sys/fs/cgroup/cgroup.controllers
	for c in "${controllers[@]}"; do echo "+$c" >/sys/fs/cgroup/cgroup.subtree_control; done
else
	mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
	while IFS=: read -r _ controllers _; do
		case $controllers in
		'') continue ;; # the unified one: left out, so that this is plainly version 1
		name=*) options=none,$controllers sub=${controllers#name=} ;;
		*) options=$controllers sub=$controllers ;;
		esac
		mkdir -p "/sys/fs/cgroup/$sub"
		mount -t cgroup -o "$options" cgroup "/sys/fs/cgroup/$sub"
	done </proc/self/cgroup
fi
mount -t tmpfs -o mode=755 tmpfs /run
for d in /var/lib/kubelet /var/lib/containerd /var/lib/cni /var/lib/weft /var/log/pods /var/log/containers /etc/cni /etc/containerd /opt/cni; do
	mkdir -p "$dir$d" "$d"
	mount --bind "$dir$d" "$d"
done
mount --make-rshared /var/lib/kubelet
mkdir -p "$dir/etc" "$dir/sysctl"
bind() { # FILE TEXT: FILE reads as TEXT in this node
	local own=$dir/sysctl/${1//\//_}
	printf '%s\n' "$2" >"$own"
	mount --bind "$own" "$1"
}
bind /etc/hosts "127.0.0.1 localhost"$'\n'"$ip $name"
bind /etc/hostname "$name"
bind /etc/resolv.conf "nameserver 10.96.0.10"
hostname "$name"
# These are the machine's. Kubelet writes them unless they read as it wants.
bind /proc/sys/vm/overcommit_memory 1
bind /proc/sys/kernel/panic 10
bind /proc/sys/kernel/panic_on_oops 1
# A pod in a user namespace may mount /proc only where a whole one is mounted.
mkdir /run/proc
mount -t proc proc /run/proc

ip link set lo up
until ip link show eth0 >/dev/null 2>&1; do sleep 0.02; done
ip addr add "$ip/24" dev eth0
ip -6 addr add "$ip6/64" dev eth0 nodad
ip link set eth0 up
ip route add default via "$SERVER"
ip -6 route add default via "$SERVER6"
sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv6.conf.all.forwarding=1
for n in $NODES; do # the other nodes' overlay pods
	[ "$n" != "$name" ] || continue
	ip route add "10.244.${n#node}.0/24" via "10.200.0.$((10 + ${n#node}))"
	ip -6 route add "fd00:244:${n#node}::/64" via "fd00:200::$((10 + ${n#node}))"
done
"$here/plugins.sh"
"$here/network.sh" "$name" "${NETWORK:-underlay}"

cat >/etc/containerd/config.toml <<TOML
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "weft.test/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
    max_conf_num = 0
TOML
containerd --log-level warn >"$dir/containerd.log" 2>&1 &
until [ -S /run/containerd/containerd.sock ]; do sleep 0.05; done
for t in "$WEFT_CLUSTER"/images/*.tar; do ctr -n k8s.io images import "$t" >>"$dir/images.log" 2>&1; done

cat >/var/lib/kubelet/config.yaml <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: false}
  x509: {clientCAFile: $pki/ca.crt}
authorization: {mode: AlwaysAllow}
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
enforceNodeAllocatable: []
failSwapOn: false
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: "0%", nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%"}
resolvConf: /etc/resolv.conf
YAML
cat >"$dir/proxy.yaml" <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: ${PROXY_MODE:-nftables}
clusterCIDR: 10.244.0.0/16,fd00:244::/32
hostnameOverride: $name
clientConnection: {kubeconfig: $pki/proxy.conf}
conntrack: {maxPerCore: 0}
YAML
# Asked before the API server has its roles, both would be sent into a back-off.
until [ "$(kubectl --kubeconfig "$pki/$name.conf" get --raw /readyz 2>/dev/null)" = ok ]; do sleep 0.1; done
kubelet --config /var/lib/kubelet/config.yaml --kubeconfig "$pki/$name.conf" --hostname-override "$name" \
	--node-ip "$ip,$ip6" --root-dir /var/lib/kubelet >"$dir/kubelet.log" 2>&1 &
kube-proxy --config "$dir/proxy.yaml" >"$dir/proxy.log" 2>&1 &
wait

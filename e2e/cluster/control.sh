#!/bin/bash
# SPDX-FileCopyrightText: The weft Authors
# SPDX-License-Identifier: Apache-2.0
#
# control.sh: the first process of a cluster's namespaces: the switch between the
# nodes, the control plane, the nodes. Started by cluster.sh.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/node-start.sh"
dir=$WEFT_CLUSTER pki=$WEFT_CLUSTER/pki

mount --make-rprivate /
ip link set lo up
ip link add weft0 type bridge
ip addr add "$SERVER/24" dev weft0
ip -6 addr add "$SERVER6/64" dev weft0 nodad
ip link set weft0 up
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
mkdir -p "$dir/log"

run() { # COMPONENT FLAG...
	"$K8S/$1" "${@:2}" >"$dir/log/$1.log" 2>&1 &
}
run etcd --data-dir "$dir/etcd" --unsafe-no-fsync --log-level warn --listen-client-urls http://127.0.0.1:2379 \
	--advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380
run kube-apiserver --etcd-servers http://127.0.0.1:2379 --bind-address 0.0.0.0 --advertise-address "$SERVER" --secure-port 6443 \
	--tls-cert-file "$pki/apiserver.crt" --tls-private-key-file "$pki/apiserver.key" --client-ca-file "$pki/ca.crt" \
	--kubelet-client-certificate "$pki/kubelet-client.crt" --kubelet-client-key "$pki/kubelet-client.key" \
	--service-account-issuer https://kubernetes.default.svc.cluster.local --service-account-key-file "$pki/sa.crt" \
	--service-account-signing-key-file "$pki/sa.key" --service-cluster-ip-range 10.96.0.0/16,fd00:96::/112 \
	--kubelet-preferred-address-types InternalIP --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --allow-privileged=true
# Asked before its roles are there, the API server refuses, and on a slow machine
# the controller manager gives up.
until [ "$("$K8S/kubectl" --kubeconfig "$pki/admin.conf" get --raw /readyz 2>/dev/null)" = ok ]; do sleep 0.1; done
run kube-controller-manager --kubeconfig "$pki/controller-manager.conf" --use-service-account-credentials \
	--service-account-private-key-file "$pki/sa.key" --root-ca-file "$pki/ca.crt" \
	--allocate-node-cidrs=false --leader-elect=false --kube-api-qps 500 --kube-api-burst 1000
run kube-scheduler --kubeconfig "$pki/scheduler.conf" --leader-elect=false --kube-api-qps 500 --kube-api-burst 1000
for node in $NODES; do node_start "$node"; done
wait

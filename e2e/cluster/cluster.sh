#!/bin/bash
# SPDX-FileCopyrightText: The weft Authors
# SPDX-License-Identifier: Apache-2.0
#
# cluster.sh: a Kubernetes of real components on this machine, every node a set of
# namespaces: no container engine, no registry, no way out to the network.
#
#	cluster.sh up [N]            N nodes (2), all Ready when it returns
#	cluster.sh run N CMD...      up, CMD beside it, and the end of it when this ends in any way
#	cluster.sh exec CMD...       CMD beside it: KUBECONFIG set, kubectl on the PATH
#	cluster.sh node NAME CMD...  CMD in a node
#	cluster.sh network NAME overlay|underlay|both   the networks of the node's next pods
#	cluster.sh plugins           weft's plugins again, from $WEFT_BIN
#	cluster.sh load TAR...       image archives into every node
#	cluster.sh stop-node NAME | start-node NAME     a power cut, and power again
#	cluster.sh down              end it
#
# All of it runs below one process in its own pid, mount and network namespaces:
# that one ended, the kernel ends the rest. $WEFT_CLUSTER holds its state, on a
# disk. $NETWORK (underlay) is the networks nodes start with, $PROXY_MODE
# (nftables) how kube-proxy works.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export WEFT_CLUSTER=${WEFT_CLUSTER:-/var/tmp/weft-cluster} WEFT_BIN=${WEFT_BIN:-$(cd "$here/../.." && pwd)/bin}
export SERVER=10.200.0.1 SERVER6=fd00:200::1 NODES=
dir=$WEFT_CLUSTER

up() {
	local n=${1:-2} i t0=$SECONDS
	[ ! -e "$dir/pid" ] || [ ! -d "/proc/$(cat "$dir/pid")" ] || { echo "a cluster runs already: cluster.sh down" >&2; exit 1; }
	. "$here/../lane.sh"
	debian iproute2 nftables iptables conntrack procps util-linux busybox-static >&2
	K8S=$("$here/k8s/build.sh")
	IMAGES=$("$here/images.sh")
	rm -rf "$dir"
	mkdir -p "$dir/images"
	cp "$IMAGES"/*.tar "$dir/images/"
	for ((i = 1; i <= n; i++)); do NODES+="node$i "; done
	# shellcheck disable=SC2086 # a list
	"$IMAGES/prepare" pki "$dir/pki" $SERVER $NODES
	printf 'K8S=%q\nNODES=%q\n' "$K8S" "$NODES" >"$dir/env"
	export K8S
	# By setsid it outlives the terminal, by setpriv it never outlives "run".
	local start=(setsid)
	[ ! "${BOUND:-}" ] || start=(setpriv --pdeathsig KILL)
	"${start[@]}" unshare --mount --pid --net --fork --kill-child --mount-proc "$here/control.sh" >"$dir/control.log" 2>&1 </dev/null &
	disown
	until pgrep -P $! >"$dir/pid.new"; do
		[ -d "/proc/$!" ] || { cat "$dir/control.log" >&2; exit 1; }
		sleep 0.02
	done
	mv "$dir/pid.new" "$dir/pid"
	t0=$SECONDS
	until [ "$(kubectl get nodes 2>/dev/null | grep -c ' Ready ')" = "$n" ] && kubectl get serviceaccount default >/dev/null 2>&1; do
		if ((SECONDS - t0 > 300)) || [ ! -d "/proc/$(cat "$dir/pid")" ]; then
			tail -n 5 "$dir"/*.log "$dir"/*/*.log >&2
			echo "the nodes are not Ready: see $dir" >&2
			exit 1
		fi
		sleep 0.3
	done
	echo "cluster: $n nodes Ready after $((SECONDS - t0)) s" >&2
}

running() {
	# Inside, the number means nothing.
	if [ ! "${INSIDE:-}" ] && { [ ! -e "$dir/pid" ] || [ ! -d "/proc/$(cat "$dir/pid")" ]; }; then
		echo "no cluster runs: cluster.sh up" >&2
		exit 1
	fi
	# shellcheck disable=SC1091 # written by up
	. "$dir/env"
	export K8S NODES
}

kubectl() { nsenter --net="/proc/$(cat "$dir/pid")/ns/net" "$K8S/kubectl" --kubeconfig "$dir/pki/admin.conf" "$@"; }

# inside VERB... runs this script again where the cluster's first process is.
inside() {
	[ "${INSIDE:-}" ] || INSIDE=1 exec nsenter --mount --net --pid --wd="$PWD" --target "$(cat "$dir/pid")" "$here/cluster.sh" "$@"
}

run() {
	mkdir -p "$(dirname "$dir")"
	exec 8>"$dir.lock"
	flock 8
	trap down EXIT
	BOUND=1 up "$1" 8>&-
	"$0" exec "${@:2}" 8>&-
}

down() {
	[ -e "$dir/pid" ] || return 0
	local pid
	pid=$(cat "$dir/pid")
	kill -KILL "$pid" 2>/dev/null || true
	while [ -e "/proc/$pid" ]; do sleep 0.05; done
	rm "$dir/pid"
	find /sys/fs/cgroup -depth -type d -path "*/$(basename "$dir")-node*" -exec rmdir {} + 2>/dev/null || true
}

case ${1:-} in
up | run | down) "$@" ;;
stop-node | start-node)
	running
	inside "$@"
	. "$here/node-start.sh"
	"node_${1%-node}" "$2"
	;;
node)
	running
	inside "$@"
	PATH=$K8S:/opt/cni/bin:$PATH exec nsenter --mount --net --pid --uts --ipc --wd=/ --target "$(cat "$dir/$2/pid")" "${@:3}"
	;;
network)
	running
	inside "$@"
	exec "$here/cluster.sh" node "$2" "$here/network.sh" "$2" "$3"
	;;
plugins)
	running
	for n in $NODES; do "$here/cluster.sh" node "$n" "$here/plugins.sh"; done
	;;
load)
	running
	for n in $NODES; do
		for t in "${@:2}"; do "$here/cluster.sh" node "$n" ctr -n k8s.io images import - <"$t"; done
	done
	;;
exec)
	running
	KUBECONFIG=$dir/pki/admin.conf PATH=$K8S:$PATH INSIDE=1 exec nsenter --mount --net --pid --wd="$PWD" --target "$(cat "$dir/pid")" "${@:2}"
	;;
*) sed -n '5,/^set /s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac

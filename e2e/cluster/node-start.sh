# shellcheck shell=bash
# SPDX-FileCopyrightText: The weft Authors
# SPDX-License-Identifier: Apache-2.0
#
# node-start.sh: nodes begin and end. Sourced where the cluster's first process is.
node_here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# node_start NAME starts a node, or once more one that was stopped: what it had on
# disk is there again, what it had in /run is not, as after a reboot.
node_start() {
	local dir=$WEFT_CLUSTER/$1 pid child i=${1#node}
	mkdir -p "$dir"
	ip link del "to-$1" 2>/dev/null || true
	node_exec "$1" >"$dir/node.log" 2>&1 </dev/null &
	pid=$!
	# unshare's child is the one with another network.
	until child=$(pgrep -P "$pid" -x node.sh) && [ "$(readlink "/proc/$child/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do
		[ -d "/proc/$pid" ] || return 1
		sleep 0.02
	done
	echo "$child" >"$dir/pid"
	ip link add "to-$1" type veth peer name eth0 netns "$child"
	ip link set "to-$1" master weft0 up
	ip route replace "10.244.$i.0/24" via "10.200.0.$((10 + i))"
	ip -6 route replace "fd00:244:$i::/64" via "fd00:200::$((10 + i))"
}

# node_stop NAME ends a node as a power cut does.
node_stop() { kill -KILL "$(cat "$WEFT_CLUSTER/$1/pid")"; }

# node_exec NAME becomes the node, in a control group of its own that its cgroup
# namespace takes for the root.
node_exec() {
	local controllers path sub group name
	name=$(basename "$WEFT_CLUSTER")-$1
	if [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]; then
		group=/sys/fs/cgroup/$name
		mkdir -p "$group/init"
		read -ra controllers </sys/fs/cgroup/cgroup.controllers
		for sub in "${controllers[@]}"; do echo "+$sub" >/sys/fs/cgroup/cgroup.subtree_control; done
		echo "$BASHPID" >"$group/cgroup.procs"
	else
		while IFS=: read -r _ controllers path; do
			sub=${controllers#name=}
			group=/sys/fs/cgroup/${sub:-unified}${path%/}/$name
			mkdir -p "$group"
			if [ "$controllers" = cpuset ]; then
				cat "$group/../cpuset.cpus" >"$group/cpuset.cpus"
				cat "$group/../cpuset.mems" >"$group/cpuset.mems"
				echo 1 >"$group/cgroup.clone_children"
			fi
			echo "$BASHPID" >"$group/cgroup.procs"
		done </proc/1/cgroup
	fi
	# The group is the root of its namespace. In version 2 a group with processes
	# gives its controllers to none below it, so those from here on go one deeper.
	# shellcheck disable=SC2016 # the inner shell's
	exec unshare --cgroup bash -c '[ ! -d "$1/init" ] || echo $$ >"$1/init/cgroup.procs"
		exec unshare --mount --uts --ipc --net --pid --fork --kill-child "${@:2}"' - "$group" "$node_here/node.sh" "$1"
}

#!/bin/sh
# SPDX-FileCopyrightText: The weft Authors
# SPDX-License-Identifier: Apache-2.0
#
# qemu-init.sh: the first process of the emulated guest once its root is there.
# It runs /out/command, leaves the exit code in /out/rc and powers off.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
export WEFT_GUEST=sriov
mkdir -p /dev/pts /dev/shm /dev/net /lib/modules /out
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mkdir -p /run/netns /run/lock
ln -sf /proc/self/fd /dev/fd
mount -t cgroup2 cgroup2 /sys/fs/cgroup 2>/dev/null
mount -t bpf bpf /sys/fs/bpf 2>/dev/null
mount --bind "$WEFT_MODULES" /lib/modules
[ -e /dev/net/tun ] || mknod /dev/net/tun c 10 200
modprobe -a -q ipv6 igb igbvf
busybox ip link set lo up
echo 1 >/sys/kernel/rcu_expedited # a namespace ends in milliseconds, not in tenths of a second
mount -t 9p -o trans=virtio,version=9p2000.L,rw,msize=512000,cache=none out /out
read -r up _ </proc/uptime
echo "guest: Linux $(uname -r) on $(nproc) CPU after ${up}s"
sh /out/command </dev/null
echo $? >/out/rc.new
mv /out/rc.new /out/rc
sync
echo o >/proc/sysrq-trigger
while :; do :; done

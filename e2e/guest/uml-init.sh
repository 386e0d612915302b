#!/bin/sh
# SPDX-FileCopyrightText: The weft Authors
# SPDX-License-Identifier: Apache-2.0
#
# uml-init.sh: the first process of a User-Mode Linux guest. Its root becomes an
# overlay of the machine's files (hostfs, read only) and a tmpfs; it runs
# /out/command, leaves the exit code in /out/rc and powers off.
# pivot_root, not chroot: the kernel's own modprobe looks below the real root.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
export WEFT_GUEST=uml
fail() {
	echo "guest: $*"
	busybox poweroff -f
}
mount -n -t proc proc /proc || fail "no /proc"
read -r line </proc/cmdline
for word in $line; do
	case $word in
	weft.out=*) out=${word#*=} ;;
	weft.modules=*) modules=${word#*=} ;;
	esac
done
mount -n -t tmpfs -o size=75% tmpfs /mnt || fail "no tmpfs"
mkdir /mnt/upper /mnt/work /mnt/root
overlay=$modules/kernel/fs/overlayfs/overlay.ko
[ ! -e "$overlay" ] || insmod "$overlay"
mount -n -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root || fail "no overlay"
cd /mnt/root || fail "no overlay"
mkdir -p .host
pivot_root . .host || fail "no pivot_root"
cd / || fail "no root"
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm /dev/net
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
ln -sf /proc/self/fd /dev/fd
[ -e /dev/net/tun ] || mknod /dev/net/tun c 10 200
mount -t tmpfs tmpfs /run
mkdir -p /run/netns /run/lock /lib/modules /out
mount -t cgroup2 cgroup2 /sys/fs/cgroup 2>/dev/null
mount -t bpf bpf /sys/fs/bpf 2>/dev/null
mount -t tmpfs tmpfs /lib/modules
[ -z "$modules" ] || ln -s "/.host$modules" "/lib/modules/$(uname -r)"
[ -z "$modules" ] || modprobe -q ipv6
mount -t hostfs -o "$out" none /out || fail "no $out"
busybox ip link set lo up
busybox hostname weft-guest
read -r up _ </proc/uptime
echo "guest: Linux $(uname -r) on $(nproc) CPU after ${up}s"
sh /out/command </dev/null
echo $? >/out/rc.new
mv /out/rc.new /out/rc
sync
exec busybox poweroff -f

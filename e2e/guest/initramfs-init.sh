#!/bin/busybox sh
# shellcheck shell=dash
# SPDX-FileCopyrightText: The weft Authors
# SPDX-License-Identifier: Apache-2.0
#
# initramfs-init.sh: loads the modules that reach the machine's files by 9p,
# makes them the root below a tmpfs, and hands over to the program weft.init.
b=/bin/busybox
$b mount -t devtmpfs dev /dev
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
fail() {
	echo "guest: $*"
	echo o >/proc/sysrq-trigger
	$b sleep 60
}
while read -r m; do $b insmod "/modules/$m" || echo "guest: $m not loaded"; done </modules/order
read -r line </proc/cmdline
for word in $line; do
	case $word in
	weft.init=*) init=${word#*=} ;;
	weft.modules=*) export WEFT_MODULES="${word#*=}" ;;
	esac
done
$b mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=512000,cache=loose root /ro || fail "no 9p"
$b mount -t tmpfs -o size=60% tmpfs /rw
$b mkdir /rw/upper /rw/work
$b mount -t overlay -o lowerdir=/ro,upperdir=/rw/upper,workdir=/rw/work overlay /new || fail "no overlay"
for d in dev proc sys; do
	$b mkdir -p "/new/$d"
	$b mount --move "/$d" "/new/$d"
done
exec $b switch_root /new "$init"

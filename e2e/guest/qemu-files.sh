#!/bin/bash
# SPDX-FileCopyrightText: The weft Authors
# SPDX-License-Identifier: Apache-2.0
#
# qemu-files.sh: what lane "sriov" boots, as a cache entry: QEMU and a Debian
# kernel, unpacked and never installed, and a small initramfs. Prints its folder:
#	qemu/ (with the libraries this machine lacks), kernel/, vmlinux, initrd
set -euo pipefail
cd "$(dirname "$0")"
. ../lane.sh
. ./backports.sh
qemu=1:10.0.2+ds-2+deb13u1~bpo12+1
kernel=7.3.4+deb13-amd64
# What the kernel needs to reach a root on 9p; the rest comes from there.
modules=(virtio_pci virtio_console 9pnet_virtio 9p overlay)

fill() { # NEW
	local new=$1 lists boot m op file name
	lists=$(mktemp -d)
	boot=$(mktemp -d)
	# shellcheck disable=SC2064 # the folders of now
	trap "rm -rf '$lists' '$boot'" EXIT
	. /etc/os-release
	backports_open "$lists/q" "$VERSION_CODENAME" bookworm-backports
	DEPENDS=bookworm-backports backports_unpack "$new/qemu" "qemu-system-x86=$(backports_version qemu-system-x86 "$qemu")"
	backports_open "$lists/k" trixie-backports
	[ "$(apt-cache "${backports_apt[@]}" search --names-only "^linux-binary-${kernel//+/[+]}$")" ] || {
		m=$(apt-cache "${backports_apt[@]}" search --names-only "^linux-binary-${kernel%.*}[0-9.]*[+]deb[0-9]*-amd64$" | sort -V | tail -1)
		echo "the archive no longer has Linux $kernel: taking $m" >&2
		kernel=${m%% *} kernel=${kernel#linux-binary-}
	}
	backports_unpack "$new/kernel" "linux-base-$kernel" "linux-binary-$kernel" "linux-modules-$kernel"
	ln -s usr/lib "$new/kernel/lib"
	depmod -b "$new/kernel" "$kernel"
	./extract-vmlinux.py "$new/kernel/lib/modules/$kernel/vmlinuz" "$new/vmlinux"

	mkdir -p "$boot"/{bin,dev,proc,sys,modules,ro,rw,new}
	cp /bin/busybox "$boot/bin/"
	cp initramfs-init.sh "$boot/init"
	for m in "${modules[@]}"; do modprobe -d "$new/kernel" -S "$kernel" --show-depends "$m"; done | while read -r op file _; do
		name=$(basename "${file%.xz}")
		if [ "$op" = insmod ] && [ ! -e "$boot/modules/$name" ]; then
			xz -dc "$file" >"$boot/modules/$name"
			echo "$name" >>"$boot/modules/order"
		fi
	done
	(cd "$boot" && find . | cpio -o -H newc --quiet) | gzip -1 >"$new/initrd"
	echo "$kernel" >"$new/version"
}

if [ "${1:-}" = fill ]; then
	fill "$2"
	exit
fi
debian busybox-static kmod cpio xz-utils zstd python3 debian-archive-keyring >&2
key=$({ cat initramfs-init.sh extract-vmlinux.py; declare -f fill; declare -p modules qemu; } | hash_of -)
cached "qemu-$kernel-$key" "$PWD/qemu-files.sh" fill

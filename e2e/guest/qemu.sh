#!/bin/bash
# SPDX-FileCopyrightText: The weft Authors
# SPDX-License-Identifier: Apache-2.0
#
# qemu.sh PROGRAM [ARGS...]: as uml.sh, in an emulated x86 machine with IOMMU and
# one igb card that has virtual functions. Several times slower.
#	QEMU_FILES  the folder qemu-files.sh prints
#	OUT, MEM, CPUS, TIMEOUT as for uml.sh
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${OUT:-$(mktemp -d /tmp/weft-guest.XXXXXX)}
trap '[ "${OUT:-}" ] || rm -rf "$out"' EXIT
. "$here/command.sh"
q=$QEMU_FILES/qemu
# Initcalls that only burn time under emulation: certificates and self-tests.
append="console=ttyS0 loglevel=1 panic=-1 mitigations=off tsc=reliable nokaslr no_timer_check audit=0 apparmor=0 cryptomgr.notests
 initcall_blacklist=load_system_certificate_list,jent_mod_init,init_encrypted,crypto_kdf108_init intel_iommu=on iommu=pt net.ifnames=0
 weft.init=$here/qemu-init.sh weft.modules=$QEMU_FILES/kernel/lib/modules"
LD_LIBRARY_PATH=$q/usr/lib/x86_64-linux-gnu:$q/lib/x86_64-linux-gnu QEMU_MODULE_DIR=$q/usr/lib/x86_64-linux-gnu/qemu timeout "${TIMEOUT:-900}" \
	"$q/usr/bin/qemu-system-x86_64" -L "$q/usr/share/qemu" -L "$q/usr/share/seabios" -L "$q/usr/lib/ipxe/qemu" \
	-accel tcg,thread=multi -M q35 -cpu max -smp "${CPUS:-2}" -m "${MEM:-2048}" -nodefaults -no-user-config -display none -no-reboot -serial stdio \
	-fsdev local,id=root,path=/,security_model=none,readonly=on,multidevs=remap -device virtio-9p-pci,fsdev=root,mount_tag=root \
	-fsdev local,id=out,path="$out",security_model=none -device virtio-9p-pci,fsdev=out,mount_tag=out \
	-device intel-iommu -device pcie-root-port,id=rp1,chassis=1 -netdev user,id=n0,restrict=on -device igb,netdev=n0,bus=rp1 \
	-kernel "$QEMU_FILES/vmlinux" -initrd "$QEMU_FILES/initrd" -append "${append//$'\n'/}" </dev/null 2>"$out/stderr" | sed -u 's/\r$//; /reboot: \(Power down\|System halted\)$/d; /sysrq: Power Off$/d' || true
guest_rc

#!/bin/bash
# SPDX-FileCopyrightText: The weft Authors
# SPDX-License-Identifier: Apache-2.0
#
# uml.sh PROGRAM [ARGS...]: run PROGRAM as root in a User-Mode Linux guest that
# sees this machine's files (what it writes is lost with it), in the same folder
# and environment; the exit code is PROGRAM's. Usable as "go test -exec".
#	KERNEL  the guest's kernel (kernel.sh prints one), MODULES its modules, if it has any
#	OUT     a folder the guest sees as /out and may write to
#	MEM, TIMEOUT (seconds)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${OUT:-$(mktemp -d /tmp/weft-guest.XXXXXX)}
trap '[ "${OUT:-}" ] || rm -rf "$out"' EXIT
. "$here/command.sh"
# Its memory is a file it has deleted, by choice on a tmpfs.
mem=/dev/shm
[ -w $mem ] && [ "$(df --output=avail -k $mem | tail -1)" -gt 2500000 ] || mem=/tmp
TMPDIR=$mem timeout "${TIMEOUT:-900}" "$KERNEL" mem="${MEM:-2048M}" seccomp=auto \
	root=/dev/root rootfstype=hostfs rootflags=/ ro init="$here/uml-init.sh" con=null con0=null,fd:1 con1=null loglevel=1 \
	dummy.numdummies=0 bonding.max_bonds=0 ifb.numifbs=0 weft.out="$out" weft.modules="${MODULES:-}" </dev/null 2>"$out/stderr" | sed -u '/reboot: \(Power down\|System halted\)$/d' || true
guest_rc

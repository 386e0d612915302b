#!/bin/bash
# SPDX-FileCopyrightText: The weft Authors
# SPDX-License-Identifier: Apache-2.0
#
# suite.sh netns|guest|sriov PACKAGE...: the packages' tests, one package after the
# other, with the reason of every skip:
#	netns	on this machine's kernel, each package in namespaces of its own
#	guest	in one boot of User-Mode Linux, the kernel of kernel.sh
#	sriov	in one boot of an emulated machine with a card that has virtual functions
# One "go test" builds every test binary and hands it to -exec, which only keeps
# it. Packages without tests and packages that are not there are left out.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../lane.sh"
lane=$1
shift
[ "$(id -u)" = 0 ] || lane_not_run "$lane" "only root may run it"

packages=()
for p; do [ ! -d "${p%/...}" ] || packages+=("$p"); done
debian busybox-static iproute2 nftables iputils-ping >&2 || lane_not_run "$lane" "its Debian packages are not to be had"
[ "$lane" = netns ] || [ "$(uname -m)" = x86_64 ] || lane_not_run "$lane" "the guest kernel is made for x86_64, this is $(uname -m)"
if [ "$lane" = netns ]; then
	unshare --net true 2>/dev/null || lane_not_run netns "this machine lets nobody make network namespaces"
	run=
elif [ "$lane" = sriov ]; then
	debian rdma-core >&2 || lane_not_run "$lane" "its Debian packages are not to be had"
	QEMU_FILES=$("$here/qemu-files.sh") || lane_not_run "$lane" "QEMU and its kernel are not to be had"
	export QEMU_FILES
	run=$here/qemu.sh
elif KERNEL=$("$here/kernel.sh"); then
	export KERNEL
	run=$here/uml.sh
else
	debian user-mode-linux >&2 || lane_not_run "$lane" "no kernel: it neither builds, nor is Debian's to be had"
	echo "lane $lane: the kernel does not build here: Debian's user-mode-linux stands in, without nftables and RDMA"
	export KERNEL=/usr/bin/linux.uml MODULES WEFT_REQUIRE=vlan,bond,ipvlan,vrf
	MODULES=$(find /usr/lib/uml/modules -mindepth 1 -maxdepth 1 | sort -V | tail -1)
	run=$here/uml.sh
fi

OUT=$(mktemp -d /tmp/weft-suite.XXXXXX)
export OUT
trap 'rm -rf "$OUT"' EXIT
out=/out # as the guest sees it
[ "$run" ] || out=$OUT
cat >"$OUT/keep" <<EOS
#!/bin/sh
cp "\$1" "$OUT/\$\$.test" && echo "\$PWD $out/\$\$.test \${PWD#$PWD/}" >>"$OUT/list"
EOS
chmod +x "$OUT/keep"
: >"$OUT/list"
export CGO_ENABLED=0
go test -count=1 -vet=off -exec "$OUT/keep" "${packages[@]}" >"$OUT/build.log" 2>&1 || {
	# The rest still runs; what does not build counts as a failure of its own.
	grep -vE '^(ok |\?)' "$OUT/build.log" || true
	sed -n 's/^FAIL\t\([^ ]*\) \[.*/\/ \/out\/not-built \1/p' "$OUT/build.log" >>"$OUT/list"
}
(cd "$here" && GOWORK=off go build -o "$OUT/runsuite" ./runsuite)
sort -o "$OUT/list" -k3 "$OUT/list"
${run:+"$run"} "$out/runsuite" "$lane" "$out/list"

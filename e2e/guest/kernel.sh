#!/bin/bash
# SPDX-FileCopyrightText: The weft Authors
# SPDX-License-Identifier: Apache-2.0
#
# kernel.sh: the User-Mode Linux kernel of lane "guest" as a cache entry, out of
# Debian's kernel source and kernel.fragment. Prints the path of the kernel.
# $WEFT_JOBS (all processors) says how many compilers run at once.
set -euo pipefail
cd "$(dirname "$0")"
. ../lane.sh
. ./backports.sh
source=linux-source-7.3 version=7.3.4-1~bpo13+1 suite=trixie-backports

fill() { # VERSION NEW
	local work tree option
	set -e
	work=$(mktemp -d "$WEFT_CACHE/kernel-work.XXXXXX")
	# shellcheck disable=SC2064 # the folder of now
	trap "rm -rf '$work'" EXIT
	backports_unpack "$work" "$source=$1"
	tar -C "$work" -xf "$work/usr/src/$source.tar.xz"
	tree=$work/$source
	make -C "$tree" ARCH=um KCONFIG_ALLCONFIG="$PWD/kernel.fragment" allnoconfig
	while read -r option; do
		grep -qxF "$option" "$tree/.config" || { echo "kernel.fragment: $option: not taken"; exit 1; }
	done < <(grep '^CONFIG_' kernel.fragment)
	make -C "$tree" ARCH=um -j"${WEFT_JOBS:-$(nproc)}" KBUILD_BUILD_TIMESTAMP="$1" KBUILD_BUILD_USER=weft KBUILD_BUILD_HOST=weft linux
	strip -o "$2/linux" "$tree/linux"
	cp "$tree/.config" "$2/config"
}

if [ "${1:-}" = fill ]; then
	lists=$(mktemp -d)
	trap 'rm -rf "$lists"' EXIT
	backports_open "$lists" "$suite"
	(fill "${@:2}")
	exit
fi
key=$({ cat kernel.fragment; declare -f fill; } | hash_of -)
if [ ! -e "$WEFT_CACHE/uml-$version-$key/linux" ]; then
	debian gcc libc6-dev make flex bison bc xz-utils debian-archive-keyring >&2
	lists=$(mktemp -d)
	trap 'rm -rf "$lists"' EXIT
	backports_open "$lists" "$suite"
	version=$(backports_version "$source" "$version")
fi
entry=$(cached "uml-$version-$key" "$PWD/kernel.sh" fill "$version")
echo "$entry/linux"

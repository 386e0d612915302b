#!/bin/bash
# SPDX-FileCopyrightText: The weft Authors
# SPDX-License-Identifier: Apache-2.0
#
# images.sh: the images every node has, as a cache entry: pause, and busybox for
# the tests' pods. Prints its folder, which has the program "prepare" too.
set -euo pipefail
cd "$(dirname "$0")"
. ../lane.sh
export GOWORK=off CGO_ENABLED=0 GOFLAGS="-trimpath -buildvcs=false"

fill() { # NEW
	local root applet
	root=$(mktemp -d)
	# shellcheck disable=SC2064 # the folder of now
	trap "rm -rf '$root'" EXIT
	go build -ldflags='-s -w' -o "$1/" ./prepare ./pause
	mkdir "$root/bin"
	cp /bin/busybox "$root/bin/"
	for applet in $(busybox --list); do [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"; done
	"$1/prepare" image -entrypoint /pause "$1/pause.tar" weft.test/pause:1 /pause="$1/pause"
	"$1/prepare" image "$1/busybox.tar" weft.test/busybox:1 /="$root"
}

if [ "${1:-}" = fill ]; then
	fill "$2"
	exit
fi
debian busybox-static >&2
key=$({ cat prepare/*.go pause/*.go pki/*.go /bin/busybox; declare -f fill; } | hash_of -)
cached "images-$key" "$PWD/images.sh" fill

#!/bin/bash
# SPDX-FileCopyrightText: The weft Authors
# SPDX-License-Identifier: Apache-2.0
#
# need.sh PROGRAM:PACKAGE...: install the Debian packages of programs that are
# missing. Says nothing when all are there.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
missing=()
for want in "$@"; do
	command -v "${want%%:*}" >/dev/null || missing+=("${want##*:}")
done
[ ${#missing[@]} -gt 0 ] || exit 0
command -v apt-get >/dev/null || { echo "need.sh: install ${missing[*]} and try again: this machine has no apt-get" >&2; exit 1; }
[ "$(id -u)" = 0 ] || { echo "need.sh: install ${missing[*]} as root and try again" >&2; exit 1; }
echo "installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
install() { apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null; }
install 2>/dev/null || { apt-get update -q >/dev/null && install; }

# shellcheck shell=bash
# SPDX-FileCopyrightText: The weft Authors
# SPDX-License-Identifier: Apache-2.0
#
# backports.sh: packages of other Debian suites, without touching the machine:
# own lists, status, sources and cache, and dpkg -x instead of an installation.

# backports_open DIR SUITE... reads the package lists of suites into DIR, from
# $WEFT_DEBIAN or the mirror that this machine's apt uses.
backports_open() {
	local d=$1 s mirror
	shift
	# shellcheck disable=SC2016 # apt's variables
	mirror=${WEFT_DEBIAN:-$(apt-get indextargets --format '$(REPO_URI) $(COMPONENT)' 'Created-By: Packages' |
		awk '$2 == "main" && $1 ~ "/debian/?$" && !found++ { print $1 }')}
	[ "$mirror" ] || { echo "apt knows no Debian mirror here: set WEFT_DEBIAN to one" >&2; return 1; }
	mkdir -p "$d/lists/partial" "$d/cache/archives/partial"
	cp /var/lib/dpkg/status "$d/status"
	for s; do
		echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $s main"
	done >"$d/sources"
	backports_apt=(-q -o Dir::State="$d" -o Dir::State::status="$d/status" -o Dir::Cache="$d/cache" -o APT::Sandbox::User=root
		-o Dir::Etc::sourcelist="$d/sources" -o Dir::Etc::sourceparts=/nonexistent)
	apt-get "${backports_apt[@]}" update >/dev/null || apt-get "${backports_apt[@]}" update >/dev/null
}

# backports_version PACKAGE PINNED prints PINNED or, where the archive no longer
# has it, the newest version, and says so.
backports_version() {
	local all
	all=$(apt-cache "${backports_apt[@]}" madison "$1" | awk '{print $3}')
	[ "$all" ] || { echo "the archive has no $1" >&2; return 1; }
	if grep -qxF "$2" <<<"$all"; then
		echo "$2"
	else
		echo "the archive no longer has $1 $2: taking $(head -1 <<<"$all")" >&2
		head -1 <<<"$all"
	fi
}

# backports_unpack DIR PACKAGE[=VERSION]... unpacks packages below DIR; with
# DEPENDS=SUITE also what they need of SUITE and this machine does not have.
backports_unpack() {
	local dir=$1 t f
	shift
	t=$(mktemp -d)
	if [ "${DEPENDS:-}" ]; then
		apt-get "${backports_apt[@]}" -o Dir::Cache::archives="$t" -y -d --no-install-recommends -t "$DEPENDS" install "$@" >/dev/null
	else
		(cd "$t" && apt-get "${backports_apt[@]}" download "$@" >/dev/null)
	fi
	for f in "$t"/*.deb; do dpkg -x "$f" "$dir"; done
	rm -r "$t"
}

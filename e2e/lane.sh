# shellcheck shell=bash
# SPDX-FileCopyrightText: The weft Authors
# SPDX-License-Identifier: Apache-2.0
#
# lane.sh: what the scripts of the proving lanes share. Sourced, never run.
#
# $WEFT_CACHE (/var/cache/weft) holds what takes long to build. An entry is a
# folder named by what it was made from; it appears whole or not at all, and
# old ones may be deleted at any time. $REQUIRE_LANES (names, comma-separated,
# or "all") says which lanes may not be left out.
export WEFT_CACHE=${WEFT_CACHE:-/var/cache/weft}
export DEBIAN_FRONTEND=noninteractive

# lane_not_run LANE REASON ends the script: with 0, or with 1 where LANE is required.
lane_not_run() {
	echo "lane $1: not run: $2"
	case ,${REQUIRE_LANES:-}, in
	*,all,* | *,"$1",*)
		echo "lane $1: required by REQUIRE_LANES=$REQUIRE_LANES" >&2
		exit 1
		;;
	esac
	exit 0
}

# debian PACKAGE... installs what is missing of Debian's packages.
debian() {
	local p missing=()
	for p; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing+=("$p")
	done
	((${#missing[@]})) || return 0
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		echo "missing, and only root on Debian can install them: ${missing[*]}" >&2
		return 1
	fi
	echo "installing ${missing[*]}" >&2
	local try=(flock "/var/lock/weft-apt" apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=120 "${missing[@]}")
	"${try[@]}" >/dev/null 2>&1 || { apt-get update -qq >/dev/null 2>&1 || true; "${try[@]}" >/dev/null; }
}

# hash_of FILE... is a short name for their contents.
hash_of() { cat -- "$@" | sha256sum | cut -c1-12; }

# cached ENTRY COMMAND... prints the folder of a cache entry. Where it is
# absent, the program COMMAND fills a new folder, its last argument, which then
# takes that name: two at once wait for each other and build once.
cached() {
	local entry=$WEFT_CACHE/$1 new t0=$SECONDS
	shift
	if [ ! -d "$entry" ]; then
		mkdir -p "$WEFT_CACHE"
		(
			flock 9
			[ ! -d "$entry" ] || exit 0
			new=$(mktemp -d "$entry.new.XXXXXX")
			trap 'rm -rf "$new"' EXIT
			echo "building $entry, log beside it" >&2
			"$@" "$new" >"$entry.log" 2>&1 9>&- || { tail -20 "$entry.log" >&2; exit 1; }
			# Left of "||" the shell ends on no error by itself.
			chmod 755 "$new" && mv -T "$new" "$entry" || exit 1
			trap - EXIT
			echo "built $entry in $((SECONDS - t0)) s" >&2
		) 9>"$entry.lock" || return 1
	fi
	echo "$entry"
}

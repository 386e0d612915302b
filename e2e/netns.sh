#!/bin/bash
# netns.sh PACKAGE...: lane "netns", the packages' tests on this machine's own
# kernel. Each package runs in namespaces of its own (libs/nettest), which the
# kernel takes away with it however it ends.
set -euo pipefail
. "$(dirname "$0")/lane.sh"
[ "$(id -u)" = 0 ] || lane_not_run netns "only root may make network namespaces"
unshare --net true 2>/dev/null || lane_not_run netns "this machine lets nobody make network namespaces"
debian iproute2 nftables iputils-ping >&2 || lane_not_run netns "its Debian packages are not to be had"

packages=()
for p; do [ ! -d "${p%/...}" ] || packages+=("$p"); done
log=$(mktemp)
trap 'rm -f "$log"' EXIT
go test -count=1 -v "${packages[@]}" >"$log" 2>&1 || { cat "$log"; echo "lane netns: FAIL"; exit 1; }
grep -E '^ok ' "$log" || true
echo "lane netns: $(grep -c '^--- PASS' "$log") passed, 0 failed, $(grep -c '^ *--- SKIP' "$log") skipped"

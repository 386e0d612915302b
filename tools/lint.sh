#!/bin/bash
# SPDX-FileCopyrightText: The weft Authors
# SPDX-License-Identifier: Apache-2.0
#
# lint.sh [MODULE...]: golangci-lint on the modules of go.work, each alone as a
# release builds it, and shellcheck on every script. The linter is built once
# per version, outside the tree. LINT_FLAGS=--fix repairs what it can.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
export GOWORK=off
key=$(sha256sum tools/go.mod tools/go.sum | sha256sum | cut -c1-12)-$(go env GOVERSION GOARCH | tr '\n' - | tr -d ' ')
entry=${WEFT_CACHE:-/var/cache/weft}/tools/$(sed -n 's,.*golangci/golangci-lint/v2 \(v[0-9.]*\).*,\1,p' tools/go.mod)-${key%-}
if [ ! -x "$entry/golangci-lint" ]; then
	mkdir -p "$entry"
	echo "building golangci-lint into $entry (some minutes, once)" >&2
	(
		flock 9
		[ ! -x "$entry/golangci-lint" ] || exit 0
		nice -n 19 go -C tools build -o "$entry/new" github.com/golangci/golangci-lint/v2/cmd/golangci-lint
		mv "$entry/new" "$entry/golangci-lint"
	) 9>"$entry/lock"
fi

bad=0 visited=0
mapfile -t modules < <(sed -n 's,^\t\./,,p' go.work)
if [ $# = 0 ]; then set -- "${modules[@]}"; want=${#modules[@]}; else want=$#; fi
for m in "$@"; do
	echo "== lint $m"
	# shellcheck disable=SC2086 # several flags
	(cd "$m" && "$entry/golangci-lint" run --allow-serial-runners -c "$root/.golangci.yml" ${LINT_FLAGS:-} ./...) || bad=1
	visited=$((visited + 1))
done
[ "$visited" = "$want" ] || { echo "visited $visited modules, want $want" >&2; bad=1; }

tools/need.sh shellcheck:shellcheck
echo "== shellcheck"
git ls-files -z --cached --others --exclude-standard | xargs -0 grep -lEZ -m1 '^#!.*\b(ba)?sh\b|^# shellcheck shell=' | xargs -0 -r shellcheck -x -P SCRIPTDIR || bad=1
exit "$bad"

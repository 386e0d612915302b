#!/bin/bash
# SPDX-FileCopyrightText: The weft Authors
# SPDX-License-Identifier: Apache-2.0
#
# bench.sh: ADD and DEL of the lease store beside bare creates, on a real API
# server of this machine.
set -euo pipefail
cd "$(dirname "$0")"
[ "$(id -u)" = 0 ] || { echo "only root may give the servers namespaces of their own" >&2; exit 1; }
WEFT_K8S=$(../../cluster/k8s/build.sh)
export WEFT_K8S WEFT_REQUIRE=api GOWORK=off CGO_ENABLED=0 GOFLAGS=-trimpath
log=$(mktemp)
trap 'rm -f "$log"' EXIT
go test -count=1 -run '^$' -bench . -benchtime 1x . >"$log" 2>&1 || { cat "$log"; exit 1; }
sed -n '/^machine:/,/^goos:/{/^goos:/!p}' "$log"

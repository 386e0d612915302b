#!/bin/bash
# SPDX-FileCopyrightText: The weft Authors
# SPDX-License-Identifier: Apache-2.0
#
# test.sh PACKAGE...: lane "api", tests against a real API server; packages of the
# module e2e.
set -euo pipefail
cd "$(dirname "$0")"
. ../lane.sh
cd ..
[ "$(id -u)" = 0 ] || lane_not_run api "only root may give the servers namespaces of their own"
WEFT_K8S=$(cluster/k8s/build.sh) || lane_not_run api "Kubernetes does not build here"
export WEFT_K8S WEFT_REQUIRE=api GOWORK=off CGO_ENABLED=0 GOFLAGS=-trimpath
log=$(mktemp)
trap 'rm -f "$log"' EXIT
go test -count=1 -v "$@" >"$log" 2>&1 || { cat "$log"; echo "lane api: FAIL"; exit 1; }
grep -E '^ok ' "$log" || true
echo "lane api: $(grep -c '^--- PASS' "$log") passed, 0 failed, $(grep -c -- '--- SKIP' "$log") skipped"

#!/bin/bash
# SPDX-FileCopyrightText: The weft Authors
# SPDX-License-Identifier: Apache-2.0
#
# test.sh: lane "cluster", the tests of this folder beside a cluster of two nodes
# that is started for them and ends with them.
set -euo pipefail
cd "$(dirname "$0")"
. ../lane.sh
[ "$(id -u)" = 0 ] || lane_not_run cluster "only root may make nodes of namespaces"
export WEFT_CLUSTER=${WEFT_CLUSTER:-/var/tmp/weft-cluster-test}
[ "$(stat -f -c %T "$(dirname "$WEFT_CLUSTER")")" != overlayfs ] ||
	lane_not_run cluster "$WEFT_CLUSTER lies on overlayfs, on which containerd can lay no other: set WEFT_CLUSTER to a folder on a disk"
k8s/build.sh >/dev/null || lane_not_run cluster "Kubernetes does not build here"

log=$(mktemp) bin=$(mktemp -d)
trap 'rm -rf "$log" "$bin"' EXIT
GOWORK=off CGO_ENABLED=0 GOFLAGS=-trimpath go test -c -o "$bin/cluster.test" .
t0=$SECONDS
PATH=$PWD:$PATH WEFT_REQUIRE=cluster setpriv --pdeathsig KILL ./cluster.sh run 2 "$bin/cluster.test" -test.v >"$log" 2>&1 ||
	{ cat "$log"; echo "lane cluster: FAIL"; exit 1; }
echo "lane cluster: $(grep -c '^--- PASS' "$log") passed, 0 failed, $(grep -c -- '--- SKIP' "$log") skipped ($((SECONDS - t0)) s)"

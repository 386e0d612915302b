#!/bin/bash
# SPDX-FileCopyrightText: The weft Authors
# SPDX-License-Identifier: Apache-2.0
#
# build.sh: Kubernetes, etcd, containerd, runc and the reference CNI plugins as
# one cache entry, out of this folder's go.mod. Prints the entry's folder:
#	k8s with a link for each component, containerd, its shim, ctr, runc, cni/
# $WEFT_JOBS (all processors) says how many compilers run at once.
set -euo pipefail
cd "$(dirname "$0")"
. ../../lane.sh
# The same everywhere: another value of any compiles every package again.
export GOWORK=off CGO_ENABLED=0 GOFLAGS="-trimpath -buildvcs=false"
export GOMAXPROCS=${WEFT_JOBS:-$(nproc)}

fill() {
	local bin=$1 v major minor p c stamp='' tags='urfave_cli_no_docs osusergo netgo static_build'
	local n=github.com/containernetworking/plugins/plugins d=github.com/containerd/containerd/v2
	mkdir "$bin/cni"
	v=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
	IFS=. read -r major minor _ <<<"${v#v}"
	for p in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
		stamp+=" -X $p.gitVersion=$v -X $p.gitMajor=$major -X $p.gitMinor=$minor -X $p.gitTreeState=clean"
	done
	go build -ldflags "-s -w$stamp" -o "$bin/k8s" .
	for c in etcd kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl; do
		ln -s k8s "$bin/$c"
	done
	go build -ldflags='-s -w' -o "$bin/cni/" $n/ipam/{host-local,static} $n/main/{bridge,ipvlan,loopback,macvlan,ptp,vlan} $n/meta/portmap
	go build -tags "$tags" -ldflags "-s -w -X $d/version.Version=$(go list -m -f '{{.Version}}' $d)" -o "$bin/" $d/cmd/{containerd,containerd-shim-runc-v2,ctr}
	CGO_ENABLED=1 go build -tags "$tags seccomp" -ldflags='-s -w -extldflags -static' -o "$bin/runc" github.com/opencontainers/runc
}

if [ "${1:-}" = fill ]; then
	fill "$2"
	exit
fi
debian ca-certificates gcc libc6-dev libseccomp-dev pkg-config >&2
key=$({ cat go.mod go.sum main.go; declare -f fill; } | hash_of -)
version=$(sed -n 's/^\tk8s.io\/kubernetes //p' go.mod)
cached "k8s-$version-$key" "$PWD/build.sh" fill

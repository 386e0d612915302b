# SPDX-FileCopyrightText: The weft Authors
# SPDX-License-Identifier: Apache-2.0
#
# The proving lanes (e2e/README.md). Each target is usable alone, installs what
# it needs and ends with "lane NAME: ..."; one that cannot run here says why, and
# fails where REQUIRE_LANES (names, comma-separated, or "all") asks for it.

##@ Proving lanes

# What test-netns runs, and of it what test-guest runs once more: packages that
# ask the kernel for links, rules and routes. plugins/ipam and libs/lease ask for
# none, and their thousands of processes take minutes on the guest's one CPU.
NETNS_PKGS ?= ./libs/... ./plugins/ipam/... ./plugins/coordinator/... ./e2e/readme ./e2e/datapath ./e2e/kernel/... ./e2e/guest/...
GUEST_PKGS ?= ./libs/cnitest ./libs/journal ./libs/netns ./libs/netplan/... ./libs/nettest ./plugins/coordinator/... \
	./e2e/datapath ./e2e/kernel/...
SRIOV_PKGS ?= ./e2e/kernel/device
# Packages of the module e2e that ask api.Start for a server.
API_PKGS   ?= ./api ./leasestore ./agent ./controller
N          ?= 2

.PHONY: test-netns
test-netns: plugins ## This machine's kernel, network namespaces: the tests that need no other.
	@e2e/guest/suite.sh netns $(NETNS_PKGS)

.PHONY: test-guest
test-guest: plugins ## The same tests on a guest kernel with VLAN, bond, ipvlan, VRF, RDMA.
	@WEFT_REQUIRE=vlan,bond,ipvlan,vrf,nft,rxe e2e/guest/suite.sh guest $(GUEST_PKGS)

.PHONY: test-sriov
test-sriov: ## Real virtual functions and an RDMA device on one, in an emulated machine.
	@WEFT_REQUIRE=sriov,rxe e2e/guest/suite.sh sriov $(SRIOV_PKGS)

.PHONY: test-api
test-api: ## kube-apiserver and etcd: the CRDs of the chart and what they refuse.
	@e2e/api/test.sh $(API_PKGS)

.PHONY: test-cluster
test-cluster: plugins ## Two real nodes: a pod with a macvlan NIC of weft's, from Running to gone.
	@e2e/cluster/test.sh

.PHONY: cluster-up
cluster-up: plugins ## A cluster of N=2 nodes on this machine, weft's plugins installed.
	@e2e/cluster/cluster.sh up $(N)

.PHONY: cluster-down
cluster-down: ## End that cluster.
	@e2e/cluster/cluster.sh down

.PHONY: lanes-build lanes-build-kernel lanes-build-k8s
lanes-build: lanes-build-kernel lanes-build-k8s ## Fill the cache; with -j2 both builds side by side, a core each.
lanes-build-kernel:
	@WEFT_JOBS=1 e2e/guest/kernel.sh
lanes-build-k8s:
	@WEFT_JOBS=1 e2e/cluster/k8s/build.sh

.PHONY: lanes-tools
lanes-tools: ## helm, kwok, controller-gen, kubeconform, ginkgo into bin/tools, at the cluster's versions.
	@mkdir -p bin/tools && cd e2e/cluster/k8s && GOWORK=off GOFLAGS=-trimpath go build -o ../../../bin/tools/ helm.sh/helm/v3/cmd/helm \
		sigs.k8s.io/kwok/cmd/kwok sigs.k8s.io/controller-tools/cmd/controller-gen github.com/onsi/ginkgo/v2/ginkgo github.com/yannh/kubeconform/cmd/kubeconform

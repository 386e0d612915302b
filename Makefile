# SPDX-FileCopyrightText: The weft Authors
# SPDX-License-Identifier: Apache-2.0
#
# Every target is usable alone and installs what it needs. Logic lives in Go or
# in the scripts beside what they build; the proving lanes are in lanes.mk.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS   += --no-builtin-rules --no-print-directory
.DELETE_ON_ERROR:

export CGO_ENABLED := 0
export GOFLAGS     := -trimpath
export WEFT_CACHE  ?= /var/cache/weft
export WEFT_BIN    := $(CURDIR)/bin

MODULES := libs libs/k8s controller plugins/ipam plugins/coordinator e2e
PLUGINS := ipam coordinator
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X github.com/weft-cni/weft/libs/cniplugin.version=$(VERSION)

.PHONY: help
help: ## Show the targets.
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

include lanes.mk

##@ The two commands of the README

.PHONY: demo
demo: plugins ## Two pods on an underlay made of namespaces: attach, reach, check, remove.
	@tools/need.sh ip:iproute2 nft:nftables ping:iputils-ping
	@cd e2e/demo && GOWORK=off go test -c -o ../../bin/weft-demo . && ../../bin/weft-demo

.PHONY: test
test: test-unit test-netns test-guest test-api test-cluster ## Everything but the SR-IOV lane and the linters.
	@echo "make test: every lane passed"

##@ Build

.PHONY: build
build: ## Build weft's plugins, stripped and static, each from its own module.
	@mkdir -p bin
	@for p in $(PLUGINS); do (cd plugins/$$p && GOWORK=off go build -ldflags '$(LDFLAGS)' -o ../../bin/weft-$$p .); done

.PHONY: plugins
plugins: build ## Build weft's plugins and the reference plugins that tests run beside them.
	@cd e2e && GOWORK=off go build -ldflags '-s -w' -o ../bin/ $$(sed -n 's,^\tgithub.com/containernetworking/plugins/plugins/,github.com/containernetworking/plugins/plugins/,p' go.mod)
	@cd plugins/ipam && GOWORK=off go build -tags crashpoints -o ../../bin/crash/weft-ipam .

##@ Tests

.PHONY: test-unit
test-unit: ## Each module alone (GOWORK=off): vet and build; the repository's own rules.
	@n=0; for m in $(MODULES); do echo "== $$m"; (cd $$m && GOWORK=off go vet ./...); n=$$((n+1)); done; \
	 want=$$(grep -c '^[[:space:]]*\./' go.work); test $$n = $$want || { echo "visited $$n modules, go.work has $$want"; exit 1; }
	@cd e2e && GOWORK=off go test ./repo/...

.PHONY: bench-ipam
bench-ipam: plugins ## weft-ipam against host-local, whole plugins, one table with the budgets.
	@cd e2e && GOWORK=off go run ./bench/ipam

.PHONY: bench-ipam-cluster
bench-ipam-cluster: ## The lease store of a cluster beside a bare create, at 1, 10 and 100 nodes.
	@e2e/bench/cluster/bench.sh

.PHONY: bench-coordinator
bench-coordinator: plugins ## weft-coordinator's ADD step by step, with the budgets.
	@cd plugins/coordinator && WEFT_BENCH=1 GOWORK=off go test -count=1 -run '^TestBudget$$' -v .

##@ Upkeep

.PHONY: lint
lint: ## golangci-lint on every module, shellcheck on every script.
	@tools/lint.sh

.PHONY: generate
generate: ## Regenerate CRDs, deepcopy and docs.
	@for m in libs libs/k8s; do (cd $$m && GOWORK=off GOFLAGS=-mod=mod go generate ./...); done

.PHONY: tidy
tidy: ## go mod tidy in every module.
	@for m in $(MODULES) tools; do (cd $$m && GOWORK=off go mod tidy); done

.PHONY: verify
verify: generate tidy ## Fail when generated or tidied files differ from what is committed.
	@git diff --exit-code --stat

.PHONY: clean
clean: ## Remove what was built here; the cache outside the tree stays.
	@rm -rf bin

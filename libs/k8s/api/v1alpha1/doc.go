// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 holds the resources of weft.dev/v1alpha1: what users write
// (IPPool), what weft records (IPLease) and what steers it (IPHint).
//
// The comments on fields are user documentation: they become the text of
// "kubectl explain" and of the CRDs in charts/weft/crds, which are generated
// from this package (go generate ./...). Everything that one object can show to
// be wrong is refused by a CEL rule in its schema, with a message that says
// what to write instead; there is no webhook. What only several objects
// together can show to be wrong (overlap of pools) is reported as a condition.
//
// The package has no behaviour and no client; plugins never import it.
//
// +kubebuilder:object:generate=true
// +groupName=weft.dev
package v1alpha1

//go:generate go run sigs.k8s.io/controller-tools/cmd/controller-gen@v0.21.0 object:headerFile=boilerplate.go.txt crd:crdVersions=v1 paths=. output:crd:dir=../../../../charts/weft/crds

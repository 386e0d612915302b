// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package repo holds the repository against its own rules: package docs, licence headers, names, sizes, links, modules,
// and what the plugin binaries link.
//
// Every rule about files is a function from a tree to the places that break it, so that its test can also show, on a
// tree made wrong on purpose, that it would notice. Rules about the text inside Go functions belong to golangci-lint.
//
// Failure model: a rule reports, it never repairs; a file that cannot be read or parsed is itself a finding.
package repo

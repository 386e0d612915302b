// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package readme executes the documentation: every conflist block of every
// Markdown file in the repository runs through each verb with real binaries,
// in a network of its own, and must leave the host as it was.
package readme

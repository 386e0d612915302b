// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package errcode

//go:generate go run ./gen ../../docs/errors.md

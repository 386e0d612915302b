#!/bin/bash
# SPDX-FileCopyrightText: The weft Authors
# SPDX-License-Identifier: Apache-2.0
#
# plugins.sh: the reference plugins and, from $WEFT_BIN, weft's into this node,
# each under another name first, so that a runtime never sees half a file.
set -euo pipefail
mkdir -p /opt/cni/bin
for f in "$K8S"/cni/* "${WEFT_BIN:?}"/weft-ipam "$WEFT_BIN"/weft-coordinator; do
	[ -e "$f" ] || continue
	cp "$f" "/opt/cni/bin/.new"
	mv /opt/cni/bin/.new "/opt/cni/bin/$(basename "$f")"
done

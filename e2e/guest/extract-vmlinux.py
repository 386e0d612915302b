#!/usr/bin/env python3
# SPDX-FileCopyrightText: The weft Authors
# SPDX-License-Identifier: Apache-2.0
"""extract-vmlinux.py BZIMAGE OUT: the ELF kernel inside a compressed one, so
that the emulated processor need not unpack it (Linux boot protocol 2.08)."""
import gzip
import lzma
import struct
import subprocess
import sys

image = open(sys.argv[1], "rb").read()
start = ((image[0x1F1] or 4) + 1) * 512 + struct.unpack_from("<I", image, 0x248)[0]
payload = image[start:start + struct.unpack_from("<I", image, 0x24C)[0]]
if payload[:6] == b"\xfd7zXZ\x00":
    kernel = lzma.LZMADecompressor().decompress(payload)
elif payload[:2] == b"\x1f\x8b":
    kernel = gzip.decompress(payload[:-4])
elif payload[:4] == b"\x28\xb5\x2f\xfd":  # the last four bytes are the length
    kernel = subprocess.run(["zstd", "-qdc"], input=payload[:-4], stdout=subprocess.PIPE, check=True).stdout
else:
    sys.exit("extract-vmlinux.py: unknown compression " + payload[:6].hex())
open(sys.argv[2], "wb").write(kernel)

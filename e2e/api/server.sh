#!/bin/bash
# SPDX-FileCopyrightText: The weft Authors
# SPDX-License-Identifier: Apache-2.0
#
# server.sh ETCD PEER API: etcd and kube-apiserver on these loopback ports. It is
# the first process of mount and pid namespaces of its own, with its files on a
# tmpfs only it sees: ended in any way, it leaves nothing. $WEFT_K8S is the folder
# of the programs; the variables PKI_* become files.
set -euo pipefail
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/pki
cd /run/pki
for name in CA SERVER_CERT SERVER_KEY SIGN_CERT SIGN_KEY; do
	file=PKI_$name
	(umask 077 && printf '%s' "${!file}" >"$name")
	unset "$file"
done

"$WEFT_K8S/etcd" --data-dir /run/etcd --unsafe-no-fsync --log-level warn \
	--listen-client-urls "http://127.0.0.1:$1" --advertise-client-urls "http://127.0.0.1:$1" \
	--listen-peer-urls "http://127.0.0.1:$2" --initial-advertise-peer-urls "http://127.0.0.1:$2" --initial-cluster "default=http://127.0.0.1:$2" &
"$WEFT_K8S/kube-apiserver" --etcd-servers "http://127.0.0.1:$1" --bind-address 127.0.0.1 --secure-port "$3" \
	--tls-cert-file SERVER_CERT --tls-private-key-file SERVER_KEY --client-ca-file CA \
	--service-account-issuer https://kubernetes.default.svc --service-account-key-file SIGN_CERT --service-account-signing-key-file SIGN_KEY \
	--service-cluster-ip-range 10.96.0.0/16,fd00:96::/112 --authorization-mode Node,RBAC \
	--disable-admission-plugins ServiceAccount --allow-privileged=true &
wait -n

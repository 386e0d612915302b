# shellcheck shell=bash
# SPDX-FileCopyrightText: The weft Authors
# SPDX-License-Identifier: Apache-2.0
#
# command.sh: the command line of uml.sh and qemu.sh as the script /out/command,
# and its exit code. Sourced with $out set and the arguments in "$@".
rm -f "${out:?}/rc"
{
	export -p | grep -vE '^declare -x (OUT|KERNEL|MODULES|QEMU_FILES|MEM|CPUS|TIMEOUT|TMPDIR)=' | sed 's/^declare -x /export /'
	# shellcheck disable=SC2016 # the guest's PATH
	printf 'export PATH=$PATH:/usr/sbin:/sbin\ncd %q || exit 98\nexec' "$PWD"
	printf ' %q' "$@"
	echo
} >"$out/command"

guest_rc() {
	if [ ! -e "$out/rc" ]; then
		cat "$out/stderr" >&2
		echo "the guest ended before the program did" >&2
		exit 255
	fi
	exit "$(cat "$out/rc")"
}

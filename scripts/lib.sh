# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Sourced by the other scripts: where things are, how to complain, and what
# the user may ask for.

# shellcheck disable=SC2034 # used by those who source this file
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
build=$top/build
cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/netmem
self=${0##*/}

say()
{
	echo "$self: $*" >&2
}

die()
{
	say "$*"
	exit 1
}

# What the user asked for makes no sense.
usage_error()
{
	say "$*"
	exit 2
}

# --help prints the comment at the top of the script.
maybe_help()
{
	case ${1-} in
	'')
		;;
	-h|--help)
		sed -n '4,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0"
		exit 0
		;;
	*)
		usage_error "unknown argument '$1' (try --help)"
		;;
	esac
}

# Read one value of kernel.pin.
pin()
{
	sed -n "s/^$1=//p" "$top/kernel.pin"
}

# KERNEL=patched|stock|stock-nic|debug|debug-stock|bench|bench-stock
check_kernel()
{
	KERNEL=${KERNEL:-patched}
	case $KERNEL in
	patched|stock|stock-nic|debug|debug-stock|bench|bench-stock)
		;;
	*)
		usage_error "KERNEL=$KERNEL: patched, stock, stock-nic, debug, debug-stock, bench or bench-stock"
		;;
	esac
}

# KERNEL_SRC=path, where Debian's package is not to be had or not wanted
check_kernel_src()
{
	[ -z "${KERNEL_SRC:-}" ] || [ -e "$KERNEL_SRC" ] ||
		usage_error "KERNEL_SRC=$KERNEL_SRC: a linux-$(pin package | sed 's/.*-//').y tree or tarball"
}

# git that does the same whatever the user's configuration says.
plain_git()
{
	GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 \
		git -c safe.directory='*' -c core.autocrlf=false \
		-c core.attributesFile="$top/scripts/c.attributes" \
		-c core.quotePath=false -c gc.auto=0 -c advice.detachedHead=false \
		"$@"
}

# Hold a lock on $1 until the script ends: two builds must not mix.
lock()
{
	mkdir -p "$(dirname "$1")"
	exec 9>"$1"
	if ! flock -n 9; then
		say "waiting for another run ($1)"
		flock 9
	fi
}

# A checksum over what build/linux is made of: patches and new files.
series_state()
{
	local dirs=(patches) i

	for i in "$top"/*/; do
		i=$(basename "$i")
		[ "$i" = scripts ] || [ ! -d "$build/linux/$i" ] || dirs+=("$i")
	done
	(cd "$top" && find "${dirs[@]}" -type f -printf '%m %p\0' | LC_ALL=C sort -z &&
		find "${dirs[@]}" -type f -print0 | LC_ALL=C sort -z |
		xargs -0 sha256sum) | sha256sum | cut -d' ' -f1
}

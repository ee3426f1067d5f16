#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
#	init netns              netns nm-tx
#	  nm-rx <------------------ nm-tx
#	192.0.2.1               192.0.2.2
#
# A veth pair whose receiver runs an XDP program that takes frags: veth copies
# each packet into pages of its page_pool before. Of a packet 3454 bytes are
# payload in the page that begins with the headers, 64946 - 52 - 3454 fill 15
# whole pages.

set -eu

XDP_PASS=${XDP_PASS:-xdp-pass}
bpffs=/sys/fs/bpf

usage()
{
	cat <<-EOF
	Usage: ${0##*/} up
	       ${0##*/} down

	Create or remove a pair of veth devices: the receiver nm-rx (192.0.2.1/24)
	and, in the netns nm-tx, the sender nm-tx (192.0.2.2/24). Runs as root.

	The XDP program is attached by the program \$XDP_PASS, "$XDP_PASS" if unset.
	EOF
}

# configure DEV HOST [IP OPTION...]
configure()
{
	dev=$1
	host=$2
	shift 2

	ip "$@" link set lo up
	ip "$@" link set "$dev" mtu 64946
	ip "$@" addr add "192.0.2.$host/24" dev "$dev"
	ip "$@" link set "$dev" up
}

up()
{
	ip netns add nm-tx
	ip link add nm-rx type veth peer name nm-tx netns nm-tx
	mountpoint -q $bpffs || mount -t bpf bpf $bpffs
	"$XDP_PASS" nm-rx $bpffs/nm-rx
	configure nm-rx 1
	configure nm-tx 2 -n nm-tx
}

down()
{
	rm $bpffs/nm-rx
	ip link del nm-rx
	ip netns del nm-tx
}

case ${1:-} in
-h|--help)
	usage
	;;
up)
	up
	;;
down)
	down
	;;
*)
	usage >&2
	exit 2
	;;
esac

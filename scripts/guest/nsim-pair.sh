#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
#	init netns              netns nm-tx
#	  nm-rx <------------------ nm-tx
#	192.0.2.1               192.0.2.2
#	2001:db8::1             2001:db8::2
#
# Two linked netdevsim devices. The receiver has header-data split on and stays
# in the initial netns, where its page pools can be listed. MTU 4148 leaves
# exactly 4096 bytes to TCP over IPv4 with timestamps: a whole page each packet.

set -eu

id_rx=7301
id_tx=7302
bus=/sys/bus/netdevsim
ring=
queues=1
mtu=4148
hds=on
HDS=${HDS:-hds}

usage()
{
	cat <<-EOF
	Usage: ${0##*/} up [-r RING] [-q QUEUES] [-m MTU] [-n]
	       ${0##*/} down

	Create or remove a pair of linked netdevsim devices: the receiver nm-rx
	(192.0.2.1/24, 2001:db8::1/64) and, in the netns nm-tx, the sender nm-tx
	(192.0.2.2/24, 2001:db8::2/64). Runs as root.

	  -r RING	pages each page pool keeps for reuse, 256 to 4096 [512]
	  -q QUEUES	queues of each device [$queues]
	  -m MTU	of both; 4168 for whole pages over IPv6 [$mtu]
	  -n		no header-data split: packets arrive as they were sent

	Header-data split is set by the program \$HDS, "$HDS" if unset.
	EOF
}

die()
{
	echo "${0##*/}: $*" >&2
	exit 1
}

# The one netdev of bus device $1
netdev()
{
	ls "$bus/devices/netdevsim$1/net"
}

number()
{
	case $2 in
	''|*[!0-9]*) die "$1 must be a number, not '$2'" ;;
	esac
}

# Before the netns goes: its devices would come back to the initial one
down()
{
	if [ -e "$bus/devices/netdevsim$id_rx" ]; then
		echo $id_rx >"$bus/del_device"
	fi
	if [ -e "$bus/devices/netdevsim$id_tx" ]; then
		echo $id_tx >"$bus/del_device"
	fi
	if [ -e /run/netns/nm-tx ]; then
		ip netns del nm-tx
	fi
}

create()
{
	echo "$1 1 $queues" >"$bus/new_device"
	if command -v udevadm >/dev/null; then
		udevadm settle 2>/dev/null || :
	fi
	ip link set "$(netdev "$1")" down
	ip link set "$(netdev "$1")" name "$2"
}

connect()
{
	exec 3</proc/self/ns/net 4</run/netns/nm-tx
	echo "3:$(cat /sys/class/net/nm-rx/ifindex) 4:$(ip netns exec nm-tx \
		cat /sys/class/net/nm-tx/ifindex)" >"$bus/link_device"
	exec 3<&- 4<&-
}

# configure DEV HOST ROLE [IP OPTION...]
configure()
{
	dev=$1
	host=$2
	shift 2

	ip "$@" link set lo up
	ip "$@" link set "$dev" mtu "$mtu"
	ip "$@" addr add "192.0.2.$host/24" dev "$dev"
	ip "$@" addr add "2001:db8::$host/64" dev "$dev" nodad
	ip "$@" link set "$dev" up
}

up()
{
	[ -e "$bus" ] || modprobe netdevsim
	ip netns add nm-tx
	create $id_rx nm-rx
	create $id_tx nm-tx
	ip link set nm-tx netns nm-tx

	[ -z "$ring" ] || ethtool -G nm-rx rx "$ring"
	[ $hds = off ] || "$HDS" nm-rx on

	configure nm-rx 1
	configure nm-tx 2 -n nm-tx
	connect
}

cmd=${1:-}
[ $# -eq 0 ] || shift
case $cmd in
-h|--help)
	usage
	exit
	;;
up|down) ;;
*)
	usage >&2
	exit 2
	;;
esac

while getopts r:q:m:nh opt; do
	case $opt in
	r) ring=$OPTARG; number RING "$ring" ;;
	q) queues=$OPTARG; number QUEUES "$queues" ;;
	m) mtu=$OPTARG; number MTU "$mtu" ;;
	n) hds=off ;;
	h) usage; exit ;;
	*) usage >&2; exit 2 ;;
	esac
done

[ "$(id -u)" -eq 0 ] || die "needs root"

if [ "$cmd" = up ]; then
	trap 'trap - EXIT; down; exit 1' EXIT
	up
	trap - EXIT
else
	down
fi

#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
#	init netns              netns nm-tx
#	  nm-rx <------------------ nm-tx
#	192.0.2.1               192.0.2.2
#
# The two devices that scripts/vm makes with NIC=, set up as nsim-pair.sh does
# its own: the receiver stays in the initial netns, and a full segment fills
# whole pages of it.

set -eu

rx_mac=52:54:00:4e:4d:01
tx_mac=52:54:00:4e:4d:02

usage()
{
	cat <<-EOF
	Usage: ${0##*/} up
	       ${0##*/} down

	Name the pair of devices that QEMU has at one hub nm-rx (192.0.2.1/24) and,
	in the netns nm-tx, nm-tx (192.0.2.2/24), and bring them up, or give them
	back. Runs as root.
	EOF
}

die()
{
	echo "${0##*/}: $*" >&2
	exit 1
}

# The device with hardware address $1
netdev()
{
	for address in /sys/class/net/*/address; do
		if [ "$(cat "$address")" = "$1" ]; then
			basename "${address%/address}"
			return
		fi
	done
	die "no device $1: boot with NIC=e1000e or NIC=virtio"
}

driver()
{
	basename "$(readlink -f "/sys/class/net/$1/device/driver")"
}

# e1000e splits headers from data by itself with an MTU above 1500. Segments
# that QEMU cuts it sends as fragments, which cannot be mapped.
# virtio_net has whole pages from the second buffer of a packet on.
setup()
{
	name=$1
	host=$2
	shift 2

	ip "$@" link set lo up
	if [ "$driver" = e1000e ]; then
		ip "$@" link set "$name" mtu 4148
		if [ $# -gt 0 ]; then
			ip netns exec nm-tx ethtool -K "$name" tso off
		fi
	else
		ip "$@" link set "$name" mtu 61414
	fi
	ip "$@" addr add "192.0.2.$host/24" dev "$name"
	ip "$@" link set "$name" up
}

# The driver takes a moment to see the link
wait_carrier()
{
	i=0
	while [ "$(cat /sys/class/net/nm-rx/carrier)" != 1 ] ||
	      [ "$(ip netns exec nm-tx cat /sys/class/net/nm-tx/carrier)" != 1 ]; do
		[ $i -lt 100 ] || die "no link"
		i=$((i + 1))
		sleep 0.1
	done
}

up()
{
	rx=$(netdev $rx_mac)
	tx=$(netdev $tx_mac)
	driver=$(driver "$rx")

	ip netns add nm-tx
	ip link set "$rx" name nm-rx
	ip link set "$tx" name nm-tx
	ip link set nm-tx netns nm-tx
	setup nm-rx 1
	setup nm-tx 2 -n nm-tx
	wait_carrier
}

# A device goes back to the initial netns with its own
down()
{
	ip link set nm-rx down
	ip addr flush dev nm-rx
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

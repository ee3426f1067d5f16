# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Sourced by tests that run inside the guest and have a server receive into
# memory of a provider, from the netns that nsim-pair.sh makes. Who sources it
# sets $bin, where the programs are, and, for servers elsewhere, $netns.

# shellcheck disable=SC2154 # $here, $bin: of those who source this file
tmp=$(mktemp -d)
out=$tmp/out
cgroup=/sys/fs/cgroup/nm-server
port=5201
addr=2001:db8::1
hugepages=40
number=0 status=0 server='' senders=()
netns=	# of servers, if not the initial one

stop()
{
	local pid

	# bash tells of each that was killed, unless it is waited for
	for pid in $server "${senders[@]}"; do
		kill -9 "$pid" 2>/dev/null || :
		wait "$pid" 2>/dev/null || :
	done
	server='' senders=()
}

cleanup()
{
	stop
	"$here/nsim-pair.sh" down
	sysctl -qw net.core.skb_defer_max="$defer"
	echo 0 >/proc/sys/vm/nr_hugepages
	until_ok rmdir "$cgroup"
	rm -rf "$tmp"
}

# check NAME COMMAND...: one test, passed if the command succeeds
check()
{
	local name=$1 rc=0

	shift
	"$@" || rc=$?
	stop
	number=$((number + 1))
	if [ "$rc" -eq 0 ]; then
		echo "ok $number $name"
	else
		tail -n 20 "$out" | sed 's/^/# /'
		echo "not ok $number $name"
		status=1
	fi
}

# Packets that were read would keep buffers until their CPU receives another one.
begin()
{
	echo "TAP version 13"
	defer=$(sysctl -n net.core.skb_defer_max)
	sysctl -qw net.core.skb_defer_max=0
	echo +memory >/sys/fs/cgroup/cgroup.subtree_control
	mkdir "$cgroup"
	trap cleanup EXIT
	up
}

end()
{
	echo "1..$number"
	exit "$status"
}

# Wait until the command succeeds, 60 seconds at most.
until_ok()
{
	local end=$((SECONDS + 60))

	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.1
	done
}

# A packet of 4168 is a page of payload
up()
{
	HDS=$bin/hds "$here/nsim-pair.sh" up -m 4168
}

set_mtu()
{
	ip link set nm-rx mtu "$1"
	ip -n nm-tx link set nm-tx mtu "$1"
}

huge_pages()
{
	echo "$hugepages" >/proc/sys/vm/nr_hugepages
	all_free
}

# Does nobody have huge pages?
all_free()
{
	[ "$(sed -n 's/^HugePages_Free: *//p' /proc/meminfo)" -eq "$hugepages" ]
}

listening()
{
	ss ${netns:+-N "$netns"} -Hltn "sport = :$port" | grep -q .
}

# A killed one may take a moment
not_listening()
{
	! listening
}

listening_or_gone()
{
	listening || ! kill -0 "$server" 2>/dev/null
}

# start COMMAND...: a server, in a cgroup of its own. Fails if it does.
start()
{
	until_ok not_listening || return 1
	# shellcheck disable=SC2016 # for the shell that enters
	sh -c 'echo 0 >"$0/cgroup.procs" && exec "$@"' "$cgroup" \
		${netns:+ip netns exec "$netns"} "$@" >"$tmp/received" 2>"$out" &
	server=$!
	until_ok listening_or_gone && listening
}

finish()
{
	wait "$server" || return 1
	server=
}

# bound FIELD N: has nm-rx N page pools with this kind of provider?
bound()
{
	"$bin/ynltool" --json page-pool list | jq -e --arg field "$1" --argjson nr "$2" \
		'[.pools[] | select(.ifname == "nm-rx" and .[$field])] | length == $nr' >/dev/null
}

# provided BYTES: does the server's cgroup count that much as given to the network?
provided()
{
	[ "$(sed -n 's/^netmem_provider //p' "$cgroup/memory.stat")" = "$1" ]
}

# reported FIELD BYTES: does a pool of nm-rx say that this provider has that much
# of the server's cgroup, and does the cgroup say so?
reported()
{
	until_ok provided "$2" &&
		"$bin/ynltool" --json page-pool list | jq -e --arg field "$1" --argjson bytes "$2" \
			--arg cgroup "$cgroup" 'any(.pools[]; .ifname == "nm-rx" and .[$field] and
				.provider_bytes == $bytes and .provider_cgroup == $cgroup)' >/dev/null
}

pattern()
{
	yes "$(printf '\1\2\3\4\5\6')"
}

# In a process of its own, at the end of a pipe
send()
{
	exec ip netns exec nm-tx socat -u - "TCP6:[$addr]:$port,sndbuf=1000000"
}

# plain FIELD [N]: when no provider is left, or N of this kind, are pages received
# as ever?
plain()
{
	until_ok bound "$1" "${2:-0}" || return 1
	start socat -u "TCP6-LISTEN:$port,reuseaddr" - || return 1
	pattern | head -c $((1 << 20)) | send || return 1
	finish && cmp <(pattern | head -c $((1 << 20))) "$tmp/received"
}

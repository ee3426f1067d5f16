// SPDX-License-Identifier: GPL-2.0
/*
 * What receiving by copy and forwarding cost: nanoseconds per page of payload, by
 * netdevsim the receiver's alone, too, see netmem_sides.h; by loopback and through
 * a forwarder all told, from the sender's system call to the receiver's. In a
 * virtual machine of one CPU whose clock counts instructions (QEMU's -icount
 * shift=0) these are instructions, and the same on every run to a few in ten
 * thousand. The CPU is never idle: what a burst brings is read while the next one
 * is under way.
 *
 * Usage: netmem_cost [TEST...]
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#include "netmem_sides.h"

#define RING	1024
#define BURST	32
#define WARM_UP	64		/* bursts */
#define BURSTS	1024

static struct nm_pair pair, far;
static struct nm_conn conn;
static char pages[BURST * NM_PAGE];

/* @size at once: a datagram, or as much of a stream as fills large packets */
static void send_burst(int tx, size_t size)
{
	size_t done;

	for (done = 0; done < sizeof(pages); done += size)
		nm_check_eq(send(tx, pages, size, 0), size, "bytes sent");
}

static void recv_burst(int rx)
{
	unsigned int i;

	for (i = 0; i < BURST; i++)
		nm_check_eq(recv(rx, pages, NM_PAGE, MSG_WAITALL), NM_PAGE,
			    "bytes received");
}

static void bursts(int tx, size_t size, int rx, unsigned int nr)
{
	while (nr--) {
		send_burst(tx, size);
		nm_sides_now(NM_RECEIVE);
		recv_burst(rx);
		nm_sides_now(NM_SEND);
	}
}

static void measure(const char *what, int tx, size_t size, int rx)
{
	/* What the loop lags behind by, or recv_burst() would have to wait */
	send_burst(tx, size);
	bursts(tx, size, rx, WARM_UP);
	nm_sides_start();
	bursts(tx, size, rx, BURSTS);
	nm_sides_report(what, BURST * BURSTS);
}

static void udp_socket(void *arg)
{
	int *fd = arg;

	*fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	nm_check(*fd >= 0, "socket");
}

static void measure_udp(const char *what, int ns_tx, int ns_rx,
			const char *addr)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	socklen_t len = sizeof(sin);
	int rx, tx;

	inet_pton(AF_INET, addr, &sin.sin_addr);
	nm_in_ns(ns_rx, udp_socket, &rx);
	nm_set_rcvbuf(rx, NM_RCVBUF);
	nm_check(!bind(rx, (void *)&sin, len), "bind %s", addr);
	nm_check(!getsockname(rx, (void *)&sin, &len), "name");
	nm_in_ns(ns_tx, udp_socket, &tx);
	nm_check(!connect(tx, (void *)&sin, len), "connect %s", addr);

	measure(what, tx, NM_PAGE, rx);
}

static void measure_tcp(const char *what, int ns_tx, int ns_rx,
			const char *addr)
{
	nm_conn_open(&conn, ns_rx, ns_tx, addr);
	measure(what, conn.tx, sizeof(pages), nm_conn_accept(&conn));
}

static void create_pair(bool hds)
{
	nm_pair_create(&pair, RING);
	nm_rings_set(pair.rx_name, RING, hds);
	nm_sides_init(&pair);
}

/* Received with header-data split, into pages of the pool, and copied */
static void udp_receive(void)
{
	create_pair(true);
	measure_udp(__func__, pair.ns_tx, -1, NM_ADDR_RX);
}

static void tcp_receive(void)
{
	create_pair(true);
	measure_tcp(__func__, pair.ns_tx, -1, NM_ADDR_RX);
}

/* Without: the packet is the sender's, in one piece, and no pool is used */
static void udp_receive_linear(void)
{
	create_pair(false);
	measure_udp(__func__, pair.ns_tx, -1, NM_ADDR_RX);
}

static void tcp_receive_linear(void)
{
	create_pair(false);
	measure_tcp(__func__, pair.ns_tx, -1, NM_ADDR_RX);
}

static void udp_loopback(void)
{
	measure_udp(__func__, -1, -1, NM_ADDR_LO);
}

static void tcp_loopback(void)
{
	measure_tcp(__func__, -1, -1, NM_ADDR_LO);
}

static int open_far(void)
{
	int ns = nm_new_ns();

	nm_pair_create(&pair, RING);
	nm_pair_extend(&pair, &far, RING, ns);

	return ns;
}

/* By one pair, out by another: datagrams one by one, ... */
static void udp_forward(void)
{
	int ns = open_far();

	measure_udp(__func__, pair.ns_tx, ns, NM_ADDR_FAR);
}

/* ... a stream in what GRO makes of it */
static void tcp_forward(void)
{
	int ns = open_far();

	measure_tcp(__func__, pair.ns_tx, ns, NM_ADDR_FAR);
}

static const struct nm_test tests[] = {
	NM_TEST(udp_receive),
	NM_TEST(tcp_receive),
	NM_TEST(udp_receive_linear),
	NM_TEST(tcp_receive_linear),
	NM_TEST(udp_loopback),
	NM_TEST(tcp_loopback),
	NM_TEST(udp_forward),
	NM_TEST(tcp_forward),
};

int main(int argc, char **argv)
{
	const struct nm_suite suite = {
		.tests = tests,
		.nr = ARRAY_SIZE(tests),
	};

	return nm_run(argc, argv, &suite);
}

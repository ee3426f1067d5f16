// SPDX-License-Identifier: GPL-2.0
/*
 * Idle pages of page_pools under memory pressure: fills rings of page_pools, runs
 * a program that needs more memory than there is, and looks at what is idle when
 * the OOM killer comes. It has to be next to nothing by then.
 *
 * On stock 7.3: fails, the pages stay where they are.
 *
 * Usage: netmem_pressure MiB COMMAND...
 *   MiB	to be idle before COMMAND starts
 *   COMMAND	has to be what the OOM killer chooses, not this program
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "netmem_lib.h"

/* The largest ring that a page_pool has, and enough of them for some to spare */
#define RING		16384U
#define QUEUES		10U
#define BURST		32U
/* May be left when memory has run out */
#define MAX_LEFT	5	/* percent */
#define LOOK_MS		250

static struct nm_pair pair = { .queues = QUEUES };
static char page[NM_PAGE];
static char **command;
static long mib;

/* Idle or not: what pools have got. Stock tells that, too. */
static long pool_pages(void)
{
	struct nm_pool pools[NM_MAX_POOLS];
	unsigned int i, nr = nm_pools(pools, NM_MAX_POOLS);
	long pages = 0;

	for (i = 0; i < nr; i++)
		pages += pools[i].inflight;

	return pages;
}

static void udp_socket(void *arg)
{
	int *fd = arg;

	*fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	nm_check(*fd >= 0, "socket");
}

/* A datagram is a page. Some may be dropped: NAPI may lag behind. */
static void send_burst(const struct sockaddr_in *to)
{
	unsigned int i;
	int fd;

	nm_in_ns(pair.ns_tx, udp_socket, &fd);
	nm_check(!connect(fd, (void *)to, sizeof(*to)), "connect");
	for (i = 0; i < BURST; i++)
		nm_check_eq(send(fd, page, NM_PAGE, 0), NM_PAGE, "bytes sent");
	close(fd);
}

/* Has them wait in a socket and reads them: the pages go to the rings. */
static void fill_pools(void)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	socklen_t len = sizeof(sin);
	int all = (mib << 20) * 2, fd;

	nm_pair_create(&pair, RING);
	nm_check(!nm_write("/proc/sys/net/ipv4/udp_mem", "262144 262144 262144"),
		 "udp_mem");
	inet_pton(AF_INET, NM_ADDR_RX, &sin.sin_addr);
	udp_socket(&fd);
	nm_check(!setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &all, sizeof(all)),
		 "SO_RCVBUFFORCE");
	nm_check(!bind(fd, (void *)&sin, len), "bind");
	nm_check(!getsockname(fd, (void *)&sin, &len), "name");

	while (pool_pages() < mib << 8)
		send_burst(&sin);
	while (recv(fd, page, NM_PAGE, MSG_DONTWAIT) > 0)
		;
	close(fd);
}

static void run_command(void *arg)
{
	FILE *adj = fopen("/proc/self/oom_score_adj", "w");

	nm_check(adj && fputs("1000", adj) > 0 && !fclose(adj), "oom_score_adj");
	execvp(command[0], command);
	nm_fail("%s", command[0]);
}

static void idle_goes_first(void)
{
	long kills = nm_key("/proc/vmstat", "oom_kill"), idle, left, least;
	pid_t child;
	int status;

	fill_pools();
	idle = pool_pages();
	least = idle;
	ksft_print_msg("%ld MiB idle in %u pools, MemFree %ld MiB\n", idle >> 8,
		       QUEUES, nm_key("/proc/meminfo", "MemFree:") >> 10);

	child = nm_fork(run_command, NULL);
	do {
		nm_until(false, LOOK_MS);
		left = pool_pages();
		if (left < least)
			least = left;
	} while (nm_key("/proc/vmstat", "oom_kill") == kills &&
		 !waitpid(child, &status, WNOHANG));
	left = pool_pages();
	if (left < least)
		least = left;

	ksft_print_msg("%s; %ld of %ld MiB were still with the pools\n",
		       nm_key("/proc/vmstat", "oom_kill") == kills ?
		       "nothing was killed" : "the OOM killer came",
		       least >> 8, idle >> 8);
	nm_check(least * 100 <= idle * MAX_LEFT, "too much was left");
}

static const struct nm_test tests[] = {
	NM_TEST(idle_goes_first),
};

int main(int argc, char **argv)
{
	const struct nm_suite suite = {
		.tests = tests,
		.nr = ARRAY_SIZE(tests),
	};

	mib = argc > 2 ? atol(argv[1]) : 0;
	if (mib < 1 || mib > QUEUES * RING >> 9) {
		fprintf(stderr, "usage: netmem_pressure MiB COMMAND..., MiB from 1 to %u\n",
			QUEUES * RING >> 9);
		return KSFT_FAIL;
	}
	command = argv + 2;

	return nm_run(1, argv, &suite);
}

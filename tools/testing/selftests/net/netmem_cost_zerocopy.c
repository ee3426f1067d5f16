// SPDX-License-Identifier: GPL-2.0
/*
 * What TCP receive zero copy costs: nanoseconds per page, the receiver's alone,
 * from the driver's NAPI poll to the unmapping, see netmem_sides.h. With a clock
 * that counts instructions, see netmem_cost.c, these are instructions. Beside each
 * figure: pages for each of which the pool had to get (and map for DMA) a new one,
 * and those that left it.
 *
 * A page that is unmapped while its packet is still there is not lent: so what is
 * mapped is held for a while, as it is in use.
 *
 * Usage: netmem_cost_zerocopy [TEST...]
 *	CGROUPS=dir	a cgroup, with the memory controller on for those below it
 */
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "netmem_sides.h"

#define RING		4096
#define BURST		64		/* pages sent and mapped at a time */
#define MIB		((1 << 20) / NM_PAGE)
#define PAGES		32768		/* that are measured, at least */
#define MUNMAP		512
#define BULK		64		/* PP_ALLOC_CACHE_REFILL */

static struct nm_pair pair;
static char data[BURST * NM_PAGE];

/* One end of a stream, and where it is mapped */
struct end {
	struct nm_conn conn;
	int fd;
	char *area;
	size_t pages;
	size_t used;
};

static void end_open(struct end *end)
{
	nm_conn_open(&end->conn, -1, pair.ns_tx, NM_ADDR_RX);
}

static void end_accept(struct end *end, size_t pages)
{
	end->fd = nm_conn_accept(&end->conn);
	end->pages = pages;
	end->used = 0;
	end->area = mmap(NULL, pages * NM_PAGE, PROT_READ, MAP_SHARED, end->fd, 0);
	nm_check(end->area != MAP_FAILED, "mmap of a socket");
}

static void end_send(const struct end *end, size_t pages)
{
	nm_check_eq(send(end->conn.tx, data, pages * NM_PAGE, 0),
		    pages * NM_PAGE, "bytes sent");
}

static void end_wait(const struct end *end)
{
	struct pollfd pfd = { .fd = end->fd, .events = POLLIN };

	nm_check_eq(poll(&pfd, 1, NM_TIMEOUT_MS), 1, "sockets ready");
}

static void end_map(struct end *end, size_t pages)
{
	struct tcp_zerocopy_receive zc = {};
	socklen_t len = sizeof(zc);

	while (pages) {
		zc.address = (uintptr_t)end->area + end->used * NM_PAGE;
		zc.length = pages * NM_PAGE;
		zc.recv_skip_hint = 0;
		nm_check(!getsockopt(end->fd, IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE,
				     &zc, &len), "TCP_ZEROCOPY_RECEIVE");
		nm_check_eq(zc.recv_skip_hint, 0, "bytes to be copied");
		end->used += zc.length / NM_PAGE;
		pages -= zc.length / NM_PAGE;
		if (pages)
			end_wait(end);
	}
}

static void end_unmap(struct end *end)
{
	nm_check(!madvise(end->area, end->used * NM_PAGE, MADV_DONTNEED),
		 "madvise");
	end->used = 0;
}

static void report(const char *what, unsigned int pages,
		   const struct nm_pool *before)
{
	struct nm_pool now;

	nm_sides_report(what, pages);
	nm_check(nm_pool_get(pair.rx_ifindex, &now), "no pool");
	/* Each time it gets that many at once, and maps them for DMA. */
	ksft_print_msg("%s/new: %.4f pages per page\n", what,
		       (double)(now.slow - before->slow) * BULK / pages);
	ksft_print_msg("%s/released: %.4f pages per page\n", what,
		       (double)(now.released - before->released) / pages);
}

static void get_pool(struct nm_pool *pool)
{
	nm_check(nm_pool_get(pair.rx_ifindex, pool), "no pool");
}

static void create_pair(void)
{
	nm_pair_create(&pair, RING);
	nm_sides_init(&pair);
}

/* Maps @held pages, in bursts, and then unmaps all of them, @times times */
static void rounds(struct end *end, size_t held, unsigned int times)
{
	while (times--) {
		while (end->used < held) {
			nm_sides_now(NM_SEND);
			end_send(end, BURST);
			nm_sides_now(NM_RECEIVE);
			end_map(end, BURST);
		}
		end_unmap(end);
	}
	nm_sides_now(NM_SEND);
}

static void hold(const char *what, size_t held)
{
	unsigned int times = held < PAGES ? PAGES / held : 1;
	struct nm_pool before;
	struct end end;

	create_pair();
	end_open(&end);
	end_accept(&end, held);
	rounds(&end, held, times > 1 ? times / 4 : 1);
	get_pool(&before);
	nm_sides_start();
	rounds(&end, held, times);
	report(what, times * held, &before);
}

static void mapped_64(void)
{
	hold(__func__, BURST);
}

static void mapped_64_unaccounted(void)
{
	/* Stock has no such sysctl, and accounts for nothing. */
	nm_write(NM_SYSCTL_MEMCG, "0");
	hold(__func__, BURST);
}

static void held_1_mib(void)
{
	hold(__func__, MIB);
}

static void held_4_mib(void)
{
	hold(__func__, 4 * MIB);
}

static void held_16_mib(void)
{
	hold(__func__, 16 * MIB);
}

static void held_64_mib(void)
{
	hold(__func__, 64 * MIB);
}

static void held_256_mib(void)
{
	hold(__func__, 256 * MIB);
}

/* ----- many sockets, many cgroups ----- */

static void turn_of_socket(struct end *end)
{
	nm_sides_now(NM_SEND);
	end_send(end, BURST);
	nm_sides_now(NM_RECEIVE);
	end_map(end, BURST);
	end_unmap(end);
}

static void sockets(const char *what, unsigned int nr)
{
	struct rlimit files = { 3 * nr + 64, 3 * nr + 64 };
	unsigned int i, turns = PAGES / BURST > nr ? PAGES / BURST : nr;
	struct nm_pool before;
	struct end *ends;

	nm_check(!setrlimit(RLIMIT_NOFILE, &files), "setrlimit");
	ends = calloc(nr, sizeof(*ends));
	nm_check(ends, "calloc");
	create_pair();
	for (i = 0; i < nr; i++) {
		end_open(&ends[i]);
		end_accept(&ends[i], BURST);
		close(ends[i].conn.listener);
	}
	for (i = 0; i < nr; i++)
		turn_of_socket(&ends[i]);
	get_pool(&before);
	nm_sides_start();
	for (i = 0; i < turns; i++)
		turn_of_socket(&ends[i % nr]);
	report(what, turns * BURST, &before);
	free(ends);
}

static void sockets_1(void)
{
	sockets(__func__, 1);
}

static void sockets_64(void)
{
	sockets(__func__, 64);
}

static void sockets_4096(void)
{
	sockets(__func__, 4096);
}

/* Each process in a cgroup of its own */
struct member {
	struct end end;
	unsigned int nr;
	pid_t pid;
	int go[2];
	int done[2];
};

static void enter_cgroup(unsigned int nr)
{
	const char *parent = getenv("CGROUPS");
	char path[256];

	if (!parent)
		nm_skip("CGROUPS is not set");
	snprintf(path, sizeof(path), "%s/%u", parent, nr);
	nm_check(!mkdir(path, 0755), "%s", path);
	strcat(path, "/cgroup.procs");
	nm_check(!nm_write(path, "0"), "%s", path);
}

static void leave_cgroups(unsigned int nr)
{
	char path[256];

	while (nr--) {
		snprintf(path, sizeof(path), "%s/%u", getenv("CGROUPS"), nr);
		nm_check(nm_until(!rmdir(path), NM_TIMEOUT_MS), "%s", path);
	}
}

static void tell(int fd)
{
	nm_check_eq(write(fd, "", 1), 1, "bytes of a turn");
}

static bool told(int fd)
{
	char c;

	return read(fd, &c, 1) == 1;
}

static void member(void *arg)
{
	struct member *m = arg;

	close(m->go[1]);
	enter_cgroup(m->nr);
	end_accept(&m->end, BURST);
	tell(m->done[1]);
	while (told(m->go[0])) {
		end_map(&m->end, BURST);
		end_unmap(&m->end);
		tell(m->done[1]);
	}
}

static void member_start(struct member *m, unsigned int nr)
{
	m->nr = nr;
	end_open(&m->end);
	nm_check(!pipe2(m->go, O_CLOEXEC) && !pipe2(m->done, O_CLOEXEC), "pipe");
	m->pid = nm_fork(member, m);
	close(m->go[0]);
	close(m->done[1]);
	close(m->end.conn.listener);
	nm_check(told(m->done[0]), "a member died");
	nm_sides_receiver(m->pid);
}

static void turn_of_member(struct member *m)
{
	end_send(&m->end, BURST);
	tell(m->go[1]);
	nm_check(told(m->done[0]), "a member died");
}

static void cgroups(const char *what, unsigned int nr)
{
	struct rlimit files = { 4 * nr + 64, 4 * nr + 64 };
	unsigned int i, turns = PAGES / BURST > nr ? PAGES / BURST : nr;
	struct nm_pool before;
	struct member *members;

	nm_check(!setrlimit(RLIMIT_NOFILE, &files), "setrlimit");
	members = calloc(nr, sizeof(*members));
	nm_check(members, "calloc");
	create_pair();
	for (i = 0; i < nr; i++)
		member_start(&members[i], i);
	for (i = 0; i < nr; i++)
		turn_of_member(&members[i]);
	get_pool(&before);
	nm_sides_start();
	for (i = 0; i < turns; i++)
		turn_of_member(&members[i % nr]);
	report(what, turns * BURST, &before);
	for (i = 0; i < nr; i++)
		nm_kill(members[i].pid);
	free(members);
	leave_cgroups(nr);
}

static void cgroups_1(void)
{
	cgroups(__func__, 1);
}

static void cgroups_10(void)
{
	cgroups(__func__, 10);
}

static void cgroups_100(void)
{
	cgroups(__func__, 100);
}

static void cgroups_1000(void)
{
	cgroups(__func__, 1000);
}

/* ----- the end of a mapping ----- */

static void time_munmap(const char *what, char *(*make)(void *arg), void *arg)
{
	unsigned int i, times = 40;
	uint64_t ns = 0, start;
	char *area;

	for (i = 0; i < times + 8; i++) {
		area = make(arg);
		start = nm_now_ns();
		nm_check(!munmap(area, MUNMAP * NM_PAGE), "munmap");
		if (i >= 8)
			ns += nm_now_ns() - start;
	}
	ksft_print_msg("%s: %.1f ns per page\n", what,
		       (double)ns / times / MUNMAP);
}

static char *make_anon(void *arg)
{
	char *area = mmap(NULL, MUNMAP * NM_PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	(void)arg;
	nm_check(area != MAP_FAILED, "mmap");

	return area;
}

static char *make_lent(void *arg)
{
	struct end *end = arg;

	end->used = 0;
	end->area = mmap(NULL, MUNMAP * NM_PAGE, PROT_READ, MAP_SHARED, end->fd, 0);
	nm_check(end->area != MAP_FAILED, "mmap of a socket");
	while (end->used < MUNMAP) {
		end_send(end, BURST);
		end_map(end, BURST);
	}

	return end->area;
}

static void munmap_anon(void)
{
	time_munmap(__func__, make_anon, NULL);
}

static void munmap_lent(void)
{
	struct end end;

	create_pair();
	end_open(&end);
	end_accept(&end, MUNMAP);
	time_munmap(__func__, make_lent, &end);
}

/* ----- two CPUs ----- */

#define TWO_CPUS_MS	5000

static void pin_to(pid_t pid, int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	nm_check(!sched_setaffinity(pid, sizeof(set), &set), "sched_setaffinity");
}

static void send_for_ever(void *arg)
{
	pin_to(0, 0);
	while (true)
		end_send(arg, BURST);
}

/* NAPI and the sender on one, maps and unmaps on the other; by the wall clock */
static void two_cpus(void)
{
	uint64_t pages = 0, start;
	struct end end;
	pid_t sender;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		nm_skip("one CPU only");
	create_pair();
	pin_to(nm_napi_thread(pair.rx_name), 0);
	pin_to(nm_napi_thread(pair.tx_name), 0);
	pin_to(0, 1);
	end_open(&end);
	end_accept(&end, 4 * MIB);
	sender = nm_fork(send_for_ever, &end);
	start = nm_now_ms();
	while (nm_now_ms() < start + TWO_CPUS_MS) {
		while (end.used < end.pages)
			end_map(&end, BURST);
		end_unmap(&end);
		pages += end.pages;
	}
	ksft_print_msg("%s: %.0f pages per second\n", __func__,
		       pages * 1000.0 / (nm_now_ms() - start));
	nm_kill(sender);
}

static const struct nm_test tests[] = {
	NM_TEST(mapped_64),
	NM_TEST(mapped_64_unaccounted),
	NM_TEST(held_1_mib),
	NM_TEST(held_4_mib),
	NM_TEST(held_16_mib),
	NM_TEST(held_64_mib),
	NM_TEST(held_256_mib),
	NM_TEST(sockets_1),
	NM_TEST(sockets_64),
	NM_TEST(sockets_4096),
	NM_TEST(cgroups_1),
	NM_TEST(cgroups_10),
	NM_TEST(cgroups_100),
	NM_TEST(cgroups_1000),
	NM_TEST(munmap_anon),
	NM_TEST(munmap_lent),
	NM_TEST(two_cpus),
};

int main(int argc, char **argv)
{
	const struct nm_suite suite = {
		.tests = tests,
		.nr = ARRAY_SIZE(tests),
	};

	memset(data, 'n', sizeof(data));

	return nm_run(argc, argv, &suite);
}

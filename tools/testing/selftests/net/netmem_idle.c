// SPDX-License-Identifier: GPL-2.0
/*
 * Pages of page_pools are counted, in /proc and per node, and those that are idle
 * are given back when memory is short, or goes offline.
 *
 * On stock 7.3 there are no such counters, and no shrinker: all tests fail.
 *
 * Usage: netmem_idle [TEST...]
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "netmem_lib.h"

#define SEED		0x6e65746d656d6964ULL
#define PAGES		256
/* What goes from a ring to its driver, or is counted, at a time */
#define BATCH		64
#define KPF_NETWORK	27

static struct nm_pair pair, far;
static struct nm_conn conn;
static struct nm_rx rx;

/* ----- the counters ----- */

struct count {
	long total;
	long cached;
};

static struct count counted(void)
{
	struct count count = {
		.total = nm_key("/proc/vmstat", "nr_page_pool"),
		.cached = nm_key("/proc/vmstat", "nr_page_pool_cached"),
	};

	nm_check(count.total >= 0 && count.cached >= 0, "no counters");
	return count;
}

/* What netlink says of the pools that it lists, and of pages that are lent */
struct listed {
	unsigned int pools;
	long inflight;
	long cached;
	long lent;	/* by any pool, also one that is gone */
};

static struct listed listed(void)
{
	struct nm_pool pools[NM_MAX_POOLS];
	struct listed sum = { .lent = nm_held(0, 0) };
	unsigned int i;

	sum.pools = nm_pools(pools, NM_MAX_POOLS);
	for (i = 0; i < sum.pools; i++) {
		sum.inflight += pools[i].inflight;
		sum.cached += pools[i].cached;
	}

	return sum;
}

/* Pages of pools that netlink does not list, and the same of those cached */
static struct count others;

static bool agrees(void)
{
	struct listed list = listed();
	struct count count = counted();

	return count.total - others.total == list.inflight + list.lent;
}

static void check_agrees(void)
{
	long slack, diff;
	struct listed list;
	struct count count;

	/* What is on its way to a ring arrives when softirqs had their turn */
	if (!nm_until(agrees(), 2000)) {
		list = listed();
		count = counted();
		nm_fail("%ld pages counted, %ld of others; inflight %ld, lent %ld",
			count.total, others.total, list.inflight, list.lent);
	}

	list = listed();
	count = counted();
	slack = BATCH * sysconf(_SC_NPROCESSORS_ONLN) * (list.pools + 1);
	diff = list.cached - (count.cached - others.cached);
	nm_check(labs(diff) <= slack, "%ld pages cached, %ld counted", list.cached,
		 count.cached - others.cached);
}

static void note_others(void)
{
	struct listed list = listed();

	others = counted();
	others.total -= list.inflight + list.lent;
	others.cached -= list.cached;
}

/* ----- a stream ----- */

static void open_conn(size_t pages)
{
	nm_conn_open(&conn, -1, pair.ns_tx, NM_ADDR_RX);
	nm_rx_init(&rx, nm_conn_accept(&conn), SEED, pages);
}

static void open_pair(unsigned int ring)
{
	note_others();
	nm_pair_create(&pair, ring);
	open_conn(PAGES);
}

static void receive_mapped(size_t pages)
{
	pid_t sender = nm_send(conn.tx, rx.off, pages * NM_PAGE, rx.seed);

	nm_rx_map(&rx, pages);
	nm_wait(sender);
}

/* Leaves @pages pages in the ring of the pool */
static void fill_ring(size_t pages)
{
	receive_mapped(pages);
	nm_rx_verify(&rx);
	nm_rx_reuse(&rx);
}

static struct nm_pool pool_of(const struct nm_pair *of)
{
	struct nm_pool pool;

	nm_check(nm_pool_get(of->rx_ifindex, &pool), "no page_pool");
	return pool;
}

/* ----- the shrinker, by its debugfs files ----- */

static void shrinker_path(char *path, size_t size, const char *file)
{
	glob_t found;

	if (glob("/sys/kernel/debug/shrinker/page_pool-*", 0, NULL, &found))
		nm_fail("no shrinker, or no CONFIG_SHRINKER_DEBUG");
	snprintf(path, size, "%s/%s", found.gl_pathv[0], file);
	globfree(&found);
}

static void shrink(int nid, unsigned long pages)
{
	char path[128], text[64];

	shrinker_path(path, sizeof(path), "scan");
	snprintf(text, sizeof(text), "0 %d %lu", nid, pages);
	nm_check(!nm_write(path, text), "%s > %s", text, path);
}

static unsigned int nodes(void)
{
	unsigned int nr;
	glob_t found;

	if (glob("/sys/devices/system/node/node[0-9]*", 0, NULL, &found))
		return 0;
	nr = found.gl_pathc;
	globfree(&found);

	return nr;
}

/* Up to @pages pages of each node */
static void shrink_nodes(unsigned long pages)
{
	unsigned int nid;

	for (nid = 0; nid < nodes(); nid++)
		shrink(nid, pages);
}

static void shrink_all(void)
{
	shrink_nodes(1 << 20);
}

/* ----- seen ----- */

/* Every page that a pool has, or has lent, is counted until it is free again. */
static void counted_at_every_step(void)
{
	struct count count;

	open_pair(NM_RING);
	check_agrees();
	receive_mapped(PAGES);
	check_agrees();
	count = counted();
	nm_check(count.total - others.total >= PAGES, "not counted");

	nm_rx_unmap(&rx, 0, PAGES);
	check_agrees();
	nm_check_eq(counted().total, count.total, "pages that came home");
	nm_check(counted().cached >= count.cached + PAGES - BATCH,
		 "they are not idle");

	nm_pair_delete();
	nm_check(nm_until(counted().total == others.total, NM_TIMEOUT_MS),
		 "%ld pages are left", counted().total - others.total);
	nm_check_eq(counted().cached, others.cached, "pages cached");
}

/* Those that outlive their pool as well */
static void counted_without_pool(void)
{
	open_pair(NM_RING);
	receive_mapped(PAGES);
	nm_pair_delete();
	nm_check(nm_until(counted().total == others.total + PAGES, NM_TIMEOUT_MS),
		 "%ld pages counted", counted().total - others.total);
	nm_check_eq(counted().cached, others.cached, "pages cached");
	nm_rx_unmap(&rx, 0, PAGES / 2);
	nm_check_eq(counted().total, others.total + PAGES / 2, "pages");
	nm_rx_exit(&rx);
	nm_check_eq(counted().total, others.total, "pages");
}

static void test_run(void *arg)
{
	char frame[64] = {};
	struct xdp_md ctx = { .data_end = sizeof(frame) };
	union bpf_attr attr = {
		.test = {
			.prog_fd = nm_xdp_verdict(XDP_DROP),
			.data_size_in = sizeof(frame),
			.data_in = (uintptr_t)frame,
			.ctx_size_in = sizeof(ctx),
			.ctx_in = (uintptr_t)&ctx,
			.repeat = 1 << 30,
			.flags = BPF_F_TEST_XDP_LIVE_FRAMES,
		},
	};

	syscall(__NR_bpf, BPF_PROG_TEST_RUN, &attr, sizeof(attr));
}

/* A pool that netlink does not know: that of a test run of an XDP program */
static void counted_invisible(void)
{
	unsigned int pools;
	pid_t runner;

	note_others();
	pools = listed().pools;
	runner = nm_fork(test_run, NULL);
	nm_check(nm_until(counted().total > others.total, NM_TIMEOUT_MS),
		 "the pool of a test run is not counted");
	nm_check_eq(listed().pools, pools, "pools that netlink lists");
	nm_kill(runner);
	nm_check(nm_until(counted().total == others.total, NM_TIMEOUT_MS),
		 "%ld pages are left", counted().total - others.total);
}

/* "Node 0 PagePool: 8 kB" of all nodes, in pages; *.../vmstat with no @unit */
static long sum_nodes(const char *file, const char *key)
{
	char path[64], name[64];
	unsigned int nid;
	long sum = 0;

	for (nid = 0; nid < nodes(); nid++) {
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/%s",
			 nid, file);
		snprintf(name, sizeof(name), key, nid);
		nm_check(nm_key(path, name) >= 0, "no %s in %s", name, path);
		sum += nm_key(path, name);
	}

	return sum;
}

/* All places say the same. */
static void files_agree(void)
{
	long shown, shown_cached;
	struct count count;

	open_pair(NM_RING);
	receive_mapped(PAGES);
	nm_rx_unmap(&rx, 0, PAGES / 2);
	check_agrees();

	count = counted();
	nm_check_eq(nm_key("/proc/meminfo", "PagePool:"), count.total * 4, "kB");
	nm_check_eq(nm_key("/proc/meminfo", "PagePoolCached:"),
		    count.cached * 4, "kB cached");
	nm_check_eq(sum_nodes("vmstat", "nr_page_pool"), count.total, "pages");
	nm_check_eq(sum_nodes("vmstat", "nr_page_pool_cached"), count.cached,
		    "pages cached");
	nm_check_eq(sum_nodes("meminfo", "Node %u PagePool:"), count.total * 4,
		    "kB");
	nm_check_eq(sum_nodes("meminfo", "Node %u PagePoolCached:"),
		    count.cached * 4, "kB cached");

	nm_show_mem(&shown, &shown_cached);
	nm_check_eq(shown, count.total * 4, "kB");
	nm_check_eq(shown_cached, count.cached * 4, "kB cached");
}

/* /proc/kpageflags shows as many pages as are counted, and those mapped. */
static void kpageflags(void)
{
	uint64_t flags[1024];
	long pages = 0;
	ssize_t len;
	size_t i;
	int fd;

	open_pair(NM_RING);
	receive_mapped(PAGES);
	for (i = 0; i < PAGES; i++) {
		uint64_t pfn = nm_pfn(rx.area + i * NM_PAGE);

		nm_check(nm_kpageflags(pfn) & 1ULL << KPF_NETWORK,
			 "pfn %llx: no flag", (unsigned long long)pfn);
	}
	nm_check(!(nm_kpageflags(nm_pfn(&pages)) & 1ULL << KPF_NETWORK),
		 "a page of the stack has the flag");

	fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	nm_check(fd >= 0, "kpageflags");
	while ((len = read(fd, flags, sizeof(flags))) > 0)
		for (i = 0; i < len / sizeof(*flags); i++)
			pages += flags[i] >> KPF_NETWORK & 1;
	close(fd);
	nm_check_eq(pages, counted().total, "pages with the flag");
}

/* ----- taken back ----- */

/* A line of /proc/meminfo with what is in free lists of CPUs, in kB */
static long meminfo(const char *key)
{
	long pages = 0, count;
	char *line = NULL;
	size_t size = 0;
	FILE *file;

	file = fopen("/proc/zoneinfo", "re");
	nm_check(file, "zoneinfo");
	while (getline(&line, &size, file) > 0)
		if (sscanf(line, " count: %ld", &count) == 1)
			pages += count;
	free(line);
	fclose(file);

	return nm_key("/proc/meminfo", key) + pages * 4;
}

/*
 * Idle pages go to the page allocator, all but those that NAPI holds; the pool
 * goes on with new ones, and nothing is lost.
 */
#define MANY_PAGES	4096	/* that free lists of CPUs do not hide */

static void shrink_idle(void)
{
	long available, now_available, was_free, now_free;
	struct count count;
	struct nm_pool was;

	note_others();
	nm_pair_create(&pair, MANY_PAGES);
	open_conn(MANY_PAGES);
	fill_ring(MANY_PAGES);
	was = pool_of(&pair);
	count = counted();
	available = meminfo("MemAvailable:");
	was_free = meminfo("MemFree:");

	/* The most that can be asked for ends, too */
	shrink_nodes(ULONG_MAX);
	nm_check_eq(counted().cached, 0, "idle pages");
	nm_check(pool_of(&pair).cached <= 2 * BATCH, "%llu pages are cached",
		 (unsigned long long)pool_of(&pair).cached);
	nm_check_eq(count.total - counted().total,
		    was.inflight - pool_of(&pair).inflight, "pages freed");
	check_agrees();
	now_free = meminfo("MemFree:");
	nm_check(now_free - was_free >= count.cached * 4 * 3 / 4,
		 "%ld kB more are free, %ld were idle", now_free - was_free,
		 count.cached * 4);
	now_available = meminfo("MemAvailable:");
	nm_check(labs(now_available - available) <= count.cached * 4 / 4,
		 "%ld kB more are available, %ld were idle",
		 now_available - available, count.cached * 4);

	fill_ring(PAGES);
	check_agrees();
	nm_check_eq(rx.copied, 0, "bytes copied");
}

/* What is mapped stays, and comes home to the ring that was emptied. */
static void shrink_lent(void)
{
	struct nm_pool pool;

	open_pair(NM_RING);
	receive_mapped(PAGES);
	shrink_all();
	nm_rx_verify(&rx);
	pool = pool_of(&pair);
	nm_check_eq(pool.lent, PAGES, "pages lent");
	nm_rx_unmap(&rx, 0, PAGES);
	nm_check_eq(pool_of(&pair).ring - pool.ring, PAGES, "pages recycled");
	check_agrees();
}

/*
 * The pool that was used last keeps its pages until the other has none, even if
 * it is the other way round in the list.
 */
static void shrink_coldest(void)
{
	struct nm_pool near;
	int ns = nm_new_ns();
	struct nm_conn second;
	struct nm_rx hot;
	long cold;

	open_pair(NM_RING);
	nm_pair_extend(&pair, &far, NM_RING, ns);
	shrink_all();
	/* By way of both; the pages of the first are home once they are sent on */
	nm_conn_open(&second, ns, pair.ns_tx, NM_ADDR_FAR);
	nm_rx_init(&hot, nm_conn_accept(&second), SEED, PAGES);
	nm_wait(nm_send(second.tx, 0, PAGES * NM_PAGE, SEED));
	nm_rx_keep(&hot, PAGES * NM_PAGE);
	nm_rx_exit(&hot);
	/* More than a jiffy */
	nm_check(!usleep(100000), "sleep");
	fill_ring(PAGES);
	usleep(100000);

	near = pool_of(&pair);
	cold = counted().cached;
	shrink(0, 1);
	nm_check_eq(counted().cached, cold - 1, "idle pages");
	nm_check_eq(pool_of(&pair).cached, near.cached, "those of the hot pool");

	/* By the time it loses some the other one has none */
	while (pool_of(&pair).cached == near.cached)
		shrink(0, 16);
	nm_check(counted().cached <= pool_of(&pair).cached,
		 "idle pages are left in the other pool");
}

/* ----- both at a time ----- */

static void shrink_forever(void *arg)
{
	for (;;)
		shrink_all();
}

/* A stream whose pool is robbed all the time: no byte is lost. */
static void shrink_stream(void)
{
	unsigned int round;
	pid_t shrinker;

	open_pair(NM_RING);
	shrinker = nm_fork(shrink_forever, NULL);
	for (round = 0; round < 100; round++)
		fill_ring(PAGES);
	nm_kill(shrinker);
	check_agrees();
}

/* Pools go while pages are taken from them. */
static void shrink_removed(void)
{
	unsigned int round;
	pid_t shrinker;

	open_pair(NM_RING);
	shrinker = nm_fork(shrink_forever, NULL);
	for (round = 0; round < 40; round++) {
		fill_ring(PAGES);
		nm_pair_restart(&pair);
		if (round % 4)
			continue;
		nm_rx_exit(&rx);
		nm_pair_delete();
		nm_pair_create(&pair, NM_RING);
		open_conn(PAGES);
	}
	nm_kill(shrinker);
	nm_rx_exit(&rx);
	nm_pair_delete();
	nm_check(nm_until(counted().total == others.total, NM_TIMEOUT_MS),
		 "%ld pages are left", counted().total - others.total);
	nm_check_eq(counted().cached, others.cached, "pages cached");
}

/* ----- memory that goes offline ----- */

/* So many that some blocks in between have nothing else */
#define OFFLINE_PAGES	(300UL << 8)
/* A part of what the ring holds, which has others, too */
#define OFFLINE_IDLE	256

static size_t block_pages(void)
{
	char text[32];

	if (nm_read("/sys/devices/system/memory/block_size_bytes", text,
		    sizeof(text)) <= 0)
		nm_skip("no memory blocks (CONFIG_MEMORY_HOTPLUG)");
	return strtoull(text, NULL, 16) / NM_PAGE;
}

/* A new pool of the receiver, whose pages are of node 1 */
static void pair_to_node1(void)
{
	char path[128];

	if (nodes() < 2 || strcmp(nm_nic(), "e1000e"))
		nm_skip("needs two nodes, and a PCI device with NIC=e1000e");
	snprintf(path, sizeof(path), "/sys/class/net/%s/device/numa_node",
		 pair.rx_name);
	nm_link_set(pair.rx_name, false);
	nm_check(!nm_write(path, "1"), "%s", path);
	nm_link_set(pair.rx_name, true);
	nm_check(nm_until(nm_link_running(pair.rx_name), NM_TIMEOUT_MS), "no link");
}

static void block_path(uint64_t block, char *path, size_t size)
{
	snprintf(path, size, "/sys/devices/system/memory/memory%llu/state",
		 (unsigned long long)block);
}

static long pages_in_block(uint64_t block, size_t size)
{
	uint64_t pfn;
	long pages = 0;

	for (pfn = block * size; pfn < (block + 1) * size; pfn++)
		pages += nm_kpageflags(pfn) >> KPF_NETWORK & 1;

	return pages;
}

/*
 * A block of memory, of which nothing but idle pages of a pool is in use, goes
 * offline.
 */
static void offline_idle(void)
{
	size_t size = block_pages(), i, unmapped = 0;
	long total, idle;
	char path[128];
	uint64_t block;

	nm_pair_create(&pair, NM_RING);
	pair_to_node1();
	open_conn(OFFLINE_PAGES);
	receive_mapped(OFFLINE_PAGES);
	block = nm_pfn(rx.area + OFFLINE_PAGES / 2 * NM_PAGE) / size;
	block_path(block, path, sizeof(path));

	/* Those first, for the ring to have them; it has no room for the rest */
	for (i = 0; i < OFFLINE_PAGES && unmapped < OFFLINE_IDLE; i++) {
		if (nm_pfn(rx.area + i * NM_PAGE) / size != block)
			continue;
		nm_rx_unmap(&rx, i, 1);
		unmapped++;
	}
	nm_rx_exit(&rx);
	total = counted().total;
	idle = pages_in_block(block, size);
	ksft_print_msg("memory%llu has %ld pages of the pool\n",
		       (unsigned long long)block, idle);
	nm_check(idle >= OFFLINE_IDLE / 2, "they are not in the ring");

	nm_check(!nm_write(path, "offline"), "offline > %s", path);
	nm_check(total - counted().total >= idle, "%ld pages were freed, not %ld",
		 total - counted().total, idle);
	nm_check(!nm_write(path, "online"), "online > %s", path);
}

/* ----- what it costs to ask ----- */

#define MANY_POOLS	4000
#define READS		200

/* Nanoseconds that the fastest of some reads takes */
static uint64_t read_ns(void)
{
	uint64_t ns, best = UINT64_MAX;
	struct timespec from, to;
	char buf[8192];
	int i;

	for (i = 0; i < READS; i++) {
		clock_gettime(CLOCK_MONOTONIC, &from);
		nm_check(nm_read("/proc/meminfo", buf, sizeof(buf)) > 0, "read");
		clock_gettime(CLOCK_MONOTONIC, &to);
		ns = (to.tv_sec - from.tv_sec) * 1000000000ULL + to.tv_nsec -
		     from.tv_nsec;
		if (ns < best)
			best = ns;
	}

	return best;
}

/* /proc/meminfo is read as fast with 4,000 pools as with few. */
static void cost_of_meminfo(void)
{
	uint64_t few, many = UINT64_MAX;
	int i;

	few = read_ns();
	nm_many_pools(MANY_POOLS);
	/* The machine may have been busy; the kernel always would be */
	for (i = 0; i < 5 && many > 2 * few; i++)
		many = read_ns();
	ksft_print_msg("/proc/meminfo: %llu ns, with %u pools %llu ns\n",
		       (unsigned long long)few, MANY_POOLS,
		       (unsigned long long)many);
	nm_check(many <= 2 * few, "it takes too long");
}

static const struct nm_test tests[] = {
	NM_TEST(counted_at_every_step),
	NM_TEST(counted_without_pool),
	NM_TEST(counted_invisible),
	NM_TEST(files_agree),
	NM_TEST(kpageflags),
	NM_TEST(shrink_idle),
	NM_TEST(shrink_lent),
	NM_TEST(shrink_coldest),
	NM_TEST(shrink_stream),
	NM_TEST(shrink_removed),
	NM_TEST(cost_of_meminfo),
};

/* With NIC=e1000e, in place of these: the pool of a device on another node */
static const struct nm_test offline_tests[] = {
	NM_TEST(offline_idle),
};

int main(int argc, char **argv)
{
	struct nm_suite suite = {
		.tests = tests,
		.nr = ARRAY_SIZE(tests),
	};
	const char *nic = getenv("NIC");

	if (nic && !strcmp(nic, "e1000e")) {
		suite.tests = offline_tests;
		suite.nr = ARRAY_SIZE(offline_tests);
	}

	return nm_run(argc, argv, &suite);
}

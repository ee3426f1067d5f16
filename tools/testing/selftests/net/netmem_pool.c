// SPDX-License-Identifier: GPL-2.0
/*
 * A page_pool does not wait for the pages that it has lent: it is destroyed at
 * once with its device, or when its queue is restarted, while user space keeps
 * what it received. What it holds is counted, and attributed, all the same.
 *
 * On stock 7.3 such pages leave their pool, so that it does not wait for them
 * either, and nothing tells who holds them.
 *
 * Usage: netmem_pool [TEST...]
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "netmem_lib.h"

#define SEED	0x6e65746d656d706fULL
/* Less than a ring holds: all of them can come back */
#define PAGES	256
/* A pool whose pages are all lent, or freed, is gone by then */
#define GONE_MS	2000

static struct nm_pair pair;
static struct nm_conn conn;
static struct nm_rx rx;
static struct nm_pool before;	/* when the stream began */

static struct nm_pool pool_now(void)
{
	struct nm_pool pool;

	nm_check(nm_pool_get(pair.rx_ifindex, &pool), "no page_pool");
	return pool;
}

/* A connection through the pair of devices, with room to map @pages pages */
static void open_conn(size_t pages)
{
	nm_conn_open(&conn, -1, pair.ns_tx, NM_ADDR_RX);
	nm_rx_init(&rx, nm_conn_accept(&conn), SEED, pages);
}

static void open_stream(size_t pages)
{
	nm_pair_create(&pair, NM_RING);
	open_conn(pages);
	before = pool_now();
}

/* Has the next @pages pages sent, and maps them */
static void receive_mapped(size_t pages)
{
	pid_t sender = nm_send(conn.tx, rx.off, pages * NM_PAGE, rx.seed);

	nm_rx_map(&rx, pages);
	nm_wait(sender);
}

static void open_mapped(void)
{
	open_stream(PAGES);
	receive_mapped(PAGES);
}

/* Receive and map pages once more, by a new connection */
static void receive_again(void)
{
	open_conn(PAGES);
	receive_mapped(PAGES);
	nm_rx_verify(&rx);
	nm_rx_exit(&rx);
}

static void wait_arrived(size_t pages)
{
	nm_check(nm_until(nm_rx_waiting(&rx) == pages, NM_TIMEOUT_MS),
		 "not all came");
}

static void check_gone(uint32_t id, uint64_t ms)
{
	nm_check(nm_until(!nm_pool_exists(id), ms),
		 "page_pool %u is still there after %llu ms", id,
		 (unsigned long long)ms);
}

/* ----- the end of a pool ----- */

/*
 * The device goes down, and its pools with it, while pages are mapped: they
 * keep their bytes, and munmap() frees them. Up again, it works.
 *
 * On stock: passes.
 */
static void down(void)
{
	open_mapped();
	nm_link_set(pair.rx_name, false);
	check_gone(before.id, GONE_MS);
	nm_rx_verify(&rx);
	nm_rx_unmap(&rx, 0, PAGES / 2);
	nm_rx_verify(&rx);

	nm_link_set(pair.rx_name, true);
	nm_rx_verify(&rx);
	nm_rx_unmap(&rx, PAGES / 2, PAGES / 2);
	receive_again();
}

/* The same, the device being removed. On stock: passes. */
static void removed(void)
{
	open_mapped();
	nm_pair_delete();
	check_gone(before.id, GONE_MS);
	nm_rx_verify(&rx);
	nm_rx_unmap(&rx, 0, 1);
	nm_rx_verify(&rx);
	nm_rx_exit(&rx);
}

/* The same, the queue being restarted with a new pool. On stock: passes. */
static void replaced(void)
{
	open_mapped();
	nm_pair_restart(&pair);
	nm_check(pool_now().id != before.id, "still the same pool");
	check_gone(before.id, GONE_MS);
	nm_rx_verify(&rx);

	rx.used = 0;
	receive_mapped(PAGES);
	nm_rx_verify(&rx);
	nm_rx_exit(&rx);
}

/*
 * The device is removed while a pipe, a read pin and a mapping have pages, and
 * the process that holds them is killed.
 *
 * On stock: passes.
 */
static void hold_all(void *arg)
{
	struct nm_sync *sync = arg;
	int fd[2];

	nm_pipe(fd, PAGES);
	nm_vmsplice(fd[1], rx.area, PAGES);
	nm_pin(rx.area, PAGES / 2);
	nm_tell(sync, 1);
	for (;;)
		pause();
}

static void removed_killed(void)
{
	struct nm_sync sync;
	pid_t pid;

	open_mapped();
	nm_sync_init(&sync);
	pid = nm_fork(hold_all, &sync);
	nm_await(&sync, 0);
	nm_rx_exit(&rx);
	nm_pair_delete();
	check_gone(before.id, GONE_MS);
	nm_kill(pid);
}

/*
 * Pages that are in the receive queue when the device goes keep their pool, as
 * before. Mapped after that, they are lent by a pool that is shut down already,
 * which goes then.
 *
 * On stock: passes.
 */
static void mapped_late(void)
{
	open_stream(PAGES);
	nm_send_now(conn.tx, 0, PAGES / 2 * NM_PAGE, SEED);
	wait_arrived(PAGES / 2);
	nm_pair_delete();
	nm_check(nm_pool_exists(before.id), "the pool left its pages");

	nm_rx_map(&rx, PAGES / 2);
	/* The worker looks once a second */
	check_gone(before.id, GONE_MS + 1000);
	nm_rx_verify(&rx);
	nm_rx_exit(&rx);
}

/*
 * The netns of the receiver goes while a pipe has pages. A mapping would keep
 * it: that is of the socket.
 *
 * On stock: passes.
 */
static void receive_into_pipe(void *arg)
{
	int *pipe = arg;

	open_mapped();
	nm_pipe(pipe, PAGES);
	nm_vmsplice(pipe[1], rx.area, PAGES);
	nm_rx_exit(&rx);
	close(conn.tx);
	close(conn.listener);
	close(pair.ns_rx);
}

static bool device_gone(void)
{
	/* Devices of a netns that ends are deleted, not moved */
	return access("/sys/bus/netdevsim/devices/netdevsim7311/net", F_OK) ||
	       !nm_pool_exists(before.id);
}

static void netns_removed(void)
{
	int ns = nm_new_ns(), pipe[2];

	nm_need_netdevsim("the device is to go with its netns");
	nm_in_ns(ns, receive_into_pipe, pipe);
	close(ns);
	nm_check(nm_until(device_gone(), NM_TIMEOUT_MS), "the netns stays");
	nm_read_verify(pipe[0], PAGES, 0, SEED);
}

/*
 * The device moves to another netns, and its page_pool with it: one that only
 * waits for packets in a receive queue, and if the driver keeps it the one in
 * use.
 *
 * On stock: fails, the pool is listed in the old netns, without a device.
 */
struct moved {
	struct nm_pool pool;
	bool there;
};

static void look_there(void *arg)
{
	struct nm_pool pools[NM_MAX_POOLS];
	struct moved *moved = arg;
	unsigned int i, nr;

	nr = nm_pools(pools, NM_MAX_POOLS);
	for (i = 0; i < nr; i++) {
		if (pools[i].id != before.id)
			continue;
		moved->pool = pools[i];
		moved->there = true;
	}
}

static void netns_changed(void)
{
	struct moved moved = {};
	int ns = nm_new_ns();

	open_stream(PAGES);
	nm_send_now(conn.tx, 0, PAGES / 2 * NM_PAGE, SEED);
	wait_arrived(PAGES / 2);
	nm_link_move(pair.rx_name, ns);

	nm_check(!nm_pool_exists(before.id), "the pool stays in the old netns");
	nm_in_ns(ns, look_there, &moved);
	nm_check(moved.there, "the pool is not in the new netns");
	nm_check(moved.pool.ifindex, "the pool is said to have no device");

	nm_rx_map(&rx, PAGES / 2);
	nm_rx_verify(&rx);
	nm_rx_exit(&rx);
}

/*
 * The driver's module can be unloaded while pages are mapped.
 *
 * On stock: passes.
 */
static void module_unloaded(void)
{
	nm_need_netdevsim("unloads the module");
	open_mapped();
	nm_pair_delete();
	if (syscall(SYS_delete_module, "netdevsim", O_NONBLOCK)) {
		if (errno == ENOSYS || errno == ENOENT)
			nm_skip("netdevsim is not a module");
		nm_fail("delete_module");
	}
	nm_rx_verify(&rx);
	nm_rx_exit(&rx);
	nm_check(!system("modprobe -q netdevsim"), "modprobe netdevsim");
}

/*
 * 256 MiB are kept mapped while the device is unregistered: it is gone within
 * two seconds, the bytes stay, and all memory is free afterwards.
 *
 * On stock: passes.
 */
#define MANY	(65536UL)

/* A kernel that checks each unmapping takes its time */
static bool slow_kernel(void)
{
	return !access("/sys/kernel/debug/kmemleak", F_OK);
}

static void keep_many(void *arg)
{
	uint64_t start, ms;

	nm_pair_create(&pair, NM_RING);
	open_conn(MANY);
	before = pool_now();
	nm_send(conn.tx, 0, MANY * NM_PAGE, SEED);
	nm_rx_map(&rx, MANY);

	start = nm_now_ms();
	nm_link_set(pair.rx_name, false);
	nm_pair_delete();
	check_gone(before.id, GONE_MS);
	ms = nm_now_ms() - start;
	ksft_print_msg("device and pool gone after %llu ms\n",
		       (unsigned long long)ms);
	nm_check(ms < GONE_MS || slow_kernel(), "that is too long");
	nm_rx_verify(&rx);
}

static void removed_many(void)
{
	long free_before, slack;

	free_before = nm_mem_free();
	if (free_before < (long)(MANY * NM_PAGE * 5 / 4))
		nm_skip("%ld MiB are not free", MANY * NM_PAGE >> 20);
	slack = free_before / 100;
	nm_wait(nm_fork(keep_many, NULL));
	nm_check(nm_until(nm_mem_free() > free_before - slack, NM_TIMEOUT_MS),
		 "%ld KiB free, before %ld", nm_mem_free() >> 10,
		 free_before >> 10);
}

/* ----- under load ----- */

/* What the processes of a test share */
static struct {
	bool stop;
	unsigned int mapped;
	unsigned int copied;
} *load;

static void load_init(void)
{
	load = mmap(NULL, sizeof(*load), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	nm_check(load != MAP_FAILED, "mmap");
}

static void unmap_some(unsigned int *seed)
{
	size_t first = rand_r(seed) % PAGES;
	size_t pages = rand_r(seed) % (PAGES - first) + 1;

	nm_check(!madvise(rx.area + first * NM_PAGE, pages * NM_PAGE,
			  MADV_DONTNEED), "madvise");
	nm_rx_forget(&rx, first, pages);
}

/* Maps wherever, unmaps whatever, and looks at all that is mapped meanwhile */
static void receive_at_random(void *arg)
{
	unsigned int seed = 1, i;
	size_t first;

	for (i = 0; !__atomic_load_n(&load->stop, __ATOMIC_RELAXED); i++) {
		first = rand_r(&seed) % PAGES;
		nm_rx_step(&rx, first, rand_r(&seed) % (PAGES - first) + 1);
		if (i % 2)
			unmap_some(&seed);
		if (i % 16 == 0)
			nm_rx_verify(&rx);
		load->mapped = rx.mapped / NM_PAGE;
		load->copied = rx.copied / NM_PAGE;
	}
	nm_rx_verify(&rx);
}

/*
 * The queue is restarted a thousand times under a stream that is mapped and
 * unmapped at random. No byte is lost, no page.
 *
 * On stock: passes.
 */
static void restart_under_load(void)
{
	const unsigned int rounds = 1000;
	pid_t sender, receiver;
	unsigned int i, last;

	load_init();
	open_stream(PAGES);
	sender = nm_send(conn.tx, 0, NM_ENDLESS, SEED);
	receiver = nm_fork(receive_at_random, NULL);
	for (i = 0; i < rounds; i++) {
		last = load->mapped;
		nm_pair_restart(&pair);
		/* What was lost is sent again, at the latest after an RTO */
		if (i % 10 == 0)
			nm_check(nm_until(load->mapped != last, NM_TIMEOUT_MS),
				 "nothing is mapped any more");
	}
	load->stop = true;
	nm_wait(receiver);
	nm_kill(sender);
	ksft_print_msg("%u pages mapped, %u copied\n", load->mapped,
		       load->copied);
}

/* One that does not end by itself waits for bytes that do not come any more */
static void end_receiver(pid_t pid)
{
	int status = 0;

	if (!nm_until(waitpid(pid, &status, WNOHANG) == pid, 200))
		nm_kill(pid);
	nm_check(!status, "the receiver failed");
}

/*
 * Two hundred times devices are made, and removed under a stream: before, after
 * and while its pages are unmapped.
 *
 * On stock: passes.
 */
static void receive_a_while(void *arg)
{
	unsigned int seed = getpid();

	receive_at_random(NULL);
	if (rand_r(&seed) % 2)
		nm_rx_exit(&rx);
}

static void remove_under_load(void)
{
	const unsigned int rounds = 200;
	pid_t sender, receiver;
	unsigned int i;

	load_init();
	for (i = 0; i < rounds; i++) {
		load->stop = false;
		load->mapped = 0;
		open_stream(PAGES);
		sender = nm_send(conn.tx, 0, NM_ENDLESS, SEED);
		receiver = nm_fork(receive_a_while, NULL);
		nm_check(nm_until(load->mapped, NM_TIMEOUT_MS), "nothing is mapped");
		/* Let some end at any moment around the removal */
		if (i % 3 == 0)
			load->stop = true;
		nm_pair_delete();
		load->stop = true;
		nm_kill(sender);
		end_receiver(receiver);
		/* What was not received keeps the pool */
		nm_rx_exit(&rx);
		check_gone(before.id, NM_TIMEOUT_MS);
		close(conn.tx);
		close(conn.listener);
		close(pair.ns_rx);
		close(pair.ns_tx);
	}
}

/* ----- who has how much ----- */

/*
 * The pool says how many pages are lent, and how many lie ready.
 *
 * On stock: fails, it says neither.
 */
static void counted(void)
{
	struct nm_pool pool;

	open_mapped();
	pool = pool_now();
	nm_check(pool.lends, "page-pool-get has no \"lent\"");
	nm_check_eq(pool.lent, PAGES, "pages lent");
	nm_check(pool.cached <= pool.inflight, "%llu of %llu pages cached",
		 (unsigned long long)pool.cached,
		 (unsigned long long)pool.inflight);
	nm_check_eq(nm_held(pool.id, 0), PAGES, "pages held");
	before = pool;

	nm_rx_unmap(&rx, 0, PAGES / 2);
	nm_check(nm_until(pool_now().lent == PAGES / 2, NM_TIMEOUT_MS),
		 "%llu pages lent", (unsigned long long)pool_now().lent);
	pool = pool_now();
	nm_check_eq(pool.cached - before.cached, PAGES / 2, "more cached");
	nm_check_eq(pool.inflight - before.inflight, PAGES / 2, "more inflight");
	nm_check_eq(nm_held(pool.id, 0), PAGES / 2, "pages held");

	nm_rx_unmap(&rx, PAGES / 2, PAGES / 2);
	nm_check(nm_until(!pool_now().lent, NM_TIMEOUT_MS), "pages stay lent");
	nm_check_eq(nm_held(pool.id, 0), 0, "pages held");
}

/*
 * Each cgroup is told what it holds of which pool, also when that is gone.
 *
 * On stock: fails, there is no such command.
 */
#define CG	"/sys/fs/cgroup/netmem_pool_"

static void map_part(const char *cgroup, int index)
{
	char path[64];

	snprintf(path, sizeof(path), CG "%s/cgroup.procs", cgroup);
	nm_check(!nm_write(path, "0"), "enter %s", cgroup);
	rx.used = index * PAGES / 4;
	nm_rx_map(&rx, (index + 1) * PAGES / 4);
}

static void map_first(void *arg)
{
	map_part("a", 0);
	nm_tell(arg, 1);
	for (;;)
		pause();
}

static void map_second(void *arg)
{
	rx.off = PAGES / 4 * NM_PAGE;
	map_part("b", 1);
	nm_tell(arg, 1);
	for (;;)
		pause();
}

static uint64_t make_cgroup(const char *path)
{
	struct stat st;

	nm_write("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	rmdir(path);
	nm_check(!mkdir(path, 0755), "%s", path);
	nm_check(!stat(path, &st), "%s", path);
	return st.st_ino;
}

static void check_holders(uint64_t a, uint64_t b)
{
	nm_check_eq(nm_held(before.id, a), PAGES / 4, "held by the first");
	nm_check_eq(nm_held(before.id, b), PAGES / 2, "held by the second");
	nm_check_eq(nm_held(before.id, 0), PAGES * 3 / 4, "held by all");
}

static void attributed(void)
{
	pid_t first, second;
	struct nm_sync sync;
	uint64_t a, b;

	if (access("/sys/fs/cgroup/cgroup.controllers", F_OK))
		nm_skip("no cgroup v2 at /sys/fs/cgroup");
	a = make_cgroup(CG "a");
	b = make_cgroup(CG "b");
	open_stream(PAGES);
	nm_send(conn.tx, 0, PAGES * 3 / 4 * NM_PAGE, SEED);
	nm_sync_init(&sync);
	first = nm_fork(map_first, &sync);
	nm_await(&sync, 0);
	second = nm_fork(map_second, &sync);
	nm_await(&sync, 0);
	check_holders(a, b);

	nm_pair_delete();
	check_gone(before.id, GONE_MS);
	check_holders(a, b);
	nm_kill(first);
	nm_check(nm_until(nm_held(before.id, 0) == PAGES / 2, NM_TIMEOUT_MS),
		 "the first is still said to hold pages");
	nm_kill(second);
}

static const struct nm_test tests[] = {
	NM_TEST(down),
	NM_TEST(removed),
	NM_TEST(replaced),
	NM_TEST(removed_killed),
	NM_TEST(mapped_late),
	NM_TEST(netns_removed),
	NM_TEST(netns_changed),
	NM_TEST(module_unloaded),
	NM_TEST(removed_many),
	NM_TEST(restart_under_load),
	NM_TEST(remove_under_load),
	NM_TEST(counted),
	NM_TEST(attributed),
};

static int after_test(const char *name)
{
	if (!strcmp(name, "attributed")) {
		rmdir(CG "a");
		rmdir(CG "b");
	}

	return KSFT_PASS;
}

int main(int argc, char **argv)
{
	const struct nm_suite suite = {
		.after = after_test,
		.tests = tests,
		.nr = ARRAY_SIZE(tests),
	};

	return nm_run(argc, argv, &suite);
}

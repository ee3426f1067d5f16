// SPDX-License-Identifier: GPL-2.0
/*
 * Kernel memory that is bound to a receive queue: all of it is charged to the
 * cgroup of who binds it, once, until the last page of it is free; the queue has
 * this memory and no other; what is bound ends with its socket, whoever holds
 * pages then.
 *
 * On stock 7.3 there is no such memory: every test fails at its first binding.
 *
 * Usage: test_netmem_provider [TEST...]
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>

#include "netmem_cgroup.h"

#define MIB		(1024L * 1024)
#define SIZE		(16 * MIB)
#define PIECE		(2 * MIB)
/* A pool whose pages are all lent, or freed, is gone by then */
#define GONE_MS		2000

static struct nm_binding binding;
static bool huge;

static struct nm_pool pool_now(void)
{
	struct nm_pool pool;

	nm_check(nm_pool_get(pair.rx_ifindex, &pool), "no page_pool");
	return pool;
}

static uint64_t cgroup_id(const char *path)
{
	struct stat st;

	nm_check(!stat(path, &st), "stat %s", path);
	return st.st_ino;
}

static void bind_memory(long size)
{
	int ret = nm_bind_kernel(&binding, pair.rx_ifindex, 0, 1, size, huge);

	errno = -ret;
	nm_check(!ret, "bind %ld MiB: %s", size / MIB, binding.why);
	nm_check_eq(pool_now().kernel, binding.id, "binding of the pool");
}

static void unbind(void)
{
	close(binding.fd);
	nm_check(!pool_now().kernel, "the queue still has the memory");
}

static long page_pool_bytes(void)
{
	return nm_key("/proc/meminfo", "PagePool:") * 1024;
}

/* With what the pages are written down in, and what CPUs have charged ahead */
static void check_current(long bytes)
{
	long slack = STOCK_BYTES + bytes / 128 + MIB;
	long now = cg_read_long(cg, "memory.current");

	nm_check(now >= bytes && now <= bytes + slack,
		 "memory.current is %ld, of which %ld is bound", now, bytes);
}

/* Connects through the pair; the cgroup of the caller has the receiving end */
static void open_conn(size_t pages)
{
	nm_conn_open(&conn, -1, pair.ns_tx, NM_ADDR_RX);
	accept_stream(pages);
}

static void receive_mapped(size_t pages)
{
	pid_t sender = nm_send(conn.tx, rx.off, pages * NM_PAGE, rx.seed);

	nm_rx_map(&rx, pages);
	nm_wait(sender);
}

static void receive_again(void)
{
	open_conn(PAGES);
	receive_mapped(PAGES);
	nm_rx_verify(&rx);
	nm_rx_exit(&rx);
	close(conn.tx);
	close(conn.listener);
}

/* Every test has a cgroup and a pair, and runs @fn in the cgroup */
static void test_in(void (*fn)(void))
{
	create_cgroup();
	nm_pair_create(&pair, NM_RING);
	run_in(cg, fn);
}

/* ----- who pays ----- */

/*
 * All of it is charged when it is bound, reported for the cgroup, the pool and
 * the machine, and none of it afterwards.
 */
static void charged_fn(void)
{
	/* What the queue's pool has now goes with it */
	long pools = page_pool_bytes() - pool_now().inflight * NM_PAGE;
	struct nm_pool pool;

	bind_memory(SIZE);
	check_stat(cg, "netmem_provider", SIZE);
	check_current(SIZE);
	nm_check(stat_of(cg, "kernel") >= SIZE, "kernel is %ld",
		 stat_of(cg, "kernel"));
	nm_check_eq(stat_of(cg, "netmem"), 0, "netmem");

	pool = pool_now();
	nm_check_eq(pool.provider_mem, SIZE, "provider-mem");
	nm_check_eq(pool.provider_cgroup, cgroup_id(cg), "provider-cgroup-id");
	nm_check_eq(pool.kernel_idle + pool.inflight * NM_PAGE, SIZE,
		    "idle-mem and what the pool has");
	nm_check(nm_until(page_pool_bytes() >= pools + SIZE, STAT_MS),
		 "PagePool grew by %ld", page_pool_bytes() - pools);

	unbind();
	check_stat(cg, "netmem_provider", 0);
	nm_check(nm_until(stat_of(cg, "kernel") < MIB, STAT_MS), "kernel is %ld",
		 stat_of(cg, "kernel"));
	nm_check(nm_until(page_pool_bytes() < pools + MIB, STAT_MS),
		 "PagePool grew by %ld", page_pool_bytes() - pools);
	receive_again();
}

static void charged(void)
{
	test_in(charged_fn);
}

/* In pieces of 2 MiB, each of which is mapped for the device once */
static void count_mapping(const struct nm_event *ev, void *arg)
{
	unsigned int *nr = arg;

	*nr += ev->pid == getpid() && nm_event_is(ev, "dma_map_phys") &&
	       nm_event_u64(ev, "size", 0) == PIECE;
}

static void charged_huge_fn(void)
{
	unsigned int nr = 0;

	nm_trace_event("dma:dma_map_phys");
	nm_trace_start();
	charged_fn();
	nm_trace_stop();
	nm_trace_walk(count_mapping, &nr);
	nm_check_eq(nr, SIZE / PIECE, "DMA mappings");
}

static void charged_huge(void)
{
	if (access("/sys/kernel/tracing/events/dma/dma_map_phys", F_OK))
		nm_skip("no events of DMA mappings");
	huge = true;
	test_in(charged_huge_fn);
}

/*
 * What is received there can be mapped by anybody, and is charged to nobody
 * again.
 */
static void map_as_other(void)
{
	long now = cg_read_long(cg_b, "memory.current");

	accept_stream(PAGES);
	nm_rx_map(&rx, PAGES);
	nm_rx_verify(&rx);
	nm_check_eq(stat_of(cg_b, "netmem"), 0, "netmem of who maps");
	check_stat(cg_a, "file_mapped", 0);
	/* Page tables, and the packets' own part while they were queued */
	nm_check(nm_until(cg_read_long(cg_b, "memory.current") <
			  now + BYTES / 2, STAT_MS), "memory.current of who maps");
	nm_check_eq(pool_now().lent, PAGES, "lent");
	nm_check_eq(nm_held(pool_now().id, cgroup_id(cg_a)), PAGES,
		    "pages for which who bound them pays");
	nm_rx_exit(&rx);
}

static void bind_and_wait(void)
{
	bind_memory(SIZE);
	check_stat(cg_a, "netmem_provider", SIZE);
	nm_tell(&first_sync, 1);
	nm_await(&first_sync, 1);
	check_stat(cg_a, "file_mapped", 0);
	check_stat(cg_a, "netmem_provider", SIZE);
	unbind();
}

static void mapped_once(void)
{
	pid_t binder;

	create_nested();
	nm_pair_create(&pair, NM_RING);
	nm_sync_init(&first_sync);
	binder = start_in(cg_a, bind_and_wait);
	nm_await(&first_sync, 0);
	nm_conn_open(&conn, -1, pair.ns_tx, NM_ADDR_RX);
	send_pages(PAGES);
	run_in(cg_b, map_as_other);
	nm_tell(&first_sync, 0);
	nm_wait(binder);
}

/* The same with splice() into a pipe, and by recv() */
static void spliced_fn(void)
{
	int fd[2];

	bind_memory(SIZE);
	open_conn(PAGES);
	send_pages(PAGES);
	nm_pipe(fd, PAGES / 2);
	nm_check(nm_until(nm_rx_waiting(&rx) == PAGES, NM_TIMEOUT_MS),
		 "not all came");
	nm_splice(rx.fd, fd[1], PAGES / 2);
	nm_check_eq(stat_of(cg, "netmem"), 0, "netmem with pages in a pipe");
	check_current(SIZE);
	nm_read_verify(fd[0], PAGES / 2, 0, SEED);
	nm_read_verify(rx.fd, PAGES / 2, PAGES / 2 * NM_PAGE, SEED);
	unbind();
}

static void spliced(void)
{
	test_in(spliced_fn);
}

/* Who cannot pay is told so; the queue has the memory it had, and works */
static void poor_fn(void)
{
	uint32_t id = pool_now().id;
	int ret;

	ret = nm_bind_kernel(&binding, pair.rx_ifindex, 0, 1, SIZE, huge);
	nm_check_eq(ret, -ENOMEM, "bind");
	nm_check(strstr(binding.why, "cgroup"), "why: %s", binding.why);
	nm_check_eq(pool_now().id, id, "the pool");
	check_stat(cg, "netmem_provider", 0);
	nm_check(cg_read_long(cg, "memory.current") < SIZE / 2, "still charged");
	receive_again();

	/* Up to the headroom, it can */
	bind_memory(SIZE / 2);
	receive_again();
	unbind();
	check_no_oom(cg);
}

static void poor(void)
{
	create_cgroup();
	set_limit(cg, "memory.max", SIZE * 3 / 4);
	nm_pair_create(&pair, NM_RING);
	run_in(cg, poor_fn);
}

/* A cgroup that is removed does not live on by memory that it had bound */
static long dying(void)
{
	return nm_key("/sys/fs/cgroup/cgroup.stat", "nr_dying_subsys_memory");
}

static void cgroup_removed(void)
{
	long before;

	create_nested();
	nm_pair_create(&pair, NM_RING);
	before = dying();
	nm_check(before >= 0, "cgroup.stat has no nr_dying_subsys_memory");
	/* A socket keeps the cgroup that it was opened in */
	open_conn(PAGES);
	nm_bind_open(&binding);
	nm_check(!cg_enter_current(cg_a), "enter");
	nm_check(!nm_bind_opened(&binding, pair.rx_ifindex, 0, 1, SIZE, huge),
		 "bind: %s", binding.why);
	receive_mapped(PAGES);
	nm_check(!cg_enter_current(root), "leave");
	check_stat(cg, "netmem_provider", SIZE);
	nm_check(!rmdir(cg_a), "rmdir");
	/* Its stock of charges is given back by a charge of others */
	nm_check(nm_until(!cg_write(cg, "memory.high", "max") &&
			  dying() <= before, STAT_MS),
		 "%ld cgroups are dying, before %ld", dying(), before);
	check_stat(cg, "netmem_provider", SIZE);
	nm_check_eq(pool_now().provider_cgroup, cgroup_id(cg),
		    "provider-cgroup-id of the parent");

	nm_rx_exit(&rx);
	unbind();
	check_stat(cg, "netmem_provider", 0);
	check_stat(cg, "file_mapped", 0);
	nm_check(nm_until(cg_read_long(cg, "memory.current") < MIB, STAT_MS),
		 "memory.current is %ld", cg_read_long(cg, "memory.current"));
}

/* In strict mode, too, it can be mapped: it is paid for */
static void strict_fn(void)
{
	set_mode("2");
	bind_memory(SIZE);
	open_conn(PAGES);
	receive_mapped(PAGES);
	nm_rx_verify(&rx);
	nm_check_eq(stat_of(cg, "netmem"), 0, "netmem");
	nm_rx_exit(&rx);
	unbind();
}

static void strict(void)
{
	test_in(strict_fn);
}

/* ----- the memory of the queue ----- */

/*
 * The queue has what was bound, and no more. While all of it is held nothing
 * can come, and all comes once it is not.
 */
static void bounded_fn(void)
{
	const size_t all = PAGES / 4;
	struct nm_pool pool;
	pid_t sender;

	bind_memory(all * NM_PAGE);
	open_conn(PAGES);
	sender = nm_send(conn.tx, 0, PAGES * NM_PAGE, SEED);
	nm_check(nm_until((pool = pool_now(), !pool.kernel_idle && !pool.cached),
			  NM_TIMEOUT_MS), "there are buffers left");
	nm_check_eq(pool.inflight, all, "pages inflight");
	nm_check(nm_rx_waiting(&rx) <= all, "%zu pages wait",
		 nm_rx_waiting(&rx));

	while (rx.off < PAGES * NM_PAGE) {
		nm_rx_step(&rx, 0, all / 2);
		nm_rx_verify(&rx);
		nm_rx_reuse(&rx);
	}
	nm_wait(sender);
	nm_rx_exit(&rx);
	unbind();
}

static void bounded(void)
{
	test_in(bounded_fn);
}

/*
 * Pages that are lent when their pool goes are the next one's as soon as they
 * are given back.
 */
static void restarted_fn(void)
{
	uint32_t id;
	unsigned int i;

	bind_memory(SIZE);
	for (i = 0; i < 10; i++) {
		open_conn(PAGES);
		receive_mapped(PAGES);
		id = pool_now().id;
		nm_pair_restart(&pair);
		nm_check(pool_now().id != id, "still the same pool");
		nm_check(nm_until(!nm_pool_exists(id), GONE_MS),
			 "the old pool stays");
		nm_rx_verify(&rx);
		nm_check_eq(stat_of(cg, "netmem_provider"), SIZE,
			    "netmem_provider");
		nm_rx_exit(&rx);
		close(conn.tx);
		close(conn.listener);
	}
	nm_check(nm_until(pool_now().kernel_idle +
			  pool_now().inflight * NM_PAGE == SIZE, NM_TIMEOUT_MS),
		 "%llu idle, %llu pages inflight",
		 (unsigned long long)pool_now().kernel_idle,
		 (unsigned long long)pool_now().inflight);
	receive_again();
	unbind();
}

static void restarted(void)
{
	test_in(restarted_fn);
}

static void restarted_huge(void)
{
	huge = true;
	test_in(restarted_fn);
}

static unsigned int pools_with(uint32_t id)
{
	struct nm_pool pools[NM_MAX_POOLS];
	unsigned int i, nr, with = 0;

	nr = nm_pools(pools, NM_MAX_POOLS);
	for (i = 0; i < nr; i++)
		with += pools[i].kernel == id;

	return with;
}

/*
 * Two queues share what is bound to both. If one of them cannot have it, neither
 * has.
 */
static void two_queues_fn(void)
{
	unsigned int pools = pools_with(0);
	struct nm_binding one;
	int ret;

	ret = nm_bind_kernel(&binding, pair.rx_ifindex, 0, 2, SIZE, huge);
	nm_check(!ret, "bind: %s", binding.why);
	nm_check_eq(pools_with(binding.id), 2, "pools with the memory");
	check_stat(cg, "netmem_provider", SIZE);
	receive_again();
	close(binding.fd);
	nm_check_eq(pools_with(binding.id), 0, "pools with the memory");

	ret = nm_bind_kernel(&one, pair.rx_ifindex, 1, 1, SIZE, huge);
	nm_check(!ret, "bind: %s", one.why);
	ret = nm_bind_kernel(&binding, pair.rx_ifindex, 0, 2, SIZE, huge);
	nm_check_eq(ret, -EEXIST, "bind a queue again");
	check_stat(cg, "netmem_provider", SIZE);
	nm_check_eq(pools_with(one.id), 1, "pools with the first memory");
	nm_check_eq(pools_with(0), pools - 1, "pools with memory of their own");
	receive_again();
	close(one.fd);
	check_stat(cg, "netmem_provider", 0);
}

static void two_queues(void)
{
	nm_need_netdevsim("a device with two queues");
	pair.queues = 2;
	test_in(two_queues_fn);
}

/* The link goes down and up again: the memory stays */
static void down_fn(void)
{
	bind_memory(SIZE);
	open_conn(PAGES);
	receive_mapped(PAGES);
	nm_link_set(pair.rx_name, false);
	nm_rx_verify(&rx);
	check_stat(cg, "netmem_provider", SIZE);
	nm_link_set(pair.rx_name, true);
	nm_check_eq(pool_now().kernel, binding.id, "binding of the pool");
	nm_rx_exit(&rx);
	receive_again();

	/* Unbound while there is no pool, as well */
	nm_link_set(pair.rx_name, false);
	close(binding.fd);
	check_stat(cg, "netmem_provider", 0);
	nm_link_set(pair.rx_name, true);
	nm_check(!pool_now().kernel, "the queue still has the memory");
	receive_again();
}

static void down(void)
{
	test_in(down_fn);
}

/* ----- the end ----- */

/*
 * Who holds pages when the memory is unbound keeps these, charged, and the rest
 * is free at once. The queue does not wait for them.
 */
static void held_fn(void)
{
	uint32_t id;

	bind_memory(SIZE);
	open_conn(PAGES);
	receive_mapped(PAGES);
	id = pool_now().id;
	unbind();
	nm_check(nm_until(!nm_pool_exists(id), GONE_MS), "the pool stays");
	check_stat(cg, "netmem_provider", BYTES);
	nm_check(stat_of(cg, "kernel") >= BYTES, "kernel is %ld",
		 stat_of(cg, "kernel"));
	nm_check(cg_read_long(cg, "memory.current") < SIZE, "all is charged");
	nm_rx_verify(&rx);
	nm_rx_unmap(&rx, 0, PAGES / 2);
	check_stat(cg, "netmem_provider", BYTES / 2);
	nm_rx_exit(&rx);
	check_stat(cg, "netmem_provider", 0);
}

static void held(void)
{
	test_in(held_fn);
}

/* The same, the device being removed before, and the socket closed after */
static void removed_fn(void)
{
	/* Nobody answers any more: let the socket not wait for it */
	const struct linger at_once = { .l_onoff = 1 };
	uint32_t id;

	bind_memory(SIZE);
	open_conn(PAGES);
	receive_mapped(PAGES);
	id = pool_now().id;
	nm_pair_delete();
	nm_check(nm_until(!nm_pool_exists(id), GONE_MS), "the pool stays");
	check_stat(cg, "netmem_provider", BYTES);
	nm_rx_verify(&rx);
	nm_rx_unmap(&rx, 0, PAGES / 2);
	close(binding.fd);
	setsockopt(rx.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	nm_rx_exit(&rx);
	check_stat(cg, "netmem_provider", 0);
}

static void removed(void)
{
	nm_need_netdevsim("removes the device");
	test_in(removed_fn);
}

static void removed_huge(void)
{
	nm_need_netdevsim("removes the device");
	huge = true;
	test_in(removed_fn);
}

/* What waits in a socket keeps the pool, and the pool the memory */
static void queued_fn(void)
{
	uint32_t id;

	bind_memory(SIZE);
	open_conn(PAGES);
	nm_send_now(conn.tx, 0, PAGES / 2 * NM_PAGE, SEED);
	nm_check(nm_until(nm_rx_waiting(&rx) == PAGES / 2, NM_TIMEOUT_MS),
		 "not all came");
	id = pool_now().id;
	unbind();
	nm_check(nm_pool_exists(id), "the pool left its pages");
	check_stat(cg, "netmem_provider", BYTES / 2);

	nm_rx_map(&rx, PAGES / 4);
	nm_read_verify(rx.fd, PAGES / 4, PAGES / 4 * NM_PAGE, SEED);
	nm_check(nm_until(!nm_pool_exists(id), NM_TIMEOUT_MS),
		 "the pool stays");
	nm_rx_verify(&rx);
	nm_rx_exit(&rx);
	check_stat(cg, "netmem_provider", 0);
}

static void queued(void)
{
	test_in(queued_fn);
}

/* ----- killed, over and over ----- */

static unsigned int round_nr;

static void bind_and_receive(void)
{
	huge = round_nr % 4 == 3;
	bind_memory(SIZE);
	if (round_nr % 3 == 0)
		nm_tell(&first_sync, 1);
	accept_stream(PAGES);
	if (round_nr % 3 == 1)
		nm_tell(&first_sync, 1);
	for (;;) {
		nm_rx_step(&rx, 0, PAGES / 2);
		if (round_nr % 3 == 2)
			nm_tell(&first_sync, 1);
	}
}

/*
 * A thousand times who has bound memory is killed, at any moment: bound, being
 * sent to, or holding and receiving. Each time the queue has its own memory
 * again. In the end there is as much memory as in the beginning.
 */
static void one_round(void)
{
	pid_t sender, binder;

	nm_sync_init(&first_sync);
	nm_conn_open(&conn, -1, pair.ns_tx, NM_ADDR_RX);
	sender = nm_send(conn.tx, 0, NM_ENDLESS, SEED);
	binder = start_in(cg, bind_and_receive);
	nm_await(&first_sync, 0);
	usleep(round_nr * 37 % 1000);
	nm_kill(binder);
	nm_kill(sender);
	close(conn.tx);
	close(conn.listener);
	close(first_sync.fd[0]);
	close(first_sync.fd[1]);
	nm_check(nm_until(!pool_now().kernel, NM_TIMEOUT_MS),
		 "round %u: the queue still has the memory", round_nr);
}

static void killed(void)
{
	const unsigned int rounds = 1000, first = 20;
	long free_before = 0, pools = 0;

	create_cgroup();
	nm_pair_create(&pair, NM_RING);
	for (round_nr = 0; round_nr < rounds; round_nr++) {
		/* The first ones make the slabs, and the like, grow */
		if (round_nr == first) {
			free_before = nm_mem_free();
			pools = page_pool_bytes();
		}
		one_round();
	}

	check_stat(cg, "netmem_provider", 0);
	nm_check(nm_until(page_pool_bytes() < pools + MIB, NM_TIMEOUT_MS),
		 "PagePool is %ld, was %ld", page_pool_bytes(), pools);
	nm_check(nm_until(nm_mem_free() > free_before - free_before / 100,
			  NM_TIMEOUT_MS), "%ld KiB free, before %ld",
		 nm_mem_free() >> 10, free_before >> 10);
	run_in(cg, charged_fn);
}

/* The socket is closed, and a new one bound, under a stream that goes on */
static void receive_on(void *arg)
{
	for (;;) {
		nm_rx_step(&rx, 0, PAGES);
		nm_rx_verify(&rx);
		nm_rx_reuse(&rx);
	}
}

static void rebound_fn(void)
{
	pid_t sender, receiver;
	unsigned int i;

	open_conn(PAGES);
	sender = nm_send(conn.tx, 0, NM_ENDLESS, SEED);
	receiver = nm_fork(receive_on, NULL);
	for (i = 0; i < 100; i++) {
		huge = i % 2;
		bind_memory(i % 3 ? SIZE : PIECE);
		unbind();
	}
	nm_kill(receiver);
	nm_kill(sender);
	nm_rx_exit(&rx);
	check_stat(cg, "netmem_provider", 0);
}

static void rebound(void)
{
	test_in(rebound_fn);
}

/* ----- what users do wrong ----- */

static void refused(uint32_t ifindex, uint32_t queue, long size, bool in_pieces,
		    int err)
{
	int ret = nm_bind_kernel(&binding, ifindex, queue, 1, size, in_pieces);

	nm_check(ret == err, "queue %u, %ld bytes%s: %s, not %s", queue, size,
		 in_pieces ? " in pieces" : "", strerror(-ret), strerror(-err));
	nm_check(binding.why[0], "queue %u, %ld bytes: no reason", queue, size);
}

static void no_split(void)
{
	nm_rings_set(pair.rx_name, NM_RING, false);
	refused(pair.rx_ifindex, 0, SIZE, false, -EINVAL);
	nm_rings_set(pair.rx_name, NM_RING, true);
}

static void errors_fn(void)
{
	struct nm_binding first;
	struct sysinfo si;

	nm_check(!sysinfo(&si), "sysinfo");
	refused(pair.rx_ifindex, 0, 0, false, -EINVAL);
	refused(pair.rx_ifindex, 0, 100, false, -EINVAL);
	refused(pair.rx_ifindex, 0, SIZE + NM_PAGE, true, -EINVAL);
	refused(pair.rx_ifindex, 0, -NM_PAGE, false, -EINVAL);
	refused(pair.rx_ifindex, 0, si.totalram / NM_PAGE * NM_PAGE - NM_PAGE,
		false, -ENOMEM);
	refused(pair.rx_ifindex, 1000, SIZE, false, -EINVAL);
	refused(1000, 0, SIZE, false, -ENODEV);
	/* The loopback device */
	refused(1, 0, SIZE, false, -EOPNOTSUPP);
	no_split();

	bind_memory(SIZE);
	first = binding;
	refused(pair.rx_ifindex, 0, SIZE, false, -EEXIST);
	binding = first;
	receive_again();
	unbind();
	check_stat(cg, "netmem_provider", 0);
	check_no_oom(cg);
}

static void errors(void)
{
	test_in(errors_fn);
}

static const struct nm_test tests[] = {
	NM_TEST(charged),
	NM_TEST(charged_huge),
	NM_TEST(mapped_once),
	NM_TEST(spliced),
	NM_TEST(strict),
	NM_TEST(poor),
	NM_TEST(cgroup_removed),
	NM_TEST(bounded),
	NM_TEST(restarted),
	NM_TEST(restarted_huge),
	NM_TEST(two_queues),
	NM_TEST(down),
	NM_TEST(held),
	NM_TEST(removed),
	NM_TEST(removed_huge),
	NM_TEST(queued),
	NM_TEST(killed),
	NM_TEST(rebound),
	NM_TEST(errors),
};

int main(int argc, char **argv)
{
	return run_tests(argc, argv, tests, ARRAY_SIZE(tests));
}

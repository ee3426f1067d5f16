// SPDX-License-Identifier: GPL-2.0
/*
 * TCP receive zero copy out of pages of higher order, as fast NICs have them in
 * their page_pools: user space maps parts of a page, the whole of it is charged,
 * and it comes home when nobody has a part of it any more.
 *
 * Packets carry 7 pages of the stream, in buffers of 8, 16 or 64 KiB: the last
 * buffer of a packet is not full.
 *
 * On stock: all fail, no part of a larger page is mapped.
 *
 * Usage: test_netmem_large [TEST...]
 */
#include <errno.h>
#include <linux/kernel-page-flags.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "netmem_cgroup.h"

/* TCP sends no more at once than half the first window, which is 64 KiB. */
#define PACKET_PAGES	7
#define PACKETS		32
#define STREAM		(PACKETS * PACKET_PAGES)
/* 20 bytes each of IP and TCP, 12 of timestamps */
#define LARGE_MTU	(PACKET_PAGES * (int)NM_PAGE + 52)
#define RING		512

static unsigned int buffer_size;

static uint64_t buffer_of(size_t index)
{
	return nm_pfn(rx.area + index * NM_PAGE) * NM_PAGE / buffer_size;
}

/* Buffers of all that is mapped: the stream goes from one to the next. */
static unsigned int buffers(void)
{
	unsigned int nr = 0;
	size_t i;

	for (i = 0; i < STREAM; i++)
		nr += !i || buffer_of(i) != buffer_of(i - 1);

	return nr;
}

static void set_mtu(void *arg)
{
	nm_link_mtu(arg, LARGE_MTU);
}

static void open_large(void)
{
	nm_pair_create(&pair, RING);
	nm_buffers_set(pair.rx_name, buffer_size);
	nm_pair_restart(&pair);
	nm_in_ns(pair.ns_rx, set_mtu, pair.rx_name);
	nm_in_ns(pair.ns_tx, set_mtu, pair.tx_name);
	nm_conn_open(&conn, -1, pair.ns_tx, NM_ADDR_RX);
}

static void large_test(unsigned int size, void (*fn)(void))
{
	buffer_size = size;
	create_cgroup();
	open_large();
	send_pages(STREAM);
	run_in(cg, fn);
}

static struct nm_pool pool_now(void)
{
	struct nm_pool pool;

	nm_check(nm_pool_get(pair.rx_ifindex, &pool), "no page_pool");

	return pool;
}

/* @nr buffers are lent, and charged in full */
static void check_held(unsigned int nr)
{
	nm_until(pool_now().lent == nr, STAT_MS);
	nm_check_eq(pool_now().lent, nr, "buffers lent");
	check_netmem(cg, nr * (long)buffer_size);
}

static void check_head(const char *page)
{
	uint64_t flags = nm_kpageflags(nm_pfn(page));

	nm_check(flags & (1ULL << KPF_COMPOUND_HEAD), "no head: flags %llx",
		 (unsigned long long)flags);
}

/* In pieces that end within buffers, as well */
static void map_all(void)
{
	size_t left = STREAM, piece;

	while (left) {
		piece = left < 7 ? left : 7;
		nm_rx_map(&rx, piece);
		left -= piece;
	}
}

/* Of each buffer, all but the page that is mapped first */
static void unmap_rest(void)
{
	uint64_t buffer, last = 0;
	size_t i;

	for (i = 0; i < STREAM; i++) {
		buffer = buffer_of(i);
		if (buffer == last)
			nm_rx_unmap(&rx, i, 1);
		last = buffer;
	}
}

static void mapped_fn(void)
{
	unsigned int nr;

	accept_stream(STREAM);
	map_all();
	nm_rx_verify(&rx);
	check_head(rx.area);
	nr = buffers();
	nm_check(nr < STREAM, "%u buffers for %d pages", nr, STREAM);
	check_held(nr);

	unmap_rest();
	nm_rx_verify(&rx);
	check_held(nr);

	nm_rx_exit(&rx);
	check_held(0);
}

/* Each part of each page at its place, charged with all of the page */
static void mapped_8k(void)
{
	large_test(8 << 10, mapped_fn);
}

static void mapped_16k(void)
{
	large_test(16 << 10, mapped_fn);
}

static void mapped_64k(void)
{
	large_test(64 << 10, mapped_fn);
}

static void limit_fn(void)
{
	const uint64_t bytes = MB(100ULL);
	long max = cg_read_long(cg, "memory.max");

	accept_stream(bytes / NM_PAGE);
	nm_rx_keep(&rx, bytes);
	nm_rx_verify(&rx);
	nm_check_eq(rx.off, bytes, "bytes received");
	nm_check(rx.mapped, "nothing mapped");
	nm_check(stat_of(cg, "netmem") >= max / 2, "netmem %ld",
		 stat_of(cg, "netmem"));
	nm_check(cg_read_long(cg, "memory.peak") <= max, "memory.peak %ld",
		 cg_read_long(cg, "memory.peak"));
	check_no_oom(cg);
}

/* A limit counts whole pages, and what does not fit is read */
static void limit_64k(void)
{
	buffer_size = 64 << 10;
	create_cgroup();
	set_limit(cg, "memory.max", MB(16L));
	open_large();
	send_pages(MB(100L) / NM_PAGE);
	run_in(cg, limit_fn);
	check_held(0);
}

static void held_fn(void)
{
	int fds[2], pinned;

	accept_stream(STREAM);
	map_all();
	nm_pipe(fds, PACKETS);
	nm_vmsplice(fds[1], rx.area + NM_PAGE, 1);
	pinned = nm_pin(rx.area + (PACKET_PAGES + 5) * NM_PAGE, 1);
	check_held(buffers());
	nm_rx_unmap(&rx, 0, STREAM);

	/* One in the pipe, one pinned, both with other data of the same page */
	check_held(2);
	nm_pin_verify(pinned, 1, (PACKET_PAGES + 5) * NM_PAGE, SEED);
	nm_read_verify(fds[0], 1, NM_PAGE, SEED);
	check_held(1);
	close(pinned);
	check_held(0);
}

/* A pipe and a pin hold a page of which they have a part */
static void held_16k(void)
{
	large_test(16 << 10, held_fn);
}

static void forked_fn(void *arg)
{
	(void)arg;
	nm_rx_verify(&rx);
}

static void cloned_fn(void)
{
	accept_stream(STREAM);
	map_all();
	nm_wait(nm_fork(forked_fn, NULL));
	check_held(buffers());
	nm_rx_exit(&rx);
	check_held(0);
}

/* Shared with a child, which exits first */
static void cloned_64k(void)
{
	large_test(64 << 10, cloned_fn);
}

static void recycled_fn(void)
{
	const unsigned int rounds = 64;
	struct nm_pool before;
	unsigned int i;

	accept_stream(STREAM);
	map_all();
	nm_rx_reuse(&rx);
	check_held(0);
	before = pool_now();
	for (i = 0; i < rounds; i++) {
		nm_tell(&first_sync, 1);
		map_all();
		nm_rx_verify(&rx);
		nm_rx_reuse(&rx);
	}
	check_held(0);
	/* What it has is enough */
	nm_check(pool_now().slow - before.slow <= STREAM,
		 "%llu new buffers for %u rounds",
		 (unsigned long long)(pool_now().slow - before.slow), rounds);
	nm_check_eq(pool_now().released - before.released, 0, "buffers released");
	nm_tell(&second_sync, 1);
}

/* The same pages again and again */
static void recycled_16k(void)
{
	uint64_t off = STREAM * NM_PAGE;
	unsigned int i;
	pid_t pid;

	buffer_size = 16 << 10;
	create_cgroup();
	nm_sync_init(&first_sync);
	nm_sync_init(&second_sync);
	open_large();
	send_pages(STREAM);
	pid = start_in(cg, recycled_fn);
	for (i = 0; i < 64; i++) {
		nm_await(&first_sync, 0);
		nm_wait(nm_send(conn.tx, off, STREAM * NM_PAGE, SEED));
		off += STREAM * NM_PAGE;
	}
	nm_await(&second_sync, 0);
	nm_wait(pid);
}

/* The second page of the first buffer is broken from now on. */
static void poison_page(void *arg)
{
	(void)arg;
	madvise(rx.area + NM_PAGE, NM_PAGE, MADV_HWPOISON);
}

static void count_refused(const struct nm_event *ev, void *arg)
{
	unsigned int *refused = arg;

	if (nm_event_is(ev, "page_pool_return"))
		*refused += !nm_event_u64(ev, "recyclable", 1);
}

static void poisoned_fn(void)
{
	unsigned int refused = 0;
	uint64_t pfn;

	accept_stream(STREAM);
	map_all();
	check_held(buffers());
	pfn = nm_pfn(rx.area + NM_PAGE);
	nm_trace_event("page_pool:page_pool_return");
	nm_trace_start();
	nm_check(waitpid(nm_fork(poison_page, NULL), NULL, 0) > 0, "waitpid");
	nm_check(nm_kpageflags(pfn) >> KPF_HWPOISON & 1, "the page is not marked");

	nm_rx_exit(&rx);
	check_held(0);
	nm_trace_walk(count_refused, &refused);
	nm_check_eq(refused, 1, "buffers that were not recycled");
}

/* A buffer of which a part is broken is not used again */
static void poisoned_16k(void)
{
	large_test(16 << 10, poisoned_fn);
}

static const struct nm_test tests[] = {
	NM_TEST(mapped_8k),
	NM_TEST(mapped_16k),
	NM_TEST(mapped_64k),
	NM_TEST(limit_64k),
	NM_TEST(held_16k),
	NM_TEST(cloned_64k),
	NM_TEST(recycled_16k),
	NM_TEST(poisoned_16k),
};

int main(int argc, char **argv)
{
	return run_tests(argc, argv, tests, ARRAY_SIZE(tests));
}

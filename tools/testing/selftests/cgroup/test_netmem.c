// SPDX-License-Identifier: GPL-2.0
/*
 * Received data that a process maps with TCP_ZEROCOPY_RECEIVE, or splices into
 * pipes, are charged to its memory cgroup before that, page by page, until the
 * last reference to the page is dropped.
 *
 * On stock 7.3 nothing is charged: what a cgroup holds that way is not limited
 * and not counted.
 *
 * Usage: test_netmem [TEST...]
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/if_ether.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "netmem_cgroup.h"

static void map_all(void)
{
	accept_stream(PAGES);
	nm_rx_map(&rx, PAGES);
	check_netmem(cg, BYTES);
}

/* ----- charging ----- */

struct order {
	int pid;
	uint64_t cgroup;
	long charged;
	long inserted;
	bool late;
	bool returned;	/* from the call that maps */
};

static void order_event(const struct nm_event *ev, void *arg)
{
	struct order *order = arg;

	if (ev->pid != order->pid)
		return;

	if (nm_event_is(ev, "tracing_mark_write")) {
		order->returned = true;
	} else if (nm_event_is(ev, "netmem_charge")) {
		nm_check_eq(nm_event_u64(ev, "cgroup", 0), order->cgroup,
			    "cgroup charged");
		order->charged += nm_event_u64(ev, "count", 0);
		order->late |= order->returned;
	} else if (nm_event_is(ev, "insert")) {
		order->inserted += nm_event_u64(ev, "nr", 0);
		nm_check(order->charged >= order->inserted,
			 "%ld pages charged when page %ld is mapped",
			 order->charged, order->inserted);
	}
}

static void charge_before_map_fn(void)
{
	struct order order = { .pid = getpid() };
	struct stat st;
	size_t i;

	nm_check(!stat(cg, &st), "stat");
	order.cgroup = st.st_ino;
	accept_stream(PAGES);

	nm_trace_event("netmem:netmem_charge");
	if (!nm_trace_kprobe("vm_insert_pages nr=+0($arg4):u64", "insert"))
		nm_skip("no kprobe on vm_insert_pages (CONFIG_KPROBE_EVENTS)");
	nm_trace_start();
	nm_rx_map(&rx, PAGES);
	nm_trace_mark("returned");

	/* Neither use nor the end of a mapping charge anything */
	nm_rx_verify(&rx);
	for (i = 0; i < PAGES; i++)
		nm_check_eq(nm_kpagecgroup(nm_pfn(rx.area + i * NM_PAGE)),
			    st.st_ino, "cgroup of a mapped page");
	nm_rx_exit(&rx);

	nm_trace_walk(order_event, &order);
	nm_check_eq(order.inserted, PAGES, "pages mapped");
	nm_check_eq(order.charged, PAGES, "pages charged");
	nm_check(!order.late, "charged after the call returned");
}

/*
 * Every page is charged before vm_insert_pages() is called for it, and none
 * afterwards; /proc/kpagecgroup names the cgroup.
 *
 * On stock: fails, there is no charge.
 */
static void charge_before_map(void)
{
	simple_test(charge_before_map_fn);
}

struct counters {
	long current;
	long file_mapped;
	long mapped;	/* pages, of the machine */
};

/* Other processes may map some pages, too, and each CPU counts some later. */
static void check_mapped(long want)
{
	long slack = 128 * sysconf(_SC_NPROCESSORS_ONLN);
	long mapped = nm_key("/proc/vmstat", "nr_mapped");

	nm_check(mapped >= want - slack && mapped <= want + slack,
		 "nr_mapped is %ld, not %ld", mapped, want);
}

/* One step of counters_at_every_step(): @pages pages are mapped */
static void check_step(const struct counters *base, long pages)
{
	long rise, bytes = pages * NM_PAGE;

	/* Part of it may come out of stocks that were filled before */
	rise = cg_read_long(cg, "memory.current") - base->current;
	nm_check(rise >= bytes - STOCK_BYTES,
		 "memory.current rose by %ld with %ld mapped", rise, bytes);
	check_netmem(cg, bytes);
	/* They are of no file */
	check_stat(cg, "file_mapped", base->file_mapped);
	check_mapped(base->mapped + pages);
	/* All else is page tables and the socket, whose buffer the kernel doubles */
	rise = cg_read_long(cg, "memory.current") - base->current;
	nm_check(rise <= bytes + STOCK_BYTES + 2 * NM_RCVBUF,
		 "memory.current rose by %ld with %ld mapped", rise, bytes);
}

static void counters_fn(void)
{
	struct counters base;

	accept_stream(8 * PAGES);
	nm_check(stat_of(cg, "file_mapped") >= 0, "no file_mapped");
	base.current = cg_read_long(cg, "memory.current");
	base.file_mapped = stat_of(cg, "file_mapped");
	base.mapped = nm_key("/proc/vmstat", "nr_mapped");
	nm_tell(&first_sync, 1);

	nm_rx_map(&rx, 4 * PAGES);
	check_step(&base, 4 * PAGES);
	nm_rx_map(&rx, 4 * PAGES);
	check_step(&base, 8 * PAGES);
	nm_rx_unmap(&rx, PAGES, 6 * PAGES);
	check_step(&base, 2 * PAGES);
	nm_rx_verify(&rx);
	nm_rx_exit(&rx);
	check_step(&base, 0);
	check_stat(cg, "sock", 0);
}

/*
 * memory.current, netmem, sock, file_mapped and the machine's nr_mapped at every
 * step of mapping and unmapping.
 *
 * On stock: fails, memory.current does not rise.
 */
static void counters_at_every_step(void)
{
	pid_t pid;

	create_cgroup();
	nm_sync_init(&first_sync);
	open_stream();
	pid = start_in(cg, counters_fn);
	/* Not before it has looked: what waits in the socket is charged, too */
	nm_await(&first_sync, 0);
	send_pages(8 * PAGES);
	nm_wait(pid);
}

/* ----- limits ----- */

static uint64_t stream_bytes;
static bool tune_rcvbuf;

/* Keeps what it can of stream_bytes, and says how much that was */
static void keep_fn(void)
{
	accept_stream(stream_bytes / NM_PAGE);
	if (tune_rcvbuf)
		nm_tune_rcvbuf(rx.fd);
	nm_rx_keep(&rx, stream_bytes);
	nm_rx_verify(&rx);
	nm_check_eq(rx.off, stream_bytes, "bytes received");
	ksft_print_msg("%llu KiB mapped, %llu KiB copied\n",
		       (unsigned long long)rx.mapped >> 10,
		       (unsigned long long)rx.copied >> 10);
}

static void check_kept(const char *cgroup, long min, long max)
{
	nm_check((long)rx.mapped <= max, "%llu bytes mapped, limit %ld",
		 (unsigned long long)rx.mapped, max);
	nm_check((long)rx.mapped >= min, "only %llu bytes mapped",
		 (unsigned long long)rx.mapped);
	check_netmem(cgroup, rx.mapped);
	check_no_oom(cgroup);
}

static void limit_fn(void)
{
	long max = cg_read_long(cg, "memory.max");
	long nomem = nm_netstat("TCPZeroCopyRxNoMem");

	keep_fn();
	check_kept(cg, max / 2, max);
	nm_check(cg_read_long(cg, "memory.peak") <= max, "memory.peak %ld",
		 cg_read_long(cg, "memory.peak"));
	nm_check(nm_netstat("TCPZeroCopyRxNoMem") > nomem,
		 "TCPZeroCopyRxNoMem %ld", nm_netstat("TCPZeroCopyRxNoMem"));
}

/*
 * A receiver that wants to keep 200 MiB with memory.max = 16 MiB never has
 * more, loses not a byte (what it cannot map it reads), and is not killed.
 * Afterwards the cgroup has what it had before, and the pool what its ring
 * holds.
 *
 * On stock: fails, all 200 MiB are mapped.
 */
static void limit_max(void)
{
	struct nm_pool pool;
	long current;

	create_cgroup();
	set_limit(cg, "memory.max", MB(16L));
	stream_bytes = MB(200ULL);
	open_stream();
	send_pages(stream_bytes / NM_PAGE);
	current = cg_read_long(cg, "memory.current");
	run_in(cg, limit_fn);

	check_netmem(cg, 0);
	check_stat(cg, "sock", 0);
	nm_check(nm_until(cg_read_long(cg, "memory.current") <=
			  current + STOCK_BYTES, STAT_MS),
		 "memory.current is %ld in the end",
		 cg_read_long(cg, "memory.current"));
	nm_check(nm_pool_get(pair.rx_ifindex, &pool), "no page_pool");
	/* In its ring, in its cache, and what the device has */
	nm_check(pool.inflight <= pair.keeps + 128, "the pool owns %llu pages",
		 (unsigned long long)pool.inflight);
}

static void limit_copybuf_fn(void)
{
	accept_stream(stream_bytes / NM_PAGE);
	/* It would get what follows a mapped page */
	nm_need_pages(rx.fd);
	rx.copybuf = true;
	nm_rx_keep(&rx, stream_bytes);
	nm_rx_verify(&rx);
	check_kept(cg, MB(4L), MB(8L));
}

/*
 * The same when the call itself is to copy what it does not map (copybuf).
 *
 * On stock: fails, all is mapped.
 */
static void limit_copybuf(void)
{
	create_cgroup();
	set_limit(cg, "memory.max", MB(8L));
	stream_bytes = MB(24ULL);
	open_stream();
	send_pages(stream_bytes / NM_PAGE);
	run_in(cg, limit_copybuf_fn);
}

static void limit_rcvbuf_fn(void)
{
	tune_rcvbuf = true;
	limit_fn();
	nm_check(rx.mapped >= MB(12ULL), "only %llu bytes mapped",
		 (unsigned long long)rx.mapped);
}

/*
 * The same on a path so long that TCP tunes the receive buffer to a large part of
 * the limit: it does not take what could be mapped.
 *
 * On stock: fails, all is mapped.
 */
static void limit_rcvbuf(void)
{
	create_cgroup();
	set_limit(cg, "memory.max", MB(16L));
	stream_bytes = MB(48ULL);
	open_stream();
	nm_pair_delay(&pair, 20);
	send_pages(stream_bytes / NM_PAGE);
	run_in(cg, limit_rcvbuf_fn);
}

/* Memory of the process itself, and that it really has it */
static void use_memory(size_t size)
{
	char *mem = malloc(size);

	nm_check(mem, "malloc");
	nm_fill(mem, 0, size, SEED);
	nm_check_eq(nm_verify(mem, 0, size, SEED), size, "good bytes");
	free(mem);
}

static void exit_fn(void *arg)
{
}

static void use_at_limit_fn(void)
{
	const size_t size = 256 << 10;

	keep_fn();
	check_kept(cg, MB(4L), MB(8L));

	use_memory(size);
	nm_wait(nm_fork(exit_fn, NULL));
	nm_send_now(rx.fd, 0, size, ~SEED);
	nm_rx_verify(&rx);
	check_no_oom(cg);
}

/*
 * Mapped pages never take the last of a limit: who maps all it can still gets
 * memory, a child, and socket buffers to answer with.
 *
 * On stock: fails, all is mapped.
 */
static void use_at_limit(void)
{
	pid_t pid;

	create_cgroup();
	set_limit(cg, "memory.max", MB(8L));
	stream_bytes = MB(16ULL);
	open_stream();
	send_pages(stream_bytes / NM_PAGE);
	pid = start_in(cg, use_at_limit_fn);
	nm_read_verify(conn.tx, (256 << 10) / NM_PAGE, 0, ~SEED);
	nm_wait(pid);
}

static void nested_fn(void)
{
	keep_fn();
	check_kept(cg_a, MB(4L), MB(8L));
	check_no_oom(cg);
	nm_check(cg_read_long(cg, "memory.peak") <= (long)MB(8L),
		 "memory.peak %ld", cg_read_long(cg, "memory.peak"));
}

/*
 * The limit of a parent, tighter than that of the child, holds, too.
 *
 * On stock: fails, all is mapped.
 */
static void limit_parent(void)
{
	create_nested();
	set_limit(cg, "memory.max", MB(8L));
	set_limit(cg_a, "memory.max", MB(64L));
	stream_bytes = MB(24ULL);
	open_stream();
	send_pages(stream_bytes / NM_PAGE);
	run_in(cg_a, nested_fn);
}

static void sibling(struct nm_sync *sync)
{
	keep_fn();
	nm_tell(sync, 1);
	nm_await(sync, 1);
	nm_rx_verify(&rx);
}

static void first_sibling_fn(void)
{
	sibling(&first_sync);
}

static void second_sibling_fn(void)
{
	sibling(&second_sync);
}

/*
 * Two children share what the parent's limit allows: whoever comes second gets
 * only the rest.
 *
 * On stock: fails, both map all.
 */
static void limit_siblings(void)
{
	pid_t first, second;
	long a, b;

	create_nested();
	set_limit(cg, "memory.max", MB(16L));
	nm_sync_init(&first_sync);
	nm_sync_init(&second_sync);
	open_stream();

	stream_bytes = MB(4ULL);
	send_pages(stream_bytes / NM_PAGE);
	first = start_in(cg_a, first_sibling_fn);
	nm_await(&first_sync, 0);

	stream_bytes = MB(24ULL);
	nm_conn_open(&conn, -1, pair.ns_tx, NM_ADDR_RX);
	send_pages(stream_bytes / NM_PAGE);
	second = start_in(cg_b, second_sibling_fn);
	nm_await(&second_sync, 0);

	check_stat(cg_a, "netmem", MB(4L));
	nm_check(cg_read_long(cg, "memory.peak") <= (long)MB(16L),
		 "memory.peak %ld", cg_read_long(cg, "memory.peak"));
	a = stat_of(cg_a, "netmem");
	/* What is left after the first, the headroom and the socket buffers */
	nm_check(nm_until((b = stat_of(cg_b, "netmem")) >= (long)MB(4L),
			  STAT_MS), "the second got only %ld", b);
	nm_check(a + b < (long)MB(16L), "%ld and %ld of 16 MiB", a, b);
	check_no_oom(cg);

	nm_tell(&first_sync, 0);
	nm_tell(&second_sync, 0);
	nm_wait(first);
	nm_wait(second);
}

static void high_fn(void)
{
	keep_fn();
	check_kept(cg_a, MB(4L), MB(8L));
	check_no_oom(cg);
}

/*
 * memory.high, of the cgroup itself or of its parent, is where mapping stops,
 * too: nobody is to be throttled for mapped pages, which cannot be reclaimed.
 *
 * On stock: fails, all is mapped.
 */
static void limit_high_of(const char **cgroup)
{
	create_nested();
	set_limit(*cgroup, "memory.high", MB(8L));
	stream_bytes = MB(24ULL);
	open_stream();
	send_pages(stream_bytes / NM_PAGE);
	run_in(cg_a, high_fn);
}

static void limit_high(void)
{
	limit_high_of((const char **)&cg_a);
}

static void limit_parent_high(void)
{
	limit_high_of((const char **)&cg);
}

static void page_cache_fn(void)
{
	long max = cg_read_long(cg, "memory.max");

	fill_page_cache(cg, max);
	keep_fn();
	check_kept(cg, max / 2, max);
}

/*
 * Page cache fills a limit sooner or later, but it can be reclaimed: that is no
 * reason not to map.
 *
 * On stock: fails, all is mapped.
 */
static void limit_page_cache(void)
{
	create_cgroup();
	set_limit(cg, "memory.max", MB(16L));
	stream_bytes = MB(24ULL);
	open_stream();
	send_pages(stream_bytes / NM_PAGE);
	run_in(cg, page_cache_fn);
}

/* Page cache of another cgroup, after what fill_page_cache() reads */
#define OTHER_OFFSET	MB(40L)
#define OTHER_BYTES	MB(4L)

static int other_fd;

static void other_page_cache_fn(void)
{
	static char buf[OTHER_BYTES];

	nm_check_eq(pread(other_fd, buf, sizeof(buf), OTHER_OFFSET),
		    sizeof(buf), "read");
}

/* Microseconds that somebody in @cgroup waited for memory */
static long stalled(const char *cgroup)
{
	char buf[256], *total;

	nm_check(!cg_read(cgroup, "memory.pressure", buf, sizeof(buf)),
		 "no memory.pressure (CONFIG_PSI)");
	total = strstr(buf, "total=");
	nm_check(total, "memory.pressure: %s", buf);

	return atol(total + strlen("total="));
}

static void pressure_fn(void)
{
	long max = cg_read_long(cg_a, "memory.max"), events, waited;

	fill_page_cache(cg_a, max);
	events = cg_read_key_long(cg_a, "memory.events", "max ");
	waited = stalled(cg_a);
	keep_fn();
	check_kept(cg_a, max / 2, max);
	nm_check(cg_read_key_long(cg_a, "memory.events", "max ") > events,
		 "memory.events does not tell");
	nm_check(stalled(cg_a) > waited, "memory.pressure does not tell");
}

/*
 * A cgroup at its limit gives up page cache of its own before a charge fails,
 * says so, and nobody else has to give anything.
 *
 * On stock: fails, all is mapped.
 */
static void limit_own_pressure(void)
{
	long file, waited;

	other_fd = open(nm_scratch_disk(), O_RDONLY | O_CLOEXEC);
	nm_check(other_fd >= 0, "disk");
	create_nested();
	set_limit(cg_a, "memory.max", MB(16L));
	run_in(cg_b, other_page_cache_fn);
	nm_check(nm_until(stat_of(cg_b, "file") >= OTHER_BYTES, STAT_MS),
		 "file of the other one is %ld", stat_of(cg_b, "file"));
	file = stat_of(cg_b, "file");
	waited = stalled(cg_b);

	stream_bytes = MB(24ULL);
	open_stream();
	send_pages(stream_bytes / NM_PAGE);
	run_in(cg_a, pressure_fn);

	nm_check_eq(stat_of(cg_b, "file"), file, "page cache of the other one");
	nm_check_eq(stat_of(cg_b, "pgscan"), 0, "pages of it looked at");
	nm_check_eq(stalled(cg_b), waited, "time that it waited");
}

/* ----- the end of a charge ----- */

static void uncharge_pipe_fn(void)
{
	long file_mapped = stat_of(cg, "file_mapped");
	int fd[2];

	map_all();
	nm_pipe(fd, PAGES);
	nm_vmsplice(fd[1], rx.area, PAGES);
	nm_rx_exit(&rx);
	check_stat(cg, "file_mapped", file_mapped);
	check_netmem(cg, BYTES);
	nm_check(cg_read_long(cg, "memory.current") >= BYTES, "memory.current");

	nm_read_verify(fd[0], PAGES / 2, 0, SEED);
	check_netmem(cg, BYTES / 2);
	close(fd[0]);
	close(fd[1]);
	check_netmem(cg, 0);
}

/*
 * Pages in a pipe (vmsplice) remain charged after munmap(), though not mapped,
 * until they are read or the pipe is closed.
 *
 * On stock: fails, nothing is charged.
 */
static void uncharge_pipe(void)
{
	simple_test(uncharge_pipe_fn);
}

static void uncharge_pin_fn(void)
{
	long file_mapped = stat_of(cg, "file_mapped");
	int fd;

	map_all();
	fd = nm_pin(rx.area, PAGES);
	nm_rx_exit(&rx);
	check_stat(cg, "file_mapped", file_mapped);
	check_netmem(cg, BYTES);
	nm_pin_verify(fd, PAGES, 0, SEED);
	close(fd);
	check_netmem(cg, 0);
}

/*
 * Pinned pages (a read pin, FOLL_PIN | FOLL_LONGTERM) remain charged after
 * munmap() until they are unpinned.
 *
 * On stock: fails, nothing is charged.
 */
static void uncharge_pin(void)
{
	simple_test(uncharge_pin_fn);
}

/* The child: moves to another cgroup, and has the last mapping */
static void fork_child_fn(void *arg)
{
	nm_check(!cg_enter_current(cg_b), "enter %s", cg_b);
	nm_tell(&first_sync, 1);
	nm_await(&first_sync, 1);
	nm_rx_verify(&rx);
}

static void uncharge_fork_fn(void)
{
	pid_t pid;

	accept_stream(PAGES);
	nm_rx_map(&rx, PAGES);
	check_netmem(cg_a, BYTES);
	pid = nm_fork(fork_child_fn, NULL);
	nm_await(&first_sync, 0);
	nm_rx_exit(&rx);

	check_netmem(cg_a, BYTES);
	check_stat(cg_b, "netmem", 0);
	nm_tell(&first_sync, 0);
	nm_wait(pid);
	check_netmem(cg_a, 0);
}

/*
 * Pages that a child maps since fork() remain charged, to the cgroup that
 * mapped them first, wherever the child goes, until it ends.
 *
 * On stock: fails, nothing is charged.
 */
static void uncharge_fork(void)
{
	create_nested();
	nm_sync_init(&first_sync);
	open_stream();
	send_pages(PAGES);
	run_in(cg_a, uncharge_fork_fn);
}

static int tap;

static void uncharge_clone_fn(void)
{
	close(tap);
	map_all();
	nm_rx_exit(&rx);
	/* The clones of the skbs still have the pages */
	check_netmem(cg, BYTES);
	nm_tell(&first_sync, 1);
	nm_await(&first_sync, 1);
	check_netmem(cg, 0);
}

/*
 * A packet socket has clones of the skbs that outlive the mapping: the charge
 * ends when they are freed.
 *
 * On stock: fails, nothing is charged.
 */
static void uncharge_clone(void)
{
	pid_t pid;

	create_cgroup();
	nm_sync_init(&first_sync);
	open_stream();
	tap = nm_packet_socket(pair.rx_name, ETH_P_ALL, NM_RCVBUF * 16);
	send_pages(PAGES);
	pid = start_in(cg, uncharge_clone_fn);
	nm_await(&first_sync, 0);
	close(tap);
	nm_tell(&first_sync, 0);
	nm_wait(pid);
}

struct uncharges {
	bool unmapped;
	unsigned int before;	/* munmap() returned */
	unsigned int after;
	unsigned int completed;	/* requests, in hardirq, after munmap() */
};

static void uncharge_event(const struct nm_event *ev, void *arg)
{
	struct uncharges *seen = arg;
	unsigned int count = nm_event_u64(ev, "count", 0);

	if (nm_event_is(ev, "tracing_mark_write"))
		seen->unmapped = true;
	if (nm_event_is(ev, "block_rq_complete") && seen->unmapped)
		seen->completed += ev->hardirq;
	if (!nm_event_is(ev, "netmem_uncharge"))
		return;
	if (seen->unmapped)
		seen->after += count;
	else
		seen->before += count;
}

static void odirect_round(struct nm_aio *aio, struct uncharges *seen)
{
	uint64_t off = rx.off;

	nm_send(conn.tx, off, BYTES, SEED);
	rx.used = 0;
	nm_rx_map(&rx, PAGES);
	check_netmem(cg, BYTES);

	nm_trace_start();
	nm_aio_write(aio, rx.area, PAGES);
	nm_check(!madvise(rx.area, BYTES, MADV_DONTNEED), "madvise");
	nm_trace_mark("unmapped");
	nm_aio_wait(aio);
	nm_rx_forget(&rx, 0, PAGES);
	check_netmem(cg, 0);
	nm_trace_stop();
	nm_aio_verify(aio, off, SEED);

	*seen = (struct uncharges){};
	nm_trace_walk(uncharge_event, seen);
	nm_trace_clear();
	nm_check_eq(seen->before + seen->after, PAGES, "pages uncharged");
}

static void uncharge_odirect_fn(void)
{
	uint64_t end = nm_now_ms() + NM_TIMEOUT_MS;
	struct uncharges seen;
	struct nm_aio aio;

	nm_aio_init(&aio);
	accept_stream(PAGES);
	nm_trace_event("netmem:netmem_uncharge");
	nm_trace_event("block:block_rq_complete");
	/* The disk may be faster than munmap(); try until it was not */
	do {
		odirect_round(&aio, &seen);
	} while (!(seen.completed && seen.after) && nm_now_ms() < end);
	nm_aio_exit(&aio);

	if (!seen.completed)
		nm_skip("the disk never completes in hardirq after munmap()");
	nm_check(seen.after, "nothing was uncharged after munmap()");
}

/*
 * Pages from which an O_DIRECT write is under way when they are unmapped remain
 * charged until it completes, in hardirq.
 *
 * On stock: fails, nothing is charged.
 */
static void uncharge_odirect(void)
{
	create_cgroup();
	open_stream();
	run_in(cg, uncharge_odirect_fn);
}

/* ----- cgroups that go away ----- */

/*
 * What a CPU has charged ahead pins a cgroup, too, for as long as the CPU likes
 * if the last of a socket's memory came back after the cgroup went. A lower limit
 * of the parent has it given back.
 */
static bool none_dying(void)
{
	char path[PATH_MAX];

	nm_check(!cg_write(cg, "memory.high", "0") &&
		 !cg_write(cg, "memory.high", "max"), "memory.high");
	snprintf(path, sizeof(path), "%s/cgroup.stat", cg);
	return !nm_key(path, "nr_dying_descendants");
}

static void check_no_dying(void)
{
	nm_check(nm_until(none_dying(), STAT_MS),
		 "the removed cgroup is pinned");
}

static void removed_fn(void)
{
	/* The socket is of the parent: it would pin its cgroup */
	accept_stream(PAGES);
	nm_check(!cg_enter_current(cg_a), "enter %s", cg_a);
	nm_rx_map(&rx, PAGES);
	check_stat(cg_a, "netmem", BYTES);

	nm_check(!cg_enter_current(cg_b), "enter %s", cg_b);
	nm_check(!rmdir(cg_a), "rmdir of %s", cg_a);
	check_stat(cg, "netmem", BYTES);
	check_stat(cg_b, "netmem", 0);
	nm_check(cg_read_long(cg, "memory.current") >= BYTES, "memory.current");
	check_no_dying();
	nm_rx_verify(&rx);

	nm_rx_unmap(&rx, 0, PAGES / 2);
	check_stat(cg, "netmem", BYTES / 2);
	nm_rx_verify(&rx);
	nm_rx_exit(&rx);
	check_stat(cg, "netmem", 0);
}

/*
 * A cgroup can be removed while pages charged to it are mapped elsewhere: it
 * does not live on for them, and the parent has the charge.
 *
 * On stock: fails, nothing is charged.
 */
static void cgroup_removed(void)
{
	create_nested();
	open_stream();
	send_pages(PAGES);
	/* cg has children with controllers, so no processes: accept in cg_b */
	run_in(cg_b, removed_fn);
}

static void removed_pipe_fn(void)
{
	int fd[2];

	accept_stream(PAGES);
	nm_rx_map(&rx, PAGES);
	check_stat(cg_a, "netmem", BYTES);
	nm_pipe(fd, PAGES);
	nm_vmsplice(fd[1], rx.area, PAGES);
	nm_rx_exit(&rx);

	nm_check(!cg_enter_current(cg_b), "enter %s", cg_b);
	nm_check(!rmdir(cg_a), "rmdir of %s", cg_a);
	check_no_dying();
	check_stat(cg, "netmem", BYTES);
	nm_read_verify(fd[0], PAGES / 2, 0, SEED);
	check_stat(cg, "netmem", BYTES / 2);
	close(fd[0]);
	close(fd[1]);
	check_stat(cg, "netmem", 0);
}

/*
 * The same with the pages in a pipe, and nothing else left of the cgroup.
 *
 * On stock: fails, nothing is charged.
 */
static void cgroup_removed_pipe(void)
{
	create_nested();
	open_stream();
	send_pages(PAGES);
	run_in(cg_a, removed_pipe_fn);
}

/* ----- shared pages ----- */

#define SHARED		64
#define SHARED_BYTES	(SHARED * (long)NM_PAGE)

/* A loopback connection that pages travel on by */
static struct nm_conn lo[2];
static struct nm_rx lo_rx;

static void map_loopback(struct nm_conn *from)
{
	nm_rx_init(&lo_rx, nm_conn_accept(from), SEED, SHARED);
	nm_rx_map(&lo_rx, SHARED);
	nm_rx_verify(&lo_rx);
}

static void shared_first_fn(void)
{
	int fd[2];

	accept_stream(SHARED);
	nm_rx_map(&rx, SHARED);
	check_netmem(cg_a, SHARED_BYTES);

	nm_pipe(fd, SHARED);
	nm_vmsplice(fd[1], rx.area, SHARED);
	nm_splice(fd[0], lo[0].tx, SHARED);
	close(fd[0]);
	close(fd[1]);

	nm_tell(&first_sync, 1);
	nm_await(&first_sync, 1);
	nm_rx_exit(&rx);
	nm_tell(&first_sync, 1);
}

static void shared_second_fn(void)
{
	map_loopback(&lo[0]);
	nm_tell(&second_sync, 1);
	nm_await(&second_sync, 1);
	nm_rx_verify(&lo_rx);
	nm_rx_exit(&lo_rx);
}

/*
 * Pages that were received and mapped by one process are sent on over loopback
 * and mapped by a second one. They are charged once, to the first, until the
 * second, too, has unmapped them.
 */
static void shared_by(const char *second_cg)
{
	pid_t first, second;

	create_nested();
	nm_sync_init(&first_sync);
	nm_sync_init(&second_sync);
	open_stream();
	nm_conn_open(&lo[0], pair.ns_tx, pair.ns_tx, NM_ADDR_LO);
	send_pages(SHARED);

	first = start_in(cg_a, shared_first_fn);
	nm_await(&first_sync, 0);
	second = start_in(second_cg, shared_second_fn);
	nm_await(&second_sync, 0);
	check_stat(cg, "netmem", SHARED_BYTES);
	check_stat(cg_a, "netmem", SHARED_BYTES);

	nm_tell(&first_sync, 0);
	nm_await(&first_sync, 0);
	nm_wait(first);
	check_stat(cg_a, "netmem", SHARED_BYTES);
	nm_tell(&second_sync, 0);
	nm_wait(second);
	close(lo[0].tx);
	check_stat(cg, "netmem", 0);
}

/* Second socket in another cgroup. On stock: fails, nothing is charged. */
static void shared_two_cgroups(void)
{
	shared_by(cg_b);
}

/* Both in one cgroup: charged once. On stock: fails, nothing is charged. */
static void shared_one_cgroup(void)
{
	shared_by(cg_a);
}

static void tee_pipes(int from, int to, size_t pages)
{
	size_t len = pages * NM_PAGE, done;
	ssize_t ret;

	/* Does not consume, so it can only be done in one go */
	for (done = 0; done < len; done += ret) {
		ret = tee(from, to, len, 0);
		nm_check_eq(ret, len, "bytes of tee()");
	}
}

static void tee_first_fn(void)
{
	map_loopback(&lo[0]);
	check_netmem(cg_a, SHARED_BYTES);
	nm_tell(&first_sync, 1);
	nm_await(&first_sync, 1);
	nm_rx_exit(&lo_rx);
	nm_tell(&first_sync, 1);
}

static void tee_second_fn(void)
{
	map_loopback(&lo[1]);
	nm_tell(&second_sync, 1);
	nm_await(&second_sync, 1);
	nm_rx_verify(&lo_rx);
	nm_rx_exit(&lo_rx);
}

/*
 * Received pages go to two sockets without being charged to anybody: they leave
 * the first one while accounting is off.
 */
static void tee_to_loopback(int sk)
{
	int fd[2], copy[2];

	nm_pipe(fd, SHARED);
	nm_pipe(copy, SHARED);
	nm_write(NM_SYSCTL_MEMCG, "0");
	nm_splice(sk, fd[1], SHARED);
	nm_write(NM_SYSCTL_MEMCG, "1");
	tee_pipes(fd[0], copy[1], SHARED);
	nm_splice(fd[0], lo[0].tx, SHARED);
	nm_splice(copy[0], lo[1].tx, SHARED);
	close(fd[0]);
	close(fd[1]);
	close(copy[0]);
	close(copy[1]);
}

/*
 * Two sockets have the same pages by tee(2), nobody pays for them yet. Who maps
 * them first is charged, the second is not, and the charge lasts until the
 * second has unmapped them.
 *
 * On stock: fails, nothing is charged.
 */
static void shared_by_tee(void)
{
	pid_t first, second;
	int sk;

	create_nested();
	nm_sync_init(&first_sync);
	nm_sync_init(&second_sync);
	open_stream();
	nm_conn_open(&lo[0], pair.ns_tx, pair.ns_tx, NM_ADDR_LO);
	nm_conn_open(&lo[1], pair.ns_tx, pair.ns_tx, NM_ADDR_LO);
	send_pages(SHARED);
	sk = nm_conn_accept(&conn);
	tee_to_loopback(sk);
	close(sk);

	first = start_in(cg_a, tee_first_fn);
	nm_await(&first_sync, 0);
	second = start_in(cg_b, tee_second_fn);
	nm_await(&second_sync, 0);
	check_stat(cg, "netmem", SHARED_BYTES);
	check_stat(cg_a, "netmem", SHARED_BYTES);

	nm_tell(&first_sync, 0);
	nm_await(&first_sync, 0);
	nm_wait(first);
	check_stat(cg_a, "netmem", SHARED_BYTES);
	nm_tell(&second_sync, 0);
	nm_wait(second);
	close(lo[0].tx);
	close(lo[1].tx);
	check_stat(cg, "netmem", 0);
}

#define RACE_ROUNDS	20

static void race_side(struct nm_sync *sync, struct nm_conn *from)
{
	unsigned int i;
	int fd = nm_conn_accept(from);

	for (i = 0; i < RACE_ROUNDS; i++) {
		nm_rx_init(&lo_rx, dup(fd), SEED, SHARED);
		nm_await(sync, 1);
		nm_rx_map(&lo_rx, SHARED);
		nm_rx_verify(&lo_rx);
		nm_tell(sync, 1);
		nm_await(sync, 1);
		nm_rx_exit(&lo_rx);
		nm_tell(sync, 1);
	}
}

static void race_first_fn(void)
{
	race_side(&first_sync, &lo[0]);
}

static void race_second_fn(void)
{
	race_side(&second_sync, &lo[1]);
}

static void sum_event(const struct nm_event *ev, void *arg)
{
	long long *sum = arg;

	if (nm_event_is(ev, "netmem_charge"))
		*sum += nm_event_u64(ev, "count", 0);
}

static void both(void)
{
	nm_tell(&first_sync, 0);
	nm_tell(&second_sync, 0);
	nm_await(&first_sync, 0);
	nm_await(&second_sync, 0);
}

static void race_round(int sk, unsigned int round)
{
	long long charged = 0;

	nm_send_now(conn.tx, 0, SHARED_BYTES, SEED);
	tee_to_loopback(sk);
	both();
	nm_trace_walk(sum_event, &charged);
	nm_check_eq(charged, (round + 1) * SHARED, "pages charged so far");
	nm_trace_start();
	both();
}

/*
 * Two processes of two cgroups map the same pages at the same time, again and
 * again: each page is charged once, and nobody pays for what the other one got.
 *
 * On stock: fails, nothing is charged.
 */
static void shared_race(void)
{
	pid_t first, second;
	unsigned int i;
	int sk;

	create_nested();
	nm_sync_init(&first_sync);
	nm_sync_init(&second_sync);
	open_stream();
	sk = nm_conn_accept(&conn);
	nm_conn_open(&lo[0], pair.ns_tx, pair.ns_tx, NM_ADDR_LO);
	nm_conn_open(&lo[1], pair.ns_tx, pair.ns_tx, NM_ADDR_LO);
	nm_trace_event("netmem:netmem_charge");
	nm_trace_start();
	first = start_in(cg_a, race_first_fn);
	second = start_in(cg_b, race_second_fn);

	for (i = 0; i < RACE_ROUNDS; i++)
		race_round(sk, i);
	nm_wait(first);
	nm_wait(second);
	check_stat(cg, "netmem", 0);
	/* A refund that is forgotten adds up */
	nm_check(cg_read_long(cg, "memory.current") <=
		 2 * STOCK_BYTES + RACE_ROUNDS * SHARED_BYTES / 4,
		 "memory.current is %ld in the end",
		 cg_read_long(cg, "memory.current"));
}

static void clean_hint_fn(void)
{
	accept_stream(PAGES);
	nm_rx_map(&rx, PAGES / 2);
	check_netmem(cg, BYTES / 2);

	/* The kernel is told that nothing is mapped there, and finds it is */
	rx.flags = TCP_RECEIVE_ZEROCOPY_FLAG_TLB_CLEAN_HINT;
	rx.used = 0;
	nm_rx_map(&rx, PAGES / 2);
	nm_rx_verify(&rx);
	check_netmem(cg, BYTES / 2);
	nm_rx_exit(&rx);
	check_netmem(cg, 0);
}

/*
 * TLB_CLEAN_HINT to where pages are mapped: the call charges, cannot map,
 * unmaps what is there, and tries again. The old pages are uncharged, the new
 * ones once charged.
 *
 * On stock: fails, nothing is charged.
 */
static void clean_hint(void)
{
	simple_test(clean_hint_fn);
}

/* ----- killed ----- */

static void endless_fn(void)
{
	size_t at = 0;

	accept_stream(PAGES);
	for (;;) {
		nm_rx_step(&rx, at, 32);
		at = (at + 48) % PAGES;
		if (at > PAGES - 32)
			at = 0;
	}
}

static void kill_round(unsigned int delay_ms)
{
	pid_t pid, sender;

	nm_conn_open(&conn, -1, pair.ns_tx, NM_ADDR_RX);
	sender = nm_send(conn.tx, 0, NM_ENDLESS, SEED);
	pid = start_in(cg, endless_fn);
	nm_check(nm_until(cg_read_long(cg, "memory.current") > 32 * (long)NM_PAGE,
			  NM_TIMEOUT_MS), "the receiver does not start");
	usleep(delay_ms * 1000);
	nm_kill(pid);
	nm_kill(sender);
	close(conn.tx);
	close(conn.listener);
}

/*
 * SIGKILL in the middle of mapping, five times: nothing remains charged.
 *
 * On stock: fails, there is no "netmem".
 */
static void killed(void)
{
	unsigned int i;

	create_cgroup();
	nm_pair_create(&pair, NM_RING);
	for (i = 0; i < 5; i++)
		kill_round(50 + 37 * i);
	check_netmem(cg, 0);
	check_stat(cg, "file_mapped", 0);
	check_stat(cg, "sock", 0);
}

/* ----- the sysctl ----- */

static void mode_off_fn(void)
{
	accept_stream(PAGES);
	nm_rx_map(&rx, PAGES);
	nm_rx_verify(&rx);
	check_netmem(cg, 0);
	nm_rx_exit(&rx);
	check_netmem(cg, 0);
}

static void no_mode(void *arg)
{
	nm_check_eq(nm_write(NM_SYSCTL_MEMCG, "0"), -ENOENT,
		    "sysctl in another netns");
}

/*
 * net.ipv4.tcp_zerocopy_rx_memcg is 0, 1 or 2. It holds for all netns: a
 * container that has its own must not get rid of its limit there.
 *
 * On stock: fails, it does not exist.
 */
static void sysctl_range(void)
{
	set_mode("0");
	set_mode("2");
	nm_in_ns(nm_new_ns(), no_mode, NULL);
	nm_check_eq(nm_write(NM_SYSCTL_MEMCG, "3"), -EINVAL, "3");
	nm_check_eq(nm_write(NM_SYSCTL_MEMCG, "-1"), -EINVAL, "-1");
	nm_check_eq(nm_read_long(NM_SYSCTL_MEMCG), 2, "value");
	set_mode("1");
}

/*
 * 0: pages are mapped and nothing is charged, as on stock.
 *
 * On stock: fails, there is no such sysctl.
 */
static void sysctl_off(void)
{
	set_mode("0");
	simple_test(mode_off_fn);
}

static void mode_changes_fn(void)
{
	accept_stream(3 * PAGES);
	set_mode("0");
	nm_rx_map(&rx, PAGES);
	set_mode("1");
	nm_rx_map(&rx, PAGES);
	check_netmem(cg, BYTES);
	set_mode("0");
	nm_rx_map(&rx, PAGES);
	check_netmem(cg, BYTES);

	/* Each page ends as it began */
	nm_rx_unmap(&rx, 0, PAGES);
	check_netmem(cg, BYTES);
	nm_rx_unmap(&rx, PAGES, PAGES);
	check_netmem(cg, 0);
	nm_rx_verify(&rx);
	nm_rx_exit(&rx);
	check_stat(cg, "file_mapped", 0);
}

/*
 * The mode changes between calls of one process.
 *
 * On stock: fails, there is no such sysctl.
 */
static void sysctl_changes(void)
{
	create_cgroup();
	open_stream();
	send_pages(3 * PAGES);
	run_in(cg, mode_changes_fn);
}

static void strict_fn(void)
{
	map_all();
	nm_rx_verify(&rx);
	nm_rx_exit(&rx);
	check_netmem(cg, 0);
}

/*
 * 2: the pages of a page_pool are charged and mapped just as with 1.
 *
 * On stock: fails, there is no such sysctl.
 */
static void sysctl_strict(void)
{
	set_mode("2");
	simple_test(strict_fn);
}

/* ----- pages of no page_pool ----- */

/* MSG_ZEROCOPY over loopback arrives in pages of its own: ordinary ones */
static void send_zerocopy(void)
{
	const size_t len = SHARED * NM_PAGE;
	int one = 1;
	char *buf;

	nm_check(!setsockopt(lo[0].tx, SOL_SOCKET, SO_ZEROCOPY, &one,
			     sizeof(one)), "SO_ZEROCOPY");
	buf = mmap(NULL, len, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	nm_check(buf != MAP_FAILED, "mmap");
	nm_fill(buf, 0, len, SEED);
	nm_check_eq(send(lo[0].tx, buf, len, MSG_ZEROCOPY), len, "bytes sent");
}

static void open_loopback(void)
{
	int ns = nm_new_ns();

	create_cgroup();
	nm_conn_open(&lo[0], ns, ns, NM_ADDR_LO);
}

static void nonpool_fn(void)
{
	long file_mapped = stat_of(cg, "file_mapped");

	map_loopback(&lo[0]);
	check_netmem(cg, 0);
	/* They are nobody's */
	check_stat(cg, "file_mapped", file_mapped);
	nm_rx_exit(&lo_rx);
	check_netmem(cg, 0);
	check_stat(cg, "file_mapped", file_mapped);
}

/*
 * Pages of no page_pool cannot be accounted. 1: they are mapped nevertheless,
 * as they always were.
 *
 * On stock: fails, there is no "netmem"; they are mapped.
 */
static void nonpool_mapped(void)
{
	open_loopback();
	send_zerocopy();
	run_in(cg, nonpool_fn);
}

static void nonpool_strict_fn(void)
{
	nm_rx_init(&lo_rx, nm_conn_accept(&lo[0]), SEED, SHARED);
	nm_rx_keep(&lo_rx, SHARED_BYTES);
	nm_check_eq(lo_rx.mapped, 0, "bytes mapped");
	nm_check_eq(lo_rx.copied, SHARED_BYTES, "bytes copied");
	nm_rx_exit(&lo_rx);
}

/*
 * 2: they are not mapped, but read.
 *
 * On stock: fails, there is no such sysctl.
 */
static void nonpool_strict(void)
{
	set_mode("2");
	open_loopback();
	send_zerocopy();
	run_in(cg, nonpool_strict_fn);
}

static void root_fn(void)
{
	long nomem = nm_netstat("TCPZeroCopyRxNoMem");

	accept_stream(PAGES);
	nm_rx_map(&rx, PAGES);
	nm_rx_verify(&rx);
	nm_rx_exit(&rx);
	nm_check(nomem >= 0, "no TCPZeroCopyRxNoMem");
	nm_check_eq(nm_netstat("TCPZeroCopyRxNoMem"), nomem, "NoMem");
}

/*
 * The root cgroup has no limit: all is mapped, in mode 2, too.
 *
 * On stock: fails, there is no such sysctl.
 */
static void root_cgroup(void)
{
	set_mode("2");
	create_cgroup();
	open_stream();
	send_pages(PAGES);
	run_in(root, root_fn);
}

/* ----- all at once ----- */

#define STRESS_MS	8000
#define STRESS_PAGES	512
#define STRESS_PROCS	3

static unsigned int stress_seed;

static unsigned int rnd(unsigned int n)
{
	stress_seed = stress_seed * 1103515245 + 12345;
	return (stress_seed >> 16) % n;
}

static void stress_child(void *arg)
{
	nm_rx_verify(&rx);
	usleep(rnd(20) * 1000);
	if (rnd(2))
		raise(SIGKILL);
}

static void stress_pipe(size_t at, size_t pages)
{
	uint64_t off = rx.at[at];
	int fd[2];

	if (!off)
		return;
	nm_pipe(fd, 1);
	nm_vmsplice(fd[1], rx.area + at * NM_PAGE, 1);
	nm_check(!madvise(rx.area + at * NM_PAGE, pages * NM_PAGE,
			  MADV_DONTNEED), "madvise");
	nm_rx_forget(&rx, at, pages);
	if (rnd(2))
		nm_read_verify(fd[0], 1, off - 1, SEED);
	close(fd[0]);
	close(fd[1]);
}

static void stress_step(void)
{
	size_t pages = 1 + rnd(64), at = rnd(STRESS_PAGES - pages);
	pid_t pid;

	switch (rnd(8)) {
	case 0:
		nm_rx_verify(&rx);
		break;
	case 1:
		nm_check(!madvise(rx.area + at * NM_PAGE, pages * NM_PAGE,
				  MADV_DONTNEED), "madvise");
		nm_rx_forget(&rx, at, pages);
		break;
	case 2:
		stress_pipe(at, pages);
		break;
	case 3:
		pid = nm_fork(stress_child, NULL);
		nm_rx_step(&rx, at, pages);
		nm_check(waitpid(pid, NULL, 0) == pid, "waitpid");
		break;
	default:
		nm_rx_step(&rx, at, pages);
		break;
	}
}

static void stress_fn(void)
{
	accept_stream(STRESS_PAGES);
	/* Charged by force, for all sockets: must fit what mapping leaves */
	nm_set_rcvbuf(rx.fd, 64 << 10);
	for (;;)
		stress_step();
}

static void stress_start(pid_t *pid, pid_t *sender)
{
	nm_conn_open(&conn, -1, pair.ns_tx, NM_ADDR_RX);
	*sender = nm_send(conn.tx, 0, NM_ENDLESS, SEED);
	*pid = start_in(cg, stress_fn);
	close(conn.tx);
	close(conn.listener);
}

static void stress_stop(pid_t pid, pid_t sender)
{
	int status;

	/* One that found something wrong has ended by itself */
	if (waitpid(pid, &status, WNOHANG) == pid)
		nm_check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
			 "a receiver ended");
	else
		nm_kill(pid);
	nm_kill(sender);
}

/*
 * Several receivers map, keep, unmap, fork, put pages into pipes, at a limit
 * that is too low for them, and get killed. In the end nothing is charged.
 *
 * On stock: fails, there is no "netmem".
 */
static void stress(void)
{
	pid_t pid[STRESS_PROCS], sender[STRESS_PROCS];
	uint64_t end;
	unsigned int i;

	create_cgroup();
	set_limit(cg, "memory.max", MB(10L));
	nm_pair_create(&pair, NM_RING);
	for (i = 0; i < STRESS_PROCS; i++) {
		stress_seed = i + 1;
		stress_start(&pid[i], &sender[i]);
	}

	for (end = nm_now_ms() + STRESS_MS; nm_now_ms() < end;) {
		usleep(700 * 1000);
		i = rnd(STRESS_PROCS);
		stress_stop(pid[i], sender[i]);
		stress_start(&pid[i], &sender[i]);
	}

	for (i = 0; i < STRESS_PROCS; i++)
		stress_stop(pid[i], sender[i]);
	check_netmem(cg, 0);
	check_stat(cg, "sock", 0);
	check_stat(cg, "file_mapped", 0);
	check_no_oom(cg);
}

/* ----- running ----- */

static const struct nm_test tests[] = {
	NM_TEST(charge_before_map),
	NM_TEST(counters_at_every_step),
	NM_TEST(limit_max),
	NM_TEST(limit_copybuf),
	NM_TEST(limit_rcvbuf),
	NM_TEST(use_at_limit),
	NM_TEST(limit_parent),
	NM_TEST(limit_siblings),
	NM_TEST(limit_high),
	NM_TEST(limit_parent_high),
	NM_TEST(limit_page_cache),
	NM_TEST(limit_own_pressure),
	NM_TEST(uncharge_pipe),
	NM_TEST(uncharge_pin),
	NM_TEST(uncharge_fork),
	NM_TEST(uncharge_clone),
	NM_TEST(uncharge_odirect),
	NM_TEST(cgroup_removed),
	NM_TEST(cgroup_removed_pipe),
	NM_TEST(shared_two_cgroups),
	NM_TEST(shared_one_cgroup),
	NM_TEST(shared_by_tee),
	NM_TEST(shared_race),
	NM_TEST(clean_hint),
	NM_TEST(killed),
	NM_TEST(sysctl_range),
	NM_TEST(sysctl_off),
	NM_TEST(sysctl_changes),
	NM_TEST(sysctl_strict),
	NM_TEST(nonpool_mapped),
	NM_TEST(nonpool_strict),
	NM_TEST(root_cgroup),
	NM_TEST(stress),
};

int main(int argc, char **argv)
{
	return run_tests(argc, argv, tests, ARRAY_SIZE(tests));
}

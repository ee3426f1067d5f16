// SPDX-License-Identifier: GPL-2.0
/*
 * Pages of a page_pool come home when their last reference is dropped, whoever
 * drops it and wherever.
 *
 * A page that user space has mapped, or holds in a pipe, in another socket, by
 * a pin or by direct I/O when the skb it came in is freed is lent. The put
 * paths of the kernel are tried one after the other: the page must stay lent as
 * long as somebody has it, keep its bytes, and be found in the ring of its pool
 * afterwards. On stock 7.3 it leaves the pool when the skb is freed
 * (recycle-released-refcnt), and is freed to the buddy allocator in the end.
 *
 * Usage: netmem_put [TEST...]
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/ethtool.h>
#include <linux/fuse.h>
#include <linux/if_packet.h>
#include <linux/tcp.h>
#include <linux/tls.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "netmem_lib.h"

#define SEED	0x6e65746d656d2170ULL
/* Less than a ring holds: all of them can come back */
#define PAGES	256

#ifndef MADV_HWPOISON
#define MADV_HWPOISON		100
#endif
#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE	101
#endif

static struct nm_pair pair;
static struct nm_conn conn;
static struct nm_rx rx;
static struct nm_pool before;	/* when the pages were out */

static struct nm_pool pool_now(void)
{
	struct nm_pool pool;

	nm_check(nm_pool_get(pair.rx_ifindex, &pool), "no page_pool");
	return pool;
}

/* A pair of devices and a connection, with room to map @pages pages */
static void open_stream(unsigned int ring, size_t pages)
{
	nm_pair_create(&pair, ring);
	nm_conn_open(&conn, -1, pair.ns_tx, NM_ADDR_RX);
	nm_rx_init(&rx, nm_conn_accept(&conn), SEED, pages);
	before = pool_now();
	nm_lent_watch(before.id);
}

/* Has the next @pages pages sent, and maps them */
static void receive_mapped(size_t pages)
{
	pid_t sender = nm_send(conn.tx, rx.off, pages * NM_PAGE, rx.seed);

	nm_rx_map(&rx, pages);
	nm_wait(sender);
}

static void check_lent(size_t pages)
{
	nm_check_eq(nm_lent(), pages, "lent pages");
}

/*
 * Sends @pages pages and maps them. Each stays in its pool although the mapping
 * is not the pool's business; stock lets it go when the skb is freed.
 */
static void map_pages(size_t pages)
{
	receive_mapped(pages);
	nm_check_eq(pool_now().released, before.released,
		    "pages that left their pool when mapped");
	check_lent(rx.used);
}

/* The state from which check_home() counts */
static long before_lent;

static void remember(void)
{
	before = pool_now();
	before_lent = nm_lent();
}

static void open_mapped(size_t pages)
{
	open_stream(NM_RING, pages);
	map_pages(pages);
	remember();
}

/* @pages pages have come home since @before, none went anywhere else */
static void check_home(size_t pages)
{
	struct nm_pool pool;

	nm_until(nm_lent() == before_lent - (long)pages, NM_TIMEOUT_MS);
	check_lent(before_lent - pages);
	/* The event comes first, perhaps on another CPU */
	nm_until(pool_now().ring - before.ring == pages, NM_TIMEOUT_MS);
	pool = pool_now();
	nm_check_eq(pool.ring - before.ring, pages, "pages recycled");
	nm_check_eq(pool.ring_full, before.ring_full, "pages without room");
	nm_check_eq(pool.released, before.released, "pages that left");
}

/*
 * munmap() of many pages: free_pages_and_swap_cache() -> folios_put_refs().
 *
 * On stock: fails, the 256 pages left their pool (released-refcnt 256).
 */
static void put_munmap(void)
{
	open_mapped(PAGES);
	nm_rx_verify(&rx);

	nm_rx_unmap(&rx, 0, 1);
	check_home(1);
	nm_rx_verify(&rx);
	nm_rx_unmap(&rx, 1, PAGES - 1);
	check_home(PAGES);
}

/*
 * MADV_DONTNEED, the way tcp_mmap gives pages back. On stock: fails as above.
 */
static void put_madvise(void)
{
	open_mapped(PAGES);
	nm_check(!madvise(rx.area, PAGES * NM_PAGE, MADV_DONTNEED), "madvise");
	check_home(PAGES);
}

/* mmap(MAP_FIXED) over the mapping. On stock: fails as above. */
static void put_map_fixed(void)
{
	open_mapped(PAGES);
	nm_check(mmap(rx.area, PAGES * NM_PAGE, PROT_READ,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == rx.area,
		 "mmap");
	check_home(PAGES);
}

/*
 * mremap(): pages that move stay lent, pages that are cut off come home.
 *
 * On stock: fails as above.
 */
static void put_mremap(void)
{
	char *area;

	open_mapped(PAGES);
	area = mmap(NULL, PAGES * NM_PAGE, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	nm_check(area != MAP_FAILED, "mmap");
	area = mremap(rx.area, PAGES * NM_PAGE, PAGES * NM_PAGE,
		      MREMAP_MAYMOVE | MREMAP_FIXED, area);
	nm_check(area != MAP_FAILED, "mremap");
	rx.area = area;
	check_lent(PAGES);
	nm_rx_verify(&rx);

	nm_check(mremap(area, PAGES * NM_PAGE, PAGES / 2 * NM_PAGE, 0) == area,
		 "mremap");
	nm_rx_forget(&rx, PAGES / 2, PAGES / 2);
	check_home(PAGES / 2);
	nm_rx_verify(&rx);
	nm_rx_unmap(&rx, 0, PAGES / 2);
	check_home(PAGES);
}

/*
 * TCP_ZEROCOPY_RECEIVE to where pages are mapped unmaps them first.
 *
 * On stock: fails as above.
 */
static void put_receive_again(void)
{
	open_mapped(PAGES);
	rx.used = 0;
	/* map_pages() finds PAGES lent again: those of before went home */
	map_pages(PAGES);
	nm_check_eq(pool_now().ring - before.ring, PAGES, "pages recycled");

	remember();
	nm_rx_verify(&rx);
	nm_rx_unmap(&rx, 0, PAGES);
	check_home(PAGES);
}

/* How a process that is the last to have the pages parts with them */
struct holder {
	struct nm_sync sync;
	void (*end)(void);
};

static void hold_and_end(void *arg)
{
	struct holder *holder = arg;

	nm_await(&holder->sync, 1);
	nm_rx_verify(&rx);
	holder->end();
}

static void put_by_process(void (*end)(void))
{
	struct holder holder = { .end = end };
	pid_t pid;

	open_mapped(PAGES);
	nm_sync_init(&holder.sync);
	pid = nm_fork(hold_and_end, &holder);
	nm_rx_unmap(&rx, 0, PAGES);
	close(rx.fd);
	check_lent(PAGES);

	nm_tell(&holder.sync, 0);
	nm_check(waitpid(pid, NULL, 0) == pid, "waitpid");
	check_home(PAGES);
}

static void end_exit(void)
{
	_exit(0);
}

static void end_killed(void)
{
	kill(getpid(), SIGKILL);
}

static void end_execve(void)
{
	execl("/bin/true", "true", NULL);
	nm_fail("execl");
}

/*
 * fork(), then the end of the process that has the mapping last: exit_mmap().
 *
 * On stock: fails as above.
 */
static void put_exit(void)
{
	put_by_process(end_exit);
}

/* The same by SIGKILL. On stock: fails as above. */
static void put_kill(void)
{
	put_by_process(end_killed);
}

/* The same by execve(). On stock: fails as above. */
static void put_execve(void)
{
	put_by_process(end_execve);
}

/*
 * vmsplice() of the mapping to a pipe that outlives it: pipe_buf_release() ->
 * folio_put(), on read() and on close().
 *
 * On stock: fails as above.
 */
static void put_pipe(void)
{
	int fd[2];

	open_mapped(PAGES);
	nm_pipe(fd, PAGES);
	nm_vmsplice(fd[1], rx.area, PAGES);
	nm_rx_unmap(&rx, 0, PAGES);
	check_lent(PAGES);

	nm_read_verify(fd[0], PAGES / 2, 0, SEED);
	check_home(PAGES / 2);
	close(fd[0]);
	close(fd[1]);
	check_home(PAGES);
}

/* ----- a file system that is given pages ----- */

#define FUSE_FILE	"/tmp/netmem_put"

/* A file system of one file, gone with this process */
static int fuse_mount(void)
{
	char options[64];
	int file, fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		nm_skip("no /dev/fuse (CONFIG_FUSE_FS)");
	file = open(FUSE_FILE, O_CREAT | O_RDONLY | O_CLOEXEC, 0444);
	nm_check(file >= 0, FUSE_FILE);
	close(file);
	nm_check(!unshare(CLONE_NEWNS), "unshare");
	nm_check(!mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "private");
	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=100444,user_id=0,group_id=0", fd);
	nm_check(!mount("netmem", FUSE_FILE, "fuse", 0, options), "fuse");

	return fd;
}

static void fuse_reply(int fd, const struct fuse_in_header *in, int error,
		       const void *data, size_t len)
{
	struct fuse_out_header out = {
		.len = sizeof(out) + len, .error = error, .unique = in->unique,
	};
	struct iovec iov[] = {
		{ &out, sizeof(out) }, { (void *)data, len },
	};

	nm_check_eq(writev(fd, iov, 2), out.len, "bytes of a reply");
}

/* With the first page of the stream, to which nobody else refers any more */
static void fuse_give_page(int fd, const struct fuse_in_header *in)
{
	struct fuse_out_header out = {
		.len = sizeof(out) + NM_PAGE, .unique = in->unique,
	};
	struct iovec iov = { rx.area, NM_PAGE };
	int pipe_fd[2];

	nm_pipe(pipe_fd, 2);
	nm_check(write(pipe_fd[1], &out, sizeof(out)) == sizeof(out), "write");
	nm_check(vmsplice(pipe_fd[1], &iov, 1, SPLICE_F_GIFT) == NM_PAGE,
		 "vmsplice");
	nm_rx_unmap(&rx, 0, 1);
	check_lent(1);
	nm_check_eq(splice(pipe_fd[0], NULL, fd, NULL, out.len, SPLICE_F_MOVE),
		    out.len, "bytes of a reply");
}

static void fuse_serve(int fd)
{
	static const struct fuse_init_out init = {
		.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION,
		.max_write = NM_PAGE,
	};
	static const struct fuse_attr_out attr = {
		.attr_valid = NM_TIMEOUT_MS,
		.attr = { .ino = FUSE_ROOT_ID, .size = NM_PAGE, .nlink = 1,
			  .mode = S_IFREG | 0444 },
	};
	static const struct fuse_open_out opened;
	static struct {
		struct fuse_in_header in;
		char rest[2 * FUSE_MIN_READ_BUFFER];
	} request;

	nm_check(read(fd, &request, sizeof(request)) > 0, "a request");
	switch (request.in.opcode) {
	case FUSE_INIT:
		fuse_reply(fd, &request.in, 0, &init, sizeof(init));
		break;
	case FUSE_GETATTR:
		fuse_reply(fd, &request.in, 0, &attr, sizeof(attr));
		break;
	case FUSE_OPEN:
		fuse_reply(fd, &request.in, 0, &opened, sizeof(opened));
		break;
	case FUSE_READ:
		fuse_give_page(fd, &request.in);
		break;
	default:
		fuse_reply(fd, &request.in, -ENOSYS, NULL, 0);
	}
}

static void fuse_reader(void *arg)
{
	int fd;

	nm_check(!munmap(rx.area, NM_PAGE), "munmap");
	fd = open(FUSE_FILE, O_RDONLY | O_CLOEXEC);
	nm_check(fd >= 0, FUSE_FILE);
	nm_read_verify(fd, 1, 0, SEED);
}

/* How often fuse found a page that it was given and could not use */
static unsigned int weird_pages(void)
{
	static char log[2 << 20];
	unsigned int nr = 0;
	char *at = log;
	int len;

	len = klogctl(3, log, sizeof(log) - 1);	/* SYSLOG_ACTION_READ_ALL */
	nm_check(len >= 0, "the kernel's log");
	log[len] = 0;
	while ((at = strstr(at, "weird page"))) {
		nr++;
		at++;
	}

	return nr;
}

/*
 * A page is given away: vmsplice(SPLICE_F_GIFT), munmap(), and splice() to a file
 * system that would take it for its page cache. It is copied, and comes home.
 *
 * On stock: fails, the page has left its pool when the skb was freed; the page
 * cache has it. Without "splice: do not steal pages of page_pools": fails, each
 * page is dumped to the log.
 */
static void put_gift(void)
{
	unsigned int weird = weird_pages();
	int fd, status;
	pid_t reader;

	fd = fuse_mount();
	open_mapped(1);
	reader = nm_fork(fuse_reader, NULL);
	while (!waitpid(reader, &status, WNOHANG))
		if (nm_readable(fd))
			fuse_serve(fd);
	nm_check(!status, "the reader failed");
	check_home(1);
	nm_check_eq(weird_pages(), weird, "pages that fuse found weird");
}

/*
 * splice() from the socket to a pipe, without any mapping: the pipe has the
 * pages when the skb is freed.
 *
 * On stock: fails as above.
 */
static void put_splice(void)
{
	pid_t sender;
	int fd[2];

	open_stream(NM_RING, 1);
	nm_pipe(fd, PAGES);
	sender = nm_send(conn.tx, 0, PAGES * NM_PAGE, SEED);
	nm_splice(rx.fd, fd[1], PAGES);
	nm_wait(sender);
	nm_check_eq(pool_now().released, before.released,
		    "pages that left their pool when spliced");
	check_lent(PAGES);
	remember();

	nm_read_verify(fd[0], PAGES / 2, 0, SEED);
	check_home(PAGES / 2);
	close(fd[0]);
	close(fd[1]);
	check_home(PAGES);
}

/*
 * A read pin (FOLL_PIN | FOLL_LONGTERM) that outlives the mapping:
 * gup_put_folio(), 1024 references at once.
 *
 * On stock: fails as above.
 */
static void put_pin(void)
{
	int fd;

	open_mapped(PAGES);
	fd = nm_pin(rx.area, PAGES);
	nm_rx_unmap(&rx, 0, PAGES);
	check_lent(PAGES);
	nm_pin_verify(fd, PAGES, 0, SEED);
	close(fd);
	check_home(PAGES);
}

/*
 * The pages travel on through a loopback connection: skb_frag_unref() ->
 * put_page() in skbs that do not recycle (pp_recycle is not set), by recv() and
 * by close() with data unread.
 *
 * On stock: fails as above.
 */
static void put_skb(void)
{
	const size_t pages = 32;
	struct nm_conn lo;
	int fd[2], lo_rx;

	open_mapped(pages);
	nm_conn_open(&lo, pair.ns_tx, pair.ns_tx, NM_ADDR_LO);
	lo_rx = nm_conn_accept(&lo);
	nm_pipe(fd, pages);
	nm_vmsplice(fd[1], rx.area, pages);
	nm_splice(fd[0], lo.tx, pages);
	nm_rx_unmap(&rx, 0, pages);
	close(fd[0]);
	close(fd[1]);
	check_lent(pages);

	nm_read_verify(lo_rx, pages / 2, 0, SEED);
	close(lo_rx);
	close(lo.tx);
	check_home(pages);
}

/*
 * The pages are spliced to a TLS socket, whose records have them until they are
 * encrypted: sk_msg_free() -> put_page().
 *
 * On stock: fails as above.
 */
static void put_tls(void)
{
	const size_t pages = 32;
	struct nm_conn lo;
	int fd[2];

	open_mapped(pages);
	nm_conn_open(&lo, pair.ns_tx, pair.ns_tx, NM_ADDR_LO);
	nm_tls_on(lo.tx, TLS_TX);
	nm_pipe(fd, pages);
	nm_vmsplice(fd[1], rx.area, pages);
	nm_rx_unmap(&rx, 0, pages);
	check_lent(pages);
	nm_splice(fd[0], lo.tx, pages);
	close(fd[0]);
	close(fd[1]);
	check_home(pages);
}

/* Received by netdevsim, forwarded by veth to a receiver in another netns */
static void forward(bool tso)
{
	struct ethtool_value off = { .cmd = ETHTOOL_STSO, .data = 0 };
	int ns = nm_new_ns();
	long packets;

	nm_pair_create(&pair, NM_RING);
	nm_pair_extend_veth(&pair, ns);
	if (!tso)
		nm_ethtool("nmv0", &off);

	nm_conn_open(&conn, ns, pair.ns_tx, NM_ADDR_FAR);
	nm_rx_init(&rx, nm_conn_accept(&conn), SEED, PAGES);
	before = pool_now();
	nm_lent_watch(before.id);
	map_pages(PAGES);
	packets = nm_read_long("/sys/class/net/nmv0/statistics/tx_packets");
	nm_check((packets < PAGES) == tso, "%ld packets forwarded", packets);
	remember();
	nm_rx_verify(&rx);
	nm_rx_unmap(&rx, 0, PAGES);
	check_home(PAGES);
}

/*
 * Forwarded packets are mapped by a receiver behind another device.
 *
 * On stock: fails as above.
 */
static void put_forward(void)
{
	forward(true);
}

/*
 * The same when forwarding cuts what GRO has put together: skb_segment() takes
 * plain references to the frags.
 *
 * On stock: fails as above.
 */
static void put_forward_segment(void)
{
	forward(false);
}

/*
 * A packet socket has clones of the skbs. Unmapped first, the pages are never
 * lent; they come home when the clones are freed.
 *
 * On stock: passes, the pages are in use all the time.
 */
static void put_clone(void)
{
	struct nm_pool pool;
	int tap;

	open_stream(NM_RING, PAGES);
	tap = nm_packet_socket(pair.rx_name, ETH_P_ALL, NM_RCVBUF * 16);
	receive_mapped(PAGES);
	nm_rx_verify(&rx);
	nm_rx_unmap(&rx, 0, PAGES);
	nm_check_eq(pool_now().ring, before.ring, "pages recycled while used");
	close(tap);

	nm_until(pool_now().ring - before.ring == PAGES, NM_TIMEOUT_MS);
	pool = pool_now();
	nm_check_eq(pool.ring - before.ring, PAGES, "pages recycled");
	nm_check_eq(pool.released, before.released, "pages that left");
}

/*
 * Freed the other way round, with the mapping last, they are lent.
 *
 * On stock: fails as above.
 */
static void put_clone_first(void)
{
	int tap;

	open_stream(NM_RING, PAGES);
	tap = nm_packet_socket(pair.rx_name, ETH_P_ALL, NM_RCVBUF * 16);
	receive_mapped(PAGES);
	nm_check_eq(pool_now().released, 0, "pages that left their pool");
	close(tap);
	nm_check(nm_until(pool_now().released || nm_lent() == PAGES,
			  NM_TIMEOUT_MS), "the clones are not freed");
	nm_check_eq(pool_now().released, before.released,
		    "pages that left their pool when the clones were freed");
	remember();
	nm_rx_verify(&rx);
	nm_rx_unmap(&rx, 0, PAGES);
	check_home(PAGES);
}

/* What the trace of put_odirect() says */
struct odirect {
	bool unmapped;
	unsigned int completed;	/* requests, in hardirq, after munmap() */
	unsigned int returned;	/* pages, after munmap() */
	unsigned int in_hardirq;
};

static void odirect_event(const struct nm_event *ev, void *arg)
{
	struct odirect *seen = arg;

	if (nm_event_is(ev, "tracing_mark_write"))
		seen->unmapped = true;
	if (!seen->unmapped)
		return;
	if (nm_event_is(ev, "block_rq_complete"))
		seen->completed += ev->hardirq;
	if (nm_event_is(ev, "page_pool_return")) {
		seen->returned++;
		seen->in_hardirq += ev->hardirq;
	}
}

/* Writes PAGES mapped pages to disk and unmaps them meanwhile */
static void odirect_round(struct nm_aio *aio, struct odirect *seen)
{
	uint64_t off = rx.off;

	rx.used = 0;
	map_pages(PAGES);
	remember();

	nm_trace_start();
	nm_aio_write(aio, rx.area, PAGES);
	nm_check(!madvise(rx.area, PAGES * NM_PAGE, MADV_DONTNEED), "madvise");
	nm_trace_mark("unmapped");
	nm_aio_wait(aio);
	nm_rx_forget(&rx, 0, PAGES);
	check_home(PAGES);
	nm_trace_stop();
	nm_aio_verify(aio, off, SEED);

	*seen = (struct odirect){};
	nm_trace_walk(odirect_event, seen);
	nm_trace_clear();
}

/*
 * An O_DIRECT write out of the mapping ends after munmap(): the last put is in
 * the hardirq of the disk. The pool cannot take pages there, so they must come
 * home from a softirq.
 *
 * On stock: fails as above.
 */
static void put_odirect(void)
{
	uint64_t end = nm_now_ms() + NM_TIMEOUT_MS;
	struct odirect seen;
	struct nm_aio aio;

	nm_aio_init(&aio);
	open_mapped(PAGES);
	nm_trace_event("page_pool:page_pool_return");
	nm_trace_event("block:block_rq_complete");

	/* The disk may be faster than munmap(); try until it was not */
	do {
		odirect_round(&aio, &seen);
		nm_check_eq(seen.in_hardirq, 0, "pages returned in hardirq");
	} while (!(seen.completed && seen.returned) && nm_now_ms() < end);
	nm_aio_exit(&aio);

	if (!seen.completed)
		nm_skip("the disk never completes in hardirq after munmap()");
	nm_check(seen.returned, "no page came home after munmap()");
}

/* ----- veth with XDP ----- */

/*
 * A frame of one head and two frags: not linear, so veth copies it into pages
 * of its own page_pool before XDP sees it.
 */
#define FRAME_LEN	9000
#define FRAMES		64

/*
 * One value of ethtool -S: on stock, netlink does not list the pools of veth
 */
struct ethtool_stat {
	const char *dev;
	const char *name;
	uint64_t val;
};

#define MAX_STATS	256

static void ethtool_stat(void *arg)
{
	struct {
		struct ethtool_gstrings hdr;
		char name[MAX_STATS][ETH_GSTRING_LEN];
	} strings = { .hdr.cmd = ETHTOOL_GSTRINGS, .hdr.string_set = ETH_SS_STATS };
	struct {
		struct ethtool_stats hdr;
		__u64 val[MAX_STATS];
	} stats = { .hdr.cmd = ETHTOOL_GSTATS };
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
	struct ethtool_stat *stat = arg;
	unsigned int i;

	nm_ethtool(stat->dev, &info);
	nm_check(info.n_stats <= MAX_STATS, "%u statistics", info.n_stats);
	nm_ethtool(stat->dev, &strings);
	nm_ethtool(stat->dev, &stats);
	for (i = 0; i < info.n_stats; i++) {
		if (strcmp(strings.name[i], stat->name))
			continue;
		stat->val = stats.val[i];
		return;
	}
	nm_fail("%s has no statistic %s", stat->dev, stat->name);
}

static uint64_t veth_stat(const char *dev, int nsfd, const char *name)
{
	struct ethtool_stat stat = { dev, name, 0 };

	nm_in_ns(nsfd, ethtool_stat, &stat);
	return stat.val;
}

struct ifindex {
	const char *name;
	unsigned int ifindex;
};

static void get_ifindex(void *arg)
{
	struct ifindex *get = arg;

	get->ifindex = if_nametoindex(get->name);
}

static unsigned int ifindex_in(int nsfd, const char *name)
{
	struct ifindex get = { name, 0 };

	nm_in_ns(nsfd, get_ifindex, &get);
	nm_check(get.ifindex, "no device %s", name);

	return get.ifindex;
}

static void veth_up(void *arg)
{
	const char *name = arg;

	nm_link_mtu(name, FRAME_LEN);
	nm_link_set(name, true);
}

struct frame {
	unsigned char dst[6];
	unsigned char src[6];
	uint16_t proto;
	uint16_t pad;
	uint64_t index;
	char data[FRAME_LEN - 24];
};

static void send_frames(int fd)
{
	static struct frame frame;
	unsigned int i;

	memset(frame.dst, 0xff, sizeof(frame.dst));
	frame.src[0] = 2;
	frame.proto = htons(ETH_P_802_EX1);
	for (i = 0; i < FRAMES; i++) {
		frame.index = i;
		nm_fill(frame.data, i * NM_PAGE, sizeof(frame.data), SEED);
		nm_check_eq(send(fd, &frame, sizeof(frame), 0), sizeof(frame),
			    "bytes of a frame sent");
	}
}

/* All of them arrive, as they were sent */
static void recv_frames(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	static struct frame frame;
	unsigned int i;

	for (i = 0; i < FRAMES; i++) {
		nm_check(poll(&pfd, 1, NM_TIMEOUT_MS) == 1, "frame %u lost", i);
		nm_check_eq(recv(fd, &frame, sizeof(frame), 0), sizeof(frame),
			    "bytes of a frame");
		nm_check_eq(nm_verify(frame.data, frame.index * NM_PAGE,
				      sizeof(frame.data), SEED),
			    sizeof(frame.data), "good bytes of a frame");
	}
}

struct lent_count {
	unsigned int lent;
	unsigned int recyclable;	/* back, and for the ring if it has room */
	unsigned int freed;
};

static void count_event(const struct nm_event *ev, void *arg)
{
	struct lent_count *count = arg;

	if (nm_event_is(ev, "page_pool_lend"))
		count->lent += nm_event_u64(ev, "count", 0);
	if (!nm_event_is(ev, "page_pool_return"))
		return;
	if (nm_event_u64(ev, "recyclable", 0))
		count->recyclable += nm_event_u64(ev, "count", 0);
	else
		count->freed += nm_event_u64(ev, "count", 0);
}

static struct lent_count count_events(void)
{
	struct lent_count count = {};

	nm_trace_walk(count_event, &count);
	nm_trace_start();

	return count;
}

static bool all_returned(void)
{
	struct lent_count count = count_events();

	return count.lent == count.recyclable + count.freed;
}

static void pass_frames(int tx, int rx_fd, const char *rx_dev, uint64_t drops)
{
	send_frames(tx);
	if (rx_fd >= 0)
		recv_frames(rx_fd);
	else
		nm_check(nm_until(veth_stat(rx_dev, -1, "rx_queue_0_xdp_drops")
				  >= drops, NM_TIMEOUT_MS), "frames lost");
}

static void trace_lent(void)
{
	nm_trace_event("page_pool:page_pool_lend");
	nm_trace_event("page_pool:page_pool_return");
	nm_trace_start();
}

/*
 * Frames sent to @tx get to @rx_dev by XDP_TX or XDP_REDIRECT of @via, a device
 * of netns @ns that copies them into its page_pool. It frees the skb before XDP
 * has done with the pages. Then @rx_dev drops them, or @rx_fd receives them.
 */
static void xdp_frames(int tx, int ns, const char *via, int rx_fd,
		       const char *rx_dev)
{
	struct lent_count count;

	pass_frames(tx, rx_fd, rx_dev, FRAMES);
	nm_check_eq(veth_stat(via, ns, "rx_pp_recycle_released_ref"), 0,
		    "pages that left their pool");

	trace_lent();
	pass_frames(tx, rx_fd, rx_dev, 2 * FRAMES);
	nm_check(nm_until(all_returned(), NM_TIMEOUT_MS), "pages do not return");
	count = count_events();
	/* One page for the head, two for the rest of a frame */
	nm_check(count.lent >= 2 * FRAMES, "only %u pages lent", count.lent);
	nm_check_eq(count.freed, 0, "pages not recyclable");
	nm_check_eq(veth_stat(via, ns, "rx_pp_recycle_ring_full"), 0,
		    "pages without room");
	/* The cache, if it is the CPU that polls @via */
	nm_check(veth_stat(via, ns, "rx_pp_recycle_ring") +
		 veth_stat(via, ns, "rx_pp_recycle_cached") >= 2 * count.lent,
		 "pages not recycled");
}

/*
 * XDP_TX: nmv0 -> nmv1 (XDP_TX) -> nmv0, where @verdict is what becomes of the
 * frames.
 */
static void xdp_tx(int verdict)
{
	int ns, fd;

	ns = nm_new_ns();
	nm_veth_create("nmv0", "nmv1", ns);
	veth_up("nmv0");
	nm_in_ns(ns, veth_up, "nmv1");
	nm_xdp_on("nmv0", -1, nm_xdp_verdict(verdict));
	nm_xdp_on("nmv1", ns, nm_xdp_verdict(XDP_TX));

	fd = nm_packet_socket("nmv0", ETH_P_802_EX1, NM_RCVBUF);
	xdp_frames(fd, ns, "nmv1", verdict == XDP_PASS ? fd : -1, "nmv0");
}

/*
 * XDP_TX, then XDP_DROP: xdp_return_frame() -> __xdp_return() ->
 * page_frag_free() of heads and frags.
 *
 * On stock: fails, the pages left their pool (rx_pp_recycle_released_ref).
 */
static void put_xdp_tx_drop(void)
{
	xdp_tx(XDP_DROP);
}

/*
 * XDP_TX, then received: skb_free_head() -> skb_free_frag() -> page_frag_free()
 * of heads, put_page() of frags.
 *
 * On stock: fails as above.
 */
static void put_xdp_tx_pass(void)
{
	xdp_tx(XDP_PASS);
}

/* XDP_REDIRECT: nmv0 -> nmv1 (redirected to nmv2) -> nmv3 */
static void xdp_redirected(int verdict)
{
	int ns, fd, fd3;

	ns = nm_new_ns();
	nm_veth_create("nmv0", "nmv1", ns);
	nm_veth_create("nmv3", "nmv2", ns);
	veth_up("nmv0");
	veth_up("nmv3");
	nm_in_ns(ns, veth_up, "nmv1");
	nm_in_ns(ns, veth_up, "nmv2");
	nm_xdp_on("nmv3", -1, nm_xdp_verdict(verdict));
	nm_xdp_on("nmv1", ns, nm_xdp_redirect(ifindex_in(ns, "nmv2")));

	fd = nm_packet_socket("nmv0", ETH_P_802_EX1, NM_RCVBUF);
	fd3 = nm_packet_socket("nmv3", ETH_P_802_EX1, NM_RCVBUF);
	xdp_frames(fd, ns, "nmv1", verdict == XDP_PASS ? fd3 : -1, "nmv3");
}

/* XDP_REDIRECT to another veth, which drops. On stock: fails as above. */
static void put_xdp_redirect_drop(void)
{
	xdp_redirected(XDP_DROP);
}

/* XDP_REDIRECT to another veth, which receives. On stock: fails as above. */
static void put_xdp_redirect_pass(void)
{
	xdp_redirected(XDP_PASS);
}

/*
 * A program cuts off so much of each frame that it loses a frag, which the
 * helper has to put to its page_pool.
 *
 * On stock: fails, it is freed, but not to the pool.
 */
#define TAINT_BAD_PAGE	(1L << 5)

static long bad_pages(void)
{
	return nm_read_long("/proc/sys/kernel/tainted") & TAINT_BAD_PAGE;
}

static int shrink_pair(void)
{
	int ns = nm_new_ns();

	nm_veth_create("nmv0", "nmv1", ns);
	veth_up("nmv0");
	nm_in_ns(ns, veth_up, "nmv1");

	return ns;
}

static void put_xdp_shrink(void)
{
	int ns = shrink_pair(), fd;
	uint64_t slow;

	nm_xdp_on("nmv1", ns, nm_xdp_shrink(5000));
	fd = nm_packet_socket("nmv0", ETH_P_802_EX1, NM_RCVBUF);
	send_frames(fd);
	nm_check(nm_until(veth_stat("nmv1", ns, "rx_queue_0_xdp_drops") >= FRAMES,
			  NM_TIMEOUT_MS), "frames lost");
	slow = veth_stat("nmv1", ns, "rx_pp_alloc_slow");
	send_frames(fd);
	nm_check(nm_until(veth_stat("nmv1", ns, "rx_queue_0_xdp_drops") >= 2 * FRAMES,
			  NM_TIMEOUT_MS), "frames lost");
	nm_check_eq(veth_stat("nmv1", ns, "rx_pp_alloc_slow"), slow,
		    "pages that the pool had to allocate again");
}

/*
 * The same by generic XDP, with pages of the system's pool, which has no
 * counters that can be read.
 *
 * On stock: fails, the pages are freed and reported as bad.
 */
static void listen_nmv1(void *arg)
{
	int *fd = arg;

	*fd = nm_packet_socket("nmv1", ETH_P_802_EX1, NM_RCVBUF);
}

static void put_xdp_shrink_generic(void)
{
	int ns = shrink_pair(), fd, peer;

	if (bad_pages())
		nm_skip("the kernel has reported bad pages before");
	fd = nm_packet_socket("nmv0", ETH_P_802_EX1, NM_RCVBUF);
	nm_in_ns(ns, listen_nmv1, &peer);
	send_frames(fd);
	recv_frames(peer);

	nm_xdp_generic_on("nmv1", ns, nm_xdp_shrink(5000));
	send_frames(fd);
	/* Softirq, but of which CPU? */
	sleep(1);
	nm_check(!nm_readable(peer), "the program did not run");
	nm_check(!bad_pages(), "bad pages were reported");
}

/*
 * A packet that generic XDP copies: the page with its headers, and 7 others. It is
 * not longer than half of the first window.
 */
#define LO_HEAD		3454
#define LO_PAGES	7
#define LO_LEN		(LO_HEAD + LO_PAGES * NM_PAGE)

static void lo_up(void *arg)
{
	nm_link_mtu("lo", LO_LEN + NM_MTU - NM_PAGE);
}

/* One packet, whose bytes begin at @off of the stream */
static void lo_packet(uint64_t off)
{
	static uint64_t buf[LO_LEN / 8 + 1];

	nm_fill(buf, off, sizeof(buf), SEED);
	nm_check_eq(send(conn.tx, buf, LO_LEN, 0), LO_LEN, "bytes sent");
	nm_check_eq(recv(rx.fd, buf, LO_HEAD, MSG_WAITALL), LO_HEAD,
		    "bytes beside the headers");
	nm_check_eq(nm_verify(buf, off, LO_HEAD, SEED), LO_HEAD,
		    "good bytes beside the headers");
	rx.off = off + LO_HEAD;
	nm_rx_map(&rx, LO_PAGES);
}

/*
 * Generic XDP on the loopback device has packets copied into pages of the
 * system's page_pool. What shares a page with the headers can only be read, all
 * other pages are mapped, and come home.
 *
 * On stock: fails, the pages left their pool.
 */
static void put_xdp_generic_lo(void)
{
	const unsigned int packets = 8;
	const size_t pages = packets * LO_PAGES;
	struct lent_count count;
	int ns = nm_new_ns();
	unsigned int i;

	nm_in_ns(ns, lo_up, NULL);
	nm_xdp_generic_on("lo", ns, nm_xdp_verdict(XDP_PASS));
	nm_conn_open(&conn, ns, ns, NM_ADDR_LO);
	nm_rx_init(&rx, nm_conn_accept(&conn), SEED, pages);
	trace_lent();
	for (i = 0; i < packets; i++)
		lo_packet(i * 0x10000ULL);
	nm_rx_verify(&rx);
	count = count_events();
	nm_check_eq(count.lent, pages, "pages lent");

	nm_rx_unmap(&rx, 0, pages);
	nm_check(nm_until(all_returned(), NM_TIMEOUT_MS), "pages do not return");
	nm_check_eq(count_events().freed, 0, "pages not recyclable");
}

/* ----- recycling ----- */

/*
 * 32 MiB, mapped and given back in batches that the ring has room for: at least
 * 99.9 % of the pages are recycled, and after the first batch the pool needs no
 * new ones.
 *
 * On stock: fails, none is recycled (released-refcnt).
 */
static void recycle_share(void)
{
	const unsigned int batches = 32, batch = PAGES;
	struct nm_pool first, pool;
	uint64_t mapped = 0;
	unsigned int i;

	open_stream(NM_RING, batch);
	for (i = 0; i < batches; i++) {
		rx.used = 0;
		receive_mapped(batch);
		nm_rx_verify(&rx);
		mapped += batch;
		nm_check(!madvise(rx.area, batch * NM_PAGE, MADV_DONTNEED),
			 "madvise");
		nm_rx_forget(&rx, 0, batch);
		nm_until(pool_now().ring - before.ring >= mapped, 100);
		if (!i)
			first = pool_now();
	}

	pool = pool_now();
	ksft_print_msg("%llu mapped: %llu recycled, %llu full, %llu left, %llu new\n",
		       (unsigned long long)mapped,
		       (unsigned long long)(pool.ring - before.ring),
		       (unsigned long long)(pool.ring_full - before.ring_full),
		       (unsigned long long)(pool.released - before.released),
		       (unsigned long long)(pool.slow - first.slow));
	nm_check(pool.ring - before.ring >= mapped - mapped / 1000,
		 "less than 99.9 %% recycled");
	nm_check(pool.slow - first.slow <= mapped / 1000,
		 "the pool went on to allocate pages");
}

/*
 * More pages come home at once than the ring has room for: it is filled, the
 * rest go to the buddy allocator, and are counted apart (recycle-ring-full).
 *
 * On stock: fails, none is recycled.
 */
static void ring_full(void)
{
	const unsigned int ring = 256, pages = 1024;
	struct lent_count count;
	struct nm_pool pool;

	open_stream(ring, pages);
	map_pages(pages);
	before = pool_now();
	trace_lent();
	nm_rx_unmap(&rx, 0, pages);
	nm_check(nm_until(!nm_lent(), NM_TIMEOUT_MS), "pages do not return");

	pool = pool_now();
	count = count_events();
	ksft_print_msg("counted: %llu recycled, %llu without room\n",
		       (unsigned long long)(pool.ring - before.ring),
		       (unsigned long long)(pool.ring_full - before.ring_full));
	nm_check_eq(pool.ring - before.ring, ring, "pages recycled");
	nm_check_eq(pool.released, before.released, "pages that left");
	/*
	 * All that it owns now is in its ring or, left from before, its cache
	 */
	nm_check(pool.inflight <= ring + 128, "pool still owns %llu pages",
		 (unsigned long long)pool.inflight);
	nm_check_eq(pool.ring_full - before.ring_full, pages - ring,
		    "pages without room");
	nm_check_eq(count.recyclable, pages, "recyclable pages");
	nm_check_eq(count.freed, 0, "other pages");
}

/*
 * A page that is mapped is nobody else's: while 256 pages are kept, 16 MiB more
 * go through the pool, none of them in one of the pages kept, and not a byte of
 * these changes.
 *
 * On stock: passes.
 */
static void integrity(void)
{
	const unsigned int batches = 16, batch = PAGES;
	static uint64_t pfn[PAGES];
	unsigned int i, j, k;

	open_stream(NM_RING, PAGES + batch);
	receive_mapped(PAGES);
	for (i = 0; i < PAGES; i++)
		pfn[i] = nm_pfn(rx.area + i * NM_PAGE);

	for (i = 0; i < batches; i++) {
		rx.used = PAGES;
		receive_mapped(batch);
		nm_rx_verify(&rx);
		for (j = 0; j < batch; j += 16) {
			uint64_t new = nm_pfn(rx.area + (PAGES + j) * NM_PAGE);

			for (k = 0; k < PAGES; k++)
				nm_check(new != pfn[k], "page used twice");
		}
		nm_check(!madvise(rx.area + PAGES * NM_PAGE, batch * NM_PAGE,
				  MADV_DONTNEED), "madvise");
		nm_rx_forget(&rx, PAGES, batch);
	}
	nm_rx_verify(&rx);
	nm_rx_exit(&rx);
}

/* ----- bad memory ----- */

#define KPF_HWPOISON_BIT	19

struct poison {
	uint64_t pfn;
	unsigned int recyclable;
	unsigned int returned;
};

static void poison_event(const struct nm_event *ev, void *arg)
{
	struct poison *poison = arg;

	if (!nm_event_is(ev, "page_pool_return") ||
	    nm_event_u64(ev, "pfn", 0) != poison->pfn)
		return;
	poison->returned++;
	poison->recyclable += nm_event_u64(ev, "recyclable", 0);
}

/* The kernel may answer by SIGBUS */
static void poison_page(void *arg)
{
	madvise(rx.area + 5 * NM_PAGE, NM_PAGE, MADV_HWPOISON);
}

/*
 * A lent page turns out bad: it comes home, but is not recycled, and no data
 * arrive in it any more.
 *
 * On stock: fails, the pages left their pool.
 */
static void hwpoison(void)
{
	struct poison poison = {};
	unsigned int i, j;

	open_mapped(PAGES);
	poison.pfn = nm_pfn(rx.area + 5 * NM_PAGE);
	/* Cannot be isolated; must be refused, not migrated under the pool */
	if (madvise(rx.area, NM_PAGE, MADV_SOFT_OFFLINE) == 0)
		nm_fail("soft offline of a lent page");
	if (errno == EINVAL)
		nm_skip("no MADV_SOFT_OFFLINE (CONFIG_MEMORY_FAILURE)");
	nm_rx_verify(&rx);

	nm_trace_event("page_pool:page_pool_return");
	nm_trace_start();
	nm_check(waitpid(nm_fork(poison_page, NULL), NULL, 0) > 0, "waitpid");
	nm_check(nm_kpageflags(poison.pfn) >> KPF_HWPOISON_BIT & 1,
		 "MADV_HWPOISON did not mark the page");

	nm_rx_unmap(&rx, 0, PAGES);
	nm_check(nm_until(!nm_lent(), NM_TIMEOUT_MS), "pages do not return");
	nm_trace_walk(poison_event, &poison);
	nm_check_eq(poison.recyclable, 0, "bad pages recyclable");
	nm_check_eq(poison.returned, 1, "bad pages returned");

	nm_rx_init(&rx, dup(rx.fd), SEED, PAGES);
	rx.off = PAGES * NM_PAGE;
	for (i = 0; i < 8; i++) {
		rx.used = 0;
		receive_mapped(PAGES);
		for (j = 0; j < PAGES; j++)
			nm_check(nm_pfn(rx.area + j * NM_PAGE) != poison.pfn,
				 "data in a bad page");
	}
	nm_rx_exit(&rx);
}

static const struct nm_test tests[] = {
	NM_TEST(put_munmap),
	NM_TEST(put_madvise),
	NM_TEST(put_map_fixed),
	NM_TEST(put_mremap),
	NM_TEST(put_receive_again),
	NM_TEST(put_exit),
	NM_TEST(put_kill),
	NM_TEST(put_execve),
	NM_TEST(put_pipe),
	NM_TEST(put_gift),
	NM_TEST(put_splice),
	NM_TEST(put_pin),
	NM_TEST(put_skb),
	NM_TEST(put_tls),
	NM_TEST(put_forward),
	NM_TEST(put_forward_segment),
	NM_TEST(put_clone),
	NM_TEST(put_clone_first),
	NM_TEST(put_odirect),
	NM_TEST(put_xdp_tx_drop),
	NM_TEST(put_xdp_tx_pass),
	NM_TEST(put_xdp_redirect_drop),
	NM_TEST(put_xdp_redirect_pass),
	NM_TEST(put_xdp_shrink),
	NM_TEST(put_xdp_shrink_generic),
	NM_TEST(put_xdp_generic_lo),
	NM_TEST(recycle_share),
	NM_TEST(ring_full),
	NM_TEST(integrity),
	NM_TEST(hwpoison),
};

int main(int argc, char **argv)
{
	const struct nm_suite suite = {
		.tests = tests,
		.nr = ARRAY_SIZE(tests),
	};

	return nm_run(argc, argv, &suite);
}

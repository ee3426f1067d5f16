// SPDX-License-Identifier: GPL-2.0
/*
 * Receive by io_uring's zero copy (zcrx): as one should, never giving back a
 * buffer, giving back what is not there, and being killed all the while. Checks
 * each byte that it receives. The same program sends.
 *
 * The receiver needs a queue that splits headers from data, and liburing 2.13.
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <linux/uio.h>
/* The C library's would be the second struct iovec */
#define __iovec_defined

#include <errno.h>
#include <error.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <liburing.h>
#include <linux/capability.h>
#include <linux/udmabuf.h>

#include "netdev-user.h"
#include <ynl.h>

#ifndef MSG_SOCK_DEVMEM
#define MSG_SOCK_DEVMEM	0x2000000
#endif

#define RQ_ENTRIES	1024
#define MAX_FRAGS	4096
#define PIECE		65536
#define HUGE_PAGE	(2UL << 20)
/* What takes longer does not happen */
#define PATIENCE_MS	30000
/* Buffers that are given back only in ways that must not work */
#define BAIT		4
/* Entries of each kind that no buffer belongs to */
#define BOGUS		4

enum memory { ANON, HUGE, DMABUF, HUGE_DMABUF, MEMORIES };

static const char * const memory_names[] = {
	[ANON] = "anon", [HUGE] = "huge",
	[DMABUF] = "dmabuf", [HUGE_DMABUF] = "huge-dmabuf",
};

static struct {
	const char *ifname;
	const char *host;
	unsigned int queue;
	unsigned short port;
	unsigned int buffers;
	unsigned int buf_len;
	enum memory memory;
	uint64_t size;
	uint64_t chunk;		/* the sender waits for a byte after each */
	unsigned int chunks;
	uint64_t seed;
	unsigned int rounds;
	bool flush;
	bool in_a_row;
} cfg = {
	.ifname = "nm-rx",
	.port = 5201,
	.buffers = 128,
	.buf_len = 4096,
	.size = 4 << 20,
	.seed = 1,
	.rounds = 10,
};

static const char usage_text[] =
"Usage: netmem_zcrx COMMAND [OPTION]...\n"
"\n"
"  receive   a stream, and give each buffer back at once\n"
"  hold      all buffers; on SIGUSR1 give them back, and go on as receive\n"
"  misuse    fill the refill ring with bogus entries, then as hold\n"
"  wild      the refill ring's tail and entries are random; nothing is checked\n"
"  spin      as receive, writing entries without pause\n"
"  cycle     register and close again and again, -n times or forever (-n 0)\n"
"  share     one dma-buf: for devmem TCP, for io_uring, for devmem TCP\n"
"  rounds    -n times: register, receive, be killed; for size, see there\n"
"  send      to -h HOST what the others expect\n"
"\n"
"  -i NAME   the receiving device (nm-rx)      -q N  its queue (0)\n"
"  -p N      port (5201)                       -z N  bytes of a stream (4 MiB)\n"
"  -b N      buffers (128)                     -l N  bytes of each (4096)\n"
"  -m anon|huge|dmabuf|huge-dmabuf             the memory they are in\n"
"  -c N      bytes of a chunk, with -k N of which the stream begins: after each\n"
"            the receiver of misuse writes its entries before the sender goes on\n"
"  -f        misuse: make the kernel read the entries at once\n"
"  -d        misuse: at last, give buffers back twice in a row\n"
"  -s N      seed of random entries (1)\n"
"  -n N      rounds (10)\n";

static volatile sig_atomic_t signaled;

static void on_signal(int sig)
{
	signaled = 1;
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ULL + ts.tv_nsec / 1000000;
}

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

static uint64_t rnd(void)
{
	static uint64_t count;

	return mix(cfg.seed * 0x100000001b3 + count++);
}

/* ----- the stream: no two words are the same ----- */

static void fill(unsigned char *to, uint64_t pos, size_t len)
{
	uint64_t word;
	size_t i, part;

	for (i = 0; i < len; i += part, pos += part) {
		word = mix(pos / 8);
		part = 8 - pos % 8;
		if (part > len - i)
			part = len - i;
		memcpy(to + i, (char *)&word + pos % 8, part);
	}
}

static void verify(const unsigned char *data, uint64_t pos, size_t len)
{
	static unsigned char expected[PIECE];
	size_t i;

	if (len > sizeof(expected))
		error(1, 0, "%zu bytes at once", len);
	fill(expected, pos, len);
	if (!memcmp(data, expected, len))
		return;
	for (i = 0; data[i] == expected[i]; i++)
		;
	error(1, 0, "byte %llu is %#x, not %#x",
	      (unsigned long long)(pos + i), data[i], expected[i]);
}

/* ----- memory ----- */

struct memory_area {
	unsigned char *data;
	size_t len;
	int dmabuf;	/* 0: none */
};

static void *map(size_t len, int flags, int fd)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (p == MAP_FAILED)
		error(1, errno, "mmap of %zu bytes", len);
	return p;
}

static void make_dmabuf(struct memory_area *mem, unsigned int flags)
{
	struct udmabuf_create create = { .size = mem->len };
	int dev = open("/dev/udmabuf", O_RDONLY);
	int memfd = memfd_create("zcrx", MFD_ALLOW_SEALING | flags);

	if (dev < 0 || memfd < 0 || ftruncate(memfd, mem->len) ||
	    fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK))
		error(1, errno, "memfd for a dma-buf");
	create.memfd = memfd;
	mem->dmabuf = ioctl(dev, UDMABUF_CREATE, &create);
	if (mem->dmabuf < 0)
		error(1, errno, "UDMABUF_CREATE");
	mem->data = map(mem->len, MAP_SHARED, memfd);
	close(memfd);
	close(dev);
}

static void make_memory(struct memory_area *mem)
{
	mem->len = (size_t)cfg.buffers * cfg.buf_len;
	mem->dmabuf = 0;
	if ((cfg.memory == HUGE || cfg.memory == HUGE_DMABUF) &&
	    mem->len % HUGE_PAGE)
		error(1, 0, "not whole huge pages");

	switch (cfg.memory) {
	case HUGE:
		mem->data = map(mem->len, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1);
		break;
	case DMABUF:
		make_dmabuf(mem, 0);
		break;
	case HUGE_DMABUF:
		make_dmabuf(mem, MFD_HUGETLB);
		break;
	default:
		mem->data = map(mem->len, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	}
}

/* ----- the ring ----- */

struct frag {
	uint64_t off;	/* as the kernel says it, with the area */
	uint64_t pos;	/* in the stream */
	unsigned int len;
};

struct rx {
	struct io_uring ring;
	struct memory_area mem;
	uint64_t token;
	uint32_t id;
	/* the refill ring */
	void *region;
	size_t region_len;
	unsigned int *head;
	unsigned int *tail;
	struct io_uring_zcrx_rqe *rqes;
	unsigned int next;	/* where the next entry goes; unpublished */
	/* what was received */
	int listener;
	int conn;
	uint64_t pos;
	bool ended;
	struct frag held[MAX_FRAGS];
	unsigned int nr_held;
};

static unsigned int buffer_of(uint64_t off)
{
	return (off & ~IORING_ZCRX_AREA_MASK) / cfg.buf_len;
}

static void ring_init(struct rx *rx)
{
	int ret = io_uring_queue_init(64, &rx->ring, IORING_SETUP_DEFER_TASKRUN |
				      IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_CQE32);

	if (ret)
		error(1, -ret, "io_uring_queue_init");
}

static void map_refill_ring(struct rx *rx, const struct io_uring_zcrx_offsets *offsets,
			    uint64_t mmap_offset)
{
	rx->region = mmap(NULL, rx->region_len, PROT_READ | PROT_WRITE, MAP_SHARED,
			  rx->ring.ring_fd, mmap_offset);
	if (rx->region == MAP_FAILED)
		error(1, errno, "mmap of the refill ring");
	rx->head = rx->region + offsets->head;
	rx->tail = rx->region + offsets->tail;
	rx->rqes = rx->region + offsets->rqes;
	rx->next = 0;
}

static int try_register(struct rx *rx)
{
	struct io_uring_region_desc region = {
		.size = RQ_ENTRIES * sizeof(*rx->rqes) + 4096,
	};
	struct io_uring_zcrx_area_reg area = {
		.addr = rx->mem.dmabuf ? 0 : (uintptr_t)rx->mem.data,
		.len = rx->mem.len,
		.flags = rx->mem.dmabuf ? IORING_ZCRX_AREA_DMABUF : 0,
		.dmabuf_fd = rx->mem.dmabuf,
	};
	struct io_uring_zcrx_ifq_reg reg = {
		.if_idx = if_nametoindex(cfg.ifname),
		.if_rxq = cfg.queue,
		.rq_entries = RQ_ENTRIES,
		.rx_buf_len = cfg.buf_len,
		.area_ptr = (uintptr_t)&area,
		.region_ptr = (uintptr_t)&region,
	};
	int ret = io_uring_register_ifq(&rx->ring, &reg);

	if (ret)
		return ret;
	rx->region_len = region.size;
	rx->token = area.rq_area_token;
	rx->id = reg.zcrx_id;
	map_refill_ring(rx, &reg.offsets, region.mmap_offset);
	return 0;
}

/* One that was closed or killed lets the queue and its memory go a bit later */
static void rx_register(struct rx *rx)
{
	uint64_t end = now_ms() + PATIENCE_MS;
	int ret;

	ring_init(rx);
	while ((ret = try_register(rx))) {
		if ((ret != -EEXIST && ret != -ENOMEM) || now_ms() > end)
			error(1, -ret, "io_uring_register_ifq");
		usleep(1000);
	}
	rx->pos = 0;
	rx->ended = false;
	rx->nr_held = 0;
}

static void rx_close(struct rx *rx)
{
	munmap(rx->region, rx->region_len);
	io_uring_queue_exit(&rx->ring);
}

/* ----- the refill ring ----- */

static unsigned int room(struct rx *rx)
{
	return RQ_ENTRIES - (rx->next - io_uring_smp_load_acquire(rx->head));
}

static void entry(struct rx *rx, uint64_t off, uint32_t len, uint32_t pad)
{
	struct io_uring_zcrx_rqe *rqe = &rx->rqes[rx->next++ % RQ_ENTRIES];

	rqe->off = off;
	rqe->len = len;
	rqe->__pad = pad;
}

static void publish(struct rx *rx)
{
	io_uring_smp_store_release(rx->tail, rx->next);
}

static void give_back(struct rx *rx, const struct frag *frag)
{
	if (!room(rx))
		error(1, 0, "the refill ring is full");
	entry(rx, frag->off, frag->len, 0);
	publish(rx);
}

static void give_back_held(struct rx *rx)
{
	unsigned int i;

	for (i = 0; i < rx->nr_held; i++)
		give_back(rx, &rx->held[i]);
	rx->nr_held = 0;
}

/* It stops at each bogus entry */
static void flush(struct rx *rx)
{
	struct zcrx_ctrl ctrl = { .zcrx_id = rx->id, .op = ZCRX_CTRL_FLUSH_RQ };
	int ret;

	while (room(rx) < RQ_ENTRIES) {
		ret = io_uring_register_zcrx_ctrl(&rx->ring, &ctrl);
		if (ret)
			error(1, -ret, "ZCRX_CTRL_FLUSH_RQ");
	}
}

/* ----- receive ----- */

static int tcp_socket(void)
{
	int fd = socket(AF_INET6, SOCK_STREAM, 0);

	if (fd < 0)
		error(1, errno, "socket");
	return fd;
}

static int listen_on(void)
{
	struct sockaddr_in6 addr = {
		.sin6_family = AF_INET6,
		.sin6_port = htons(cfg.port),
	};
	/*
	 * Half of the memory, the kernel doubles it: if what is out of order took
	 * all buffers, there would be none for what is missing.
	 */
	int rcvbuf = cfg.buffers * cfg.buf_len / 4;
	int fd = tcp_socket(), one = 1;

	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &rcvbuf, sizeof(rcvbuf)))
		error(1, errno, "SO_RCVBUFFORCE");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) || listen(fd, 1))
		error(1, errno, "listen");
	return fd;
}

static int accept_one(int listener)
{
	int fd = accept(listener, NULL, NULL);

	if (fd < 0)
		error(1, errno, "accept");
	return fd;
}

static void request(struct rx *rx)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&rx->ring);

	io_uring_prep_rw(IORING_OP_RECV_ZC, sqe, rx->conn, NULL, 0, 0);
	sqe->ioprio = IORING_RECV_MULTISHOT;
	sqe->zcrx_ifq_idx = rx->id;
}

static void rx_accept(struct rx *rx)
{
	rx->listener = listen_on();
	rx->conn = accept_one(rx->listener);
	close(rx->listener);
	request(rx);
}

static struct io_uring_cqe *completion(struct rx *rx, unsigned int ms)
{
	struct __kernel_timespec ts = {
		.tv_sec = ms / 1000,
		.tv_nsec = ms % 1000 * 1000000L,
	};
	struct io_uring_cqe *cqe;
	int ret;

	ret = io_uring_submit_and_wait_timeout(&rx->ring, &cqe, 1, &ts, NULL);
	if (ret == -ETIME || ret == -EINTR)
		return NULL;
	if (ret < 0)
		error(1, -ret, "io_uring_enter");
	return cqe;
}

/* Is there a fragment within @ms? Or was it the end? */
static bool next(struct rx *rx, struct frag *frag, unsigned int ms)
{
	struct io_uring_cqe *cqe = completion(rx, ms);
	int res;
	bool more;

	if (!cqe)
		return false;
	res = cqe->res;
	more = cqe->flags & IORING_CQE_F_MORE;
	frag->off = ((struct io_uring_zcrx_cqe *)(cqe + 1))->off;
	io_uring_cqe_seen(&rx->ring, cqe);
	/* There were more than completions have room */
	if (res == -ENOSPC) {
		request(rx);
		return false;
	}
	if (res < 0)
		error(1, -res, "received %llu bytes, then", (unsigned long long)rx->pos);
	if (!more && !res) {
		rx->ended = true;
		return false;
	}
	if (!more)
		request(rx);
	frag->len = res;
	frag->pos = rx->pos;
	rx->pos += res;
	return true;
}

static void check_frag(struct rx *rx, const struct frag *frag)
{
	uint64_t off = frag->off - rx->token;

	if (off + frag->len > rx->mem.len)
		error(1, 0, "%u bytes at %#llx of the area", frag->len,
		      (unsigned long long)off);
	verify(rx->mem.data + off, frag->pos, frag->len);
}

static bool next_checked(struct rx *rx, struct frag *frag, unsigned int ms)
{
	if (!next(rx, frag, ms))
		return false;
	check_frag(rx, frag);
	return true;
}

static void keep(struct rx *rx, const struct frag *frag)
{
	if (rx->nr_held == MAX_FRAGS)
		error(1, 0, "too many fragments");
	rx->held[rx->nr_held++] = *frag;
}

static void check_held(struct rx *rx)
{
	unsigned int i;

	for (i = 0; i < rx->nr_held; i++)
		check_frag(rx, &rx->held[i]);
}

/* Buffers, each of which can have several fragments */
static unsigned int held_buffers(struct rx *rx)
{
	bool *held = calloc(cfg.buffers, sizeof(*held));
	unsigned int i, n, count = 0;

	for (i = 0; i < rx->nr_held; i++) {
		n = buffer_of(rx->held[i].off);
		count += !held[n];
		held[n] = true;
	}
	free(held);
	return count;
}

static void to_the_end(struct rx *rx)
{
	uint64_t last = now_ms();
	struct frag frag;

	while (!rx->ended) {
		if (next_checked(rx, &frag, 100)) {
			give_back(rx, &frag);
			last = now_ms();
		} else if (now_ms() - last > PATIENCE_MS) {
			error(1, 0, "received %llu bytes, then nothing",
			      (unsigned long long)rx->pos);
		}
	}
	if (rx->pos != cfg.size)
		error(1, 0, "received %llu bytes", (unsigned long long)rx->pos);
	printf("received=%llu\n", (unsigned long long)rx->pos);
}

static void receive(struct rx *rx)
{
	rx_accept(rx);
	to_the_end(rx);
}

/* Says how many it has whenever nothing comes any more */
static void hold_until_signal(struct rx *rx)
{
	unsigned int said = 0;
	struct frag frag;

	while (!signaled && !rx->ended) {
		if (next_checked(rx, &frag, 1000)) {
			keep(rx, &frag);
		} else if (held_buffers(rx) != said) {
			said = held_buffers(rx);
			printf("held=%u\n", said);
		}
	}
	check_held(rx);
}

static void hold(struct rx *rx)
{
	rx_accept(rx);
	hold_until_signal(rx);
	give_back_held(rx);
	to_the_end(rx);
}

/* ----- misuse ----- */

/* Entries that no buffer belongs to, and that name the baits in wrong ways */
static void bogus_entries(struct rx *rx)
{
	uint64_t bait, end = rx->token + rx->mem.len;
	unsigned int i;

	for (i = 0; i < BOGUS; i++) {
		bait = rx->held[i % BAIT].off;
		/* of another area */
		entry(rx, bait + ((1 + rnd() % 0xffff) << IORING_ZCRX_AREA_SHIFT), 1, 0);
		/* out of range: just, and by far */
		entry(rx, end + i * cfg.buf_len, cfg.buf_len, 0);
		entry(rx, end + (rnd() >> 17), 1, 0);
		entry(rx, bait, cfg.buf_len, 1 + rnd() % UINT32_MAX);
		/* never received: the last that the kernel would take */
		entry(rx, rx->token + i * cfg.buf_len, cfg.buf_len, 0);
		/* The pad could be zero, and the rest a buffer's: once in 2^80 */
		entry(rx, rnd(), rnd(), rnd());
	}
}

/* While the sender waits, so that nobody has a buffer between its two entries */
static void misuse_chunk(struct rx *rx, const struct frag *frags, unsigned int nr)
{
	unsigned int i, times;

	for (times = 0; times < 2; times++) {
		for (i = 0; i < nr; i++)
			entry(rx, frags[i].off, frags[i].len, 0);
		bogus_entries(rx);
	}
}

static void twice_in_a_row(struct rx *rx, const struct frag *frags, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		entry(rx, frags[i].off, frags[i].len, 0);
		if (i < BAIT)
			entry(rx, frags[i].off, frags[i].len, 0);
	}
}

static unsigned int receive_chunk(struct rx *rx, struct frag *frags, uint64_t end)
{
	unsigned int nr = 0;
	uint64_t until = now_ms() + PATIENCE_MS;

	while (rx->pos < end) {
		if (next_checked(rx, &frags[nr], 100))
			nr++;
		if (rx->ended || nr == MAX_FRAGS || now_ms() > until)
			error(1, 0, "a chunk ended at byte %llu", (unsigned long long)rx->pos);
	}
	return nr;
}

static void misuse(struct rx *rx)
{
	static struct frag frags[MAX_FRAGS];
	unsigned int i, nr, baits;

	printf("seed=%llu\n", (unsigned long long)cfg.seed);
	rx_accept(rx);
	for (i = 1; i <= cfg.chunks; i++) {
		nr = receive_chunk(rx, frags, i * cfg.chunk);
		baits = i == 1 ? BAIT : 0;
		if (nr < baits)
			error(1, 0, "%u fragments in a chunk", nr);
		for (unsigned int n = 0; n < baits; n++)
			keep(rx, &frags[n]);
		if (i == cfg.chunks && cfg.in_a_row)
			twice_in_a_row(rx, frags + baits, nr - baits);
		else
			misuse_chunk(rx, frags + baits, nr - baits);
		publish(rx);
		if (cfg.flush)
			flush(rx);
		check_held(rx);
		if (write(rx->conn, "", 1) != 1)
			error(1, errno, "write");
	}
	printf("chunks=%u\n", cfg.chunks);
	hold_until_signal(rx);
	give_back_held(rx);
	to_the_end(rx);
}

/* Gives back what it was not given, and early: data can be anything */
static void wild(struct rx *rx)
{
	struct zcrx_ctrl ctrl = { .op = ZCRX_CTRL_FLUSH_RQ };
	struct frag frag;
	unsigned int i;

	printf("seed=%llu\n", (unsigned long long)cfg.seed);
	rx_accept(rx);
	ctrl.zcrx_id = rx->id;
	while (!rx->ended) {
		next(rx, &frag, 1);
		for (i = 0; i < 64; i++)
			entry(rx, rx->token + rnd() % (2 * cfg.buffers) * cfg.buf_len,
			      rnd(), !(rnd() % 8));
		io_uring_smp_store_release(rx->tail, (uint32_t)rnd());
		if (!(rnd() % 4))
			io_uring_register_zcrx_ctrl(&rx->ring, &ctrl);
	}
}

/* Half of the ring is for what is really given back */
static void spin(struct rx *rx)
{
	struct frag frag;

	rx_accept(rx);
	while (!rx->ended) {
		while (room(rx) > RQ_ENTRIES / 2)
			entry(rx, rx->token + rnd() % rx->mem.len, 1, 1);
		publish(rx);
		if (next_checked(rx, &frag, 0))
			give_back(rx, &frag);
	}
}

/* ----- again and again ----- */

static long vm_pin_kb(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	long kb = -1;
	char line[128];

	while (f && kb < 0 && fgets(line, sizeof(line), f))
		sscanf(line, "VmPin: %ld", &kb);
	if (kb < 0)
		error(1, 0, "no VmPin");
	fclose(f);
	return kb;
}

static void nothing_pinned(void)
{
	uint64_t end = now_ms() + PATIENCE_MS;

	while (vm_pin_kb()) {
		if (now_ms() > end)
			error(1, 0, "%ld kB stay pinned", vm_pin_kb());
		usleep(1000);
	}
}

static void cycle(struct rx *rx)
{
	unsigned int i;

	for (i = 0; !cfg.rounds || i < cfg.rounds; i++) {
		rx_register(rx);
		if (!rx->mem.dmabuf && vm_pin_kb() < (long)(rx->mem.len >> 10))
			error(1, 0, "%ld kB pinned", vm_pin_kb());
		rx_close(rx);
		nothing_pinned();
		if (!i)
			printf("cycle\n");
	}
	printf("cycles=%u\n", i);
}

/* What is accounted to the user is limited only without this capability */
static void limit_pinned(size_t bytes)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];
	struct rlimit limit = { .rlim_cur = bytes, .rlim_max = bytes };

	if (syscall(SYS_capget, &header, data))
		error(1, errno, "capget");
	data[0].effective &= ~(1U << CAP_IPC_LOCK);
	if (setrlimit(RLIMIT_MEMLOCK, &limit) || syscall(SYS_capset, &header, data))
		error(1, errno, "limit of pinned memory");
}

static void send_timeout(int fd, unsigned int ms)
{
	struct timeval tv = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
}

static void send_until_reset(int fd)
{
	static unsigned char data[PIECE];
	uint64_t pos = 0;

	send_timeout(fd, PATIENCE_MS);
	do {
		fill(data, pos, sizeof(data));
		pos += sizeof(data);
	} while (send(fd, data, sizeof(data), MSG_NOSIGNAL) == (ssize_t)sizeof(data));
}

/* Does not end: who started it kills it */
static void send_rounds(void)
{
	struct sockaddr_in6 to = {
		.sin6_family = AF_INET6,
		.sin6_port = htons(cfg.port),
	};
	int netns = open("/run/netns/nm-tx", O_RDONLY);
	int fd;

	if (netns < 0 || setns(netns, CLONE_NEWNET))
		error(1, errno, "netns nm-tx");
	inet_pton(AF_INET6, cfg.host, &to.sin6_addr);
	for (;;) {
		fd = tcp_socket();
		/* What is sent while the queue restarts is lost */
		send_timeout(fd, 100);
		if (connect(fd, (struct sockaddr *)&to, sizeof(to)))
			usleep(1000);
		else
			send_until_reset(fd);
		close(fd);
	}
}

/* Tells its parent when it has as much as this round wants, and holds a half */
static void round_child(struct rx *rx, int tell, unsigned int round)
{
	uint64_t want = round % 8 * 64 * 1024;
	struct frag frag;
	bool told = false;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	rx_register(rx);
	rx_accept(rx);
	while (!rx->ended) {
		if (!told && rx->pos >= want)
			told = write(tell, "", 1) == 1;
		if (!next_checked(rx, &frag, 100))
			continue;
		if (frag.pos / 4096 % 2 && rx->nr_held < cfg.buffers / 2)
			keep(rx, &frag);
		else
			give_back(rx, &frag);
	}
	exit(1);
}

static void one_round(struct rx *rx, unsigned int round)
{
	int tell[2], status;
	char byte;
	pid_t pid;

	if (pipe(tell))
		error(1, errno, "pipe");
	pid = fork();
	if (!pid) {
		close(tell[0]);
		round_child(rx, tell[1], round);
	}
	close(tell[1]);
	if (read(tell[0], &byte, 1) != 1)
		error(1, 0, "round %u: the receiver gave up", round);
	kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status))
		error(1, 0, "round %u: the receiver had ended", round);
	close(tell[0]);
}

/* Each instance has pages of its own. With a limit of three, none may be left. */
static void rounds(struct rx *rx)
{
	uint64_t start = now_ms();
	unsigned int i;
	pid_t sender;

	sender = fork();
	if (!sender) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		send_rounds();
	}
	limit_pinned(3 * (rx->mem.len + RQ_ENTRIES * sizeof(*rx->rqes) + 8192));
	for (i = 0; i < cfg.rounds; i++)
		one_round(rx, i);
	kill(sender, SIGKILL);
	waitpid(sender, NULL, 0);
	printf("rounds=%u ms=%llu\n", i, (unsigned long long)(now_ms() - start));
}

/* ----- the same memory for devmem TCP ----- */

static int try_bind_devmem(struct ynl_sock *ys, const struct memory_area *mem)
{
	struct netdev_bind_rx_req *req = netdev_bind_rx_req_alloc();
	struct netdev_queue_id *queue = netdev_queue_id_alloc(1);
	struct netdev_bind_rx_rsp *rsp;
	int ret = 0;

	netdev_queue_id_set_type(queue, NETDEV_QUEUE_TYPE_RX);
	netdev_queue_id_set_id(queue, cfg.queue);
	netdev_bind_rx_req_set_ifindex(req, if_nametoindex(cfg.ifname));
	netdev_bind_rx_req_set_fd(req, mem->dmabuf);
	__netdev_bind_rx_req_set_queues(req, queue, 1);
	rsp = netdev_bind_rx(ys, req);
	if (rsp)
		netdev_bind_rx_rsp_free(rsp);
	else
		ret = -ys->err.code;
	netdev_bind_rx_req_free(req);
	return ret;
}

static struct ynl_sock *bind_devmem(const struct memory_area *mem)
{
	uint64_t end = now_ms() + PATIENCE_MS;
	struct ynl_error err;
	struct ynl_sock *ys = ynl_sock_create(&ynl_netdev_family, &err);
	int ret;

	if (!ys)
		error(1, 0, "netlink: %s", err.msg);
	while ((ret = try_bind_devmem(ys, mem))) {
		/* The ring that was closed may have it still */
		if (abs(ret) != EEXIST || now_ms() > end)
			error(1, abs(ret), "bind-rx: %s", ys->err.msg);
		usleep(1000);
	}
	return ys;
}

static void devmem_frag(int conn, const struct memory_area *mem, struct cmsghdr *cm,
			uint64_t *pos)
{
	struct dmabuf_cmsg *frag = (struct dmabuf_cmsg *)CMSG_DATA(cm);
	struct dmabuf_token token = { .token_start = frag->frag_token, .token_count = 1 };

	if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_DEVMEM_DMABUF)
		error(1, 0, "received something that is not in the dma-buf");
	if (frag->frag_offset + frag->frag_size > mem->len)
		error(1, 0, "received out of the dma-buf");
	verify(mem->data + frag->frag_offset, *pos, frag->frag_size);
	*pos += frag->frag_size;
	if (setsockopt(conn, SOL_SOCKET, SO_DEVMEM_DONTNEED, &token, sizeof(token)) != 1)
		error(1, errno, "SO_DEVMEM_DONTNEED");
}

static void receive_devmem(int conn, const struct memory_area *mem)
{
	static char control[MAX_FRAGS * CMSG_SPACE(sizeof(struct dmabuf_cmsg))];
	static char unused[PIECE];
	uint64_t pos = 0;
	ssize_t ret;

	for (;;) {
		struct iovec iov = { .iov_base = unused, .iov_len = sizeof(unused) };
		struct msghdr msg = {
			.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = control,
			.msg_controllen = sizeof(control),
		};
		struct cmsghdr *cm;

		ret = recvmsg(conn, &msg, MSG_SOCK_DEVMEM);
		if (ret < 0)
			error(1, errno, "recvmsg");
		if (!ret)
			break;
		for (cm = CMSG_FIRSTHDR(&msg); cm; cm = CMSG_NXTHDR(&msg, cm))
			devmem_frag(conn, mem, cm, &pos);
	}
	if (pos != cfg.size)
		error(1, 0, "received %llu bytes", (unsigned long long)pos);
	printf("devmem=%llu\n", (unsigned long long)pos);
}

static void share_devmem(const struct memory_area *mem)
{
	struct ynl_sock *ys = bind_devmem(mem);
	int listener = listen_on();
	int conn = accept_one(listener);

	close(listener);
	receive_devmem(conn, mem);
	close(conn);
	ynl_sock_destroy(ys);
}

static void share(struct rx *rx)
{
	if (!rx->mem.dmabuf)
		error(1, 0, "share needs -m dmabuf");
	share_devmem(&rx->mem);
	rx_register(rx);
	receive(rx);
	close(rx->conn);
	rx_close(rx);
	memset(rx->mem.data, 0, rx->mem.len);
	share_devmem(&rx->mem);
}

/* ----- send ----- */

static void send_piece(int fd, uint64_t pos, size_t len)
{
	static unsigned char data[PIECE];
	size_t done;
	ssize_t ret;

	fill(data, pos, len);
	for (done = 0; done < len; done += ret) {
		ret = send(fd, data + done, len - done, MSG_NOSIGNAL);
		if (ret < 0)
			error(1, errno, "send");
	}
}

static uint64_t send_bytes(int fd, uint64_t pos, uint64_t end)
{
	size_t len;

	for (; pos < end; pos += len) {
		len = end - pos < PIECE ? end - pos : PIECE;
		send_piece(fd, pos, len);
	}
	return pos;
}

static void send_stream(void)
{
	struct sockaddr_in6 to = {
		.sin6_family = AF_INET6,
		.sin6_port = htons(cfg.port),
	};
	int fd = tcp_socket();
	uint64_t pos = 0;
	unsigned int i;
	char byte;

	if (inet_pton(AF_INET6, cfg.host, &to.sin6_addr) != 1)
		error(1, 0, "bad address: %s", cfg.host);
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)))
		error(1, errno, "connect");
	for (i = 0; i < cfg.chunks; i++) {
		pos = send_bytes(fd, pos, pos + cfg.chunk);
		if (read(fd, &byte, 1) != 1)
			error(1, 0, "the receiver did not answer");
	}
	send_bytes(fd, pos, cfg.size);
}

/* ----- main ----- */

static const struct {
	const char *name;
	void (*run)(struct rx *rx);
	bool registers;		/* by itself */
} commands[] = {
	{ "receive", receive },
	{ "hold", hold },
	{ "misuse", misuse },
	{ "wild", wild },
	{ "spin", spin },
	{ "cycle", cycle, true },
	{ "share", share, true },
	{ "rounds", rounds, true },
};

static void __attribute__((noreturn)) usage(int status)
{
	fputs(usage_text, status ? stderr : stdout);
	exit(status);
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t n = strtoull(text, &end, 0);

	if (!*text || *end)
		usage(2);
	return n;
}

static enum memory memory_of(const char *name)
{
	unsigned int i;

	for (i = 0; i < MEMORIES; i++)
		if (!strcmp(name, memory_names[i]))
			return i;
	usage(2);
}

static void parse(int argc, char **argv)
{
	int opt;

	while ((opt = getopt(argc, argv, "i:q:p:z:b:l:m:c:k:fds:n:h:")) != -1) {
		switch (opt) {
		case 'i':
			cfg.ifname = optarg;
			break;
		case 'q':
			cfg.queue = number(optarg);
			break;
		case 'p':
			cfg.port = number(optarg);
			break;
		case 'z':
			cfg.size = number(optarg);
			break;
		case 'b':
			cfg.buffers = number(optarg);
			break;
		case 'l':
			cfg.buf_len = number(optarg);
			break;
		case 'm':
			cfg.memory = memory_of(optarg);
			break;
		case 'c':
			cfg.chunk = number(optarg);
			break;
		case 'k':
			cfg.chunks = number(optarg);
			break;
		case 'f':
			cfg.flush = true;
			break;
		case 'd':
			cfg.in_a_row = true;
			break;
		case 's':
			cfg.seed = number(optarg);
			break;
		case 'n':
			cfg.rounds = number(optarg);
			break;
		case 'h':
			cfg.host = optarg;
			break;
		default:
			usage(2);
		}
	}
	if (optind != argc || !cfg.buffers || !cfg.buf_len)
		usage(2);
}

static void run(const char *name)
{
	struct sigaction action = { .sa_handler = on_signal };
	static struct rx rx;
	unsigned int i;

	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(name, commands[i].name))
			continue;
		sigaction(SIGUSR1, &action, NULL);
		make_memory(&rx.mem);
		if (!commands[i].registers)
			rx_register(&rx);
		commands[i].run(&rx);
		return;
	}
	usage(2);
}

int main(int argc, char **argv)
{
	if (argc < 2)
		usage(2);
	if (!strcmp(argv[1], "--help"))
		usage(0);
	setvbuf(stdout, NULL, _IOLBF, 0);
	parse(argc - 1, argv + 1);
	if (strcmp(argv[1], "send"))
		run(argv[1]);
	else if (cfg.host)
		send_stream();
	else
		usage(2);

	return 0;
}

// SPDX-License-Identifier: GPL-2.0
/*
 * Give memory to a receive queue of a network device, receive one TCP stream
 * into it and hold on to the buffers, until there are as many as were asked for;
 * then give all of them back, over and over. The memory is provided, and paid
 * for, by this very process.
 *
 * The queue must be the one that the stream comes to, and split headers from
 * data; netdevsim's pairs do. The sender is tcp_mmap_hold.
 */
#define _GNU_SOURCE
#include <stddef.h>

/* The C library defines struct iovec only if nobody did: so this comes first. */
#include <linux/uio.h>
#define __iovec_defined

#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdbool.h>

#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include <linux/dma-buf.h>
#include <linux/genetlink.h>
#include <linux/io_uring.h>
#include <linux/netdev.h>
#include <linux/netlink.h>
#include <linux/udmabuf.h>

#include "netmem_stream.h"

#ifndef MSG_SOCK_DEVMEM
#define MSG_SOCK_DEVMEM	0x2000000
#endif

/* All that the kernel takes in one call (MAX_DONTNEED_TOKENS) */
#define DONTNEED_TOKENS	128
#define CQ_ENTRIES	1024
/* The kernel takes no more (IO_RQ_MAX_ENTRIES) */
#define RQ_ENTRIES_MAX	32768
#define POLL_MS		200

struct rx;

struct provider {
	const char *name;
	void (*bind)(struct rx *rx);
	void (*start)(struct rx *rx);
	/* Wait a moment, and take what came. Returns false at the end. */
	bool (*receive)(struct rx *rx);
	void (*give_back)(struct rx *rx);
	/* Bytes the kernel copied where it is not us who do, if not NULL */
	uint64_t (*copied)(const struct rx *rx);
};

static struct {
	const struct provider *provider;
	const char *listen;
	struct stream_opts sock;
	const char *dev;
	uint64_t queue;
	uint64_t memory;	/* bytes to provide */
	uint64_t hold;		/* buffers to hold before all are given back */
	uint64_t size;
	uint64_t chunk;		/* bytes to ask for in one call */
	uint64_t every;		/* bytes between two samples, 0: none */
	bool hash;
	bool step;
} cfg = {
	.listen = "",
	.sock = { .port = "8790", .timeout = 30 },
	.size = 512ULL << 20,
	.chunk = 256ULL << 10,
};

static const char usage_text[] =
"Usage: netmem_provider_hold --provider KIND --dev NAME --memory N --hold N\n"
"                            [--listen[=ADDR]] [OPTION]...\n"
"\n"
"Gives memory to a receive queue, receives a TCP stream into it and keeps the\n"
"buffers until there are as many as --hold says; then gives all of them back,\n"
"over and over. Runs as root.\n"
"\n"
"  -P, --provider KIND  kernel, kernel-huge: kernel memory (bind-rx-kernel),\n"
"                       received by TCP_ZEROCOPY_RECEIVE;\n"
"                       zcrx: anonymous memory, by io_uring's zero copy receive;\n"
"                       devmem: a udmabuf (bind-rx), by MSG_SOCK_DEVMEM\n"
"  -d, --dev NAME       network device\n"
"  -q, --queue N        its receive queue (0)\n"
"  -M, --memory N       bytes to provide, a multiple of 2M for kernel-huge\n"
"  -n, --hold N         buffers (pages) to hold\n"
"  -l, --listen[=ADDR]  address to listen on (any)\n"
"  -p, --port N         TCP port (8790)\n"
"  -s, --size N         bytes that are going to be sent (512M): anything else is\n"
"                       an error\n"
"  -H, --hash           print the SHA-256 of what arrived\n"
"  -c, --chunk N        bytes to receive per call (256K)\n"
"  -r, --rcvbuf N       set SO_RCVBUF (default: the kernel tunes it)\n"
"  -t, --timeout N      give up after N seconds without progress (30)\n"
"  -e, --every N        print a line of counts each N bytes received and, if\n"
"                       that many are held, before they are given back\n"
"  -w, --step           after each such line, and at the end with all that is\n"
"                       held then, wait for a line on standard input\n"
"  -h, --help\n"
"\n"
"N takes K, M or G. Output is key=value. Exit status: 0 done, 1 failed,\n"
"2 wrong usage.\n";

struct uring {
	int fd;
	uint32_t zcrx_id;
	uint64_t area_token;
	/* Submission, completion and refill queue */
	struct io_uring_sqe *sqes;
	uint32_t *sq_tail;
	uint32_t *sq_array;
	uint32_t sq_mask;
	struct io_uring_cqe *cqes;
	uint32_t *cq_head;
	uint32_t *cq_tail;
	uint32_t cq_mask;
	struct io_uring_zcrx_rqe *rqes;
	uint32_t *rq_head;
	uint32_t *rq_tail;
	uint32_t rq_entries;
	struct zcrx_stats *stats;
};

struct rx {
	int fd;
	char *mem;		/* where data is read */
	char *buf;		/* for what is copied */
	size_t page;
	struct sha256 sha;
	uint64_t start_ms;
	uint64_t sampled;	/* received when the last sample was printed */

	uint64_t zerocopy;	/* bytes in buffers that we were given */
	uint64_t copied;	/* bytes read by recv(), or from a linear part */
	uint64_t returned;	/* of the bytes in buffers */
	uint64_t calls;		/* that take what came */
	uint64_t reads;		/* recv() */

	uint64_t held;		/* buffers */
	uint64_t held_max;
	uint64_t *names;	/* by which the kernel takes each of them back */

	int dmabuf;
	uint32_t dmabuf_id;
	struct uring ring;
};

static uint64_t rx_received(const struct rx *rx)
{
	return rx->zerocopy + rx->copied;
}

static uint64_t rx_copied(const struct rx *rx)
{
	return rx->copied +
	       (cfg.provider->copied ? cfg.provider->copied(rx) : 0);
}

static void rx_print(struct rx *rx)
{
	uint64_t copied = rx_copied(rx);

	print_sample(rx_received(rx) - copied, copied,
		     rx->zerocopy - rx->returned, rx->calls, rx->reads,
		     rx->start_ms);
	rx->sampled = rx_received(rx);
	if (cfg.step)
		wait_for_line();
}

static void rx_give_back(struct rx *rx)
{
	if (cfg.every && cfg.hold * rx->page >= cfg.every &&
	    rx->sampled != rx_received(rx))
		rx_print(rx);
	cfg.provider->give_back(rx);
	rx->returned = rx->zerocopy;
	rx->held = 0;
}

static void rx_got(struct rx *rx, const void *data, size_t len)
{
	if (cfg.hash)
		sha256_update(&rx->sha, data, len);
	if (cfg.every && rx_received(rx) / cfg.every > rx->sampled / cfg.every)
		rx_print(rx);
}

static void rx_copy(struct rx *rx, const void *data, size_t len)
{
	rx->copied += len;
	rx_got(rx, data, len);
}

/* @len bytes at @data came in @nr buffers, which are held from now on. */
static void rx_hold(struct rx *rx, const void *data, size_t len, unsigned int nr)
{
	rx->zerocopy += len;
	rx->held += nr;
	if (rx->held > rx->held_max)
		rx->held_max = rx->held;
	rx_got(rx, data, len);
	if (rx->held >= cfg.hold)
		rx_give_back(rx);
}

/* Netlink */

struct nl_msg {
	struct nlmsghdr nlh;
	struct genlmsghdr genl;
	char attrs[256];
};

static struct nlattr *nl_put(struct nl_msg *msg, int type, const void *data,
			     size_t len)
{
	struct nlattr *nla = (void *)((char *)msg + msg->nlh.nlmsg_len);

	nla->nla_type = type;
	nla->nla_len = NLA_HDRLEN + len;
	if (len)
		memcpy(nla + 1, data, len);
	msg->nlh.nlmsg_len += NLA_ALIGN(nla->nla_len);
	return nla;
}

static void nl_init(struct nl_msg *msg, int family, int cmd)
{
	memset(msg, 0, sizeof(*msg));
	msg->nlh.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN);
	msg->nlh.nlmsg_type = family;
	msg->nlh.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	msg->genl.cmd = cmd;
	msg->genl.version = 1;
}

/* Value of the attribute @type in @len bytes of them, NULL if there is none */
static void *nl_find(void *attrs, int len, int type)
{
	struct nlattr *nla = attrs;

	while (len >= NLA_HDRLEN && nla->nla_len >= NLA_HDRLEN) {
		if ((nla->nla_type & NLA_TYPE_MASK) == type)
			return nla + 1;
		len -= NLA_ALIGN(nla->nla_len);
		nla = (void *)((char *)nla + NLA_ALIGN(nla->nla_len));
	}
	return NULL;
}

static void nl_check_ack(struct nlmsghdr *nlh, const char *what)
{
	struct nlmsgerr *err = NLMSG_DATA(nlh);
	char *why = NULL;

	if (!err->error)
		return;
	if (nlh->nlmsg_flags & NLM_F_ACK_TLVS)
		why = nl_find(err + 1, nlh->nlmsg_len - NLMSG_LENGTH(sizeof(*err)),
			      NLMSGERR_ATTR_MSG);
	error(EXIT_FAILURE, -err->error, "%s%s%s", what, why ? ": " : "",
	      why ? why : "");
}

/* Returns the attribute @type of the answer, which comes before the ack. */
static uint32_t nl_ask(int fd, struct nl_msg *msg, const char *what, int type)
{
	uint64_t buf[1024];
	struct nlmsghdr *nlh = (void *)buf;
	uint32_t val = 0;
	void *attr;

	if (send(fd, msg, msg->nlh.nlmsg_len, 0) < 0)
		error(EXIT_FAILURE, errno, "netlink");
	for (;;) {
		if (recv(fd, buf, sizeof(buf), 0) < (ssize_t)sizeof(*nlh))
			error(EXIT_FAILURE, errno, "netlink");
		if (nlh->nlmsg_type == NLMSG_ERROR)
			break;
		attr = nl_find((char *)NLMSG_DATA(nlh) + GENL_HDRLEN,
			       nlh->nlmsg_len - NLMSG_LENGTH(GENL_HDRLEN), type);
		if (attr)
			memcpy(&val, attr,
			       type == CTRL_ATTR_FAMILY_ID ? 2 : sizeof(val));
	}
	nl_check_ack(nlh, what);
	return val;
}

/* The memory is bound as long as this socket is open. */
static int nl_open(uint16_t *family)
{
	struct nl_msg msg;
	int fd, one = 1;

	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	if (fd < 0)
		error(EXIT_FAILURE, errno, "netlink");
	setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));
	setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one));

	nl_init(&msg, GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
	nl_put(&msg, CTRL_ATTR_FAMILY_NAME, NETDEV_FAMILY_NAME,
	       sizeof(NETDEV_FAMILY_NAME));
	*family = nl_ask(fd, &msg, "netdev netlink", CTRL_ATTR_FAMILY_ID);
	return fd;
}

static void nl_put_queue(struct nl_msg *msg, int type)
{
	uint32_t rx = NETDEV_QUEUE_TYPE_RX, id = cfg.queue;
	struct nlattr *nest;

	nest = nl_put(msg, type | NLA_F_NESTED, NULL, 0);
	nl_put(msg, NETDEV_A_QUEUE_ID, &id, sizeof(id));
	nl_put(msg, NETDEV_A_QUEUE_TYPE, &rx, sizeof(rx));
	nest->nla_len = (char *)msg + msg->nlh.nlmsg_len - (char *)nest;
}

/* Kernel memory */

static void bind_kernel(bool huge)
{
	uint32_t ifindex = if_nametoindex(cfg.dev);
	struct nl_msg msg;
	uint16_t family;
	int fd;

	fd = nl_open(&family);
	nl_init(&msg, family, NETDEV_CMD_BIND_RX_KERNEL);
	nl_put(&msg, NETDEV_A_KERNEL_MEMORY_IFINDEX, &ifindex, sizeof(ifindex));
	nl_put_queue(&msg, NETDEV_A_KERNEL_MEMORY_QUEUES);
	nl_put(&msg, NETDEV_A_KERNEL_MEMORY_SIZE, &cfg.memory,
	       sizeof(cfg.memory));
	if (huge)
		nl_put(&msg, NETDEV_A_KERNEL_MEMORY_HUGE, NULL, 0);
	nl_ask(fd, &msg, "bind-rx-kernel", NETDEV_A_KERNEL_MEMORY_ID);
}

static void kernel_bind(struct rx *rx)
{
	bind_kernel(false);
}

static void huge_bind(struct rx *rx)
{
	bind_kernel(true);
}

/* The buffers held are the pages mapped at the start of the area. */
static void kernel_start(struct rx *rx)
{
	rx->mem = xmmap(cfg.hold * rx->page, PROT_READ, MAP_SHARED, rx->fd);
}

static void kernel_give_back(struct rx *rx)
{
	if (madvise(rx->mem, rx->held * rx->page, MADV_DONTNEED))
		error(EXIT_FAILURE, errno, "MADV_DONTNEED");
}

/* Read @len bytes, or what there is of them. Returns false at the end. */
static bool kernel_read(struct rx *rx, size_t len)
{
	ssize_t n = 1;

	while (len && n > 0) {
		n = recv(rx->fd, rx->buf, len < cfg.chunk ? len : cfg.chunk,
			 MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN)
			error(EXIT_FAILURE, errno, "recv");
		if (n > 0) {
			rx->reads++;
			rx_copy(rx, rx->buf, n);
			len -= n;
		}
	}
	return n;
}

static bool kernel_receive(struct rx *rx)
{
	size_t used = rx->held * rx->page, room = cfg.hold * rx->page - used;
	struct tcp_zerocopy_receive zc = {
		.address = (uintptr_t)rx->mem + used,
		.length = room < cfg.chunk ? room : cfg.chunk,
		.flags = TCP_RECEIVE_ZEROCOPY_FLAG_TLB_CLEAN_HINT,
	};
	socklen_t len = sizeof(zc);

	wait_for(rx->fd, POLLIN, POLL_MS);
	rx->calls++;
	if (getsockopt(rx->fd, IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, &zc, &len)) {
		if (errno == EIO)	/* end of stream */
			return false;
		error(EXIT_FAILURE, errno, "TCP_ZEROCOPY_RECEIVE");
	}
	if (zc.err)
		error(EXIT_FAILURE, -zc.err, "connection");
	if (zc.length)
		rx_hold(rx, rx->mem + used, zc.length, zc.length / rx->page);

	/* Behind an odd part there may be whole pages again. */
	if (zc.recv_skip_hint > rx->page && zc.recv_skip_hint % rx->page)
		zc.recv_skip_hint %= rx->page;
	return kernel_read(rx, zc.recv_skip_hint);
}

/* io_uring zero copy receive */

static void uring_map(struct uring *r, const struct io_uring_params *p)
{
	size_t sq_len = p->sq_off.array + p->sq_entries * sizeof(uint32_t);
	size_t cq_len = p->cq_off.cqes + p->cq_entries * 2 * sizeof(*r->cqes);
	char *ring;

	/* One mapping has both queues. */
	ring = mmap(NULL, sq_len > cq_len ? sq_len : cq_len,
		    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r->fd,
		    IORING_OFF_SQ_RING);
	r->sqes = mmap(NULL, p->sq_entries * sizeof(*r->sqes),
		       PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, r->fd,
		       IORING_OFF_SQES);
	if (ring == MAP_FAILED || r->sqes == MAP_FAILED)
		error(EXIT_FAILURE, errno, "mmap of the io_uring");

	r->sq_tail = (void *)(ring + p->sq_off.tail);
	r->sq_array = (void *)(ring + p->sq_off.array);
	r->sq_mask = p->sq_entries - 1;
	r->cqes = (void *)(ring + p->cq_off.cqes);
	r->cq_head = (void *)(ring + p->cq_off.head);
	r->cq_tail = (void *)(ring + p->cq_off.tail);
	r->cq_mask = p->cq_entries - 1;
}

static void uring_open(struct uring *r)
{
	struct io_uring_params p = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			 IORING_SETUP_CQE32 | IORING_SETUP_CQSIZE,
		.cq_entries = CQ_ENTRIES,
	};

	r->fd = syscall(__NR_io_uring_setup, 1, &p);
	if (r->fd < 0)
		error(EXIT_FAILURE, errno, "io_uring_setup");
	uring_map(r, &p);
}

/*
 * As many entries as buffers can be given back at once, if that is allowed; a page
 * of them at least
 */
static uint32_t rq_entries(size_t page)
{
	uint32_t n = page / sizeof(struct io_uring_zcrx_rqe);

	while (n < cfg.hold && n < RQ_ENTRIES_MAX)
		n *= 2;
	return n;
}

/* The refill queue, and behind it the counters */
static void zcrx_register(struct uring *r, struct io_uring_zcrx_area_reg *area,
			  size_t page)
{
	uint32_t entries = rq_entries(page);
	size_t len = entries * sizeof(*r->rqes), size = len + 2 * page;
	char *rq = xmmap(size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1);
	struct io_uring_region_desc region = {
		.user_addr = (uintptr_t)rq,
		.size = size,
		.flags = IORING_MEM_REGION_TYPE_USER,
	};
	struct zcrx_event_desc events = {
		.flags = ZCRX_EVENT_DESC_FLAG_STATS,
		.stats_offset = len + page,
	};
	struct io_uring_zcrx_ifq_reg reg = {
		.if_idx = if_nametoindex(cfg.dev),
		.if_rxq = cfg.queue,
		.rq_entries = entries,
		.area_ptr = (uintptr_t)area,
		.region_ptr = (uintptr_t)&region,
		.event_desc = (uintptr_t)&events,
	};

	if (syscall(__NR_io_uring_register, r->fd, IORING_REGISTER_ZCRX_IFQ,
		    &reg, 1))
		error(EXIT_FAILURE, errno, "IORING_REGISTER_ZCRX_IFQ");
	r->zcrx_id = reg.zcrx_id;
	r->rqes = (void *)(rq + reg.offsets.rqes);
	r->rq_head = (void *)(rq + reg.offsets.head);
	r->rq_tail = (void *)(rq + reg.offsets.tail);
	r->rq_entries = reg.rq_entries;
	r->stats = (void *)(rq + events.stats_offset);
}

static void zcrx_bind(struct rx *rx)
{
	struct io_uring_zcrx_area_reg area = { .len = cfg.memory };

	rx->mem = xmmap(cfg.memory, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1);
	area.addr = (uintptr_t)rx->mem;
	uring_open(&rx->ring);
	zcrx_register(&rx->ring, &area, rx->page);
	rx->ring.area_token = area.rq_area_token;
}

/* One request that goes on until the stream ends */
static void zcrx_start(struct rx *rx)
{
	struct uring *r = &rx->ring;
	uint32_t tail = *r->sq_tail, i = tail & r->sq_mask;

	memset(&r->sqes[i], 0, sizeof(r->sqes[i]));
	r->sqes[i].opcode = IORING_OP_RECV_ZC;
	r->sqes[i].fd = rx->fd;
	r->sqes[i].ioprio = IORING_RECV_MULTISHOT;
	r->sqes[i].zcrx_ifq_idx = r->zcrx_id;
	r->sq_array[i] = i;
	__atomic_store_n(r->sq_tail, tail + 1, __ATOMIC_RELEASE);
	if (syscall(__NR_io_uring_enter, r->fd, 1, 0, 0, NULL, 0) != 1)
		error(EXIT_FAILURE, errno, "io_uring_enter");
}

static void zcrx_wait(struct uring *r)
{
	struct __kernel_timespec ts = { .tv_nsec = POLL_MS * 1000000 };
	struct io_uring_getevents_arg arg = { .ts = (uintptr_t)&ts };

	if (syscall(__NR_io_uring_enter, r->fd, 0, 1,
		    IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &arg,
		    sizeof(arg)) < 0 && errno != ETIME && errno != EINTR)
		error(EXIT_FAILURE, errno, "io_uring_enter");
}

static void zcrx_flush(struct uring *r)
{
	struct zcrx_ctrl ctrl = {
		.zcrx_id = r->zcrx_id,
		.op = ZCRX_CTRL_FLUSH_RQ,
	};

	if (syscall(__NR_io_uring_register, r->fd, IORING_REGISTER_ZCRX_CTRL,
		    &ctrl, 0))
		error(EXIT_FAILURE, errno, "ZCRX_CTRL_FLUSH_RQ");
}

static void zcrx_give_back(struct rx *rx)
{
	struct uring *r = &rx->ring;
	uint32_t tail = *r->rq_tail;
	uint64_t i;

	for (i = 0; i < rx->held; i++) {
		if (tail - __atomic_load_n(r->rq_head, __ATOMIC_ACQUIRE) ==
		    r->rq_entries)
			zcrx_flush(r);
		r->rqes[tail++ & (r->rq_entries - 1)] =
			(struct io_uring_zcrx_rqe){ .off = rx->names[i] };
		__atomic_store_n(r->rq_tail, tail, __ATOMIC_RELEASE);
	}
}

/* Returns false at the end of the stream. */
static bool zcrx_take(struct rx *rx, const struct io_uring_cqe *cqe)
{
	const struct io_uring_zcrx_cqe *zc = (void *)cqe->big_cqe;
	uint64_t off;

	/* -ENOSPC: the completion queue was full; -ENOMEM: no buffer to copy to */
	if (cqe->res < 0 && cqe->res != -ENOSPC && cqe->res != -ENOMEM)
		error(EXIT_FAILURE, -cqe->res, "IORING_OP_RECV_ZC");
	if (cqe->res > 0) {
		off = zc->off & ~IORING_ZCRX_AREA_MASK;
		rx->names[rx->held] = off | rx->ring.area_token;
		rx_hold(rx, rx->mem + off, cqe->res, 1);
	}
	if (cqe->flags & IORING_CQE_F_MORE)
		return true;
	if (!cqe->res)
		return false;
	zcrx_start(rx);
	return true;
}

static bool zcrx_receive(struct rx *rx)
{
	struct uring *r = &rx->ring;
	uint32_t head = *r->cq_head;
	bool more = true;

	rx->calls++;
	zcrx_wait(r);
	while (more && head != __atomic_load_n(r->cq_tail, __ATOMIC_ACQUIRE)) {
		/* One of 32 bytes has the place of two. */
		more = zcrx_take(rx, &r->cqes[(head & r->cq_mask) * 2]);
		__atomic_store_n(r->cq_head, ++head, __ATOMIC_RELEASE);
	}
	return more;
}

static uint64_t zcrx_copied(const struct rx *rx)
{
	return __atomic_load_n(&rx->ring.stats->copy_bytes, __ATOMIC_RELAXED);
}

/* Device memory, for which pages of a memfd stand */

static int udmabuf_create(int memfd)
{
	struct udmabuf_create create = {
		.memfd = memfd,
		.flags = UDMABUF_FLAGS_CLOEXEC,
		.size = cfg.memory,
	};
	int fd, dmabuf;

	fd = open("/dev/udmabuf", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		error(EXIT_FAILURE, errno, "/dev/udmabuf");
	dmabuf = ioctl(fd, UDMABUF_CREATE, &create);
	if (dmabuf < 0)
		error(EXIT_FAILURE, errno, "UDMABUF_CREATE");
	close(fd);
	return dmabuf;
}

static void devmem_bind(struct rx *rx)
{
	uint32_t ifindex = if_nametoindex(cfg.dev);
	struct nl_msg msg;
	uint16_t family;
	int memfd, fd;

	memfd = memfd_create("devmem", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	/* A udmabuf must not lose what it consists of. */
	if (memfd < 0 || ftruncate(memfd, cfg.memory) ||
	    fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK))
		error(EXIT_FAILURE, errno, "memfd of %ju bytes", cfg.memory);
	rx->mem = xmmap(cfg.memory, PROT_READ, MAP_SHARED, memfd);
	rx->dmabuf = udmabuf_create(memfd);

	fd = nl_open(&family);
	nl_init(&msg, family, NETDEV_CMD_BIND_RX);
	nl_put(&msg, NETDEV_A_DMABUF_IFINDEX, &ifindex, sizeof(ifindex));
	nl_put_queue(&msg, NETDEV_A_DMABUF_QUEUES);
	nl_put(&msg, NETDEV_A_DMABUF_FD, &rx->dmabuf, sizeof(rx->dmabuf));
	rx->dmabuf_id = nl_ask(fd, &msg, "bind-rx", NETDEV_A_DMABUF_ID);
}

static void devmem_give_back(struct rx *rx)
{
	struct dmabuf_token tokens[DONTNEED_TOKENS];
	uint64_t i;
	int n = 0;

	for (i = 0; i < rx->held; i++) {
		tokens[n++] = (struct dmabuf_token){
			.token_start = rx->names[i],
			.token_count = 1,
		};
		if (n < DONTNEED_TOKENS && i + 1 < rx->held)
			continue;
		if (setsockopt(rx->fd, SOL_SOCKET, SO_DEVMEM_DONTNEED, tokens,
			       n * sizeof(*tokens)) != n)
			error(EXIT_FAILURE, errno, "SO_DEVMEM_DONTNEED");
		n = 0;
	}
}

static void devmem_sync(struct rx *rx, int when)
{
	struct dma_buf_sync sync = { .flags = DMA_BUF_SYNC_READ | when };

	if (ioctl(rx->dmabuf, DMA_BUF_IOCTL_SYNC, &sync))
		error(EXIT_FAILURE, errno, "DMA_BUF_IOCTL_SYNC");
}

static void devmem_take(struct rx *rx, const struct dmabuf_cmsg *frag)
{
	if (frag->dmabuf_id != rx->dmabuf_id ||
	    frag->frag_offset + frag->frag_size > cfg.memory)
		error(EXIT_FAILURE, 0, "a fragment is not in our dma-buf");
	rx->names[rx->held] = frag->frag_token;
	rx_hold(rx, rx->mem + frag->frag_offset, frag->frag_size, 1);
}

/* What was copied, if anything, is in rx->buf, one after the other. */
static void devmem_take_all(struct rx *rx, struct msghdr *msg)
{
	struct dmabuf_cmsg *frag;
	struct cmsghdr *cm;
	size_t at = 0;

	for (cm = CMSG_FIRSTHDR(msg); cm; cm = CMSG_NXTHDR(msg, cm)) {
		frag = (void *)CMSG_DATA(cm);
		if (cm->cmsg_level != SOL_SOCKET)
			continue;
		if (cm->cmsg_type == SCM_DEVMEM_DMABUF) {
			devmem_take(rx, frag);
		} else if (cm->cmsg_type == SCM_DEVMEM_LINEAR) {
			rx_copy(rx, rx->buf + at, frag->frag_size);
			at += frag->frag_size;
		}
	}
}

static bool devmem_receive(struct rx *rx)
{
	char control[DONTNEED_TOKENS * CMSG_SPACE(sizeof(struct dmabuf_cmsg))];
	struct iovec iov = { .iov_base = rx->buf, .iov_len = cfg.chunk };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n;

	wait_for(rx->fd, POLLIN, POLL_MS);
	rx->calls++;
	n = recvmsg(rx->fd, &msg, MSG_SOCK_DEVMEM | MSG_DONTWAIT);
	if (n < 0 && errno != EAGAIN)
		error(EXIT_FAILURE, errno, "recvmsg");
	if (n <= 0)
		return n;

	devmem_sync(rx, DMA_BUF_SYNC_START);
	devmem_take_all(rx, &msg);
	devmem_sync(rx, DMA_BUF_SYNC_END);
	return true;
}

static const struct provider providers[] = {
	{
		.name = "kernel",
		.bind = kernel_bind,
		.start = kernel_start,
		.receive = kernel_receive,
		.give_back = kernel_give_back,
	}, {
		.name = "kernel-huge",
		.bind = huge_bind,
		.start = kernel_start,
		.receive = kernel_receive,
		.give_back = kernel_give_back,
	}, {
		.name = "zcrx",
		.bind = zcrx_bind,
		.start = zcrx_start,
		.receive = zcrx_receive,
		.give_back = zcrx_give_back,
		.copied = zcrx_copied,
	}, {
		.name = "devmem",
		.bind = devmem_bind,
		.receive = devmem_receive,
		.give_back = devmem_give_back,
	},
};

/* Receiver */

static void rx_open(struct rx *rx)
{
	rx->page = sysconf(_SC_PAGESIZE);
	rx->names = xmmap(cfg.hold * sizeof(*rx->names), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1);
	rx->buf = xmmap(cfg.chunk, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1);
	sha256_init(&rx->sha);

	cfg.provider->bind(rx);
	printf("provider=%s\nprovided=%ju\n", cfg.provider->name, cfg.memory);
	rx->fd = accept_one(&cfg.sock, cfg.listen);
	if (cfg.provider->start)
		cfg.provider->start(rx);
	rx->start_ms = now_ms();
}

static void rx_stream(struct rx *rx)
{
	uint64_t last = now_ms(), seen = 0;

	while (cfg.provider->receive(rx)) {
		if (rx_received(rx) != seen) {
			seen = rx_received(rx);
			last = now_ms();
		} else if (now_ms() - last > cfg.sock.timeout * 1000) {
			error(EXIT_FAILURE, 0, "nothing arrived for %ju s",
			      cfg.sock.timeout);
		}
	}
}

static void rx_report(struct rx *rx)
{
	uint64_t copied = rx_copied(rx);

	printf("received=%ju\nmapped=%ju\ncopied=%ju\nunmapped=%ju\n",
	       rx_received(rx), rx_received(rx) - copied, copied, rx->returned);
	printf("held_max=%ju\ncalls=%ju\nreads=%ju\nms=%ju\n",
	       rx->held_max * rx->page, rx->calls, rx->reads,
	       now_ms() - rx->start_ms);
	if (cfg.hash)
		sha256_print(&rx->sha);
	fflush(stdout);
}

static int receive(void)
{
	struct rx rx = { 0 };

	rx_open(&rx);
	rx_stream(&rx);
	rx_print(&rx);
	if (rx.held)
		rx_give_back(&rx);
	rx_report(&rx);
	if (rx_received(&rx) != cfg.size)
		error(EXIT_FAILURE, 0, "%ju bytes came, not %ju",
		      rx_received(&rx), cfg.size);
	return EXIT_SUCCESS;
}

/* Command line */

static const struct option options[] = {
	{ "provider",	required_argument, NULL, 'P' },
	{ "dev",	required_argument, NULL, 'd' },
	{ "queue",	required_argument, NULL, 'q' },
	{ "memory",	required_argument, NULL, 'M' },
	{ "hold",	required_argument, NULL, 'n' },
	{ "listen",	optional_argument, NULL, 'l' },
	{ "port",	required_argument, NULL, 'p' },
	{ "size",	required_argument, NULL, 's' },
	{ "hash",	no_argument,	   NULL, 'H' },
	{ "chunk",	required_argument, NULL, 'c' },
	{ "rcvbuf",	required_argument, NULL, 'r' },
	{ "timeout",	required_argument, NULL, 't' },
	{ "every",	required_argument, NULL, 'e' },
	{ "step",	no_argument,	   NULL, 'w' },
	{ "help",	no_argument,	   NULL, 'h' },
	{ }
};

static const struct provider *find_provider(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(providers) / sizeof(*providers); i++)
		if (!strcmp(providers[i].name, name))
			return &providers[i];
	error(EXIT_USAGE, 0, "--provider %s: want kernel, kernel-huge, zcrx or devmem",
	      name);
	return NULL;
}

static void parse_number_option(int opt, const char *arg)
{
	long page = sysconf(_SC_PAGESIZE);

	switch (opt) {
	case 'q':
		cfg.queue = parse_number("queue", arg, 0, 65535);
		break;
	case 'M':
		cfg.memory = parse_number("memory", arg, page, 1ULL << 40);
		break;
	case 'n':
		cfg.hold = parse_number("hold", arg, 1, 1 << 28);
		break;
	case 's':
		cfg.size = parse_number("size", arg, 1, 1ULL << 40);
		break;
	case 'c':
		cfg.chunk = parse_number("chunk", arg, page, 1 << 30);
		break;
	case 'r':
		cfg.sock.rcvbuf = parse_number("rcvbuf", arg, page, INT_MAX / 2);
		break;
	case 't':
		cfg.sock.timeout = parse_number("timeout", arg, 1, 86400);
		break;
	case 'e':
		cfg.every = parse_number("every", arg, page, 1ULL << 40);
		break;
	}
}

static void parse_option(int opt)
{
	switch (opt) {
	case 'P':
		cfg.provider = find_provider(optarg);
		break;
	case 'd':
		cfg.dev = optarg;
		break;
	case 'l':
		cfg.listen = optarg ? optarg : "";
		break;
	case 'p':
		parse_number("port", optarg, 1, 65535);
		cfg.sock.port = optarg;
		break;
	case 'H':
		cfg.hash = true;
		break;
	case 'w':
		cfg.step = true;
		break;
	case 'h':
		fputs(usage_text, stdout);
		exit(EXIT_SUCCESS);
	case '?':	/* getopt has said what is wrong */
		exit(EXIT_USAGE);
	default:
		parse_number_option(opt, optarg);
	}
}

static void check_arguments(int left, const char *arg)
{
	long page = sysconf(_SC_PAGESIZE);

	if (left)
		error(EXIT_USAGE, 0, "unexpected argument %s, see --help", arg);
	if (!cfg.provider || !cfg.dev || !cfg.memory || !cfg.hold)
		error(EXIT_USAGE, 0, "want --provider, --dev, --memory and --hold, see --help");
	if (!if_nametoindex(cfg.dev))
		error(EXIT_USAGE, 0, "--dev %s: no such network device", cfg.dev);
	if (cfg.memory % page)
		error(EXIT_USAGE, 0, "--memory %ju: want whole pages of %ld bytes",
		      cfg.memory, page);
	if (cfg.hold >= cfg.memory / page)
		error(EXIT_USAGE, 0, "--hold %ju: less than all of the %ju buffers, or nothing more can come",
		      cfg.hold, cfg.memory / page);
}

int main(int argc, char **argv)
{
	int opt;

	while ((opt = getopt_long(argc, argv, "P:d:q:M:n:l::p:s:Hc:r:t:e:wh",
				  options, NULL)) != -1)
		parse_option(opt);
	check_arguments(argc - optind, argv[optind]);
	return receive();
}

// SPDX-License-Identifier: GPL-2.0
/*
 * Receive one TCP stream with TCP_ZEROCOPY_RECEIVE and hold on to the pages,
 * or give them back in batches. Counts to the byte what was mapped and what
 * was copied. The same program sends the stream.
 *
 * Zero copy wants each segment's payload to be whole pages at offset 0: a NIC
 * that splits headers from data, and an MTU of a page plus the headers (IPv4
 * with TCP timestamps: 4096 + 52 = 4148). What the kernel cannot map, or the
 * receiver's memory cgroup cannot pay for, it reports to be read by recv();
 * this program reads and drops it.
 *
 * tcp_mmap.c next to this file measures speed and unmaps at once. This one
 * asks whom the memory belongs to, so the mapping outlives the packet.
 */
#include <getopt.h>
#include <limits.h>
#include <stdbool.h>
#include <time.h>

#include <linux/errqueue.h>

#include "netmem_stream.h"

#ifndef MSG_ZEROCOPY
#define MSG_ZEROCOPY	0x4000000
#endif

#define TX_BUFS		8
#define TX_BUF_SIZE	(256 << 10)

static struct {
	const char *listen;	/* address to listen on, "" for any */
	const char *connect;	/* address to send to */
	struct stream_opts sock;
	uint64_t size;		/* bytes to send; address space to reserve */
	uint64_t batch;		/* pages to map before unmapping, 0: keep */
	uint64_t chunk;		/* bytes to ask for in one call */
	uint64_t every;		/* bytes between two samples, 0: none */
	uint64_t seed;
	bool hash;
	bool step;
	bool zerocopy;
} cfg = {
	.sock = { .port = "8790", .timeout = 30 },
	.size = 512ULL << 20,
	.chunk = 256ULL << 10,
	.seed = 1,
};

static const char usage_text[] =
"Usage: tcp_mmap_hold --listen[=ADDR] [OPTION]...      receive one stream\n"
"       tcp_mmap_hold --connect ADDR [OPTION]...       send it\n"
"\n"
"Receives a TCP stream by zero copy (TCP_ZEROCOPY_RECEIVE) and keeps the pages\n"
"mapped until it ends, so that one can see who is charged for them.\n"
"\n"
"  -p, --port N         TCP port (8790)\n"
"  -s, --size N         bytes to send (512M); give the receiver the same, it is\n"
"                       the address space set aside for mapping\n"
"  -H, --hash           print the SHA-256 of what was sent or what arrived\n"
"  -m, --mss N          set TCP_MAXSEG\n"
"  -t, --timeout N      give up after N seconds without progress (30)\n"
"  -h, --help\n"
"receiver:\n"
"  -k, --keep           keep all that was mapped until the end (default)\n"
"  -b, --batch N        unmap whenever N pages are mapped, and reuse their place\n"
"  -c, --chunk N        bytes to map per call and to wait for (256K)\n"
"  -r, --rcvbuf N       set SO_RCVBUF (default: the kernel tunes it)\n"
"  -e, --every N        print a line of counts each N bytes received\n"
"  -w, --step           after each such line, and at the end with all still\n"
"                       mapped, wait for a line on standard input\n"
"sender:\n"
"  -z, --zerocopy       send with MSG_ZEROCOPY\n"
"  -S, --seed N         seed of the pseudo-random data (1)\n"
"\n"
"N takes K, M or G. Output is key=value. Exit status: 0 done, 1 failed,\n"
"2 wrong usage.\n"
"\n"
"  host1# ip link set eth0 mtu 4148 && ethtool -G eth0 tcp-data-split on\n"
"  host1# tcp_mmap_hold --listen --size 1G --hash\n"
"  host2# tcp_mmap_hold --connect host1 --size 1G --hash\n";

/* Sockets */

static int try_connect(const struct addrinfo *ai)
{
	int fd;

	for (; ai; ai = ai->ai_next) {
		fd = open_socket(&cfg.sock, ai);
		if (fd < 0)
			continue;
		if (!connect(fd, ai->ai_addr, ai->ai_addrlen))
			return fd;
		close(fd);
	}
	return -1;
}

/* The receiver may still be on its way: keep trying for a while. */
static int connect_to(const char *host)
{
	struct addrinfo *res = lookup(&cfg.sock, host, 0);
	uint64_t end = now_ms() + cfg.sock.timeout * 1000;
	int fd;

	while ((fd = try_connect(res)) < 0) {
		if (errno != ECONNREFUSED || now_ms() > end)
			error(EXIT_FAILURE, errno, "connect to %s", host);
		usleep(20000);
	}
	freeaddrinfo(res);
	return fd;
}

/* Receiver */

struct rx {
	int fd;
	char *area;		/* the mapping of the socket */
	size_t area_len;
	size_t pos;		/* mapped so far, from the start of area */
	char *buf;		/* for what has to be copied */
	size_t page;
	struct sha256 sha;
	uint64_t start_ms;
	uint64_t next_sample;

	uint64_t mapped;	/* bytes, as all below up to calls */
	uint64_t copied;
	uint64_t unmapped;
	uint64_t calls;		/* TCP_ZEROCOPY_RECEIVE */
	uint64_t reads;		/* recv() */
	uint64_t enomem;	/* calls that failed with ENOMEM */
	int64_t nomem_base;	/* TcpExtTCPZeroCopyRxNoMem, -1: none */
	int64_t nomem_at;	/* received before it first rose, -1: never */
};

static uint64_t rx_received(const struct rx *rx)
{
	return rx->mapped + rx->copied;
}

/* Value of the field called @name in two lines "TcpExt: a b c", -1: none */
static int64_t netstat_field(char *names, char *values, const char *name)
{
	char *n, *v, *nsave, *vsave;

	n = strtok_r(names, "\n ", &nsave);
	v = strtok_r(values, "\n ", &vsave);
	while (n && v) {
		if (!strcmp(n, name))
			return strtoll(v, NULL, 10);
		n = strtok_r(NULL, "\n ", &nsave);
		v = strtok_r(NULL, "\n ", &vsave);
	}
	return -1;
}

/* Pages not mapped because the charge failed; -1 if the kernel has no such */
static int64_t read_nomem(void)
{
	static char names[16384], values[16384];
	int64_t val = -1;
	FILE *f;

	f = fopen("/proc/net/netstat", "r");
	if (!f)
		return -1;
	while (val < 0 && fgets(names, sizeof(names), f) &&
	       fgets(values, sizeof(values), f))
		val = netstat_field(names, values, "TCPZeroCopyRxNoMem");
	fclose(f);
	return val;
}

static void rx_note_nomem(struct rx *rx)
{
	if (rx->nomem_base < 0 || rx->nomem_at >= 0)
		return;
	if (read_nomem() > rx->nomem_base)
		rx->nomem_at = rx_received(rx);
}

static void rx_print(const struct rx *rx)
{
	print_sample(rx->mapped, rx->copied, rx->mapped - rx->unmapped,
		     rx->calls, rx->reads, rx->start_ms);
	if (cfg.step)
		wait_for_line();
}

static void rx_sample(struct rx *rx)
{
	if (!cfg.every || rx_received(rx) < rx->next_sample)
		return;
	while (rx->next_sample <= rx_received(rx))
		rx->next_sample += cfg.every;
	rx_print(rx);
}

static void rx_unmap(struct rx *rx)
{
	if (madvise(rx->area, rx->pos, MADV_DONTNEED))
		error(EXIT_FAILURE, errno, "MADV_DONTNEED");
	rx->unmapped += rx->pos;
	rx->pos = 0;
}

/*
 * Map what the kernel will give us. Returns the bytes that must be read by
 * recv() before anything can be mapped again.
 */
static size_t rx_map(struct rx *rx)
{
	struct tcp_zerocopy_receive zc = {
		.address = (uintptr_t)rx->area + rx->pos,
		.length = cfg.chunk,
		.flags = TCP_RECEIVE_ZEROCOPY_FLAG_TLB_CLEAN_HINT,
	};
	socklen_t len = sizeof(zc);

	if (zc.length > rx->area_len - rx->pos)
		zc.length = rx->area_len - rx->pos;
	if (!zc.length)
		return cfg.chunk;

	rx->calls++;
	if (getsockopt(rx->fd, IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, &zc, &len)) {
		if (errno == EIO)	/* end of stream */
			return 0;
		if (errno != ENOMEM)
			error(EXIT_FAILURE, errno, "TCP_ZEROCOPY_RECEIVE");
		rx->enomem++;
		return cfg.chunk;
	}
	if (zc.err)
		error(EXIT_FAILURE, 0, "connection: %s", strerror(-zc.err));
	if (zc.length && cfg.hash)
		sha256_update(&rx->sha, rx->area + rx->pos, zc.length);
	rx->pos += zc.length;
	rx->mapped += zc.length;
	if (zc.recv_skip_hint >= rx->page)
		rx_note_nomem(rx);
	/*
	 * Of a packet that begins in its linear part the kernel reports all. What
	 * is behind that part may be whole pages.
	 */
	if (zc.recv_skip_hint > rx->page && zc.recv_skip_hint % rx->page)
		return zc.recv_skip_hint % rx->page;
	return zc.recv_skip_hint;
}

static ssize_t rx_recv(struct rx *rx, size_t len, int flags)
{
	ssize_t n = recv(rx->fd, rx->buf, len, flags | MSG_DONTWAIT);

	if (n < 0 && errno != EAGAIN && errno != EINTR)
		error(EXIT_FAILURE, errno, "recv");
	return n;
}

/* Read @todo bytes, or what there is of them. Returns false at the end. */
static bool rx_copy(struct rx *rx, size_t todo)
{
	ssize_t n = 1;

	if (!todo)	/* nothing to skip: has the stream ended? */
		return rx_recv(rx, 1, MSG_PEEK);

	while (todo && n > 0) {
		n = rx_recv(rx, todo < cfg.chunk ? todo : cfg.chunk, 0);
		if (n <= 0)
			break;
		rx->reads++;
		if (cfg.hash)
			sha256_update(&rx->sha, rx->buf, n);
		rx->copied += n;
		todo -= n;
	}
	return n;
}

static void rx_stream(struct rx *rx)
{
	uint64_t last = now_ms(), seen = 0;
	bool more = true;

	while (more) {
		wait_for(rx->fd, POLLIN, 200);
		if (cfg.batch && rx->pos == rx->area_len)
			rx_unmap(rx);
		more = rx_copy(rx, rx_map(rx));
		rx_sample(rx);

		if (rx_received(rx) != seen) {
			seen = rx_received(rx);
			last = now_ms();
		} else if (now_ms() - last > cfg.sock.timeout * 1000) {
			error(EXIT_FAILURE, 0, "nothing arrived for %ju s", cfg.sock.timeout);
		}
	}
}

static void rx_open(struct rx *rx)
{
	int lowat = cfg.chunk;

	rx->page = sysconf(_SC_PAGESIZE);
	rx->area_len = cfg.batch ? cfg.batch * rx->page :
		       (cfg.size + rx->page - 1) / rx->page * rx->page;
	rx->nomem_base = read_nomem();
	rx->nomem_at = -1;
	rx->next_sample = cfg.every;
	sha256_init(&rx->sha);

	rx->fd = accept_one(&cfg.sock, cfg.listen);
	setsockopt(rx->fd, SOL_SOCKET, SO_RCVLOWAT, &lowat, sizeof(lowat));
	rx->area = xmmap(rx->area_len, PROT_READ, MAP_SHARED, rx->fd);
	rx->buf = xmmap(cfg.chunk, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1);
	rx->start_ms = now_ms();
}

static void rx_report(struct rx *rx)
{
	int64_t nomem = read_nomem();

	printf("received=%ju\nmapped=%ju\ncopied=%ju\nunmapped=%ju\n",
	       rx_received(rx), rx->mapped, rx->copied, rx->unmapped);
	printf("calls=%ju\nreads=%ju\nenomem=%ju\nms=%ju\n", rx->calls,
	       rx->reads, rx->enomem, now_ms() - rx->start_ms);
	if (rx->nomem_base < 0)
		printf("nomem_pages=-\nnomem_at=-\n");
	else
		printf("nomem_pages=%jd\nnomem_at=%jd\n",
		       (intmax_t)(nomem - rx->nomem_base),
		       (intmax_t)rx->nomem_at);
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
	if (cfg.batch)
		rx_unmap(&rx);
	rx_report(&rx);
	return EXIT_SUCCESS;
}

/* Sender */

struct tx {
	int fd;
	uint64_t *tmpl;		/* one page of pseudo-random words */
	size_t words;
	uint64_t page_no;
	char *buf[TX_BUFS];
	uint32_t buf_id[TX_BUFS];	/* MSG_ZEROCOPY calls before its reuse */
	uint32_t calls;			/* MSG_ZEROCOPY calls made ... */
	uint32_t completed;		/* ... and completed */
	struct sha256 sha;
};

/* xorshift64* */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dULL;
}

static void tx_init(struct tx *tx)
{
	uint64_t state = cfg.seed * 2 + 1;
	size_t page = sysconf(_SC_PAGESIZE), i;

	tx->words = page / sizeof(*tx->tmpl);
	tx->tmpl = xmmap(page, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1);
	for (i = 0; i < tx->words; i++)
		tx->tmpl[i] = next_random(&state);
	for (i = 0; i < TX_BUFS; i++)
		tx->buf[i] = xmmap(TX_BUF_SIZE, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1);
	sha256_init(&tx->sha);
}

/* Cheap to make, and no two pages of a stream share a word at one offset. */
static void tx_fill(struct tx *tx, void *buf)
{
	uint64_t *p = buf, *end = p + TX_BUF_SIZE / sizeof(*p), key;
	size_t i;

	while (p < end) {
		key = ++tx->page_no * 0x9e3779b97f4a7c15ULL;
		for (i = 0; i < tx->words; i++)
			*p++ = tx->tmpl[i] ^ key;
	}
}

/* Take completions of MSG_ZEROCOPY off the error queue. */
static void tx_complete(struct tx *tx)
{
	struct sock_extended_err *err;
	struct msghdr msg = { 0 };
	struct cmsghdr *cm;
	char control[128];

	for (;;) {
		msg.msg_control = control;
		msg.msg_controllen = sizeof(control);
		if (recvmsg(tx->fd, &msg, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
			return;
		cm = CMSG_FIRSTHDR(&msg);
		if (!cm)
			return;
		err = (void *)CMSG_DATA(cm);
		if (err->ee_origin == SO_EE_ORIGIN_ZEROCOPY)
			tx->completed = err->ee_data + 1;
	}
}

static void tx_wait_completed(struct tx *tx, uint32_t calls)
{
	uint64_t end = now_ms() + cfg.sock.timeout * 1000;

	while ((int32_t)(tx->completed - calls) < 0) {
		tx_complete(tx);
		if ((int32_t)(tx->completed - calls) >= 0)
			break;
		if (now_ms() > end)
			error(EXIT_FAILURE, 0, "MSG_ZEROCOPY does not complete");
		wait_for(tx->fd, 0, 100);	/* POLLERR is implied */
	}
}

static void tx_send(struct tx *tx, const char *p, size_t len)
{
	int flags = MSG_NOSIGNAL | (cfg.zerocopy ? MSG_ZEROCOPY : 0);
	ssize_t n;

	while (len) {
		n = send(tx->fd, p, len, flags);
		if (n < 0 && errno == ENOBUFS && cfg.zerocopy) {
			tx_wait_completed(tx, tx->calls);
			continue;
		}
		if (n < 0 && errno == EAGAIN)
			error(EXIT_FAILURE, 0, "nothing sent for %ju s", cfg.sock.timeout);
		if (n < 0)
			error(EXIT_FAILURE, errno, "send");
		tx->calls++;
		p += n;
		len -= n;
	}
}

static void tx_stream(struct tx *tx)
{
	uint64_t left = cfg.size;
	unsigned int i;
	size_t n;

	for (i = 0; left; i = (i + 1) % TX_BUFS, left -= n) {
		n = left < TX_BUF_SIZE ? left : TX_BUF_SIZE;
		if (cfg.zerocopy)
			tx_wait_completed(tx, tx->buf_id[i]);
		tx_fill(tx, tx->buf[i]);
		if (cfg.hash)
			sha256_update(&tx->sha, tx->buf[i], n);
		tx_send(tx, tx->buf[i], n);
		tx->buf_id[i] = tx->calls;
	}
	if (cfg.zerocopy)
		tx_wait_completed(tx, tx->calls);
}

static int send_stream(void)
{
	struct timeval tv = { .tv_sec = cfg.sock.timeout };
	struct tx tx = { 0 };
	int one = 1;
	char c;

	tx_init(&tx);
	tx.fd = connect_to(cfg.connect);
	setsockopt(tx.fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	/* Only full segments, even at the edge of the window, up to the end */
	setsockopt(tx.fd, IPPROTO_TCP, TCP_CORK, &one, sizeof(one));
	if (cfg.zerocopy &&
	    setsockopt(tx.fd, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one)))
		error(EXIT_FAILURE, errno, "SO_ZEROCOPY");
	tx_stream(&tx);
	printf("sent=%ju\n", cfg.size);
	if (cfg.hash)
		sha256_print(&tx.sha);
	fflush(stdout);

	/* The receiver closes when it is done with the pages: wait for it. */
	shutdown(tx.fd, SHUT_WR);
	while (recv(tx.fd, &c, 1, 0) > 0)
		;
	return EXIT_SUCCESS;
}

/* Command line */

static const struct option options[] = {
	{ "listen",	optional_argument, NULL, 'l' },
	{ "connect",	required_argument, NULL, 'C' },
	{ "port",	required_argument, NULL, 'p' },
	{ "size",	required_argument, NULL, 's' },
	{ "hash",	no_argument,	   NULL, 'H' },
	{ "mss",	required_argument, NULL, 'm' },
	{ "timeout",	required_argument, NULL, 't' },
	{ "help",	no_argument,	   NULL, 'h' },
	{ "keep",	no_argument,	   NULL, 'k' },
	{ "batch",	required_argument, NULL, 'b' },
	{ "chunk",	required_argument, NULL, 'c' },
	{ "rcvbuf",	required_argument, NULL, 'r' },
	{ "every",	required_argument, NULL, 'e' },
	{ "step",	no_argument,	   NULL, 'w' },
	{ "zerocopy",	no_argument,	   NULL, 'z' },
	{ "seed",	required_argument, NULL, 'S' },
	{ }
};

static void parse_number_option(int opt, const char *arg)
{
	long page = sysconf(_SC_PAGESIZE);

	switch (opt) {
	case 's':
		cfg.size = parse_number("size", arg, 1, 1ULL << 40);
		break;
	case 'm':
		cfg.sock.mss = parse_number("mss", arg, 88, 65535);
		break;
	case 't':
		cfg.sock.timeout = parse_number("timeout", arg, 1, 86400);
		break;
	case 'b':
		cfg.batch = parse_number("batch", arg, 1, 1 << 30);
		break;
	case 'c':
		cfg.chunk = parse_number("chunk", arg, page, 1 << 30);
		break;
	case 'r':
		cfg.sock.rcvbuf = parse_number("rcvbuf", arg, page, INT_MAX / 2);
		break;
	case 'e':
		cfg.every = parse_number("every", arg, page, 1ULL << 40);
		break;
	case 'S':
		cfg.seed = parse_number("seed", arg, 0, UINT64_MAX);
		break;
	}
}

static void parse_option(int opt)
{
	switch (opt) {
	case 'l':
		cfg.listen = optarg ? optarg : "";
		break;
	case 'C':
		cfg.connect = optarg;
		break;
	case 'p':
		parse_number("port", optarg, 1, 65535);
		cfg.sock.port = optarg;
		break;
	case 'H':
		cfg.hash = true;
		break;
	case 'k':
		cfg.batch = 0;
		break;
	case 'w':
		cfg.step = true;
		break;
	case 'z':
		cfg.zerocopy = true;
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

int main(int argc, char **argv)
{
	int opt;

	while ((opt = getopt_long(argc, argv, "l::C:p:s:Hm:t:hkb:c:r:e:wzS:",
				  options, NULL)) != -1)
		parse_option(opt);
	if (optind < argc)
		error(EXIT_USAGE, 0, "unexpected argument %s, see --help",
		      argv[optind]);
	if (!cfg.listen == !cfg.connect)
		error(EXIT_USAGE, 0, "want one of --listen and --connect, see --help");
	return cfg.listen ? receive() : send_stream();
}

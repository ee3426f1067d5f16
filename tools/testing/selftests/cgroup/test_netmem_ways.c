// SPDX-License-Identifier: GPL-2.0
/*
 * The ways by which received data leave a socket but by a mapping, the table in
 * Documentation/networking/netmem_accounting.rst: what stays is charged, and a
 * limit holds. test_netmem has the mappings, and what ends a charge.
 *
 * Usage: test_netmem_ways [TEST...]
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <linux/tls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "netmem_cgroup.h"

#ifndef SO_PEEK_OFF
#define SO_PEEK_OFF	42
#endif

/* ----- splice ----- */

static void splice_fn(void)
{
	int fd[2];

	accept_stream(1);
	nm_pipe(fd, PAGES);
	nm_splice(rx.fd, fd[1], PAGES);
	check_netmem(cg, BYTES);
	/* What the socket has left is nobody's business here */
	nm_rx_exit(&rx);
	nm_read_verify(fd[0], PAGES / 2, 0, SEED);
	check_netmem(cg, BYTES / 2);
	close(fd[0]);
	close(fd[1]);
	check_netmem(cg, 0);
}

/*
 * What is spliced out of a socket is charged for as long as it is in the pipe.
 *
 * On stock: fails, nothing is charged.
 */
static void splice_charged(void)
{
	simple_test(splice_fn);
}

static void tee_fn(void)
{
	int fd[2], copy[2];

	accept_stream(1);
	nm_pipe(fd, PAGES);
	nm_pipe(copy, PAGES);
	nm_splice(rx.fd, fd[1], PAGES);
	nm_check_eq(tee(fd[0], copy[1], BYTES, 0), BYTES, "bytes of tee");
	check_netmem(cg, BYTES);
	nm_read_verify(fd[0], PAGES, 0, SEED);
	check_netmem(cg, BYTES);
	/* From pipe to pipe */
	nm_splice(copy[0], fd[1], PAGES);
	check_netmem(cg, BYTES);
	nm_read_verify(fd[0], PAGES, 0, SEED);
	check_netmem(cg, 0);
	nm_rx_exit(&rx);
}

/*
 * A second pipe adds nothing to the charge, and keeps it.
 *
 * On stock: fails, nothing is charged.
 */
static void splice_tee(void)
{
	simple_test(tee_fn);
}

static void splice_off_fn(void)
{
	int fd[2];

	accept_stream(1);
	nm_pipe(fd, PAGES);
	nm_splice(rx.fd, fd[1], PAGES);
	check_netmem(cg, 0);
	nm_read_verify(fd[0], PAGES, 0, SEED);
	nm_rx_exit(&rx);
}

/*
 * Not charged if accounting is off.
 *
 * On stock: fails, there is no such sysctl.
 */
static void splice_off(void)
{
	nm_check(!nm_write(NM_SYSCTL_MEMCG, "0"), "sysctl");
	simple_test(splice_off_fn);
}

#define NR_PIPES	32
#define SPLICED		MB(40ULL)

struct pipes {
	int fd[NR_PIPES][2];
	uint64_t bytes[NR_PIPES];
	uint64_t all;
};

/* Splices until @pipes are full or splice() fails. Returns errno, 0 if full. */
static int fill_pipes(struct pipes *pipes, int fd)
{
	unsigned int i;
	ssize_t ret;

	for (i = 0; i < NR_PIPES; i++) {
		nm_pipe(pipes->fd[i], PAGES);
		while (pipes->bytes[i] < PAGES * NM_PAGE) {
			nm_check(nm_until(nm_readable(fd), NM_TIMEOUT_MS),
				 "nothing more to splice");
			ret = splice(fd, NULL, pipes->fd[i][1], NULL,
				     PAGES * NM_PAGE, SPLICE_F_NONBLOCK);
			if (ret < 0 && errno == EAGAIN)
				break;
			if (ret < 0)
				return errno;
			nm_check(ret, "splice: end of file");
			pipes->bytes[i] += ret;
			pipes->all += ret;
		}
	}

	return 0;
}

static void verify_pipes(const struct pipes *pipes)
{
	uint64_t off = 0;
	unsigned int i;

	for (i = 0; i < NR_PIPES && pipes->bytes[i]; i++) {
		nm_read_verify(pipes->fd[i][0], pipes->bytes[i] / NM_PAGE, off,
			       SEED);
		off += pipes->bytes[i];
	}
	nm_check_eq(off, pipes->all, "bytes in pipes");
}

static bool cached;

static void splice_limit_fn(void)
{
	long max = cg_read_long(cg, "memory.max");
	static struct pipes pipes;
	int err;

	if (cached)
		fill_page_cache(cg, max);
	accept_stream(1);
	nm_need_pages(rx.fd);
	err = fill_pipes(&pipes, rx.fd);
	ksft_print_msg("%llu KiB spliced\n",
		       (unsigned long long)pipes.all >> 10);
	nm_check(err == ENOMEM, "splice: %s", err ? strerror(err) : "no error");
	nm_check(pipes.all >= (uint64_t)max / 2 && pipes.all <= (uint64_t)max,
		 "%llu bytes spliced", (unsigned long long)pipes.all);
	check_netmem(cg, pipes.all);
	nm_check(cg_read_long(cg, "memory.peak") <= max, "memory.peak %ld",
		 cg_read_long(cg, "memory.peak"));

	/* The rest can be read */
	rx.off = pipes.all;
	nm_rx_keep(&rx, SPLICED);
	verify_pipes(&pipes);
	check_netmem(cg, rx.mapped);
	check_no_oom(cg);
	nm_rx_exit(&rx);
}

/*
 * Who splices into more and more pipes, 32 MiB in all, does not exceed
 * memory.max = 16 MiB: splice() fails, the rest can be read, nothing is lost.
 *
 * On stock: fails, all is spliced.
 */
static void splice_limit(void)
{
	create_cgroup();
	set_limit(cg, "memory.max", MB(16L));
	open_stream();
	send_pages(SPLICED / NM_PAGE);
	run_in(cg, splice_limit_fn);
}

/*
 * The same where page cache fills the limit: that goes, and as much is spliced.
 *
 * On stock: fails, all is spliced.
 */
static void splice_page_cache(void)
{
	cached = true;
	splice_limit();
}

/* ----- splice() that copies ----- */

#define WAYS_MAX	MB(16L)

static struct nm_conn lo[2];
static int ns, tx_fd, rx_fd;
static struct pipes parked;

/* A cgroup with a limit, and pipes that are not at its expense */
static void limited_test(void)
{
	unsigned int i;

	create_cgroup();
	set_limit(cg, "memory.max", WAYS_MAX);
	ns = nm_new_ns();
	for (i = 0; i < NR_PIPES; i++)
		nm_pipe(parked.fd[i], PAGES);
}

/*
 * Splices messages of @pages pages until there is no slot left, or splice()
 * fails. Returns errno, 0 if the pipes are full.
 */
static int splice_messages(size_t size, size_t pages)
{
	unsigned int i, slot;

	for (i = 0; i < NR_PIPES; i++) {
		for (slot = 0; slot + pages <= PAGES; slot += pages) {
			if (splice(rx_fd, NULL, parked.fd[i][1], NULL,
				   size, 0) <= 0)
				return errno;
			parked.all += pages * NM_PAGE;
		}
	}

	return 0;
}

/* The same with a stream, whose bytes do not tell the slots */
static int splice_stream(int fd)
{
	unsigned int i;
	ssize_t ret;

	for (i = 0; i < NR_PIPES; i++) {
		do {
			if (parked.all > 2 * (uint64_t)WAYS_MAX)
				return 0;
			nm_check(nm_until(nm_readable(fd), NM_TIMEOUT_MS),
				 "nothing more to splice");
			ret = splice(fd, NULL, parked.fd[i][1], NULL,
				     PAGES * NM_PAGE, SPLICE_F_NONBLOCK);
			if (ret > 0)
				parked.all += ret;
		} while (ret > 0);
		if (errno != EAGAIN)
			return errno;
	}

	return 0;
}

static void check_parked(int err)
{
	long peak = cg_read_long(cg, "memory.peak");

	ksft_print_msg("%llu KiB in pipes\n",
		       (unsigned long long)parked.all >> 10);
	nm_check(err == ENOMEM, "splice: %s", err ? strerror(err) : "no error");
		nm_check(parked.all >= (uint64_t)WAYS_MAX / 2 &&
		 parked.all <= (uint64_t)WAYS_MAX, "%llu bytes in pipes",
		 (unsigned long long)parked.all);
	nm_check(peak >= (long)parked.all && peak <= WAYS_MAX, "memory.peak %ld",
		 peak);
	check_no_oom(cg);
}

#define UDP_PAGES	8
#define UDP_BYTES	(UDP_PAGES * NM_PAGE)

static void open_udp(void *arg)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	socklen_t len = sizeof(sin);

	inet_pton(AF_INET, NM_ADDR_LO, &sin.sin_addr);
	rx_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	tx_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	nm_check(rx_fd >= 0 && tx_fd >= 0, "socket");
	nm_check(!bind(rx_fd, (void *)&sin, len), "bind");
	nm_check(!getsockname(rx_fd, (void *)&sin, &len), "name");
	nm_check(!connect(tx_fd, (void *)&sin, len), "connect");
}

static void send_udp(void *arg)
{
	static uint64_t buf[UDP_BYTES / 8];

	nm_fill(buf, 0, sizeof(buf), SEED);
	for (;;) {
		nm_check_eq(send(tx_fd, buf, sizeof(buf), 0), sizeof(buf),
			    "bytes sent");
		usleep(50);
	}
}

static void splice_udp_fn(void)
{
	int err;

	if (cached)
		fill_page_cache(cg, WAYS_MAX);
	err = splice_messages(UDP_BYTES, UDP_PAGES);
	check_parked(err);
	/* A datagram is there, all of it, or not at all */
	nm_read_verify(parked.fd[0][0], UDP_PAGES, 0, SEED);
}

/*
 * UDP datagrams that are spliced into pipes, which copies them.
 *
 * On stock: fails, all of 32 MiB are spliced ("splice: no error").
 */
static void splice_udp(void)
{
	pid_t sender;

	limited_test();
	nm_in_ns(ns, open_udp, NULL);
	sender = nm_fork(send_udp, NULL);
	run_in(cg, splice_udp_fn);
	nm_kill(sender);
}

/*
 * The same where page cache fills the limit.
 *
 * On stock: fails in the same way.
 */
static void splice_udp_page_cache(void)
{
	cached = true;
	splice_udp();
}

#define UNIX_MSGS	(NR_PIPES * PAGES)

static void splice_unix_fn(void)
{
	check_parked(splice_messages(1, 1));
}

/*
 * Messages of a byte from a UNIX socket, which are copied, too; and why that
 * ends.
 *
 * On stock: fails, all are spliced ("splice: no error"): 8192 slots refer to
 * parts of 32 KiB that nobody is charged for.
 */
static void splice_unix(void)
{
	int fd[2], sndbuf = 64 << 20;
	unsigned int i;

	limited_test();
	nm_check(!socketpair(AF_UNIX, SOCK_STREAM, 0, fd), "socketpair");
	nm_check(!setsockopt(fd[0], SOL_SOCKET, SO_SNDBUFFORCE, &sndbuf,
			     sizeof(sndbuf)), "SO_SNDBUFFORCE");
	for (i = 0; i < UNIX_MSGS; i++)
		nm_check(send(fd[0], "", 1, MSG_DONTWAIT) == 1, "send");
	rx_fd = fd[1];
	run_in(cg, splice_unix_fn);
}

static void loopback_strict_fn(void)
{
	check_parked(splice_stream(nm_conn_accept(&lo[0])));
}

/*
 * Pages of no page_pool that splice() refers to: those that data is in that was
 * sent over loopback. Strict mode copies them.
 *
 * On stock: fails, there is no such sysctl; 32 MiB are spliced.
 */
static void splice_loopback_strict(void)
{
	set_mode("2");
	limited_test();
	nm_conn_open(&lo[0], ns, ns, NM_ADDR_LO);
	nm_send(lo[0].tx, 0, MB(40ULL), SEED);
	run_in(cg, loopback_strict_fn);
}

/* ----- on to another socket ----- */

static int unix_fd[2];

static void unix_splicer_fn(void)
{
	int fd[2];

	accept_stream(1);
	nm_pipe(fd, PAGES);
	nm_splice(rx.fd, fd[1], PAGES);
	nm_splice(fd[0], unix_fd[0], PAGES);
	nm_rx_exit(&rx);
}

static void unix_reader_fn(void)
{
	nm_read_verify(unix_fd[1], PAGES, 0, SEED);
}

/*
 * Who splices received pages into a UNIX socket pays for them until they are
 * read, there and by whomever.
 *
 * On stock: fails, nothing is charged.
 */
static void splice_to_unix(void)
{
	int sndbuf = 4 * BYTES;

	create_nested();
	open_stream();
	send_pages(PAGES);
	nm_check(!socketpair(AF_UNIX, SOCK_STREAM, 0, unix_fd), "socketpair");
	nm_check(!setsockopt(unix_fd[0], SOL_SOCKET, SO_SNDBUFFORCE, &sndbuf,
			     sizeof(sndbuf)), "SO_SNDBUFFORCE");
	run_in(cg_a, unix_splicer_fn);
	check_stat(cg_a, "netmem", BYTES);
	check_stat(cg_b, "netmem", 0);
	run_in(cg_b, unix_reader_fn);
	check_stat(cg_a, "netmem", 0);
}

static int sys_bpf(int cmd, union bpf_attr *attr)
{
	return syscall(__NR_bpf, cmd, attr, sizeof(*attr));
}

static int sockmap_create(void)
{
	union bpf_attr attr = {};
	int fd;

	attr.map_type = BPF_MAP_TYPE_SOCKMAP;
	attr.key_size = sizeof(uint32_t);
	attr.value_size = sizeof(uint32_t);
	attr.max_entries = 1;
	fd = sys_bpf(BPF_MAP_CREATE, &attr);
	if (fd < 0)
		nm_skip("no sockmap (CONFIG_BPF_SYSCALL)");

	return fd;
}

static void sockmap_set(int map, int sk)
{
	uint32_t key = 0, value = sk;
	union bpf_attr attr = {};

	attr.map_fd = map;
	attr.key = (uintptr_t)&key;
	attr.value = (uintptr_t)&value;
	nm_check(!sys_bpf(BPF_MAP_UPDATE_ELEM, &attr), "BPF_MAP_UPDATE_ELEM");
}

/* return bpf_sk_redirect_map(skb, @map, 0, BPF_F_INGRESS) */
static int verdict_prog(int map)
{
	const struct bpf_insn insns[] = {
		{ .code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = BPF_REG_2,
		  .src_reg = BPF_PSEUDO_MAP_FD, .imm = map },
		{},
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_3 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_4,
		  .imm = BPF_F_INGRESS },
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_sk_redirect_map },
		{ .code = BPF_JMP | BPF_EXIT },
	};

	return nm_bpf_load(BPF_PROG_TYPE_SK_SKB, 0, insns, ARRAY_SIZE(insns));
}

#define PARSED_MAX	512

/* return min(skb->len, PARSED_MAX): a message is no longer than that */
static int parser_prog(void)
{
	const struct bpf_insn insns[] = {
		{ .code = BPF_LDX | BPF_W | BPF_MEM, .dst_reg = BPF_REG_0,
		  .src_reg = BPF_REG_1 },
		{ .code = BPF_JMP | BPF_JLE | BPF_K, .dst_reg = BPF_REG_0,
		  .imm = PARSED_MAX, .off = 1 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0,
		  .imm = PARSED_MAX },
		{ .code = BPF_JMP | BPF_EXIT },
	};

	return nm_bpf_load(BPF_PROG_TYPE_SK_SKB, 0, insns, ARRAY_SIZE(insns));
}

static void sockmap_attach(int map, int prog, enum bpf_attach_type type)
{
	union bpf_attr attr = {};

	attr.target_fd = map;
	attr.attach_bpf_fd = prog;
	attr.attach_type = type;
	if (!sys_bpf(BPF_PROG_ATTACH, &attr))
		return;
	if (type == BPF_SK_SKB_STREAM_PARSER)
		nm_skip("no stream parser (CONFIG_BPF_STREAM_PARSER)");
	nm_fail("BPF_PROG_ATTACH");
}

static bool parsed;

static void redirect(int source, int target)
{
	int sources = sockmap_create(), targets = sockmap_create();

	if (parsed) {
		sockmap_attach(sources, parser_prog(),
			       BPF_SK_SKB_STREAM_PARSER);
		sockmap_attach(sources, verdict_prog(targets),
			       BPF_SK_SKB_STREAM_VERDICT);
	} else {
		sockmap_attach(sources, verdict_prog(targets),
			       BPF_SK_SKB_VERDICT);
	}
	sockmap_set(targets, target);
	sockmap_set(sources, source);
}

static uint64_t received(int fd)
{
	struct tcp_info info = {};
	socklen_t len = sizeof(info);

	nm_check(!getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len),
		 "TCP_INFO");
	return info.tcpi_bytes_received;
}

/* Until no more has come for a second */
static uint64_t settle(int fd)
{
	uint64_t now, last;

	nm_check(nm_until(received(fd), NM_TIMEOUT_MS), "nothing comes");
	for (now = received(fd), last = 0; now != last; now = received(fd)) {
		last = now;
		sleep(1);
	}

	return now;
}

#define REDIRECTED	MB(64ULL)

static void sockmap_fn(void)
{
	int source = nm_conn_accept(&conn), target = nm_conn_accept(&lo[0]);
	uint64_t bytes;
	long sock;

	redirect(source, target);
	nm_tell(&first_sync, 1);
	bytes = settle(source);
	ksft_print_msg("%llu KiB received\n", (unsigned long long)bytes >> 10);
	/* Twice the two receive buffers, which the kernel doubles */
	nm_check(bytes <= 8 * NM_RCVBUF, "%llu bytes received",
		 (unsigned long long)bytes);
	nm_until((sock = stat_of(cg, "sock")) >= (long)bytes, STAT_MS);
	nm_check(sock >= (long)bytes, "sock is %ld", sock);
	nm_check(cg_read_long(cg, "memory.peak") <= WAYS_MAX, "memory.peak %ld",
		 cg_read_long(cg, "memory.peak"));

	/* Nothing of it is lost, and it goes on as the target is read */
	nm_read_verify(target, REDIRECTED / NM_PAGE, 0, SEED);
	close(source);
	close(target);
	check_stat(cg, "sock", 0);
	check_no_oom(cg);
}

static void sockmap_test(void (*fn)(void))
{
	pid_t pid;

	limited_test();
	nm_sync_init(&first_sync);
	open_stream();
	nm_conn_open(&lo[0], ns, ns, NM_ADDR_LO);
	pid = start_in(cg, fn);
	nm_await(&first_sync, 0);
	nm_send(conn.tx, 0, REDIRECTED, SEED);
	nm_wait(pid);
}

/*
 * A socket redirects all it gets to one that nobody reads; then it is read.
 *
 * On stock: fails, all 64 MiB are received, and charged to nobody.
 */
static void sockmap_redirect(void)
{
	sockmap_test(sockmap_fn);
}

/*
 * The same with a stream parser, which makes many messages of a packet.
 *
 * On stock: fails in the same way.
 */
static void sockmap_parser(void)
{
	parsed = true;
	sockmap_test(sockmap_fn);
}

static void broken_fn(void)
{
	int source = nm_conn_accept(&conn), target = nm_conn_accept(&lo[0]);

	redirect(source, target);
	nm_tell(&first_sync, 1);
	settle(source);
	/* Nobody can read there any more, and nobody need pay */
	nm_check(!shutdown(target, SHUT_RDWR), "shutdown");
	close(target);
	close(source);
	check_stat(cg, "sock", 0);
}

/*
 * Both sockets go while the target still has to take packets.
 *
 * On stock: passes; what waits is charged to nobody, and freed.
 */
static void sockmap_closed(void)
{
	sockmap_test(broken_fn);
}

/* ----- packet sockets ----- */

static int packet_ring_of(long bytes)
{
	struct tpacket_req req = {
		.tp_block_size = 16 * NM_PAGE,
		.tp_block_nr = bytes / (16 * NM_PAGE),
		.tp_frame_size = NM_PAGE,
		.tp_frame_nr = bytes / NM_PAGE,
	};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	int err;

	if (fd < 0)
		nm_skip("no packet socket (CONFIG_PACKET)");
	if (!setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &req, sizeof(req)))
		return fd;
	err = errno;
	close(fd);
	errno = err;

	return -1;
}

static void packet_ring_fn(void)
{
	long current = cg_read_long(cg, "memory.current");
	int fd;

	fd = packet_ring_of(WAYS_MAX / 4);
	nm_check(fd >= 0, "a ring of %ld bytes", WAYS_MAX / 4);
	nm_check(cg_read_long(cg, "memory.current") >=
		 current + WAYS_MAX / 4 - STOCK_BYTES,
		 "memory.current rose by %ld",
		 cg_read_long(cg, "memory.current") - current);
	close(fd);

	fd = packet_ring_of(4 * WAYS_MAX);
	nm_check(fd < 0 && errno == ENOMEM, "a ring of %ld bytes",
		 4 * WAYS_MAX);
	check_no_oom(cg);
}

/*
 * Rings of packet sockets.
 *
 * On stock: fails, memory.current does not rise.
 */
static void packet_ring(void)
{
	limited_test();
	run_in(cg, packet_ring_fn);
}

static void open_packet_socket(void *arg)
{
	rx_fd = nm_packet_socket("lo", ETH_P_IP, 1 << 20);
}

static uint32_t rmem_of(int fd)
{
	uint32_t mem[SK_MEMINFO_VARS] = {};
	socklen_t len = sizeof(mem);

	nm_check(!getsockopt(fd, SOL_SOCKET, SO_MEMINFO, mem, &len),
		 "SO_MEMINFO");
	return mem[SK_MEMINFO_RMEM_ALLOC];
}

/* The cgroup pays for what waits at rx_fd, in whole pages */
static void check_waiting(void)
{
	check_stat(cg, "sock", (rmem_of(rx_fd) + NM_PAGE - 1) & -NM_PAGE);
}

static void packet_queue_fn(void)
{
	uint32_t rmem;
	char c[8];

	nm_in_ns(ns, open_packet_socket, NULL);
	nm_tell(&first_sync, 1);
	nm_await(&first_sync, 1);
	rmem = rmem_of(rx_fd);
	nm_check(rmem >= 1 << 20, "only %u bytes wait", rmem);
	check_waiting();

	/* The charge goes with the packets */
	while (rmem_of(rx_fd) > rmem / 2)
		nm_check(recv(rx_fd, c, sizeof(c), MSG_DONTWAIT) > 0, "recv");
	check_waiting();
	close(rx_fd);
	check_stat(cg, "sock", 0);
}

/*
 * Packets that wait in the queue of a packet socket.
 *
 * On stock: fails, "sock" is 0.
 */
static void packet_queue(void)
{
	char c[1024] = "";
	unsigned int i;
	pid_t pid;

	limited_test();
	nm_sync_init(&first_sync);
	nm_in_ns(ns, open_udp, NULL);
	pid = start_in(cg, packet_queue_fn);
	nm_await(&first_sync, 0);
	/* More than it takes; what UDP does with it is nobody's business */
	for (i = 0; i < 8192; i++)
		nm_check(send(tx_fd, c, 1 + i % sizeof(c), 0) > 0, "send");
	nm_tell(&first_sync, 0);
	nm_wait(pid);
}

/* ----- kTLS ----- */

#define TLS_BYTES	MB(64ULL)
#define TLS_IOV		1024

static void tls_peek_fn(void)
{
	static uint64_t buf[TLS_BYTES / TLS_IOV / 8];
	static struct iovec iov[TLS_IOV];
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = TLS_IOV };
	int fd = nm_conn_accept(&lo[0]);
	long peeked, peak;
	uint64_t off;
	ssize_t ret;
	size_t i;

	nm_tls_on(fd, TLS_RX);
	nm_tell(&first_sync, 1);
	memset(buf, 1, sizeof(buf));
	for (i = 0; i < TLS_IOV; i++)
		iov[i] = (struct iovec){ buf, sizeof(buf) };

	peeked = recvmsg(fd, &msg, MSG_PEEK | MSG_WAITALL);
	ksft_print_msg("%ld KiB peeked\n", peeked >> 10);
	nm_check(peeked >= WAYS_MAX / 4 && peeked <= WAYS_MAX,
		 "%ld bytes peeked", peeked);
	peak = cg_read_long(cg, "memory.peak");
	nm_check(peak >= peeked && peak <= WAYS_MAX, "memory.peak %ld", peak);
	check_no_oom(cg);

	/* The connection is as good as before */
	for (off = 0; off < TLS_BYTES; off += ret) {
		ret = recv(fd, buf, NM_PAGE, MSG_WAITALL);
		nm_check_eq(ret, NM_PAGE, "bytes read");
		nm_check_eq(nm_verify(buf, off, ret, SEED), ret, "good bytes");
	}
	close(fd);
}

static void tls_test(void (*fn)(void))
{
	pid_t pid;

	limited_test();
	nm_sync_init(&first_sync);
	nm_conn_open(&lo[0], ns, ns, NM_ADDR_LO);
	pid = start_in(cg, fn);
	nm_await(&first_sync, 0);
	nm_tls_on(lo[0].tx, TLS_TX);
	nm_send(lo[0].tx, 0, TLS_BYTES, SEED);
	nm_wait(pid);
}

/*
 * MSG_PEEK of 64 MiB of TLS records into 64 KiB of memory.
 *
 * On stock: fails, all 64 MiB are peeked, and charged to nobody.
 */
static void tls_peek(void)
{
	tls_test(tls_peek_fn);
}

static void tls_splice_fn(void)
{
	int fd = nm_conn_accept(&lo[0]);

	nm_tls_on(fd, TLS_RX);
	nm_tell(&first_sync, 1);
	check_parked(splice_stream(fd));
}

/*
 * TLS records that are spliced into pipes.
 *
 * On stock: fails, 32 MiB are spliced.
 */
static void tls_splice(void)
{
	tls_test(tls_splice_fn);
}

/* ----- ways that copy: nothing stays ----- */

static void check_nothing_lent(void)
{
	struct nm_pool pool;

	nm_check(nm_pool_get(pair.rx_ifindex, &pool), "no page_pool");
	nm_check_eq(pool.lent, 0, "pages lent");
	/* -1 on stock */
	nm_check(stat_of(cg, "netmem") <= 0, "netmem %ld",
		 stat_of(cg, "netmem"));
}

/* All that was received is back in the pool, but for what the driver posted */
static void check_all_home(void)
{
	struct nm_pool pool;

	check_nothing_lent();
	nm_check(nm_pool_get(pair.rx_ifindex, &pool), "no page_pool");
	nm_check(nm_until(nm_pool_get(pair.rx_ifindex, &pool) &&
			  pool.inflight <= pair.keeps + 128, STAT_MS),
		 "the pool owns %llu pages", (unsigned long long)pool.inflight);
}

#define PEEK_ROUNDS	1000

static void peek_fn(void)
{
	int i, fd = nm_conn_accept(&conn), zero = 0;
	static uint64_t buf[BYTES / 8];
	long sock;

	nm_check(!setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &zero, sizeof(zero)),
		 "SO_PEEK_OFF");
	for (i = 0; i < PEEK_ROUNDS; i++)
		nm_check(recv(fd, buf, NM_PAGE, MSG_PEEK | (i < PAGES ?
			      MSG_WAITALL : MSG_DONTWAIT)) > 0 || i >= PAGES,
			 "peek");
	check_nothing_lent();
	nm_until((sock = stat_of(cg, "sock")) >= BYTES, STAT_MS);
	nm_check(sock >= BYTES, "sock is %ld", sock);
	nm_check(sock <= 2 * NM_RCVBUF, "sock is %ld", sock);

	nm_read_verify(fd, PAGES, 0, SEED);
	check_all_home();
	check_stat(cg, "sock", 0);
	close(fd);
}

/*
 * MSG_PEEK and SO_PEEK_OFF hold nothing: a packet is charged to the socket for
 * as long as it is in the receive buffer, however often it is looked at.
 *
 * On stock: passes, stock is right.
 */
static void recv_peek(void)
{
	simple_test(peek_fn);
}

static void open_udp_rx(void)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	socklen_t len = sizeof(sin);

	sin.sin_port = htons(7301);
	inet_pton(AF_INET, NM_ADDR_RX, &sin.sin_addr);
	rx_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	nm_check(rx_fd >= 0, "socket");
	nm_set_rcvbuf(rx_fd, 4 * NM_RCVBUF);
	nm_check(!bind(rx_fd, (void *)&sin, len), "bind");
}

static void open_udp_tx(void *addr)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };

	sin.sin_port = htons(7301);
	inet_pton(AF_INET, addr, &sin.sin_addr);
	tx_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	nm_check(tx_fd >= 0, "socket");
	nm_check(!connect(tx_fd, (void *)&sin, sizeof(sin)), "connect");
}

/* One datagram, for the sender to learn of its neighbour, and then the others */
static void send_datagrams(unsigned int nr)
{
	static uint64_t buf[NM_PAGE / 8];
	unsigned int i;

	nm_await(&first_sync, 0);
	nm_fill(buf, 0, sizeof(buf), SEED);
	for (i = 0; i < nr; i++) {
		nm_check(send(tx_fd, buf, sizeof(buf), 0) == sizeof(buf),
			 "send");
		if (i)
			continue;
		nm_tell(&first_sync, 0);
		nm_await(&first_sync, 0);
	}
	nm_tell(&first_sync, 0);
}

static void await_datagrams(int fd)
{
	nm_tell(&first_sync, 1);
	nm_await(&first_sync, 1);
	nm_check(nm_until(nm_readable(fd), NM_TIMEOUT_MS), "nothing comes");
	nm_tell(&first_sync, 1);
	nm_await(&first_sync, 1);
}

static void recv_udp_fn(void)
{
	static uint64_t buf[NM_PAGE / 8];
	unsigned int i;

	open_udp_rx();
	await_datagrams(rx_fd);
	nm_check(nm_until(stat_of(cg, "sock") >= BYTES, STAT_MS), "sock %ld",
		 stat_of(cg, "sock"));
	check_nothing_lent();

	for (i = 0; i < PAGES; i++) {
		nm_check_eq(recv(rx_fd, buf, sizeof(buf), MSG_DONTWAIT),
			    sizeof(buf), "bytes of a datagram");
		nm_check_eq(nm_verify(buf, 0, sizeof(buf), SEED), sizeof(buf),
			    "good bytes");
	}
	check_all_home();
	/* UDP keeps some for what is to come */
	close(rx_fd);
	check_stat(cg, "sock", 0);
}

/*
 * UDP datagrams in pages of the pool: charged to the socket, and copied.
 *
 * On stock: passes, stock is right.
 */
static void recv_udp(void)
{
	pid_t pid;

	create_cgroup();
	nm_sync_init(&first_sync);
	nm_pair_create(&pair, NM_RING);
	nm_in_ns(pair.ns_tx, open_udp_tx, NM_ADDR_RX);
	pid = start_in(cg, recv_udp_fn);
	send_datagrams(PAGES);
	nm_wait(pid);
}

/* ----- io_uring ----- */

struct uring {
	int fd;
	struct io_uring_params params;
	char *ring;
	struct io_uring_sqe *sqe;
};

static void uring_init(struct uring *uring)
{
	uring->fd = syscall(__NR_io_uring_setup, 4, &uring->params);
	if (uring->fd < 0)
		nm_skip("no io_uring (CONFIG_IO_URING)");
	uring->ring = mmap(NULL, NM_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
			   uring->fd, IORING_OFF_SQ_RING);
	uring->sqe = mmap(NULL, NM_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
			  uring->fd, IORING_OFF_SQES);
	nm_check(uring->ring != MAP_FAILED && uring->sqe != MAP_FAILED,
		 "mmap of a ring");
}

/* Buffers 0 to @nr - 1, one after the other from @buf on */
static void uring_buffers(struct uring *uring, char *buf, unsigned int nr)
{
	struct io_uring_buf_reg reg = { .ring_entries = nr };
	struct io_uring_buf_ring *ring;
	unsigned int i;

	ring = mmap(NULL, nr * sizeof(struct io_uring_buf),
		    PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	nm_check(ring != MAP_FAILED, "mmap");
	for (i = 0; i < nr; i++) {
		ring->bufs[i].addr = (uintptr_t)buf + i * NM_PAGE;
		ring->bufs[i].len = NM_PAGE;
		ring->bufs[i].bid = i;
	}
	ring->tail = nr;
	reg.ring_addr = (uintptr_t)ring;
	nm_check(!syscall(__NR_io_uring_register, uring->fd,
			  IORING_REGISTER_PBUF_RING, &reg, 1), "buffers");
}

/* One receive of all that is there, into as many buffers as it takes */
static int uring_recv_bundle(struct uring *uring, int fd)
{
	struct io_sqring_offsets *sq = &uring->params.sq_off;
	struct io_cqring_offsets *cq = &uring->params.cq_off;
	unsigned int *head = (void *)(uring->ring + cq->head);
	unsigned int *tail = (void *)(uring->ring + sq->tail);
	struct io_uring_cqe *cqes = (void *)(uring->ring + cq->cqes);
	unsigned int mask = *(unsigned int *)(uring->ring + cq->ring_mask);
	int res;

	uring->sqe[0] = (struct io_uring_sqe){
		.opcode = IORING_OP_RECV,
		.fd = fd,
		.flags = IOSQE_BUFFER_SELECT,
		.ioprio = IORING_RECVSEND_BUNDLE,
	};
	((unsigned int *)(uring->ring + sq->array))[*tail & 3] = 0;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	nm_check_eq(syscall(__NR_io_uring_enter, uring->fd, 1, 1,
			    IORING_ENTER_GETEVENTS, NULL, 0), 1, "submitted");
	res = cqes[*head & mask].res;
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	errno = -res;
	nm_check(res > 0, "receive of a bundle");

	return res;
}

static void bundle_fn(void)
{
	int fd = nm_conn_accept(&conn);
	struct uring uring = {};
	uint64_t off = 0;
	char *buf;
	int most = 0;

	buf = mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	nm_check(buf != MAP_FAILED, "mmap");
	uring_init(&uring);
	uring_buffers(&uring, buf, PAGES);
	/* All there, so that each receive fills its buffers */
	nm_check(nm_until(received(fd) == BYTES, NM_TIMEOUT_MS), "bytes");

	while (off < BYTES) {
		int res = uring_recv_bundle(&uring, fd);

		most = res > most ? res : most;
		off += res;
	}
	nm_check(most > (int)NM_PAGE, "no bundle");
	nm_check_eq(nm_verify(buf, 0, BYTES, SEED), BYTES, "good bytes");
	check_all_home();
	check_stat(cg, "sock", 0);
	close(fd);
}

/*
 * io_uring copies what it receives, into bundles of buffers, too.
 *
 * On stock: passes, stock is right.
 */
static void recv_bundle(void)
{
	simple_test(bundle_fn);
}

/* ----- tun ----- */

#define TUN_NET		"203.0.113.0"
#define TUN_ADDR	"203.0.113.1"
#define TUN_PEER	"203.0.113.2"
#define TUN_QUEUE	128

static int tun_open(void)
{
	struct ifreq ifr = { .ifr_name = "nmtun", .ifr_flags = IFF_TUN | IFF_NO_PI };
	int sk, fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		nm_skip("no /dev/net/tun (CONFIG_TUN)");
	nm_check(!ioctl(fd, TUNSETIFF, &ifr), "TUNSETIFF");
	sk = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ifr.ifr_qlen = TUN_QUEUE;
	nm_check(!ioctl(sk, SIOCSIFTXQLEN, &ifr), "txqueuelen");
	close(sk);
	nm_link_mtu("nmtun", NM_MTU);
	nm_link_addr("nmtun", TUN_ADDR);
	nm_link_set("nmtun", true);

	return fd;
}

static void open_tun_tx(void *arg)
{
	nm_route_add(TUN_NET, NM_ADDR_RX);
	open_udp_tx(TUN_PEER);
}

static long in_use(void)
{
	struct nm_pool pool;

	nm_check(nm_pool_get(pair.rx_ifindex, &pool), "no page_pool");
	return pool.inflight - pool.cached;
}

static void tun_fn(void)
{
	static char buf[2 * NM_PAGE];
	int fd = tun_open();
	long posted = in_use();

	await_datagrams(fd);
	check_nothing_lent();
	/* Not all of it is for them: there is IPv6 */
	nm_check(nm_until(in_use() >= posted + TUN_QUEUE / 2, STAT_MS) &&
		 in_use() <= posted + TUN_QUEUE,
		 "%ld pages in use, were %ld", in_use(), posted);
	/* Who reads gets copies, and the pages go home */
	while (read(fd, buf, sizeof(buf)) > 0)
		;
	nm_check_eq(errno, EAGAIN, "errno of the last read");
	nm_check(nm_until(in_use() <= posted, STAT_MS), "%ld pages in use, were %ld",
		 in_use(), posted);
	check_nothing_lent();
	close(fd);
}

/*
 * Packets that are forwarded to a tun device wait in its queue as in that of any
 * device, bounded by its length and charged to nobody. Who reads gets copies.
 *
 * On stock: passes but for the count of idle pages, which it does not have.
 */
static void tun_queue(void)
{
	char forward[8];
	pid_t pid;

	create_cgroup();
	nm_sync_init(&first_sync);
	nm_pair_create(&pair, NM_RING);
	nm_check(nm_read("/proc/sys/net/ipv4/ip_forward", forward,
			 sizeof(forward)) > 0, "ip_forward");
	nm_check(!nm_write("/proc/sys/net/ipv4/ip_forward", "1"), "ip_forward");
	nm_in_ns(pair.ns_tx, open_tun_tx, NULL);
	pid = start_in(cg, tun_fn);
	send_datagrams(4 * TUN_QUEUE);
	nm_wait(pid);
	nm_write("/proc/sys/net/ipv4/ip_forward", forward);
}

static const struct nm_test tests[] = {
	NM_TEST(splice_charged),
	NM_TEST(splice_tee),
	NM_TEST(splice_off),
	NM_TEST(splice_limit),
	NM_TEST(splice_page_cache),
	NM_TEST(splice_udp),
	NM_TEST(splice_udp_page_cache),
	NM_TEST(splice_unix),
	NM_TEST(splice_loopback_strict),
	NM_TEST(splice_to_unix),
	NM_TEST(sockmap_redirect),
	NM_TEST(sockmap_parser),
	NM_TEST(sockmap_closed),
	NM_TEST(packet_ring),
	NM_TEST(packet_queue),
	NM_TEST(tls_peek),
	NM_TEST(tls_splice),
	NM_TEST(recv_peek),
	NM_TEST(recv_udp),
	NM_TEST(recv_bundle),
	NM_TEST(tun_queue),
};

int main(int argc, char **argv)
{
	return run_tests(argc, argv, tests, ARRAY_SIZE(tests));
}

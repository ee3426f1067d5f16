// SPDX-License-Identifier: GPL-2.0
/*
 * Fragments come home to their page_pool, whatever the stack does with them.
 *
 * An skb says in one bit (pp_recycle) whether its references to fragments are
 * the pool's (pp_ref_count) or plain ones of the page. Wherever the kernel makes
 * a new skb of an old one's fragments (segmentation, a private head for a packet
 * that somebody has cloned, a pipe) it takes plain ones. On stock 7.3 the page
 * leaves its pool when the old skb goes before the new one. Here it is lent.
 *
 * Each test streams data, checks every byte of it, and then how many of the
 * pages that were used are in the pool again: at least 99.9 %, as the ring has
 * room for all of them.
 *
 * Usage: netmem_frags [TEST...]
 */
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "netmem_lib.h"

#define SEED		0x66726167732d2121ULL
/* Of a stream, unless a test needs fewer */
#define PAGES		8192UL
/* More than a receive buffer (twice NM_RCVBUF) and what is on its way to it */
#define RING		1024
#define BATCH		256

static struct nm_pair pair, far;
static struct nm_conn conn;
static struct nm_rx rx;

/* ----- the pools ----- */

struct pool_of {
	unsigned int ifindex;
	struct nm_pool pool;
};

static void get_pool(void *arg)
{
	struct pool_of *of = arg;

	nm_check(nm_pool_get(of->ifindex, &of->pool), "no page_pool");
}

static struct nm_pool pool_of(const struct nm_pair *of)
{
	struct pool_of get = { .ifindex = of->rx_ifindex };

	nm_in_ns(of->ns_rx, get_pool, &get);
	return get.pool;
}

static uint64_t recycled(const struct nm_pair *of)
{
	struct nm_pool pool = pool_of(of);

	return pool.ring + pool.cache;
}

/* At least @pages pages were used, and the pool has all but 0.1 % of them back */
static void check_recycled(const char *what, const struct nm_pair *of,
			   uint64_t pages)
{
	const uint64_t lost = pages / 1000;
	struct nm_pool pool;
	uint64_t left;

	nm_until(recycled(of) >= pages, 2000);
	pool = pool_of(of);
	left = pool.released + pool.ring_full;
	ksft_print_msg("%s: %llu pages: %llu recycled, %llu left, %llu refills\n",
		       what, (unsigned long long)pages,
		       (unsigned long long)(pool.ring + pool.cache),
		       (unsigned long long)left, (unsigned long long)pool.slow);
	nm_check(pool.ring + pool.cache >= pages - lost,
		 "less than 99.9 %% recycled");
	nm_check(left <= lost, "more than 0.1 %% left the pool");
}

/* ----- the stream ----- */

static void open_conn(int ns_rx, const char *addr)
{
	struct timeval timeout = { .tv_sec = NM_TIMEOUT_MS / 1000 };

	nm_conn_open(&conn, ns_rx, pair.ns_tx, addr);
	nm_rx_init(&rx, nm_conn_accept(&conn), SEED, BATCH);
	nm_check(!setsockopt(rx.fd, SOL_SOCKET, SO_RCVTIMEO, &timeout,
			     sizeof(timeout)), "SO_RCVTIMEO");
}

static void open_near(void)
{
	nm_pair_create(&pair, RING);
	open_conn(-1, NM_ADDR_RX);
}

/* To the end of the next @pages pages, by recv() */
static void copy_pages(size_t pages)
{
	rx.used = rx.pages;
	nm_rx_keep(&rx, rx.off + pages * NM_PAGE);
}

/* The same, mapped in batches that outlive their packets */
static void map_pages(size_t pages)
{
	uint64_t end = rx.off + pages * NM_PAGE;

	while (rx.off < end) {
		rx.used = 0;
		nm_rx_keep(&rx, rx.off + BATCH * NM_PAGE);
		nm_rx_verify(&rx);
		nm_check(!madvise(rx.area, BATCH * NM_PAGE, MADV_DONTNEED),
			 "madvise");
		nm_rx_forget(&rx, 0, BATCH);
	}
	nm_check(rx.mapped >= pages * NM_PAGE / 2, "only %llu bytes mapped",
		 (unsigned long long)rx.mapped);
}

static void stream(void (*receive)(size_t pages), size_t pages)
{
	pid_t sender = nm_send(conn.tx, rx.off, pages * NM_PAGE, SEED);

	receive(pages);
	nm_wait(sender);
}

/* ----- loss ----- */

/* So much is lost that the test is not about luck */
#define LOSS	"loss 2%"

static long retransmitted;

static void get_retransmitted(void *arg)
{
	static char buf[4096];
	char *line;

	nm_check(nm_read("/proc/net/snmp", buf, sizeof(buf)) > 0, "snmp");
	line = strstr(strstr(buf, "Tcp:") + 1, "Tcp:");
	nm_check(line && sscanf(line, "Tcp: %*d %*d %*d %*d %*d %*d %*d %*d %*d %*d %*d %ld",
				&retransmitted) == 1, "RetransSegs");
}

static void check_retransmitted(void)
{
	nm_in_ns(pair.ns_tx, get_retransmitted, NULL);
	nm_check(retransmitted >= 16, "only %ld segments sent again",
		 retransmitted);
}

static void lossy(void (*receive)(size_t pages))
{
	open_near();
	nm_netem(pair.ns_tx, pair.tx_name, LOSS);
	stream(receive, PAGES);
	check_retransmitted();
	check_recycled("near", &pair, PAGES);
}

/*
 * Packets are lost before they are received: what comes behind waits out of
 * order, is merged, and is dropped when it comes twice.
 *
 * On stock: passes. This is a check that nothing is lost.
 */
static void loss_copy(void)
{
	lossy(copy_pages);
}

/*
 * The same, mapped.
 *
 * On stock: fails, about 200 of 8192 pages are recycled.
 */
static void loss_map(void)
{
	lossy(map_pages);
}

/* ----- forwarding ----- */

/* By the second pair, which receives into its own pages */
static void open_far(void)
{
	int ns = nm_new_ns();

	nm_pair_create(&pair, RING);
	nm_pair_extend(&pair, &far, RING, ns);
	open_conn(ns, NM_ADDR_FAR);
}

/*
 * By veth, so that the receiver, in the netns returned, has the pages of the near
 * pair
 */
static int open_veth(void)
{
	int ns = nm_new_ns();

	nm_pair_create(&pair, RING);
	nm_pair_extend_veth(&pair, ns);
	open_conn(ns, NM_ADDR_FAR);

	return ns;
}

static void check_both(size_t pages)
{
	check_recycled("near", &pair, pages);
	check_recycled("far", &far, pages);
}

static void turn_off(const char *name, unsigned int cmd)
{
	struct ethtool_value off = { .cmd = cmd };

	nm_ethtool(name, &off);
}

/*
 * What GRO has put together is forwarded in one piece, all the way.
 *
 * On stock: passes. This is a check that nothing is lost.
 */
static void forward_whole(void)
{
	open_veth();
	stream(copy_pages, PAGES);
	check_recycled("near", &pair, PAGES);
}

/*
 * From one NIC to another. The far one is handed whole packets, and netdevsim
 * has skb_segment() cut them: segments have plain references to the fragments.
 *
 * On stock: fails, 5 of 8192 pages are recycled.
 */
static void forward(void)
{
	open_far();
	stream(copy_pages, PAGES);
	check_both(PAGES);
}

/*
 * The same for a NIC that cannot cut packets: the stack does it.
 *
 * On stock: fails, 0 of 8192.
 */
static void forward_segment(void)
{
	open_far();
	turn_off(far.tx_name, ETHTOOL_STSO);
	stream(copy_pages, PAGES);
	check_both(PAGES);
}

/*
 * Packets are lost, doubled and late where they are forwarded: the qdisc has
 * packets and their clones for a while.
 *
 * On stock: fails, 11 to 66 of 2270.
 */
static void forward_loss(void)
{
	open_far();
	nm_netem(-1, far.tx_name, LOSS " duplicate 5% delay 1ms reorder 75%");
	stream(copy_pages, PAGES / 4);
	check_retransmitted();
	check_both(PAGES / 4);
}

/* ----- a listener ----- */

struct listener {
	int fd;
	pid_t pid;
};

static void listen_on(void *arg)
{
	const struct listener *listener = arg;
	char byte;

	while (recv(listener->fd, &byte, sizeof(byte), MSG_TRUNC) >= 0)
		;
}

/* A process that reads from a packet socket */
static void listener_start(struct listener *listener)
{
	int on = 1;

	listener->fd = nm_packet_socket(pair.rx_name, ETH_P_ALL,
					NM_RCVBUF * 16);
	/* No acknowledgments */
	nm_check(!setsockopt(listener->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING,
			     &on, sizeof(on)), "PACKET_IGNORE_OUTGOING");
	listener->pid = nm_fork(listen_on, listener);
}

/* Returns the number of packets that it had a clone of */
static unsigned int listener_stop(struct listener *listener)
{
	struct tpacket_stats stats;
	socklen_t len = sizeof(stats);

	nm_check(!getsockopt(listener->fd, SOL_PACKET, PACKET_STATISTICS,
			     &stats, &len), "PACKET_STATISTICS");
	nm_kill(listener->pid);
	close(listener->fd);

	return stats.tp_packets - stats.tp_drops;
}

static void listened(void (*receive)(size_t pages), size_t pages)
{
	struct listener listener;
	unsigned int packets;

	listener_start(&listener);
	stream(receive, pages);
	packets = listener_stop(&listener);
	/* GRO makes packets of at most 16 pages */
	nm_check(packets >= pages / 16, "only %u packets heard", packets);
}

/*
 * Somebody listens to what the receiver reads: a clone of each packet. Packets
 * are merged in the receive queue while the clones have their fragments.
 *
 * On stock: passes. This is a check that nothing is lost.
 */
static void listener_copy(void)
{
	open_near();
	listened(copy_pages, PAGES);
	check_recycled("near", &pair, PAGES);
}

/*
 * To what it maps.
 *
 * On stock: fails, 239 to 616 of 8192 pages are recycled.
 */
static void listener_map(void)
{
	open_near();
	listened(map_pages, PAGES);
	check_recycled("near", &pair, PAGES);
}

/*
 * To what is forwarded. A packet of which there is a clone gets a new head before
 * its header is changed, and plain references.
 *
 * On stock: fails, 4571 to 6323 of 8192 pages are recycled.
 */
static void listener_forward(void)
{
	open_far();
	listened(copy_pages, PAGES);
	check_both(PAGES);
}

/* The listener gets every second packet, by chance */
static void hear_half(const struct listener *listener)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, SKF_AD_OFF + SKF_AD_RANDOM),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 1),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
	};
	struct sock_fprog prog = { ARRAY_SIZE(code), code };

	nm_check(!setsockopt(listener->fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog,
			     sizeof(prog)), "SO_ATTACH_FILTER");
}

static void half_listened(size_t pages)
{
	struct listener listener;
	unsigned int packets;

	/* Packets of one page: several fit into an skb */
	turn_off(pair.rx_name, ETHTOOL_SGRO);
	listener_start(&listener);
	hear_half(&listener);
	stream(copy_pages, pages);
	packets = listener_stop(&listener);
	nm_check(packets >= pages / 4 && packets <= pages - pages / 4,
		 "%u of %zu packets heard", packets, pages);
	check_recycled("near", &pair, pages);
}

/*
 * Packets of both kinds, those that had to get a new head and those that did not,
 * follow each other into one receive queue. They must not be merged: an skb drops
 * all of its references alike, and skb_try_coalesce() keeps them apart.
 *
 * On stock: fails, about 4800 of 8192 pages are recycled.
 */
static void mixed(void)
{
	open_veth();
	half_listened(PAGES);
}

static void far_gro_on(void *arg)
{
	struct ethtool_value on = { .cmd = ETHTOOL_SGRO, .data = 1 };

	nm_ethtool("nmv1", &on);
}

/*
 * The same when GRO comes first: skb_gro_receive() keeps them apart.
 *
 * On stock: fails as above.
 */
static void mixed_gro(void)
{
	nm_in_ns(open_veth(), far_gro_on, NULL);
	/* What the sending veth may not send in one piece is worth GRO */
	turn_off("nmv0", ETHTOOL_STSO);
	half_listened(PAGES);
}

/* ----- files ----- */

/* All of the stream through a pipe into the file, then what the file has */
static void splice_to(int file)
{
	const size_t chunk = 64;
	size_t done;
	pid_t sender;
	int fd[2];

	nm_pipe(fd, chunk);
	sender = nm_send(conn.tx, 0, PAGES * NM_PAGE, SEED);
	for (done = 0; done < PAGES; done += chunk) {
		nm_splice(rx.fd, fd[1], chunk);
		nm_splice(fd[0], file, chunk);
	}
	nm_wait(sender);

	check_recycled("near", &pair, PAGES);
	nm_check(!fsync(file), "fsync");
	/* To read into any buffer */
	nm_check(!fcntl(file, F_SETFL, 0), "O_DIRECT off");
	nm_check(!lseek(file, 0, SEEK_SET), "lseek");
	nm_check(!posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED), "fadvise");
	nm_read_verify(file, PAGES, 0, SEED);
}

/*
 * Received pages are written to a file of tmpfs by splice().
 *
 * On stock: fails, about 850 of 8192 pages are recycled.
 */
static void splice_tmpfs(void)
{
	int file = memfd_create("netmem_frags", MFD_CLOEXEC);

	nm_check(file >= 0, "memfd_create");
	open_near();
	splice_to(file);
}

/* A file of ext4 in a mount namespace that takes all of it along */
static int ext4_file(int flags)
{
	static const char * const commands[] = {
		"truncate -s 128M /tmp/disk",
		"mkfs.ext4 -q -F /tmp/disk",
		"mkdir /tmp/ext4",
		"mount -o loop /tmp/disk /tmp/ext4",
	};
	unsigned int i;
	int file;

	nm_check(!unshare(CLONE_NEWNS), "unshare");
	nm_check(!mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "private");
	nm_check(!mount("none", "/tmp", "tmpfs", 0, NULL), "tmpfs");
	for (i = 0; i < ARRAY_SIZE(commands); i++)
		if (system(commands[i]))
			nm_skip("this does not work: %s", commands[i]);
	file = open("/tmp/ext4/file", O_RDWR | O_CREAT | O_CLOEXEC | flags, 0600);
	nm_check(file >= 0, "/tmp/ext4/file");

	return file;
}

/*
 * The same with a file on a disk. On stock: fails as above.
 */
static void splice_ext4(void)
{
	int file = ext4_file(0);

	open_near();
	splice_to(file);
}

/*
 * The same with O_DIRECT: the disk reads the pages themselves.
 *
 * On stock: fails, 577 to 927 of 8192.
 */
static void splice_direct(void)
{
	int file = ext4_file(O_DIRECT);

	open_near();
	splice_to(file);
}

static const struct nm_test tests[] = {
	NM_TEST(loss_copy),
	NM_TEST(loss_map),
	NM_TEST(forward_whole),
	NM_TEST(forward),
	NM_TEST(forward_segment),
	NM_TEST(forward_loss),
	NM_TEST(listener_copy),
	NM_TEST(listener_map),
	NM_TEST(listener_forward),
	NM_TEST(mixed),
	NM_TEST(mixed_gro),
	NM_TEST(splice_tmpfs),
	NM_TEST(splice_ext4),
	NM_TEST(splice_direct),
};

int main(int argc, char **argv)
{
	const struct nm_suite suite = {
		.tests = tests,
		.nr = ARRAY_SIZE(tests),
	};

	return nm_run(argc, argv, &suite);
}

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Helpers of the netmem tests (net/netmem_put.c, cgroup/test_netmem.c): a pair
 * of devices whose receiver fills page_pool pages, netdevsim or other, a TCP
 * stream through it of which every byte is known, TCP_ZEROCOPY_RECEIVE, and the
 * counters that tell where the pages are.
 *
 * Each test runs in a process of its own. A helper that cannot do its job, and
 * a nm_check() that does not hold, say so and end that process; nm_run() then
 * clears up what the test left: processes, devices, sysctls.
 */
#ifndef NETMEM_LIB_H
#define NETMEM_LIB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <unistd.h>

#include "kselftest.h"

#define NM_PAGE		4096UL
/* With timestamps, a segment carries exactly one page over IPv4 */
#define NM_MTU		4148
/* What no part of a test needs, even in a guest without KVM */
#define NM_TIMEOUT_MS	60000

/* ----- failing ----- */

void __noreturn __printf(3, 4)
nm_fail_at(const char *file, int line, const char *fmt, ...);

void __noreturn __printf(1, 2) nm_skip(const char *fmt, ...);

#define nm_fail(...)	nm_fail_at(__FILE__, __LINE__, __VA_ARGS__)

#define nm_check(cond, ...)					\
do {								\
	if (!(cond))						\
		nm_fail_at(__FILE__, __LINE__, __VA_ARGS__);	\
} while (0)

/* Both sides are shown when they differ */
#define nm_check_eq(got, want, what)					\
do {									\
	long long _got = (got), _want = (want);				\
									\
	if (_got != _want)						\
		nm_fail_at(__FILE__, __LINE__, "%s: %lld, not %lld",	\
			   what, _got, _want);				\
} while (0)

uint64_t nm_now_ns(void);
uint64_t nm_now_ms(void);
void nm_nap(void);

/* Waits for @cond, at most @ms. True if it came true. */
#define nm_until(cond, ms)					\
({								\
	uint64_t _end = nm_now_ms() + (ms);			\
	bool _true;						\
								\
	while (!(_true = (cond)) && nm_now_ms() < _end)		\
		nm_nap();					\
	_true;							\
})

/* ----- running ----- */

struct nm_test {
	const char *name;
	void (*fn)(void);
};

#define NM_TEST(fn)	{ #fn, fn }

struct nm_suite {
	const struct nm_test *tests;
	unsigned int nr;
	/* Before the first test. May ksft_exit_skip(), not nm_skip(). */
	void (*setup)(void);
	/* After each test, when its processes are gone. Returns KSFT_*. */
	int (*after)(const char *name);
	/* After the last one */
	void (*teardown)(void);
};

int nm_run(int argc, char **argv, const struct nm_suite *suite);

/* fork()s and runs @fn, ending with KSFT_PASS unless @fn ends it before */
pid_t nm_fork(void (*fn)(void *arg), void *arg);
/* Hands on a failure or a skip of the process */
void nm_wait(pid_t pid);
void nm_kill(pid_t pid);

/* Two processes telling each other how far they are */
struct nm_sync {
	int fd[2];
};

void nm_sync_init(struct nm_sync *sync);
void nm_tell(struct nm_sync *sync, int side);
void nm_await(struct nm_sync *sync, int side);

/* ----- files ----- */

/* Returns the length or -errno; @buf is terminated */
ssize_t nm_read(const char *path, char *buf, size_t size);
/* Returns 0 or -errno */
int nm_write(const char *path, const char *text);
long nm_read_long(const char *path);
/* /proc/net/netstat and memory.stat style values; -1 if there is no such key */
long nm_netstat(const char *key);
long nm_key(const char *path, const char *key);

/* Bytes. What the kernel keeps for later, KASAN's quarantine too, counts. */
long nm_mem_free(void);

/* What the report of the OOM killer has of page_pools, in kB: SysRq-m */
void nm_show_mem(long *total, long *cached);

#define NM_SYSCTL_MEMCG	"/proc/sys/net/ipv4/tcp_zerocopy_rx_memcg"

/* ----- a pair of devices ----- */

#define NM_ADDR_RX	"198.51.100.1"
#define NM_ADDR_TX	"198.51.100.2"
#define NM_ADDR_LO	"127.0.0.1"

/* Where nm_pair_extend() leads */
#define NM_ADDR_FORWARDER	"203.0.113.1"
#define NM_ADDR_FAR		"203.0.113.2"

/*
 * The receiver is in the netns of the caller, the sender in one that goes away
 * with the process. A test has at most one pair, and one that extends it.
 */
struct nm_pair {
	int ns_rx;
	int ns_tx;
	char rx_name[16];
	char tx_name[16];
	unsigned int rx_ifindex;
	unsigned int tx_ifindex;
	unsigned int keeps;	/* pages the pool keeps: ready, or in the device's ring */
	unsigned int queues;	/* set before nm_pair_create(), if not one */
};

#define NM_RING		512	/* netdevsim's default */

/*
 * The kind of devices: netdevsim, or what the environment variable NIC says:
 * two e1000e or virtio devices with known hardware addresses at one wire, or
 * veth. Only netmem_nic.c knows what follows from it.
 */
void nm_nic_find(void);
const char *nm_nic(void);
/*
 * Where only what comes after so many bytes of a packet can be mapped: packets
 * are of two pages then, this many bytes, a page of the stream, and bytes that
 * fill the rest. Else 0, and packets are one page of the stream.
 */
size_t nm_nic_lead(void);
/* Skips the test with another kind of devices */
void nm_need_netdevsim(const char *why);

void nm_pair_create(struct nm_pair *pair, unsigned int ring);
/*
 * Packets from the sender of @pair can get to NM_ADDR_FAR, a receiver in netns
 * @ns_far: the netns of the caller forwards them, out by the second pair @far.
 */
void nm_pair_extend(const struct nm_pair *pair, struct nm_pair *far,
		    unsigned int ring, int ns_far);
/*
 * The same by veth, nmv0 and nmv1: the packets get there as they were received
 */
void nm_pair_extend_veth(const struct nm_pair *pair, int ns_far);
void nm_pair_delete(void);
/* Gives the receiver's queue a new page_pool */
void nm_pair_restart(const struct nm_pair *pair);
/* Devices with that many pools in all, which have no pages yet */
void nm_many_pools(unsigned int pools);
/* Makes the way from the sender to the receiver @ms long, or skips the test */
void nm_pair_delay(const struct nm_pair *pair, unsigned int ms);
/*
 * What device @name of netns @nsfd sends goes through netem, see tc-netem(8). Or
 * skips the test.
 */
void nm_netem(int nsfd, const char *name, const char *netem);

/* ----- devices and netns ----- */

/* Runs @fn in the netns of @nsfd, -1 for that of the caller */
void nm_in_ns(int nsfd, void (*fn)(void *arg), void *arg);
/* A new netns; whole pages go through its loopback, too */
int nm_new_ns(void);
/* Two veth devices, the second one in netns @peer_nsfd */
void nm_veth_create(const char *name, const char *peer, int peer_nsfd);
void nm_link_del(const char *name);
/* To the netns @nsfd */
void nm_link_move(const char *name, int nsfd);
/* No packets are merged, even if the driver insists on GRO */
void nm_link_no_gro(const char *name);
void nm_link_set(const char *name, bool up);
bool nm_link_running(const char *name);
void nm_ethtool(const char *name, void *data);
void nm_link_addr(const char *name, const char *addr);
void nm_link_mtu(const char *name, int mtu);
/* To the /24 network @net */
void nm_route_add(const char *net, const char *gateway);
void nm_forwarding_on(const char *name);

/* ----- BPF and XDP ----- */

struct bpf_insn;

/* A program of type @type, as an fd */
int nm_bpf_load(uint32_t type, uint32_t flags, const struct bpf_insn *insns,
		unsigned int nr);

/* Programs, as fds, that take frags */
int nm_xdp_verdict(int verdict);
int nm_xdp_redirect(unsigned int ifindex);
/* Cuts off @bytes of a frame and drops the rest; lets pass what it cannot cut */
int nm_xdp_shrink(int bytes);
/* @prog runs for device @name of netns @nsfd, -1: that of the caller */
void nm_xdp_on(const char *name, int nsfd, int prog);
void nm_xdp_generic_on(const char *name, int nsfd, int prog);
/* The part that is netlink, in the netns of the caller */
void nm_xdp_attach(const char *name, int prog, uint32_t flags);

/* ----- a stream ----- */

/*
 * A connection to @addr, NM_ADDR_RX or NM_ADDR_LO, from netns @ns_tx to @ns_rx,
 * -1 for that of the caller. The socket at the receiving end belongs to the
 * memory cgroup of the process that accepts it.
 */
struct nm_conn {
	int listener;
	int tx;
};

#define NM_RCVBUF	0x100000

void nm_conn_open(struct nm_conn *conn, int ns_rx, int ns_tx, const char *addr);
int nm_conn_accept(const struct nm_conn *conn);
/* NM_RCVBUF if not called. The kernel doubles it. */
void nm_set_rcvbuf(int fd, int bytes);
/* Leaves it to the kernel again */
void nm_tune_rcvbuf(int fd);

/* The bytes of a stream follow from their offset and the seed of the stream */
void nm_fill(void *buf, uint64_t off, size_t len, uint64_t seed);
/* Returns the index of the first byte that is wrong, @len if there is none */
size_t nm_verify(const void *buf, uint64_t off, size_t len, uint64_t seed);

#define NM_ENDLESS	0x4000000000000000ULL

/* A process that sends bytes [@off, @off + @len) and ends */
pid_t nm_send(int fd, uint64_t off, uint64_t len, uint64_t seed);
/* The same in this process: only for what the window has room for, unread */
void nm_send_now(int fd, uint64_t off, size_t len, uint64_t seed);

/* Skips the test if what @fd receives is not whole pages only */
void nm_need_pages(int fd);

/* The receiving end */
struct nm_rx {
	int fd;
	uint64_t seed;
	uint64_t off;		/* of the next byte of the stream */
	uint64_t mapped;	/* bytes mapped so far */
	uint64_t copied;	/* bytes that had to be read */
	char *area;		/* mapping of the socket */
	size_t pages;		/* its size */
	size_t used;		/* pages of it in use */
	uint64_t *at;		/* offset + 1 of each page, 0 if none */
	uint32_t flags;		/* TCP_RECEIVE_ZEROCOPY_FLAG_* */
	bool copybuf;		/* have the call copy what it does not map */
	size_t lead;		/* nm_nic_lead(); not counted above */
	bool in_page;		/* it is read, the page not yet */
};

void nm_rx_init(struct nm_rx *rx, int fd, uint64_t seed, size_t pages);
/*
 * One TCP_ZEROCOPY_RECEIVE to page @index of the area, at most @pages, then
 * recv() of what the call left to be copied. Returns the pages mapped.
 */
size_t nm_rx_step(struct nm_rx *rx, size_t index, size_t pages);
/* Pages in the receive queue */
size_t nm_rx_waiting(const struct nm_rx *rx);
/* Maps exactly @pages more; fails if any byte of them must be copied */
void nm_rx_map(struct nm_rx *rx, size_t pages);
/* Receives up to byte @end of the stream, keeping all that can be mapped */
void nm_rx_keep(struct nm_rx *rx, uint64_t end);
/* Every byte of the pages that are mapped */
void nm_rx_verify(const struct nm_rx *rx);
void nm_rx_unmap(struct nm_rx *rx, size_t index, size_t pages);
/* Unmaps all of them, and the area can be used again from its start */
void nm_rx_reuse(struct nm_rx *rx);
/* The pages are gone some other way */
void nm_rx_forget(struct nm_rx *rx, size_t index, size_t pages);
/* Unmaps all and closes the socket */
void nm_rx_exit(struct nm_rx *rx);

/* ----- holding pages other than by a mapping ----- */

/* Waits a moment for something to read */
bool nm_readable(int fd);

/* A pipe for @pages pages */
void nm_pipe(int fd[2], size_t pages);
/* Puts references to mapped pages into a pipe */
void nm_vmsplice(int fd, const void *addr, size_t pages);
/* Reads @pages pages from @fd, which start at @off of the stream */
void nm_read_verify(int fd, size_t pages, uint64_t off, uint64_t seed);
/* Moves @pages pages from one file to the other, one of them a pipe */
void nm_splice(int from, int to, size_t pages);

/* A read pin (FOLL_PIN | FOLL_LONGTERM); dropped when the fd is closed */
int nm_pin(const void *addr, size_t pages);
void nm_pin_verify(int fd, size_t pages, uint64_t off, uint64_t seed);

/* A packet socket on a device. What it has not read are clones of skbs. */
int nm_packet_socket(const char *name, int proto, int rcvbuf);

/* kTLS with a key of zeroes, in direction TLS_TX or TLS_RX */
void nm_tls_on(int fd, int direction);

/* A virtio disk that nobody uses and that is empty. Skips if there is none. */
const char *nm_scratch_disk(void);

/* O_DIRECT writes on their way to it; nm_aio_exit() empties it again */
struct nm_aio {
	int fd;
	unsigned long ctx;
	unsigned int nr;
	size_t bytes;
};

void nm_aio_init(struct nm_aio *aio);
void nm_aio_write(struct nm_aio *aio, const void *addr, size_t pages);
void nm_aio_wait(struct nm_aio *aio);
/* What the disk has now are the pages of the stream that start at @off */
void nm_aio_verify(const struct nm_aio *aio, uint64_t off, uint64_t seed);
void nm_aio_exit(struct nm_aio *aio);

/* ----- what the kernel says about pages ----- */

/* Returns 0 if nothing is mapped there */
uint64_t nm_pfn(const void *addr);
uint64_t nm_kpageflags(uint64_t pfn);
uint64_t nm_kpagecgroup(uint64_t pfn);

struct nm_pool {
	uint32_t id;
	uint32_t ifindex;	/* 0: its device is gone */
	uint64_t inflight;
	bool detached;
	bool lends;		/* the kernel tells the next two */
	uint64_t cached;
	uint64_t lent;
	uint64_t provider_mem;	/* bytes, 0 without a memory provider */
	uint64_t provider_cgroup;
	uint32_t kernel;	/* binding of kernel memory, 0: none */
	uint64_t kernel_idle;	/* bytes of it in no pool */
	/* page-pool-stats-get */
	uint64_t slow;		/* came from the buddy allocator */
	uint64_t ring;		/* came back to the ring */
	uint64_t cache;		/* came back to the cache of the CPU that polls */
	uint64_t ring_full;	/* found no room there */
	uint64_t released;	/* left: somebody else held them, too */
};

#define NM_MAX_POOLS	64

/* Returns the number of pools of the netns */
unsigned int nm_pools(struct nm_pool *pools, unsigned int max);
/* The pool in use of the device. False if it has none. */
bool nm_pool_get(unsigned int ifindex, struct nm_pool *pool);
bool nm_pool_exists(uint32_t id);
/* How many pages of pool @id are lent, and to the cgroup (0: any) */
uint64_t nm_held(uint32_t id, uint64_t cgroup);
/* Are pages of any pool? Not if the kernel cannot tell. */
bool nm_any_held(void);
/* @ring buffers, with header-data split or without */
void nm_rings_set(const char *name, unsigned int ring, bool hds);
/* Receive buffers of @bytes, once the queue was restarted */
void nm_buffers_set(const char *name, uint32_t bytes);

/* ----- kernel memory as memory of a queue ----- */

struct nm_binding {
	int fd;			/* the binding ends when it is closed */
	uint16_t family;
	uint32_t id;
	char why[128];		/* what the kernel said */
};

/* The two parts of nm_bind_kernel(): the first one is the fd */
void nm_bind_open(struct nm_binding *binding);
int nm_bind_opened(struct nm_binding *binding, uint32_t ifindex,
		   uint32_t first, uint32_t nr, uint64_t size, bool huge);
/* To @nr queues, @first and those after it. Returns 0 or -errno. */
int nm_bind_kernel(struct nm_binding *binding, uint32_t ifindex,
		   uint32_t first, uint32_t nr, uint64_t size, bool huge);

/* ----- tracing ----- */

/* "page_pool:page_pool_lend" ...; fails if there is no such event */
void nm_trace_event(const char *event);
/* Returns false if the kernel has no kprobe events, or not this one */
bool nm_trace_kprobe(const char *definition, const char *name);
void nm_trace_start(void);
void nm_trace_mark(const char *text);
void nm_trace_stop(void);
void nm_trace_clear(void);
void nm_trace_cleanup(void);

struct nm_event {
	int pid;
	bool hardirq;
	bool softirq;
	const char *name;
	const char *args;
};

/* Calls @fn for each event so far, in order */
void nm_trace_walk(void (*fn)(const struct nm_event *ev, void *arg), void *arg);
/* Value of field @key of an event, @none if it has no such field */
uint64_t nm_event_u64(const struct nm_event *ev, const char *key, uint64_t none);
bool nm_event_is(const struct nm_event *ev, const char *name);

/* Counts an event from now on. Returns false if there is no such event. */
bool nm_count_event(const char *event);
long nm_event_count(const char *event);

/*
 * Lent pages of a pool, as the events page_pool_lend and page_pool_return have
 * it since nm_lent_watch(). Returns false if there are no such events.
 */
bool nm_lent_watch(uint32_t pool);
long nm_lent(void);

#endif /* NETMEM_LIB_H */

// SPDX-License-Identifier: GPL-2.0
/*
 * All that tells of pages of page_pools says the same, whatever happened to them:
 * /proc/vmstat, /proc/meminfo, the nodes' files, the report of the OOM killer,
 * netlink, the tracepoints and, if the kernel was booted with page_owner=on, the
 * page allocator's own records.
 * Operations are chosen at random; from time to time all is quiet, and compared.
 *
 * On stock 7.3 there is nothing to compare: fails.
 *
 * Usage: netmem_agree [TEST...]
 *   OPS=10000	operations
 *   SEED=1	for the same ones again; printed
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "netmem_lib.h"

#define OWNER_STACKS	"/sys/kernel/debug/page_owner_stacks/show_stacks"

#define BATCH		64	/* see page_pool_count_idle() */
#define NR_CONNS	4
#define CONN_PAGES	128
#define PIPE_PAGES	16
#define OPS_PER_QUIET	100

static struct nm_pair pair;

/* A connection, what is mapped of it, and a pipe that pages were put into */
static struct conn {
	struct nm_conn conn;
	struct nm_rx rx;
	int pipe[2];
	size_t piped;
	bool open;
} conns[NR_CONNS];

static unsigned int seed, state, restarts, shrunk;

/* xorshift: the same numbers everywhere */
static unsigned int random_below(unsigned int end)
{
	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;

	return state % end;
}

/* ----- operations ----- */

static void conn_open(struct conn *c)
{
	nm_conn_open(&c->conn, -1, pair.ns_tx, NM_ADDR_RX);
	nm_rx_init(&c->rx, nm_conn_accept(&c->conn), random_below(1 << 30),
		   CONN_PAGES);
	nm_pipe(c->pipe, PIPE_PAGES);
	c->piped = 0;
	c->open = true;
}

static void conn_close(struct conn *c)
{
	if (!c->open)
		return;
	/* In either order: the pages may outlive the socket */
	if (random_below(2)) {
		close(c->rx.fd);
		c->rx.fd = -1;
	}
	nm_rx_exit(&c->rx);
	close(c->conn.tx);
	close(c->conn.listener);
	close(c->pipe[0]);
	close(c->pipe[1]);
	c->open = false;
}

static void op_receive(struct conn *c)
{
	size_t room = c->rx.pages - c->rx.used, pages;
	pid_t sender;

	if (!room)
		return;
	pages = 1 + random_below(room);
	sender = nm_send(c->conn.tx, c->rx.off, pages * NM_PAGE, c->rx.seed);
	nm_rx_keep(&c->rx, c->rx.off + pages * NM_PAGE);
	nm_wait(sender);
}

static void op_unmap(struct conn *c)
{
	nm_rx_reuse(&c->rx);
}

static void op_copy(struct conn *c)
{
	char page[NM_PAGE];
	size_t pages = 1 + random_below(32);
	pid_t sender;

	sender = nm_send(c->conn.tx, c->rx.off, pages * NM_PAGE, c->rx.seed);
	while (pages--) {
		nm_check_eq(recv(c->rx.fd, page, NM_PAGE, MSG_WAITALL), NM_PAGE,
			    "bytes");
		nm_check_eq(nm_verify(page, c->rx.off, NM_PAGE, c->rx.seed),
			    NM_PAGE, "bytes right");
		c->rx.off += NM_PAGE;
	}
	nm_wait(sender);
}

static void op_pipe(struct conn *c)
{
	char page[NM_PAGE];

	if (c->piped) {
		for (; c->piped; c->piped--)
			nm_check_eq(read(c->pipe[0], page, NM_PAGE), NM_PAGE,
				    "bytes piped");
		return;
	}
	if (c->rx.used < PIPE_PAGES)
		return;
	c->piped = 1 + random_below(PIPE_PAGES);
	nm_vmsplice(c->pipe[1], c->rx.area, c->piped);
}

static void op_reopen(struct conn *c)
{
	conn_close(c);
	conn_open(c);
}

/* Some pages have to outlive their pool */
static void op_restart(struct conn *c)
{
	restarts++;
	nm_pair_restart(&pair);
}

static void op_recreate(struct conn *c)
{
	unsigned int i;

	restarts++;
	nm_pair_delete();
	for (i = 0; i < NR_CONNS; i++)
		conn_close(&conns[i]);
	nm_pair_create(&pair, NM_RING);
	for (i = 0; i < NR_CONNS; i++)
		conn_open(&conns[i]);
}

static void op_shrink(struct conn *c)
{
	char path[128], text[32];
	glob_t found;

	if (glob("/sys/kernel/debug/shrinker/page_pool-*", 0, NULL, &found))
		return;
	snprintf(path, sizeof(path), "%s/scan", found.gl_pathv[0]);
	globfree(&found);
	snprintf(text, sizeof(text), "0 0 %u", 1 + random_below(CONN_PAGES));
	nm_check(!nm_write(path, text), "%s", path);
	shrunk++;
}

static const struct {
	void (*fn)(struct conn *c);
	unsigned int weight;
} ops[] = {
	{ op_receive,	400 },
	{ op_unmap,	200 },
	{ op_copy,	200 },
	{ op_pipe,	100 },
	{ op_reopen,	40 },
	{ op_shrink,	40 },
	{ op_restart,	19 },
	{ op_recreate,	1 },
};

static void random_op(void)
{
	struct conn *c = &conns[random_below(NR_CONNS)];
	unsigned int i, at = random_below(1000);

	for (i = 0; at >= ops[i].weight; i++)
		at -= ops[i].weight;
	ops[i].fn(c);
}

/* ----- what is said ----- */

struct said {
	long vmstat;
	long cached;
	long meminfo;		/* and what follows in pages, of our pools */
	long meminfo_cached;
	long shown;
	long shown_cached;
	long nodes;
	long inflight;		/* netlink */
	long netlink_cached;
	long lent;
	long pools;
	long traced;
	long traced_lent;
	long owner;		/* page_owner; -1 if off */
	long owner_unknown;
};

static long sum_nodes(void)
{
	char path[64];
	long sum = 0, nr;
	unsigned int i;

	for (i = 0; ; i++) {
		snprintf(path, sizeof(path),
			 "/sys/devices/system/node/node%u/vmstat", i);
		nr = nm_key(path, "nr_page_pool");
		if (nr < 0)
			return sum;
		sum += nr;
	}
}

/*
 * Pages that page_pools took from the page allocator and that are not free. A
 * record is a stack, then "nr_base_pages: N". What an interrupt allocates while
 * page_owner itself is at work gets a stack that stands for unknown ones.
 */
static void look_at_owner(struct said *said)
{
	bool pool = false, other = false, unknown = false;
	char *line = NULL, *at;
	size_t size = 0;
	FILE *file;

	file = fopen(OWNER_STACKS, "re");
	said->owner = file ? 0 : -1;
	while (file && getline(&line, &size, file) > 0) {
		/* What pools allocate of their own: innermost comes first */
		if (!pool && (strstr(line, "xa_alloc") || strstr(line, "slab")))
			other = true;
		if (!other && strstr(line, "page_pool_alloc"))
			pool = true;
		if (strstr(line, "register_dummy_stack"))
			unknown = true;
		at = strstr(line, "nr_base_pages:");
		if (!at)
			continue;
		at += strlen("nr_base_pages:");
		if (pool)
			said->owner += atol(at);
		if (unknown)
			said->owner_unknown += atol(at);
		pool = false;
		other = false;
		unknown = false;
	}
	free(line);
	if (file)
		fclose(file);
}

static void look(struct said *said)
{
	struct nm_pool pools[NM_MAX_POOLS];
	int i;

	memset(said, 0, sizeof(*said));
	said->vmstat = nm_key("/proc/vmstat", "nr_page_pool");
	said->cached = nm_key("/proc/vmstat", "nr_page_pool_cached");
	said->meminfo = nm_key("/proc/meminfo", "PagePool:") / 4;
	said->meminfo_cached = nm_key("/proc/meminfo", "PagePoolCached:") / 4;
	nm_show_mem(&said->shown, &said->shown_cached);
	said->shown /= 4;
	said->shown_cached /= 4;
	said->nodes = sum_nodes();
	said->lent = nm_held(0, 0);
	said->pools = nm_pools(pools, NM_MAX_POOLS);
	for (i = 0; i < said->pools; i++) {
		said->inflight += pools[i].inflight;
		said->netlink_cached += pools[i].cached;
	}
	said->traced = nm_event_count("page_pool:page_pool_state_hold") -
		       nm_event_count("page_pool:page_pool_state_release") -
		       nm_event_count("page_pool:page_pool_homeless");
	said->traced_lent = nm_event_count("page_pool:page_pool_lend") -
			    nm_event_count("page_pool:page_pool_return");
	look_at_owner(said);
	nm_check(said->vmstat >= 0 && said->cached >= 0, "no counters");
}

/* At the start: what others have, and do not use meanwhile */
static struct said others;

static const char *differs(const struct said *now)
{
	long slack = BATCH * sysconf(_SC_NPROCESSORS_ONLN) * (now->pools + 1);
	long total = now->vmstat - others.vmstat;

	if (now->meminfo != now->vmstat || now->meminfo_cached != now->cached)
		return "meminfo";
	if (now->shown != now->vmstat || now->shown_cached != now->cached)
		return "show_mem";
	if (now->nodes != now->vmstat)
		return "the nodes";
	if (now->inflight + now->lent - others.inflight != total)
		return "netlink";
	if (labs(now->netlink_cached - others.netlink_cached -
		 (now->cached - others.cached)) > slack)
		return "what is cached";
	if (now->traced != total)
		return "the tracepoints";
	if (now->traced_lent != now->lent)
		return "what was lent";
	if (now->owner >= 0 &&
	    (now->owner > now->vmstat ||
	     now->owner + now->owner_unknown < now->vmstat))
		return "page_owner";

	return NULL;
}

static bool agrees(struct said *now)
{
	look(now);
	return !differs(now);
}

static void check_quiet(unsigned int op)
{
	struct said now;

	/* Softirqs, and a pool that is going, may have something to finish */
	if (nm_until(agrees(&now), 5000))
		return;
	nm_fail("seed %u, operation %u: %s: vmstat %ld cached %ld, of others %ld and %ld; meminfo %ld cached %ld; nodes %ld; inflight %ld lent %ld cached %ld in %ld pools; traced %ld lent %ld; page_owner %ld, or %ld more",
		seed, op, differs(&now), now.vmstat, now.cached, others.vmstat,
		others.cached, now.meminfo, now.meminfo_cached, now.nodes,
		now.inflight, now.lent, now.netlink_cached, now.pools, now.traced,
		now.traced_lent, now.owner, now.owner_unknown);
}

/* ----- the test ----- */

static unsigned int number(const char *name, unsigned int otherwise)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 0) : otherwise;
}

static void all_agree(void)
{
	unsigned int op, nr = number("OPS", 1000);
	struct said end;

	seed = number("SEED", nm_now_ms() | 1);
	state = seed;
	nm_check(nm_count_event("page_pool:page_pool_state_hold") &&
		 nm_count_event("page_pool:page_pool_state_release") &&
		 nm_count_event("page_pool:page_pool_homeless") &&
		 nm_count_event("page_pool:page_pool_lend") &&
		 nm_count_event("page_pool:page_pool_return"), "no events");
	look(&others);
	nm_check_eq(others.lent, 0, "pages lent before");
	ksft_print_msg("seed %u, %u operations, page_owner %s\n", seed, nr,
		       others.owner < 0 ? "off" : "on");

	op_recreate(NULL);
	for (op = 1; op <= nr; op++) {
		random_op();
		if (op % OPS_PER_QUIET == 0)
			check_quiet(op);
	}

	for (op = 0; op < NR_CONNS; op++)
		conn_close(&conns[op]);
	nm_pair_delete();
	check_quiet(nr);
	look(&end);
	nm_check_eq(end.vmstat, others.vmstat, "pages at the end");
	nm_check_eq(end.cached, others.cached, "pages cached at the end");
	ksft_print_msg("%u quiet points, %u restarts, %u times shrunk\n",
		       nr / OPS_PER_QUIET + 1, restarts, shrunk);
}

static const struct nm_test tests[] = {
	NM_TEST(all_agree),
};

int main(int argc, char **argv)
{
	const struct nm_suite suite = {
		.tests = tests,
		.nr = ARRAY_SIZE(tests),
	};

	return nm_run(argc, argv, &suite);
}

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the netmem tests of the memory controller share: the cgroup of a test, the
 * stream it receives, and what the counters must say.
 */
#ifndef NETMEM_CGROUP_H
#define NETMEM_CGROUP_H

#include <limits.h>

#include "cgroup_util.h"
#include "netmem_lib.h"

#define SEED	0x6e65746d656d6367ULL
#define PAGES	256
#define BYTES	(PAGES * (long)NM_PAGE)

/*
 * memory.stat is flushed when enough has changed, else every two seconds
 * (FLUSH_TIME): wait for what it must become.
 */
#define STAT_MS	15000

/* memory.current includes the stock of each CPU, MEMCG_CHARGE_BATCH pages */
#define STOCK_BYTES	(64 * (long)NM_PAGE * sysconf(_SC_NPROCESSORS_ONLN))

/*
 * The cgroup of a test. It and, if any, these two below it are removed after
 * it.
 */
extern char root[PATH_MAX];
extern char *cg, *cg_a, *cg_b;

extern struct nm_pair pair;
extern struct nm_conn conn;
extern struct nm_rx rx;
extern struct nm_sync first_sync, second_sync;

void create_cgroup(void);
void create_nested(void);
void set_limit(const char *cgroup, const char *control, long bytes);

/* An exact key: "sock" must not find another one that ends in it */
long stat_of(const char *cgroup, const char *key);
void check_stat(const char *cgroup, const char *key, long want);
/* netmem is part of sock, whose own part in tests is below a receive buffer */
void check_netmem(const char *cgroup, long bytes);
void check_no_oom(const char *cgroup);

/* A process that is in @cgroup from its start */
pid_t start_in(const char *cgroup, void (*fn)(void));
void run_in(const char *cgroup, void (*fn)(void));

/* Page cache up to the limit of the caller's @cgroup, which is @max */
void fill_page_cache(const char *cgroup, long max);

/* net.ipv4.tcp_zerocopy_rx_memcg */
void set_mode(const char *mode);

void open_stream(void);
/* The receiver's part: with room for @pages pages */
void accept_stream(size_t pages);
void send_pages(size_t pages);
/*
 * What most tests start with: PAGES pages sent, one process of @cgroup runs @fn
 */
void simple_test(void (*fn)(void));

/* Runs the tests in turn, and looks after each that nothing is left charged */
int run_tests(int argc, char **argv, const struct nm_test *tests,
	      unsigned int nr);

#endif /* NETMEM_CGROUP_H */

// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "netmem_cgroup.h"

char root[PATH_MAX];
char *cg, *cg_a, *cg_b;

struct nm_pair pair;
struct nm_conn conn;
struct nm_rx rx;
struct nm_sync first_sync, second_sync;

void create_cgroup(void)
{
	nm_check(!cg_create(cg), "%s", cg);
}

void create_nested(void)
{
	create_cgroup();
	nm_check(!cg_write(cg, "cgroup.subtree_control", "+memory"), "+memory");
	nm_check(!cg_create(cg_a), "%s", cg_a);
	nm_check(!cg_create(cg_b), "%s", cg_b);
}

void set_limit(const char *cgroup, const char *control, long bytes)
{
	nm_check(!cg_write_numeric(cgroup, control, bytes), "%s", control);
}

long stat_of(const char *cgroup, const char *key)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/memory.stat", cgroup);
	return nm_key(path, key);
}

static long event_of(const char *cgroup, const char *key)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/memory.events", cgroup);
	return nm_key(path, key);
}

void check_stat(const char *cgroup, const char *key, long want)
{
	nm_check(stat_of(cgroup, key) >= 0, "memory.stat has no %s", key);
	nm_until(stat_of(cgroup, key) == want, STAT_MS);
	nm_check_eq(stat_of(cgroup, key), want, key);
}

void check_netmem(const char *cgroup, long bytes)
{
	long sock;

	check_stat(cgroup, "netmem", bytes);
	sock = stat_of(cgroup, "sock");
	nm_check(sock >= bytes && sock <= bytes + 2 * NM_RCVBUF,
		 "sock %ld with netmem %ld", sock, bytes);
}

void check_no_oom(const char *cgroup)
{
	nm_check_eq(event_of(cgroup, "oom"), 0, "oom events");
	nm_check_eq(event_of(cgroup, "oom_kill"), 0, "OOM kills");
}

struct entry {
	const char *cgroup;
	void (*fn)(void);
};

static void enter_and_run(void *arg)
{
	struct entry *entry = arg;

	nm_check(!cg_enter_current(entry->cgroup), "enter %s", entry->cgroup);
	entry->fn();
}

pid_t start_in(const char *cgroup, void (*fn)(void))
{
	struct entry entry = { cgroup, fn };

	return nm_fork(enter_and_run, &entry);
}

void run_in(const char *cgroup, void (*fn)(void))
{
	nm_wait(start_in(cgroup, fn));
}

void fill_page_cache(const char *cgroup, long max)
{
	static char buf[256 * 1024];
	long done;
	int fd;

	fd = open(nm_scratch_disk(), O_RDONLY | O_CLOEXEC);
	nm_check(fd >= 0, "disk");
	for (done = 0; done < 2 * max; done += sizeof(buf))
		nm_check_eq(read(fd, buf, sizeof(buf)), sizeof(buf), "read");
	/* The pages stay in the page cache as long as the device is open */
	nm_check(stat_of(cgroup, "file") >= max / 2, "file is %ld",
		 stat_of(cgroup, "file"));
}

void open_stream(void)
{
	nm_pair_create(&pair, NM_RING);
	nm_conn_open(&conn, -1, pair.ns_tx, NM_ADDR_RX);
}

void accept_stream(size_t pages)
{
	nm_rx_init(&rx, nm_conn_accept(&conn), SEED, pages);
}

void send_pages(size_t pages)
{
	nm_send(conn.tx, 0, pages * NM_PAGE, SEED);
}

void simple_test(void (*fn)(void))
{
	create_cgroup();
	open_stream();
	send_pages(PAGES);
	run_in(cg, fn);
}

void set_mode(const char *mode)
{
	int ret = nm_write(NM_SYSCTL_MEMCG, mode);

	errno = -ret;
	nm_check(!ret, "%s > %s", mode, NM_SYSCTL_MEMCG);
}

/*
 * When a test is over and its processes are gone, its cgroup must be empty
 * whatever the test was about, and the cgroup must not live on.
 */
static int after_test(const char *name)
{
	static const char * const keys[] = { "netmem", "sock", "file_mapped" };
	int ret = KSFT_PASS;
	unsigned int i;

	if (access(cg, F_OK))
		return ret;

	for (i = 0; i < ARRAY_SIZE(keys); i++) {
		/* There is no netmem on stock, but tests say so themselves */
		if (nm_until(stat_of(cg, keys[i]) <= 0, STAT_MS))
			continue;
		ksft_print_msg("%s is %ld in the end\n", keys[i],
			       stat_of(cg, keys[i]));
		ret = KSFT_FAIL;
	}

	if (cg_destroy(cg_a) || cg_destroy(cg_b) || cg_destroy(cg)) {
		ksft_print_msg("%s cannot be removed\n", cg);
		ret = KSFT_FAIL;
	}

	return ret;
}

static void setup(void)
{
	if (cg_find_unified_root(root, sizeof(root), NULL))
		ksft_exit_skip("cgroup v2 isn't mounted\n");
	if (cg_read_strstr(root, "cgroup.controllers", "memory"))
		ksft_exit_skip("memory controller isn't available\n");
	if (cg_read_strstr(root, "cgroup.subtree_control", "memory") &&
	    cg_write(root, "cgroup.subtree_control", "+memory"))
		ksft_exit_skip("Failed to set memory controller\n");

	cg = cg_name(root, "netmem_test");
	cg_a = cg_name(cg, "a");
	cg_b = cg_name(cg, "b");
	/* What an interrupted run may have left */
	cg_destroy(cg_a);
	cg_destroy(cg_b);
	cg_destroy(cg);
}

int run_tests(int argc, char **argv, const struct nm_test *tests,
	      unsigned int nr)
{
	const struct nm_suite suite = {
		.tests = tests,
		.nr = nr,
		.setup = setup,
		.after = after_test,
	};

	return nm_run(argc, argv, &suite);
}

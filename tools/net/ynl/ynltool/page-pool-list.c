// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* All page pools of the machine: what memory they have, and who holds it. */

#define _GNU_SOURCE

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <ynl.h>
#include "netdev-user.h"

#include "main.h"
#include "page-pool.h"

#define NETNS_DIR	"/run/netns"

struct pool {
	/* NULL: the pool is gone, only lent pages are left of it */
	const struct netdev_page_pool_get_rsp *pp;
	__u64 id;
	__u64 page_size;
	__u64 used, cached, lent;	/* in pages of this size */
};

struct pool_list {
	struct netdev_page_pool_holder_get_list *holders;
	struct netdev_page_pool_get_list *rsps;
	struct pool *pools;
	size_t nr_pools;
	__u64 used, cached, lent;	/* in bytes */
	__u64 provider_idle;		/* kernel memory in no pool, in bytes */
	__u64 meminfo;			/* in bytes, if has_meminfo */
	bool has_meminfo;
};

static double mib(__u64 bytes)
{
	return bytes / 1048576.0;
}

static __u64 pool_bytes(const struct pool *pool)
{
	return (pool->used + pool->cached + pool->lent) * pool->page_size;
}

/* Where the pool's memory is from */
static const char *provider_name(const struct pool *pool)
{
	if (!pool->pp)
		return "-";
	if (pool->pp->_present.dmabuf)
		return "dmabuf";
	if (pool->pp->_present.io_uring)
		return "io_uring";

	return pool->pp->_present.kernel ? "kernel" : "-";
}

/* Memory of a dmabuf or of an io_uring user is not the pool's own */
static bool has_own_pages(const struct pool *pool)
{
	return !pool->pp ||
	       (!pool->pp->_present.dmabuf && !pool->pp->_present.io_uring);
}

static bool is_closing(const struct pool *pool)
{
	return pool->pp && pool->pp->_present.detach_time;
}

static __u64 closing_seconds(const struct pool *pool)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	if ((__u64)now.tv_sec < pool->pp->detach_time)
		return 0;

	return now.tv_sec - pool->pp->detach_time;
}

/* The name that ip-netns(8) gave to a netns, or else its inode number */
static const char *netns_name(__u64 ino, char *name, size_t size)
{
	struct dirent *entry;
	struct stat self, st;
	DIR *dir;

	snprintf(name, size, "%llu", ino);
	if (stat("/proc/self/ns/net", &self))
		return name;

	dir = opendir(NETNS_DIR);
	if (!dir)
		return name;

	while ((entry = readdir(dir))) {
		if (fstatat(dirfd(dir), entry->d_name, &st, 0))
			continue;
		if (st.st_ino == ino && st.st_dev == self.st_dev) {
			snprintf(name, size, "%s", entry->d_name);
			break;
		}
	}
	closedir(dir);

	return name;
}

static void set_page_size(struct pool *pool, const struct pool_list *list)
{
	const struct netdev_page_pool_get_rsp *pp = pool->pp;

	if (pp && pp->inflight) {
		pool->page_size = pp->inflight_mem / pp->inflight;
		return;
	}

	ynl_dump_foreach(list->holders, h) {
		if (h->pool_id == pool->id && h->lent) {
			pool->page_size = h->lent_mem / h->lent;
			return;
		}
	}

	pool->page_size = sysconf(_SC_PAGESIZE);
}

static void add_pool(struct pool_list *list,
		     const struct netdev_page_pool_get_rsp *pp)
{
	struct pool *pool = &list->pools[list->nr_pools++];

	pool->pp = pp;
	pool->id = pp->id;
	/* Counted while there may be traffic: cached can exceed inflight */
	pool->cached = pp->cached;
	if (pool->cached > pp->inflight)
		pool->cached = pp->inflight;
	/* Lent pages are not inflight */
	pool->used = pp->inflight - pool->cached;
	pool->lent = pp->lent;
	set_page_size(pool, list);
}

static void add_gone_pool(struct pool_list *list,
			  const struct netdev_page_pool_holder_get_rsp *h)
{
	struct pool *pool;
	size_t i;

	for (i = 0; i < list->nr_pools; i++) {
		pool = &list->pools[i];
		if (pool->id != h->pool_id)
			continue;
		if (!pool->pp)
			pool->lent += h->lent;
		return;
	}

	pool = &list->pools[list->nr_pools++];
	pool->id = h->pool_id;
	pool->lent = h->lent;
	set_page_size(pool, list);
}

static int cmp_pools(const void *a, const void *b)
{
	const struct pool *p1 = a, *p2 = b;

	return p1->id < p2->id ? -1 : p1->id > p2->id;
}

/* Is it the first pool that has memory of this binding? */
static bool is_first_of_binding(const struct pool_list *list, size_t nr)
{
	const struct netdev_page_pool_get_rsp *pp = list->pools[nr].pp;
	size_t i;

	if (!pp || !pp->_present.kernel)
		return false;

	for (i = 0; i < nr; i++) {
		const struct netdev_page_pool_get_rsp *other = list->pools[i].pp;

		if (other && other->_present.kernel &&
		    other->kernel.id == pp->kernel.id)
			return false;
	}

	return true;
}

static void add_up(struct pool_list *list)
{
	size_t i;

	for (i = 0; i < list->nr_pools; i++) {
		const struct pool *pool = &list->pools[i];

		if (!has_own_pages(pool))
			continue;
		list->used += pool->used * pool->page_size;
		list->cached += pool->cached * pool->page_size;
		list->lent += pool->lent * pool->page_size;
		if (is_first_of_binding(list, i))
			list->provider_idle += pool->pp->kernel.idle_mem;
	}
}

static void read_meminfo(struct pool_list *list)
{
	unsigned long long kib;
	char line[128];
	FILE *f;

	f = fopen("/proc/meminfo", "r");
	if (!f)
		return;

	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "PagePool: %llu kB", &kib) == 1) {
			list->meminfo = kib * 1024;
			list->has_meminfo = true;
			break;
		}
	}
	fclose(f);
}

static int make_list(struct pool_list *list)
{
	size_t nr = 1;

	ynl_dump_foreach(list->holders, h)
		nr++;
	ynl_dump_foreach(list->rsps, pp)
		nr++;

	list->pools = calloc(nr, sizeof(*list->pools));
	if (!list->pools) {
		p_err("failed to allocate the list of page pools");
		return -1;
	}

	ynl_dump_foreach(list->rsps, pp)
		add_pool(list, pp);
	ynl_dump_foreach(list->holders, h)
		add_gone_pool(list, h);

	qsort(list->pools, list->nr_pools, sizeof(*list->pools), cmp_pools);
	add_up(list);

	return 0;
}

static __u64 list_bytes(const struct pool_list *list)
{
	return list->used + list->cached + list->lent + list->provider_idle;
}

static void print_json_provider(const struct netdev_page_pool_get_rsp *pp)
{
	char path[PATH_MAX];

	if (pp->_present.dmabuf)
		jsonw_uint_field(json_wtr, "dmabuf", pp->dmabuf);
	if (pp->_present.io_uring)
		jsonw_bool_field(json_wtr, "io_uring", true);
	if (pp->_present.kernel) {
		jsonw_uint_field(json_wtr, "kernel", pp->kernel.id);
		jsonw_uint_field(json_wtr, "provider_idle_bytes",
				 pp->kernel.idle_mem);
	}
	if (pp->_present.provider_mem)
		jsonw_uint_field(json_wtr, "provider_bytes", pp->provider_mem);
	if (pp->_present.provider_cgroup_id) {
		jsonw_uint_field(json_wtr, "provider_cgroup_id",
				 pp->provider_cgroup_id);
		if (page_pool_cgroup_path(pp->provider_cgroup_id, path,
					  sizeof(path)))
			jsonw_string_field(json_wtr, "provider_cgroup", path);
	}
}

static void print_json_pool(const struct pool *pool,
			    const struct pool_list *list)
{
	const struct netdev_page_pool_get_rsp *pp = pool->pp;
	char netns[NAME_MAX + 1];

	jsonw_start_object(json_wtr);
	jsonw_uint_field(json_wtr, "id", pool->id);
	if (pp && pp->_len.ifname)
		jsonw_string_field(json_wtr, "ifname", pp->ifname);
	if (pp && pp->_present.ifindex)
		jsonw_uint_field(json_wtr, "ifindex", pp->ifindex);
	if (pp && pp->_present.netns_ino) {
		jsonw_uint_field(json_wtr, "netns_ino", pp->netns_ino);
		jsonw_string_field(json_wtr, "netns",
				   netns_name(pp->netns_ino, netns,
					      sizeof(netns)));
	}

	jsonw_string_field(json_wtr, "state", !pp ? "gone" :
			   is_closing(pool) ? "closing" : "alive");
	if (is_closing(pool))
		jsonw_uint_field(json_wtr, "closing_seconds",
				 closing_seconds(pool));
	if (pp)
		print_json_provider(pp);

	jsonw_uint_field(json_wtr, "page_size", pool->page_size);
	jsonw_uint_field(json_wtr, "used", pool->used);
	jsonw_uint_field(json_wtr, "cached", pool->cached);
	jsonw_uint_field(json_wtr, "lent", pool->lent);
	jsonw_uint_field(json_wtr, "bytes", pool_bytes(pool));

	jsonw_name(json_wtr, "holders");
	jsonw_start_array(json_wtr);
	ynl_dump_foreach(list->holders, h) {
		if (h->pool_id != pool->id)
			continue;
		jsonw_start_object(json_wtr);
		page_pool_json_holder(h);
		jsonw_end_object(json_wtr);
	}
	jsonw_end_array(json_wtr);
	jsonw_end_object(json_wtr);
}

static void print_json_list(const struct pool_list *list)
{
	size_t i;

	jsonw_start_object(json_wtr);
	jsonw_name(json_wtr, "pools");
	jsonw_start_array(json_wtr);
	for (i = 0; i < list->nr_pools; i++)
		print_json_pool(&list->pools[i], list);
	jsonw_end_array(json_wtr);

	jsonw_name(json_wtr, "sum");
	jsonw_start_object(json_wtr);
	jsonw_uint_field(json_wtr, "used_bytes", list->used);
	jsonw_uint_field(json_wtr, "cached_bytes", list->cached);
	jsonw_uint_field(json_wtr, "lent_bytes", list->lent);
	jsonw_uint_field(json_wtr, "provider_idle_bytes", list->provider_idle);
	jsonw_uint_field(json_wtr, "bytes", list_bytes(list));
	if (list->has_meminfo) {
		jsonw_uint_field(json_wtr, "meminfo_bytes", list->meminfo);
		jsonw_int_field(json_wtr, "difference_bytes",
				list->meminfo - list_bytes(list));
	}
	jsonw_end_object(json_wtr);
	jsonw_end_object(json_wtr);
}

static void print_plain_provider(const struct pool *pool)
{
	const struct netdev_page_pool_get_rsp *pp = pool->pp;
	char path[PATH_MAX] = "unknown";

	if (!pp || !pp->_present.provider_mem)
		return;

	printf("      %.2f MiB provided", mib(pp->provider_mem));
	if (pp->_present.kernel)
		printf(", %.2f idle,", mib(pp->kernel.idle_mem));
	if (pp->_present.provider_cgroup_id &&
	    !page_pool_cgroup_path(pp->provider_cgroup_id, path, sizeof(path)))
		snprintf(path, sizeof(path), "id %llu", pp->provider_cgroup_id);
	printf(" by cgroup: %s%s\n", path,
	       has_own_pages(pool) ? "" : " (not in the sum)");
}

static void print_plain_pool(const struct pool *pool,
			     const struct pool_list *list)
{
	const struct netdev_page_pool_get_rsp *pp = pool->pp;
	char name[PATH_MAX], state[32] = "alive";

	if (!pp)
		strcpy(state, "gone");
	else if (is_closing(pool))
		snprintf(state, sizeof(state), "closing %llus",
			 closing_seconds(pool));

	printf("%5llu %-15s %-15s ", pool->id,
	       pp && pp->_len.ifname ? pp->ifname : "-",
	       pp && pp->_present.netns_ino ?
	       netns_name(pp->netns_ino, name, sizeof(name)) : "-");
	printf("%-12s %8llu %8llu %8llu %10.2f %s\n", state, pool->used,
	       pool->cached, pool->lent, mib(pool_bytes(pool)),
	       provider_name(pool));
	print_plain_provider(pool);

	ynl_dump_foreach(list->holders, h) {
		if (h->pool_id != pool->id)
			continue;
		printf("      %llu lent (%.2f MiB) to cgroup: %s\n", h->lent,
		       mib(h->lent_mem),
		       page_pool_holder_name(h, name, sizeof(name)));
	}
}

static void print_plain_list(const struct pool_list *list)
{
	size_t i;

	printf("%5s %-15s %-15s %-12s %8s %8s %8s %10s %s\n", "id", "dev",
	       "netns", "state", "used", "cached", "lent", "MiB", "provider");
	for (i = 0; i < list->nr_pools; i++)
		print_plain_pool(&list->pools[i], list);

	printf("sum: %.2f MiB (used %.2f, cached %.2f, lent %.2f",
	       mib(list_bytes(list)), mib(list->used), mib(list->cached),
	       mib(list->lent));
	if (list->provider_idle)
		printf(", idle with providers %.2f", mib(list->provider_idle));
	printf(")");
	if (list->has_meminfo)
		printf("; PagePool in /proc/meminfo: %.2f MiB, difference %.2f\n",
		       mib(list->meminfo),
		       mib(list->meminfo) - mib(list_bytes(list)));
	else
		printf("; no PagePool in /proc/meminfo\n");
}

static void print_error(const struct ynl_sock *ys)
{
	switch ((int)ys->err.code) {
	case EPERM:
		p_err("listing all page pools needs CAP_NET_ADMIN in the initial network namespace");
		break;
	case EINVAL:
	case EOPNOTSUPP:
		p_err("this kernel cannot list all page pools, try 'page-pool stats'");
		break;
	default:
		p_err("failed to get page pools: %s", ys->err.msg);
	}
}

static int get_and_print(struct ynl_sock *ys)
{
	struct netdev_page_pool_get_req_dump *req;
	struct pool_list list = {};
	int ret = -1;

	req = netdev_page_pool_get_req_dump_alloc();
	if (!req) {
		p_err("failed to allocate a request");
		return -1;
	}
	netdev_page_pool_get_req_dump_set_all(req);

	/* First: who holds pages of a pool that is not listed after this holds
	 * pages of a pool that is gone.
	 */
	list.holders = netdev_page_pool_holder_get_dump(ys);
	if (!list.holders) {
		print_error(ys);
		goto free_req;
	}

	list.rsps = netdev_page_pool_get_dump(ys, req);
	if (!list.rsps) {
		print_error(ys);
		goto free_holders;
	}

	read_meminfo(&list);
	if (make_list(&list))
		goto free_rsps;

	if (json_output)
		print_json_list(&list);
	else
		print_plain_list(&list);
	ret = 0;

	free(list.pools);
free_rsps:
	netdev_page_pool_get_list_free(list.rsps);
free_holders:
	netdev_page_pool_holder_get_list_free(list.holders);
free_req:
	netdev_page_pool_get_req_dump_free(req);
	return ret;
}

int do_page_pool_list(int argc, char **argv)
{
	struct ynl_error yerr;
	struct ynl_sock *ys;
	int ret;

	if (argc) {
		p_err("unknown option '%s'", *argv);
		return -1;
	}

	ys = ynl_sock_create(&ynl_netdev_family, &yerr);
	if (!ys) {
		p_err("YNL: %s", yerr.msg);
		return -1;
	}

	ret = get_and_print(ys);
	ynl_sock_destroy(ys);

	return ret;
}

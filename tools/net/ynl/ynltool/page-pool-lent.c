// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Who holds the lent pages of which page pool. */

#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ynl.h>
#include "netdev-user.h"

#include "main.h"
#include "page-pool.h"

#define CGROUP_ROOT	"/sys/fs/cgroup"
#define FILEID_KERNFS	0xfe

/* A cgroup's id is what the handle of its directory consists of. NULL if there
 * is no such cgroup (any more), or none that this process may open.
 */
const char *page_pool_cgroup_path(__u64 id, char *path, size_t size)
{
	union {
		struct file_handle handle;
		char space[sizeof(struct file_handle) + sizeof(id)];
	} u = {
		.handle.handle_bytes = sizeof(id),
		.handle.handle_type = FILEID_KERNFS,
	};
	char link[64];
	int root, dir;
	ssize_t len;

	root = open(CGROUP_ROOT, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return NULL;

	memcpy(u.handle.f_handle, &id, sizeof(id));
	dir = open_by_handle_at(root, &u.handle, O_PATH | O_CLOEXEC);
	close(root);
	if (dir < 0)
		return NULL;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", dir);
	len = readlink(link, path, size - 1);
	close(dir);
	if (len < 0)
		return NULL;

	path[len] = '\0';
	return path;
}

static const struct netdev_page_pool_get_rsp *
find_pool(struct netdev_page_pool_get_list *pools, __u64 id)
{
	ynl_dump_foreach(pools, pp)
		if (pp->id == id)
			return pp;

	return NULL;
}

/* In memory of @size bytes at @name, if that is needed */
const char *
page_pool_holder_name(const struct netdev_page_pool_holder_get_rsp *h,
		      char *name, size_t size)
{
	if (!h->_present.cgroup_id)
		return "none";

	if (!page_pool_cgroup_path(h->cgroup_id, name, size))
		snprintf(name, size, "id %llu", h->cgroup_id);

	return name;
}

void
page_pool_json_holder(const struct netdev_page_pool_holder_get_rsp *h)
{
	char path[PATH_MAX];

	if (h->_present.cgroup_id) {
		jsonw_uint_field(json_wtr, "cgroup_id", h->cgroup_id);
		if (page_pool_cgroup_path(h->cgroup_id, path, sizeof(path)))
			jsonw_string_field(json_wtr, "cgroup", path);
	}
	jsonw_uint_field(json_wtr, "lent", h->lent);
	jsonw_uint_field(json_wtr, "bytes", h->lent_mem);
}

static void print_json_holder(const struct netdev_page_pool_get_rsp *pp,
			      const struct netdev_page_pool_holder_get_rsp *h)
{
	char ifname[IF_NAMESIZE];

	jsonw_start_object(json_wtr);
	jsonw_uint_field(json_wtr, "id", h->pool_id);
	jsonw_bool_field(json_wtr, "listed", pp);
	if (pp && pp->_present.ifindex) {
		if (if_indextoname(pp->ifindex, ifname))
			jsonw_string_field(json_wtr, "ifname", ifname);
		jsonw_uint_field(json_wtr, "ifindex", pp->ifindex);
	}
	page_pool_json_holder(h);
	jsonw_end_object(json_wtr);
}

static void print_plain_holder(const struct netdev_page_pool_get_rsp *pp,
			       const struct netdev_page_pool_holder_get_rsp *h)
{
	char ifname[IF_NAMESIZE], name[PATH_MAX];

	printf("pool id: %llu", h->pool_id);
	if (!pp)
		printf("  not listed");
	else if (pp->_present.ifindex && if_indextoname(pp->ifindex, ifname))
		printf("  dev: %s[%u]", ifname, pp->ifindex);

	printf("  lent: %llu pages %llu bytes  cgroup: %s\n", h->lent,
	       h->lent_mem, page_pool_holder_name(h, name, sizeof(name)));
}

static void print_holders(struct netdev_page_pool_get_list *pools,
			  struct netdev_page_pool_holder_get_list *holders)
{
	if (json_output)
		jsonw_start_array(json_wtr);

	ynl_dump_foreach(holders, h) {
		const struct netdev_page_pool_get_rsp *pp;

		pp = find_pool(pools, h->pool_id);
		if (json_output)
			print_json_holder(pp, h);
		else
			print_plain_holder(pp, h);
	}

	if (json_output)
		jsonw_end_array(json_wtr);
}

int do_page_pool_lent(int argc, char **argv)
{
	struct netdev_page_pool_holder_get_list *holders;
	struct netdev_page_pool_get_req_dump pp_req = {};
	struct netdev_page_pool_get_list *pools;
	struct ynl_error yerr;
	struct ynl_sock *ys;
	int ret = 0;

	if (argc) {
		p_err("unknown option '%s'", *argv);
		return -1;
	}

	ys = ynl_sock_create(&ynl_netdev_family, &yerr);
	if (!ys) {
		p_err("YNL: %s", yerr.msg);
		return -1;
	}

	/* First, for pools that lend to be found in the other list */
	holders = netdev_page_pool_holder_get_dump(ys);
	if (!holders) {
		p_err("failed to get holders of lent pages: %s", ys->err.msg);
		ret = -1;
		goto exit_close;
	}

	pools = netdev_page_pool_get_dump(ys, &pp_req);
	if (!pools) {
		p_err("failed to get page pools: %s", ys->err.msg);
		ret = -1;
		goto exit_free_holders;
	}

	print_holders(pools, holders);

	netdev_page_pool_get_list_free(pools);
exit_free_holders:
	netdev_page_pool_holder_get_list_free(holders);
exit_close:
	ynl_sock_destroy(ys);
	return ret;
}

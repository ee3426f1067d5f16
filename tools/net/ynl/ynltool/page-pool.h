/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the page-pool commands share. */

#ifndef __YNLTOOL_PAGE_POOL_H
#define __YNLTOOL_PAGE_POOL_H

#include <stddef.h>

#include "netdev-user.h"

const char *page_pool_cgroup_path(__u64 id, char *path, size_t size);
const char *
page_pool_holder_name(const struct netdev_page_pool_holder_get_rsp *h,
		      char *name, size_t size);
void
page_pool_json_holder(const struct netdev_page_pool_holder_get_rsp *h);

#endif /* __YNLTOOL_PAGE_POOL_H */

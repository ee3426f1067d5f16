/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _LINUX_MEMCG_NETMEM_H
#define _LINUX_MEMCG_NETMEM_H

/*
 * Pages of a page_pool that a memory cgroup holds: charged before they are
 * mapped or spliced, uncharged when their last reference is gone.
 */

#include <linux/memcontrol.h>
#include <linux/mm.h>

/**
 * struct netmem_uncharge - charges that ended and still count
 * @objcg: who pays for the pages gathered here, NULL when there are none
 * @nr_pages: pages to take off its counters
 * @nr_refs: references to drop on @objcg, one for each folio
 *
 * Lives on the stack of whoever ends the charges; must be zeroed at first and
 * flushed at the end.
 */
struct netmem_uncharge {
	struct obj_cgroup *objcg;
	unsigned int nr_pages;
	unsigned int nr_refs;
};

static inline bool netmem_page_is_charged(const struct page *page)
{
	return page->pp_magic & PP_MAGIC_CHARGED;
}

#if defined(CONFIG_MEMCG) && defined(CONFIG_PAGE_POOL)
unsigned int __mem_cgroup_charge_netmem(struct page **pages,
					unsigned int nr_pages,
					unsigned long reserve);
void __mem_cgroup_uncharge_netmem(struct page *page,
				  struct netmem_uncharge *batch);
void __mem_cgroup_uncharge_netmem_flush(struct netmem_uncharge *batch);
bool __mem_cgroup_netmem_fits(unsigned int nr_pages, unsigned long reserve);
unsigned long mem_cgroup_netmem_room(void);
u64 mem_cgroup_netmem_id(struct page *page);

static inline unsigned int mem_cgroup_charge_netmem(struct page **pages,
						    unsigned int nr_pages,
						    unsigned long reserve)
{
	if (mem_cgroup_disabled())
		return nr_pages;
	return __mem_cgroup_charge_netmem(pages, nr_pages, reserve);
}

static inline bool mem_cgroup_netmem_fits(unsigned int nr_pages,
					  unsigned long reserve)
{
	return mem_cgroup_disabled() ||
	       __mem_cgroup_netmem_fits(nr_pages, reserve);
}

static inline void mem_cgroup_uncharge_netmem(struct page *page,
					      struct netmem_uncharge *batch)
{
	if (netmem_page_is_charged(page))
		__mem_cgroup_uncharge_netmem(page, batch);
}

static inline void
mem_cgroup_uncharge_netmem_flush(struct netmem_uncharge *batch)
{
	if (batch->objcg)
		__mem_cgroup_uncharge_netmem_flush(batch);
}
#else
static inline unsigned int mem_cgroup_charge_netmem(struct page **pages,
						    unsigned int nr_pages,
						    unsigned long reserve)
{
	return nr_pages;
}

static inline bool mem_cgroup_netmem_fits(unsigned int nr_pages,
					  unsigned long reserve)
{
	return true;
}

static inline void mem_cgroup_uncharge_netmem(struct page *page,
					      struct netmem_uncharge *batch)
{
}

static inline void
mem_cgroup_uncharge_netmem_flush(struct netmem_uncharge *batch)
{
}

static inline unsigned long mem_cgroup_netmem_room(void)
{
	return 0;
}

static inline u64 mem_cgroup_netmem_id(struct page *page)
{
	return 0;
}
#endif

#endif /* _LINUX_MEMCG_NETMEM_H */

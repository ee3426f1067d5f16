/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _NET_PAGE_POOL_IDLE_H
#define _NET_PAGE_POOL_IDLE_H

#ifdef CONFIG_PAGE_POOL
void page_pool_drain_range(unsigned long start_pfn, unsigned long nr_pages);
#else
static inline void page_pool_drain_range(unsigned long start_pfn,
					 unsigned long nr_pages)
{
}
#endif

#endif /* _NET_PAGE_POOL_IDLE_H */

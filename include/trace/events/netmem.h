/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM netmem

#if !defined(_TRACE_NETMEM_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_NETMEM_H

#include <linux/memcg_netmem.h>
#include <linux/mm.h>
#include <linux/tracepoint.h>

#include <net/page_pool/types.h>

DECLARE_EVENT_CLASS(netmem_page,

	TP_PROTO(struct page *page),

	TP_ARGS(page),

	TP_STRUCT__entry(
		__field(u64,		cgroup)
		__field(u32,		pool_id)
		__field(unsigned int,	count)
		__field(unsigned long,	pfn)
	),

	TP_fast_assign(
		__entry->cgroup		= mem_cgroup_netmem_id(page);
		__entry->pool_id	= page_pool_page_id(page);
		__entry->count		= compound_nr(page);
		__entry->pfn		= page_to_pfn(page);
	),

	TP_printk("cgroup=%llu pool_id=%u pfn=0x%lx count=%u",
		  __entry->cgroup, __entry->pool_id, __entry->pfn,
		  __entry->count)
);

DEFINE_EVENT(netmem_page, netmem_charge,

	TP_PROTO(struct page *page),

	TP_ARGS(page)
);

DEFINE_EVENT(netmem_page, netmem_uncharge,

	TP_PROTO(struct page *page),

	TP_ARGS(page)
);

#endif /* _TRACE_NETMEM_H */

#include <trace/define_trace.h>

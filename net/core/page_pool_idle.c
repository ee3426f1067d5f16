// SPDX-License-Identifier: GPL-2.0
/*
 * Idle pages of page_pools: how many there are, and how they are given back.
 *
 * Only pages in rings count and are given back. The few in alloc.cache are their
 * driver's, which takes them without a lock.
 */

#include <linux/jiffies.h>
#include <linux/list.h>
#include <linux/mmzone.h>
#include <linux/ptr_ring.h>
#include <linux/rwsem.h>
#include <linux/shrinker.h>
#include <linux/swap.h>
#include <linux/vmstat.h>

#include <net/page_pool/idle.h>
#include <net/page_pool/types.h>
#include <net/xdp.h>

#include "page_pool_priv.h"

/*
 * Protects the list of pools whose rings others than their driver take from,
 * and by that the pools on it: whoever holds it for reading finds pools, and
 * devices that their pages are mapped for, alive. Held for writing to put a pool
 * on the list and to take it off. Outside the locks of the rings, inside all
 * that page_pool_create() and page_pool_destroy() are called with; nothing is
 * allocated under it, as those who reclaim memory wait for it.
 */
static DECLARE_RWSEM(page_pool_idle_rwsem);
static LIST_HEAD(page_pool_idle_list);

/**
 * page_pool_ring_count() - pages in the ring of a pool
 * @pool: any pool
 *
 * Context: Any. Who does not hold a lock of the ring gets what was true a moment
 * ago.
 * Return: pages of the pool's order.
 */
int page_pool_ring_count(const struct page_pool *pool)
{
	int head = READ_ONCE(pool->ring.consumer_head);
	int count = READ_ONCE(pool->ring.producer) - head;

	if (count < 0 || (!count && READ_ONCE(pool->ring.queue[head])))
		count += pool->ring.size;

	return count;
}

/* In page_pool::idle: a node, and how many pages it was told are idle there */
#define IDLE_COUNT_BITS		16
#define IDLE_COUNT_MASK		(BIT(IDLE_COUNT_BITS) - 1)
static_assert(PP_RING_SIZE_MAX <= IDLE_COUNT_MASK);

static void page_pool_mod_idle(const struct page_pool *pool, u32 idle, int sign)
{
	long nr = idle & IDLE_COUNT_MASK;

	if (nr)
		mod_node_page_state(NODE_DATA(idle >> IDLE_COUNT_BITS),
				    NR_PAGE_POOL_CACHED,
				    sign * (nr << pool->p.order));
}

static void page_pool_set_idle(struct page_pool *pool, u32 idle)
{
	int delta;
	u32 old;

	old = xchg(&pool->idle, idle);
	if (likely(old >> IDLE_COUNT_BITS == idle >> IDLE_COUNT_BITS)) {
		delta = idle - old;
		if (delta)
			mod_node_page_state(NODE_DATA(idle >> IDLE_COUNT_BITS),
					    NR_PAGE_POOL_CACHED,
					    delta * (1L << pool->p.order));
		return;
	}

	/* The pool went on with pages of another node */
	page_pool_mod_idle(pool, old, -1);
	page_pool_mod_idle(pool, idle, 1);
}

/**
 * page_pool_count_idle() - bring NR_PAGE_POOL_CACHED up to date
 * @pool: a pool that cannot go away meanwhile
 *
 * For every batch of pages that went into the ring or came out of it. Pages of
 * another node than that of the last new page count for that node as well. They
 * are few: refill frees them.
 *
 * Context: Any but NMI.
 */
void page_pool_count_idle(struct page_pool *pool)
{
	int count, nid = READ_ONCE(pool->page_nid);

	/* No page ever: a memory provider's */
	if (nid == NUMA_NO_NODE)
		return;

	/*
	 * Producer and consumer may be here at a time, and who looked first may
	 * write last. The xchg orders the write before the second look.
	 */
	do {
		count = page_pool_ring_count(pool);
		page_pool_set_idle(pool, nid << IDLE_COUNT_BITS | count);
	} while (abs(page_pool_ring_count(pool) - count) >=
		 PP_ALLOC_CACHE_REFILL);
}

/**
 * page_pool_forget_idle() - take a pool that is freed next off the counter
 * @pool: a pool without pages
 */
void page_pool_forget_idle(struct page_pool *pool)
{
	page_pool_mod_idle(pool, xchg(&pool->idle, 0), -1);
}

/**
 * page_pool_allow_shrink() - let others take idle pages of a pool
 * @pool: a new pool
 *
 * Pools of memory providers are left alone: their memory is not the page
 * allocator's.
 *
 * Context: Process context.
 */
void page_pool_allow_shrink(struct page_pool *pool)
{
	if (pool->mp_ops)
		return;

	down_write(&page_pool_idle_rwsem);
	list_add_tail(&pool->idle_list, &page_pool_idle_list);
	up_write(&page_pool_idle_rwsem);
}

/**
 * page_pool_forbid_shrink() - end page_pool_allow_shrink()
 * @pool: a pool that is shut down
 *
 * Context: Process context. Waits for those who take from the pool just now.
 */
void page_pool_forbid_shrink(struct page_pool *pool)
{
	if (pool->mp_ops)
		return;

	down_write(&page_pool_idle_rwsem);
	list_del(&pool->idle_list);
	up_write(&page_pool_idle_rwsem);
}

/*
 * The pool on node @nid that was not used for the longest time. Refill writes
 * last_used with no lock: a pool that is used right now may be taken for idle.
 */
static struct page_pool *page_pool_coldest(int nid)
{
	struct page_pool *pool, *coldest = NULL;

	list_for_each_entry(pool, &page_pool_idle_list, idle_list) {
		u32 idle = READ_ONCE(pool->idle);

		if (!(idle & IDLE_COUNT_MASK) || idle >> IDLE_COUNT_BITS != nid)
			continue;
		if (!coldest || time_before(READ_ONCE(pool->last_used),
					    READ_ONCE(coldest->last_used)))
			coldest = pool;
	}

	return coldest;
}

/* Returns pages of any order; @nr is rounded up to what the pool has. */
static unsigned long page_pool_shrink(struct page_pool *pool, unsigned long nr)
{
	unsigned int order = pool->p.order;
	void *bulk[XDP_BULK_QUEUE_SIZE];
	unsigned long freed = 0;
	int i, want, got;

	do {
		want = min(DIV_ROUND_UP(nr - freed, 1UL << order),
			   ARRAY_SIZE(bulk));
		got = ptr_ring_consume_batched_bh(&pool->ring, bulk, want);
		for (i = 0; i < got; i++)
			page_pool_return_netmem(pool,
						(__force netmem_ref)bulk[i],
						PP_RELEASE_SHRUNK);
		freed += (unsigned long)got << order;
	} while (got == want && freed < nr);

	page_pool_count_idle(pool);

	return freed;
}

static unsigned long page_pool_shrink_count(struct shrinker *shrinker,
					    struct shrink_control *sc)
{
	return node_page_state(NODE_DATA(sc->nid), NR_PAGE_POOL_CACHED) ?:
	       SHRINK_EMPTY;
}

static unsigned long page_pool_shrink_scan(struct shrinker *shrinker,
					   struct shrink_control *sc)
{
	unsigned long freed = 0;
	struct page_pool *pool;

	down_read(&page_pool_idle_rwsem);
	while (freed < sc->nr_to_scan) {
		pool = page_pool_coldest(sc->nid);
		if (!pool)
			break;
		freed += page_pool_shrink(pool, sc->nr_to_scan - freed);
	}
	up_read(&page_pool_idle_rwsem);

	/* Reclaim would take it for no progress otherwise */
	mm_account_reclaimed_pages(freed);

	return freed ?: SHRINK_STOP;
}

#ifdef CONFIG_MEMORY_HOTREMOVE
static void page_pool_drain_ring(struct page_pool *pool, unsigned long start,
				 unsigned long end)
{
	unsigned long nr = 1UL << pool->p.order;
	int i, got, left = page_pool_ring_count(pool);
	void *bulk[XDP_BULK_QUEUE_SIZE];

	for (; left > 0; left -= got) {
		got = ptr_ring_consume_batched_bh(&pool->ring, bulk,
						  min(left, ARRAY_SIZE(bulk)));
		if (!got)
			break;
		for (i = 0; i < got; i++) {
			netmem_ref netmem = (__force netmem_ref)bulk[i];
			unsigned long pfn = netmem_pfn_trace(netmem);

			if (pfn < end && pfn + nr > start)
				page_pool_return_netmem(pool, netmem,
							PP_RELEASE_OFFLINE);
			else if (ptr_ring_produce_bh(&pool->ring, bulk[i]))
				page_pool_return_netmem(pool, netmem,
							PP_RELEASE_RING_FULL);
		}
	}

	page_pool_count_idle(pool);
}

/**
 * page_pool_drain_range() - free idle pages of a range that goes offline
 * @start_pfn: first page of the range
 * @nr_pages: pages in the range
 *
 * Context: Process context.
 */
void page_pool_drain_range(unsigned long start_pfn, unsigned long nr_pages)
{
	struct page_pool *pool;

	down_read(&page_pool_idle_rwsem);
	list_for_each_entry(pool, &page_pool_idle_list, idle_list)
		page_pool_drain_ring(pool, start_pfn, start_pfn + nr_pages);
	up_read(&page_pool_idle_rwsem);
}
#endif

static int __init page_pool_idle_init(void)
{
	struct shrinker *shrinker;

	shrinker = shrinker_alloc(SHRINKER_NUMA_AWARE, "page_pool");
	if (!shrinker)
		return -ENOMEM;

	shrinker->count_objects = page_pool_shrink_count;
	shrinker->scan_objects = page_pool_shrink_scan;
	shrinker_register(shrinker);

	return 0;
}
subsys_initcall(page_pool_idle_init);

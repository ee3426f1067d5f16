// SPDX-License-Identifier: GPL-2.0
/*
 * Idle pages of page_pools: how many there are, and how they are given back.
 *
 * Only pages in rings count and are given back. The few in alloc.cache are their
 * driver's, which takes them without a lock.
 */

#include <linux/bottom_half.h>
#include <linux/jiffies.h>
#include <linux/list.h>
#include <linux/mmzone.h>
#include <linux/ptr_ring.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
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
 * that page_pool_create() and page_pool_destroy() are called with, for which
 * reclaim must not wait: it only tries. Nothing is allocated under it.
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

/*
 * @nr pages more are counted as idle. The node's counter is the sum of what its
 * pools have in @idle, which is changed under a lock of the ring; idle_nid under
 * both.
 */
static void page_pool_mod_idle(struct page_pool *pool, int nr)
{
	/* Of a memory provider's pool it has no page ever */
	if (nr && pool->idle_nid != NUMA_NO_NODE)
		mod_node_page_state(NODE_DATA(pool->idle_nid),
				    NR_PAGE_POOL_CACHED,
				    nr * (1L << pool->p.order));
}

static void page_pool_set_idle(struct page_pool *pool, int count)
{
	page_pool_mod_idle(pool, count - atomic_xchg(&pool->idle, count));
}

/**
 * page_pool_count_idle() - count what went into the ring
 * @pool: a pool that cannot go away meanwhile
 *
 * Called for every batch of pages. Pages of another node than that of the newest
 * page count for that one, too, until refill finds and frees them one by one.
 *
 * What is taken from the ring meanwhile may be seen by either side, or both: the
 * count is looked at afresh with the next batch, or by who finds the ring empty.
 *
 * Context: Any but NMI. The ring's producer lock is held.
 */
void page_pool_count_idle(struct page_pool *pool)
{
	int count = page_pool_ring_count(pool);

	/* A full ring looks empty while its consumer is about to move on */
	if (count)
		page_pool_set_idle(pool, count);
}

/**
 * page_pool_uncount_idle() - count what came out of the ring
 * @pool: a pool that cannot go away meanwhile
 * @nr: pages of the pool's order
 *
 * Some of them may not have been counted yet.
 *
 * Context: Any but NMI. The ring's consumer lock is held.
 */
void page_pool_uncount_idle(struct page_pool *pool, int nr)
{
	int idle = atomic_read(&pool->idle);

	do {
		nr = min(nr, idle);
	} while (!atomic_try_cmpxchg(&pool->idle, &idle, idle - nr));

	page_pool_mod_idle(pool, -nr);
}

/* In the order that ptr_ring has for its locks */
static void page_pool_lock_ring(struct page_pool *pool)
	__acquires(&pool->ring.consumer_lock)
	__acquires(&pool->ring.producer_lock)
{
	local_bh_disable();
	spin_lock(&pool->ring.consumer_lock);
	spin_lock(&pool->ring.producer_lock);
}

static void page_pool_unlock_ring(struct page_pool *pool)
	__releases(&pool->ring.producer_lock)
	__releases(&pool->ring.consumer_lock)
{
	spin_unlock(&pool->ring.producer_lock);
	spin_unlock(&pool->ring.consumer_lock);
	local_bh_enable();
}

/**
 * page_pool_recount_idle() - count what is in the ring, exactly
 * @pool: a pool that cannot go away meanwhile
 *
 * Context: Process context.
 */
void page_pool_recount_idle(struct page_pool *pool)
{
	page_pool_lock_ring(pool);
	page_pool_set_idle(pool, page_pool_ring_count(pool));
	page_pool_unlock_ring(pool);
}

/**
 * page_pool_move_idle() - count idle pages for another node
 * @pool: a pool
 * @nid: node of its newest page
 *
 * Context: Process or softirq context, that of the pool's driver. Locks of the
 * ring are not held.
 */
void page_pool_move_idle(struct page_pool *pool, int nid)
{
	int nr;

	page_pool_lock_ring(pool);
	nr = atomic_read(&pool->idle);
	page_pool_mod_idle(pool, -nr);
	WRITE_ONCE(pool->idle_nid, nid);
	page_pool_mod_idle(pool, nr);
	page_pool_unlock_ring(pool);
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
		if (!atomic_read(&pool->idle) ||
		    READ_ONCE(pool->idle_nid) != nid)
			continue;
		if (!coldest || time_before(READ_ONCE(pool->last_used),
					    READ_ONCE(coldest->last_used)))
			coldest = pool;
	}

	return coldest;
}

static int page_pool_take(struct page_pool *pool, void **bulk, int nr)
{
	spin_lock_bh(&pool->ring.consumer_lock);
	nr = __ptr_ring_consume_batched(&pool->ring, bulk, nr);
	page_pool_uncount_idle(pool, nr);
	spin_unlock_bh(&pool->ring.consumer_lock);

	return nr;
}

/* Frees @nr pages, or all that are idle; says how many. */
static unsigned long page_pool_shrink(struct page_pool *pool, unsigned long nr)
{
	unsigned int order = pool->p.order;
	void *bulk[XDP_BULK_QUEUE_SIZE];
	unsigned long freed = 0;
	int i, want, got;

	do {
		want = min_t(unsigned long, ((nr - freed - 1) >> order) + 1,
			     ARRAY_SIZE(bulk));
		got = page_pool_take(pool, bulk, want);
		for (i = 0; i < got; i++)
			page_pool_return_netmem(pool,
						(__force netmem_ref)bulk[i],
						PP_RELEASE_SHRUNK);
		freed += (unsigned long)got << order;
	} while (got == want && freed < nr);

	/* Empty, so it is not to be chosen again */
	if (got < want)
		page_pool_recount_idle(pool);

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

	while (freed < sc->nr_to_scan) {
		if (!down_read_trylock(&page_pool_idle_rwsem))
			break;
		pool = page_pool_coldest(sc->nid);
		if (pool)
			freed += page_pool_shrink(pool, sc->nr_to_scan - freed);
		up_read(&page_pool_idle_rwsem);
		if (!pool)
			break;
		cond_resched();
	}
	sc->nr_scanned = freed;

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
		got = page_pool_take(pool, bulk,
				     min_t(int, left, ARRAY_SIZE(bulk)));
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

	page_pool_recount_idle(pool);
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
	list_for_each_entry(pool, &page_pool_idle_list, idle_list) {
		page_pool_drain_ring(pool, start_pfn, start_pfn + nr_pages);
		cond_resched();
	}
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

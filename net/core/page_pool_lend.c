// SPDX-License-Identifier: GPL-2.0
/*
 * Lent pages of page_pools, and their way home. For the states of a page see
 * include/net/page_pool/lend.h.
 */

#include <linux/folio_batch.h>
#include <linux/interrupt.h>
#include <linux/llist.h>
#include <linux/memcg_netmem.h>
#include <linux/mm.h>
#include <linux/mmdebug.h>
#include <linux/page-flags.h>
#include <linux/percpu.h>
#include <linux/ratelimit.h>
#include <linux/rcupdate.h>
#include <linux/workqueue.h>

#include <net/page_pool/lend.h>
#include <net/page_pool/memory_provider.h>

#include <trace/events/page_pool.h>

#include "page_pool_priv.h"
#include "page_pool_stub.h"

/*
 * Pages whose last reference went where the pool's locks, which are of softirq
 * level, cannot be taken: in hardirq or with interrupts disabled.
 * @list: llist of pages, by their _pp_mapping_pad
 * @work: puts them from softirq, of the same CPU unless that goes offline
 */
struct page_pool_deferred {
	struct llist_head list;
	struct work_struct work;
};

static DEFINE_PER_CPU(struct page_pool_deferred, page_pool_deferred);

/* What user space leaves behind on a page: what freeing it would clear, but for
 * the lock, which someone who looks at pages by their pfn may take just now.
 */
#define PP_STRAY_FLAGS	(PAGE_FLAGS_CHECK_AT_PREP & \
			 ~(BIT(PG_network) | BIT(PG_head) | BIT(PG_locked) | \
			   BIT(PG_waiters)))

/* Atomic, as memory_failure() may mark a page that nobody holds. */
static void page_pool_clear_stray_flags(struct page *page)
{
	if (unlikely(READ_ONCE(page->flags.f) & PP_STRAY_FLAGS))
		set_mask_bits(&page->flags.f, PP_STRAY_FLAGS, 0);
}

static void page_pool_uncharge(struct page *page)
{
	struct netmem_uncharge batch = {};

	mem_cgroup_uncharge_netmem(page, &batch);
	mem_cgroup_uncharge_netmem_flush(&batch);
	page_pool_clear_stray_flags(page);
}

/**
 * page_pool_lend() - leave a page that others hold too to them
 * @pool: pool of the page
 * @netmem: page whose last pp_ref_count went to the caller
 *
 * If nobody else holds the page any more, all that is done is to end the charge
 * of a user who unmapped the page before the stack was done with it.
 *
 * Context: Process or softirq context.
 * Return: true if @netmem was lent. It may be gone already, and so may @pool be
 * if it was shut down. Otherwise it is still the caller's, and not charged.
 */
bool page_pool_lend(struct page_pool *pool, netmem_ref netmem)
{
	struct page_pool_stub *stub = pool->stub;
	struct folio *folio;

	if (netmem_is_net_iov(netmem))
		return false;

	folio = page_folio(netmem_to_page(netmem));
	if (atomic_read_acquire(&folio->_refcount) == 1) {
		/*
		 * Exclusive: whoever had it charged does not hold it any more.
		 * Acquire, to see what they did before they dropped it.
		 */
		if (netmem_page_is_charged(&folio->page))
			page_pool_uncharge(&folio->page);
		return false;
	}

	/* See PP_FLAG_NO_LEND. Such pages are never charged. */
	if (!stub)
		return false;

	trace_page_pool_lend(pool, &folio->page);
	/* Bounce buffers are few, and others need them meanwhile */
	if (unlikely(pool->dma_bounce))
		__page_pool_unmap_netmem_dma(pool, netmem);

	atomic_inc(&stub->nr_refs);
	WRITE_ONCE(netmem_to_nmdesc(netmem)->pp, stub_to_pp(stub));
	/*
	 * Ordered before the put by its full barrier. page_pool_take_home()
	 * reads it after the put, this or another, that made the refcount zero.
	 */
	atomic_long_set(netmem_get_pp_ref_count_ref(netmem), 0);
	/*
	 * Not inflight any more, so the pool may be gone from here on. Release,
	 * for page_pool_page_id() not to find it on the page then.
	 */
	atomic_fetch_inc_release(&pool->pages_state_release_cnt);
	folio_put(folio);

	return true;
}

/*
 * Somebody dropped a reference that was not theirs. The page may be in use, so
 * it is neither freed nor recycled.
 */
static void page_pool_report_leak(struct page *page)
{
	static DEFINE_RATELIMIT_STATE(limit, 60 * HZ, 60);

	if (__ratelimit(&limit)) {
		pr_alert("BUG: Bad page state in process %s  pfn:%05lx\n",
			 current->comm, page_to_pfn(page));
		dump_page(page, "page_pool leak");
		dump_stack();
	}
	add_taint(TAINT_BAD_PAGE, LOCKDEP_NOW_UNRELIABLE);
}

/* What the ring must not get */
static bool page_pool_may_recycle(const struct page_pool *pool,
				  struct folio *folio)
{
	int nid;

	/* Stale at worst: the release worker empties the ring again */
	if (unlikely(data_race(pool->destroy_cnt)) || pool->dma_bounce)
		return false;

	if (unlikely(page_pool_page_is_poisoned(&folio->page) ||
		     folio->page.pp_magic & PP_MAGIC_PFMEMALLOC))
		return false;

	/* Written by NAPI; refill looks again */
	nid = READ_ONCE(pool->p.nid);
	return nid == NUMA_NO_NODE || nid == folio_nid(folio);
}

/* Why it was that page_pool_may_recycle() said no */
static enum page_pool_release_reason
page_pool_why_refused(const struct page_pool *pool, struct folio *folio)
{
	if (data_race(pool->destroy_cnt))
		return PP_RELEASE_DESTROYED;
	if (pool->dma_bounce)
		return PP_RELEASE_BOUNCE;
	if (page_pool_page_is_poisoned(&folio->page))
		return PP_RELEASE_HWPOISON;

	return folio->page.pp_magic & PP_MAGIC_PFMEMALLOC ?
	       PP_RELEASE_PFMEMALLOC : PP_RELEASE_NODE;
}

/*
 * Pages of one pool on their way home.
 * @stub: what they know of the pool
 * @pool: the pool, NULL if they go to the page allocator instead
 * @recyclable: those that go into the ring
 * @nr_pages: pages since the last flush, recyclable or not
 * @uncharge: their charges, whatever the pool
 */
struct page_pool_homecoming {
	struct page_pool_stub *stub;
	struct page_pool *pool;
	struct llist_node *recyclable;
	unsigned int nr_pages;
	struct netmem_uncharge uncharge;
};

/* The references to the stub go last: they say that the pool is in use. */
static void page_pool_flush_home(struct page_pool_homecoming *home)
{
	if (home->pool) {
		atomic_sub(home->nr_pages,
			   &home->pool->pages_state_release_cnt);
		if (home->recyclable)
			page_pool_recycle_list(home->pool, home->recyclable);
	}
	page_pool_stub_put(home->stub, home->nr_pages);
	home->nr_pages = 0;
	home->recyclable = NULL;
}

/* No more at once than come at once: the ring is locked meanwhile. */
static void page_pool_begin_home(struct page_pool_homecoming *home,
				 struct page_pool_stub *stub)
{
	if (likely(home->stub == stub && home->nr_pages < FOLIO_BATCH_SIZE))
		return;

	if (home->nr_pages)
		page_pool_flush_home(home);
	home->stub = stub;
	home->pool = rcu_dereference(stub->pool);
}

/* The pool, or its provider, unmapped it when it was shut down. */
static void page_pool_free_homeless(struct page_pool_stub *stub,
				    struct page *page)
{
	netmem_ref netmem = page_to_netmem(page);

	trace_page_pool_homeless(page);
	if (unlikely(stub->mp_ops)) {
		page_ref_unfreeze(page, 1);
		stub->mp_ops->release_netmem(NULL, netmem);
		return;
	}

	if (PP_DMA_INDEX_BITS)
		netmem_set_dma_index(netmem, 0);
	page_pool_set_dma_addr_netmem(netmem, 0);
	page_pool_clear_pp_info(netmem);
	page_ref_unfreeze(page, 1);
	put_page(page);
}

/*
 * From "last put" to "in use", in which page_pool_return_netmem() takes a page, or
 * to "cached": the two differ in who holds it only.
 */
static void page_pool_take_home(struct page_pool_homecoming *home,
				struct page *page)
{
	struct netmem_desc *desc = pp_page_to_nmdesc(page);
	struct folio *folio = (struct folio *)page;
	bool recyclable;

	/* Pairs with the put in page_pool_lend() */
	if (unlikely(atomic_long_read(&desc->pp_ref_count) ||
		     !pp_is_stub(desc->pp))) {
		desc->_pp_mapping_pad = 0;
		page_pool_report_leak(page);
		return;
	}

	page_pool_begin_home(home, pp_to_stub(desc->pp));
	home->nr_pages++;

	/* Whether the ring has room shows only later */
	recyclable = home->pool && page_pool_may_recycle(home->pool, folio);
	trace_page_pool_return(page, recyclable);
	mem_cgroup_uncharge_netmem(page, &home->uncharge);
	page_pool_clear_stray_flags(page);

	if (likely(recyclable)) {
		WRITE_ONCE(desc->pp, home->pool);
		atomic_long_set(&desc->pp_ref_count, 1);
		netmem_gather(folio, &home->recyclable);
		return;
	}

	desc->_pp_mapping_pad = 0;
	if (!home->pool) {
		page_pool_free_homeless(home->stub, page);
		return;
	}
	WRITE_ONCE(desc->pp, home->pool);
	atomic_long_set(&desc->pp_ref_count, 1);
	page_ref_unfreeze(page, 1);
	page_pool_return_netmem(home->pool, page_to_netmem(page),
				page_pool_why_refused(home->pool, folio));
}

static void page_pool_put_home(struct llist_node *node)
{
	struct page_pool_homecoming home = {};

	/* A pool waits for this before it goes, see page_pool_disown_lent() */
	rcu_read_lock();
	while (node) {
		struct page *page = netmem_gathered(node);

		node = node->next;
		page_pool_take_home(&home, page);
	}
	if (home.nr_pages)
		page_pool_flush_home(&home);
	rcu_read_unlock();

	mem_cgroup_uncharge_netmem_flush(&home.uncharge);
}

static void page_pool_deferred_work(struct work_struct *work)
{
	struct page_pool_deferred *deferred;

	deferred = container_of(work, struct page_pool_deferred, work);
	page_pool_put_home(llist_del_all(&deferred->list));
}

/* Interrupts are off: no other CPU, and nobody on this one, gets in between. */
static void page_pool_defer(struct llist_node *first)
{
	struct page_pool_deferred *deferred = this_cpu_ptr(&page_pool_deferred);
	struct llist_node *last = first;

	while (last->next)
		last = last->next;

	if (llist_add_batch(first, last, &deferred->list))
		queue_work_on(smp_processor_id(), system_bh_wq,
			      &deferred->work);
}

/**
 * page_pool_put_last() - the destructor of page_pool pages
 * @list: folios gathered by netmem_gather(), of any pools
 *
 * Ends the charges of the folios, and recycles them to their pools or frees
 * them.
 *
 * Context: Any but NMI. Does not sleep. In hardirq or with interrupts disabled
 * the work is left to softirq of this CPU.
 */
void page_pool_put_last(struct llist_node *list)
{
	if (unlikely(in_hardirq() || irqs_disabled()))
		page_pool_defer(list);
	else
		page_pool_put_home(list);
}

/* The single folio of folio_put_netmem() */
void __folio_put_netmem(struct folio *folio)
{
	struct llist_node *list = NULL;

	netmem_gather(folio, &list);
	page_pool_put_last(list);
}

static int __init page_pool_lend_init(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		struct page_pool_deferred *deferred;

		deferred = per_cpu_ptr(&page_pool_deferred, cpu);
		init_llist_head(&deferred->list);
		INIT_WORK(&deferred->work, page_pool_deferred_work);
	}

	return 0;
}
core_initcall(page_pool_lend_init);

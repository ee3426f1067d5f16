// SPDX-License-Identifier: GPL-2.0
/*
 * What is left of a page_pool that was destroyed while pages were lent.
 */

#include <linux/netdevice.h>
#include <linux/slab.h>

#include <net/page_pool/types.h>

#include "page_pool_stub.h"

/**
 * page_pool_stub_create() - prepare a pool for lending
 * @pool: a new pool, which has no id yet
 *
 * Context: Process context.
 * Return: 0, or -ENOMEM.
 */
int page_pool_stub_create(struct page_pool *pool)
{
	struct page_pool_stub *stub;

	if (pool->no_lend)
		return 0;

	stub = kzalloc_node(sizeof(*stub), GFP_KERNEL, pool->p.nid);
	if (!stub)
		return -ENOMEM;

	RCU_INIT_POINTER(stub->pool, pool);
	atomic_set(&stub->nr_refs, 1);
	stub->order = pool->p.order;
	stub->mp_ops = pool->mp_ops;
	stub->mp_priv = pool->mp_priv;
	pool->stub = stub;

	return 0;
}

/**
 * page_pool_stub_set_id() - tell lent pages the id of their pool
 * @pool: a pool that did not hand out a page yet
 */
void page_pool_stub_set_id(struct page_pool *pool)
{
	if (pool->stub)
		pool->stub->id = pool->user.id;
}

/**
 * page_pool_stub_put() - drop references
 * @stub: the stub
 * @nr: number of references
 *
 * Context: Any.
 */
void page_pool_stub_put(struct page_pool_stub *stub, int nr)
{
	if (atomic_sub_and_test(nr, &stub->nr_refs))
		kfree_rcu(stub, rcu);
}

/**
 * page_pool_stub_release() - leave the stub to the pages that are still lent
 * @pool: a pool that is freed next
 */
void page_pool_stub_release(struct page_pool *pool)
{
	if (pool->stub)
		page_pool_stub_put(pool->stub, 1);
}

/**
 * page_pool_lent() - how many pages are lent
 * @pool: any pool
 *
 * Context: Any.
 * Return: pages (of the pool's order).
 */
unsigned int page_pool_lent(const struct page_pool *pool)
{
	return pool->stub ? atomic_read(&pool->stub->nr_refs) - 1 : 0;
}

/**
 * page_pool_disown_lent() - let lent pages go elsewhere than home
 * @pool: a pool that is shut down, its pages unmapped from the device
 *
 * From here on lent pages do not touch @pool: whoever holds them can no longer
 * delay its end. Those that are on their way home just now are waited for.
 * Does nothing the second time.
 *
 * Context: Process context, may sleep for a grace period of RCU.
 */
void page_pool_disown_lent(struct page_pool *pool)
{
	struct page_pool_stub *stub = pool->stub;

	if (!stub || !rcu_access_pointer(stub->pool))
		return;

	RCU_INIT_POINTER(stub->pool, NULL);
	/*
	 * Pairs with the full barrier of the put in page_pool_lend(): a page
	 * that is not counted here finds no pool. One that was, and is not any
	 * more, was done with the pool by then. Acquire, to see what it did
	 * there, pairs with page_pool_stub_put().
	 */
	smp_mb();
	if (atomic_read_acquire(&stub->nr_refs) > 1)
		synchronize_net();
}

/**
 * page_pool_page_id() - the id of the pool of a page
 * @page: page of a page_pool, in use or lent
 *
 * Context: Any.
 * Return: id of the pool, which may be gone.
 */
u32 page_pool_page_id(const struct page *page)
{
	struct page_pool *pp;

	/* The page may be lent, and its pool freed, meanwhile */
	guard(rcu)();
	pp = READ_ONCE(page->pp);

	return pp_is_stub(pp) ? pp_to_stub(pp)->id : pp->user.id;
}

/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _PAGE_POOL_STUB_H
#define _PAGE_POOL_STUB_H

#include <linux/atomic.h>
#include <linux/cache.h>
#include <linux/mm_types.h>
#include <linux/rcupdate.h>

struct memory_provider_ops;
struct page_pool;

/**
 * struct page_pool_stub - what the lent pages of a pool know of it
 * @pool: the pool, for who is under RCU and holds one of @nr_refs; NULL once it
 *	takes no page home any more
 * @nr_refs: one for the pool until it is freed, one for each lent page
 * @id: the pool's, for those who ask whose the pages are
 * @order: of its pages
 * @mp_ops: the pool's memory provider, to which pages return that outlive the
 *	pool; NULL if that is the page allocator
 * @mp_priv: the provider's own
 * @rcu: frees it, for those who look at pages that are not theirs
 *
 * All that whoever holds a lent page can keep alive. Lending and returning write
 * to it, so pools do not share cache lines.
 */
struct page_pool_stub {
	struct page_pool __rcu *pool;
	atomic_t nr_refs;
	u32 id;
	unsigned int order;
	const struct memory_provider_ops *mp_ops;
	void *mp_priv;
	struct rcu_head rcu;
} ____cacheline_aligned_in_smp;

/* Marks page::pp as a pointer to the stub: the page is lent */
#define PP_LENT		1UL

static inline struct page_pool_stub *pp_to_stub(const struct page_pool *pp)
{
	return (struct page_pool_stub *)((unsigned long)pp & ~PP_LENT);
}

static inline struct page_pool *stub_to_pp(const struct page_pool_stub *stub)
{
	return (struct page_pool *)((unsigned long)stub | PP_LENT);
}

static inline bool pp_is_stub(const struct page_pool *pp)
{
	return (unsigned long)pp & PP_LENT;
}

int page_pool_stub_create(struct page_pool *pool);
void page_pool_stub_set_id(struct page_pool *pool);
void page_pool_stub_put(struct page_pool_stub *stub, int nr);
void page_pool_stub_release(struct page_pool *pool);
unsigned int page_pool_lent(const struct page_pool *pool);
void page_pool_disown_lent(struct page_pool *pool);

#endif /* _PAGE_POOL_STUB_H */

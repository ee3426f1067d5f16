/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _NET_PAGE_POOL_LEND_H
#define _NET_PAGE_POOL_LEND_H

#include <linux/llist.h>
#include <linux/mm.h>

/**
 * DOC: lent pages
 *
 * A page of a page_pool that somebody outside still holds when the stack is
 * done with it is *lent*: the pool gives up its own reference, the page stays
 * the pool's. The mm hands it back, wherever its last reference goes, instead of
 * freeing it. Only then does the pool decide whether to recycle or to free it.
 *
 * ========= ======== ============ ===========================================
 * state     refcount pp_ref_count who holds the page
 * ========= ======== ============ ===========================================
 * cached    1        1            the pool: alloc.cache, ring, frag cache
 * in use    >= 1     >= 1         the driver and skbs
 * lent      >= 1     0            page tables, pipes, pins, bios: not the pool
 * last put  0        0            the destructor alone
 * ========= ======== ============ ===========================================
 *
 * A lent page does not keep its pool: it goes to the page allocator when it comes
 * back to a pool that was destroyed.
 *
 * A page that reaches a refcount of zero with a pp_ref_count lost a reference
 * that was the pool's. That is reported, and the page leaks.
 */

#ifdef CONFIG_PAGE_POOL
void page_pool_put_last(struct llist_node *list);
void __folio_put_netmem(struct folio *folio);

/**
 * netmem_gather() - keep a folio whose last reference is gone for its pool
 * @folio: a folio for which folio_is_netmem() holds, of refcount 0
 * @list: list that goes to page_pool_put_last() once it is complete
 *
 * Context: Any but NMI. Allows to put many folios with one call, and to do so
 * after the caller's locks were dropped.
 */
static inline void netmem_gather(struct folio *folio, struct llist_node **list)
{
	struct llist_node *node;

	/* Nobody else looks at ->mapping of a page without references */
	node = (struct llist_node *)&folio->page._pp_mapping_pad;
	node->next = *list;
	*list = node;
}

/**
 * netmem_gathered() - a page of a list
 * @node: entry of a list of netmem_gather()
 *
 * The entry is in the page: whoever takes the page off the list clears
 * page->_pp_mapping_pad, as a page of a pool has no mapping.
 *
 * Return: the page, of a larger folio its first one.
 */
static inline struct page *netmem_gathered(struct llist_node *node)
{
	return container_of((unsigned long *)node, struct page,
			    _pp_mapping_pad);
}

/**
 * folio_put_netmem() - give a folio whose last reference is gone to its pool
 * @folio: any folio of refcount 0
 *
 * Context: Any but NMI.
 * Return: true if @folio was a page_pool's and must not be freed.
 */
static inline bool folio_put_netmem(struct folio *folio)
{
	if (likely(!folio_is_netmem(folio)))
		return false;

	__folio_put_netmem(folio);
	return true;
}
#else
static inline void page_pool_put_last(struct llist_node *list)
{
}

static inline void netmem_gather(struct folio *folio, struct llist_node **list)
{
}

static inline bool folio_put_netmem(struct folio *folio)
{
	return false;
}
#endif

#endif /* _NET_PAGE_POOL_LEND_H */

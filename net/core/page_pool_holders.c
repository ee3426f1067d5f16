// SPDX-License-Identifier: GPL-2.0
/*
 * Who holds the lent pages of page_pools.
 *
 * A page says whose it is and who pays for it, so nobody keeps books of this,
 * and who asks has all pages of the machine looked at. Pools that were shut down
 * are found this way, too.
 */

#include <linux/hashtable.h>
#include <linux/list.h>
#include <linux/memblock.h>
#include <linux/memcg_netmem.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include <net/genetlink.h>
#include <net/page_pool/types.h>
#include <net/sock.h>

#include "netdev-genl-gen.h"
#include "page_pool_stub.h"

/*
 * What one cgroup holds of one pool.
 * @hash: in page_pool_holders::table
 * @list: in page_pool_holders::holders
 * @cgroup: id of the cgroup, 0 for pages that are not charged
 * @pages: pages, of the pool's order
 * @bytes: the same in bytes
 * @pool_id: id of the pool
 */
struct page_pool_holder {
	struct hlist_node hash;
	struct list_head list;
	u64 cgroup;
	u64 pages;
	u64 bytes;
	u32 pool_id;
};

/*
 * State of a dump.
 * @holders: what is still to be told
 * @table: the same by pool and cgroup
 */
struct page_pool_holders {
	struct list_head holders;
	DECLARE_HASHTABLE(table, 8);
};

static struct page_pool_holder *
page_pool_get_holder(struct page_pool_holders *all, u32 pool_id, u64 cgroup)
{
	u64 key = cgroup ^ ((u64)pool_id << 32);
	struct page_pool_holder *holder;

	hash_for_each_possible(all->table, holder, hash, key)
		if (holder->pool_id == pool_id && holder->cgroup == cgroup)
			return holder;

	holder = kzalloc_obj(*holder);
	if (!holder)
		return NULL;

	holder->pool_id = pool_id;
	holder->cgroup = cgroup;
	hash_add(all->table, &holder->hash, key);
	list_add_tail(&holder->list, &all->holders);

	return holder;
}

static bool page_is_netmem(const struct page *page)
{
	return READ_ONCE(page->flags.f) & BIT(PG_network) &&
	       page_pool_page_is_pp(page);
}

/*
 * The stub of a page that is lent, and the cgroup that pays for the page. No
 * reference is taken: it could make the page look shared to its pool. So all
 * of it has to be there still when the rest was read.
 */
static struct page_pool_stub *page_pool_look_at(struct page *page,
						u64 *cgroup)
{
	struct page_pool *pp;

	if (!page_is_netmem(page))
		return NULL;

	pp = READ_ONCE(page->pp);
	if (!pp_is_stub(pp))
		return NULL;

	*cgroup = mem_cgroup_netmem_id(page);
	/* In this order; pairs with the full barriers of allocator and refcount */
	smp_rmb();
	if (!page_is_netmem(page))
		return NULL;
	smp_rmb();
	if (READ_ONCE(page->pp) != pp)
		return NULL;

	return pp_to_stub(pp);
}

static int page_pool_note_holder(struct page_pool_holders *all,
				 struct page *page)
{
	struct page_pool_holder *holder;
	struct page_pool_stub *stub;
	unsigned int order;
	u32 pool_id;
	u64 cgroup;

	/* The page may be freed, the stub not before this */
	scoped_guard(rcu) {
		stub = page_pool_look_at(page, &cgroup);
		if (!stub)
			return 0;
		pool_id = stub->id;
		order = stub->order;
	}

	holder = page_pool_get_holder(all, pool_id, cgroup);
	if (!holder)
		return -ENOMEM;

	holder->pages++;
	holder->bytes += PAGE_SIZE << order;

	return 0;
}

static int page_pool_find_holders(struct page_pool_holders *all)
{
	unsigned long pfn, looked_at = 0;
	struct page *page;
	int err;

	for_each_valid_pfn(pfn, 0, max_pfn) {
		if (++looked_at % SZ_1K == 0) {
			if (fatal_signal_pending(current))
				return -EINTR;
			cond_resched();
		}
		page = pfn_to_online_page(pfn);
		if (!page)
			continue;
		err = page_pool_note_holder(all, page);
		if (err)
			return err;
	}

	return 0;
}

static void page_pool_free_holder(struct page_pool_holder *holder)
{
	hash_del(&holder->hash);
	list_del(&holder->list);
	kfree(holder);
}

static void page_pool_free_holders(struct page_pool_holders *all)
{
	struct page_pool_holder *holder, *next;

	list_for_each_entry_safe(holder, next, &all->holders, list)
		page_pool_free_holder(holder);
	kfree(all);
}

static int page_pool_nl_holder_fill(struct sk_buff *rsp,
				    const struct page_pool_holder *holder,
				    const struct genl_info *info)
{
	void *hdr;

	hdr = genlmsg_iput(rsp, info);
	if (!hdr)
		return -EMSGSIZE;

	if (nla_put_uint(rsp, NETDEV_A_PAGE_POOL_HOLDER_POOL_ID,
			 holder->pool_id) ||
	    (holder->cgroup &&
	     nla_put_uint(rsp, NETDEV_A_PAGE_POOL_HOLDER_CGROUP_ID,
			  holder->cgroup)) ||
	    nla_put_uint(rsp, NETDEV_A_PAGE_POOL_HOLDER_LENT, holder->pages) ||
	    nla_put_uint(rsp, NETDEV_A_PAGE_POOL_HOLDER_LENT_MEM,
			 holder->bytes)) {
		genlmsg_cancel(rsp, hdr);
		return -EMSGSIZE;
	}

	genlmsg_end(rsp, hdr);

	return 0;
}

int netdev_nl_page_pool_holder_get_start(struct netlink_callback *cb)
{
	struct page_pool_holders *all;
	int err;

	/* Pools and cgroups of all namespaces are told */
	if (!net_eq(sock_net(cb->skb->sk), &init_net))
		return -EPERM;

	all = kzalloc_obj(*all);
	if (!all)
		return -ENOMEM;

	INIT_LIST_HEAD(&all->holders);
	err = page_pool_find_holders(all);
	if (err) {
		page_pool_free_holders(all);
		return err;
	}

	*(struct page_pool_holders **)cb->ctx = all;

	return 0;
}

int netdev_nl_page_pool_holder_get_dumpit(struct sk_buff *skb,
					  struct netlink_callback *cb)
{
	struct page_pool_holders *all = *(struct page_pool_holders **)cb->ctx;
	struct page_pool_holder *holder, *next;
	int err;

	list_for_each_entry_safe(holder, next, &all->holders, list) {
		err = page_pool_nl_holder_fill(skb, holder,
					       genl_info_dump(cb));
		if (err)
			return err;
		page_pool_free_holder(holder);
	}

	return 0;
}

int netdev_nl_page_pool_holder_get_done(struct netlink_callback *cb)
{
	page_pool_free_holders(*(struct page_pool_holders **)cb->ctx);

	return 0;
}

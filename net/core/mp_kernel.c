// SPDX-License-Identifier: GPL-2.0
/*
 * Kernel memory as memory of a receive queue: bought in full, from the page
 * allocator, by the memory cgroup of who binds it to the queue, and the queue's
 * until it is unbound.
 *
 * The pages are ordinary ones: readable, and lent to those who map or splice
 * them, as those of any page pool. A page that is lent when its pool goes
 * returns here, for the queue's next pool, or is freed if nobody is bound any
 * more; its charge ends when it is freed, not before.
 */

#include <linux/dma-mapping.h>
#include <linux/idr.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/netdevice.h>
#include <linux/refcount.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/vmstat.h>
#include <linux/xarray.h>

#include <net/netdev_netlink.h>
#include <net/netdev_rx_queue.h>
#include <net/netlink.h>
#include <net/page_pool/helpers.h>
#include <net/page_pool/memory_provider.h>

#include <trace/events/page_pool.h>

#include <uapi/linux/netdev.h>

#include "mp_kernel.h"
#include "page_pool_priv.h"
#include "page_pool_stub.h"

#define MP_KERNEL_HUGE_ORDER	get_order(SZ_2M)
/* Reclaims, but kills nobody: who binds is told instead */
#define MP_KERNEL_GFP		(GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL | \
				 __GFP_NOWARN)
#define MP_KERNEL_DMA_ATTRS	(DMA_ATTR_SKIP_CPU_SYNC | \
				 DMA_ATTR_WEAK_ORDERING)

/**
 * struct mp_kernel_binding - memory that is bound to queues of a netdev
 * @list: of the netlink socket that it ends with, under the socket's lock
 * @id: what netlink calls it
 * @dev_lock: protects @dev from going away while it is looked at. Inside the
 *	socket's lock and the netdev's.
 * @dev: the netdev, NULL before it is bound, and once the netdev went away
 * @bound_rxqs: its queues, under its lock
 * @open: whether who is bound is one of @mappers still
 * @dma_dev: what the pages are mapped for
 * @owner: who pays
 * @refs: for who is bound, each pool, and each page that is not in @idle
 * @mappers: for who is bound, and each pool that was not shut down yet: the last
 *	one unmaps the pages
 * @lock: protects @idle, @nr_idle and @unmapped. Taken from any context but NMI,
 *	innermost.
 * @idle: stack of pages that no pool has
 * @nr_idle: number of pages there
 * @unmapped: the device cannot use the pages any more. Those that return are
 *	freed, and @idle is gone.
 * @order: of the pieces that are mapped
 * @nr_mapped: number of pieces, unchanging while there is a pool
 * @dma: their addresses
 */
struct mp_kernel_binding {
	struct list_head list;
	u32 id;
	struct mutex dev_lock;
	struct net_device *dev;
	struct xarray bound_rxqs;
	bool open;
	struct device *dma_dev;
	struct net_mp_owner owner;
	refcount_t refs;
	refcount_t mappers;

	spinlock_t lock;
	struct page **idle;
	unsigned int nr_idle;
	bool unmapped;

	unsigned int order;
	unsigned int nr_mapped;
	dma_addr_t *dma;
};

static DEFINE_IDA(mp_kernel_ids);

static const struct memory_provider_ops mp_kernel_ops;

static void mp_kernel_put(struct mp_kernel_binding *binding)
{
	if (!refcount_dec_and_test(&binding->refs))
		return;

	ida_free(&mp_kernel_ids, binding->id);
	net_mp_owner_exit(&binding->owner);
	mutex_destroy(&binding->dev_lock);
	kfree(binding);
}

/* Each is counted as PagePool, by us, and its charge ends by itself. */
static void mp_kernel_free(struct mp_kernel_binding *binding,
			   struct page **pages, unsigned int nr_pages)
{
	unsigned int i;

	for (i = 0; i < nr_pages; i++) {
		node_stat_sub_folio(page_folio(pages[i]), NR_PAGE_POOL);
		page_pool_set_dma_addr_netmem(page_to_netmem(pages[i]), 0);
		put_page(pages[i]);
	}
	net_mp_owner_sub(&binding->owner, nr_pages);
}

static void mp_kernel_unmap(struct mp_kernel_binding *binding)
{
	unsigned int i, nr;

	for (i = 0; i < binding->nr_mapped; i++) {
		dma_unmap_page_attrs(binding->dma_dev, binding->dma[i],
				     PAGE_SIZE << binding->order,
				     DMA_FROM_DEVICE, MP_KERNEL_DMA_ATTRS);
		cond_resched();
	}

	spin_lock_irq(&binding->lock);
	binding->unmapped = true;
	spin_unlock_irq(&binding->lock);

	for (i = 0; i < binding->nr_idle; i += nr) {
		nr = min(binding->nr_idle - i, SWAP_CLUSTER_MAX);
		mp_kernel_free(binding, binding->idle + i, nr);
		cond_resched();
	}
	kvfree(binding->idle);
	kvfree(binding->dma);
	put_device(binding->dma_dev);
}

static void mp_kernel_unmap_put(struct mp_kernel_binding *binding)
{
	if (refcount_dec_and_test(&binding->mappers))
		mp_kernel_unmap(binding);
}

/* A page that is broken goes: the page allocator sees to it. */
static void mp_kernel_take_back(struct mp_kernel_binding *binding,
				struct page *page)
{
	unsigned long flags;
	bool keep;

	node_stat_add_folio(page_folio(page), NR_PAGE_POOL);

	spin_lock_irqsave(&binding->lock, flags);
	keep = !binding->unmapped && !PageHWPoison(page);
	if (keep)
		binding->idle[binding->nr_idle++] = page;
	spin_unlock_irqrestore(&binding->lock, flags);

	if (!keep)
		mp_kernel_free(binding, &page, 1);
	mp_kernel_put(binding);
}

static unsigned int mp_kernel_take(struct mp_kernel_binding *binding,
				   netmem_ref *netmems, unsigned int nr)
{
	unsigned long flags;
	unsigned int i;

	spin_lock_irqsave(&binding->lock, flags);
	nr = min(nr, binding->nr_idle);
	for (i = 0; i < nr; i++)
		netmems[i] = page_to_netmem(binding->idle[--binding->nr_idle]);
	if (nr)
		refcount_add(nr, &binding->refs);
	spin_unlock_irqrestore(&binding->lock, flags);

	return nr;
}

/* Nobody told that a page broke while it was idle. */
static bool mp_kernel_drop_broken(struct mp_kernel_binding *binding,
				  struct page *page)
{
	if (likely(!PageHWPoison(page)))
		return false;

	mp_kernel_free(binding, &page, 1);
	mp_kernel_put(binding);
	return true;
}

static void mp_kernel_give(struct page_pool *pool, netmem_ref netmem)
{
	/* From here on the pool counts it */
	node_stat_sub_folio(page_folio(netmem_to_page(netmem)), NR_PAGE_POOL);
	page_pool_set_pp_info(pool, netmem);
	if (pool->dma_sync)
		dma_sync_single_range_for_device(pool->p.dev,
						 page_pool_get_dma_addr_netmem(netmem),
						 pool->p.offset, pool->p.max_len,
						 DMA_FROM_DEVICE);

	pool->pages_state_hold_cnt++;
	trace_page_pool_state_hold(pool, netmem, pool->pages_state_hold_cnt);
}

static netmem_ref mp_kernel_alloc_netmems(struct page_pool *pool, gfp_t gfp)
{
	struct mp_kernel_binding *binding = pool->mp_priv;
	netmem_ref *netmems = pool->alloc.cache;
	unsigned int i, nr, nr_taken;

	nr_taken = mp_kernel_take(binding, netmems, PP_ALLOC_CACHE_REFILL);
	for (i = 0, nr = 0; i < nr_taken; i++) {
		netmem_ref netmem = netmems[i];

		if (mp_kernel_drop_broken(binding, netmem_to_page(netmem)))
			continue;
		mp_kernel_give(pool, netmem);
		netmems[nr++] = netmem;
	}
	if (!nr)
		return 0;

	pool->alloc.count = nr - 1;
	return netmems[nr - 1];
}

static bool mp_kernel_release_netmem(struct page_pool *pool, netmem_ref netmem)
{
	struct page *page = netmem_to_page(netmem);
	struct mp_kernel_binding *binding;

	/* A pool that is gone did not keep us, but the page does */
	binding = pool ? pool->mp_priv : pp_to_stub(page->pp)->mp_priv;
	page_pool_clear_pp_info(netmem);
	mp_kernel_take_back(binding, page);

	return false;
}

static int mp_kernel_init(struct page_pool *pool)
{
	struct mp_kernel_binding *binding = pool->mp_priv;

	if (pool->p.order)
		return -E2BIG;
	/* A page that others hold must come back, see page_pool_lend() */
	if (pool->p.dma_dir != DMA_FROM_DEVICE || pool->no_lend)
		return -EOPNOTSUPP;
	if (pool->p.dev != binding->dma_dev)
		return -EINVAL;
	if (!refcount_inc_not_zero(&binding->mappers))
		return -ENODEV;

	refcount_inc(&binding->refs);
	return 0;
}

static void mp_kernel_scrub(struct page_pool *pool)
{
	if (pool->destroy_cnt == 1)
		mp_kernel_unmap_put(pool->mp_priv);
}

static void mp_kernel_destroy(struct page_pool *pool)
{
	/* Never handed out, nor scrubbed */
	if (!pool->destroy_cnt)
		mp_kernel_unmap_put(pool->mp_priv);
	mp_kernel_put(pool->mp_priv);
}

static int mp_kernel_nl_fill(void *mp_priv, struct sk_buff *rsp,
			     struct netdev_rx_queue *rxq)
{
	int type = rxq ? NETDEV_A_QUEUE_KERNEL : NETDEV_A_PAGE_POOL_KERNEL;
	struct mp_kernel_binding *binding = mp_priv;
	struct nlattr *nest;
	u64 idle;

	nest = nla_nest_start(rsp, type);
	if (!nest)
		return -EMSGSIZE;

	/* nr_idle does not say anything any more once they are freed */
	spin_lock_irq(&binding->lock);
	idle = binding->unmapped ? 0 : binding->nr_idle;
	spin_unlock_irq(&binding->lock);

	if (nla_put_u32(rsp, NETDEV_A_KERNEL_PROVIDER_INFO_ID, binding->id) ||
	    nla_put_uint(rsp, NETDEV_A_KERNEL_PROVIDER_INFO_IDLE_MEM,
			 idle << PAGE_SHIFT)) {
		nla_nest_cancel(rsp, nest);
		return -EMSGSIZE;
	}

	nla_nest_end(rsp, nest);
	return 0;
}

static const struct net_mp_owner *mp_kernel_owner(void *mp_priv)
{
	const struct mp_kernel_binding *binding = mp_priv;

	return &binding->owner;
}

/* Who is bound may go as soon as it finds that there is no netdev. */
static void mp_kernel_lose_dev(struct mp_kernel_binding *binding)
{
	refcount_inc(&binding->refs);
	mutex_lock(&binding->dev_lock);
	binding->open = false;
	binding->dev = NULL;
	mutex_unlock(&binding->dev_lock);
	mp_kernel_unmap_put(binding);
	mp_kernel_put(binding);
}

static void mp_kernel_uninstall(void *mp_priv, struct netdev_rx_queue *rxq)
{
	struct mp_kernel_binding *binding = mp_priv;
	struct netdev_rx_queue *bound_rxq;
	unsigned long i;

	xa_for_each(&binding->bound_rxqs, i, bound_rxq) {
		if (bound_rxq != rxq)
			continue;
		xa_erase(&binding->bound_rxqs, i);
		if (xa_empty(&binding->bound_rxqs))
			mp_kernel_lose_dev(binding);
		break;
	}
}

static const struct memory_provider_ops mp_kernel_ops = {
	.init			= mp_kernel_init,
	.destroy		= mp_kernel_destroy,
	.scrub			= mp_kernel_scrub,
	.alloc_netmems		= mp_kernel_alloc_netmems,
	.release_netmem		= mp_kernel_release_netmem,
	.nl_fill		= mp_kernel_nl_fill,
	.owner			= mp_kernel_owner,
	.uninstall		= mp_kernel_uninstall,
};

static int mp_kernel_add_piece(struct mp_kernel_binding *binding, int nid)
{
	struct page *page;
	unsigned int i;

	page = alloc_pages_node(nid, MP_KERNEL_GFP, binding->order);
	if (!page)
		return -ENOMEM;

	if (binding->order)
		split_page(page, binding->order);
	for (i = 0; i < 1U << binding->order; i++) {
		/* The page allocator clears that of the first page only */
		page[i].pp_magic = 0;
		node_stat_add_folio(page_folio(page + i), NR_PAGE_POOL);
		binding->idle[binding->nr_idle++] = page + i;
	}

	return 0;
}

static int mp_kernel_alloc_tables(struct mp_kernel_binding *binding,
				  unsigned int nr_pages)
{
	binding->idle = kvmalloc_array(nr_pages, sizeof(*binding->idle),
				       MP_KERNEL_GFP);
	binding->dma = kvmalloc_array(nr_pages >> binding->order,
				      sizeof(*binding->dma), MP_KERNEL_GFP);

	return binding->idle && binding->dma ? 0 : -ENOMEM;
}

static int mp_kernel_alloc(struct mp_kernel_binding *binding,
			   unsigned int nr_pages, int nid)
{
	int err;

	err = mp_kernel_alloc_tables(binding, nr_pages);
	while (!err && binding->nr_idle < nr_pages) {
		if (fatal_signal_pending(current))
			return -EINTR;
		err = mp_kernel_add_piece(binding, nid);
		cond_resched();
	}

	return err;
}

static int mp_kernel_map_piece(struct mp_kernel_binding *binding,
			       struct page *page)
{
	unsigned int i;
	dma_addr_t dma;

	dma = dma_map_page_attrs(binding->dma_dev, page, 0,
				 PAGE_SIZE << binding->order, DMA_FROM_DEVICE,
				 MP_KERNEL_DMA_ATTRS);
	if (dma_mapping_error(binding->dma_dev, dma))
		return -ENOMEM;
	binding->dma[binding->nr_mapped++] = dma;

	for (i = 0; i < 1U << binding->order; i++) {
		netmem_ref netmem = page_to_netmem(page + i);

		if (page_pool_set_dma_addr_netmem(netmem,
						  dma + i * PAGE_SIZE))
			return -EFAULT;
	}

	return 0;
}

static struct mp_kernel_binding *mp_kernel_create(bool huge)
{
	struct mp_kernel_binding *binding;
	int id;

	binding = kzalloc_obj(*binding, GFP_KERNEL_ACCOUNT);
	if (!binding)
		return NULL;

	id = ida_alloc_min(&mp_kernel_ids, 1, GFP_KERNEL);
	if (id < 0) {
		kfree(binding);
		return NULL;
	}

	binding->id = id;
	binding->open = true;
	binding->order = huge ? MP_KERNEL_HUGE_ORDER : 0;
	mutex_init(&binding->dev_lock);
	spin_lock_init(&binding->lock);
	xa_init_flags(&binding->bound_rxqs, XA_FLAGS_ALLOC);
	refcount_set(&binding->refs, 1);
	refcount_set(&binding->mappers, 1);
	net_mp_owner_init(&binding->owner);

	return binding;
}

/**
 * mp_kernel_buy() - get memory that queues can be bound to
 * @size: bytes, a multiple of the page size, with @huge of 2 MiB
 * @huge: allocate, and map for the device, 2 MiB at a time
 * @nid: preferred node
 * @extack: where the reason of an error goes
 *
 * The memory is charged to current's cgroup, all of it, until it is freed.
 *
 * Context: Process context, without locks: it may take long, and reclaim.
 * Return: the memory, to be given to mp_kernel_unbind() in the end, or an
 * ERR_PTR: -ENOMEM if it cannot be had or paid for, -EINTR if current was
 * killed.
 */
struct mp_kernel_binding *mp_kernel_buy(u64 size, bool huge, int nid,
					struct netlink_ext_ack *extack)
{
	unsigned int nr_pages = size >> PAGE_SHIFT;
	struct mp_kernel_binding *binding;
	int err;

	if (!net_mp_owner_can_pay(nr_pages)) {
		NL_SET_ERR_MSG(extack, "the memory cgroup has no room for this much memory");
		return ERR_PTR(-ENOMEM);
	}
	/* Do not have others killed for what cannot be had anyway */
	if (nr_pages > si_mem_available()) {
		NL_SET_ERR_MSG(extack, "the machine has not this much memory available");
		return ERR_PTR(-ENOMEM);
	}

	binding = mp_kernel_create(huge);
	if (!binding)
		return ERR_PTR(-ENOMEM);

	net_mp_owner_add(&binding->owner, nr_pages);
	err = mp_kernel_alloc(binding, nr_pages, nid);
	if (err) {
		NL_SET_ERR_MSG(extack, "not enough memory, or not in pieces of this size");
		mp_kernel_unbind(binding);
		return ERR_PTR(err);
	}

	return binding;
}

/**
 * mp_kernel_map() - map memory for queues of a netdev
 * @binding: the memory, in no queue yet
 * @dev: the netdev
 * @dma_dev: device that its queues use for DMA
 * @extack: where the reason of an error goes
 *
 * Context: Process context, @dev is locked.
 * Return: 0, -ENOMEM if the memory cannot be mapped, or -EFAULT if the device's
 * addresses of it cannot be stored.
 */
int mp_kernel_map(struct mp_kernel_binding *binding, struct net_device *dev,
		  struct device *dma_dev, struct netlink_ext_ack *extack)
{
	unsigned int i;
	int err;

	binding->dev = dev;
	binding->dma_dev = get_device(dma_dev);
	for (i = 0; i < binding->nr_idle; i += 1U << binding->order) {
		err = mp_kernel_map_piece(binding, binding->idle[i]);
		if (err) {
			NL_SET_ERR_MSG(extack, "the device cannot map the memory");
			return err;
		}
		cond_resched();
	}

	return 0;
}

/**
 * mp_kernel_bind_queue() - let a queue receive into memory
 * @binding: the memory, mapped
 * @rxq_idx: index of the queue
 * @extack: where the reason of an error goes
 *
 * Context: Process context, the netdev is locked.
 * Return: 0, or a negative error code of netif_mp_open_rxq(): the queue is as it
 * was then.
 */
int mp_kernel_bind_queue(struct mp_kernel_binding *binding, u32 rxq_idx,
			 struct netlink_ext_ack *extack)
{
	const struct pp_memory_provider_params params = {
		.mp_priv = binding,
		.mp_ops = &mp_kernel_ops,
	};
	struct net_device *dev = binding->dev;
	u32 i;
	int err;

	err = netif_mp_open_rxq(dev, rxq_idx, &params, extack);
	if (err) {
		if (!extack->_msg)
			NL_SET_ERR_MSG(extack, "the queue does not take this memory");
		return err;
	}

	err = xa_alloc(&binding->bound_rxqs, &i,
		       __netif_get_rx_queue(dev, rxq_idx), xa_limit_32b,
		       GFP_KERNEL);
	if (err)
		netif_mp_close_rxq(dev, rxq_idx, &params);

	return err;
}

/**
 * mp_kernel_publish() - let a binding end with a netlink socket
 * @binding: a complete binding
 * @priv: the socket, which is locked
 *
 * Context: Process context.
 * Return: ID of the binding.
 */
int mp_kernel_publish(struct mp_kernel_binding *binding,
		      struct netdev_nl_sock *priv)
{
	list_add(&binding->list, &priv->kernel_bindings);

	return binding->id;
}

/**
 * mp_kernel_unbind() - give queues their own memory again
 * @binding: the memory, mapped and bound or not. Freed as soon as the device and
 *	the network stack are done with it, and who else holds pages of it.
 *
 * Context: Process context, the netdev is locked unless there is none.
 */
void mp_kernel_unbind(struct mp_kernel_binding *binding)
{
	const struct pp_memory_provider_params params = {
		.mp_priv = binding,
		.mp_ops = &mp_kernel_ops,
	};
	struct netdev_rx_queue *rxq;
	unsigned long i;

	xa_for_each(&binding->bound_rxqs, i, rxq)
		netif_mp_close_rxq(binding->dev, get_netdev_rx_queue_index(rxq),
				   &params);
	xa_destroy(&binding->bound_rxqs);

	if (binding->open)
		mp_kernel_unmap_put(binding);
	mp_kernel_put(binding);
}

static void mp_kernel_unbind_locked(struct mp_kernel_binding *binding)
{
	netdevice_tracker tracker;
	struct net_device *dev;

	mutex_lock(&binding->dev_lock);
	dev = binding->dev;
	netdev_hold(dev, &tracker, GFP_KERNEL);
	mutex_unlock(&binding->dev_lock);
	if (!dev) {
		mp_kernel_unbind(binding);
		return;
	}

	netdev_lock(dev);
	mp_kernel_unbind(binding);
	netdev_unlock(dev);
	netdev_put(dev, &tracker);
}

/**
 * mp_kernel_unbind_all() - a netlink socket is closed
 * @priv: the socket, which is locked
 *
 * Context: Process context.
 */
void mp_kernel_unbind_all(struct netdev_nl_sock *priv)
{
	struct mp_kernel_binding *binding, *next;

	list_for_each_entry_safe(binding, next, &priv->kernel_bindings, list) {
		list_del(&binding->list);
		mp_kernel_unbind_locked(binding);
	}
}

// SPDX-License-Identifier: GPL-2.0
/* Receive with header-data split: headers into the linear part of a new skb,
 * payload into pages of the rx queue's page pool, as the hardware does it that
 * feeds TCP_ZEROCOPY_RECEIVE and memory providers.
 */

#include <linux/dma-direct.h>
#include <linux/highmem.h>
#include <linux/math64.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <linux/tcp.h>
#include <linux/timex.h>
#include <linux/udp.h>
#include <net/flow_dissector.h>
#include <net/gro.h>
#include <net/gso.h>
#include <net/page_pool/helpers.h>

#include "netdevsim.h"

/* The packets that a NIC could put on the wire as plain segments. Whatever else
 * the stack sends (tunnels, fraglists, ...) keeps its shape.
 */
#define NSIM_RX_GSO_TYPES	(SKB_GSO_TCPV4 | SKB_GSO_TCPV6 |	\
				 SKB_GSO_TCP_FIXEDID | SKB_GSO_TCP_ECN | \
				 SKB_GSO_TCP_ACCECN | SKB_GSO_UDP_L4 |	\
				 SKB_GSO_DODGY)

/* Segments inherit the control block up to SKB_GSO_CB_OFFSET */
struct nsim_rx_cb {
	unsigned int hdr_len;	/* past the Ethernet header; 0: do not split */
};

#define NSIM_RX_CB(skb)		((struct nsim_rx_cb *)(skb)->cb)

/* Headers must cover the checksum that is still to be filled in, whoever does
 * it looks for it in the linear part.
 */
static bool nsim_rx_csum_in_hdr(const struct sk_buff *skb, unsigned int hdr_len)
{
	if (skb->ip_summed != CHECKSUM_PARTIAL)
		return true;

	return skb_checksum_start_offset(skb) + skb->csum_offset +
	       sizeof(__sum16) <= hdr_len;
}

/* Nobody above can sum up what is in the memory of a provider */
static bool nsim_rx_csum_done(const struct nsim_rq *rq,
			      const struct sk_buff *skb)
{
	return !page_pool_is_unreadable(rq->page_pool) ||
	       skb->ip_summed == CHECKSUM_PARTIAL ||
	       skb->ip_summed == CHECKSUM_UNNECESSARY;
}

static bool nsim_rx_may_split(const struct nsim_rq *rq,
			      const struct sk_buff *skb)
{
	const struct netdevsim *ns = netdev_priv(rq->napi.dev);

	if (!nsim_hds_active(ns, ETH_HLEN + skb->len) || skb->encapsulation ||
	    !skb_frags_readable(skb) || !nsim_rx_csum_done(rq, skb))
		return false;

	return !skb_is_gso(skb) ||
	       !(skb_shinfo(skb)->gso_type & ~NSIM_RX_GSO_TYPES);
}

/* Length of the transport header at @offset, 0 if it ends no header */
static unsigned int nsim_rx_l4_len(const struct sk_buff *skb, u8 ip_proto,
				   unsigned int offset)
{
	const struct tcphdr *th;
	struct tcphdr _th;

	switch (ip_proto) {
	case IPPROTO_TCP:
		th = skb_header_pointer(skb, offset, sizeof(_th), &_th);
		return th ? __tcp_hdrlen(th) : 0;
	case IPPROTO_UDP:
		return sizeof(struct udphdr);
	default:
		return 0;
	}
}

/* Length of the headers that get split off, 0 if @skb is to stay as it is */
static unsigned int nsim_rx_hdr_len(const struct nsim_rq *rq,
				    const struct sk_buff *skb)
{
	unsigned int l4_len, len;
	struct flow_keys_basic keys;

	if (!nsim_rx_may_split(rq, skb))
		return 0;

	if (!skb_flow_dissect_flow_keys_basic(dev_net(rq->napi.dev), skb, &keys,
					      skb->data, skb->protocol, 0,
					      skb_headlen(skb),
					      FLOW_DISSECTOR_F_STOP_AT_ENCAP))
		return 0;

	/* The dissector finds ports in IPv4 and IPv6 only */
	if (keys.control.flags & FLOW_DIS_IS_FRAGMENT)
		return 0;

	l4_len = nsim_rx_l4_len(skb, keys.basic.ip_proto, keys.control.thoff);
	len = keys.control.thoff + l4_len;
	if (!l4_len || len >= skb->len || !nsim_rx_csum_in_hdr(skb, len))
		return 0;

	return len;
}

/* Work since @start is not the receiver's, but that of the wire and of what is at
 * its ends in hardware. A benchmark leaves it out. To read a clock would take as
 * long as some of it.
 */
static void nsim_rx_wire(const struct nsim_rq *rq, cycles_t start)
{
	struct netdevsim *ns = netdev_priv(rq->napi.dev);

	atomic64_add(get_cycles() - start, &ns->rx_wire.cycles);
}

/**
 * nsim_rx_wire_ns() - how long the wire's work took
 * @ns:	a device
 *
 * Return: nanoseconds, with the mean frequency of the cycle counter since the
 * device was made; 0 where there is no such counter of 64 bits
 */
u64 nsim_rx_wire_ns(struct netdevsim *ns)
{
	u64 wire = atomic64_read(&ns->rx_wire.cycles);
	u64 cycles = get_cycles() - ns->rx_wire.made_cycles;

	/* Each CPU can do it all the time, but no more */
	if (sizeof(cycles_t) < sizeof(u64) || !cycles ||
	    div_u64(wire, num_possible_cpus()) > cycles)
		return 0;

	return mul_u64_u64_div_u64(wire, ktime_get_ns() - ns->rx_wire.made_ns,
				   cycles);
}

static void nsim_rx_drop(struct nsim_rq *rq, struct sk_buff *skb,
			 enum skb_drop_reason reason)
{
	dev_dstats_rx_dropped(rq->napi.dev);
	kfree_skb_reason(skb, reason);
}

/* Cut a GSO packet the way the sender's hardware would have put it on the wire.
 * The segments share the sender's pages: nothing is copied until the "DMA".
 */
static void nsim_rx_segment(struct nsim_rq *rq, struct sk_buff *skb)
{
	struct sk_buff *segs, *seg, *next;

	__skb_push(skb, ETH_HLEN);
	segs = __skb_gso_segment(skb, NETIF_F_SG | NETIF_F_HW_CSUM, false);
	if (IS_ERR_OR_NULL(segs)) {
		nsim_rx_drop(rq, skb, SKB_DROP_REASON_SKB_GSO_SEG);
		return;
	}

	skb_list_walk_safe(segs, seg, next) {
		skb_mark_not_on_list(seg);
		__skb_pull(seg, ETH_HLEN);
		__skb_queue_tail(&rq->seg_queue, seg);
	}
	consume_skb(skb);
}

static struct sk_buff *__nsim_rx_dequeue(struct nsim_rq *rq)
{
	struct sk_buff *skb;

	BUILD_BUG_ON(sizeof(struct nsim_rx_cb) > SKB_GSO_CB_OFFSET);

	while (skb_queue_empty(&rq->seg_queue)) {
		skb = skb_dequeue(&rq->skb_queue);
		if (!skb)
			return NULL;

		NSIM_RX_CB(skb)->hdr_len = nsim_rx_hdr_len(rq, skb);
		if (!NSIM_RX_CB(skb)->hdr_len || !skb_is_gso(skb))
			return skb;

		nsim_rx_segment(rq, skb);
	}

	return __skb_dequeue(&rq->seg_queue);
}

/**
 * nsim_rx_dequeue() - take the next packet off the wire
 * @rq:	receive queue
 *
 * Return: the packet, %NULL if there is none
 */
struct sk_buff *nsim_rx_dequeue(struct nsim_rq *rq)
{
	cycles_t start = get_cycles();
	struct sk_buff *skb;

	skb = __nsim_rx_dequeue(rq);
	nsim_rx_wire(rq, start);

	return skb;
}

/* Where a DMA address leads is for the device to know, and the device is this
 * driver. Pools map pages only for a device that uses the direct mapping, see
 * nsim_bus_dma_init(): then dma_to_phys() has the answer, be it the page itself,
 * its bounce buffer or what a memory provider has mapped.
 */
static phys_addr_t nsim_rx_phys(const struct page_pool *pool, netmem_ref netmem)
{
	if (!pool->dma_map || IS_ENABLED(CONFIG_ARCH_HAS_PHYS_TO_DMA))
		return page_to_phys(netmem_to_page(netmem));

	return dma_to_phys(pool->p.dev, page_pool_get_dma_addr_netmem(netmem));
}

/* What the DMA engine of a NIC does */
static int nsim_rx_dma(const struct page_pool *pool, netmem_ref netmem,
		       const struct sk_buff *skb, unsigned int offset,
		       unsigned int len)
{
	unsigned long pfn = PHYS_PFN(nsim_rx_phys(pool, netmem));
	unsigned int part;
	void *to;
	int err;

	for (; len; len -= part, offset += part, pfn++) {
		/* Memory of a real device is out of reach for a simulated one */
		if (!pfn_valid(pfn))
			return -EFAULT;

		part = min_t(unsigned int, len, PAGE_SIZE);
		to = kmap_local_pfn(pfn);
		err = skb_copy_bits(skb, offset, to, part);
		flush_dcache_page(pfn_to_page(pfn));
		kunmap_local(to);
		if (err)
			return err;
	}

	return 0;
}

/* Receive the payload into buffers, as much as goes into each */
static int nsim_rx_payload(struct nsim_rq *rq, struct sk_buff *to,
			   const struct sk_buff *from, unsigned int offset)
{
	struct page_pool *pool = rq->page_pool;
	unsigned int size = PAGE_SIZE << pool->p.order;
	unsigned int len;
	netmem_ref netmem;
	cycles_t start;
	int err;

	for (; offset < from->len; offset += len) {
		len = min(from->len - offset, size);

		netmem = page_pool_dev_alloc_netmems(pool);
		if (!netmem)
			return -ENOMEM;

		start = get_cycles();
		err = nsim_rx_dma(pool, netmem, from, offset, len);
		nsim_rx_wire(rq, start);
		if (pool->dma_map)
			page_pool_dma_sync_netmem_for_cpu(pool, netmem, 0, len);
		skb_add_rx_frag_netmem(to, skb_shinfo(to)->nr_frags, netmem, 0,
				       len, size);
		if (err)
			return err;
	}

	return 0;
}

/* A new skb with the headers of @skb and all that the stack knows about it */
static struct sk_buff *nsim_rx_headers(struct nsim_rq *rq,
				       const struct sk_buff *skb,
				       unsigned int hdr_len)
{
	unsigned int len = ETH_HLEN + hdr_len;
	struct sk_buff *new;

	new = napi_alloc_skb(&rq->napi, len);
	if (!new)
		return NULL;

	if (skb_copy_bits(skb, -ETH_HLEN, __skb_put(new, len), len)) {
		kfree_skb(new);
		return NULL;
	}
	__skb_pull(new, ETH_HLEN);

	skb_copy_header(new, skb);
	skb_headers_offset_update(new, skb_headroom(new) - skb_headroom(skb));
	new->alloc_cpu = raw_smp_processor_id();	/* not the sender's */
	skb_mark_for_recycle(new);

	return new;
}

/**
 * nsim_rx_split() - receive a packet into the buffers of the queue
 * @rq:		receive queue
 * @skb:	packet as it comes from the peer, see nsim_rx_dequeue()
 *
 * Context: NAPI poll of @rq, the only consumer of its page pool
 * Return: the packet to hand to the stack: @skb itself unless it gets split,
 * %NULL if the queue had no buffers for it and it was dropped
 */
struct sk_buff *nsim_rx_split(struct nsim_rq *rq, struct sk_buff *skb)
{
	unsigned int hdr_len = NSIM_RX_CB(skb)->hdr_len;
	struct sk_buff *new;
	cycles_t start;

	/* No packet outgrows the frags of an skb: MTU is at most 64K */
	BUILD_BUG_ON(MAX_SKB_FRAGS * PAGE_SIZE < ETH_MAX_MTU);

	if (!hdr_len)
		return skb;

	new = nsim_rx_headers(rq, skb, hdr_len);
	if (!new)
		goto err_drop;

	if (nsim_rx_payload(rq, new, skb, hdr_len))
		goto err_free_new;

	start = get_cycles();
	consume_skb(skb);
	nsim_rx_wire(rq, start);

	return new;

err_free_new:
	kfree_skb(new);
err_drop:
	nsim_rx_drop(rq, skb, SKB_DROP_REASON_NOMEM);
	return NULL;
}

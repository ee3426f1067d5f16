// SPDX-License-Identifier: GPL-2.0
/* Transmit out of the memory of devices (devmem TCP): what the DMA engine of a
 * NIC does before a packet is on the wire.
 */

#include <linux/dma-direct.h>
#include <linux/highmem.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <net/page_pool/helpers.h>

#include "netdevsim.h"

static phys_addr_t nsim_tx_phys(struct device *dev, const skb_frag_t *frag)
{
	dma_addr_t addr;

	if (!skb_frag_is_net_iov(frag))
		return page_to_phys(skb_frag_page(frag)) + skb_frag_off(frag);

	addr = page_pool_get_dma_addr_netmem(skb_frag_netmem(frag));
	return dma_to_phys(dev, addr) + skb_frag_off(frag);
}

/* Memory of a real device is out of reach for a simulated one, see also
 * nsim_rx_dma()
 */
static int nsim_tx_dma(struct device *dev, const skb_frag_t *frag,
		       struct sk_buff *to, unsigned int offset)
{
	phys_addr_t phys = nsim_tx_phys(dev, frag);
	unsigned int len = skb_frag_size(frag);
	unsigned int part;
	void *from;
	int err;

	for (; len; len -= part, offset += part, phys += part) {
		if (!pfn_valid(PHYS_PFN(phys)))
			return -EFAULT;

		part = min_t(unsigned int, len,
			     PAGE_SIZE - offset_in_page(phys));
		from = kmap_local_pfn(PHYS_PFN(phys));
		err = skb_store_bits(to, offset, from + offset_in_page(phys),
				     part);
		kunmap_local(from);
		if (err)
			return err;
	}

	return 0;
}

static struct sk_buff *nsim_tx_alloc(const struct sk_buff *skb)
{
	unsigned int headroom = skb_headroom(skb);
	struct sk_buff *new;
	int err;

	new = alloc_skb_with_frags(headroom + skb_headlen(skb), skb->data_len,
				   0, &err, GFP_ATOMIC);
	if (!new)
		return NULL;

	skb_reserve(new, headroom);
	skb_put_data(new, skb->data, skb_headlen(skb));
	new->data_len = skb->data_len;
	new->len += skb->data_len;
	skb_copy_header(new, skb);
	new->unreadable = 0;

	return new;
}

/**
 * nsim_tx_read() - read a packet out of the memory of a device
 * @dev:	sender, for which that memory is mapped
 * @skb:	packet whose fragments the CPU cannot read; consumed
 *
 * The memory is the user's again once this is done.
 *
 * Context: Softirq, or process context with softirqs disabled.
 * Return: the same packet in pages, %NULL if it was dropped
 */
struct sk_buff *nsim_tx_read(const struct net_device *dev, struct sk_buff *skb)
{
	unsigned int offset = skb_headlen(skb);
	struct sk_buff *new;
	int i;

	new = nsim_tx_alloc(skb);
	if (!new)
		goto err_drop;

	for (i = 0; i < skb_shinfo(skb)->nr_frags; i++) {
		const skb_frag_t *frag = &skb_shinfo(skb)->frags[i];

		if (nsim_tx_dma(dev->dev.parent, frag, new, offset))
			goto err_free_new;
		offset += skb_frag_size(frag);
	}

	skb_tx_timestamp(skb);
	consume_skb(skb);
	return new;

err_free_new:
	kfree_skb(new);
err_drop:
	kfree_skb_reason(skb, SKB_DROP_REASON_NOMEM);
	return NULL;
}

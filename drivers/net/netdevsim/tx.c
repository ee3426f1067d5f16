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

/* What is bound to this device, the stack sees to that, has addresses of the
 * direct mapping. Others' would mean nothing here.
 */
static bool nsim_tx_may_read(const struct sk_buff *skb)
{
	const skb_frag_t *frag;
	int i;

	if (IS_ENABLED(CONFIG_ARCH_HAS_PHYS_TO_DMA) || skb_has_frag_list(skb))
		return false;

	for (i = 0; i < skb_shinfo(skb)->nr_frags; i++) {
		frag = &skb_shinfo(skb)->frags[i];
		if (!skb_frag_is_net_iov(frag) ||
		    netmem_to_net_iov(skb_frag_netmem(frag))->type !=
		    NET_IOV_DMABUF)
			return false;
	}

	return true;
}

/* Memory of a real device is out of reach for a simulated one, see also
 * nsim_rx_dma()
 */
static int nsim_tx_dma(struct device *dev, const skb_frag_t *frag,
		       struct sk_buff *to, unsigned int offset)
{
	dma_addr_t addr = page_pool_get_dma_addr_netmem(skb_frag_netmem(frag));
	phys_addr_t phys = dma_to_phys(dev, addr) + skb_frag_off(frag);
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
	/* For PSP, and for TCP to have no more of them under way than others */
	if (skb->sk)
		skb_set_owner_w(new, skb->sk);

	return new;
}

/**
 * nsim_tx_read() - read a packet out of the memory of a device
 * @dev:	sender, for which that memory is mapped
 * @skb:	packet whose fragments the CPU cannot read; consumed
 *
 * Context: Softirq, or process context with softirqs disabled.
 * Return: the same packet in pages, %NULL if it was dropped
 */
struct sk_buff *nsim_tx_read(const struct net_device *dev, struct sk_buff *skb)
{
	unsigned int offset = skb_headlen(skb);
	struct sk_buff *new;
	int i;

	if (!nsim_tx_may_read(skb))
		goto err_drop;
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
	consume_skb(new);
err_drop:
	kfree_skb_reason(skb, SKB_DROP_REASON_NOT_SPECIFIED);
	return NULL;
}

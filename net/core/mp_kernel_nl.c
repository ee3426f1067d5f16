// SPDX-License-Identifier: GPL-2.0
/* Binding of kernel memory to receive queues, by netdev netlink. */

#include <linux/bitmap.h>
#include <linux/mm.h>
#include <linux/netdevice.h>
#include <linux/sizes.h>

#include <net/genetlink.h>
#include <net/netdev_lock.h>
#include <net/netdev_netlink.h>
#include <net/sock.h>

#include "dev.h"
#include "mp_kernel.h"
#include "netdev-genl-gen.h"

static int mp_kernel_nl_check_size(const struct genl_info *info)
{
	bool huge = nla_get_flag(info->attrs[NETDEV_A_KERNEL_MEMORY_HUGE]);
	struct nlattr *attr = info->attrs[NETDEV_A_KERNEL_MEMORY_SIZE];
	u64 max, size = nla_get_uint(attr);

	/* Of the second, for the tables that have a pointer for each page */
	max = min_t(u64, totalram_pages(), INT_MAX / sizeof(struct page *));
	if (!size || size >> PAGE_SHIFT > max) {
		NL_SET_ERR_MSG_ATTR(info->extack, attr,
				    "size must be more than 0, and less than the machine's memory");
		return -EINVAL;
	}
	if (!IS_ALIGNED(size, huge ? SZ_2M : PAGE_SIZE)) {
		NL_SET_ERR_MSG_ATTR(info->extack, attr,
				    "size must be a multiple of the page size, of 2 MiB if huge");
		return -EINVAL;
	}

	return 0;
}

/**
 * struct mp_kernel_target - queues that were asked for
 * @dev: their netdev, locked
 * @dma_dev: what they use for DMA
 * @rxqs: which ones
 */
struct mp_kernel_target {
	struct net_device *dev;
	struct device *dma_dev;
	unsigned long *rxqs;
};

static int mp_kernel_nl_read_queues(struct genl_info *info,
				    struct mp_kernel_target *target)
{
	struct net_device *dev = target->dev;
	int err;

	if (!netif_device_present(dev) || !netdev_need_ops_lock(dev)) {
		NL_SET_ERR_MSG_ATTR(info->extack,
				    info->attrs[NETDEV_A_KERNEL_MEMORY_IFINDEX],
				    "the device cannot change the memory of a queue");
		return -EOPNOTSUPP;
	}

	err = netdev_nl_read_rxq_bitmap(info, NETDEV_A_KERNEL_MEMORY_QUEUES,
					dev->real_num_rx_queues, target->rxqs);
	if (err)
		return err;

	target->dma_dev = netdev_nl_get_dma_dev(dev, target->rxqs,
						info->extack);
	if (!target->dma_dev) {
		NL_SET_ERR_MSG(info->extack, "the device does not do DMA");
		return -EOPNOTSUPP;
	}

	return PTR_ERR_OR_ZERO(target->dma_dev);
}

static void mp_kernel_nl_unlock(struct mp_kernel_target *target)
{
	bitmap_free(target->rxqs);
	netdev_unlock(target->dev);
}

static int mp_kernel_nl_lock(struct genl_info *info,
			     struct mp_kernel_target *target)
{
	struct nlattr *attr = info->attrs[NETDEV_A_KERNEL_MEMORY_IFINDEX];
	int err;

	target->dev = netdev_get_by_index_lock(genl_info_net(info),
					       nla_get_u32(attr));
	if (!target->dev) {
		NL_SET_ERR_MSG_ATTR(info->extack, attr, "no such network device");
		return -ENODEV;
	}

	target->rxqs = bitmap_zalloc(target->dev->real_num_rx_queues,
				     GFP_KERNEL);
	err = target->rxqs ? mp_kernel_nl_read_queues(info, target) : -ENOMEM;
	if (err)
		mp_kernel_nl_unlock(target);

	return err;
}

/* Nobody shall wait for the netdev's lock while this waits for memory */
static struct mp_kernel_binding *mp_kernel_nl_buy(struct genl_info *info)
{
	struct mp_kernel_target target;
	int err, nid;

	err = mp_kernel_nl_lock(info, &target);
	if (err)
		return ERR_PTR(err);
	nid = dev_to_node(target.dma_dev);
	mp_kernel_nl_unlock(&target);

	return mp_kernel_buy(nla_get_uint(info->attrs[NETDEV_A_KERNEL_MEMORY_SIZE]),
			     nla_get_flag(info->attrs[NETDEV_A_KERNEL_MEMORY_HUGE]),
			     nid, info->extack);
}

static int mp_kernel_nl_bind_queues(struct mp_kernel_binding *binding,
				    const struct mp_kernel_target *target,
				    struct netlink_ext_ack *extack)
{
	int err;
	u32 i;

	err = mp_kernel_map(binding, target->dev, target->dma_dev, extack);
	if (err)
		return err;

	for_each_set_bit(i, target->rxqs, target->dev->real_num_rx_queues) {
		err = mp_kernel_bind_queue(binding, i, extack);
		if (err)
			return err;
	}

	return 0;
}

/* Takes over @binding, also if it fails. */
static int mp_kernel_nl_bind(struct mp_kernel_binding *binding,
			     struct netdev_nl_sock *priv,
			     struct genl_info *info)
{
	struct mp_kernel_target target;
	int ret;

	guard(mutex)(&priv->lock);

	ret = mp_kernel_nl_lock(info, &target);
	if (ret) {
		mp_kernel_unbind(binding);
		return ret;
	}

	ret = mp_kernel_nl_bind_queues(binding, &target, info->extack);
	if (ret)
		mp_kernel_unbind(binding);
	else
		ret = mp_kernel_publish(binding, priv);
	mp_kernel_nl_unlock(&target);

	return ret;
}

int netdev_nl_bind_rx_kernel_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct mp_kernel_binding *binding;
	struct netdev_nl_sock *priv;
	struct sk_buff *rsp;
	void *hdr;
	int ret;

	if (GENL_REQ_ATTR_CHECK(info, NETDEV_A_KERNEL_MEMORY_IFINDEX) ||
	    GENL_REQ_ATTR_CHECK(info, NETDEV_A_KERNEL_MEMORY_QUEUES) ||
	    GENL_REQ_ATTR_CHECK(info, NETDEV_A_KERNEL_MEMORY_SIZE))
		return -EINVAL;

	ret = mp_kernel_nl_check_size(info);
	if (ret)
		return ret;

	priv = genl_sk_priv_get(&netdev_nl_family, NETLINK_CB(skb).sk);
	if (IS_ERR(priv))
		return PTR_ERR(priv);

	rsp = genlmsg_new(GENLMSG_DEFAULT_SIZE, GFP_KERNEL);
	if (!rsp)
		return -ENOMEM;

	hdr = genlmsg_iput(rsp, info);
	if (!hdr) {
		ret = -EMSGSIZE;
		goto err_free_rsp;
	}

	binding = mp_kernel_nl_buy(info);
	if (IS_ERR(binding)) {
		ret = PTR_ERR(binding);
		goto err_free_rsp;
	}

	ret = mp_kernel_nl_bind(binding, priv, info);
	if (ret < 0)
		goto err_free_rsp;

	/* rsp was allocated large enough */
	WARN_ON_ONCE(nla_put_u32(rsp, NETDEV_A_KERNEL_MEMORY_ID, ret));
	genlmsg_end(rsp, hdr);

	return genlmsg_reply(rsp, info);

err_free_rsp:
	nlmsg_free(rsp);
	return ret;
}

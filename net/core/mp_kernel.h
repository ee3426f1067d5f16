/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _NET_MP_KERNEL_H
#define _NET_MP_KERNEL_H

#include <linux/types.h>

struct device;
struct mp_kernel_binding;
struct net_device;
struct netdev_nl_sock;
struct netlink_ext_ack;

#ifdef CONFIG_PAGE_POOL
struct mp_kernel_binding *mp_kernel_buy(u64 size, bool huge, int nid,
					struct netlink_ext_ack *extack);
int mp_kernel_map(struct mp_kernel_binding *binding, struct net_device *dev,
		  struct device *dma_dev, struct netlink_ext_ack *extack);
int mp_kernel_bind_queue(struct mp_kernel_binding *binding, u32 rxq_idx,
			 struct netlink_ext_ack *extack);
int mp_kernel_publish(struct mp_kernel_binding *binding,
		      struct netdev_nl_sock *priv);
void mp_kernel_unbind(struct mp_kernel_binding *binding);
void mp_kernel_unbind_all(struct netdev_nl_sock *priv);
#else
static inline void mp_kernel_unbind_all(struct netdev_nl_sock *priv)
{
}
#endif

#endif /* _NET_MP_KERNEL_H */

// SPDX-License-Identifier: GPL-2.0
/* The queue that a packet arrives at: that of a flow rule (ethtool -N), that
 * of the indirection table (ethtool -X), or else that it was sent from.
 */

#include <linux/ethtool.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <net/flow_dissector.h>
#include <net/ipv6.h>
#include <net/netdev_lock.h>

#include "netdevsim.h"

struct nsim_steer_rule {
	struct rcu_head rcu;
	struct ethtool_rx_flow_spec fs;
	u32 rss_context;
};

static struct nsim_steer_rule *nsim_steer_rule(struct netdevsim *ns, u32 loc)
{
	if (loc >= NSIM_STEER_RULES)
		return NULL;

	return netdev_ops_lock_dereference(ns->steer.rules[loc], ns->netdev);
}

static bool nsim_steer_match_v4(const struct ethtool_tcpip4_spec *val,
				const struct ethtool_tcpip4_spec *mask,
				const struct flow_keys *keys)
{
	return keys->control.addr_type == FLOW_DISSECTOR_KEY_IPV4_ADDRS &&
	       !((keys->addrs.v4addrs.src ^ val->ip4src) & mask->ip4src) &&
	       !((keys->addrs.v4addrs.dst ^ val->ip4dst) & mask->ip4dst) &&
	       !((keys->ports.src ^ val->psrc) & mask->psrc) &&
	       !((keys->ports.dst ^ val->pdst) & mask->pdst);
}

static bool nsim_steer_match_v6(const struct ethtool_tcpip6_spec *val,
				const struct ethtool_tcpip6_spec *mask,
				const struct flow_keys *keys)
{
	return keys->control.addr_type == FLOW_DISSECTOR_KEY_IPV6_ADDRS &&
	       !ipv6_masked_addr_cmp(&keys->addrs.v6addrs.src,
				     (const struct in6_addr *)mask->ip6src,
				     (const struct in6_addr *)val->ip6src) &&
	       !ipv6_masked_addr_cmp(&keys->addrs.v6addrs.dst,
				     (const struct in6_addr *)mask->ip6dst,
				     (const struct in6_addr *)val->ip6dst) &&
	       !((keys->ports.src ^ val->psrc) & mask->psrc) &&
	       !((keys->ports.dst ^ val->pdst) & mask->pdst);
}

static bool nsim_steer_match(const struct ethtool_rx_flow_spec *fs,
			     const struct flow_keys *keys)
{
	u32 type = fs->flow_type & ~FLOW_RSS;
	bool udp = type == UDP_V4_FLOW || type == UDP_V6_FLOW;

	if (keys->basic.ip_proto != (udp ? IPPROTO_UDP : IPPROTO_TCP))
		return false;

	if (type == TCP_V4_FLOW || type == UDP_V4_FLOW)
		return nsim_steer_match_v4(&fs->h_u.tcp_ip4_spec,
					   &fs->m_u.tcp_ip4_spec, keys);

	return nsim_steer_match_v6(&fs->h_u.tcp_ip6_spec,
				   &fs->m_u.tcp_ip6_spec, keys);
}

static const struct nsim_steer_rule *
nsim_steer_find(struct netdevsim *ns, const struct flow_keys *keys)
{
	const struct nsim_steer_rule *rule;
	int i;

	if (!(ns->netdev->features & NETIF_F_NTUPLE))
		return NULL;

	for (i = 0; i < NSIM_STEER_RULES; i++) {
		rule = rcu_dereference(ns->steer.rules[i]);
		if (rule && nsim_steer_match(&rule->fs, keys))
			return rule;
	}

	return NULL;
}

/* Not skb->hash, which a socket changes when it wants another path */
static u16 nsim_steer_hash(struct netdevsim *ns, u32 ctx,
			   struct flow_keys *keys)
{
	return READ_ONCE(ns->steer.indir[ctx][flow_hash_from_keys(keys) %
					      NSIM_STEER_INDIR]);
}

static bool nsim_steer_used(struct netdevsim *ns)
{
	if (!READ_ONCE(ns->steer.used) && netif_is_rxfh_configured(ns->netdev))
		WRITE_ONCE(ns->steer.used, true);

	return READ_ONCE(ns->steer.used);
}

/**
 * nsim_steer() - choose the queue that a packet arrives at
 * @ns:		receiving device
 * @skb:	packet as it was sent
 * @queue:	of the receiver, the counterpart of the one it was sent from
 *
 * Context: RCU read side
 * Return: the queue
 */
u16 nsim_steer(struct netdevsim *ns, struct sk_buff *skb, u16 queue)
{
	const struct nsim_steer_rule *rule;
	struct flow_keys keys;

	if (!nsim_steer_used(ns))
		return queue;

	if (!skb_flow_dissect_flow_keys(skb, &keys,
					FLOW_DISSECTOR_F_STOP_AT_ENCAP))
		memset(&keys, 0, sizeof(keys));

	rule = nsim_steer_find(ns, &keys);
	if (rule && rule->fs.flow_type & FLOW_RSS)
		return nsim_steer_hash(ns, rule->rss_context, &keys);
	if (rule)
		return rule->fs.ring_cookie;
	if (netif_is_rxfh_configured(ns->netdev))
		return nsim_steer_hash(ns, 0, &keys);

	return queue;
}

/* What is understood: addresses and ports of TCP and UDP */
static int nsim_steer_check(const struct net_device *dev,
			    const struct ethtool_rx_flow_spec *fs)
{
	switch (fs->flow_type & ~FLOW_RSS) {
	case TCP_V4_FLOW:
	case UDP_V4_FLOW:
		if (fs->m_u.tcp_ip4_spec.tos)
			return -EOPNOTSUPP;
		break;
	case TCP_V6_FLOW:
	case UDP_V6_FLOW:
		if (fs->m_u.tcp_ip6_spec.tclass)
			return -EOPNOTSUPP;
		break;
	default:
		return -EOPNOTSUPP;
	}

	/* Neither to nowhere nor to a VF */
	return fs->ring_cookie < dev->real_num_rx_queues ? 0 : -EINVAL;
}

static int nsim_steer_locate(struct netdevsim *ns,
			     struct ethtool_rx_flow_spec *fs)
{
	if (fs->location != RX_CLS_LOC_ANY)
		return fs->location < NSIM_STEER_RULES ? 0 : -EINVAL;

	fs->location = 0;
	while (nsim_steer_rule(ns, fs->location))
		fs->location++;

	return fs->location < NSIM_STEER_RULES ? 0 : -ENOSPC;
}

static int nsim_steer_insert(struct netdevsim *ns, struct ethtool_rxnfc *info)
{
	struct ethtool_rx_flow_spec *fs = &info->fs;
	struct nsim_steer_rule *rule, *old;
	int err;

	err = nsim_steer_check(ns->netdev, fs);
	if (!err)
		err = nsim_steer_locate(ns, fs);
	if (err)
		return err;

	rule = kzalloc_obj(*rule);
	if (!rule)
		return -ENOMEM;
	rule->fs = *fs;
	if (fs->flow_type & FLOW_RSS)
		rule->rss_context = info->rss_context;

	old = nsim_steer_rule(ns, fs->location);
	rcu_assign_pointer(ns->steer.rules[fs->location], rule);
	kfree_rcu(old, rcu);
	WRITE_ONCE(ns->steer.used, true);

	return 0;
}

static int nsim_steer_remove(struct netdevsim *ns, u32 loc)
{
	struct nsim_steer_rule *rule = nsim_steer_rule(ns, loc);

	if (!rule)
		return -ENOENT;

	RCU_INIT_POINTER(ns->steer.rules[loc], NULL);
	kfree_rcu(rule, rcu);

	return 0;
}

int nsim_set_rxnfc(struct net_device *dev, struct ethtool_rxnfc *info)
{
	struct netdevsim *ns = netdev_priv(dev);

	switch (info->cmd) {
	case ETHTOOL_SRXCLSRLINS:
		return nsim_steer_insert(ns, info);
	case ETHTOOL_SRXCLSRLDEL:
		return nsim_steer_remove(ns, info->fs.location);
	default:
		return -EOPNOTSUPP;
	}
}

static u32 nsim_steer_count(struct netdevsim *ns)
{
	u32 i, n = 0;

	for (i = 0; i < NSIM_STEER_RULES; i++)
		n += !!nsim_steer_rule(ns, i);

	return n;
}

static int nsim_steer_list(struct netdevsim *ns, struct ethtool_rxnfc *info,
			   u32 *locs)
{
	u32 i, n = 0;

	if (nsim_steer_count(ns) > info->rule_cnt)
		return -EMSGSIZE;

	for (i = 0; i < NSIM_STEER_RULES; i++)
		if (nsim_steer_rule(ns, i))
			locs[n++] = i;
	info->rule_cnt = n;
	info->data = NSIM_STEER_RULES;

	return 0;
}

int nsim_get_rxnfc(struct net_device *dev, struct ethtool_rxnfc *info,
		   u32 *locs)
{
	struct netdevsim *ns = netdev_priv(dev);
	struct nsim_steer_rule *rule;

	switch (info->cmd) {
	case ETHTOOL_GRXCLSRLCNT:
		info->rule_cnt = nsim_steer_count(ns);
		info->data = NSIM_STEER_RULES | RX_CLS_LOC_SPECIAL;
		return 0;
	case ETHTOOL_GRXCLSRLALL:
		return nsim_steer_list(ns, info, locs);
	case ETHTOOL_GRXCLSRULE:
		rule = nsim_steer_rule(ns, info->fs.location);
		if (!rule)
			return -ENOENT;
		info->fs = rule->fs;
		info->rss_context = rule->rss_context;
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

u32 nsim_get_rx_ring_count(struct net_device *dev)
{
	return dev->real_num_rx_queues;
}

u32 nsim_get_rxfh_indir_size(struct net_device *dev)
{
	return NSIM_STEER_INDIR;
}

int nsim_get_rxfh(struct net_device *dev, struct ethtool_rxfh_param *rxfh)
{
	struct netdevsim *ns = netdev_priv(dev);
	int i;

	for (i = 0; rxfh->indir && i < NSIM_STEER_INDIR; i++)
		rxfh->indir[i] = ns->steer.indir[0][i];

	return 0;
}

static void nsim_steer_default(struct netdevsim *ns, u32 ctx)
{
	u32 queues = ns->netdev->real_num_rx_queues;
	int i;

	for (i = 0; i < NSIM_STEER_INDIR; i++)
		WRITE_ONCE(ns->steer.indir[ctx][i],
			   ethtool_rxfh_indir_default(i, queues));
}

/**
 * nsim_steer_update() - spread flows over all queues, if nobody said otherwise
 * @ns: a new device, or one with another number of queues than before
 *
 * Context: that of ethtool's ops, or before the device is registered
 */
void nsim_steer_update(struct netdevsim *ns)
{
	if (!netif_is_rxfh_configured(ns->netdev))
		nsim_steer_default(ns, 0);
}

/* There is one hash, and it has no key */
static int nsim_steer_set_indir(struct netdevsim *ns, u32 ctx,
				const struct ethtool_rxfh_param *rxfh)
{
	int i;

	if (rxfh->hfunc != ETH_RSS_HASH_NO_CHANGE || rxfh->key)
		return -EOPNOTSUPP;

	for (i = 0; rxfh->indir && i < NSIM_STEER_INDIR; i++)
		WRITE_ONCE(ns->steer.indir[ctx][i], rxfh->indir[i]);
	WRITE_ONCE(ns->steer.used, true);

	return 0;
}

int nsim_set_rxfh(struct net_device *dev, struct ethtool_rxfh_param *rxfh,
		  struct netlink_ext_ack *extack)
{
	return nsim_steer_set_indir(netdev_priv(dev), 0, rxfh);
}

int nsim_modify_rxfh_context(struct net_device *dev,
			     struct ethtool_rxfh_context *ctx,
			     const struct ethtool_rxfh_param *rxfh,
			     struct netlink_ext_ack *extack)
{
	return nsim_steer_set_indir(netdev_priv(dev), rxfh->rss_context, rxfh);
}

int nsim_create_rxfh_context(struct net_device *dev,
			     struct ethtool_rxfh_context *ctx,
			     const struct ethtool_rxfh_param *rxfh,
			     struct netlink_ext_ack *extack)
{
	struct netdevsim *ns = netdev_priv(dev);
	u32 *indir = ethtool_rxfh_context_indir(ctx);
	int i, err;

	nsim_steer_default(ns, rxfh->rss_context);
	err = nsim_steer_set_indir(ns, rxfh->rss_context, rxfh);
	if (err)
		return err;

	/* What was not said is for us to say */
	for (i = 0; i < NSIM_STEER_INDIR; i++)
		indir[i] = ns->steer.indir[rxfh->rss_context][i];

	return 0;
}

int nsim_remove_rxfh_context(struct net_device *dev,
			     struct ethtool_rxfh_context *ctx, u32 rss_context,
			     struct netlink_ext_ack *extack)
{
	return 0;
}

/* Nobody sends to it or configures it any more. */
void nsim_steer_fini(struct netdevsim *ns)
{
	int i;

	for (i = 0; i < NSIM_STEER_RULES; i++)
		kfree(rcu_dereference_protected(ns->steer.rules[i], true));
}

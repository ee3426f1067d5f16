// SPDX-License-Identifier: GPL-2.0
/*
 * The netlink part of netmem_lib.h: page pools and header-data split, without
 * any library, for tests of other directories to be able to link it.
 */
#include <errno.h>
#include <linux/ethtool_netlink.h>
#include <linux/genetlink.h>
#include <linux/netdev.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "netmem_lib.h"

struct genl_msg {
	struct nlmsghdr nlh;
	union {
		struct genlmsghdr genl;
		struct ifinfomsg ifi;
	};
	char attrs[512];
};

struct genl {
	int fd;
	uint16_t family;
};

typedef void (*genl_cb)(struct nlattr *attrs, size_t len, void *arg);

static void genl_init(struct genl_msg *msg, uint16_t family, uint8_t cmd,
		      uint16_t flags)
{
	*msg = (struct genl_msg){
		.nlh.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN),
		.nlh.nlmsg_type = family,
		.nlh.nlmsg_flags = NLM_F_REQUEST | flags,
		.genl.cmd = cmd,
		.genl.version = 1,
	};
}

static struct nlattr *genl_put(struct genl_msg *msg, uint16_t type,
			       const void *data, uint16_t len)
{
	struct nlattr *nla = (void *)((char *)msg + msg->nlh.nlmsg_len);

	nla->nla_type = type;
	nla->nla_len = NLA_HDRLEN + len;
	if (len)
		memcpy((char *)nla + NLA_HDRLEN, data, len);
	msg->nlh.nlmsg_len += NLA_ALIGN(nla->nla_len);

	return nla;
}

static void genl_nest_end(const struct genl_msg *msg, struct nlattr *nest)
{
	nest->nla_len = (char *)msg + msg->nlh.nlmsg_len - (char *)nest;
}

static struct nlattr *nla_next(struct nlattr *nla, size_t *len)
{
	size_t step = NLA_ALIGN(nla->nla_len);

	*len = *len > step ? *len - step : 0;
	return (void *)((char *)nla + step);
}

static bool nla_ok(const struct nlattr *nla, size_t left)
{
	return left >= NLA_HDRLEN && nla->nla_len >= NLA_HDRLEN;
}

static void *nla_data(struct nlattr *nla)
{
	return (char *)nla + NLA_HDRLEN;
}

/* NLA_UINT is as wide as its value needs */
static uint64_t nla_uint(struct nlattr *nla)
{
	uint64_t val = 0;

	memcpy(&val, nla_data(nla), nla->nla_len == NLA_HDRLEN + 4 ? 4 : 8);
	return val;
}

/*
 * Takes the messages of one datagram. Returns true when the answer is complete.
 */
static bool genl_take(void *buf, ssize_t len, genl_cb cb, void *arg, int *ret)
{
	struct nlmsghdr *nlh = buf;
	struct nlmsgerr *err;
	size_t alen;

	for (; NLMSG_OK(nlh, len); nlh = NLMSG_NEXT(nlh, len)) {
		if (nlh->nlmsg_type == NLMSG_DONE)
			return true;
		if (nlh->nlmsg_type == NLMSG_ERROR) {
			err = NLMSG_DATA(nlh);
			*ret = err->error;
			return true;
		}
		alen = nlh->nlmsg_len - NLMSG_LENGTH(GENL_HDRLEN);
		if (cb)
			cb((void *)((char *)NLMSG_DATA(nlh) + GENL_HDRLEN),
			   alen, arg);
	}

	return false;
}

/* Returns 0 or -errno. Every request ends with an ack or the end of a dump. */
static int genl_talk(int fd, struct genl_msg *msg, genl_cb cb, void *arg)
{
	uint64_t buf[4096];
	ssize_t len;
	int ret = 0;

	nm_check(send(fd, msg, msg->nlh.nlmsg_len, 0) > 0, "netlink send");
	do {
		len = recv(fd, buf, sizeof(buf), 0);
		nm_check(len > 0, "netlink recv");
	} while (!genl_take(buf, len, cb, arg, &ret));

	return ret;
}

static void family_cb(struct nlattr *attrs, size_t len, void *arg)
{
	uint16_t *family = arg;
	struct nlattr *nla;

	for (nla = attrs; nla_ok(nla, len); nla = nla_next(nla, &len))
		if (nla->nla_type == CTRL_ATTR_FAMILY_ID)
			memcpy(family, nla_data(nla), sizeof(*family));
}

static void genl_open(struct genl *genl, const char *name)
{
	struct genl_msg msg;
	int ret;

	genl->family = 0;
	genl->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	nm_check(genl->fd >= 0, "netlink socket");

	genl_init(&msg, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, NLM_F_ACK);
	genl_put(&msg, CTRL_ATTR_FAMILY_NAME, name, strlen(name) + 1);
	ret = genl_talk(genl->fd, &msg, family_cb, &genl->family);
	errno = -ret;
	nm_check(!ret && genl->family, "netlink family %s", name);
}

static void rings_begin(struct genl *genl, struct genl_msg *msg,
			const char *name)
{
	struct nlattr *nest;

	genl_open(genl, ETHTOOL_GENL_NAME);
	genl_init(msg, genl->family, ETHTOOL_MSG_RINGS_SET, NLM_F_ACK);
	nest = genl_put(msg, ETHTOOL_A_RINGS_HEADER | NLA_F_NESTED, NULL, 0);
	genl_put(msg, ETHTOOL_A_HEADER_DEV_NAME, name, strlen(name) + 1);
	genl_nest_end(msg, nest);
}

void nm_buffers_set(const char *name, uint32_t bytes)
{
	struct genl_msg msg;
	struct genl genl;
	int ret;

	rings_begin(&genl, &msg, name);
	genl_put(&msg, ETHTOOL_A_RINGS_RX_BUF_LEN, &bytes, sizeof(bytes));
	ret = genl_talk(genl.fd, &msg, NULL, NULL);
	close(genl.fd);

	errno = -ret;
	nm_check(!ret, "%s: buffers of %u bytes", name, bytes);
}

void nm_rings_set(const char *name, unsigned int ring, bool hds)
{
	uint8_t split = hds ? ETHTOOL_TCP_DATA_SPLIT_ENABLED :
			      ETHTOOL_TCP_DATA_SPLIT_DISABLED;
	struct genl_msg msg;
	struct genl genl;
	int ret;

	rings_begin(&genl, &msg, name);
	genl_put(&msg, ETHTOOL_A_RINGS_RX, &ring, sizeof(ring));
	genl_put(&msg, ETHTOOL_A_RINGS_TCP_DATA_SPLIT, &split, sizeof(split));
	ret = genl_talk(genl.fd, &msg, NULL, NULL);
	close(genl.fd);

	errno = -ret;
	nm_check(!ret, "%s: a ring of %u, header-data split %s", name, ring,
		 hds ? "on" : "off");
}

static int rtnl_talk(struct genl_msg *msg)
{
	int fd, ret;

	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	nm_check(fd >= 0, "rtnetlink socket");
	ret = genl_talk(fd, msg, NULL, NULL);
	close(fd);

	return ret;
}

void nm_veth_create(const char *name, const char *peer, int peer_nsfd)
{
	struct nlattr *info, *data, *nest;
	struct ifinfomsg ifi = {};
	struct genl_msg msg = {
		.nlh.nlmsg_len = NLMSG_LENGTH(sizeof(ifi)),
		.nlh.nlmsg_type = RTM_NEWLINK,
		.nlh.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE |
				   NLM_F_EXCL,
	};
	int ret;

	genl_put(&msg, IFLA_IFNAME, name, strlen(name) + 1);
	info = genl_put(&msg, IFLA_LINKINFO | NLA_F_NESTED, NULL, 0);
	genl_put(&msg, IFLA_INFO_KIND, "veth", sizeof("veth"));
	data = genl_put(&msg, IFLA_INFO_DATA | NLA_F_NESTED, NULL, 0);
	nest = genl_put(&msg, VETH_INFO_PEER | NLA_F_NESTED, &ifi, sizeof(ifi));
	genl_put(&msg, IFLA_IFNAME, peer, strlen(peer) + 1);
	genl_put(&msg, IFLA_NET_NS_FD, &peer_nsfd, sizeof(peer_nsfd));
	genl_nest_end(&msg, nest);
	genl_nest_end(&msg, data);
	genl_nest_end(&msg, info);

	ret = rtnl_talk(&msg);
	if (ret == -EOPNOTSUPP)
		nm_skip("no veth (CONFIG_VETH)");
	errno = -ret;
	nm_check(!ret, "veth %s and %s", name, peer);
}

void nm_xdp_attach(const char *name, int prog, uint32_t flags)
{
	struct genl_msg msg = {
		.nlh.nlmsg_len = NLMSG_LENGTH(sizeof(msg.ifi)),
		.nlh.nlmsg_type = RTM_SETLINK,
		.nlh.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK,
	};
	struct nlattr *nest;
	int ret;

	genl_put(&msg, IFLA_IFNAME, name, strlen(name) + 1);
	nest = genl_put(&msg, IFLA_XDP | NLA_F_NESTED, NULL, 0);
	genl_put(&msg, IFLA_XDP_FD, &prog, sizeof(prog));
	genl_put(&msg, IFLA_XDP_FLAGS, &flags, sizeof(flags));
	genl_nest_end(&msg, nest);

	ret = rtnl_talk(&msg);
	errno = -ret;
	nm_check(!ret, "XDP on %s", name);
}

static void link_set_u32(const char *name, int attr, uint32_t val)
{
	struct genl_msg msg = {
		.nlh.nlmsg_len = NLMSG_LENGTH(sizeof(msg.ifi)),
		.nlh.nlmsg_type = RTM_SETLINK,
		.nlh.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK,
	};
	int ret;

	genl_put(&msg, IFLA_IFNAME, name, strlen(name) + 1);
	genl_put(&msg, attr, &val, sizeof(val));
	ret = rtnl_talk(&msg);
	errno = -ret;
	nm_check(!ret, "%s: attribute %d", name, attr);
}

void nm_link_move(const char *name, int nsfd)
{
	link_set_u32(name, IFLA_NET_NS_FD, nsfd);
}

void nm_link_no_gro(const char *name)
{
	link_set_u32(name, IFLA_GRO_IPV4_MAX_SIZE, 1);
}

/* It may be gone already */
void nm_link_del(const char *name)
{
	struct genl_msg msg = {
		.nlh.nlmsg_len = NLMSG_LENGTH(sizeof(msg.ifi)),
		.nlh.nlmsg_type = RTM_DELLINK,
		.nlh.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK,
	};

	genl_put(&msg, IFLA_IFNAME, name, strlen(name) + 1);
	rtnl_talk(&msg);
}

struct pool_dump {
	struct nm_pool *pools;
	unsigned int nr;
	unsigned int max;
};

static void kernel_info(struct nlattr *info, struct nm_pool *pool)
{
	size_t len = info->nla_len - NLA_HDRLEN;
	struct nlattr *nla;

	for (nla = nla_data(info); nla_ok(nla, len); nla = nla_next(nla, &len)) {
		if (nla->nla_type == NETDEV_A_KERNEL_PROVIDER_INFO_ID)
			pool->kernel = nla_uint(nla);
		else if (nla->nla_type == NETDEV_A_KERNEL_PROVIDER_INFO_IDLE_MEM)
			pool->kernel_idle = nla_uint(nla);
	}
}

static void pool_cb(struct nlattr *attrs, size_t len, void *arg)
{
	struct pool_dump *dump = arg;
	struct nm_pool pool = {};
	struct nlattr *nla;

	for (nla = attrs; nla_ok(nla, len); nla = nla_next(nla, &len)) {
		switch (nla->nla_type & NLA_TYPE_MASK) {
		case NETDEV_A_PAGE_POOL_ID:
			pool.id = nla_uint(nla);
			break;
		case NETDEV_A_PAGE_POOL_IFINDEX:
			pool.ifindex = nla_uint(nla);
			break;
		case NETDEV_A_PAGE_POOL_INFLIGHT:
			pool.inflight = nla_uint(nla);
			break;
		case NETDEV_A_PAGE_POOL_DETACH_TIME:
			pool.detached = true;
			break;
		case NETDEV_A_PAGE_POOL_CACHED:
			pool.cached = nla_uint(nla);
			break;
		case NETDEV_A_PAGE_POOL_LENT:
			pool.lends = true;
			pool.lent = nla_uint(nla);
			break;
		case NETDEV_A_PAGE_POOL_PROVIDER_MEM:
			pool.provider_mem = nla_uint(nla);
			break;
		case NETDEV_A_PAGE_POOL_PROVIDER_CGROUP_ID:
			pool.provider_cgroup = nla_uint(nla);
			break;
		case NETDEV_A_PAGE_POOL_KERNEL:
			kernel_info(nla, &pool);
			break;
		}
	}

	nm_check(dump->nr < dump->max, "too many page pools");
	dump->pools[dump->nr++] = pool;
}

static uint32_t stats_id(struct nlattr *info)
{
	size_t len = info->nla_len - NLA_HDRLEN;
	struct nlattr *nla;

	for (nla = nla_data(info); nla_ok(nla, len); nla = nla_next(nla, &len))
		if ((nla->nla_type & NLA_TYPE_MASK) == NETDEV_A_PAGE_POOL_ID)
			return nla_uint(nla);

	return 0;
}

static void stats_cb(struct nlattr *attrs, size_t len, void *arg)
{
	struct pool_dump *dump = arg;
	struct nm_pool stats = {};
	struct nlattr *nla;
	unsigned int i;

	for (nla = attrs; nla_ok(nla, len); nla = nla_next(nla, &len)) {
		switch (nla->nla_type & NLA_TYPE_MASK) {
		case NETDEV_A_PAGE_POOL_STATS_INFO:
			stats.id = stats_id(nla);
			break;
		case NETDEV_A_PAGE_POOL_STATS_ALLOC_SLOW:
			stats.slow = nla_uint(nla);
			break;
		case NETDEV_A_PAGE_POOL_STATS_RECYCLE_CACHED:
			stats.cache = nla_uint(nla);
			break;
		case NETDEV_A_PAGE_POOL_STATS_RECYCLE_RING:
			stats.ring = nla_uint(nla);
			break;
		case NETDEV_A_PAGE_POOL_STATS_RECYCLE_RING_FULL:
			stats.ring_full = nla_uint(nla);
			break;
		case NETDEV_A_PAGE_POOL_STATS_RECYCLE_RELEASED_REFCNT:
			stats.released = nla_uint(nla);
			break;
		}
	}

	for (i = 0; i < dump->nr; i++) {
		if (dump->pools[i].id != stats.id)
			continue;
		dump->pools[i].slow = stats.slow;
		dump->pools[i].ring = stats.ring;
		dump->pools[i].cache = stats.cache;
		dump->pools[i].ring_full = stats.ring_full;
		dump->pools[i].released = stats.released;
	}
}

unsigned int nm_pools(struct nm_pool *pools, unsigned int max)
{
	struct pool_dump dump = { .pools = pools, .max = max };
	struct genl_msg msg;
	struct genl genl;
	int ret;

	genl_open(&genl, NETDEV_FAMILY_NAME);
	genl_init(&msg, genl.family, NETDEV_CMD_PAGE_POOL_GET, NLM_F_DUMP);
	ret = genl_talk(genl.fd, &msg, pool_cb, &dump);
	errno = -ret;
	nm_check(!ret, "page-pool-get");

	/* CONFIG_PAGE_POOL_STATS is a must: most tests compare them */
	genl_init(&msg, genl.family, NETDEV_CMD_PAGE_POOL_STATS_GET,
		  NLM_F_DUMP);
	ret = genl_talk(genl.fd, &msg, stats_cb, &dump);
	errno = -ret;
	nm_check(!ret, "page-pool-stats-get (CONFIG_PAGE_POOL_STATS)");
	close(genl.fd);

	return dump.nr;
}

bool nm_pool_get(unsigned int ifindex, struct nm_pool *pool)
{
	struct nm_pool pools[NM_MAX_POOLS];
	unsigned int i, nr;

	nr = nm_pools(pools, NM_MAX_POOLS);
	for (i = 0; i < nr; i++) {
		if (pools[i].ifindex != ifindex || pools[i].detached)
			continue;
		*pool = pools[i];
		return true;
	}

	return false;
}

bool nm_pool_exists(uint32_t id)
{
	struct nm_pool pools[NM_MAX_POOLS];
	unsigned int i, nr;

	nr = nm_pools(pools, NM_MAX_POOLS);
	for (i = 0; i < nr; i++)
		if (pools[i].id == id)
			return true;

	return false;
}

/* What is looked for: 0 means any. And what is found. */
struct held {
	uint32_t pool;
	uint64_t cgroup;
	uint64_t pages;
};

static void holder_cb(struct nlattr *attrs, size_t len, void *arg)
{
	uint64_t pool = 0, cgroup = 0, pages = 0;
	struct held *held = arg;
	struct nlattr *nla;

	for (nla = attrs; nla_ok(nla, len); nla = nla_next(nla, &len)) {
		switch (nla->nla_type & NLA_TYPE_MASK) {
		case NETDEV_A_PAGE_POOL_HOLDER_POOL_ID:
			pool = nla_uint(nla);
			break;
		case NETDEV_A_PAGE_POOL_HOLDER_CGROUP_ID:
			cgroup = nla_uint(nla);
			break;
		case NETDEV_A_PAGE_POOL_HOLDER_LENT:
			pages = nla_uint(nla);
			break;
		}
	}

	if ((!held->pool || held->pool == pool) &&
	    (!held->cgroup || held->cgroup == cgroup))
		held->pages += pages;
}

static int find_held(struct held *held)
{
	struct genl_msg msg;
	struct genl genl;
	int ret;

	genl_open(&genl, NETDEV_FAMILY_NAME);
	genl_init(&msg, genl.family, NETDEV_CMD_PAGE_POOL_HOLDER_GET,
		  NLM_F_DUMP);
	ret = genl_talk(genl.fd, &msg, holder_cb, held);
	close(genl.fd);

	return ret;
}

uint64_t nm_held(uint32_t id, uint64_t cgroup)
{
	struct held held = { .pool = id, .cgroup = cgroup };
	int ret = find_held(&held);

	errno = -ret;
	nm_check(!ret, "page-pool-holder-get");

	return held.pages;
}

bool nm_any_held(void)
{
	struct held held = {};

	return !find_held(&held) && held.pages;
}

/* The message of an error, behind the header of the request */
static void read_why(const struct nlmsghdr *nlh, char *why, size_t size)
{
	struct nlmsgerr *err = NLMSG_DATA(nlh);
	struct nlattr *nla = (void *)(err + 1);
	size_t len = nlh->nlmsg_len - NLMSG_LENGTH(sizeof(*err));

	if (!(nlh->nlmsg_flags & NLM_F_ACK_TLVS))
		return;

	for (; nla_ok(nla, len); nla = nla_next(nla, &len))
		if (nla->nla_type == NLMSGERR_ATTR_MSG)
			snprintf(why, size, "%s", (char *)nla_data(nla));
}

/* The answer comes before the ack */
static int binding_talk(struct nm_binding *binding, struct genl_msg *msg)
{
	uint64_t buf[1024];
	struct nlmsghdr *nlh = (void *)buf;
	struct nlmsgerr *err = NLMSG_DATA(nlh);
	struct nlattr *nla;

	nm_check(send(binding->fd, msg, msg->nlh.nlmsg_len, 0) > 0,
		 "netlink send");
	for (;;) {
		nm_check(recv(binding->fd, buf, sizeof(buf), 0) > 0,
			 "netlink recv");
		if (nlh->nlmsg_type == NLMSG_ERROR)
			break;
		nla = (void *)((char *)NLMSG_DATA(nlh) + GENL_HDRLEN);
		if (nla->nla_type == NETDEV_A_KERNEL_MEMORY_ID)
			binding->id = nla_uint(nla);
	}

	read_why(nlh, binding->why, sizeof(binding->why));
	return err->error;
}

static void put_rx_queue(struct genl_msg *msg, uint32_t queue)
{
	uint32_t type = NETDEV_QUEUE_TYPE_RX;
	struct nlattr *nest;

	nest = genl_put(msg, NETDEV_A_KERNEL_MEMORY_QUEUES | NLA_F_NESTED,
			NULL, 0);
	genl_put(msg, NETDEV_A_QUEUE_ID, &queue, sizeof(queue));
	genl_put(msg, NETDEV_A_QUEUE_TYPE, &type, sizeof(type));
	genl_nest_end(msg, nest);
}

void nm_bind_open(struct nm_binding *binding)
{
	struct genl genl;
	int one = 1;

	memset(binding, 0, sizeof(*binding));
	genl_open(&genl, NETDEV_FAMILY_NAME);
	setsockopt(genl.fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));
	setsockopt(genl.fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one));
	binding->fd = genl.fd;
	binding->family = genl.family;
}

int nm_bind_opened(struct nm_binding *binding, uint32_t ifindex,
		   uint32_t first, uint32_t nr, uint64_t size, bool huge)
{
	struct genl_msg msg;
	uint32_t i;

	genl_init(&msg, binding->family, NETDEV_CMD_BIND_RX_KERNEL, NLM_F_ACK);
	genl_put(&msg, NETDEV_A_KERNEL_MEMORY_IFINDEX, &ifindex,
		 sizeof(ifindex));
	for (i = 0; i < nr; i++)
		put_rx_queue(&msg, first + i);
	genl_put(&msg, NETDEV_A_KERNEL_MEMORY_SIZE, &size, sizeof(size));
	if (huge)
		genl_put(&msg, NETDEV_A_KERNEL_MEMORY_HUGE, NULL, 0);

	return binding_talk(binding, &msg);
}

int nm_bind_kernel(struct nm_binding *binding, uint32_t ifindex,
		   uint32_t first, uint32_t nr, uint64_t size, bool huge)
{
	int ret;

	nm_bind_open(binding);
	ret = nm_bind_opened(binding, ifindex, first, nr, size, huge);
	if (ret)
		close(binding->fd);

	return ret;
}

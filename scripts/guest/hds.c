// SPDX-License-Identifier: GPL-2.0
/* Switch header-data split of a network device on or off, as
 * "ethtool -G DEV tcp-data-split on|off" does from ethtool 6.13 on. Talks raw
 * generic netlink, so that it needs no library and no newer tool.
 */
#include <errno.h>
#include <linux/ethtool_netlink.h>
#include <linux/genetlink.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct genl_msg {
	struct nlmsghdr nlh;
	struct genlmsghdr genl;
	char attrs[8192];	/* room for the list of ethtool operations */
};

/* Append an attribute; the caller corrects nla_len of a nest it has opened */
static struct nlattr *genl_put(struct genl_msg *msg, int type, const void *data,
			       size_t len)
{
	struct nlattr *nla = (void *)((char *)msg + msg->nlh.nlmsg_len);

	nla->nla_type = type;
	nla->nla_len = NLA_HDRLEN + len;
	memcpy((char *)nla + NLA_HDRLEN, data, len);
	msg->nlh.nlmsg_len += NLA_ALIGN(nla->nla_len);
	return nla;
}

/* Send a request, wait for the answer in @msg. Returns 0 or -errno. */
static int genl_talk(int fd, struct genl_msg *msg)
{
	struct nlmsgerr *err = (void *)&msg->genl;
	ssize_t len;

	if (send(fd, msg, msg->nlh.nlmsg_len, 0) < 0)
		return -errno;
	len = recv(fd, msg, sizeof(*msg), 0);
	if (len < 0)
		return -errno;
	if (len < (ssize_t)sizeof(msg->nlh) || len < msg->nlh.nlmsg_len)
		return -EPROTO;
	return msg->nlh.nlmsg_type == NLMSG_ERROR ? err->error : 0;
}

static void genl_init(struct genl_msg *msg, int family, int cmd, int flags)
{
	memset(msg, 0, sizeof(*msg));
	msg->nlh.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN);
	msg->nlh.nlmsg_type = family;
	msg->nlh.nlmsg_flags = NLM_F_REQUEST | flags;
	msg->genl.cmd = cmd;
	msg->genl.version = 1;
}

/* Returns the number of the ethtool family or -errno */
static int ethnl_family(int fd)
{
	struct genl_msg msg;
	struct nlattr *nla;
	char *end;
	int ret;

	genl_init(&msg, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 0);
	genl_put(&msg, CTRL_ATTR_FAMILY_NAME, ETHTOOL_GENL_NAME,
		 sizeof(ETHTOOL_GENL_NAME));
	ret = genl_talk(fd, &msg);
	if (ret)
		return ret;

	end = (char *)&msg + msg.nlh.nlmsg_len;
	for (nla = (void *)msg.attrs;
	     (char *)nla + NLA_HDRLEN <= end && nla->nla_len >= NLA_HDRLEN;
	     nla = (void *)((char *)nla + NLA_ALIGN(nla->nla_len)))
		if (nla->nla_type == CTRL_ATTR_FAMILY_ID)
			return *(uint16_t *)((char *)nla + NLA_HDRLEN);
	return -ENOENT;
}

/* Returns 0 or -errno */
static int hds_set(const char *dev, bool on)
{
	uint8_t split = on ? ETHTOOL_TCP_DATA_SPLIT_ENABLED :
			     ETHTOOL_TCP_DATA_SPLIT_DISABLED;
	struct genl_msg msg;
	struct nlattr *nest;
	int fd, ret;

	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	if (fd < 0)
		return -errno;

	ret = ethnl_family(fd);
	if (ret > 0) {
		genl_init(&msg, ret, ETHTOOL_MSG_RINGS_SET, NLM_F_ACK);
		nest = genl_put(&msg, ETHTOOL_A_RINGS_HEADER | NLA_F_NESTED,
				NULL, 0);
		genl_put(&msg, ETHTOOL_A_HEADER_DEV_NAME, dev, strlen(dev) + 1);
		nest->nla_len = (char *)&msg + msg.nlh.nlmsg_len - (char *)nest;
		genl_put(&msg, ETHTOOL_A_RINGS_TCP_DATA_SPLIT, &split,
			 sizeof(split));
		ret = genl_talk(fd, &msg);
	}
	close(fd);
	return ret;
}

int main(int argc, char **argv)
{
	int ret;

	if (argc != 3 || strlen(argv[1]) >= 16 ||
	    (strcmp(argv[2], "on") && strcmp(argv[2], "off"))) {
		fprintf(stderr, "usage: hds DEV on|off\n");
		return 2;
	}

	ret = hds_set(argv[1], !strcmp(argv[2], "on"));
	if (ret)
		fprintf(stderr, "hds: %s: %s\n", argv[1], strerror(-ret));
	return !!ret;
}

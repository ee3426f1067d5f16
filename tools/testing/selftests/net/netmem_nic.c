// SPDX-License-Identifier: GPL-2.0
/*
 * The part of netmem_lib.h that knows the devices of the pair: what kinds there
 * are, how they are made and removed, and what their packets look like.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <linux/bpf.h>
#include <linux/ethtool.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "netmem_lib.h"

#define NSIM_BUS	"/sys/bus/netdevsim"
#define NSIM_ID_RX	7311
#define NSIM_ID_TX	7312
#define NSIM_ID_FAR_RX	7313
#define NSIM_ID_FAR_TX	7314
#define NSIM_ID_MANY	7315	/* and on */
#define NSIM_ID_LAST	7319

#define VETH_RX		"nmvrx"
#define VETH_TX		"nmvtx"

struct nic {
	const char *name;
	size_t lead;
	/* Pages of the pool's ring, 0: as asked for, and of the device's ring */
	unsigned int ring;
	unsigned int posted;
	/* Bytes in packets to receive before its buffers are whole pages */
	size_t prime;
	void (*find)(void);
	/* Sets rx_name and tx_name */
	void (*create)(struct nm_pair *pair);
	void (*delete)(void);
};

static const struct nic *nic;

/* ----- netdevsim ----- */

static void nsim_find(void)
{
	if (access(NSIM_BUS, F_OK) && system("modprobe -q netdevsim"))
		ksft_exit_skip("no netdevsim in this kernel\n");
}

static void nsim_ctl(const char *file, const char *text)
{
	char path[64];
	int ret;

	snprintf(path, sizeof(path), NSIM_BUS "/%s", file);
	ret = nm_write(path, text);
	errno = -ret;
	nm_check(!ret, "netdevsim: %s > %s", text, file);
}

/* The device that was not there before */
static void nsim_name(const struct if_nameindex *before, char *name)
{
	struct if_nameindex *now = if_nameindex();
	int i, j;

	nm_check(before && now, "if_nameindex");
	for (i = 0; now[i].if_index; i++) {
		for (j = 0; before[j].if_index; j++)
			if (before[j].if_index == now[i].if_index)
				break;
		if (before[j].if_index)
			continue;
		snprintf(name, IFNAMSIZ, "%s", now[i].if_name);
		if_freenameindex(now);
		return;
	}
	nm_fail("netdevsim made no device");
}

static void nsim_create_one(int id, char *name, unsigned int queues)
{
	struct if_nameindex *before = if_nameindex();
	char text[32];

	snprintf(text, sizeof(text), "%d 1 %u", id, queues);
	nsim_ctl("new_device", text);
	nsim_name(before, name);
	if_freenameindex(before);
}

struct nsim_end {
	int id;
	char *name;
	unsigned int ifindex;
	unsigned int queues;
	unsigned int ring;	/* of a receiver */
};

#define NSIM_RING_MAX	4096	/* unless told otherwise */

static void nsim_allow_ring(const struct nsim_end *end)
{
	char path[128], text[16];

	snprintf(path, sizeof(path),
		 "/sys/kernel/debug/netdevsim/netdevsim%d/ports/0/ethtool/ring/rx_max_pending",
		 end->id);
	snprintf(text, sizeof(text), "%u", end->ring);
	nm_check(!nm_write(path, text), "%s > %s", text, path);
}

static void nsim_create_end(void *arg)
{
	struct nsim_end *end = arg;

	nsim_create_one(end->id, end->name, end->queues);
	end->ifindex = if_nametoindex(end->name);
	if (end->ring > NSIM_RING_MAX)
		nsim_allow_ring(end);
	if (end->ring)
		nm_rings_set(end->name, end->ring, true);
}

static void nsim_create_pair(struct nm_pair *pair, int id_rx, int id_tx)
{
	unsigned int queues = pair->queues ? pair->queues : 1;
	struct nsim_end rx = {
		id_rx, pair->rx_name, .queues = queues, .ring = pair->keeps
	};
	struct nsim_end tx = { id_tx, pair->tx_name, .queues = queues };
	char text[64];

	nm_in_ns(pair->ns_rx, nsim_create_end, &rx);
	nm_in_ns(pair->ns_tx, nsim_create_end, &tx);
	pair->rx_ifindex = rx.ifindex;
	pair->tx_ifindex = tx.ifindex;
	snprintf(text, sizeof(text), "%d:%u %d:%u", pair->ns_rx, rx.ifindex,
		 pair->ns_tx, tx.ifindex);
	nsim_ctl("link_device", text);
}

#define NSIM_QUEUES_MAX	1000U

void nm_many_pools(unsigned int pools)
{
	unsigned int queues, id;
	char name[IFNAMSIZ];

	nm_need_netdevsim("as many queues as it likes");
	for (id = NSIM_ID_MANY; pools; id++, pools -= queues) {
		nm_check(id <= NSIM_ID_LAST, "too many pools");
		queues = pools < NSIM_QUEUES_MAX ? pools : NSIM_QUEUES_MAX;
		nsim_create_one(id, name, queues);
		nm_link_set(name, true);
	}
}

static void nsim_create(struct nm_pair *pair)
{
	nsim_create_pair(pair, NSIM_ID_RX, NSIM_ID_TX);
}

static void nsim_delete(void)
{
	char text[16];
	int id;

	for (id = NSIM_ID_RX; id <= NSIM_ID_LAST; id++) {
		snprintf(text, sizeof(text), "%d", id);
		nm_write(NSIM_BUS "/del_device", text);
	}
}

void nm_need_netdevsim(const char *why)
{
	if (nic->create != nsim_create)
		nm_skip("%s: needs netdevsim, not %s", why, nic->name);
}

void nm_pair_restart(const struct nm_pair *pair)
{
	char path[128];
	int ret;

	nm_need_netdevsim("restarts a queue");
	snprintf(path, sizeof(path),
		 "/sys/kernel/debug/netdevsim/netdevsim%d/ports/0/queue_reset",
		 NSIM_ID_RX);
	ret = nm_write(path, "0 0");
	errno = -ret;
	nm_check(!ret, "queue_reset of %s", pair->rx_name);
}

/* ----- PCI devices ----- */

/* Receiver and sender */
static const char * const pci_mac[] = {
	"52:54:00:4e:4d:01", "52:54:00:4e:4d:02"
};

/* Their directories, while they are removed, too */
static char pci_path[2][PATH_MAX];

/* The device with hardware address @mac in the netns of sysfs, "" if none */
static void pci_netdev(const char *mac, char *name)
{
	char addr[32];
	size_t i;
	glob_t g;

	*name = 0;
	if (glob("/sys/class/net/*/address", 0, NULL, &g))
		return;
	for (i = 0; i < g.gl_pathc; i++) {
		nm_read(g.gl_pathv[i], addr, sizeof(addr));
		if (!strncmp(addr, mac, strlen(mac)))
			sscanf(g.gl_pathv[i], "/sys/class/net/%15[^/]", name);
	}
	globfree(&g);
}

static void pci_rescan(void)
{
	int ret = nm_write("/sys/bus/pci/rescan", "1");

	errno = -ret;
	nm_check(!ret, "rescan of PCI");
}

/* A virtio device is one below the PCI device */
static void pci_find_one(const char *mac, char *path)
{
	char name[IFNAMSIZ], link[64], file[PATH_MAX + 8];

	pci_netdev(mac, name);
	snprintf(link, sizeof(link), "/sys/class/net/%s/device", name);
	if (!*name || !realpath(link, path))
		ksft_exit_skip("no device %s\n", mac);
	snprintf(file, sizeof(file), "%s/remove", path);
	if (access(file, F_OK))
		*strrchr(path, '/') = 0;
}

static void pci_find(void)
{
	pci_rescan();
	pci_find_one(pci_mac[0], pci_path[0]);
	pci_find_one(pci_mac[1], pci_path[1]);
}

static void pci_create(struct nm_pair *pair)
{
	pci_rescan();
	pci_netdev(pci_mac[0], pair->rx_name);
	pci_netdev(pci_mac[1], pair->tx_name);
	nm_check(if_nametoindex(pair->rx_name) && if_nametoindex(pair->tx_name),
		 "no devices, or not in this netns");
	nm_link_move(pair->tx_name, pair->ns_tx);
}

static void tso_off(void *arg)
{
	struct ethtool_value off = { .cmd = ETHTOOL_STSO, .data = 0 };

	nm_ethtool(arg, &off);
}

/* Segments that QEMU cuts it sends as fragments, which cannot be mapped */
static void e1000e_create(struct nm_pair *pair)
{
	pci_create(pair);
	nm_in_ns(pair->ns_tx, tso_off, pair->tx_name);
}

static void pci_delete(void)
{
	char file[PATH_MAX + 8];
	int i;

	for (i = 0; i < 2; i++) {
		snprintf(file, sizeof(file), "%s/remove", pci_path[i]);
		nm_write(file, "1");
	}
}

/* ----- veth ----- */

static void veth_create(struct nm_pair *pair)
{
	strcpy(pair->rx_name, VETH_RX);
	strcpy(pair->tx_name, VETH_TX);
	nm_veth_create(VETH_RX, VETH_TX, pair->ns_tx);
	/* For it, veth copies packets to pages of its pool */
	nm_xdp_on(VETH_RX, -1, nm_xdp_verdict(XDP_PASS));
}

static void veth_delete(void)
{
	nm_link_del(VETH_RX);
}

/* ----- all kinds ----- */

static const struct nic nics[] = {
	{ "netdevsim", 0, 0, 0, 0, nsim_find, nsim_create, nsim_delete },
	/* Two pages for each of 256 descriptors */
	{ "e1000e", 0, 768, 512, 0, pci_find, e1000e_create, pci_delete },
	/* The first page of a packet begins with the headers, of 12 + 66 bytes */
	{ "virtio", 4018, 1024, 1024, 8 << 20, pci_find, pci_create, pci_delete },
	/* And 256 bytes of headroom, 66 of headers, 320 of struct skb_shared_info */
	{ "veth", 3454, 256, 0, 0, NULL, veth_create, veth_delete },
};

void nm_nic_find(void)
{
	const char *name = getenv("NIC");
	unsigned int i;

	if (!name)
		name = "netdevsim";
	for (i = 0; i < ARRAY_SIZE(nics); i++)
		if (!strcmp(nics[i].name, name))
			nic = &nics[i];
	if (!nic)
		ksft_exit_fail_msg("NIC=%s is not known\n", name);
	if (nic->find)
		nic->find();
}

const char *nm_nic(void)
{
	return nic->name;
}

size_t nm_nic_lead(void)
{
	return nic->lead;
}

static void configure(const char *name, const char *addr)
{
	nm_link_mtu(name, nic->lead ? NM_MTU + NM_PAGE : NM_MTU);
	nm_link_addr(name, addr);
	nm_link_set(name, true);
}

/* A driver may take a moment to see the link */
static void wait_link(const char *name)
{
	nm_check(nm_until(nm_link_running(name), NM_TIMEOUT_MS), "no link: %s",
		 name);
}

static void configure_tx(void *arg)
{
	struct nm_pair *pair = arg;

	configure(pair->tx_name, NM_ADDR_TX);
	wait_link(pair->tx_name);
	pair->tx_ifindex = if_nametoindex(pair->tx_name);
}

/* The driver posts buffers as large as packets were of late */
static void prime(const struct nm_pair *pair)
{
	static char buf[256 * 1024];
	struct nm_conn conn;
	pid_t sender;
	int fd;

	nm_conn_open(&conn, -1, pair->ns_tx, NM_ADDR_RX);
	fd = nm_conn_accept(&conn);
	sender = nm_send(conn.tx, 0, nic->prime / 2, 0);
	close(conn.tx);
	close(conn.listener);
	while (recv(fd, buf, sizeof(buf), 0) > 0)
		;
	nm_wait(sender);
	close(fd);
}

static int this_ns(void)
{
	int ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	nm_check(ns >= 0, "netns");
	return ns;
}

void nm_pair_create(struct nm_pair *pair, unsigned int ring)
{
	if (ring != NM_RING)
		nm_need_netdevsim("sets the size of the ring");
	if (pair->queues)
		nm_need_netdevsim("sets the number of queues");
	nm_pair_delete();
	pair->keeps = nic->ring ? nic->ring + nic->posted : ring;
	pair->ns_rx = this_ns();
	pair->ns_tx = nm_new_ns();

	nic->create(pair);
	pair->rx_ifindex = if_nametoindex(pair->rx_name);
	configure(pair->rx_name, NM_ADDR_RX);
	/* What has too many fragments becomes a list, which cannot be mapped */
	if (nic->lead)
		nm_link_no_gro(pair->rx_name);
	nm_in_ns(pair->ns_tx, configure_tx, pair);
	wait_link(pair->rx_name);
	if (nic->prime)
		prime(pair);
}

void nm_pair_delete(void)
{
	nic->delete();
}

/* ----- beyond the receiver ----- */

static void route_to_far(void *arg)
{
	nm_route_add("203.0.113.0", NM_ADDR_RX);
}

static void route_from_far(void *arg)
{
	nm_route_add("198.51.100.0", NM_ADDR_FORWARDER);
}

static void forward_to(const struct nm_pair *pair, const char *name, int ns_far)
{
	nm_in_ns(pair->ns_tx, route_to_far, NULL);
	nm_in_ns(ns_far, route_from_far, NULL);
	nm_forwarding_on(pair->rx_name);
	nm_forwarding_on(name);
}

static void configure_far(void *name)
{
	configure(name, NM_ADDR_FAR);
}

void nm_pair_extend(const struct nm_pair *pair, struct nm_pair *far,
		    unsigned int ring, int ns_far)
{
	nm_need_netdevsim("two pairs");
	far->keeps = ring;
	far->ns_rx = ns_far;
	far->ns_tx = this_ns();
	nsim_create_pair(far, NSIM_ID_FAR_RX, NSIM_ID_FAR_TX);
	nm_in_ns(ns_far, configure_far, far->rx_name);
	configure(far->tx_name, NM_ADDR_FORWARDER);
	forward_to(pair, far->tx_name, ns_far);
}

void nm_pair_extend_veth(const struct nm_pair *pair, int ns_far)
{
	nm_veth_create("nmv0", "nmv1", ns_far);
	configure("nmv0", NM_ADDR_FORWARDER);
	nm_in_ns(ns_far, configure_far, "nmv1");
	forward_to(pair, "nmv0", ns_far);
}

static void run_tc(void *command)
{
	if (system(command))
		nm_skip("no tc(8), or no netem (CONFIG_NET_SCH_NETEM)");
}

void nm_netem(int nsfd, const char *name, const char *netem)
{
	char command[128];

	snprintf(command, sizeof(command),
		 "tc qdisc add dev %s root netem limit 100000 %s", name, netem);
	nm_in_ns(nsfd, run_tc, command);
}

void nm_pair_delay(const struct nm_pair *pair, unsigned int ms)
{
	char netem[32];

	snprintf(netem, sizeof(netem), "delay %ums", ms);
	nm_netem(pair->ns_tx, pair->tx_name, netem);
}

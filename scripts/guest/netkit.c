// SPDX-License-Identifier: GPL-2.0
/* What iproute2 and ethtool of today cannot do for a container that owns an rx
 * queue:
 *
 *	netkit lease DEV QUEUE NETKIT	NETKIT, the peer of its pair, gets a new
 *					queue that stands for QUEUE of DEV; prints
 *					its number
 *	netkit redirect DEV NETKIT ADDR	what DEV receives for the IPv6 address
 *					goes to the peer of NETKIT, in whatever
 *					netns it is, as long as DEV lives
 *	netkit release DEV		or until this
 *	netkit bind DEV QUEUE BYTES COMMAND...
 *					runs COMMAND, and QUEUE receives into that
 *					much kernel memory until it ends
 */
#include <arpa/inet.h>
#include <errno.h>
#include <error.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ynl.h>
#include "netdev-user.h"

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

#define LOAD(size, off) \
	{ .code = BPF_LD | BPF_ABS | (size), .imm = (off) }
/* 32 bits, else the constant would get a sign */
#define UNLESS_GOTO(k, to) \
	{ .code = BPF_JMP32 | BPF_JNE | BPF_K, .imm = (k), .off = (to) }
#define MOV_REG(dst, src) \
	{ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = (dst), .src_reg = (src) }
#define MOV(dst, k) \
	{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = (dst), .imm = (k) }
#define CALL(func) \
	{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_##func }
#define EXIT \
	{ .code = BPF_JMP | BPF_EXIT }

static int bpf(int cmd, union bpf_attr *attr, const char *what)
{
	int ret = syscall(__NR_bpf, cmd, attr, sizeof(*attr));

	if (ret < 0)
		error(EXIT_FAILURE, errno, "%s", what);
	return ret;
}

static unsigned int ifindex(const char *name)
{
	unsigned int index = if_nametoindex(name);

	if (!index)
		error(EXIT_FAILURE, errno, "%s", name);
	return index;
}

static int redirect(const char *dev, const char *netkit, const char *addr)
{
	uint32_t word[4];

	if (inet_pton(AF_INET6, addr, word) != 1)
		error(EXIT_FAILURE, 0, "%s: no IPv6 address", addr);

	/* Loads take what they find as big endian, and end the program with
	 * TCX_PASS where the packet ends.
	 */
	const struct bpf_insn insns[] = {
		MOV_REG(BPF_REG_6, BPF_REG_1),
		LOAD(BPF_H, 12),
		UNLESS_GOTO(ETH_P_IPV6, 12),
		LOAD(BPF_W, ETH_HLEN + 24),
		UNLESS_GOTO(ntohl(word[0]), 10),
		LOAD(BPF_W, ETH_HLEN + 28),
		UNLESS_GOTO(ntohl(word[1]), 8),
		LOAD(BPF_W, ETH_HLEN + 32),
		UNLESS_GOTO(ntohl(word[2]), 6),
		LOAD(BPF_W, ETH_HLEN + 36),
		UNLESS_GOTO(ntohl(word[3]), 4),
		MOV(BPF_REG_1, ifindex(netkit)),
		MOV(BPF_REG_2, 0),
		CALL(redirect_peer),
		EXIT,
		MOV(BPF_REG_0, TCX_NEXT),
		EXIT,
	};
	union bpf_attr prog = {
		.prog_type = BPF_PROG_TYPE_SCHED_CLS,
		.insns = (uintptr_t)insns,
		.insn_cnt = ARRAY_SIZE(insns),
		.license = (uintptr_t)"GPL",
	};
	union bpf_attr attach = {
		.attach_type = BPF_TCX_INGRESS,
		.target_ifindex = ifindex(dev),
	};

	attach.attach_bpf_fd = bpf(BPF_PROG_LOAD, &prog, "program");
	bpf(BPF_PROG_ATTACH, &attach, dev);

	return EXIT_SUCCESS;
}

static int release(const char *dev)
{
	union bpf_attr detach = {
		.attach_type = BPF_TCX_INGRESS,
		.target_ifindex = ifindex(dev),
	};

	/* The last one attached */
	bpf(BPF_PROG_DETACH, &detach, dev);

	return EXIT_SUCCESS;
}

static int lease(const char *dev, const char *queue, const char *netkit)
{
	struct netdev_queue_create_req *req = netdev_queue_create_req_alloc();
	struct netdev_queue_create_rsp *rsp;
	struct ynl_error err;
	struct ynl_sock *ys;

	ys = ynl_sock_create(&ynl_netdev_family, &err);
	if (!ys || !req)
		error(EXIT_FAILURE, 0, "netlink: %s", err.msg);

	netdev_queue_create_req_set_ifindex(req, ifindex(netkit));
	netdev_queue_create_req_set_type(req, NETDEV_QUEUE_TYPE_RX);
	netdev_queue_create_req_set_lease_ifindex(req, ifindex(dev));
	netdev_queue_create_req_set_lease_queue_id(req, strtoul(queue, NULL, 0));
	netdev_queue_create_req_set_lease_queue_type(req, NETDEV_QUEUE_TYPE_RX);
	rsp = netdev_queue_create(ys, req);
	if (!rsp)
		error(EXIT_FAILURE, 0, "queue %s of %s: %s", queue, dev, ys->err.msg);
	printf("%u\n", rsp->id);

	netdev_queue_create_rsp_free(rsp);
	netdev_queue_create_req_free(req);
	ynl_sock_destroy(ys);

	return EXIT_SUCCESS;
}

/* COMMAND inherits the socket, which the binding ends with. */
static int bind_and_run(char **argv)
{
	struct netdev_bind_rx_kernel_req *req = netdev_bind_rx_kernel_req_alloc();
	struct netdev_queue_id *queues = netdev_queue_id_alloc(1);
	struct netdev_bind_rx_kernel_rsp *rsp;
	struct ynl_error err;
	struct ynl_sock *ys;

	ys = ynl_sock_create(&ynl_netdev_family, &err);
	if (!ys || !req || !queues)
		error(EXIT_FAILURE, 0, "netlink: %s", err.msg);

	netdev_queue_id_set_type(&queues[0], NETDEV_QUEUE_TYPE_RX);
	netdev_queue_id_set_id(&queues[0], strtoul(argv[1], NULL, 0));
	netdev_bind_rx_kernel_req_set_ifindex(req, ifindex(argv[0]));
	netdev_bind_rx_kernel_req_set_size(req, strtoull(argv[2], NULL, 0));
	__netdev_bind_rx_kernel_req_set_queues(req, queues, 1);
	rsp = netdev_bind_rx_kernel(ys, req);
	if (!rsp)
		error(EXIT_FAILURE, 0, "queue %s of %s: %s", argv[1], argv[0],
		      ys->err.msg);

	execvp(argv[3], argv + 3);
	error(EXIT_FAILURE, errno, "%s", argv[3]);
	return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "lease"))
		return lease(argv[2], argv[3], argv[4]);
	if (argc == 5 && !strcmp(argv[1], "redirect"))
		return redirect(argv[2], argv[3], argv[4]);
	if (argc == 3 && !strcmp(argv[1], "release"))
		return release(argv[2]);
	if (argc > 5 && !strcmp(argv[1], "bind"))
		return bind_and_run(argv + 2);

	fprintf(stderr, "Usage: %s lease DEV QUEUE NETKIT\n"
			"       %s redirect DEV NETKIT ADDR\n"
			"       %s release DEV\n"
			"       %s bind DEV QUEUE BYTES COMMAND...\n",
		argv[0], argv[0], argv[0], argv[0]);
	return 2;
}

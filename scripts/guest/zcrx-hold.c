// SPDX-License-Identifier: GPL-2.0
/* zcrx-hold DEV QUEUE: bind memory to a queue for io_uring's zero copy receive,
 * then move to the netns of the first process and wait. The ring is all that is
 * left of it in the first netns, and rings do not keep a netns.
 */
#define _GNU_SOURCE
#include <error.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <net/if.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define AREA_SIZE	(8 << 20)
#define RING_SIZE	(1 << 20)

static void *memory(size_t size)
{
	void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);

	if (mem == MAP_FAILED)
		error(EXIT_FAILURE, errno, "mmap");
	return mem;
}

int main(int argc, char **argv)
{
	struct io_uring_zcrx_area_reg area = {
		.addr = (uintptr_t)memory(AREA_SIZE),
		.len = AREA_SIZE,
	};
	struct io_uring_region_desc region = {
		.user_addr = (uintptr_t)memory(RING_SIZE),
		.size = RING_SIZE,
		.flags = IORING_MEM_REGION_TYPE_USER,
	};
	struct io_uring_zcrx_ifq_reg reg = {
		.rq_entries = 1024,
		.area_ptr = (uintptr_t)&area,
		.region_ptr = (uintptr_t)&region,
	};
	struct io_uring ring;
	int ret, netns;

	if (argc != 3) {
		fprintf(stderr, "Usage: %s DEV QUEUE\n", argv[0]);
		return 2;
	}
	reg.if_idx = if_nametoindex(argv[1]);
	reg.if_rxq = strtoul(argv[2], NULL, 0);

	ret = io_uring_queue_init(8, &ring, IORING_SETUP_SINGLE_ISSUER |
				  IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQE32);
	if (ret)
		error(EXIT_FAILURE, -ret, "ring");
	ret = io_uring_register_ifq(&ring, &reg);
	if (ret)
		error(EXIT_FAILURE, -ret, "%s", argv[1]);

	netns = open("/proc/1/ns/net", O_RDONLY);
	if (netns < 0 || setns(netns, CLONE_NEWNET))
		error(EXIT_FAILURE, errno, "netns");
	close(netns);
	puts("bound");
	fflush(stdout);
	pause();

	return EXIT_SUCCESS;
}

// SPDX-License-Identifier: GPL-2.0
/* xdp-pass DEV FILE: have an XDP program look at what DEV receives, packets of
 * many pages, too, and let all of it pass. FILE, in a bpf file system, keeps it
 * there. Needs no library, and no headers as new as the kernel's.
 */
#include <error.h>
#include <errno.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int bpf(int cmd, union bpf_attr *attr, const char *what)
{
	int ret = syscall(__NR_bpf, cmd, attr, sizeof(*attr));

	if (ret < 0)
		error(EXIT_FAILURE, errno, "%s", what);
	return ret;
}

int main(int argc, char **argv)
{
	const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = XDP_PASS },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr prog = {
		.prog_type = BPF_PROG_TYPE_XDP,
		.insns = (uintptr_t)insns,
		.insn_cnt = 2,
		.license = (uintptr_t)"GPL",
		.prog_flags = BPF_F_XDP_HAS_FRAGS,
	};
	union bpf_attr link = { .link_create.attach_type = BPF_XDP };
	union bpf_attr pin = { };

	if (argc != 3) {
		fprintf(stderr, "Usage: %s DEV FILE\n", argv[0]);
		return 2;
	}
	link.link_create.prog_fd = bpf(BPF_PROG_LOAD, &prog, "program");
	link.link_create.target_ifindex = if_nametoindex(argv[1]);
	pin.bpf_fd = bpf(BPF_LINK_CREATE, &link, argv[1]);
	pin.pathname = (uintptr_t)argv[2];
	bpf(BPF_OBJ_PIN, &pin, argv[2]);

	return EXIT_SUCCESS;
}

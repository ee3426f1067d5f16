// SPDX-License-Identifier: GPL-2.0
/*
 * The BPF part of netmem_lib.h: small programs, without any library.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <sys/syscall.h>

#include "netmem_lib.h"

#define INSN(c, dst, src, i)						\
	((struct bpf_insn){ .code = (c), .dst_reg = (dst),		\
			    .src_reg = (src), .imm = (i) })
#define MOV(reg, i)	INSN(BPF_ALU64 | BPF_MOV | BPF_K, reg, 0, i)
#define CALL(fn)	INSN(BPF_JMP | BPF_CALL, 0, 0, fn)
#define EXIT		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0)

int nm_bpf_load(uint32_t type, uint32_t flags, const struct bpf_insn *insns,
		unsigned int nr)
{
	union bpf_attr attr = {
		.prog_type = type,
		.insns = (uintptr_t)insns,
		.insn_cnt = nr,
		.license = (uintptr_t)"GPL",
		.prog_flags = flags,
	};
	int fd;

	if (access("/proc/sys/kernel/bpf_stats_enabled", F_OK))
		nm_skip("no bpf(2) (CONFIG_BPF_SYSCALL)");
	fd = syscall(__NR_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
	nm_check(fd >= 0, "BPF_PROG_LOAD");
	return fd;
}

static int xdp_load(const struct bpf_insn *insns, unsigned int nr)
{
	return nm_bpf_load(BPF_PROG_TYPE_XDP, BPF_F_XDP_HAS_FRAGS, insns, nr);
}

int nm_xdp_verdict(int verdict)
{
	struct bpf_insn insns[] = { MOV(BPF_REG_0, verdict), EXIT };

	return xdp_load(insns, ARRAY_SIZE(insns));
}

int nm_xdp_redirect(unsigned int ifindex)
{
	struct bpf_insn insns[] = {
		MOV(BPF_REG_1, ifindex),
		MOV(BPF_REG_2, 0),
		CALL(BPF_FUNC_redirect),
		EXIT,
	};

	return xdp_load(insns, ARRAY_SIZE(insns));
}

int nm_xdp_shrink(int bytes)
{
	struct bpf_insn insns[] = {
		MOV(BPF_REG_2, -bytes),
		CALL(BPF_FUNC_xdp_adjust_tail),
		{ .code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = BPF_REG_0, .off = 2 },
		MOV(BPF_REG_0, XDP_DROP),
		EXIT,
		MOV(BPF_REG_0, XDP_PASS),
		EXIT,
	};

	return xdp_load(insns, ARRAY_SIZE(insns));
}

struct xdp_attach {
	const char *name;
	int prog;
	uint32_t flags;
};

static void xdp_attach(void *arg)
{
	struct xdp_attach *xdp = arg;

	nm_xdp_attach(xdp->name, xdp->prog, xdp->flags);
}

void nm_xdp_on(const char *name, int nsfd, int prog)
{
	struct xdp_attach xdp = { name, prog, XDP_FLAGS_DRV_MODE };

	nm_in_ns(nsfd, xdp_attach, &xdp);
}

void nm_xdp_generic_on(const char *name, int nsfd, int prog)
{
	struct xdp_attach xdp = { name, prog, XDP_FLAGS_SKB_MODE };

	nm_in_ns(nsfd, xdp_attach, &xdp);
}

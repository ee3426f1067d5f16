// SPDX-License-Identifier: GPL-2.0
/*
 * A plugin of QEMU that counts the instructions of each block of code of the
 * guest's kernel, between two calls of the kernel function at the address
 * mark=ADDR (and each second pair of calls after that). Writes to out=FILE lines
 * "address instructions times"; what user space executes is at address 0.
 *
 * Debian has no package with QEMU's header for plugins; what is declared here is
 * what its documentation says of the functions that are used.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

struct qemu_plugin_tb;
struct qemu_plugin_info;

typedef uint64_t plugin_id;

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id,
		void (*cb)(plugin_id id, struct qemu_plugin_tb *tb));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb,
		void (*cb)(unsigned int cpu, void *arg), int flags, void *arg);
void qemu_plugin_register_atexit_cb(plugin_id id,
		void (*cb)(plugin_id id, void *arg), void *arg);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);

EXPORT int qemu_plugin_version = PLUGIN_VERSION;

#define KERNEL	0xffff800000000000ULL

struct block {
	struct block *next;
	uint64_t address;
	uint64_t insns;
	uint64_t count;
};

/* A block that is translated again gets its old entry if it is as long. */
static struct block *blocks[1 << 16];
static uint64_t mark;
static bool counting;
static FILE *out;

static struct block *find_block(uint64_t address, uint64_t insns)
{
	struct block **head = &blocks[(address ^ address >> 16) & 0xffff], *b;

	for (b = *head; b; b = b->next) {
		if (b->address == address && b->insns == insns)
			return b;
	}
	b = calloc(1, sizeof(*b));
	if (!b)
		abort();
	b->address = address;
	b->insns = insns;
	b->next = *head;
	*head = b;

	return b;
}

static void executed(unsigned int cpu, void *arg)
{
	struct block *b = arg;

	(void)cpu;
	if (counting)
		b->count++;
	if (b->address == mark)
		counting = !counting;
}

static void translated(plugin_id id, struct qemu_plugin_tb *tb)
{
	uint64_t address = qemu_plugin_tb_vaddr(tb);

	(void)id;
	if (address < KERNEL)
		address = 0;
	qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, 0,
			find_block(address, qemu_plugin_tb_n_insns(tb)));
}

static void report(plugin_id id, void *arg)
{
	struct block *b;
	size_t i;

	(void)id;
	(void)arg;
	for (i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
		for (b = blocks[i]; b; b = b->next) {
			if (b->count)
				fprintf(out, "%" PRIx64 " %" PRIu64 " %" PRIu64 "\n",
					b->address, b->count * b->insns, b->count);
		}
	}
	fclose(out);
}

EXPORT int qemu_plugin_install(plugin_id id, const struct qemu_plugin_info *info,
			       int argc, char **argv)
{
	int i;

	(void)info;
	for (i = 0; i < argc; i++) {
		if (!strncmp(argv[i], "mark=", 5))
			mark = strtoull(argv[i] + 5, NULL, 16);
		else if (!strncmp(argv[i], "out=", 4))
			out = fopen(argv[i] + 4, "w");
	}
	if (!mark || !out)
		return -1;

	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, report, NULL);

	return 0;
}

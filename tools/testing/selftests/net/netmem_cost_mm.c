// SPDX-License-Identifier: GPL-2.0
/*
 * What those pay who do not receive anything: nanoseconds per operation of what
 * frees and refers to pages. With a clock that counts instructions, see
 * netmem_cost.c, these are instructions.
 *
 * Usage: netmem_cost_mm [TEST...]
 */
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "netmem_sides.h"

#define PAGES	512

static char page[NM_PAGE];

#define PARTS	25

/*
 * @op does @per operations at a time. The least of some parts: what is put off
 * until there is much of it, such as freeing after a grace period, falls on others.
 */
static void measure(const char *what, void (*op)(void *arg), void *arg,
		    unsigned int per, unsigned int times)
{
	uint64_t least = UINT64_MAX, start, ns;
	unsigned int part, i;

	for (i = 0; i < times; i++)
		op(arg);
	nm_sides_mark();
	for (part = 0; part < PARTS; part++) {
		start = nm_now_ns();
		for (i = 0; i < times; i++)
			op(arg);
		ns = nm_now_ns() - start;
		if (ns < least)
			least = ns;
	}
	nm_sides_mark();
	ksft_print_msg("%s: %.1f ns per op\n", what, (double)least / per / times);
	ksft_print_msg("%s/pages: %u ops\n", what, per * times * PARTS);
}

/* A page is faulted in, and unmapped with all the others */
static void fault_and_unmap(void *arg)
{
	char *area = mmap(NULL, PAGES * NM_PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t i;

	nm_check(area != MAP_FAILED, "mmap");
	for (i = 0; i < PAGES; i++)
		area[i * NM_PAGE] = 1;
	nm_check(!munmap(area, PAGES * NM_PAGE), "munmap");
}

static void anon_fault_munmap(void)
{
	measure(__func__, fault_and_unmap, NULL, PAGES, 24);
}

static void read_file(void *arg)
{
	int fd = *(int *)arg;
	size_t i;

	for (i = 0; i < PAGES; i++)
		nm_check_eq(pread(fd, page, NM_PAGE, i * NM_PAGE), NM_PAGE,
			    "pread");
}

/* Of what is in the page cache */
static void file_read(void)
{
	int fd = memfd_create(__func__, MFD_CLOEXEC);
	size_t i;

	nm_check(fd >= 0, "memfd_create");
	for (i = 0; i < PAGES; i++)
		nm_check_eq(write(fd, page, NM_PAGE), NM_PAGE, "write");
	measure(__func__, read_file, &fd, PAGES, 24);
}

static void write_and_read(void *arg)
{
	int *fd = arg;
	size_t i;

	for (i = 0; i < 8; i++)
		nm_check_eq(write(fd[1], page, NM_PAGE), NM_PAGE, "write");
	for (i = 0; i < 8; i++)
		nm_check_eq(read(fd[0], page, NM_PAGE), NM_PAGE, "read");
}

static void pipe_write_read(void)
{
	int fd[2];

	nm_check(!pipe(fd), "pipe");
	measure(__func__, write_and_read, fd, 8, 400);
}

static void fork_and_exit(void *arg)
{
	int status;
	pid_t pid;

	pid = fork();
	if (!pid)
		_exit(0);
	nm_check(waitpid(pid, &status, 0) == pid && !status, "a child");
}

static void fork_exit(void)
{
	measure(__func__, fork_and_exit, NULL, 1, 20);
}

static const struct nm_test tests[] = {
	NM_TEST(anon_fault_munmap),
	NM_TEST(file_read),
	NM_TEST(pipe_write_read),
	NM_TEST(fork_exit),
};

int main(int argc, char **argv)
{
	const struct nm_suite suite = {
		.tests = tests,
		.nr = ARRAY_SIZE(tests),
	};

	return nm_run(argc, argv, &suite);
}

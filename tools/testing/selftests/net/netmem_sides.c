// SPDX-License-Identifier: GPL-2.0
#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

#include "netmem_sides.h"

#define MAX_CLOCKS	1024

struct side_clock {
	clockid_t id;
	enum nm_side side;
};

static struct side_clock clocks[MAX_CLOCKS];
static unsigned int nr_clocks;
static char wire_path[128];
static uint64_t spent[NM_SIDES];
static enum nm_side own_side;
static uint64_t own_since;

static uint64_t read_clock(clockid_t id)
{
	struct timespec ts;

	nm_check(!clock_gettime(id, &ts), "clock_gettime");

	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static void add_clock(pid_t pid, enum nm_side side)
{
	nm_check(nr_clocks < MAX_CLOCKS, "too many clocks");
	nm_check(!clock_getcpuclockid(pid, &clocks[nr_clocks].id), "clock of %d",
		 pid);
	clocks[nr_clocks++].side = side;
}

pid_t nm_napi_thread(const char *device)
{
	char want[32], path[300], comm[32];
	struct dirent *entry;
	pid_t pid = 0;
	DIR *proc;

	snprintf(want, sizeof(want), "napi/%s-", device);
	proc = opendir("/proc");
	nm_check(proc, "/proc");
	while (!pid && (entry = readdir(proc))) {
		snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
		if (nm_read(path, comm, sizeof(comm)) > 0 &&
		    !strncmp(comm, want, strlen(want)))
			pid = atoi(entry->d_name);
	}
	closedir(proc);

	return pid;
}

struct device {
	const char *name;
	int ns;
};

/* sysfs shows the devices of the netns that it was mounted in. */
static void use_thread(void *arg)
{
	const struct device *device = arg;
	char path[64];

	nm_check(!setns(device->ns, CLONE_NEWNET) && !unshare(CLONE_NEWNS),
		 "netns of %s", device->name);
	nm_check(!mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
		 !umount2("/sys", MNT_DETACH) &&
		 !mount("sysfs", "/sys", "sysfs", 0, NULL), "sysfs");
	snprintf(path, sizeof(path), "/sys/class/net/%s/threaded", device->name);
	nm_check(!nm_write(path, "1"), "%s", path);
}

/* Like an interrupt it does not wait for others, so that all go on in one order. */
static void add_napi(const char *name, int ns, enum nm_side side)
{
	const struct sched_param first = { .sched_priority = 1 };
	struct device device = { name, ns };
	pid_t pid;

	nm_wait(nm_fork(use_thread, &device));
	pid = nm_napi_thread(name);
	nm_check(pid, "no thread polls %s", name);
	nm_check(!sched_setscheduler(pid, SCHED_FIFO, &first), "SCHED_FIFO");
	add_clock(pid, side);
}

static void find_wire(const char *device)
{
	char link[64], target[128], *name;
	ssize_t len;

	snprintf(link, sizeof(link), "/sys/class/net/%s/device", device);
	len = readlink(link, target, sizeof(target) - 1);
	nm_check(len > 0, "%s", link);
	target[len] = 0;
	name = strrchr(target, '/');
	snprintf(wire_path, sizeof(wire_path),
		 "/sys/kernel/debug/netdevsim/%s/ports/0/rx_wire_ns",
		 name ? name + 1 : target);
}

/* Else the sender's pacing decides how large packets are, by how long things took. */
static void send_large(void *arg)
{
	const char *path = "/proc/sys/net/ipv4/tcp_min_tso_segs";

	(void)arg;
	nm_check(!nm_write(path, "16"), "%s", path);
}

void nm_sides_init(const struct nm_pair *pair)
{
	nm_in_ns(pair->ns_tx, send_large, NULL);
	nm_need_netdevsim("tells the wire's work from the driver's");
	nr_clocks = 0;
	add_napi(pair->rx_name, pair->ns_rx, NM_RECEIVE);
	add_napi(pair->tx_name, pair->ns_tx, NM_SEND);
	find_wire(pair->rx_name);
}

void nm_sides_receiver(pid_t receiver)
{
	add_clock(receiver, NM_RECEIVE);
}

void nm_sides_now(enum nm_side side)
{
	uint64_t now = read_clock(CLOCK_THREAD_CPUTIME_ID);

	spent[own_side] += now - own_since;
	own_since = now;
	own_side = side;
}

/* @sign: 1 to add what the others' clocks say, -1 to take it off */
static void add_others(int sign)
{
	uint64_t wire = nr_clocks ? nm_read_long(wire_path) : 0;
	unsigned int i;

	for (i = 0; i < nr_clocks; i++)
		spent[clocks[i].side] += sign * read_clock(clocks[i].id);
	spent[NM_WIRE] += sign * wire;
	/* It is done where the receiver polls. */
	spent[NM_RECEIVE] -= sign * wire;
	spent[NM_WHOLE] += sign * nm_now_ns();
}

void nm_sides_mark(void)
{
	struct timespec ts;

	sched_rr_get_interval(0, &ts);
}

void nm_sides_start(void)
{
	nm_sides_now(NM_SEND);
	memset(spent, 0, sizeof(spent));
	add_others(-1);
	nm_sides_mark();
}

static void print_part(const char *what, const char *part, uint64_t ns,
		       unsigned int nr)
{
	ksft_print_msg("%s/%s: %.1f ns per page\n", what, part, (double)ns / nr);
}

void nm_sides_report(const char *what, unsigned int nr)
{
	uint64_t parts;

	nm_sides_mark();
	nm_sides_now(NM_SEND);
	add_others(1);
	ksft_print_msg("%s/pages: %u pages\n", what, nr);
	print_part(what, "whole", spent[NM_WHOLE], nr);
	if (!nr_clocks)
		return;

	parts = spent[NM_RECEIVE] + spent[NM_SEND] + spent[NM_WIRE];
	print_part(what, "receive", spent[NM_RECEIVE], nr);
	print_part(what, "send", spent[NM_SEND], nr);
	print_part(what, "wire", spent[NM_WIRE], nr);
	ksft_print_msg("%s/rest: %.1f ns per page\n", what,
		       (double)(int64_t)(spent[NM_WHOLE] - parts) / nr);
}

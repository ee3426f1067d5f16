// SPDX-License-Identifier: GPL-2.0
/*
 * The tracing part of netmem_lib.h: instances of our own, so that nobody else's
 * tracing is disturbed. One has the events that a test asks for, in the order
 * of all CPUs, the other counts lent pages.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "netmem_lib.h"

#define TRACEFS		"/sys/kernel/tracing"
#define INSTANCE	TRACEFS "/instances/netmem_test"
#define LENT_INSTANCE	TRACEFS "/instances/netmem_lent"
#define COUNT_INSTANCE	TRACEFS "/instances/netmem_count"
#define KPROBE_GROUP	"netmem_test"

static void control(const char *instance, const char *file, const char *text)
{
	char path[PATH_MAX];
	int ret;

	snprintf(path, sizeof(path), "%s/%s", instance, file);
	ret = nm_write(path, text);
	errno = -ret;
	nm_check(!ret, "%s > %s", text, path);
}

static void create(const char *instance)
{
	if (!mkdir(instance, 0700)) {
		/* Some 20000 events on each CPU: nothing may be lost */
		control(instance, "buffer_size_kb", "2048");
		/*
		 * Names of tasks would be recorded in sched_switch, switched on
		 * and off with each event: rewriting the code of the scheduler
		 * that often is more than some emulators can take.
		 */
		control(instance, "trace_options", "norecord-cmd");
		control(instance, "tracing_on", "0");
		return;
	}
	if (errno != EEXIST)
		nm_skip("no %s (CONFIG_TRACING)", instance);
}

static void enable_event(const char *instance, const char *event)
{
	char path[PATH_MAX], *colon;

	create(instance);
	snprintf(path, sizeof(path), "events/%s/enable", event);
	colon = strchr(path, ':');
	nm_check(colon, "%s is no event", event);
	*colon = '/';
	control(instance, path, "1");
}

void nm_trace_event(const char *event)
{
	enable_event(INSTANCE, event);
}

bool nm_trace_kprobe(const char *definition, const char *name)
{
	char text[256];
	int fd, ret;

	fd = open(TRACEFS "/kprobe_events", O_WRONLY | O_APPEND | O_CLOEXEC);
	if (fd < 0)
		return false;
	snprintf(text, sizeof(text), "p:" KPROBE_GROUP "/%s %s", name,
		 definition);
	ret = write(fd, text, strlen(text));
	close(fd);
	if (ret < 0)
		return false;

	snprintf(text, sizeof(text), KPROBE_GROUP ":%s", name);
	nm_trace_event(text);

	return true;
}

void nm_trace_start(void)
{
	control(INSTANCE, "tracing_on", "1");
}

void nm_trace_stop(void)
{
	control(INSTANCE, "tracing_on", "0");
}

void nm_trace_clear(void)
{
	int fd = open(INSTANCE "/trace", O_WRONLY | O_TRUNC | O_CLOEXEC);

	nm_check(fd >= 0, "trace");
	close(fd);
}

void nm_trace_mark(const char *text)
{
	control(INSTANCE, "trace_marker", text);
}

void nm_trace_cleanup(void)
{
	int fd;

	rmdir(LENT_INSTANCE);
	rmdir(COUNT_INSTANCE);
	if (rmdir(INSTANCE))
		return;
	fd = open(TRACEFS "/kprobe_events", O_WRONLY | O_APPEND | O_CLOEXEC);
	if (fd < 0)
		return;
	if (write(fd, "-:" KPROBE_GROUP "/", strlen("-:" KPROBE_GROUP "/")) < 0)
		errno = 0;
	close(fd);
}

/*
 *            test-123     [000] d.h1.    12.345678: name: args
 * The name of the task may contain anything, so start from the CPU.
 */
static bool parse(char *line, struct nm_event *ev)
{
	char *cpu = strstr(line, " ["), *flags, *pid, *name;

	if (line[0] == '#' || !cpu)
		return false;
	*cpu = 0;
	pid = strrchr(line, '-');
	flags = strchr(cpu + 1, ' ');
	name = flags ? strstr(flags, ": ") : NULL;
	if (!pid || !name)
		return false;

	while (*flags == ' ')
		flags++;
	ev->pid = atoi(pid + 1);
	ev->hardirq = flags[2] == 'h' || flags[2] == 'H';
	ev->softirq = flags[2] == 's' || flags[2] == 'H';
	ev->name = name + 2;
	ev->args = "";
	name = strstr(ev->name, ": ");
	if (name) {
		*name = 0;
		ev->args = name + 2;
	}

	return true;
}

void nm_trace_walk(void (*fn)(const struct nm_event *ev, void *arg), void *arg)
{
	struct nm_event ev;
	size_t size = 0;
	char *line = NULL;
	FILE *file;

	nm_trace_stop();
	file = fopen(INSTANCE "/trace", "re");
	nm_check(file, "trace");
	while (getline(&line, &size, file) > 0) {
		nm_check(!strstr(line, "LOST"), "events were lost");
		line[strcspn(line, "\n")] = 0;
		if (parse(line, &ev))
			fn(&ev, arg);
	}
	free(line);
	fclose(file);
}

uint64_t nm_event_u64(const struct nm_event *ev, const char *key, uint64_t none)
{
	size_t len = strlen(key);
	const char *at = ev->args;

	while ((at = strstr(at, key))) {
		if ((at == ev->args || at[-1] == ' ') && at[len] == '=')
			return strtoull(at + len + 1, NULL, 0);
		at += len;
	}

	return none;
}

bool nm_event_is(const struct nm_event *ev, const char *name)
{
	return !strcmp(ev->name, name);
}

/* Lent pages of the pool that lent_watch() was told */
static struct {
	FILE *pipe;
	uint32_t pool;
	long lent;
} lent;

bool nm_lent_watch(uint32_t pool)
{
	if (access(TRACEFS "/events/page_pool/page_pool_lend", F_OK))
		return false;

	enable_event(LENT_INSTANCE, "page_pool:page_pool_lend");
	enable_event(LENT_INSTANCE, "page_pool:page_pool_return");
	control(LENT_INSTANCE, "tracing_on", "1");
	lent.pipe = fdopen(open(LENT_INSTANCE "/trace_pipe",
				O_RDONLY | O_NONBLOCK | O_CLOEXEC), "r");
	nm_check(lent.pipe, "trace_pipe");
	lent.pool = pool;
	lent.lent = 0;

	return true;
}

static void lent_event(const struct nm_event *ev)
{
	long count = nm_event_u64(ev, "count", 0);

	if (nm_event_u64(ev, "pool_id", 0) != lent.pool)
		return;
	if (nm_event_is(ev, "page_pool_lend"))
		lent.lent += count;
	else if (nm_event_is(ev, "page_pool_return"))
		lent.lent -= count;
}

long nm_lent(void)
{
	struct nm_event ev;
	size_t size = 0;
	char *line = NULL;

	nm_check(lent.pipe, "this kernel lends no pages");
	clearerr(lent.pipe);
	while (getline(&line, &size, lent.pipe) > 0) {
		nm_check(!strstr(line, "LOST"), "events were lost");
		line[strcspn(line, "\n")] = 0;
		if (parse(line, &ev))
			lent_event(&ev);
	}
	free(line);

	return lent.lent;
}

static void event_path(const char *event, const char *file, char *path,
		       size_t size)
{
	const char *colon = strchr(event, ':');

	nm_check(colon, "%s is no event", event);
	snprintf(path, size, "events/%.*s/%s/%s", (int)(colon - event), event,
		 colon + 1, file);
}

bool nm_count_event(const char *event)
{
	char path[PATH_MAX], full[PATH_MAX + sizeof(COUNT_INSTANCE)];

	create(COUNT_INSTANCE);
	event_path(event, "trigger", path, sizeof(path));
	snprintf(full, sizeof(full), COUNT_INSTANCE "/%s", path);
	if (access(full, F_OK))
		return false;
	/* The key does not matter: the total is wanted */
	control(COUNT_INSTANCE, path, "hist:keys=pool_id:size=4096");

	return true;
}

long nm_event_count(const char *event)
{
	char path[PATH_MAX], full[PATH_MAX + sizeof(COUNT_INSTANCE)], *line = NULL;
	long hits = -1, dropped = -1;
	size_t size = 0;
	FILE *file;

	event_path(event, "hist", path, sizeof(path));
	snprintf(full, sizeof(full), COUNT_INSTANCE "/%s", path);
	file = fopen(full, "re");
	nm_check(file, "%s", full);
	while (getline(&line, &size, file) > 0) {
		sscanf(line, " Hits: %ld", &hits);
		sscanf(line, " Dropped: %ld", &dropped);
	}
	free(line);
	fclose(file);
	nm_check(hits >= 0 && !dropped, "%s: %ld hits, %ld dropped", event, hits,
		 dropped);

	return hits;
}

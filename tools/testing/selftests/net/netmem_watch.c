// SPDX-License-Identifier: GPL-2.0
/*
 * Say who holds network memory right now: one line of key=value with what a
 * cgroup is charged for and what the page pools of a device own.
 *
 * Everything is read from the interfaces users have: the cgroup's files,
 * /proc/net/netstat, page pools over netdev netlink, and the lend and return
 * tracepoints through tracefs histograms. What a kernel does not have is
 * printed as "-", so the same program runs on a stock kernel.
 */
#include <errno.h>
#include <error.h>
#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <net/if.h>
#include <sys/socket.h>

#include <linux/genetlink.h>
#include <linux/netdev.h>
#include <linux/netlink.h>

#define MAX_POOLS	256
#define NONE		INT64_MIN

enum { EXIT_USAGE = 2 };

static const char usage_text[] =
"Usage: netmem_watch [OPTION]...\n"
"\n"
"Prints one line of key=value: what a cgroup is charged for and what the page\n"
"pools of a device own. \"-\" stands for what this kernel does not report.\n"
"\n"
"  -c, --cgroup DIR     the cgroup v2 directory to read\n"
"  -d, --dev NAME       only the page pools of this device\n"
"  -f, --follow         copy standard input, append the readings to each line\n"
"                       that begins with \"sample\"\n"
"  -a, --ack FD         with --follow: then write an empty line to FD\n"
"  -t, --trace          start counting pages that are lent, come back and leave\n"
"                       the pool: attaches histograms to the tracepoints, which\n"
"                       stay until --untrace\n"
"  -u, --untrace        remove these histograms and exit\n"
"  -h, --help\n"
"\n"
"Bytes: current, peak, netmem, sock, file_mapped, kernel, anon, shmem, provider\n"
"(memory that the cgroup has given to receive queues). Pages: nomem (not mapped\n"
"because the charge failed), owned (by the pools), of these in_use, lent and\n"
"cached; and counted up: lends, returns, refused (came back, but could not be\n"
"recycled), released (given away while somebody held them), left (the pool, for\n"
"whatever reason), recycled. Then the number of pools, the bytes that providers\n"
"have given them, and PagePool, those that all pools of the machine have.\n"
"Exit status: 0 done, 1 failed, 2 wrong usage.\n";

static struct {
	const char *cgroup;
	const char *dev;
	bool follow;
	bool trace;
	bool untrace;
	int ack;
} cfg = { .ack = -1 };

/* Files */

static bool slurp(const char *path, char *buf, size_t size)
{
	size_t n;
	FILE *f;

	f = fopen(path, "r");
	if (!f)
		return false;
	n = fread(buf, 1, size - 1, f);
	fclose(f);
	buf[n] = '\0';
	return true;
}

static void put(const char *key, int64_t val)
{
	if (val == NONE)
		printf(" %s=-", key);
	else
		printf(" %s=%jd", key, (intmax_t)val);
}

/* The number after "@key " at the start of a line of @text */
static int64_t find_key(const char *text, const char *key)
{
	size_t len = strlen(key);

	for (; text; text = strchr(text, '\n')) {
		text += *text == '\n';
		if (!strncmp(text, key, len) && text[len] == ' ')
			return strtoll(text + len, NULL, 10);
	}
	return NONE;
}

static int64_t cgroup_value(const char *file)
{
	char path[4096], buf[64];

	snprintf(path, sizeof(path), "%s/%s", cfg.cgroup, file);
	return slurp(path, buf, sizeof(buf)) ? strtoll(buf, NULL, 10) : NONE;
}

static void put_cgroup(void)
{
	static const char *const keys[] = {
		"netmem", "sock", "file_mapped", "kernel", "anon", "shmem",
	};
	static char stat[8192];
	char path[4096];
	size_t i;

	put("current", cgroup_value("memory.current"));
	put("peak", cgroup_value("memory.peak"));

	snprintf(path, sizeof(path), "%s/memory.stat", cfg.cgroup);
	if (!slurp(path, stat, sizeof(stat)))
		stat[0] = '\0';
	for (i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		put(keys[i], find_key(stat, keys[i]));
	put("provider", find_key(stat, "netmem_provider"));
}

/* /proc/net/netstat has pairs of lines "TcpExt: names" and "TcpExt: values" */
static void put_nomem(void)
{
	static char buf[65536];
	char *names, *values = NULL, *n, *v, *nsave, *vsave;
	int64_t val = NONE;

	if (!slurp("/proc/net/netstat", buf, sizeof(buf)))
		buf[0] = '\0';
	names = strtok_r(buf, "\n", &nsave);
	if (names)
		values = strtok_r(NULL, "\n", &nsave);
	if (values) {
		n = strtok_r(names, " ", &nsave);
		v = strtok_r(values, " ", &vsave);
		while (n && v && strcmp(n, "TCPZeroCopyRxNoMem")) {
			n = strtok_r(NULL, " ", &nsave);
			v = strtok_r(NULL, " ", &vsave);
		}
		if (n && v)
			val = strtoll(v, NULL, 10);
	}
	put("nomem", val);
}

/* Page pools, over generic netlink */

struct pools {
	unsigned int nr;
	uint64_t id[MAX_POOLS];
	int64_t owned;		/* by the pools: used, lent and cached */
	int64_t provided;	/* bytes, by memory providers */
	int64_t allocs;		/* handed to the driver */
	int64_t recycled;	/* put back into cache or ring */
	int64_t ring_full;	/* given to the mm: no room */
	int64_t released;	/* given to the mm: somebody held a reference */
	bool stats;
};

struct genl_req {
	struct nlmsghdr nlh;
	struct genlmsghdr genl;
	struct nlattr attr;
	char name[16];
};

static bool nla_ok(const struct nlattr *a, const void *end)
{
	return (char *)end - (char *)a >= (ptrdiff_t)sizeof(*a) &&
	       a->nla_len >= sizeof(*a);
}

static struct nlattr *nla_next(struct nlattr *a)
{
	return (void *)((char *)a + NLA_ALIGN(a->nla_len));
}

static void *nla_data(const struct nlattr *a)
{
	return (char *)a + NLA_HDRLEN;
}

static uint64_t nla_uint(const struct nlattr *a)
{
	uint64_t v64;
	uint32_t v32;
	uint16_t v16;

	switch (a->nla_len - NLA_HDRLEN) {
	case sizeof(v64):
		memcpy(&v64, nla_data(a), sizeof(v64));
		return v64;
	case sizeof(v32):
		memcpy(&v32, nla_data(a), sizeof(v32));
		return v32;
	case sizeof(v16):
		memcpy(&v16, nla_data(a), sizeof(v16));
		return v16;
	}
	return 0;
}

typedef void (*genl_cb)(struct nlattr *a, const void *end, void *arg);

/* Hand the attributes of each message to @cb; false after the last one. */
static bool genl_parse(char *buf, ssize_t len, genl_cb cb, void *arg)
{
	struct nlmsghdr *nlh;
	size_t rem = len;

	for (nlh = (void *)buf; NLMSG_OK(nlh, rem); nlh = NLMSG_NEXT(nlh, rem)) {
		if (nlh->nlmsg_type == NLMSG_DONE ||
		    nlh->nlmsg_type == NLMSG_ERROR)
			return false;
		cb((void *)((char *)NLMSG_DATA(nlh) + GENL_HDRLEN),
		   (char *)nlh + nlh->nlmsg_len, arg);
	}
	return true;
}

static void genl_request(int fd, struct genl_req *req, genl_cb cb, void *arg)
{
	static char buf[65536];
	ssize_t n;

	if (send(fd, req, req->nlh.nlmsg_len, 0) < 0)
		error(EXIT_FAILURE, errno, "netlink");
	do {
		n = recv(fd, buf, sizeof(buf), 0);
		if (n < 0)
			error(EXIT_FAILURE, errno, "netlink");
	} while (genl_parse(buf, n, cb, arg) &&
		 req->nlh.nlmsg_flags & NLM_F_DUMP);
}

static void family_cb(struct nlattr *a, const void *end, void *arg)
{
	for (; nla_ok(a, end); a = nla_next(a))
		if (a->nla_type == CTRL_ATTR_FAMILY_ID)
			*(int *)arg = nla_uint(a);
}

static int netdev_family(int fd)
{
	struct genl_req req = {
		.nlh.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN) +
				 NLA_ALIGN(NLA_HDRLEN + sizeof(NETDEV_FAMILY_NAME)),
		.nlh.nlmsg_type = GENL_ID_CTRL,
		.nlh.nlmsg_flags = NLM_F_REQUEST,
		.genl.cmd = CTRL_CMD_GETFAMILY,
		.genl.version = 1,
		.attr.nla_type = CTRL_ATTR_FAMILY_NAME,
		.attr.nla_len = NLA_HDRLEN + sizeof(NETDEV_FAMILY_NAME),
		.name = NETDEV_FAMILY_NAME,
	};
	int id = 0;

	genl_request(fd, &req, family_cb, &id);
	return id;
}

static void dump(int fd, int family, int cmd, genl_cb cb, void *arg)
{
	struct genl_req req = {
		.nlh.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN),
		.nlh.nlmsg_type = family,
		.nlh.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
		.genl.cmd = cmd,
		.genl.version = NETDEV_FAMILY_VERSION,
	};

	genl_request(fd, &req, cb, arg);
}

static bool dev_matches(uint64_t ifindex)
{
	return !cfg.dev || if_nametoindex(cfg.dev) == ifindex;
}

static void pool_cb(struct nlattr *a, const void *end, void *arg)
{
	uint64_t id = 0, ifindex = 0, inflight = 0, lent = 0, provided = 0;
	struct pools *p = arg;

	for (; nla_ok(a, end); a = nla_next(a)) {
		switch (a->nla_type) {
		case NETDEV_A_PAGE_POOL_ID:
			id = nla_uint(a);
			break;
		case NETDEV_A_PAGE_POOL_IFINDEX:
			ifindex = nla_uint(a);
			break;
		case NETDEV_A_PAGE_POOL_INFLIGHT:
			inflight = nla_uint(a);
			break;
		case NETDEV_A_PAGE_POOL_LENT:
			lent = nla_uint(a);
			break;
		case NETDEV_A_PAGE_POOL_PROVIDER_MEM:
			provided = nla_uint(a);
			break;
		}
	}
	if (!dev_matches(ifindex) || p->nr == MAX_POOLS)
		return;
	p->id[p->nr++] = id;
	p->owned += inflight + lent;
	p->provided += provided;
}

static bool stats_are_ours(struct nlattr *info)
{
	const void *end = (char *)info + info->nla_len;
	struct nlattr *a;

	for (a = nla_data(info); nla_ok(a, end); a = nla_next(a))
		if (a->nla_type == NETDEV_A_PAGE_POOL_IFINDEX)
			return dev_matches(nla_uint(a));
	return !cfg.dev;
}

static void stats_cb(struct nlattr *a, const void *end, void *arg)
{
	struct pools *p = arg;
	bool ours = false;

	/* The info attribute comes first. */
	for (; nla_ok(a, end); a = nla_next(a)) {
		int type = a->nla_type & NLA_TYPE_MASK;

		if (type == NETDEV_A_PAGE_POOL_STATS_INFO)
			ours = stats_are_ours(a);
		if (!ours)
			continue;
		p->stats = true;
		switch (type) {
		case NETDEV_A_PAGE_POOL_STATS_ALLOC_FAST:
		case NETDEV_A_PAGE_POOL_STATS_ALLOC_SLOW:
		case NETDEV_A_PAGE_POOL_STATS_ALLOC_SLOW_HIGH_ORDER:
		case NETDEV_A_PAGE_POOL_STATS_ALLOC_REFILL:
			p->allocs += nla_uint(a);
			break;
		case NETDEV_A_PAGE_POOL_STATS_RECYCLE_CACHED:
		case NETDEV_A_PAGE_POOL_STATS_RECYCLE_RING:
			p->recycled += nla_uint(a);
			break;
		case NETDEV_A_PAGE_POOL_STATS_RECYCLE_RING_FULL:
			p->ring_full += nla_uint(a);
			break;
		case NETDEV_A_PAGE_POOL_STATS_RECYCLE_RELEASED_REFCNT:
			p->released += nla_uint(a);
			break;
		}
	}
}

static void read_pools(struct pools *p)
{
	static int fd = -1, family;

	if (fd < 0) {
		fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC,
			    NETLINK_GENERIC);
		if (fd < 0)
			error(EXIT_FAILURE, errno, "netlink");
		family = netdev_family(fd);
	}
	memset(p, 0, sizeof(*p));
	if (!family)
		return;
	dump(fd, family, NETDEV_CMD_PAGE_POOL_GET, pool_cb, p);
	dump(fd, family, NETDEV_CMD_PAGE_POOL_STATS_GET, stats_cb, p);
}

/*
 * Pages that are lent, come back, or leave the pool are events, summed up by
 * the kernel in a histogram. An event stands for one page unless it carries a
 * count.
 */

#define TRACEFS	"/sys/kernel/tracing/events/page_pool/"

enum { EVENT_LEND, EVENT_RETURN, EVENT_LEAVE };

static const char *const trace_events[] = {
	[EVENT_LEND] = "page_pool_lend",
	[EVENT_RETURN] = "page_pool_return",
	[EVENT_LEAVE] = "page_pool_state_release",
};

static const char *trace_field(const char *format, const char *field)
{
	char word[64];

	snprintf(word, sizeof(word), " %s;", field);
	return strstr(format, word) ? field : NULL;
}

/* The histogram this event can have; false if there is no such event */
static bool trace_trigger(const char *event, char *out, size_t size)
{
	const char *key, *recycle, *count;
	char path[256], format[4096];

	snprintf(path, sizeof(path), TRACEFS "%s/format", event);
	if (!slurp(path, format, sizeof(format)))
		return false;
	key = trace_field(format, "pool_id");
	recycle = trace_field(format, "recyclable");
	count = trace_field(format, "count");
	snprintf(out, size, "hist:keys=%s%s%s:size=256", key ? key : "pool",
		 recycle ? ",recyclable" : "", count ? ":vals=count" : "");
	return true;
}

static void trace_set(const char *event, bool on)
{
	char path[256], trigger[256];
	FILE *f;

	if (!trace_trigger(event, trigger, sizeof(trigger)))
		return;
	snprintf(path, sizeof(path), TRACEFS "%s/trigger", event);
	f = fopen(path, "w");
	if (!f)
		error(EXIT_FAILURE, errno, "%s", path);
	fprintf(f, "%s%s\n", on ? "" : "!", trigger);
	/* EINVAL: no histograms in this kernel; the counts will read "-" */
	if (fclose(f) && on && errno != EINVAL)
		error(EXIT_FAILURE, errno, "%s", path);
}

static bool is_our_pool(const struct pools *p, uint64_t id)
{
	unsigned int i;

	for (i = 0; i < p->nr; i++)
		if (p->id[i] == id)
			return true;
	return false;
}

/*
 * A line is "{ pool_id: 5, recyclable: 1 } hitcount: 12  count: 384", the sum last.
 * Events without a pool_id count for all devices.
 */
static int64_t trace_line(const struct pools *p, const char *line,
			  const char *only)
{
	const char *key = strstr(line, "pool_id:"), *sum = strrchr(line, ':');

	if (*line != '{' || !sum)
		return 0;
	if (key && !is_our_pool(p, strtoull(key + 8, NULL, 10)))
		return 0;
	if (only) {
		key = strstr(line, only);
		if (!key || strtol(key + strlen(only), NULL, 10))
			return 0;
	}
	return strtoll(sum + 1, NULL, 10);
}

/* The sum over all lines, or over those where the field @only is 0 */
static int64_t trace_sum(const struct pools *p, int event, const char *only)
{
	char path[256], *line, *save;
	static char buf[65536];
	int64_t sum = 0;

	snprintf(path, sizeof(path), TRACEFS "%s/hist", trace_events[event]);
	if (!slurp(path, buf, sizeof(buf)) || !strstr(buf, "trigger info"))
		return NONE;
	for (line = strtok_r(buf, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		sum += trace_line(p, line, only);
	return sum;
}

/*
 * What the pool's cache and ring have not is what was handed out, and neither
 * put back nor given away. The lent ones among them have no packet any more.
 * What pools take from memory providers is not in their statistics.
 */
static void put_pools(void)
{
	int64_t lends, returns, left, lent, out;
	struct pools p;
	bool counted;

	read_pools(&p);
	counted = p.stats && !p.provided;
	lends = trace_sum(&p, EVENT_LEND, NULL);
	returns = trace_sum(&p, EVENT_RETURN, NULL);
	left = trace_sum(&p, EVENT_LEAVE, NULL);
	if (left == NONE && p.stats)
		left = p.ring_full + p.released;
	lent = lends == NONE || returns == NONE ? NONE : lends - returns;
	out = p.allocs - p.recycled - left;

	put("owned", p.owned);
	put("in_use", counted ? out - (lent == NONE ? 0 : lent) : NONE);
	put("lent", lent);
	put("cached", counted ? p.owned - out : NONE);
	put("lends", lends);
	put("returns", returns);
	put("refused", trace_sum(&p, EVENT_RETURN, "recyclable:"));
	put("released", p.stats ? p.released : NONE);
	put("left", left);
	put("recycled", p.stats ? p.recycled : NONE);
	put("pools", p.nr);
	put("provided", p.provided);
}

/* In kB there */
static void put_page_pool(void)
{
	static char buf[8192];
	int64_t kb = NONE;

	if (slurp("/proc/meminfo", buf, sizeof(buf)))
		kb = find_key(buf, "PagePool:");
	put("page_pool", kb == NONE ? NONE : kb * 1024);
}

static void put_all(void)
{
	if (cfg.cgroup)
		put_cgroup();
	put_nomem();
	put_pools();
	put_page_pool();
	printf("\n");
	fflush(stdout);
}

static void follow(void)
{
	char *line = NULL;
	size_t size = 0;

	while (getline(&line, &size, stdin) > 0) {
		if (strncmp(line, "sample ", 7)) {
			fputs(line, stdout);
			fflush(stdout);
			continue;
		}
		printf("%.*s", (int)strcspn(line, "\n"), line);
		put_all();
		if (cfg.ack >= 0 && write(cfg.ack, "\n", 1) < 0)
			error(EXIT_FAILURE, errno, "--ack %d", cfg.ack);
	}
	free(line);
}

static const struct option options[] = {
	{ "cgroup",	required_argument, NULL, 'c' },
	{ "dev",	required_argument, NULL, 'd' },
	{ "follow",	no_argument,	   NULL, 'f' },
	{ "ack",	required_argument, NULL, 'a' },
	{ "trace",	no_argument,	   NULL, 't' },
	{ "untrace",	no_argument,	   NULL, 'u' },
	{ "help",	no_argument,	   NULL, 'h' },
	{ }
};

static void parse_option(int opt)
{
	char *end;

	switch (opt) {
	case 'c':
		cfg.cgroup = optarg;
		break;
	case 'd':
		cfg.dev = optarg;
		break;
	case 'f':
		cfg.follow = true;
		break;
	case 'a':
		cfg.ack = strtol(optarg, &end, 10);
		if (end == optarg || *end || cfg.ack < 0)
			error(EXIT_USAGE, 0, "--ack %s: want an open file descriptor",
			      optarg);
		break;
	case 't':
		cfg.trace = true;
		break;
	case 'u':
		cfg.untrace = true;
		break;
	case 'h':
		fputs(usage_text, stdout);
		exit(EXIT_SUCCESS);
	default:	/* getopt has said what is wrong */
		exit(EXIT_USAGE);
	}
}

static void check_arguments(int left, const char *arg)
{
	char path[4096];

	if (left)
		error(EXIT_USAGE, 0, "unexpected argument %s, see --help", arg);
	if (cfg.dev && !if_nametoindex(cfg.dev))
		error(EXIT_USAGE, 0, "--dev %s: no such network device", cfg.dev);
	if (!cfg.cgroup)
		return;
	snprintf(path, sizeof(path), "%s/cgroup.procs", cfg.cgroup);
	if (access(path, F_OK))
		error(EXIT_USAGE, 0, "--cgroup %s: not a cgroup v2 directory",
		      cfg.cgroup);
}

int main(int argc, char **argv)
{
	size_t i;
	bool on;
	int opt;

	while ((opt = getopt_long(argc, argv, "c:d:fa:tuh", options,
				  NULL)) != -1)
		parse_option(opt);
	check_arguments(argc - optind, argv[optind]);

	on = cfg.trace;
	if (cfg.trace || cfg.untrace) {
		for (i = 0; i < sizeof(trace_events) / sizeof(*trace_events); i++)
			trace_set(trace_events[i], on);
	}
	if (cfg.untrace)
		return EXIT_SUCCESS;
	if (cfg.follow) {
		follow();
		return EXIT_SUCCESS;
	}
	printf("now");
	put_all();
	return EXIT_SUCCESS;
}

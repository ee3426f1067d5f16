// SPDX-License-Identifier: GPL-2.0
/*
 * Helpers of the netmem tests: running tests, files, devices, and a stream of
 * which every byte is known. See netmem_lib.h.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/bpf.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <net/if.h>
#include <net/route.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "netmem_lib.h"

/* No test takes as long as this, not even on a kernel with all debugging on */
#define TEST_TIMEOUT_MS		1800000

/* What the processes of a test tell each other and the one that runs them */
static struct {
	int verdict;		/* of the first that did not pass */
	char why[256];		/* it skipped */
} *shared;

static bool in_test;

static void __noreturn end_test(int verdict)
{
	if (in_test && !shared->verdict)
		shared->verdict = verdict;
	fflush(stdout);
	_exit(verdict);
}

/* Nobody needs to wait for a process that has given up */
static void check_others(void)
{
	if (in_test && shared->verdict)
		_exit(shared->verdict);
}

/* ----- failing ----- */

void nm_fail_at(const char *file, int line, const char *fmt, ...)
{
	const char *base = strrchr(file, '/');
	int err = errno;
	char msg[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(msg, sizeof(msg), fmt, args);
	va_end(args);

	ksft_print_msg("%s:%d: %s [errno %d: %s]\n", base ? base + 1 : file,
		       line, msg, err, strerror(err));
	end_test(KSFT_FAIL);
}

void nm_skip(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(shared->why, sizeof(shared->why), fmt, args);
	va_end(args);
	end_test(KSFT_SKIP);
}

uint64_t nm_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

uint64_t nm_now_ms(void)
{
	return nm_now_ns() / 1000000;
}

void nm_nap(void)
{
	check_others();
	usleep(2000);
}

/* ----- running ----- */

pid_t nm_fork(void (*fn)(void *arg), void *arg)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	nm_check(pid >= 0, "fork");
	if (pid)
		return pid;

	fn(arg);
	fflush(stdout);
	_exit(KSFT_PASS);
}

void nm_wait(pid_t pid)
{
	int status;

	nm_check(waitpid(pid, &status, 0) == pid, "waitpid");
	if (WIFEXITED(status) && WEXITSTATUS(status) == KSFT_PASS)
		return;
	/* It has said why */
	if (WIFEXITED(status))
		_exit(WEXITSTATUS(status));
	nm_fail("process %d ended by signal %d", pid, WTERMSIG(status));
}

void nm_kill(pid_t pid)
{
	kill(pid, SIGKILL);
	nm_check(waitpid(pid, NULL, 0) == pid, "waitpid");
}

void nm_sync_init(struct nm_sync *sync)
{
	nm_check(!socketpair(AF_UNIX, SOCK_STREAM, 0, sync->fd), "socketpair");
}

void nm_tell(struct nm_sync *sync, int side)
{
	nm_check(write(sync->fd[side], "", 1) == 1, "tell");
}

void nm_await(struct nm_sync *sync, int side)
{
	struct pollfd pfd = { .fd = sync->fd[side], .events = POLLIN };
	char c;

	nm_check(nm_until(poll(&pfd, 1, 0) == 1, TEST_TIMEOUT_MS) &&
		 read(sync->fd[side], &c, 1) == 1, "the other side is silent");
}

/* Waits for a process to end; false when it takes too long */
static bool reap(pid_t pid, int *status, uint64_t ms)
{
	return nm_until(waitpid(pid, status, WNOHANG) == pid, ms);
}

/*
 * Nothing of the test may run on: processes that it left are ours (subreaper)
 */
static void reap_all(pid_t pgid)
{
	int status;

	kill(-pgid, SIGKILL);
	if (!nm_until(waitpid(-1, &status, WNOHANG) < 0 && errno == ECHILD,
		      NM_TIMEOUT_MS))
		ksft_print_msg("processes of the test do not end\n");
}

static int run_in_process(const struct nm_test *test)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		return KSFT_FAIL;
	if (!pid) {
		setpgid(0, 0);
		in_test = true;
		test->fn();
		fflush(stdout);
		_exit(KSFT_PASS);
	}
	setpgid(pid, pid);

	if (!reap(pid, &status, TEST_TIMEOUT_MS)) {
		ksft_print_msg("no end after %d s\n", TEST_TIMEOUT_MS / 1000);
		status = KSFT_FAIL << 8;
	}
	reap_all(pid);

	/* A process that nobody waited for may know better */
	if (shared->verdict)
		return shared->verdict;
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	ksft_print_msg("ended by signal %d\n", WTERMSIG(status));
	return KSFT_FAIL;
}

static bool pools_gone(const struct nm_pool *before, unsigned int nr_before)
{
	struct nm_pool now[NM_MAX_POOLS];
	unsigned int nr, i, j;

	nr = nm_pools(now, NM_MAX_POOLS);
	for (i = 0; i < nr; i++) {
		for (j = 0; j < nr_before; j++)
			if (before[j].id == now[i].id)
				break;
		if (j == nr_before)
			return false;
	}

	return true;
}

/* Pools and pages of a test are gone when it is */
static int check_pools_gone(const struct nm_pool *before, unsigned int nr)
{
	if (!nm_until(pools_gone(before, nr), NM_TIMEOUT_MS)) {
		ksft_print_msg("a page_pool of the test lives on: pages are missing\n");
		return KSFT_FAIL;
	}
	if (!nm_until(!nm_any_held(), NM_TIMEOUT_MS)) {
		ksft_print_msg("pages are still lent: who holds them?\n");
		return KSFT_FAIL;
	}

	return KSFT_PASS;
}

/* The netns of a test goes away in the background, and takes its veths along */
static bool veths_gone(void)
{
	glob_t g;

	/* if_nametoindex() would have the kernel look for a module */
	if (glob("/sys/class/net/nmv*", 0, NULL, &g))
		return true;
	globfree(&g);

	return false;
}

static int run_test(const struct nm_suite *suite, const struct nm_test *test)
{
	struct nm_pool before[NM_MAX_POOLS];
	uint64_t start = nm_now_ms();
	unsigned int nr;
	int ret, after;

	memset(shared, 0, sizeof(*shared));
	nr = nm_pools(before, NM_MAX_POOLS);
	nm_write(NM_SYSCTL_MEMCG, "1");

	ret = run_in_process(test);

	nm_trace_cleanup();
	after = suite->after ? suite->after(test->name) : KSFT_PASS;
	if (ret == KSFT_PASS)
		ret = after;
	nm_pair_delete();
	nm_until(veths_gone(), NM_TIMEOUT_MS);
	after = check_pools_gone(before, nr);
	ksft_print_msg("%s: %llu ms\n", test->name,
		       (unsigned long long)(nm_now_ms() - start));

	return ret == KSFT_PASS ? after : ret;
}

static bool wanted(const struct nm_test *test, int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++)
		if (!strcmp(argv[i], test->name))
			return true;

	return argc < 2;
}

static void check_args(int argc, char **argv, const struct nm_suite *suite)
{
	unsigned int i;
	int arg;

	for (arg = 1; arg < argc; arg++) {
		for (i = 0; i < suite->nr; i++)
			if (!strcmp(argv[arg], suite->tests[i].name))
				break;
		if (i < suite->nr)
			continue;

		fprintf(stderr, "usage: %s [TEST...]\ntests:\n", argv[0]);
		for (i = 0; i < suite->nr; i++)
			fprintf(stderr, "\t%s\n", suite->tests[i].name);
		exit(strcmp(argv[arg], "--help") ? 2 : 0);
	}
}

static void check_machine(void)
{
	if (geteuid())
		ksft_exit_skip("needs root\n");
	nm_nic_find();
}

/*
 * Settings of the machine, for as long as tests run.
 *
 * skb_defer_max: a page is lent when its skb is freed. Do not leave that to the
 * next packet that some other CPU happens to see.
 *
 * tcp_rmem: a maximum of 256 MiB makes for a window scale of 13. So the window
 * ends where a page does, also one in a packet of 8 KiB (nm_nic_lead()), and the
 * sender never cuts one there.
 */
static struct {
	const char *path;
	const char *test;
	char saved[64];
} sysctls[] = {
	{ .path = "/proc/sys/net/core/skb_defer_max", .test = "0" },
	{ .path = "/proc/sys/net/ipv4/tcp_rmem",
	  .test = "4096 131072 268435456" },
	/* Not on stock */
	{ .path = NM_SYSCTL_MEMCG, .test = "1" },
};

static void sysctls_set(bool test)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(sysctls); i++) {
		if (test)
			nm_read(sysctls[i].path, sysctls[i].saved,
				sizeof(sysctls[i].saved));
		nm_write(sysctls[i].path,
			 test ? sysctls[i].test : sysctls[i].saved);
	}
}

int nm_run(int argc, char **argv, const struct nm_suite *suite)
{
	unsigned int i, plan = 0;
	int ret;

	check_args(argc, argv, suite);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return KSFT_FAIL;
	memset(shared, 0, sizeof(*shared));

	ksft_print_header();
	check_machine();
	if (suite->setup)
		suite->setup();
	for (i = 0; i < suite->nr; i++)
		plan += wanted(&suite->tests[i], argc, argv);
	ksft_set_plan(plan);

	/*
	 * Programs and libraries are mapped in full and paid for here, for
	 * file_mapped of the tests' cgroups to know only what is received.
	 */
	mlockall(MCL_CURRENT);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	sysctls_set(true);

	for (i = 0; i < suite->nr; i++) {
		if (!wanted(&suite->tests[i], argc, argv))
			continue;
		ret = run_test(suite, &suite->tests[i]);
		ksft_test_result_code(ret, suite->tests[i].name,
				      ret == KSFT_SKIP ? "%s" : NULL,
				      shared->why);
	}

	sysctls_set(false);
	if (suite->teardown)
		suite->teardown();
	ksft_finished();
}

/* ----- files ----- */

ssize_t nm_read(const char *path, char *buf, size_t size)
{
	ssize_t len, sum = 0;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;

	do {
		len = read(fd, buf + sum, size - 1 - sum);
		if (len > 0)
			sum += len;
	} while (len > 0);
	buf[sum] = 0;
	if (len < 0)
		sum = -errno;
	close(fd);

	return sum;
}

int nm_write(const char *path, const char *text)
{
	int fd, ret = 0;

	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);

	return ret;
}

long nm_read_long(const char *path)
{
	char buf[64];

	if (nm_read(path, buf, sizeof(buf)) <= 0)
		return -1;
	return atol(buf);
}

long nm_key(const char *path, const char *key)
{
	size_t len = strlen(key);
	char buf[8192], *line;

	if (nm_read(path, buf, sizeof(buf)) <= 0)
		return -1;
	for (line = strtok(buf, "\n"); line; line = strtok(NULL, "\n"))
		if (!strncmp(line, key, len) && line[len] == ' ')
			return atol(line + len);

	return -1;
}

/* Of all nodes, from @log on */
static long sum_of(const char *log, const char *key)
{
	long sum = 0;

	while ((log = strstr(log, key))) {
		log += strlen(key);
		sum += atol(log);
	}

	return sum;
}

/* Free pages in the lists of the CPUs, which MemFree leaves out */
static long pcp_pages(void)
{
	static char buf[1 << 16];

	nm_check(nm_read("/proc/zoneinfo", buf, sizeof(buf)) > 0, "zoneinfo");
	return sum_of(buf, " count:");
}

long nm_mem_free(void)
{
	nm_write("/proc/sys/vm/drop_caches", "3");
	if (system("for i in /sys/kernel/slab/*/shrink; do echo 1 >$i; done 2>/dev/null"))
		ksft_print_msg("slabs are not shrunk\n");
	return nm_key("/proc/meminfo", "MemFree:") * 1024 +
	       pcp_pages() * NM_PAGE;
}

#define SHOW_MEM_MARK	"netmem: show_mem"

void nm_show_mem(long *total, long *cached)
{
	static char log[1 << 20];
	char *at, *from = log;
	int len;

	nm_check(!nm_write("/dev/kmsg", SHOW_MEM_MARK), "kmsg");
	nm_check(!nm_write("/proc/sysrq-trigger", "m"), "SysRq-m");
	len = klogctl(3, log, sizeof(log) - 1);	/* SYSLOG_ACTION_READ_ALL */
	nm_check(len > 0, "klogctl");
	log[len] = 0;
	/* The last one */
	while ((at = strstr(from, SHOW_MEM_MARK)))
		from = at + 1;
	*total = sum_of(from, " page_pool:");
	*cached = sum_of(from, " page_pool_cached:");
}

/* The index of a word, -1 if it is not in the line */
static int word_index(char *line, const char *word)
{
	char *save, *w;
	int i = 0;

	for (w = strtok_r(line, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		if (!strcmp(w, word))
			return i;
		i++;
	}

	return -1;
}

static long word_at(char *line, int index)
{
	char *save, *w;

	for (w = strtok_r(line, " ", &save); w; w = strtok_r(NULL, " ", &save))
		if (!index--)
			return atol(w);

	return -1;
}

/* Lines come in pairs: names and values */
long nm_netstat(const char *key)
{
	static char buf[32768];
	char *names, *values, *save;
	int index;

	nm_check(nm_read("/proc/net/netstat", buf, sizeof(buf)) > 0, "netstat");
	for (names = strtok_r(buf, "\n", &save); names;
	     names = strtok_r(NULL, "\n", &save)) {
		values = strtok_r(NULL, "\n", &save);
		index = word_index(names, key);
		if (values && index >= 0)
			return word_at(values, index);
	}

	return -1;
}

/* ----- devices and netns ----- */

void nm_in_ns(int nsfd, void (*fn)(void *arg), void *arg)
{
	int self;

	if (nsfd < 0) {
		fn(arg);
		return;
	}

	self = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	nm_check(self >= 0, "netns");
	nm_check(!setns(nsfd, CLONE_NEWNET), "setns");
	fn(arg);
	nm_check(!setns(self, CLONE_NEWNET), "setns back");
	close(self);
}

int nm_new_ns(void)
{
	int self = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	int ns;

	nm_check(self >= 0, "netns");
	nm_check(!unshare(CLONE_NEWNET), "unshare");
	ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	nm_check(ns >= 0, "netns");
	/* Pages sent over its loopback can be mapped, too */
	nm_link_mtu("lo", NM_MTU);
	nm_link_set("lo", true);
	nm_check(!setns(self, CLONE_NEWNET), "setns back");
	close(self);

	return ns;
}

static void link_ioctl(const char *name, struct ifreq *ifr, unsigned long req,
		       const char *what)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	nm_check(fd >= 0, "socket");
	snprintf(ifr->ifr_name, sizeof(ifr->ifr_name), "%s", name);
	nm_check(!ioctl(fd, req, ifr), "%s: %s", name, what);
	close(fd);
}

void nm_link_set(const char *name, bool up)
{
	struct ifreq ifr = {};

	link_ioctl(name, &ifr, SIOCGIFFLAGS, "flags");
	if (up)
		ifr.ifr_flags |= IFF_UP;
	else
		ifr.ifr_flags &= ~IFF_UP;
	link_ioctl(name, &ifr, SIOCSIFFLAGS, up ? "up" : "down");
}

bool nm_link_running(const char *name)
{
	struct ifreq ifr = {};

	link_ioctl(name, &ifr, SIOCGIFFLAGS, "flags");
	return ifr.ifr_flags & IFF_RUNNING;
}

void nm_ethtool(const char *name, void *data)
{
	struct ifreq ifr = { .ifr_data = data };

	link_ioctl(name, &ifr, SIOCETHTOOL, "ethtool");
}

static void set_addr(struct sockaddr *sa, const char *addr)
{
	struct sockaddr_in *sin = (void *)sa;

	sin->sin_family = AF_INET;
	nm_check(inet_pton(AF_INET, addr, &sin->sin_addr) == 1, "%s", addr);
}

void nm_link_addr(const char *name, const char *addr)
{
	struct ifreq ifr = {};

	set_addr(&ifr.ifr_addr, addr);
	link_ioctl(name, &ifr, SIOCSIFADDR, "address");
	set_addr(&ifr.ifr_addr, "255.255.255.0");
	link_ioctl(name, &ifr, SIOCSIFNETMASK, "netmask");
}

void nm_link_mtu(const char *name, int mtu)
{
	struct ifreq ifr = { .ifr_mtu = mtu };

	link_ioctl(name, &ifr, SIOCSIFMTU, "mtu");
}

void nm_route_add(const char *net, const char *gateway)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct rtentry rt = { .rt_flags = RTF_UP | RTF_GATEWAY };

	nm_check(fd >= 0, "socket");
	set_addr(&rt.rt_dst, net);
	set_addr(&rt.rt_genmask, "255.255.255.0");
	set_addr(&rt.rt_gateway, gateway);
	nm_check(!ioctl(fd, SIOCADDRT, &rt), "route to %s", net);
	close(fd);
}

void nm_forwarding_on(const char *name)
{
	char path[128];
	int ret;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/forwarding",
		 name);
	ret = nm_write(path, "1");
	errno = -ret;
	nm_check(!ret, "%s", path);
}

/* ----- a stream ----- */

static void tcp_socket(void *arg)
{
	int *fd = arg;

	*fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	nm_check(*fd >= 0, "socket");
}

/* Only full segments, that is, whole pages */
static void tcp_cork(int fd)
{
	int on = 1;

	nm_check(!setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on)),
		 "TCP_CORK");
}

void nm_conn_open(struct nm_conn *conn, int ns_rx, int ns_tx, const char *addr)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	socklen_t len = sizeof(sin);

	inet_pton(AF_INET, addr, &sin.sin_addr);
	nm_in_ns(ns_rx, tcp_socket, &conn->listener);
	nm_check(!bind(conn->listener, (void *)&sin, len), "bind %s", addr);
	nm_check(!listen(conn->listener, 1), "listen");
	nm_check(!getsockname(conn->listener, (void *)&sin, &len), "name");

	nm_in_ns(ns_tx, tcp_socket, &conn->tx);
	tcp_cork(conn->tx);
	/* What a link that has just come up loses, may be what ARP sends */
	nm_check(nm_until(!connect(conn->tx, (void *)&sin, len), NM_TIMEOUT_MS),
		 "connect %s", addr);
}

int nm_conn_accept(const struct nm_conn *conn)
{
	int fd = accept4(conn->listener, NULL, NULL, SOCK_CLOEXEC);
	int lowat = NM_PAGE;

	nm_check(fd >= 0, "accept");
	/* Part of a page cannot be mapped, so do not wake up for it */
	nm_check(!setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &lowat,
			     sizeof(lowat)), "SO_RCVLOWAT");
	nm_set_rcvbuf(fd, NM_RCVBUF);

	return fd;
}

void nm_set_rcvbuf(int fd, int bytes)
{
	nm_check(!setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes,
			     sizeof(bytes)), "SO_RCVBUFFORCE");
}

void nm_tune_rcvbuf(int fd)
{
	int lock = 0;

	nm_check(!setsockopt(fd, SOL_SOCKET, SO_BUF_LOCK, &lock, sizeof(lock)),
		 "SO_BUF_LOCK");
}

/* What comes before each page on a connection, one end of which has @sin */
static size_t lead_of(const struct sockaddr_in *sin)
{
	if (sin->sin_addr.s_addr != inet_addr(NM_ADDR_RX))
		return 0;
	return nm_nic_lead();
}

static size_t tx_lead(int fd)
{
	struct sockaddr_in sin = {};
	socklen_t len = sizeof(sin);

	getpeername(fd, (void *)&sin, &len);
	return lead_of(&sin);
}

/* None if it is a pipe */
static size_t rx_lead(int fd)
{
	struct sockaddr_in sin = {};
	socklen_t len = sizeof(sin);

	getsockname(fd, (void *)&sin, &len);
	return lead_of(&sin);
}

void nm_need_pages(int fd)
{
	if (rx_lead(fd))
		nm_skip("packets of %s are not whole pages", nm_nic());
}

static uint64_t stream_word(uint64_t index, uint64_t seed)
{
	return (index + 1) * 0x9e3779b97f4a7c15ULL ^ seed;
}

static unsigned char stream_byte(uint64_t off, uint64_t seed)
{
	return stream_word(off / 8, seed) >> off % 8 * 8;
}

void nm_fill(void *buf, uint64_t off, size_t len, uint64_t seed)
{
	uint64_t *word = buf;
	size_t i;

	for (i = 0; i < len / 8; i++)
		word[i] = stream_word(off / 8 + i, seed);
}

static size_t verify_bytes(const void *buf, uint64_t off, size_t len,
			   uint64_t seed)
{
	const unsigned char *byte = buf;
	size_t i;

	for (i = 0; i < len; i++)
		if (byte[i] != stream_byte(off + i, seed))
			break;

	return i;
}

size_t nm_verify(const void *buf, uint64_t off, size_t len, uint64_t seed)
{
	const uint64_t *word = buf;
	size_t i;

	if (off % 8 || (uintptr_t)buf % 8)
		return verify_bytes(buf, off, len, seed);

	for (i = 0; i < len / 8; i++)
		if (word[i] != stream_word(off / 8 + i, seed))
			break;
	i *= 8;

	return i + verify_bytes((char *)buf + i, off + i,
				len - i < 8 ? len - i : 8, seed);
}

/* The longest segment */
#define SEGMENT		(2 * NM_PAGE)

/*
 * Bytes that TCP can send at once. What it is given beyond that it may cut at
 * the edge of the window, corked or not, and packets are whole pages no more.
 * The window is read last: its edge only moves on.
 */
static size_t window_room(int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);
	int queued;

	nm_check(!ioctl(fd, SIOCOUTQ, &queued), "SIOCOUTQ");
	nm_check(!getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len),
		 "TCP_INFO");
	/* send() will tell */
	if (info.tcpi_state != BPF_TCP_ESTABLISHED)
		return SIZE_MAX;

	return info.tcpi_snd_wnd > queued ? info.tcpi_snd_wnd - queued : 0;
}

/* How much of @len bytes to send next: full segments, and what is left then */
static size_t wait_for_room(int fd, size_t len)
{
	size_t room, least = len < SEGMENT ? len : SEGMENT;

	while ((room = window_room(fd)) < least) {
		check_others();
		usleep(100);
	}

	return room < len ? room - room % SEGMENT : len;
}

/* Returns false when the receiver has had enough */
static bool send_bytes(int fd, const void *buf, size_t len)
{
	size_t done;
	ssize_t ret;

	for (done = 0; done < len; done += ret) {
		ret = send(fd, (char *)buf + done,
			   wait_for_room(fd, len - done), MSG_NOSIGNAL);
		if (ret < 0 && (errno == EPIPE || errno == ECONNRESET))
			return false;
		nm_check(ret > 0, "send");
	}

	return true;
}

/* Bytes around a page depend on its place in the stream, too */
#define PAD_SEED(seed)	(~(seed))

/* In one go: TCP never ends a segment where a full one could not end */
static bool send_padded(int fd, uint64_t off, size_t lead, uint64_t seed)
{
	static uint64_t page[NM_PAGE / 8];
	static char packet[SEGMENT];

	nm_fill(page, off, NM_PAGE, PAD_SEED(seed));
	memcpy(packet, page, lead);
	memcpy(packet + lead + NM_PAGE, page, NM_PAGE - lead);
	nm_fill(page, off, NM_PAGE, seed);
	memcpy(packet + lead, page, NM_PAGE);

	return send_bytes(fd, packet, sizeof(packet));
}

static bool send_plain(int fd, uint64_t off, size_t len, uint64_t seed)
{
	static uint64_t buf[256 * 1024 / 8];

	nm_fill(buf, off, len, seed);
	return send_bytes(fd, buf, len);
}

void nm_send_now(int fd, uint64_t off, size_t len, uint64_t seed)
{
	size_t lead = tx_lead(fd), chunk;
	bool more = true;

	for (; len && more; len -= chunk, off += chunk) {
		chunk = lead ? NM_PAGE : 256 * 1024;
		if (chunk > len)
			chunk = len;
		more = lead ? send_padded(fd, off, lead, seed) :
			      send_plain(fd, off, chunk, seed);
	}
}

struct send_args {
	int fd;
	uint64_t off;
	uint64_t len;
	uint64_t seed;
};

static void send_all(void *arg)
{
	struct send_args *args = arg;

	while (args->len) {
		size_t len = args->len < (1 << 20) ? args->len : 1 << 20;

		nm_send_now(args->fd, args->off, len, args->seed);
		args->off += len;
		args->len -= len;
	}
}

pid_t nm_send(int fd, uint64_t off, uint64_t len, uint64_t seed)
{
	struct send_args args = { fd, off, len, seed };

	return nm_fork(send_all, &args);
}

void nm_rx_init(struct nm_rx *rx, int fd, uint64_t seed, size_t pages)
{
	struct timeval wait = { .tv_sec = NM_TIMEOUT_MS / 1000 };

	*rx = (struct nm_rx){ .fd = fd, .seed = seed, .pages = pages };
	rx->area = mmap(NULL, pages * NM_PAGE, PROT_READ, MAP_SHARED, fd, 0);
	nm_check(rx->area != MAP_FAILED, "mmap of a socket");
	rx->lead = rx_lead(fd);
	if (rx->lead)
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	rx->at = calloc(pages, sizeof(*rx->at));
	nm_check(rx->at, "calloc");
}

bool nm_readable(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	if (poll(&pfd, 1, 100) == 1)
		return true;
	check_others();
	return false;
}

static void rx_wait(const struct nm_rx *rx)
{
	nm_check(nm_until(nm_readable(rx->fd), NM_TIMEOUT_MS),
		 "nothing more to receive at byte %llu",
		 (unsigned long long)rx->off);
}

static uint64_t copybuf[64 * 1024 / 8];

size_t nm_rx_waiting(const struct nm_rx *rx)
{
	int bytes;

	nm_check(!ioctl(rx->fd, FIONREAD, &bytes), "FIONREAD");
	return bytes / (rx->lead ? 2 * NM_PAGE : NM_PAGE);
}

/* Reads, exactly, bytes around a page that starts at @off */
static void rx_pad(struct nm_rx *rx, uint64_t off, size_t len)
{
	ssize_t ret = recv(rx->fd, copybuf, len, MSG_WAITALL);
	size_t good;

	nm_check_eq(ret, len, "bytes around a page");
	good = nm_verify(copybuf, off, len, PAD_SEED(rx->seed));
	nm_check_eq(good, len, "good bytes around a page");
}

/* Before anything of a page is received */
static void rx_begin_page(struct nm_rx *rx)
{
	if (rx->lead && !rx->in_page) {
		rx_pad(rx, rx->off, rx->lead);
		rx->in_page = true;
	}
}

/* Something of a page was received */
static void rx_advance(struct nm_rx *rx, size_t len)
{
	rx->off += len;
	if (rx->lead && len && rx->off % NM_PAGE == 0) {
		rx_pad(rx, rx->off - NM_PAGE, NM_PAGE - rx->lead);
		rx->in_page = false;
	}
}

/* Where each page comes in a packet of its own, no call goes beyond it */
static size_t rx_limit(const struct nm_rx *rx, size_t len)
{
	size_t page = NM_PAGE - rx->off % NM_PAGE;

	return rx->lead && page < len ? page : len;
}

static void rx_copied(struct nm_rx *rx, const void *buf, size_t len)
{
	size_t good = nm_verify(buf, rx->off, len, rx->seed);

	nm_check_eq(good, len, "good bytes copied");
	rx->copied += len;
	rx_advance(rx, len);
}

static void rx_copy(struct nm_rx *rx, size_t len)
{
	ssize_t ret;

	for (; len; len -= ret) {
		ret = recv(rx->fd, copybuf,
			   len < sizeof(copybuf) ? len : sizeof(copybuf), 0);
		nm_check(ret > 0, "recv of %zu bytes: %zd", len, ret);
		rx_copied(rx, copybuf, ret);
	}
}

static void rx_mapped(struct nm_rx *rx, size_t index, size_t len)
{
	size_t i;

	nm_check(len % NM_PAGE == 0, "%zu bytes mapped", len);
	for (i = index; i < index + len / NM_PAGE; i++) {
		rx->at[i] = rx->off + 1;
		rx_advance(rx, NM_PAGE);
	}
	rx->mapped += len;
}

/* What the call did not map it may report up to the end of the packet */
static void rx_rest(struct nm_rx *rx, const struct tcp_zerocopy_receive *zc)
{
	if (rx->lead && !rx->in_page)
		return;
	rx_copy(rx, rx_limit(rx, zc->recv_skip_hint));
}

size_t nm_rx_step(struct nm_rx *rx, size_t index, size_t pages)
{
	struct tcp_zerocopy_receive zc = {
		.address = (uintptr_t)rx->area + index * NM_PAGE,
		.length = (rx->lead ? 1 : pages) * NM_PAGE,
		.flags = rx->flags,
		.copybuf_address = (uintptr_t)copybuf,
		/* A call that finds no more than this waiting maps nothing */
		.copybuf_len = rx->copybuf ? NM_PAGE : 0,
	};
	socklen_t len = sizeof(zc);

	/* The call unmaps what was there */
	nm_rx_forget(rx, index, zc.length / NM_PAGE);
	rx_wait(rx);
	rx_begin_page(rx);
	nm_check(!getsockopt(rx->fd, IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, &zc,
			     &len), "TCP_ZEROCOPY_RECEIVE at byte %llu",
		 (unsigned long long)rx->off);
	nm_check(zc.length <= pages * NM_PAGE, "%u bytes mapped", zc.length);

	rx_mapped(rx, index, zc.length);
	nm_check(zc.copybuf_len >= 0, "copybuf: %d", zc.copybuf_len);
	if (rx->copybuf)
		rx_copied(rx, copybuf, zc.copybuf_len);
	if (zc.recv_skip_hint)
		rx_rest(rx, &zc);

	return zc.length / NM_PAGE;
}

void nm_rx_map(struct nm_rx *rx, size_t pages)
{
	uint64_t copied = rx->copied;
	size_t got;

	nm_check(rx->used + pages <= rx->pages, "area too small");
	while (pages) {
		got = nm_rx_step(rx, rx->used, pages);
		rx->used += got;
		pages -= got;
		nm_check_eq(rx->copied, copied, "bytes copied");
	}
}

void nm_rx_keep(struct nm_rx *rx, uint64_t end)
{
	uint64_t left;
	size_t room;

	while (rx->off < end) {
		left = end - rx->off;
		room = rx->pages - rx->used;
		if (room > left / NM_PAGE)
			room = left / NM_PAGE;
		if (room > 256)
			room = 256;
		if (room) {
			rx->used += nm_rx_step(rx, rx->used, room);
		} else {
			rx_begin_page(rx);
			rx_copy(rx, rx_limit(rx, left < NM_PAGE ? left : NM_PAGE));
		}
	}
}

void nm_rx_verify(const struct nm_rx *rx)
{
	size_t i, good;

	for (i = 0; i < rx->pages; i++) {
		if (!rx->at[i])
			continue;
		good = nm_verify(rx->area + i * NM_PAGE, rx->at[i] - 1, NM_PAGE,
				 rx->seed);
		nm_check(good == NM_PAGE,
			 "mapped page %zu, byte %llu of the stream, is wrong from byte %zu on",
			 i, (unsigned long long)rx->at[i] - 1, good);
	}
}

void nm_rx_forget(struct nm_rx *rx, size_t index, size_t pages)
{
	memset(rx->at + index, 0, pages * sizeof(*rx->at));
}

void nm_rx_unmap(struct nm_rx *rx, size_t index, size_t pages)
{
	nm_check(!munmap(rx->area + index * NM_PAGE, pages * NM_PAGE),
		 "munmap");
	nm_rx_forget(rx, index, pages);
}

void nm_rx_reuse(struct nm_rx *rx)
{
	nm_rx_forget(rx, 0, rx->pages);
	rx->used = 0;
	nm_check(mmap(rx->area, rx->pages * NM_PAGE, PROT_READ,
		      MAP_SHARED | MAP_FIXED, rx->fd, 0) == rx->area, "mmap");
}

void nm_rx_exit(struct nm_rx *rx)
{
	nm_check(!munmap(rx->area, rx->pages * NM_PAGE), "munmap");
	free(rx->at);
	close(rx->fd);
}

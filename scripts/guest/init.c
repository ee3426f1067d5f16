// SPDX-License-Identifier: GPL-2.0
/*
 * The first process of the guest. It makes the host's root file system, read
 * over 9p, the root with a tmpfs on top, mounts what a machine has mounted,
 * runs the command that scripts/vm left in /vm, and powers off.
 *
 * Three virtio ports lead to the host: "out" carries what the command prints,
 * "status" the verdict, one line each:
 *
 *	start		the command is about to run
 *	report TEXT	a line of a kernel report (WARN, lockdep, ...)
 *	exit N		the command's exit status
 *	fail TEXT	this program could not do its work
 *	end		all of the above is complete
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

#define REPORT_LINES	80	/* of one report */
#define REPORT_MAX	1000	/* of all */

/* Taints that only a bug sets: bad page, die, warn, softlockup. */
#define TAINT_BUGS	(1UL << 5 | 1UL << 7 | 1UL << 9 | 1UL << 14)

static int out_fd = -1;
static int status_fd = -1;
static int kmsg_fd = -1;
static int nr_report_lines;

static bool write_all(int fd, const char *buf, size_t len)
{
	while (len) {
		ssize_t n = write(fd, buf, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		buf += n;
		len -= n;
	}
	return true;
}

static void status(const char *fmt, ...)
{
	char buf[2048];
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(buf, sizeof(buf) - 1, fmt, ap);
	va_end(ap);
	if (len > (int)sizeof(buf) - 2)
		len = sizeof(buf) - 2;
	buf[len++] = '\n';
	write_all(status_fd >= 0 ? status_fd : STDERR_FILENO, buf, len);
}

static void __attribute__((noreturn)) power_off(void)
{
	/* QEMU runs with -no-reboot, so this ends it. */
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}

static void __attribute__((noreturn)) fail(const char *what)
{
	status("fail %s: %s", what, strerror(errno));
	status("end");
	power_off();
}

static char *read_file(const char *path)
{
	size_t len = 0, size = 0;
	char *buf = NULL;
	ssize_t n;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	do {
		if (len + 1 >= size) {
			size = size ? size * 2 : 4096;
			buf = realloc(buf, size);
			if (!buf)
				fail(path);
		}
		n = read(fd, buf + len, size - len - 1);
		if (n > 0)
			len += n;
	} while (n > 0);
	close(fd);
	buf[len] = 0;
	return buf;
}

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok;

	if (fd < 0)
		return false;
	ok = write_all(fd, text, strlen(text));
	close(fd);
	return ok;
}

static void do_mount(const char *dev, const char *dir, const char *type,
		     unsigned long flags, const char *data)
{
	mkdir(dir, 0755);
	if (mount(dev, dir, type, flags, data))
		fail(dir);
}

/* The same for what a kernel may lack. */
static void try_mount(const char *dev, const char *dir, const char *type,
		      const char *data)
{
	mkdir(dir, 0755);
	mount(dev, dir, type, 0, data);
}

/* Ports appear a moment after their device. */
static int open_port(const char *name)
{
	char path[300], *got;
	struct dirent *d;
	int i, fd = -1;
	DIR *dir;

	for (i = 0; i < 1000 && fd < 0; i++) {
		dir = opendir("/sys/class/virtio-ports");
		while (dir && fd < 0 && (d = readdir(dir))) {
			snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name",
				 d->d_name);
			got = read_file(path);
			if (got && !strncmp(got, name, strlen(name)) &&
			    got[strlen(name)] == '\n') {
				snprintf(path, sizeof(path), "/dev/%s", d->d_name);
				fd = open(path, O_RDWR | O_CLOEXEC);
			}
			free(got);
		}
		if (dir)
			closedir(dir);
		if (fd < 0)
			usleep(5000);
	}
	return fd;
}

static void make_root(void)
{
	do_mount("root", "/lower", "9p", MS_RDONLY,
		 "trans=virtio,version=9p2000.L,msize=512000,cache=loose");
	do_mount("rw", "/rw", "tmpfs", 0, "size=75%");
	mkdir("/rw/upper", 0755);
	mkdir("/rw/work", 0755);
	do_mount("root", "/newroot", "overlay", 0,
		 "lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work");
	if (chdir("/newroot") || mount(".", "/", NULL, MS_MOVE, NULL) ||
	    chroot(".") || chdir("/"))
		fail("chroot");
}

static void mount_all(bool share, const char *modules)
{
	char release[100], path[200], *p;

	do_mount("proc", "/proc", "proc", 0, NULL);
	do_mount("sysfs", "/sys", "sysfs", 0, NULL);
	do_mount("dev", "/dev", "devtmpfs", 0, "mode=0755");
	do_mount("devpts", "/dev/pts", "devpts", 0, "mode=0620,ptmxmode=0666,gid=5");
	do_mount("shm", "/dev/shm", "tmpfs", 0, "mode=1777");
	do_mount("run", "/run", "tmpfs", 0, "mode=0755");
	do_mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, NULL);
	try_mount("debugfs", "/sys/kernel/debug", "debugfs", NULL);
	try_mount("tracefs", "/sys/kernel/tracing", "tracefs", NULL);
	try_mount("configfs", "/sys/kernel/config", "configfs", NULL);
	try_mount("bpf", "/sys/fs/bpf", "bpf", NULL);
	try_mount("hugetlbfs", "/dev/hugepages", "hugetlbfs", NULL);
	symlink("/proc/self/fd", "/dev/fd");
	symlink("/proc/self/fd/0", "/dev/stdin");
	symlink("/proc/self/fd/1", "/dev/stdout");
	symlink("/proc/self/fd/2", "/dev/stderr");
	mkdir("/run/lock", 01777);
	mkdir("/run/netns", 0755);

	if (share)
		do_mount("share", "/share", "9p", 0,
			 "trans=virtio,version=9p2000.L,msize=512000,cache=mmap");

	p = read_file("/proc/sys/kernel/osrelease");
	if (modules && *modules && p) {
		snprintf(release, sizeof(release), "%.*s", (int)strcspn(p, "\n"), p);
		snprintf(path, sizeof(path), "/lib/modules/%s", release);
		mkdir("/lib/modules", 0755);
		mkdir(path, 0755);
		p = NULL;
		if (asprintf(&p, "%s/lib/modules/%s", modules, release) > 0 &&
		    mount(p, path, NULL, MS_BIND, NULL))
			fail(p);
	}
}

static void lo_up(void)
{
	struct ifreq ifr = { .ifr_name = "lo" };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &ifr))
		return;
	ifr.ifr_flags |= IFF_UP;
	ioctl(fd, SIOCSIFFLAGS, &ifr);
	close(fd);
}

/*
 * A starved host makes the scheduler's fair server run into a WARN that the
 * base has: dl_server_timer() forwards a timer which update_curr() has armed
 * again. Nothing here needs that server.
 */
static void stop_fair_servers(void)
{
	char path[100];
	int cpu;

	for (cpu = 0; cpu < sysconf(_SC_NPROCESSORS_ONLN); cpu++) {
		snprintf(path, sizeof(path),
			 "/sys/kernel/debug/sched/fair_server/cpu%d/runtime", cpu);
		write_file(path, "0");
	}
}

/* Does this line of the kernel's log begin a report? */
static bool is_report(const char *line)
{
	static const char * const starts[] = {
		"------------[ cut here", "BUG: ", "Bad page", "DEBUG_LOCKS_WARN_ON", "INFO: lockdep",
		"INFO: task ", "INFO: trying to register", "Kernel panic",
		"ODEBUG: ", "Oops: ", "UBSAN: ", "WARNING: ", "[ BUG: ",
		"general protection fault", "kernel BUG at ", "list_add corruption",
		"list_del corruption", "rcu: INFO: ", "ref_tracker: ",
		"refcount_t: ", "unregister_netdevice: waiting", "watchdog: BUG",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(starts); i++)
		if (!strncmp(line, starts[i], strlen(starts[i])))
			return true;
	return !strncmp(line, "kmemleak: ", 10) && strstr(line, "suspected");
}

static void report(const char *line)
{
	if (nr_report_lines++ < REPORT_MAX)
		status("report %s", line);
}

/*
 * Read what is new in the kernel's log. A report is its first line and those
 * which follow within half a second, up to the end of the trace.
 */
static void read_kmsg(void)
{
	static unsigned long long until;	/* usecs */
	static int left;
	unsigned long long when;
	char buf[8192], *text;
	unsigned int prio;
	ssize_t n;

	for (;;) {
		n = read(kmsg_fd, buf, sizeof(buf) - 1);
		if (n < 0 && (errno == EPIPE || errno == EINTR))
			continue;
		if (n <= 0)
			return;
		buf[n] = 0;
		text = strchr(buf, ';');
		if (!text || sscanf(buf, "%u,%*u,%llu", &prio, &when) != 2)
			continue;
		/* Not the kernel's: somebody wrote into /dev/kmsg. */
		if (prio >> 3)
			continue;
		*text++ = 0;
		text[strcspn(text, "\n")] = 0;
		if (is_report(text) && (!left || when > until)) {
			left = REPORT_LINES;
			until = when + 500000;
		}
		if (!left)
			continue;
		if (when > until) {
			left = 0;
			continue;
		}
		report(text);
		left--;
		if (!strncmp(text, "---[ end trace", 14))
			left = 0;
	}
}

static void check_kmemleak(void)
{
	static const char path[] = "/sys/kernel/debug/kmemleak";
	char *leaks, *line, *next;

	/* Not there, or not on */
	if (!write_file(path, "scan"))
		return;
	/* An object is a suspect when it is 5 s old and two scans agree. */
	sleep(6);
	write_file(path, "scan");
	leaks = read_file(path);
	for (line = leaks; line && *line; line = next) {
		next = line + strcspn(line, "\n");
		if (*next)
			*next++ = 0;
		report(line);
	}
	free(leaks);
}

/* Bugs that left no line in the log, or one that was lost. */
static void check_state(void)
{
	unsigned long taint;
	char *p;

	p = read_file("/proc/sys/kernel/tainted");
	taint = p ? strtoul(p, NULL, 10) : 0;
	free(p);
	if ((taint & TAINT_BUGS) && !nr_report_lines)
		status("report the kernel is tainted (%lu), see dmesg", taint);

	p = read_file("/proc/lockdep_stats");
	if (p && !nr_report_lines) {
		char *locks = strstr(p, "debug_locks:");

		if (locks && !strtoul(locks + 12, NULL, 10))
			status("report lockdep has switched itself off");
	}
	free(p);
	if (nr_report_lines > REPORT_MAX)
		status("report (and %d lines more)", nr_report_lines - REPORT_MAX);
}

static void set_environment(const char *cwd)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	clearenv();
	setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	setenv("HOME", "/root", 1);
	setenv("USER", "root", 1);
	setenv("LOGNAME", "root", 1);
	setenv("SHELL", "/bin/sh", 1);
	setenv("TERM", "linux", 1);
	if (!cwd || chdir(cwd))
		chdir("/");
}

static pid_t start_command(const char *cmd, const char *cwd, int pipe_fd)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	setsid();
	dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
	dup2(pipe_fd, STDOUT_FILENO);
	dup2(pipe_fd, STDERR_FILENO);
	set_environment(cwd);
	execl("/bin/sh", "sh", "-c", cmd, NULL);
	_exit(127);
}

static pid_t start_shell(const char *cwd, const char *size)
{
	struct winsize ws = { 0 };
	pid_t pid = fork();
	int fd;

	if (pid)
		return pid;
	setsid();
	fd = open("/dev/hvc0", O_RDWR);
	ioctl(fd, TIOCSCTTY, 1);
	if (size && sscanf(size, "%hu %hu", &ws.ws_row, &ws.ws_col) == 2)
		ioctl(fd, TIOCSWINSZ, &ws);
	dup2(fd, STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	set_environment(cwd);
	execl("/bin/bash", "-bash", NULL);
	execl("/bin/sh", "-sh", NULL);
	_exit(127);
}

static void sigchld(int sig)
{
}

/* Pass on what the command prints until it ends; return its wait status. */
static int relay(pid_t pid, int pipe_fd)
{
	struct pollfd fds[] = {
		{ .fd = pipe_fd, .events = POLLIN },
		{ .fd = kmsg_fd, .events = POLLIN },
	};
	int wstatus, ended = -1;
	static char buf[65536];
	sigset_t none;
	ssize_t n;
	pid_t got;

	sigemptyset(&none);
	for (;;) {
		/* Orphans come here too. */
		while ((got = waitpid(-1, &wstatus, WNOHANG)) > 0)
			if (got == pid)
				ended = wstatus;
		while ((n = read(pipe_fd, buf, sizeof(buf))) > 0)
			write_all(out_fd, buf, n);
		if (!n)
			fds[0].fd = -1;
		read_kmsg();
		if (ended >= 0)
			return ended;
		/* SIGCHLD is blocked except while waiting here. */
		ppoll(fds, ARRAY_SIZE(fds), NULL, &none);
	}
}

int main(void)
{
	char *cmd, *cwd, *modules, *size;
	bool share, shell;
	struct sigaction sa = { .sa_handler = sigchld };
	int pipe_fds[2], wstatus;
	sigset_t chld;
	pid_t pid;

	umask(022);
	cmd = read_file("/vm/cmd");
	cwd = read_file("/vm/cwd");
	modules = read_file("/vm/modules");
	size = read_file("/vm/size");
	share = !access("/vm/share", F_OK);
	shell = !access("/vm/shell", F_OK);

	make_root();
	mount_all(share, modules);
	out_fd = open_port("out");
	status_fd = open_port("status");
	kmsg_fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (status_fd < 0 || out_fd < 0 || kmsg_fd < 0 || (!cmd && !shell))
		fail("no way to talk to the host");
	sethostname("netmem", 6);
	lo_up();
	stop_fair_servers();

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, NULL);
	sigaction(SIGCHLD, &sa, NULL);
	if (pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK))
		fail("pipe");
	/* Only our end must not block. */
	fcntl(pipe_fds[1], F_SETFL, 0);

	status("start");
	pid = shell ? start_shell(cwd, size) : start_command(cmd, cwd, pipe_fds[1]);
	if (pid < 0)
		fail("fork");
	close(pipe_fds[1]);
	wstatus = relay(pid, pipe_fds[0]);
	check_kmemleak();
	read_kmsg();
	check_state();
	status("exit %d", WIFEXITED(wstatus) ? WEXITSTATUS(wstatus) : 128 + WTERMSIG(wstatus));
	status("end");
	sync();
	power_off();
}

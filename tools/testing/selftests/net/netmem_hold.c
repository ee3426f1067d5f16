// SPDX-License-Identifier: GPL-2.0
/*
 * The part of netmem_lib.h that holds on to received pages other than by a
 * mapping, and looks at them.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/if_packet.h>
#include <linux/tcp.h>
#include <linux/tls.h>
#include <linux/types.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

#include "netmem_lib.h"

/* ----- holding pages other than by a mapping ----- */

void nm_pipe(int fd[2], size_t pages)
{
	nm_check(!pipe2(fd, O_CLOEXEC), "pipe");
	nm_check(fcntl(fd[1], F_SETPIPE_SZ, pages * NM_PAGE) >= 0,
		 "F_SETPIPE_SZ %zu", pages);
}

void nm_vmsplice(int fd, const void *addr, size_t pages)
{
	struct iovec iov = { (void *)addr, pages * NM_PAGE };
	ssize_t ret;

	while (iov.iov_len) {
		ret = vmsplice(fd, &iov, 1, SPLICE_F_NONBLOCK);
		nm_check(ret > 0, "vmsplice of %zu bytes", iov.iov_len);
		iov.iov_base = (char *)iov.iov_base + ret;
		iov.iov_len -= ret;
	}
}

static void read_full(int fd, void *buf, size_t len)
{
	size_t done;
	ssize_t ret;

	for (done = 0; done < len; done += ret) {
		nm_check(nm_until(nm_readable(fd), NM_TIMEOUT_MS),
			 "nothing to read");
		ret = read(fd, (char *)buf + done, len - done);
		nm_check(ret > 0, "read");
	}
}

void nm_read_verify(int fd, size_t pages, uint64_t off, uint64_t seed)
{
	uint64_t buf[NM_PAGE / 8];

	for (; pages; pages--, off += NM_PAGE) {
		read_full(fd, buf, NM_PAGE);
		nm_check_eq(nm_verify(buf, off, NM_PAGE, seed), NM_PAGE,
			    "good bytes of a page read");
	}
}

void nm_splice(int from, int to, size_t pages)
{
	size_t len = pages * NM_PAGE;
	ssize_t ret;

	nm_need_pages(from);
	for (; len; len -= ret) {
		ret = splice(from, NULL, to, NULL, len, 0);
		nm_check(ret > 0, "splice of %zu bytes", len);
	}
}

/* mm/gup_test.h is not exported to user space */
struct pin_longterm_test {
	__u64 addr;
	__u64 size;
	__u32 flags;
};

#define PIN_LONGTERM_TEST_FLAG_USE_FAST	2
#define PIN_LONGTERM_TEST_START	_IOW('g', 7, struct pin_longterm_test)
#define PIN_LONGTERM_TEST_READ	_IOW('g', 9, __u64)

int nm_pin(const void *addr, size_t pages)
{
	struct pin_longterm_test args = {
		.addr = (uintptr_t)addr,
		.size = pages * NM_PAGE,
		.flags = PIN_LONGTERM_TEST_FLAG_USE_FAST,
	};
	int fd;

	fd = open("/sys/kernel/debug/gup_test", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		nm_skip("no /sys/kernel/debug/gup_test (CONFIG_GUP_TEST)");
	nm_check(!ioctl(fd, PIN_LONGTERM_TEST_START, &args), "pin");

	return fd;
}

void nm_pin_verify(int fd, size_t pages, uint64_t off, uint64_t seed)
{
	__u64 addr;
	char *buf;

	buf = malloc(pages * NM_PAGE);
	nm_check(buf, "malloc");
	addr = (uintptr_t)buf;
	nm_check(!ioctl(fd, PIN_LONGTERM_TEST_READ, &addr), "read of pages");
	nm_check_eq(nm_verify(buf, off, pages * NM_PAGE, seed),
		    pages * NM_PAGE, "good bytes of pinned pages");
	free(buf);
}

int nm_packet_socket(const char *name, int proto, int rcvbuf)
{
	struct sockaddr_ll sll = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(proto),
		.sll_ifindex = if_nametoindex(name),
	};
	int fd;

	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(proto));
	if (fd < 0)
		nm_skip("no packet socket (CONFIG_PACKET)");
	nm_set_rcvbuf(fd, rcvbuf);
	nm_check(!bind(fd, (void *)&sll, sizeof(sll)), "bind to %s", name);

	return fd;
}

void nm_tls_on(int fd, int direction)
{
	struct tls12_crypto_info_aes_gcm_128 info = {
		.info.version = TLS_1_2_VERSION,
		.info.cipher_type = TLS_CIPHER_AES_GCM_128,
	};

	if (setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")))
		nm_skip("no TLS sockets (CONFIG_TLS)");
	nm_check(!setsockopt(fd, SOL_TLS, direction, &info, sizeof(info)),
		 "SOL_TLS");
}

/* Each write is a request of its own, with a gap before the next */
#define AIO_PAGES	32
#define AIO_BYTES	(AIO_PAGES * NM_PAGE)
#define AIO_STRIDE	(2 * AIO_BYTES)
#define AIO_MAX		32
#define SCRATCH_BYTES	(AIO_STRIDE * AIO_MAX)

/*
 * The machine may have its file systems on such a disk, so make sure that it is
 * not in use (O_EXCL), and that there is nothing where we write.
 */
static bool is_scratch(const char *path)
{
	static const char zero[NM_PAGE];
	char buf[NM_PAGE];
	size_t off;
	int fd;

	fd = open(path, O_RDWR | O_EXCL | O_CLOEXEC);
	if (fd < 0)
		return false;
	for (off = 0; off < SCRATCH_BYTES; off += sizeof(buf)) {
		if (pread(fd, buf, sizeof(buf), off) != sizeof(buf) ||
		    memcmp(buf, zero, sizeof(buf)))
			break;
	}
	close(fd);

	return off == SCRATCH_BYTES;
}

const char *nm_scratch_disk(void)
{
	static char path[] = "/dev/vda";
	char *letter = path + strlen(path) - 1;

	/* From the last, which may be a slow one, made for tests */
	for (*letter = 'h'; *letter >= 'a'; --*letter)
		if (is_scratch(path))
			return path;
	nm_skip("no unused, empty virtio disk");
}

static void scratch_wipe(int fd)
{
	void *buf;

	nm_check(!posix_memalign(&buf, NM_PAGE, SCRATCH_BYTES), "memalign");
	memset(buf, 0, SCRATCH_BYTES);
	nm_check_eq(pwrite(fd, buf, SCRATCH_BYTES, 0), SCRATCH_BYTES, "wipe");
	free(buf);
}

void nm_aio_init(struct nm_aio *aio)
{
	const char *disk = nm_scratch_disk();

	*aio = (struct nm_aio){};
	aio->fd = open(disk, O_RDWR | O_DIRECT | O_CLOEXEC);
	nm_check(aio->fd >= 0, "%s", disk);
	if (syscall(__NR_io_setup, AIO_MAX, &aio->ctx))
		nm_skip("no io_setup(2) (CONFIG_AIO)");
}

void nm_aio_write(struct nm_aio *aio, const void *addr, size_t pages)
{
	struct iocb iocb[AIO_MAX] = {}, *list[AIO_MAX];
	size_t len, left = pages * NM_PAGE;
	unsigned int nr;

	aio->bytes = 0;
	for (nr = 0; left; nr++, left -= len) {
		nm_check(nr < AIO_MAX, "too much to write");
		len = left < AIO_BYTES ? left : AIO_BYTES;
		iocb[nr].aio_lio_opcode = IOCB_CMD_PWRITE;
		iocb[nr].aio_fildes = aio->fd;
		iocb[nr].aio_buf = (uintptr_t)addr + aio->bytes;
		iocb[nr].aio_offset = nr * AIO_STRIDE;
		iocb[nr].aio_nbytes = len;
		list[nr] = &iocb[nr];
		aio->bytes += len;
	}
	aio->nr = nr;
	nm_check_eq(syscall(__NR_io_submit, aio->ctx, nr, list), nr, "writes");
}

void nm_aio_wait(struct nm_aio *aio)
{
	struct timespec ts = { .tv_sec = NM_TIMEOUT_MS / 1000 };
	struct io_event event[AIO_MAX];
	size_t done = 0;
	unsigned int i;

	nm_check_eq(syscall(__NR_io_getevents, aio->ctx, aio->nr, AIO_MAX,
			    event, &ts), aio->nr, "completions");
	for (i = 0; i < aio->nr; i++)
		done += event[i].res;
	nm_check_eq(done, aio->bytes, "bytes written");
}

void nm_aio_verify(const struct nm_aio *aio, uint64_t off, uint64_t seed)
{
	size_t len, left = aio->bytes;
	unsigned int nr;
	void *buf;

	nm_check(!posix_memalign(&buf, NM_PAGE, AIO_BYTES), "memalign");
	for (nr = 0; left; nr++, left -= len, off += len) {
		len = left < AIO_BYTES ? left : AIO_BYTES;
		nm_check_eq(pread(aio->fd, buf, len, nr * AIO_STRIDE), len,
			    "read back");
		nm_check_eq(nm_verify(buf, off, len, seed), len,
			    "good bytes on the disk");
	}
	free(buf);
}

void nm_aio_exit(struct nm_aio *aio)
{
	syscall(__NR_io_destroy, aio->ctx);
	scratch_wipe(aio->fd);
	close(aio->fd);
}

/* ----- what the kernel says about pages ----- */

static bool read_u64(const char *path, uint64_t index, uint64_t *val)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool ok;

	if (fd < 0)
		return false;
	ok = pread(fd, val, sizeof(*val), index * sizeof(*val)) == sizeof(*val);
	close(fd);

	return ok;
}

#define PAGEMAP_PRESENT	0x8000000000000000ULL
#define PAGEMAP_PFN	0x007fffffffffffffULL

uint64_t nm_pfn(const void *addr)
{
	uint64_t val;

	if (!read_u64("/proc/self/pagemap", (uintptr_t)addr / NM_PAGE, &val))
		nm_skip("no /proc/self/pagemap (CONFIG_PROC_PAGE_MONITOR)");

	return val & PAGEMAP_PRESENT ? val & PAGEMAP_PFN : 0;
}

uint64_t nm_kpageflags(uint64_t pfn)
{
	uint64_t val = 0;

	nm_check(read_u64("/proc/kpageflags", pfn, &val), "kpageflags");
	return val;
}

uint64_t nm_kpagecgroup(uint64_t pfn)
{
	uint64_t val = 0;

	nm_check(read_u64("/proc/kpagecgroup", pfn, &val), "kpagecgroup");
	return val;
}

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What tcp_mmap_hold.c and netmem_provider_hold.c have in common: one TCP stream,
 * its SHA-256, and lines of key=value about it. In a header, for each of them to
 * be compiled by one command.
 */
#ifndef NETMEM_STREAM_H
#define NETMEM_STREAM_H

#include <errno.h>
#include <error.h>
#include <netdb.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <linux/tcp.h>

/* Address space below is always clean: let the kernel skip zapping it. */
#ifndef TCP_RECEIVE_ZEROCOPY_FLAG_TLB_CLEAN_HINT
#define TCP_RECEIVE_ZEROCOPY_FLAG_TLB_CLEAN_HINT 0x1
#endif

enum { EXIT_USAGE = 2 };

struct stream_opts {
	const char *port;
	uint64_t rcvbuf;	/* 0: the kernel tunes it */
	uint64_t mss;		/* 0: the kernel's */
	uint64_t timeout;	/* seconds */
};

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ULL + ts.tv_nsec / 1000000;
}

static void *xmmap(size_t len, int prot, int flags, int fd)
{
	void *p = mmap(NULL, len, prot, flags, fd, 0);

	if (p == MAP_FAILED)
		error(EXIT_FAILURE, errno, "mmap of %zu bytes", len);
	return p;
}

/* SHA-256 (FIPS 180-4), so that the program needs no library. */

struct sha256 {
	uint32_t h[8];
	uint64_t len;
	uint8_t buf[64];
};

static const uint32_t sha256_k[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1,
	0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
	0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
	0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
	0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
	0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
	0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
	0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
	0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t ror32(uint32_t x, int n)
{
	return x >> n | x << (32 - n);
}

static uint32_t get_be32(const uint8_t *p)
{
	uint32_t x;

	memcpy(&x, p, sizeof(x));
	return ntohl(x);
}

static void put_be32(uint8_t *p, uint32_t x)
{
	x = htonl(x);
	memcpy(p, &x, sizeof(x));
}

static uint32_t sha256_schedule(const uint32_t *w, int i)
{
	uint32_t a = w[i - 15], b = w[i - 2];

	return w[i - 16] + w[i - 7] +
	       (ror32(a, 7) ^ ror32(a, 18) ^ a >> 3) +
	       (ror32(b, 17) ^ ror32(b, 19) ^ b >> 10);
}

/* One round; @d and @h get new values, the caller renames all by one place. */
static inline void sha256_round(uint32_t a, uint32_t b, uint32_t c, uint32_t *d,
				uint32_t e, uint32_t f, uint32_t g, uint32_t *h,
				uint32_t kw)
{
	kw += *h + (ror32(e, 6) ^ ror32(e, 11) ^ ror32(e, 25)) +
	      (g ^ (e & (f ^ g)));
	*d += kw;
	*h = kw + (ror32(a, 2) ^ ror32(a, 13) ^ ror32(a, 22)) +
	     ((a & b) | (c & (a | b)));
}

static void sha256_block(struct sha256 *s, const uint8_t *p)
{
	uint32_t a = s->h[0], b = s->h[1], c = s->h[2], d = s->h[3];
	uint32_t e = s->h[4], f = s->h[5], g = s->h[6], h = s->h[7];
	const uint32_t *k = sha256_k;
	uint32_t w[64];
	int i;

	for (i = 0; i < 16; i++)
		w[i] = get_be32(p + 4 * i);
	for (; i < 64; i++)
		w[i] = sha256_schedule(w, i);

	for (i = 0; i < 64; i += 8) {
		sha256_round(a, b, c, &d, e, f, g, &h, k[i] + w[i]);
		sha256_round(h, a, b, &c, d, e, f, &g, k[i + 1] + w[i + 1]);
		sha256_round(g, h, a, &b, c, d, e, &f, k[i + 2] + w[i + 2]);
		sha256_round(f, g, h, &a, b, c, d, &e, k[i + 3] + w[i + 3]);
		sha256_round(e, f, g, &h, a, b, c, &d, k[i + 4] + w[i + 4]);
		sha256_round(d, e, f, &g, h, a, b, &c, k[i + 5] + w[i + 5]);
		sha256_round(c, d, e, &f, g, h, a, &b, k[i + 6] + w[i + 6]);
		sha256_round(b, c, d, &e, f, g, h, &a, k[i + 7] + w[i + 7]);
	}
	s->h[0] += a;
	s->h[1] += b;
	s->h[2] += c;
	s->h[3] += d;
	s->h[4] += e;
	s->h[5] += f;
	s->h[6] += g;
	s->h[7] += h;
}

static void sha256_init(struct sha256 *s)
{
	static const uint32_t h[8] = {
		0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
		0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
	};

	memcpy(s->h, h, sizeof(h));
	s->len = 0;
}

static void sha256_update(struct sha256 *s, const void *data, size_t len)
{
	size_t fill = s->len % 64, n;
	const uint8_t *p = data;

	s->len += len;
	if (fill) {
		n = len < 64 - fill ? len : 64 - fill;
		memcpy(s->buf + fill, p, n);
		if (fill + n < 64)
			return;
		sha256_block(s, s->buf);
		p += n;
		len -= n;
	}
	for (; len >= 64; p += 64, len -= 64)
		sha256_block(s, p);
	memcpy(s->buf, p, len);
}

static void sha256_print(struct sha256 *s)
{
	uint64_t bits = s->len * 8;
	uint8_t pad[72] = { 0x80 };
	size_t n = 64 - (s->len + 8) % 64;
	int i;

	put_be32(pad + n, bits >> 32);
	put_be32(pad + n + 4, bits);
	sha256_update(s, pad, n + 8);

	printf("sha256=");
	for (i = 0; i < 8; i++)
		printf("%08x", s->h[i]);
	printf("\n");
}

/* Sockets */

static struct addrinfo *lookup(const struct stream_opts *opts, const char *host,
			       int flags)
{
	struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM,
		.ai_flags = flags | AI_NUMERICSERV,
	}, *res;
	int err;

	err = getaddrinfo(host, opts->port, &hints, &res);
	if (err)
		error(EXIT_FAILURE, 0, "%s port %s: %s", host ? host : "*",
		      opts->port, gai_strerror(err));
	return res;
}

static int open_socket(const struct stream_opts *opts,
		       const struct addrinfo *ai)
{
	int fd, val = 1;

	fd = socket(ai->ai_family, ai->ai_socktype, ai->ai_protocol);
	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &val, sizeof(val));

	val = opts->mss;
	if (val && setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &val, sizeof(val)))
		error(EXIT_FAILURE, errno, "TCP_MAXSEG %d", val);
	val = opts->rcvbuf;
	if (val && setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &val, sizeof(val)))
		error(EXIT_FAILURE, errno, "SO_RCVBUF %d", val);
	return fd;
}

static int wait_for(int fd, int events, int ms)
{
	struct pollfd pfd = { .fd = fd, .events = events };

	return poll(&pfd, 1, ms);
}

static int open_listener(const struct stream_opts *opts, const char *host)
{
	struct addrinfo *res, *ai;
	int fd = -1;

	res = lookup(opts, *host ? host : NULL, AI_PASSIVE);
	for (ai = res; ai; ai = ai->ai_next) {
		fd = open_socket(opts, ai);
		if (fd < 0)
			continue;
		if (!bind(fd, ai->ai_addr, ai->ai_addrlen) && !listen(fd, 1))
			break;
		close(fd);
		fd = -1;
	}
	if (fd < 0)
		error(EXIT_FAILURE, errno, "cannot listen on port %s", opts->port);
	freeaddrinfo(res);
	return fd;
}

/* @host is the address to listen on, "" for any */
static int accept_one(const struct stream_opts *opts, const char *host)
{
	int lfd = open_listener(opts, host), fd;

	printf("listening port=%s\n", opts->port);
	fflush(stdout);
	if (wait_for(lfd, POLLIN, opts->timeout * 1000) <= 0)
		error(EXIT_FAILURE, 0, "nobody connected in %ju s", opts->timeout);
	fd = accept(lfd, NULL, NULL);
	if (fd < 0)
		error(EXIT_FAILURE, errno, "accept");
	close(lfd);
	return fd;
}

/* Lines */

/* In a format that netmem_watch adds to */
static void print_sample(uint64_t mapped, uint64_t copied, uint64_t held,
			 uint64_t calls, uint64_t reads, uint64_t start_ms)
{
	printf("sample received=%ju mapped=%ju copied=%ju held=%ju calls=%ju reads=%ju ms=%ju\n",
	       mapped + copied, mapped, copied, held, calls, reads,
	       now_ms() - start_ms);
	fflush(stdout);
}

static void wait_for_line(void)
{
	int c;

	do
		c = getchar();
	while (c != '\n' && c != EOF);
}

static uint64_t parse_number(const char *opt, const char *s, uint64_t min,
			     uint64_t max)
{
	static const char units[] = "KMG";
	const char *unit;
	uint64_t val;
	char *end;

	errno = 0;
	val = strtoull(s, &end, 10);
	if (end == s || *s == '-' || errno)
		goto bad;
	unit = *end ? strchr(units, *end) : NULL;
	if (unit) {
		int shift = 10 * (unit - units + 1);

		if (val > UINT64_MAX >> shift)
			goto bad;
		val <<= shift;
		end++;
	}
	if (!*end && val >= min && val <= max)
		return val;
bad:
	error(EXIT_USAGE, 0, "--%s %s: want a number from %ju to %ju, K, M and G allowed",
	      opt, s, min, max);
	return 0;
}

#endif

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What helpers.c of liburing's examples defines: Debian's package has that file,
 * but not the header of this name that its examples include.
 */
#ifndef EXAMPLES_HELPERS_H
#define EXAMPLES_HELPERS_H

#include <stddef.h>

#define T_ALIGN_UP(v, align)	(((v) + (align) - 1) / (align) * (align))

int memfd_create(const char *name, unsigned int flags);
int setup_listening_socket(int port, int ipv6);
void *t_aligned_alloc(size_t alignment, size_t size);
void t_error(int status, int errnum, const char *format, ...);

#endif

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Whose work it is: what a stream costs the receiver, the sender, and the wire
 * between two devices of netdevsim. NAPI polls in threads of its own, and each
 * thread has a clock. The rest is what all others did meanwhile. Without
 * nm_sides_init() only the whole is known.
 */
#ifndef NETMEM_SIDES_H
#define NETMEM_SIDES_H

#include "netmem_lib.h"

enum nm_side {
	NM_RECEIVE,
	NM_SEND,
	NM_WIRE,
	NM_WHOLE,
	NM_SIDES,
};

/* NAPI of both devices goes to threads; before any packet is sent */
void nm_sides_init(const struct nm_pair *pair);
/* The thread that polls @device, called napi/DEVICE-ID; 0 if there is none */
pid_t nm_napi_thread(const char *device);
/* The process @receiver (0: none) receives, too */
void nm_sides_receiver(pid_t receiver);
void nm_sides_start(void);
/* What this process does from now on is work of @side */
void nm_sides_now(enum nm_side side);
/* Says what each had to do since nm_sides_start(), for each of @nr pages */
void nm_sides_report(const char *what, unsigned int nr);

/*
 * A system call that nobody else makes: who counts what each function of the
 * kernel does, counts between two of these.
 */
void nm_sides_mark(void);

#endif /* NETMEM_SIDES_H */

# SPDX-License-Identifier: GPL-2.0
# What the netmem tests share; to be included after lib.mk. A Makefile that does
# has to add $(selfdir)/net/netmem_lib.h to LOCAL_HDRS before.

NETMEM_DIR := $(selfdir)/net
NETMEM_LIB := $(addprefix $(NETMEM_DIR)/,netmem_hold.c netmem_lib.c \
		netmem_nic.c netmem_nl.c netmem_trace.c netmem_xdp.c)
NETMEM_CFLAGS := -I$(NETMEM_DIR) $(KHDR_INCLUDES)

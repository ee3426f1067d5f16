# SPDX-License-Identifier: GPL-2.0
#
# The only entry point. Each target does all that it needs: packages, kernel
# source, tree, build. `make help` lists them.

.SUFFIXES:
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help

# What the user gives goes to the scripts as it is: no $ is expanded, and the
# scripts check it.
vars := CMD KERNEL SMP MEM NODES SHARE TIMEOUT APPEND QEMU_ARGS ICOUNT SERIAL \
	KERNEL_SRC FORCE JOBS LIMIT SIZE COMPARE NIC PROVIDER TESTS ALL LIST RESULTS RUNS CHECK
given := $(foreach v,$(.VARIABLES),$(if $(filter command,$(firstword \
	$(origin $(v)))),$(v)))
$(foreach v,$(vars),$(if $(filter undefined,$(origin $(v))),, \
	$(eval override $(v) := $$(value $(v)))$(eval export $(v))))

help:
	@cat scripts/help.txt

setup:
	@scripts/setup

tree: setup
	@scripts/tree

refresh:
	@scripts/refresh

kernel:
	@scripts/kernel --check
	@scripts/setup
	@scripts/kernel

vm:
	@scripts/vm --check
	@scripts/setup
	@scripts/kernel
	@scripts/vm

shell:
	@CMD=none scripts/vm --check
	@scripts/setup
	@scripts/kernel
	@scripts/vm --shell

clean:
	rm -rf build

run:
	@GIVEN='$(given)' scripts/run

test:
	@scripts/test --check
	@scripts/setup
	@scripts/test

bench:
	@scripts/bench --check
	@scripts/setup
	@scripts/bench

baseline:
	@scripts/setup
	@scripts/baseline

.PHONY: help setup tree refresh kernel vm shell run test bench baseline clean

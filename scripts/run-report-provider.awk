# SPDX-License-Identifier: GPL-2.0
#
# The part of run-report.awk for memory that a provider has given to the queue: it
# calls note_provided() for each sample, and provider_report() in the end. memory is
# what was provided, in bytes; hold and batch are the pages that act 1 and act 2
# hold on to.

# What the provider's memory is charged as
function charged_as() {
	return provider == "zcrx" ? "anon" : provider == "devmem" ? "shmem" : "kernel"
}

function note_range(k, a, key) {
	if (!known(v[key])) {
		unknown[k, a, key]++
		return
	}
	if (!((k, a, key) in low) || v[key] + 0 < low[k, a, key] + 0)
		low[k, a, key] = v[key]
	if (!((k, a, key) in high) || v[key] + 0 > high[k, a, key] + 0)
		high[k, a, key] = v[key]
}

function note_provided(k, a,    i, n, keys) {
	n = split("current netmem sock provider provided held " charged_as(), keys, " ")
	for (i = 1; i <= n; i++)
		note_range(k, a, keys[i])
}

# Of the samples, "-" if one of them does not have it
function lowest(k, a, key) {
	return (k, a, key) in low && !((k, a, key) in unknown) ? low[k, a, key] : "-"
}

function highest(k, a, key) {
	return (k, a, key) in high && !((k, a, key) in unknown) ? high[k, a, key] : "-"
}

# What else than the memory is charged: what waits in the socket, at most twice
# SO_RCVBUF; what is written down of each page, by io_uring most, 120 bytes (struct
# net_iov, scatterlist, page table, ...), so 1/32; and 1 MiB for the program, its rings
# and buffers, and what each CPU has charged ahead.
function slack() {
	return 2 * rcvbuf + memory / 32 + 1048576
}

function provider_cell(what, k, a) {
	if (what == "held")	return mib(highest(k, a, "held"))
	if (what == "provider")	return mib(lowest(k, a, "provider"))
	if (what == "as")	return mib(lowest(k, a, charged_as()))
	if (what == "netmem")	return mib(highest(k, a, "netmem"))
	if (what == "sock")	return mib(highest(k, a, "sock"))
	if (what == "provider after")	return mib(get(k, a, "after.provider"))
	if (what == "provided after")	return mib(get(k, a, "after.provided"))
	if (what == "pools after")	return get(k, a, "after.pools")
	return cell(what, k, a)
}

function provider_row(label, what,    i, j) {
	printf "%-47s", label
	for (i = 1; i <= nacts; i++)
		for (j = 1; j <= nkernels; j++)
			printf "%*s", width, provider_cell(what, kname[j], aname[i])
	printf "\n"
}

function provider_table() {
	printf "%-47s%*s%*s\n", sprintf("stream %s, memory.max %s", mib(size), mib(limit)),
	       width, sprintf("1: hold %s", mib(hold * 4096)), width, "2: give back as it goes"
	printf "%s of memory provided: %s\n", mib(memory), provider
	provider_row("received", "received")
	provider_row("  into this memory, by zero copy", "mapped")
	provider_row("  copied", "copied")
	provider_row("SHA-256 of sent and received", "hash")
	provider_row("held by the receiver, highest seen", "held")
	provider_row("memory.current, highest", "peak")
	provider_row("memory.stat netmem_provider, lowest seen", "provider")
	provider_row(sprintf("  %s, which it is part of, lowest seen", charged_as()), "as")
	provider_row("  netmem, highest seen", "netmem")
	provider_row("  sock, highest seen", "sock")
	provider_row("OOM kills", "oom")
	provider_row("after exit: memory.current", "current after")
	provider_row("            memory.stat netmem_provider", "provider after")
	provider_row("            page pools of the queue", "pools after")
	provider_row("            memory provided to them", "provided after")
}

function check_seen(k, a, key, want, text,    least, most) {
	least = lowest(k, a, key)
	most = highest(k, a, key)
	check(known(least) && known(most) && least + 0 == want && most + 0 == want, k, a,
	      sprintf("%s: from %s to %s instead of %s", text, least, most, want))
}

function check_provider_charge(k, a,    as) {
	check_at_most(k, a, "after.peak", limit, "highest memory.current")
	check_at_most(k, a, "after.peak", memory + slack(),
		      "highest memory.current, with the provided memory")
	check_equal(k, a, "end.oom_kills", 0, "OOM kills")
	check_equal(k, a, "before.provider", 0, "netmem_provider before")
	check_seen(k, a, "provider", memory, "netmem_provider")
	check_seen(k, a, "provided", memory, "what the queue's pool was provided")
	# Nothing is charged twice
	check_seen(k, a, "netmem", 0, "netmem")
	# memory.stat may lag by a batch of 64 pages on each CPU
	as = lowest(k, a, charged_as())
	check(known(as) && as + 0 >= memory - 64 * 4096 * get(k, a, "end.cpus"), k, a,
	      sprintf("%s is %s, less than what was provided", charged_as(), as))
}

# Did the act do what it is for? What is held is counted in buffers, and a few of them
# may not be full: a sender that finds the window closed for long sends what fits into
# the rest of it.
function check_provider_act(k, a,    most) {
	check_equal(k, a, "rx.held_max", (a == "keep" ? hold : batch) * 4096,
		    "buffers held at most, in bytes")
	most = highest(k, a, "held")
	if (a == "keep")
		check(known(most) && most + 0 >= hold * 4096 * 0.99, k, a,
		      sprintf("held at most %s bytes of %d", most, hold * 4096))
	# Nor can such a part of a page be mapped
	check_at_most(k, a, "rx.copied", provider ~ /^kernel/ ? size / 100 : 0, "bytes copied")
}

function check_provider_return(k, a) {
	check_current_back(k, a)
	check_equal(k, a, "after.provider", 0, "netmem_provider after exit")
	check_equal(k, a, "after.netmem", 0, "netmem after exit")
	check_equal(k, a, "after.pools", 1, "page pools of the queue after exit")
	check_equal(k, a, "after.provided", 0, "memory provided to the queue after exit")
	# Only the pool of the queue itself may have got, or lost, a page
	check(known(rise(k, a, "page_pool")) && known(rise(k, a, "owned")) &&
	      rise(k, a, "page_pool") == rise(k, a, "owned") * 4096, k, a,
	      sprintf("PagePool rose by %s bytes, while the queue's own pool rose by %s pages",
		      rise(k, a, "page_pool"), rise(k, a, "owned")))
}

function provider_report(    i, j) {
	width = 25
	provider_table()
	for (i = 1; i <= nacts; i++)
		for (j = 1; j <= nkernels; j++) {
			check_stream(kname[j], aname[i])
			check_provider_charge(kname[j], aname[i])
			check_provider_act(kname[j], aname[i])
			check_provider_return(kname[j], aname[i])
		}
}

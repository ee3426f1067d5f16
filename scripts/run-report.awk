# SPDX-License-Identifier: GPL-2.0
#
# The table of scripts/run-report, and its checks. Input files are called
# KERNEL/ACT.PART; each line is a list of key=value, some begin with a word.

function abs(x) { return x < 0 ? -x : x }

# What is not known compares with nothing: a check must not pass for lack of a
# value.
function known(x) { return x ~ /^-?[0-9]+(\.[0-9]+)?$/ }

function is_stock(k) { return k ~ /^stock/ }

function note_sample(k, a,    gap) {
	if (v["netmem"] == "-")
		return
	if (v["netmem"] > top[k, a])
		top[k, a] = v["netmem"]
	# The receiver waits while a sample is taken, so the two must agree.
	gap = abs(v["netmem"] - v["held"])
	if (gap > off[k, a])
		off[k, a] = gap
}

FNR == 1 {
	split(FILENAME, path, "[/.]")
	kernel = path[1]; act = path[2]; part = path[3]
}

{
	split("", v)
	for (i = 1; i <= NF; i++) {
		if (split($i, kv, "=") < 2)
			continue
		v[kv[1]] = kv[2]
		if ($1 != "sample")
			val[kernel, act, part, kv[1]] = kv[2]
	}
	if ($1 == "sample") {
		note_sample(kernel, act)
		if (provider != "page")
			note_provided(kernel, act)
	}
}

function get(k, a, key,    p) {
	split(key, p, ".")
	if (!((k, a, p[1], p[2]) in val))
		return "-"
	return val[k, a, p[1], p[2]]
}

# What a counter rose by during the act
function rise(k, a, key) {
	if (get(k, a, "after." key) == "-" || get(k, a, "before." key) == "-")
		return "-"
	return get(k, a, "after." key) - get(k, a, "before." key)
}

function mib(x) { return x == "-" ? "-" : sprintf("%.1f MiB", x / 1048576) }
function percent(x) { return x == "-" ? "-" : sprintf("%.2f %%", x) }
function pages(x) { return x == "-" ? "-" : sprintf("%d pages", x) }

function same_hash(k, a) {
	return get(k, a, "rx.sha256") != "-" &&
	       get(k, a, "rx.sha256") == get(k, a, "tx.sha256")
}

# Pages that the pool gave away although its ring had room: somebody held them
# (stock), or they came back in a state that forbids to recycle them
function lost(k, a,    refused) {
	if (rise(k, a, "released") == "-")
		return "-"
	refused = rise(k, a, "refused")
	return rise(k, a, "released") + (refused == "-" ? 0 : refused)
}

# Pages that the pool gave away because its ring was full
function no_room(k, a) {
	if (lost(k, a) == "-" || rise(k, a, "left") == "-")
		return "-"
	return rise(k, a, "left") - lost(k, a)
}

# The share that came back of those mapped pages for which there was room
function share(k, a,    n) {
	if (no_room(k, a) == "-")
		return "-"
	n = get(k, a, "rx.mapped") / 4096 - no_room(k, a)
	if (n <= 0)
		return "-"
	return lost(k, a) >= n ? 0 : 100 * (n - lost(k, a)) / n
}

function refused(k, a,    at) {
	at = get(k, a, "rx.nomem_at")
	return at == "-" ? "-" : at < 0 ? "never" : "at " mib(at)
}

function cell(what, k, a) {
	if (what == "received")	return mib(get(k, a, "rx.received"))
	if (what == "mapped")	return mib(get(k, a, "rx.mapped"))
	if (what == "copied")	return mib(get(k, a, "rx.copied"))
	if (what == "peak")	return mib(get(k, a, "after.peak"))
	if (what == "netmem")	return (k, a) in top ? mib(top[k, a]) : "-"
	if (what == "refused")	return refused(k, a)
	if (what == "hash")	return same_hash(k, a) ? "equal" : "DIFFERENT"
	if (what == "oom")	return get(k, a, "end.oom_kills")
	if (what == "back")	return percent(share(k, a))
	if (what == "full")	return pages(no_room(k, a))
	if (what == "lost")	return pages(lost(k, a))
	if (what == "current after")	return mib(get(k, a, "after.current"))
	if (what == "netmem after")	return mib(get(k, a, "after.netmem"))
	if (what == "owned after")	return pages(get(k, a, "after.owned"))
	if (what == "lent after")	return pages(get(k, a, "after.lent"))
}

function row(label, what,    i, j) {
	printf "%-41s", label
	for (i = 1; i <= nacts; i++)
		for (j = 1; j <= nkernels; j++)
			printf "%*s", width, cell(what, kname[j], aname[i])
	printf "\n"
}

function head(    i, j) {
	printf "%-41s", sprintf("stream %s, memory.max %s", mib(size), mib(limit))
	for (i = 1; i <= nacts; i++)
		printf "%*s", width * nkernels, i == 1 ? "1: keep all" : "2: unmap as it goes"
	printf "\n%-41s", ""
	for (i = 1; i <= nacts; i++)
		for (j = 1; j <= nkernels; j++)
			printf "%*s", width, is_stock(kname[j]) ? "stock" : kname[j]
	printf "\n"
}

function table() {
	head()
	row("received", "received")
	row("  mapped by zero copy", "mapped")
	row("  copied", "copied")
	row("SHA-256 of sent and received", "hash")
	row("memory.current, highest", "peak")
	row("memory.stat netmem, highest seen", "netmem")
	row("first charge refused after receiving", "refused")
	row("OOM kills", "oom")
	row("mapped pages that came back to the pool", "back")
	row("  lost to the pool", "lost")
	row("  freed, as its ring was full", "full")
	row("after exit: memory.current", "current after")
	row("            memory.stat netmem", "netmem after")
	row("            pages lent", "lent after")
	row(sprintf("            pages the pool owns (ring %d)", ring), "owned after")
}

function check(ok, k, a, text) {
	checks++
	if (ok)
		return
	failed++
	printf "did not hold (%s, act %s): %s\n", k, a, text >"/dev/stderr"
}

# Is the value of @key, as get() takes it, @want?
function check_equal(k, a, key, want, text,    x) {
	x = get(k, a, key)
	check(known(x) && known(want) && x + 0 == want + 0, k, a,
	      sprintf("%s: %s instead of %s", text, x, want))
}

function check_at_most(k, a, key, most, text,    x) {
	x = get(k, a, key)
	check(known(x) && x + 0 <= most, k, a,
	      sprintf("%s: %s, allowed are %s", text, x, most))
}

function check_stream(k, a) {
	check_equal(k, a, "end.rx_status", 0, "exit status of the receiver")
	check_equal(k, a, "end.tx_status", 0, "exit status of the sender")
	check_equal(k, a, "rx.received", size, "bytes received")
	check(same_hash(k, a), k, a, "SHA-256 of sent and received differ")
	check(get(k, a, "rx.mapped") > 0 && known(get(k, a, "rx.mapped")), k, a,
	      "nothing was mapped")
}

function check_charge(k, a) {
	check_at_most(k, a, "after.peak", limit, "highest memory.current")
	check_equal(k, a, "end.oom_kills", 0, "OOM kills")
	check((k, a) in top, k, a, "memory.stat has no netmem")
	# memory.stat may lag by a batch of 64 pages on each CPU
	check(off[k, a] <= 64 * 4096 * get(k, a, "end.cpus"), k, a,
	      sprintf("netmem and the mapped bytes differed by %d bytes",
		      off[k, a]))
}

# What the kernel itself keeps of a process, in a slab page that others share, is
# not ours to check.
function check_current_back(k, a) {
	check(known(rise(k, a, "current")) && known(rise(k, a, "kernel")) &&
	      rise(k, a, "current") <= rise(k, a, "kernel"), k, a,
	      sprintf("memory.current is %s after exit, was %s before",
		      get(k, a, "after.current"), get(k, a, "before.current")))
}

function check_return(k, a) {
	check_current_back(k, a)
	check_equal(k, a, "after.netmem", get(k, a, "before.netmem"),
		    "netmem after exit")
	check_equal(k, a, "after.lent", 0, "pages lent after exit")
	# 128: the pool's cache beside its ring (PP_ALLOC_CACHE_SIZE)
	check_at_most(k, a, "after.owned", ring + 128 + posted,
		      "pages that the pool owns after exit")
	check(known(share(k, a)) && share(k, a) >= 99.9, k, a,
	      percent(share(k, a)) " of the mapped pages came back to the pool")
}

# A stream that does not fit must have met the limit, and one that fits in half of it
# must not.
function check_hold(k,    at) {
	at = get(k, "keep", "rx.nomem_at")
	check(known(at) && (size > limit ? at >= 0 : size > limit / 2 || at < 0),
	      k, "keep", "where the limit took hold: " refused(k, "keep"))
}

function page_report(    i, j) {
	width = nkernels == 1 ? 22 : 15
	table()

	for (i = 1; i <= nacts; i++)
		for (j = 1; j <= nkernels; j++) {
			check_stream(kname[j], aname[i])
			if (is_stock(kname[j]))
				continue
			check_charge(kname[j], aname[i])
			check_return(kname[j], aname[i])
		}
	for (j = 1; j <= nkernels; j++)
		if (!is_stock(kname[j]))
			check_hold(kname[j])
}

END {
	nkernels = split(kernels, kname, " ")
	nacts = split("keep unmap", aname, " ")
	if (provider == "page")
		page_report()
	else
		provider_report()
	if (failed)
		printf "\n%d of %d checks failed\n", failed, checks
	else
		printf "\nall %d checks held\n", checks
	exit failed > 0
}

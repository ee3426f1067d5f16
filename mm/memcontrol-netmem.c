// SPDX-License-Identifier: GPL-2.0
/*
 * Memory cgroup accounting of received network data that user space keeps.
 *
 * A page of a page_pool is charged one by one when it is about to be mapped or
 * put into a pipe, and uncharged by the pool once its last reference is gone. In
 * between it holds the obj_cgroup of its node, as an LRU folio does: a removed
 * cgroup is reparented, not pinned.
 *
 * Who charges holds a reference to the page, so that the page can neither leave
 * its pool nor be recycled meanwhile. Who uncharges owns the page alone.
 */

#include <linux/memcg_netmem.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/page_counter.h>
#include <linux/psi.h>
#include <linux/sizes.h>

#include "internal.h"
#include "memcontrol-v1.h"

#define CREATE_TRACE_POINTS
#include <trace/events/netmem.h>

/*
 * To keep received pages is a choice, and they cannot be reclaimed: what is left
 * below @max must do for the memory that has no choice, or the next send() of the
 * one who keeps them meets the OOM killer.
 */
static unsigned long netmem_headroom(unsigned long max)
{
	return clamp(max / 16, SZ_512K >> PAGE_SHIFT, SZ_32M >> PAGE_SHIFT);
}

/*
 * Below memory.high by what try_charge_memcg() may charge ahead: it would reclaim
 * and throttle with the socket's lock held.
 */
static unsigned long netmem_counter_limit(struct page_counter *counter)
{
	unsigned long high = READ_ONCE(counter->high);
	unsigned long max = READ_ONCE(counter->max);

	if (max != PAGE_COUNTER_MAX)
		max -= min(max, netmem_headroom(max));

	return min(max, high - min(high, MEMCG_CHARGE_BATCH));
}

/* Negative while the headroom is in use, as it is where page cache fills it */
static long netmem_counter_room(struct page_counter *counter)
{
	return netmem_counter_limit(counter) - page_counter_read(counter);
}

/*
 * Pages that may be added below every limit, and the cgroup with the tightest.
 * Others may charge at the same time and take the headroom in part; memory.max
 * itself is try_charge_memcg()'s.
 */
static long netmem_room(struct mem_cgroup *memcg, struct mem_cgroup **tightest)
{
	long room, least = LONG_MAX;

	for (; memcg && !mem_cgroup_is_root(memcg);
	     memcg = parent_mem_cgroup(memcg)) {
		room = netmem_counter_room(&memcg->memory);
		if (do_memsw_account())
			room = min(room, netmem_counter_room(&memcg->memsw));
		if (room < least) {
			least = room;
			*tightest = memcg;
		}
	}

	return least;
}

/*
 * A cgroup that reads files is always full of them, so its page cache counts as
 * room, but for the little that a cgroup full of other memory runs from.
 */
static unsigned long netmem_cache(struct mem_cgroup *memcg)
{
	unsigned long cache, keep;

	mem_cgroup_flush_stats(memcg);
	cache = memcg_page_state(memcg, NR_INACTIVE_FILE) +
		memcg_page_state(memcg, NR_ACTIVE_FILE);
	keep = netmem_headroom(min(READ_ONCE(memcg->memory.max),
				   READ_ONCE(memcg->memory.high)));

	return cache - min(cache, keep);
}

/*
 * Whoever looks why data are copied rather than mapped finds it where other memory
 * tells that it met a limit.
 */
static void netmem_limit_event(struct mem_cgroup *memcg)
{
	unsigned long high = READ_ONCE(memcg->memory.high);
	bool met_high;

	met_high = netmem_counter_limit(&memcg->memory) ==
		   high - min(high, MEMCG_CHARGE_BATCH);
	memcg_memory_event(memcg, met_high ? MEMCG_HIGH : MEMCG_MAX);
}

static void netmem_reclaim(struct mem_cgroup *memcg, unsigned long nr_pages)
{
	unsigned long pflags;

	psi_memstall_enter(&pflags);
	try_to_free_mem_cgroup_pages(memcg, max(nr_pages, MEMCG_CHARGE_BATCH),
				     GFP_KERNEL, 0, NULL);
	psi_memstall_leave(&pflags);
}

/*
 * How many of @nr_pages fit. Room for them is made now; for @reserve it is
 * enough that it can be made.
 */
static unsigned int netmem_fit(struct mem_cgroup *memcg, unsigned int nr_pages,
			       unsigned long reserve)
{
	struct mem_cgroup *tightest = memcg;
	unsigned long cache;
	long room;

	room = netmem_room(memcg, &tightest);
	if (room >= (long)(nr_pages + reserve))
		return nr_pages;

	cache = netmem_cache(tightest);
	if (room >= (long)nr_pages && room + cache >= nr_pages + reserve)
		return nr_pages;

	/* What other CPUs have charged ahead is room, too, a moment later */
	drain_all_stock(tightest);
	if (cache && room < (long)nr_pages) {
		netmem_reclaim(tightest, min_t(unsigned long, cache, nr_pages - room));
		cache = netmem_cache(tightest);
	}
	room = netmem_room(memcg, &tightest);

	reserve -= min(reserve, cache);
	room = clamp_t(long, room - (long)reserve, 0, nr_pages);
	if (room < nr_pages)
		netmem_limit_event(tightest);

	return room;
}

/* Charges up to @nr_pages, never by force or by an OOM kill; says how many. */
static unsigned int netmem_try_charge(struct mem_cgroup *memcg,
				      unsigned int nr_pages,
				      unsigned long reserve)
{
	if (mem_cgroup_is_root(memcg))
		return nr_pages;

	nr_pages = netmem_fit(memcg, nr_pages, reserve);
	if (nr_pages &&
	    try_charge_memcg(memcg, GFP_KERNEL | __GFP_NORETRY, nr_pages))
		return 0;

	return nr_pages;
}

/**
 * mem_cgroup_netmem_room - how much could be charged to current's mm
 *
 * Context: Process context.
 * Return: pages that __mem_cgroup_charge_netmem() would charge at most, page
 * cache that would have to go for them included; LONG_MAX without a limit.
 */
unsigned long mem_cgroup_netmem_room(void)
{
	struct mem_cgroup *memcg = get_mem_cgroup_from_mm(current->mm);
	struct mem_cgroup *tightest = NULL;
	long room;

	room = netmem_room(memcg, &tightest);
	if (tightest)
		room += netmem_cache(tightest);
	css_put(&memcg->css);

	return max(room, 0L);
}

/**
 * __mem_cgroup_netmem_fits - could received data be kept, as far as limits go
 * @nr_pages: pages that the caller is about to charge as memory of its own
 * @reserve: pages that are soon to be charged by force, and must find room
 *
 * For data that are copied and kept, by the rules of __mem_cgroup_charge_netmem():
 * such pages take the last of a limit as well. Reserves nothing.
 *
 * Context: Process context. May sleep, and reclaim from the cgroup.
 * Return: true if all of @nr_pages fit into the cgroup of current's mm.
 */
bool __mem_cgroup_netmem_fits(unsigned int nr_pages, unsigned long reserve)
{
	struct mem_cgroup *memcg = get_mem_cgroup_from_mm(current->mm);
	bool fits;

	fits = mem_cgroup_is_root(memcg) ||
	       netmem_fit(memcg, nr_pages, reserve) == nr_pages;
	css_put(&memcg->css);

	return fits;
}

static void netmem_mod_state(struct mem_cgroup *memcg, int nr_pages)
{
	mod_memcg_state(memcg, MEMCG_NETMEM, nr_pages);
	/* Part of "sock", for anon + file + kernel + sock to remain the whole */
	mod_memcg_state(memcg, MEMCG_SOCK, nr_pages);
}

static bool netmem_is_chargeable(const struct folio *folio)
{
	return folio_is_netmem(folio) && !READ_ONCE(folio->memcg_data);
}

/*
 * The references of @nr_claimed pages, on each of which the caller holds one of its
 * own: so none was uncharged yet.
 */
static void netmem_refer(struct obj_cgroup *objcg, unsigned int nr_claimed)
{
	if (nr_claimed)
		obj_cgroup_get_many(objcg, nr_claimed);
	obj_cgroup_put(objcg);
}

/*
 * Sockets can share a page, and neither the folio lock nor an exclusive
 * reference keeps them apart here: whoever sets memcg_data first has charged it.
 * PP_MAGIC_CHARGED is seen by whoever drops the last reference after the one of
 * the caller, see page_pool_unref_netmem().
 */
static bool netmem_claim(struct folio *folio, struct obj_cgroup *objcg)
{
	struct page *page = &folio->page;

	if (cmpxchg(&folio->memcg_data, 0, (unsigned long)objcg))
		return false;

	/* Nobody else writes it now; who reads it just then minds other bits */
	WRITE_ONCE(page->pp_magic, page->pp_magic | PP_MAGIC_CHARGED);
	trace_netmem_charge(page);

	return true;
}

/*
 * Hands @nr_charged pages of charge to the pages that want one, in order, up to
 * the first page that would go without. Returns the index of that page.
 */
static unsigned int netmem_commit(struct mem_cgroup *memcg, struct page **pages,
				  unsigned int nr_pages,
				  unsigned int *nr_charged)
{
	unsigned int i, nr_claimed = 0, left = *nr_charged;
	struct obj_cgroup *objcg = NULL;
	int nid = NUMA_NO_NODE;

	for (i = 0; i < nr_pages; i++) {
		struct folio *folio = page_folio(pages[i]);

		if (!netmem_is_chargeable(folio))
			continue;
		if (left < folio_nr_pages(folio))
			break;
		if (folio_nid(folio) != nid) {
			netmem_refer(objcg, nr_claimed);
			nr_claimed = 0;
			nid = folio_nid(folio);
			objcg = get_obj_cgroup_from_memcg(memcg, nid);
		}
		/* All cgroups up to the root went away: nobody to pay */
		if (obj_cgroup_is_root(objcg) && !mem_cgroup_is_root(memcg))
			continue;
		if (netmem_claim(folio, objcg)) {
			left -= folio_nr_pages(folio);
			nr_claimed++;
		}
	}

	netmem_refer(objcg, nr_claimed);
	*nr_charged -= left;

	return i;
}

/* A folio may come more than once: its fragments are next to each other. */
static unsigned int netmem_wanted(struct page **pages, unsigned int nr_pages)
{
	struct folio *folio, *last = NULL;
	unsigned int i, wanted = 0;

	for (i = 0; i < nr_pages; i++) {
		folio = page_folio(pages[i]);
		if (folio != last && netmem_is_chargeable(folio))
			wanted += folio_nr_pages(folio);
		last = folio;
	}

	return wanted;
}

/**
 * __mem_cgroup_charge_netmem - charge pages that are about to leave the stack
 * @pages: pages, on each of which the caller holds a reference. Of a larger
 *	folio all is charged.
 * @nr_pages: number of @pages
 * @reserve: pages that are soon to be charged by force, and must find room
 *
 * Charges the pages of page_pools among @pages to the memory cgroup of
 * current's mm, up to the first that cannot be paid for without taking the last
 * of a limit. Pages that are charged already, and those that belong to no
 * page_pool, or to one that does not lend, stay as they are. A charge ends when
 * the last reference to its page is gone, whether the page leaves the stack after
 * all or not.
 *
 * Context: Process context. May sleep, and reclaim from the cgroup.
 * Return: how many of @pages, from the first on, may leave the stack.
 */
unsigned int __mem_cgroup_charge_netmem(struct page **pages,
					unsigned int nr_pages,
					unsigned long reserve)
{
	unsigned int nr_charged, committed, nr_paid, wanted;
	struct mem_cgroup *memcg;

	wanted = netmem_wanted(pages, nr_pages);
	if (!wanted)
		return nr_pages;

	memcg = get_mem_cgroup_from_mm(current->mm);
	nr_charged = netmem_try_charge(memcg, wanted, reserve);
	committed = nr_charged;
	nr_paid = netmem_commit(memcg, pages, nr_pages, &committed);

	if (committed)
		netmem_mod_state(memcg, committed);
	/* Refund what others claimed meanwhile */
	if (committed < nr_charged && !mem_cgroup_is_root(memcg))
		memcg_uncharge(memcg, nr_charged - committed);
	css_put(&memcg->css);

	return nr_paid;
}

/**
 * __mem_cgroup_uncharge_netmem - end the charge of a page
 * @page: a charged page, owned by the caller alone
 * @batch: gathers what is taken off the counters by a flush
 *
 * Context: Any but NMI.
 */
void __mem_cgroup_uncharge_netmem(struct page *page,
				  struct netmem_uncharge *batch)
{
	struct folio *folio = (struct folio *)page;
	struct obj_cgroup *objcg = folio_objcg(folio);

	if (batch->objcg != objcg) {
		mem_cgroup_uncharge_netmem_flush(batch);
		batch->objcg = objcg;
	}
	batch->nr_pages += folio_nr_pages(folio);
	batch->nr_refs++;

	trace_netmem_uncharge(page);
	folio->memcg_data = 0;
	page->pp_magic &= ~PP_MAGIC_CHARGED;
}

/**
 * __mem_cgroup_uncharge_netmem_flush - take ended charges off the counters
 * @batch: what was gathered; empty afterwards
 *
 * Context: Any but NMI.
 */
void __mem_cgroup_uncharge_netmem_flush(struct netmem_uncharge *batch)
{
	struct obj_cgroup *objcg = batch->objcg;
	struct mem_cgroup *memcg;

	rcu_read_lock();
	memcg = obj_cgroup_memcg(objcg);
	netmem_mod_state(memcg, -batch->nr_pages);
	if (!obj_cgroup_is_root(objcg)) {
		memcg_uncharge(memcg, batch->nr_pages);
		memcg1_oom_recover(memcg);
	}
	rcu_read_unlock();

	if (!obj_cgroup_is_root(objcg))
		percpu_ref_put_many(&objcg->refcnt, batch->nr_refs);
	*batch = (struct netmem_uncharge){};
}

/**
 * mem_cgroup_netmem_id - who pays for a page
 * @page: page of a page_pool
 *
 * Context: Any.
 * Return: the cgroup's id, 0 when @page is not charged.
 */
u64 mem_cgroup_netmem_id(struct page *page)
{
	guard(rcu)();
	return mem_cgroup_id(folio_memcg_check(page_folio(page)));
}

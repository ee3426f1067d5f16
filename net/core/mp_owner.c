// SPDX-License-Identifier: GPL-2.0
/*
 * Whose the memory of memory providers is, and who pays for it.
 *
 * Most memory is charged already where it comes from: what is counted here is
 * that its owner has given it to the network. Who allocates memory for an owner
 * does so with __GFP_ACCOUNT, after asking net_mp_owner_can_pay().
 */

#include <linux/memcg_netmem.h>
#include <linux/memcontrol.h>

#include <net/page_pool/memory_provider.h>

#ifdef CONFIG_MEMCG
static struct obj_cgroup *net_mp_get_objcg(void)
{
	return mem_cgroup_disabled() ? NULL : get_obj_cgroup_from_current();
}

static void net_mp_mod_objcg(struct obj_cgroup *objcg, long nr_pages)
{
	guard(rcu)();
	mod_memcg_state(obj_cgroup_memcg(objcg), MEMCG_NETMEM_PROVIDER,
			nr_pages);
}

static u64 net_mp_objcg_id(struct obj_cgroup *objcg)
{
	guard(rcu)();
	return mem_cgroup_id(obj_cgroup_memcg(objcg));
}
#else
static struct obj_cgroup *net_mp_get_objcg(void)
{
	return NULL;
}

static void net_mp_mod_objcg(struct obj_cgroup *objcg, long nr_pages)
{
}

static u64 net_mp_objcg_id(struct obj_cgroup *objcg)
{
	return 0;
}
#endif

static void net_mp_owner_mod(struct net_mp_owner *owner, long nr_pages)
{
	atomic_long_add(nr_pages, &owner->nr_pages);
	if (owner->objcg)
		net_mp_mod_objcg(owner->objcg, nr_pages);
}

/**
 * net_mp_owner_init() - current's cgroup becomes the owner of memory
 * @owner: owner of memory that is about to be provided
 *
 * Context: Process context, that of the user. Undone by net_mp_owner_exit().
 */
void net_mp_owner_init(struct net_mp_owner *owner)
{
	atomic_long_set(&owner->nr_pages, 0);
	owner->objcg = net_mp_get_objcg();
}

/**
 * net_mp_owner_add() - count memory as provided
 * @owner: its owner
 * @nr_pages: number of pages, which need not be the kernel's
 *
 * Context: Any but NMI.
 */
void net_mp_owner_add(struct net_mp_owner *owner, unsigned long nr_pages)
{
	net_mp_owner_mod(owner, nr_pages);
}

/**
 * net_mp_owner_can_pay() - is there room for memory that is charged next
 * @nr_pages: number of pages
 *
 * Memory of a queue cannot be reclaimed, so it does not take the last of a limit,
 * by the rules for received data that user space keeps.
 *
 * Context: Process context, that of the owner. May sleep, and reclaim from its
 * cgroup.
 * Return: whether current's cgroup can pay.
 */
bool net_mp_owner_can_pay(unsigned long nr_pages)
{
	return nr_pages <= UINT_MAX && mem_cgroup_netmem_fits(nr_pages, 0);
}

/**
 * net_mp_owner_sub() - undo net_mp_owner_add()
 * @owner: its owner
 * @nr_pages: number of pages
 *
 * Context: Any but NMI.
 */
void net_mp_owner_sub(struct net_mp_owner *owner, unsigned long nr_pages)
{
	net_mp_owner_mod(owner, -nr_pages);
}

/**
 * net_mp_owner_exit() - forget an owner
 * @owner: owner of what is no longer provided. May be all zeroes.
 *
 * Context: Any but NMI.
 */
void net_mp_owner_exit(struct net_mp_owner *owner)
{
	net_mp_owner_mod(owner, -atomic_long_read(&owner->nr_pages));
	obj_cgroup_put(owner->objcg);
}

/**
 * net_mp_owner_id() - the cgroup of an owner
 * @owner: the owner
 *
 * Context: Any.
 * Return: ID of the cgroup, of its parent if it was removed; 0 without memory
 * cgroups.
 */
u64 net_mp_owner_id(const struct net_mp_owner *owner)
{
	return owner->objcg ? net_mp_objcg_id(owner->objcg) : 0;
}

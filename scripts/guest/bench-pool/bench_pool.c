// SPDX-License-Identifier: GPL-2.0
/* What bench_page_pool does not look at: a page of a pool that is mapped for DMA,
 * which somebody held and gives back; idle pages that are freed; and how large
 * things are. Loading measures and prints; unloading frees the idle pages.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <net/page_pool/helpers.h>

#define POOL_SIZE	1024
#define IDLE_SIZE	16384	/* what a ring has room for */
#define IDLE_POOLS	4
#define ROUNDS		100000

static char *dev = "";
module_param(dev, charp, 0444);
MODULE_PARM_DESC(dev, "network device whose parent maps the pages");

static struct page_pool *idle[IDLE_POOLS];
static struct page *pages[IDLE_SIZE];

static void print_per_page(const char *what, u64 ns, unsigned int nr)
{
	u64 tenths = div_u64(ns * 10, nr);

	pr_info("%s: %llu.%llu ns per page\n", what, div_u64(tenths, 10),
		tenths % 10);
}

static struct page_pool *create_pool(struct device *device, unsigned int size)
{
	struct page_pool_params params = {
		.flags = device ? PP_FLAG_DMA_MAP : 0,
		.pool_size = size,
		.nid = NUMA_NO_NODE,
		.dev = device,
		.dma_dir = DMA_FROM_DEVICE,
	};

	return page_pool_create(&params);
}

/* The other one's reference is the last one. */
static int hold_and_return(struct page_pool *pool, unsigned int rounds)
{
	struct page *page;

	while (rounds--) {
		page = page_pool_alloc_pages(pool, GFP_KERNEL);
		if (!page)
			return -ENOMEM;
		get_page(page);
		page_pool_put_full_page(pool, page, false);
		put_page(page);
	}

	return 0;
}

static int bench_held(void)
{
	struct net_device *netdev;
	struct page_pool *pool;
	u64 start;
	int err;

	netdev = dev_get_by_name(&init_net, dev);
	if (!netdev || !netdev->dev.parent) {
		dev_put(netdev);
		return -ENODEV;
	}
	pool = create_pool(netdev->dev.parent, POOL_SIZE);
	if (IS_ERR(pool)) {
		dev_put(netdev);
		return PTR_ERR(pool);
	}
	err = hold_and_return(pool, ROUNDS / 10);
	start = ktime_get_ns();
	err = err ?: hold_and_return(pool, ROUNDS);
	print_per_page("held_dma", ktime_get_ns() - start, ROUNDS);
	page_pool_destroy(pool);
	dev_put(netdev);

	return err;
}

static int fill(struct page_pool *pool)
{
	unsigned int i, nr;

	for (nr = 0; nr < IDLE_SIZE; nr++) {
		pages[nr] = page_pool_alloc_pages(pool, GFP_KERNEL);
		if (!pages[nr])
			break;
	}
	for (i = 0; i < nr; i++)
		page_pool_put_full_page(pool, pages[i], false);

	return nr == IDLE_SIZE ? 0 : -ENOMEM;
}

static void free_idle(void)
{
	unsigned int i;

	for (i = 0; i < IDLE_POOLS && idle[i]; i++)
		page_pool_destroy(idle[i]);
}

static int fill_idle(void)
{
	unsigned int i;
	int err = 0;

	for (i = 0; i < IDLE_POOLS && !err; i++) {
		idle[i] = create_pool(NULL, IDLE_SIZE);
		if (IS_ERR(idle[i])) {
			err = PTR_ERR(idle[i]);
			idle[i] = NULL;
			break;
		}
		err = fill(idle[i]);
	}
	if (err)
		free_idle();

	return err;
}

static int __init bench_pool_init(void)
{
	int err = 0;

	pr_info("struct_page: %zu bytes\n", sizeof(struct page));
	pr_info("struct_page_pool: %zu bytes\n", sizeof(struct page_pool));
	if (*dev)
		err = bench_held();

	return err ?: fill_idle();
}
module_init(bench_pool_init);

static void __exit bench_pool_exit(void)
{
	u64 start = ktime_get_ns();

	free_idle();
	print_per_page("idle_destroyed", ktime_get_ns() - start,
		       IDLE_POOLS * IDLE_SIZE);
}
module_exit(bench_pool_exit);

MODULE_DESCRIPTION("Benchmark of page_pool pages that are held or idle");
MODULE_LICENSE("GPL");

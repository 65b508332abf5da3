/* SPDX-License-Identifier: MIT */
/* A filter that makes every read take longer by a fixed time. */
#include <stdbool.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/status.h"
#include "store/store_int.h"

#define DELAY_NS_MAX 60000000000u /* a minute: more is a typing error, not a slow disk */

typedef struct delay_store {
	store base;
	store *inner;
	uint64_t delay_ns;
} delay_store;

static ufm_status delay_read(store *s, uint32_t key, void *block)
{
	delay_store *delay = (delay_store *)s;

	clock_sleep_until_ns(clock_now_ns() + delay->delay_ns);
	return store_read(delay->inner, key, block);
}

static void delay_close(store *s)
{
	delay_store *delay = (delay_store *)s;

	store_close(delay->inner);
	alloc_free(delay);
}

static ufm_status parse_delay(const char *text, uint64_t *delay_ns)
{
	store_option option = {.name = "ns"};
	ufm_status status = store_parse_options("delay", text, &option, 1);

	if (status)
		return status;
	if (option.value > DELAY_NS_MAX)
		return status_fail(UFM_EINVAL, "filter delay: ns=%llu, expected at most %llu",
		                   (unsigned long long)option.value, (unsigned long long)DELAY_NS_MAX);
	*delay_ns = option.value;
	return UFM_OK;
}

ufm_status store_delay_open(store *inner, const char *options, store **out)
{
	delay_store *delay = alloc_zeroed(1, sizeof *delay);
	ufm_status status = UFM_ENOMEM;

	if (!delay)
		goto close_inner;
	status = parse_delay(options, &delay->delay_ns);
	if (status)
		goto free_delay;
	delay->inner = inner;
	delay->base.read = delay_read;
	delay->base.close = delay_close;
	*out = &delay->base;
	return UFM_OK;

free_delay:
	alloc_free(delay);
close_inner:
	store_close(inner);
	return status;
}

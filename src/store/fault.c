/* SPDX-License-Identifier: MIT */
/* A filter that makes the read of one expert fail. */
#include <stdbool.h>

#include "bank/bank_shape.h"
#include "base/alloc.h"
#include "base/status.h"
#include "store/store_int.h"

typedef struct fault_store {
	store base;
	store *inner;
	uint32_t key;
	uint32_t layer, expert;
} fault_store;

static ufm_status fault_read(store *s, uint32_t key, void *block)
{
	fault_store *fault = (fault_store *)s;

	if (key == fault->key)
		return status_fail(UFM_EEXPERT_IO,
		                   "layer %u expert %u: read failed on request (filter fault)",
		                   fault->layer, fault->expert);
	return store_read(fault->inner, key, block);
}

static void fault_close(store *s)
{
	fault_store *fault = (fault_store *)s;

	store_close(fault->inner);
	alloc_free(fault);
}

static ufm_status parse_target(const ufm_bank *bank, const char *text, uint32_t *layer,
                               uint32_t *expert)
{
	store_option options[] = {{.name = "layer"}, {.name = "expert"}};
	const bank_shape *shape = bank_get_shape(bank);
	ufm_status status = store_parse_options("fault", text, options, 2);

	if (status)
		return status;
	/* A fault that can never happen would let a test pass for nothing. */
	if (options[0].value >= shape->layers || options[1].value >= shape->experts)
		return status_fail(UFM_EINVAL,
		                   "filter fault: layer=%llu,expert=%llu, expected below %u and %u",
		                   (unsigned long long)options[0].value,
		                   (unsigned long long)options[1].value, shape->layers, shape->experts);
	*layer = (uint32_t)options[0].value;
	*expert = (uint32_t)options[1].value;
	return UFM_OK;
}

ufm_status store_fault_open(store *inner, const ufm_bank *bank, const char *options, store **out)
{
	fault_store *fault = alloc_zeroed(1, sizeof *fault);
	ufm_status status = UFM_ENOMEM;

	if (!fault)
		goto close_inner;
	status = parse_target(bank, options, &fault->layer, &fault->expert);
	if (status)
		goto free_fault;
	fault->key = fault->layer * bank_get_shape(bank)->experts + fault->expert;
	fault->inner = inner;
	fault->base.read = fault_read;
	fault->base.close = fault_close;
	*out = &fault->base;
	return UFM_OK;

free_fault:
	alloc_free(fault);
close_inner:
	store_close(inner);
	return status;
}

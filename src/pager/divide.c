/* SPDX-License-Identifier: MIT */
/* One budget for several engines of one device: least first, then by what their calls use, then whoever can use more. */
#include <inttypes.h>

#include "base/alloc.h"
#include "base/status.h"
#include "pager/pager_int.h"
#include "pager/settle.h"

typedef struct share {
	ufm_engine *engine;
	ufm_engine_bounds bounds;
	double weight;
	uint64_t bytes; /* that it is to have */
} share;

/* It can use no more. */
static bool is_full(const share *s)
{
	return s->bytes >= s->bounds.most_bytes;
}

/* Bytes of experts that its calls used since it was last asked. */
static double used_bytes(ufm_engine *e)
{
	settle_counters(e);
	lock_take(&e->lock);
	uint64_t uses = counter_get(&e->counters, COUNTER_uses), fresh = uses - e->uses_divided;
	e->uses_divided = uses;
	lock_drop(&e->lock);
	return (double)fresh * (double)e->desc.expert_bytes;
}

static double bank_bytes(const ufm_engine *e)
{
	return (double)e->layers * e->experts * (double)e->desc.expert_bytes;
}

static ufm_status read_share(share *s, ufm_engine *engine)
{
	*s = (share){.engine = engine};
	UFM_STRUCT_INIT(&s->bounds);
	return ufm_engine_get_bounds(engine, &s->bounds);
}

static ufm_status check_total(const share *shares, uint32_t n, uint64_t total_bytes)
{
	uint64_t least_bytes = 0;
	for (uint32_t i = 0; i < n; i++)
		least_bytes += shares[i].bounds.least_bytes;
	if (least_bytes <= total_bytes)
		return UFM_OK;
	return status_fail(UFM_EBUDGET,
	                   "%u engines: the smallest working sets together need %" PRIu64
	                   " bytes, and total_bytes is %" PRIu64,
	                   n, least_bytes, total_bytes);
}

static double open_weight(const share *shares, uint32_t n)
{
	double weight = 0;
	for (uint32_t i = 0; i < n; i++)
		weight += is_full(&shares[i]) ? 0 : shares[i].weight;
	return weight;
}

/* Gives each that is not full its part of what is left; an engine that gets more than it can use is full, and the rest is divided
 * again. Returns what is left. */
static uint64_t pour(share *shares, uint32_t n, uint64_t left_bytes)
{
	double weight = open_weight(shares, n);
	uint64_t poured_bytes = 0;
	for (uint32_t i = 0; i < n && weight > 0; i++) {
		share *s = &shares[i];
		if (is_full(s))
			continue;
		uint64_t part_bytes = (uint64_t)((double)left_bytes * (s->weight / weight));
		uint64_t room_bytes = s->bounds.most_bytes - s->bytes;
		if (part_bytes > left_bytes - poured_bytes)
			part_bytes = left_bytes - poured_bytes;
		if (part_bytes > room_bytes)
			part_bytes = room_bytes;
		s->bytes += part_bytes;
		poured_bytes += part_bytes;
	}
	return left_bytes - poured_bytes;
}

/* An engine that nobody used may have what the others leave. */
static void divide(share *shares, uint32_t n, uint64_t total_bytes)
{
	uint64_t left_bytes = total_bytes;
	for (uint32_t i = 0; i < n; i++) {
		shares[i].bytes = shares[i].bounds.least_bytes;
		left_bytes -= shares[i].bytes;
	}
	for (uint32_t round = 0; round < n && left_bytes; round++)
		left_bytes = pour(shares, n, left_bytes);
	for (uint32_t i = 0; i < n; i++)
		shares[i].weight = bank_bytes(shares[i].engine);
	for (uint32_t round = 0; round < n && left_bytes; round++)
		left_bytes = pour(shares, n, left_bytes);
}

static ufm_status resize_those(const share *shares, uint32_t n, bool that_grow)
{
	ufm_status status = UFM_OK;
	for (uint32_t i = 0; i < n && status == UFM_OK; i++) {
		const share *s = &shares[i];
		if (that_grow ? s->bytes > s->bounds.now_bytes : s->bytes < s->bounds.now_bytes)
			status = ufm_engine_resize(s->engine, s->bytes);
	}
	return status;
}

static ufm_status divide_all(share *shares, ufm_engine *const *engines, uint32_t n,
                             uint64_t total_bytes)
{
	ufm_status status = UFM_OK;
	for (uint32_t i = 0; i < n && status == UFM_OK; i++)
		status = read_share(&shares[i], engines[i]);
	if (status == UFM_OK)
		status = check_total(shares, n, total_bytes);
	if (status != UFM_OK)
		return status;
	double used = 0;
	for (uint32_t i = 0; i < n; i++)
		used += shares[i].weight = used_bytes(engines[i]);
	for (uint32_t i = 0; i < n && used == 0; i++)
		shares[i].weight = bank_bytes(engines[i]);
	divide(shares, n, total_bytes);
	status = resize_those(shares, n, false);
	return status == UFM_OK ? resize_those(shares, n, true) : status;
}

static ufm_status check_distinct(ufm_engine *const *engines, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		for (uint32_t k = 0; k <= i; k++) {
			if (!engines[i] || (k < i && engines[k] == engines[i]))
				return status_fail(UFM_EINVAL, "engines[%u]: NULL or given twice", i);
		}
	}
	return UFM_OK;
}

static ufm_status check_place(const ufm_engine *e, const ufm_engine *first)
{
	ufm_status status = engine_check_process(e);
	if (status == UFM_OK &&
	    (e->b != first->b || e->config.device_index != first->config.device_index))
		status = status_fail(UFM_EINVAL, "engines: of several devices, expected one");
	return status;
}

ufm_status engines_check(ufm_engine *const *engines, uint32_t n)
{
	ufm_status status =
		status_need((const void *)engines, "engines", "those that share the budget");
	if (status == UFM_OK && n == 0)
		status = status_fail(UFM_EINVAL, "engines: none, expected at least one");
	if (status == UFM_OK)
		status = check_distinct(engines, n);
	for (uint32_t i = 0; i < n && status == UFM_OK; i++)
		status = check_place(engines[i], engines[0]);
	return status;
}

ufm_status ufm_engines_divide(ufm_engine *const *engines, uint32_t n, uint64_t total_bytes,
                              uint64_t *bytes)
{
	ufm_status status = engines_check(engines, n);
	if (status != UFM_OK)
		return status;
	share *shares = alloc_zeroed(n, sizeof *shares);
	if (!shares)
		return UFM_ENOMEM;
	status = divide_all(shares, engines, n, total_bytes);
	for (uint32_t i = 0; i < n && status == UFM_OK && bytes; i++)
		bytes[i] = shares[i].bytes;
	alloc_free(shares);
	return status;
}

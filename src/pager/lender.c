/* SPDX-License-Identifier: MIT */
/* A lender: what the driver says is left of its limit, and room that its engines make. */
#include "pager/lender.h"

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/status.h"

/* Changes of less than this part of the limit are not worth a resize. */
#define STEP_PART 256u

ufm_status lender_sum_bounds(const ufm_lender *l, ufm_engine_bounds *sum)
{
	ufm_status status = UFM_OK;
	UFM_STRUCT_INIT(sum);
	for (uint32_t i = 0; i < l->engine_count && status == UFM_OK; i++) {
		ufm_engine_bounds one;
		UFM_STRUCT_INIT(&one);
		status = ufm_engine_get_bounds(l->engines[i], &one);
		sum->least_bytes += one.least_bytes;
		sum->now_bytes += one.now_bytes;
		sum->most_bytes += one.most_bytes;
	}
	return status;
}

static uint64_t held_bytes(ufm_engine *e)
{
	lock_take(&e->lock);
	uint64_t bytes = e->region.mapped_bytes;
	lock_drop(&e->lock);
	return bytes;
}

/* Without a driver to ask: what engines hold and what was lent. */
static uint64_t known_bytes(const ufm_lender *l)
{
	uint64_t count, bytes;
	lent_get(&l->owner, &count, &bytes);
	for (uint32_t i = 0; i < l->engine_count; i++)
		bytes += held_bytes(l->engines[i]);
	return bytes;
}

/* What a driver keeps of the last free memory is not free. */
static ufm_status ask_driver(const ufm_lender *l, uint64_t *used_bytes, uint64_t *free_bytes)
{
	size_t now_bytes = 0, total_bytes = 0;
	uint64_t kept_bytes = l->engines[0]->device_info.unusable_bytes;
	int refused = l->c.memory(&now_bytes, &total_bytes);
	if (refused)
		return status_fail(UFM_EDEVICE, "device memory: the driver does not say what is free (%d)",
		                   refused);
	uint64_t all_bytes = total_bytes > now_bytes ? total_bytes - now_bytes : 0;
	*used_bytes = all_bytes > l->c.others_bytes ? all_bytes - l->c.others_bytes : 0;
	*free_bytes = now_bytes > kept_bytes ? now_bytes - kept_bytes : 0;
	return UFM_OK;
}

ufm_status lender_look(ufm_lender *l, lender_view *v)
{
	uint64_t free_bytes = UINT64_MAX;
	ufm_status status = UFM_OK;
	if (l->c.memory)
		status = ask_driver(l, &v->used_bytes, &free_bytes);
	else
		v->used_bytes = known_bytes(l);
	if (status != UFM_OK)
		return status;
	v->room_bytes = l->c.limit_bytes > v->used_bytes ? l->c.limit_bytes - v->used_bytes : 0;
	if (v->room_bytes > free_bytes)
		v->room_bytes = free_bytes;
	if (v->used_bytes > l->figures.used_high_water_bytes)
		l->figures.used_high_water_bytes = v->used_bytes;
	return UFM_OK;
}

/* ------------------------------------------------------------------ room */

/* Whoever can give most, but those whose leases are in the way. gives_bytes 0: nobody can. */
static ufm_status find_richest(const ufm_lender *l, uint32_t *richest, uint64_t *gives_bytes)
{
	ufm_status status = UFM_OK;
	*gives_bytes = 0;
	for (uint32_t i = 0; i < l->engine_count && status == UFM_OK; i++) {
		ufm_engine_bounds one;
		UFM_STRUCT_INIT(&one);
		status = ufm_engine_get_bounds(l->engines[i], &one);
		if (status == UFM_OK && !l->busy[i] && one.now_bytes - one.least_bytes > *gives_bytes) {
			*gives_bytes = one.now_bytes - one.least_bytes;
			*richest = i;
		}
	}
	return status;
}

/* At most all that it can give. */
static ufm_status give_from(ufm_lender *l, uint32_t engine, uint64_t size_bytes,
                            uint64_t *left_bytes)
{
	uint64_t freed_bytes = 0;
	ufm_status status = ufm_engine_make_room(l->engines[engine], size_bytes, &freed_bytes);
	l->busy[engine] = status == UFM_EBUSY;
	if (status != UFM_OK)
		return status;
	*left_bytes -= freed_bytes < *left_bytes ? freed_bytes : *left_bytes;
	l->figures.room_bytes += freed_bytes;
	return UFM_OK;
}

ufm_status lender_give(ufm_lender *l, uint64_t size_bytes)
{
	uint64_t left_bytes = size_bytes, gives_bytes;
	uint32_t richest = 0;
	ufm_status busy = UFM_OK;
	memset(l->busy, 0, l->engine_count * sizeof *l->busy);
	while (left_bytes) {
		ufm_status status = find_richest(l, &richest, &gives_bytes);
		if (status != UFM_OK || gives_bytes == 0)
			return status == UFM_OK ? busy : status;
		status =
			give_from(l, richest, left_bytes < gives_bytes ? left_bytes : gives_bytes, &left_bytes);
		if (status == UFM_EBUSY)
			busy = status;
		else if (status != UFM_OK)
			return status;
	}
	return UFM_OK;
}

/* By how much `size_bytes` more would pass the limit. */
static uint64_t excess_bytes(const ufm_lender *l, uint64_t used_bytes, uint64_t size_bytes)
{
	uint64_t limit_bytes = l->c.limit_bytes;
	if (used_bytes <= limit_bytes)
		return size_bytes > limit_bytes - used_bytes ? size_bytes - (limit_bytes - used_bytes) : 0;
	uint64_t over_bytes = used_bytes - limit_bytes;
	return size_bytes > UINT64_MAX - over_bytes ? UINT64_MAX : size_bytes + over_bytes;
}

/* It is looked again after room was made: the driver's count is what is kept, and it may fall by less than was given. */
ufm_status lender_fit(ufm_lender *l, uint64_t size_bytes, lender_view *v)
{
	ufm_status status = lender_look(l, v);
	bool made = false;
	while (status == UFM_OK) {
		ufm_engine_bounds sum;
		uint64_t lacks_bytes = excess_bytes(l, v->used_bytes, size_bytes);
		if (lacks_bytes == 0)
			return UFM_OK;
		status = lender_sum_bounds(l, &sum);
		if (status != UFM_OK)
			return status;
		uint64_t gives_bytes = sum.now_bytes - sum.least_bytes;
		if (lacks_bytes > gives_bytes)
			return status_fail(UFM_EBUDGET,
			                   "device memory: %" PRIu64 " bytes asked, %" PRIu64
			                   " used of a limit of %" PRIu64
			                   ", and engines can give back %" PRIu64,
			                   size_bytes, v->used_bytes, l->c.limit_bytes, gives_bytes);
		l->figures.rooms += !made;
		made = true;
		status = lender_give(l, lacks_bytes);
		if (status == UFM_OK)
			status = lender_look(l, v);
	}
	return status;
}

/* ------------------------------------------------------------------ opening and closing */

ufm_status lender_check_process(const ufm_lender *l)
{
	ufm_status status = status_need(l, "lender", "an open lender");
	return status == UFM_OK ? engine_check_process(l->engines[0]) : status;
}

static ufm_status check_config(const ufm_lender_config *c)
{
	ufm_status status = engines_check(c->engines, c->engine_count);
	if (status != UFM_OK)
		return status;
	if (c->limit_bytes == 0)
		return status_fail(UFM_EINVAL, "limit_bytes: 0, expected what the process may hold");
	if (!c->alloc || !c->release)
		return status_fail(UFM_EINVAL, "%s: NULL, expected a function of the driver",
		                   c->alloc ? "release" : "alloc");
	if (!c->memory && c->others_bytes)
		return status_fail(UFM_EINVAL,
		                   "others_bytes: %" PRIu64
		                   ", expected 0 without the function `memory`, which counts them",
		                   c->others_bytes);
	return UFM_OK;
}

static ufm_status copy_engines(ufm_lender *l)
{
	l->engines = alloc_zeroed(l->c.engine_count, sizeof *l->engines);
	l->busy = alloc_zeroed(l->c.engine_count, sizeof *l->busy);
	if (!l->engines || !l->busy)
		return UFM_ENOMEM;
	memcpy(l->engines, l->c.engines, l->c.engine_count * sizeof *l->engines);
	l->engine_count = l->c.engine_count;
	l->c.engines = NULL; /* the caller's */
	return UFM_OK;
}

/* A limit may be beyond what there is. */
static uint64_t find_step(uint64_t limit_bytes, const ufm_device_info *device)
{
	uint64_t all_bytes = device->memory_total_bytes, granule_bytes = device->map_granularity_bytes;
	uint64_t step_bytes = (limit_bytes < all_bytes ? limit_bytes : all_bytes) / STEP_PART;
	return step_bytes > granule_bytes ? step_bytes : granule_bytes;
}

static ufm_status open_all(ufm_lender *l)
{
	lender_view v;
	ufm_status status = check_config(&l->c);
	if (status == UFM_OK)
		status = copy_engines(l);
	if (status != UFM_OK)
		return status;
	const ufm_engine *e = l->engines[0];
	l->step_bytes = find_step(l->c.limit_bytes, &e->device_info);
	l->owner.device_index = e->config.device_index;
	l->owner.release = l->c.release;
	status = lender_look(l, &v);
	return status == UFM_OK ? lent_open(&l->owner) : status;
}

static void drop(ufm_lender *l)
{
	lock_destroy(&l->lock);
	alloc_free(l->busy);
	alloc_free(l->engines);
	alloc_free(l);
}

ufm_status ufm_lender_open(const ufm_lender_config *config, ufm_lender **out)
{
	ufm_status status = status_need(config, "config", "a ufm_lender_config");
	if (status == UFM_OK)
		status = status_need((const void *)out, "out", "where to put the lender");
	if (status != UFM_OK)
		return status;
	ufm_lender *l = alloc_zeroed(1, sizeof *l);
	if (!l)
		return UFM_ENOMEM;
	lock_init(&l->lock, LOCK_RANK_LENDER, "lender");
	UFM_STRUCT_INIT(&l->c);
	status = status_read_config(&l->c, sizeof l->c, config, "ufm_lender_config");
	if (status == UFM_OK)
		status = open_all(l);
	if (status != UFM_OK) {
		drop(l);
		return status;
	}
	*out = l;
	return UFM_OK;
}

void ufm_lender_close(ufm_lender *l)
{
	if (!l || host_is_parents(l->engines[0]->host))
		return;
	lent_close(&l->owner);
	drop(l);
}

/* ------------------------------------------------------------------ figures */

static ufm_status find_info(ufm_lender *l, ufm_lender_info *found)
{
	lender_view v;
	ufm_engine_bounds sum;
	ufm_status status = lender_look(l, &v);
	if (status == UFM_OK)
		status = lender_sum_bounds(l, &sum);
	if (status != UFM_OK)
		return status;
	*found = l->figures;
	found->limit_bytes = l->c.limit_bytes;
	found->used_bytes = v.used_bytes;
	found->gives_bytes = sum.now_bytes - sum.least_bytes;
	lent_get(&l->owner, &found->lent_count, &found->lent_bytes);
	return UFM_OK;
}

/* A child process has the figures 0 beside the failure. */
ufm_status ufm_lender_get_info(ufm_lender *l, ufm_lender_info *info)
{
	ufm_lender_info found = {0};
	ufm_status status = status_need(l, "lender", "an open lender");
	if (status == UFM_OK)
		status = status_check_info(info, "info");
	if (status != UFM_OK)
		return status;
	bool ours = !host_is_parents(l->engines[0]->host);
	if (ours) {
		lock_take(&l->lock);
		status = find_info(l, &found);
		lock_drop(&l->lock);
	}
	if (status == UFM_OK)
		status = status_write_info(info, &found, sizeof found, "ufm_lender_info");
	return status == UFM_OK ? lender_check_process(l) : status;
}

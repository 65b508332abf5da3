/* SPDX-License-Identifier: MIT */
/* The largest bank against the machine's limits, and what is smaller. */
#include "cli/bench/room.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/status.h"
#include "cli/bench/tier.h"

#define GIB 1073741824.0

static bool locks(const bench_config *c)
{
	for (uint32_t i = 0; i < c->modes.count; i++) {
		if (!tier_pageable((placement_mode)c->modes.items[i]))
			return true;
	}
	return false;
}

static uint32_t most_experts(const bench_config *c)
{
	uint32_t most = 0;
	for (uint32_t i = 0; i < c->experts.count; i++)
		most = c->experts.items[i] > most ? c->experts.items[i] : most;
	return most;
}

/* "--layers 16 or --experts 43 would run", whichever of them there are. */
static void say_what_fits(const bench_config *c, uint32_t experts, uint64_t blocks, char *text,
                          size_t size)
{
	assert(experts > 0 && c->layers > 0);
	uint64_t layers = blocks / experts, fewer = blocks / c->layers;
	bool cut = layers > 0, narrow = fewer > 0 && fewer >= c->top_k;
	char by_layers[40] = "", by_experts[40] = "";
	if (cut)
		snprintf(by_layers, sizeof by_layers, "--layers %" PRIu64, layers);
	if (narrow)
		snprintf(by_experts, sizeof by_experts, "--experts %" PRIu64, fewer);
	if (cut || narrow)
		snprintf(text, size, "%s%s%s would run", by_layers, cut && narrow ? " or " : "",
		         by_experts);
	else
		snprintf(text, size, "expected smaller experts (--d-model, --d-hidden)");
}

/* It may get what its cgroup was promised. */
static bool may_grow(const limits *here, uint64_t bank_bytes)
{
	return here->virtual_machine && here->cgroup_ram_bytes != LIMITS_NONE &&
	       here->cgroup_ram_bytes > here->machine_ram_bytes &&
	       bank_bytes > here->machine_ram_bytes && bank_bytes <= here->cgroup_ram_bytes;
}

static ufm_status refuse(const bench_config *c, const limits *here, uint64_t block_bytes,
                         uint64_t most_bytes)
{
	char fits[128], locked[64] = "";
	uint32_t experts = most_experts(c);
	say_what_fits(c, experts, most_bytes / block_bytes, fits, sizeof fits);
	if (locks(c))
		snprintf(locked, sizeof locked, ", of which %.1f GiB may be page-locked",
		         (double)most_bytes / GIB);
	return status_fail(UFM_ENOMEM,
	                   "a bank of %.2f GiB does not fit: %.1f GiB of host memory can be had "
	                   "here%s; %s",
	                   (double)block_bytes * c->layers * experts / GIB,
	                   (double)here->ram_free_bytes / GIB, locked, fits);
}

ufm_status room_check(const bench_config *c, const limits *here, char warning[ROOM_LINE_BYTES])
{
	ufm_expert_desc desc = {.struct_size = sizeof desc};
	uint64_t bank_bytes, most_bytes;
	ufm_status status = bench_desc(c, &desc);
	if (status)
		return status;
	*warning = '\0';
	most_bytes = locks(c) ? limits_lockable_bytes(here) : here->ram_free_bytes;
	if (__builtin_mul_overflow(desc.block_bytes, (uint64_t)c->layers * most_experts(c),
	                           &bank_bytes))
		bank_bytes = UINT64_MAX;
	if (bank_bytes <= most_bytes)
		return UFM_OK;
	if (!may_grow(here, bank_bytes))
		return refuse(c, here, desc.block_bytes, most_bytes);
	snprintf(warning, ROOM_LINE_BYTES,
	         "a bank of %.2f GiB is more than this virtual machine has now (%.1f GiB); its cgroup "
	         "may use %.1f GiB, so it is tried",
	         (double)bank_bytes / GIB, (double)here->machine_ram_bytes / GIB,
	         (double)here->cgroup_ram_bytes / GIB);
	return UFM_OK;
}

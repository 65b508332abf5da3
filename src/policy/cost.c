/* SPDX-License-Identifier: MIT */
/* Who costs least to bring back leaves: frequency times reload cost for each byte, with ageing. Where
 * all reloads cost alike this is lfu. */
#include <math.h>

#include "base/status.h"
#include "policy/aged.h"
#include "policy/registry.h"

/* A caller built before there was a cost has a shorter config. */
static const float *cost_of(const ufm_policy_config *config)
{
	size_t needed = offsetof(ufm_policy_config, cost) + sizeof config->cost;

	return config->struct_size >= needed ? config->cost : NULL;
}

static ufm_status cost_create(const ufm_policy_config *config, void **state)
{
	const float *cost = cost_of(config);
	uint32_t keys = config->layers * config->experts;

	for (uint32_t key = 0; cost && key < keys; key++) {
		if (!(cost[key] > 0.0f) || isinf(cost[key]))
			return status_fail(UFM_EINVAL, "cost[%u] is %g, expected a finite number above 0", key,
			                   (double)cost[key]);
	}
	return aged_create(config, cost, state);
}

const ufm_policy policy_cost = {
	UFM_POLICY_HEADER("cost"), .source = "GreedyDual-Size-Frequency; Cherkasova, 1998",
	.create = cost_create,     .destroy = aged_destroy,
	.event = aged_event,       .use = aged_use,
	.insert = aged_insert,     .remove = aged_remove,
	.victim = aged_victim,
};

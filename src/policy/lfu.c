/* SPDX-License-Identifier: MIT */
/* Least frequently used, with ageing: what was used often once cannot stay for ever. */
#include "policy/aged.h"
#include "policy/registry.h"

static ufm_status lfu_create(const ufm_policy_config *config, void **state)
{
	return aged_create(config, NULL, state);
}

const ufm_policy policy_lfu = {
	UFM_POLICY_HEADER("lfu"), .source = "LFU with dynamic aging (LFU-DA); Arlitt et al., 2000",
	.create = lfu_create,     .destroy = aged_destroy,
	.event = aged_event,      .use = aged_use,
	.insert = aged_insert,    .remove = aged_remove,
	.victim = aged_victim,
};

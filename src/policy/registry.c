/* SPDX-License-Identifier: MIT */
/* The policies that are built in, the default first. */
#include "policy/registry.h"

#include <string.h>

static const ufm_policy *const policies[] = {
	&policy_cycle,  &policy_freq,  &policy_lru,  &policy_fifo, &policy_lfu,
	&policy_s3fifo, &policy_sieve, &policy_cost, &policy_min,  &policy_min_bypass,
};

static const struct {
	const char *alias, *name;
} aliases[] = {
	{"default", POLICY_DEFAULT_NAME},
	{"layer-cycle", "cycle"},
};

#define ALIAS_COUNT (sizeof aliases / sizeof aliases[0])
#define POLICY_COUNT ((uint32_t)(sizeof policies / sizeof policies[0]))

const ufm_policy *policy_at(uint32_t index)
{
	return index < POLICY_COUNT ? policies[index] : NULL;
}

static const char *unaliased(const char *name)
{
	if (!name)
		return POLICY_DEFAULT_NAME;
	for (size_t i = 0; i < ALIAS_COUNT; i++) {
		if (strcmp(aliases[i].alias, name) == 0)
			return aliases[i].name;
	}
	return name;
}

const ufm_policy *policy_find(const char *name)
{
	name = unaliased(name);
	for (uint32_t i = 0; i < POLICY_COUNT; i++) {
		if (strcmp(policies[i]->name, name) == 0)
			return policies[i];
	}
	return NULL;
}

/* Written out, so that no memory has to be guarded; a test compares them with the table. */
const char *policy_names(bool offline)
{
	return offline ? "min, min-bypass" : "cycle, freq, lru, fifo, lfu, s3fifo, sieve, cost";
}

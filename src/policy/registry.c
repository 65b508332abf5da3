/* SPDX-License-Identifier: MIT */
/* The policies that are built in, the default first. */
#include "policy/registry.h"

#include <string.h>

#define LISTED(name, unused) &policy_##name,
static const ufm_policy *const policies[] = {POLICIES(LISTED, LISTED) BOUNDS(LISTED, LISTED)};

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

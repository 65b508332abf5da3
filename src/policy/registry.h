/* SPDX-License-Identifier: MIT */
/* The policies that are built in. */
#ifndef UFM_POLICY_REGISTRY_H
#define UFM_POLICY_REGISTRY_H

#include <ufm/policy.h>

#include "policy/policies.def"

#define POLICY_NAME_FIRST(name, worths) #name
#define POLICY_NAME_LISTED(name, worths) ", " #name
#define POLICY_NAME_SPACED(name, worths) " " #name
#define POLICY_BOUND_FIRST(symbol, name) name
#define POLICY_BOUND_LISTED(symbol, name) ", " name
#define POLICY_BOUND_SPACED(symbol, name) " " name
#define POLICY_NOTHING(name, worths)
/* Literals: names between commas for messages and help, between spaces for completion. */
#define POLICY_NAMES POLICIES(POLICY_NAME_FIRST, POLICY_NAME_LISTED)
#define POLICY_WORDS POLICIES(POLICY_NAME_FIRST, POLICY_NAME_SPACED)
#define POLICY_BOUND_NAMES BOUNDS(POLICY_BOUND_FIRST, POLICY_BOUND_LISTED)
#define POLICY_BOUND_WORDS BOUNDS(POLICY_BOUND_FIRST, POLICY_BOUND_SPACED)
#define POLICY_DEFAULT_NAME POLICIES(POLICY_NAME_FIRST, POLICY_NOTHING)

/* NULL or "default": the default. "layer-cycle" is another name of cycle, by what it knows. NULL for an
 * unknown name. */
const ufm_policy *policy_find(const char *name);
/* index from 0; NULL past the end. */
const ufm_policy *policy_at(uint32_t index);
/* What these two think of a layer's experts: [experts], comparable within the layer, the larger the longer
 * they are kept. Up to date between cache events, until the next one begins. */
const float *policy_cycle_worths(void *state, uint32_t layer);
const float *policy_freq_worths(void *state, uint32_t layer);

#define POLICY_DECLARED(name, unused) extern const ufm_policy policy_##name;
POLICIES(POLICY_DECLARED, POLICY_DECLARED)
BOUNDS(POLICY_DECLARED, POLICY_DECLARED)

#endif

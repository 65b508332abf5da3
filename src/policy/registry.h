/* SPDX-License-Identifier: MIT */
/* The policies that are built in. */
#ifndef UFM_POLICY_REGISTRY_H
#define UFM_POLICY_REGISTRY_H

#include <ufm/policy.h>

#define POLICY_DEFAULT_NAME "cycle"

/* NULL or "default": the default. "layer-cycle" is another name of cycle, by what it knows. NULL for an
 * unknown name. */
const ufm_policy *policy_find(const char *name);
/* index from 0; NULL past the end. */
const ufm_policy *policy_at(uint32_t index);
/* "cycle, freq, lru, …" for messages: the policies without (offline: or with) UFM_POLICY_OFFLINE. */
const char *policy_names(bool offline);

/* What these two think of a layer's experts: [experts], comparable within the layer, the larger the longer
 * they are kept. Up to date between cache events, until the next one begins. */
const float *policy_cycle_worths(void *state, uint32_t layer);
const float *policy_freq_worths(void *state, uint32_t layer);

extern const ufm_policy policy_cycle, policy_freq, policy_lru, policy_fifo, policy_lfu,
	policy_s3fifo, policy_sieve, policy_cost, policy_min, policy_min_bypass;

#endif

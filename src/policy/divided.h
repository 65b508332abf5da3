/* SPDX-License-Identifier: MIT */
/* A policy that divides one cache among the layers. */
#ifndef UFM_POLICY_DIVIDED_H
#define UFM_POLICY_DIVIDED_H

#include <ufm/policy.h>

/*
 * The policy by which each layer has an instance of `inner` of its own and a quota of the places
 * (quotas.h). A newcomer whose layer has its quota displaces one of its layer, or nobody, as the inner
 * policy says; one whose layer has less takes the place of an expert that the inner policy of the layer
 * most above its quota gives up. The places are as many as are taken when a victim is first asked for,
 * so that a cache that is resized is divided anew. `inner`: one of the registry's that is not offline;
 * NULL for any other. It has the inner policy's name with "divided-" before it. Static data.
 */
const ufm_policy *policy_divided(const ufm_policy *inner);

#endif

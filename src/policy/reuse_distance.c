/* SPDX-License-Identifier: MIT */
/* Stacks of experts by last use, and how deep uses are found in them. */
#include "policy/reuse_distance.h"

#include <string.h>

#include "base/alloc.h"

ufm_status reuse_distance_init(reuse_distance *s, uint32_t layers, uint32_t experts)
{
	size_t keys = (size_t)layers * experts;

	*s = (reuse_distance){.layers = layers, .experts = experts};
	s->order = alloc_zeroed(keys, sizeof *s->order);
	s->height = alloc_zeroed(layers, sizeof *s->height);
	s->last = alloc_zeroed(layers, sizeof *s->last);
	s->found = alloc_zeroed(keys, sizeof *s->found);
	s->members = alloc_zeroed(experts, sizeof *s->members);
	s->member = alloc_zeroed(experts, sizeof *s->member);
	s->rest = alloc_zeroed(experts, sizeof *s->rest);
	if (s->order && s->height && s->last && s->found && s->members && s->member && s->rest)
		return UFM_OK;
	reuse_distance_free(s);
	return UFM_ENOMEM;
}

void reuse_distance_free(reuse_distance *s)
{
	alloc_free(s->order);
	alloc_free(s->height);
	alloc_free(s->last);
	alloc_free(s->found);
	alloc_free(s->members);
	alloc_free(s->member);
	alloc_free(s->rest);
	*s = (reuse_distance){0};
}

void reuse_distance_use(reuse_distance *s, uint32_t expert)
{
	s->members[s->count++] = expert;
	s->member[expert] = 1;
}

/* Takes the members out of a stack, from the top until all that are in it are found. Returns how many
 * experts that were above the last of them are left in rest[], and that depth in *depth. */
static uint32_t take_out(reuse_distance *s, uint32_t layer, uint32_t *depth)
{
	const uint32_t *order = s->order + (size_t)layer * s->experts;
	float *found = s->found + (size_t)layer * s->experts;
	uint32_t rest = 0, taken = 0, at = 0, again = 0;

	for (; at < s->height[layer] && taken < s->count; at++) {
		if (!s->member[order[at]]) {
			s->rest[rest++] = order[at];
			continue;
		}
		if (at < s->last[layer])
			again++;
		else
			found[at] += 1.0f;
		taken++;
	}
	for (uint32_t i = 0; i < s->last[layer] && again; i++)
		found[i] += (float)again / (float)s->last[layer];
	*depth = at;
	s->height[layer] += s->count - taken;
	return rest;
}

void reuse_distance_end(reuse_distance *s, uint32_t layer)
{
	uint32_t *order = s->order + (size_t)layer * s->experts;
	uint32_t was = s->height[layer], depth, rest = take_out(s, layer, &depth);

	/* Below the last member found nothing is taken; new experts push it down. */
	memmove(order + s->count + rest, order + depth, (was - depth) * sizeof *order);
	memcpy(order + s->count, s->rest, rest * sizeof *order);
	for (uint32_t i = 0; i < s->count; i++) {
		order[s->count - 1 - i] = s->members[i];
		s->member[s->members[i]] = 0;
	}
	s->last[layer] = s->count;
	s->count = 0;
}

void reuse_distance_end_by_worth(reuse_distance *s, uint32_t layer, const float *worth)
{
	float *found = s->found + (size_t)layer * s->experts;

	for (uint32_t i = 0; i < s->count; i++) {
		uint32_t depth = 0;
		float own = worth[s->members[i]];

		s->member[s->members[i]] = 0;
		if (own <= 0.0f)
			continue;
		for (uint32_t expert = 0; expert < s->experts; expert++)
			depth += worth[expert] > own || (worth[expert] == own && expert < s->members[i]);
		found[depth] += 1.0f;
	}
	s->count = 0;
}

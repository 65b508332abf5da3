/* SPDX-License-Identifier: MIT */
/* Decayed counts, kept by letting what a use adds grow (forward decay). */
#include "policy/shares.h"

#include "base/alloc.h"

/* Far from what a float holds, and so that a rescale is rare. */
#define GAIN_MAX 1e20f

ufm_status shares_init(shares *s, uint32_t layers, uint32_t experts, float decay)
{
	*s = (shares){.layers = layers, .experts = experts, .growth = 1.0f / decay};
	s->score = alloc_zeroed((size_t)layers * experts, sizeof *s->score);
	s->gain = alloc_zeroed(layers, sizeof *s->gain);
	s->total = alloc_zeroed(layers, sizeof *s->total);
	if (!s->score || !s->gain || !s->total) {
		shares_free(s);
		return UFM_ENOMEM;
	}
	for (uint32_t layer = 0; layer < layers; layer++)
		s->gain[layer] = 1.0f;
	return UFM_OK;
}

void shares_free(shares *s)
{
	alloc_free(s->score);
	alloc_free(s->gain);
	alloc_free(s->total);
	*s = (shares){0};
}

static void rescale(shares *s, uint32_t layer)
{
	float factor = 1.0f / s->gain[layer];

	for (uint32_t i = 0; i < s->experts; i++)
		s->score[layer * s->experts + i] *= factor;
	s->total[layer] *= factor;
	s->gain[layer] = 1.0f;
}

bool shares_event(shares *s, uint32_t layer)
{
	bool rescaled;

	s->gain[layer] *= s->growth;
	rescaled = s->gain[layer] > GAIN_MAX;
	if (rescaled)
		rescale(s, layer);
	s->total[layer] += s->gain[layer];
	return rescaled;
}

void shares_use(shares *s, uint32_t key)
{
	s->score[key] += s->gain[key / s->experts];
}

/* SPDX-License-Identifier: MIT */
/* Overlap against the size of tastes, from layers that are made for it and thrown away. */
#include <math.h>

#include "base/alloc.h"
#include "trace/sticky_int.h"

/* The mean over so many layers of 32 experts is off by about .005; more experts vary less. */
#define PROBE_LAYERS 48u
#define PROBE_EXPERTS ((uint64_t)PROBE_LAYERS * 512)
#define PROBE_TOKENS 96u
#define PROBE_SEED 0x5eedu
/* Tastes of e^-4 … e^4 times a sequence's preferences. */
#define LOG_SIZE_MAX 4.0

static uint32_t common(const uint16_t *a, const uint16_t *b, uint32_t count)
{
	uint32_t found = 0;
	for (uint32_t i = 0; i < count; i++)
		for (uint32_t j = 0; j < count; j++)
			found += a[i] == b[j];
	return found;
}

/* What tokens of one new layer and sequence have in common with the one before. */
static uint64_t probe_layer(sticky_layer *l, uint32_t layer, double size, uint32_t tokens,
                            uint16_t *ids)
{
	uint64_t found = 0;
	uint32_t k = l->config->top_k;
	sticky_layer_begin(l, rng_mix(PROBE_SEED, layer), size);
	sticky_layer_sequence(l, 0);
	for (uint32_t token = 0; token < tokens; token++) {
		uint16_t *now = ids + (token % 2) * (size_t)k, *before = ids + (1 - token % 2) * (size_t)k;
		sticky_layer_step(l, token, now);
		found += token ? common(now, before, k) : 0;
	}
	return found;
}

static uint32_t probe_layers(uint32_t experts)
{
	uint32_t layers = (uint32_t)(PROBE_EXPERTS / experts);
	return layers > PROBE_LAYERS ? PROBE_LAYERS : layers < 4 ? 4 : layers;
}

static double probe(sticky_layer *l, double size, uint32_t tokens, uint16_t *ids)
{
	uint64_t found = 0;
	uint32_t layers = probe_layers(l->config->experts);
	for (uint32_t layer = 0; layer < layers; layer++)
		found += probe_layer(l, layer, size, tokens, ids);
	return (double)found / ((double)layers * (tokens - 1) * l->config->top_k);
}

/* Sequences shorter than the probe's have younger preferences, which change faster. */
static uint32_t probe_tokens(const sticky_config *c)
{
	uint64_t mean = c->tokens / c->sequences;
	return mean < 2 ? 2 : mean < PROBE_TOKENS ? (uint32_t)mean : PROBE_TOKENS;
}

ufm_status sticky_curve_measure(const sticky_config *config, sticky_curve *out)
{
	sticky_layer l;
	ufm_status status = sticky_layer_open(&l, config);
	uint16_t *ids = alloc_zeroed((size_t)config->top_k * 2, sizeof *ids);
	if (!ids)
		status = UFM_ENOMEM;
	for (uint32_t i = 0; !status && i < STICKY_POINTS; i++) {
		double at = 2.0 * i / (STICKY_POINTS - 1) - 1;
		double overlap = probe(&l, exp(LOG_SIZE_MAX * at), probe_tokens(config), ids);
		out->log_size[i] = LOG_SIZE_MAX * at;
		/* Chance must not make the curve turn. */
		out->overlap[i] = i && overlap > out->overlap[i - 1] ? out->overlap[i - 1] : overlap;
	}
	alloc_free(ids);
	sticky_layer_close(&l);
	return status;
}

double sticky_curve_size(const sticky_curve *c, double overlap)
{
	uint32_t i = 0;
	double above, below, part;
	while (i < STICKY_POINTS - 2 && c->overlap[i + 1] > overlap)
		i++;
	above = c->overlap[i];
	below = c->overlap[i + 1];
	part = above > below ? (above - overlap) / (above - below) : 0;
	part = part < 0 ? 0 : part > 1 ? 1 : part;
	return exp(c->log_size[i] + part * (c->log_size[i + 1] - c->log_size[i]));
}

/* SPDX-License-Identifier: MIT */
/* A trace of the synthetic router. */
#include "trace/sticky.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "trace/sticky_int.h"

#define GOLDEN 0.6180339887498949 /* its multiples fill 0 … 1 evenly, however many there are */

static ufm_status check_number(const char *name, double value, double max)
{
	if (value >= 0 && value <= max)
		return UFM_OK;
	return status_fail(UFM_EINVAL, "sticky %s: found %g, expected 0 to %g", name, value, max);
}

static ufm_status check_count(const char *name, uint64_t value, uint64_t max)
{
	if (value >= 1 && value <= max)
		return UFM_OK;
	return status_fail(UFM_EINVAL, "sticky %s: found %" PRIu64 ", expected 1 to %" PRIu64, name,
	                   value, max);
}

static ufm_status check_config(const sticky_config *c)
{
	const struct {
		const char *name;
		uint64_t value, max;
	} counts[] = {
		{"tokens", c->tokens, (uint64_t)1 << 40}, {"sequences", c->sequences, c->tokens},
		{"layers", c->layers, 1u << 16},          {"experts", c->experts, TRACE_EXPERTS_MAX},
		{"top_k", c->top_k, c->experts},
	};
	const struct {
		const char *name;
		double value, max;
	} numbers[] = {
		{"overlap", c->overlap, 1}, {"skew", c->skew, 10},    {"drift", c->drift, 1},
		{"echo", c->echo, 0.99},    {"spread", c->spread, 1},
	};
	ufm_status status = UFM_OK;
	for (size_t i = 0; !status && i < sizeof counts / sizeof counts[0]; i++)
		status = check_count(counts[i].name, counts[i].value, counts[i].max);
	for (size_t i = 0; !status && i < sizeof numbers / sizeof numbers[0]; i++)
		status = check_number(numbers[i].name, numbers[i].value, numbers[i].max);
	return status;
}

/* A measured end of the curve may be off by what chance makes of it. */
static ufm_status check_reachable(const sticky_config *c, const sticky_curve *curve)
{
	double low = curve->overlap[STICKY_POINTS - 1], high = curve->overlap[0];
	if (c->overlap >= low - 0.01 && c->overlap <= high + 0.01)
		return UFM_OK;
	return status_fail(UFM_EINVAL,
	                   "sticky overlap: found %g, expected %.2f to %.2f, which top %" PRIu32
	                   " of %" PRIu32 " experts can have with this skew, drift and echo",
	                   c->overlap, low, high, c->top_k, c->experts);
}

static ufm_status make_sequences(const sticky_config *c, trace *t)
{
	t->starts = alloc_zeroed((size_t)c->sequences + 1, sizeof *t->starts);
	if (!t->starts)
		return UFM_ENOMEM;
	for (uint32_t i = 0; i <= c->sequences; i++)
		t->starts[i] = c->tokens / c->sequences * i + c->tokens % c->sequences * i / c->sequences;
	return UFM_OK;
}

static void make_layer(sticky_layer *l, trace *t, uint32_t layer)
{
	for (uint32_t sequence = 0; sequence < t->sequences; sequence++) {
		sticky_layer_sequence(l, t->starts[sequence]);
		for (uint64_t token = t->starts[sequence]; token < t->starts[sequence + 1]; token++)
			sticky_layer_step(l, token, t->ids + (token * t->layers + layer) * t->ranks);
	}
}

/* Where a layer lies between the least and the most sticky one: -1 … 1, 0 for the first. */
static double place_of(uint32_t layer)
{
	return 2 * fmod(0.5 + layer * GOLDEN, 1) - 1;
}

static ufm_status make_layers(const sticky_config *c, const sticky_curve *curve, trace *t)
{
	sticky_layer l;
	ufm_status status = sticky_layer_open(&l, c);
	for (uint32_t layer = 0; !status && layer < c->layers; layer++) {
		double overlap = c->overlap + c->spread * place_of(layer);
		sticky_layer_begin(&l, rng_mix(c->seed, layer), sticky_curve_size(curve, overlap));
		make_layer(&l, t, layer);
	}
	sticky_layer_close(&l);
	return status;
}

ufm_status trace_sticky(const sticky_config *config, trace *out)
{
	trace t = {.tokens = config->tokens,
	           .layers = config->layers,
	           .ranks = config->top_k,
	           .experts = config->experts,
	           .sequences = config->sequences};
	sticky_curve curve;
	ufm_status status = check_config(config);
	memset(out, 0, sizeof *out);
	if (!status)
		status = sticky_curve_measure(config, &curve);
	if (!status)
		status = check_reachable(config, &curve);
	if (status)
		return status;
	t.ids = alloc_zeroed(t.tokens * t.layers, t.ranks * sizeof *t.ids);
	status = t.ids ? make_sequences(config, &t) : UFM_ENOMEM;
	if (!status)
		status = make_layers(config, &curve, &t);
	if (status)
		trace_close(&t);
	else
		*out = t;
	return status;
}

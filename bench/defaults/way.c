/* SPDX-License-Identifier: MIT */
/* The engine of one way of --assist: what it is opened with, and its steps. */
#include "defaults/defaults.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of the warm-up, in which the routers' choices are compared with the trace. */
#define CHECKED_STEPS 2u

/* ------------------------------------------------------------------ steps */

/* Which token of the trace is the index-th of a step. */
static uint32_t token_of(const bench *b, uint32_t step, uint32_t index)
{
	if (strcmp(b->phase.name, "prefill") == 0)
		return (uint32_t)(((uint64_t)step * b->phase.tokens + index) % b->r.tokens);
	uint32_t length = b->r.tokens / b->phase.tokens;
	return index * length + step % length;
}

void way_rows(bench *b, uint32_t step)
{
	memset(b->x, 0, (size_t)b->rows * b->o.d_model * sizeof *b->x);
	for (uint32_t i = 0; i < b->rows; i++)
		b->x[(size_t)i * b->o.d_model + token_of(b, step, i)] = 1;
}

static size_t x_bytes(const bench *b)
{
	return (size_t)b->rows * b->o.d_model * sizeof *b->x;
}

/* Where the step's tokens lie on the device. Those of prefill do already: no model copies them from the host. */
static ufm_devptr place_tokens(bench *b, way *w)
{
	if (strcmp(b->phase.name, "prefill") == 0)
		return w->x + (uint64_t)token_of(b, w->at, 0) * b->o.d_model * sizeof *b->x;
	way_rows(b, w->at);
	must(ufm_copy_to_device(w->engine, NULL, w->x, b->x, x_bytes(b)), "tokens");
	return w->x;
}

static uint64_t count_off(const bench *b, uint32_t step, uint32_t layer)
{
	uint64_t off = 0;
	for (uint32_t i = 0; i < b->phase.tokens; i++) {
		const uint16_t *wanted = routing_event(&b->r, token_of(b, step, i), layer);
		for (uint32_t k = 0; k < b->o.top_k; k++) {
			int found = 0;
			for (uint32_t j = 0; j < b->o.top_k; j++)
				found |= b->ids_out[(size_t)i * b->o.top_k + k] == wanted[j];
			off += !found;
		}
	}
	return off;
}

void way_step(bench *b, way *w, int check)
{
	ufm_ticket last = {0};
	ufm_devptr x = place_tokens(b, w);
	const ufm_tokens from = {
		.struct_size = SIZE_TO(ufm_tokens, stride), .place = UFM_ON_DEVICE, .device = x};
	const ufm_tokens to = {
		.struct_size = SIZE_TO(ufm_tokens, stride), .place = UFM_ON_DEVICE, .device = w->y};
	for (uint32_t l = 0; l < b->o.layers; l++) {
		ufm_moe_call c = {.struct_size = SIZE_TO(ufm_moe_call, stream),
		                  .tokens = b->phase.tokens,
		                  .x = &from,
		                  .y = &to,
		                  .ids_out = check ? b->ids_out : NULL};
		must(ufm_moe_forward(w->layers[l], &c, &last), "layer");
		if (check)
			w->ids_off += count_off(b, w->at, l);
	}
	/* A sampler needs the last layer before the next token. */
	must(ufm_ticket_wait(w->engine, last, UFM_WAIT_FOREVER), "wait");
	w->at++;
}

/* ------------------------------------------------------------------ engines */

static uint32_t assist_of(const char *word)
{
	static const char *const words[] = {"auto", "off", "on"};
	for (uint32_t i = 0; i < 3; i++)
		if (strcmp(word, words[i]) == 0)
			return i;
	stop("--assist: '%s', expected auto, off or on", word);
}

static void set_residency(const bench *b, ufm_engine_config *c)
{
	char *end;
	double value = strtod(b->residency, &end);
	uint32_t all = b->o.layers * b->o.experts;
	if (strcmp(b->residency, "resident") == 0)
		c->resident_all = 1;
	else if (value > 0 && strcmp(end, "GiB") == 0)
		c->vram_target_bytes = (uint64_t)(value * 1073741824.0);
	else if (value > 0 && strcmp(end, "MiB") == 0)
		c->vram_target_bytes = (uint64_t)(value * 1048576.0);
	else if (value > 0 && value <= 100 && !*end)
		c->slots_max = (uint32_t)lround(value / 100 * all);
	else
		stop("--residency: '%s', expected percent, a size in GiB or MiB, or resident",
		     b->residency);
}

static void open_layers(bench *b, way *w, const ufm_layer_config *like)
{
	ufm_layer_config c = *like;
	w->layers = zeroed(b->o.layers, sizeof(ufm_layer *));
	for (uint32_t l = 0; l < b->o.layers; l++) {
		c.layer = l;
		c.router_weight = b->r.routers + (size_t)l * b->o.experts * b->o.d_model;
		must(ufm_layer_open(w->engine, &c, &w->layers[l]), "layer");
	}
}

static void load_all(const bench *b, way *w)
{
	uint32_t *all = zeroed(b->o.experts, sizeof *all);
	for (uint32_t i = 0; i < b->o.experts; i++)
		all[i] = i;
	for (uint32_t l = 0; l < b->o.layers; l++)
		must(ufm_prefetch(w->engine, l, all, b->o.experts), "prefetch");
	free(all);
}

void way_open(bench *b, way *w)
{
	ufm_layer_config layer = {.struct_size = SIZE_TO(ufm_layer_config, scoring),
	                          .top_k = b->o.top_k,
	                          .norm_topk = 1,
	                          .router_weight = b->r.routers};
	uint64_t y_bytes = (uint64_t)b->phase.tokens * b->o.d_model * sizeof(float);
	ufm_engine_config c = {.struct_size = SIZE_TO(ufm_engine_config, routing_bytes),
	                       .link_gbps = b->o.link_gbps,
	                       .compute_threads = b->o.compute_threads,
	                       .cpu_threads = strcmp(w->assist, "off") == 0 ? 0 : b->o.cpu_threads,
	                       .cpu_assist = assist_of(w->assist),
	                       .max_tokens = b->phase.tokens,
	                       .top_k_max = b->o.top_k,
	                       .math = b->o.math};
	set_residency(b, &c);
	c.arena_bytes = b->o.layers * ufm_layer_bytes(&b->bank, &layer) + x_bytes(b) + y_bytes + 65536;
	must(ufm_engine_open(b->host, &c, &w->engine), "engine");
	open_layers(b, w, &layer);
	must(ufm_engine_alloc(w->engine, x_bytes(b), &w->x), "tokens");
	must(ufm_engine_alloc(w->engine, y_bytes, &w->y), "outputs");
	must(ufm_copy_to_device(w->engine, NULL, w->x, b->x, x_bytes(b)), "tokens");
	if (c.resident_all)
		load_all(b, w);
}

void way_close(const bench *b, way *w)
{
	for (uint32_t l = 0; l < b->o.layers; l++)
		ufm_layer_close(w->layers[l]);
	free(w->layers);
	ufm_engine_close(w->engine);
}

void way_warm_up(bench *b, way *w)
{
	double end_s = now_s() + 3 * b->o.seconds;
	while (w->at < b->phase.warmup && now_s() < end_s)
		way_step(b, w, w->at < CHECKED_STEPS);
	w->warmed = w->at;
}

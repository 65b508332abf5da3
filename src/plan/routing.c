/* SPDX-License-Identifier: MIT */
/* Traces from files, and tokens that choose without preference. */
#include "plan/routing.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "base/status.h"
#include "plan/routing_int.h"

static const char *after(const char *text, const char *prefix)
{
	size_t length = strlen(prefix);
	return strncmp(text, prefix, length) == 0 && text[length] ? text + length : NULL;
}

/* "" for sticky alone; NULL: another router. */
static const char *sticky_of(const char *text)
{
	return strcmp(text, "sticky") == 0 ? "" : after(text, "sticky:");
}

bool plan_routing_is_known(const char *text)
{
	return after(text, "trace:") || sticky_of(text);
}

ufm_status plan_routing_check(const char *text)
{
	const char *sticky = sticky_of(text);
	if (strcmp(text, "uniform") == 0 || after(text, "trace:"))
		return UFM_OK;
	if (sticky)
		return routing_sticky_check(sticky);
	return status_fail(UFM_EINVAL,
	                   "found '%.60s', expected sticky, sticky:PRESET, sticky:OVERLAP,SKEW,DRIFT, "
	                   "trace:FILE or uniform",
	                   text);
}

/* ---- every set of top_k experts is as likely as any other */

static void draw_set(rng *r, uint16_t *ids, uint32_t top_k, uint32_t experts)
{
	for (uint32_t n = 0; n < top_k;) {
		uint16_t id = (uint16_t)rng_below(r, experts);
		bool there = false;
		for (uint32_t i = 0; i < n && !there; i++)
			there = ids[i] == id;
		if (!there)
			ids[n++] = id;
	}
}

static ufm_status make_uniform(const plan_routing_config *c, trace *out)
{
	const bank_shape *bank = &c->shape->bank;
	uint32_t top_k = c->shape->top_k;
	trace t = {.tokens = (uint64_t)c->step_tokens * c->steps,
	           .layers = bank->layers,
	           .ranks = top_k,
	           .experts = bank->experts,
	           .sequences = 1};
	uint64_t events = t.tokens * t.layers;
	rng r;
	t.ids = alloc_zeroed(events * top_k, sizeof *t.ids);
	t.starts = alloc_zeroed(2, sizeof *t.starts);
	if (!t.ids || !t.starts) {
		trace_close(&t);
		return UFM_ENOMEM;
	}
	t.starts[1] = t.tokens;
	rng_seed(&r, c->seed);
	for (uint64_t i = 0; i < events; i++)
		draw_set(&r, t.ids + i * top_k, top_k, bank->experts);
	*out = t;
	return UFM_OK;
}

/* ---- recorded */

static ufm_status check_suits(const plan_routing_config *c, const char *path, const trace *t)
{
	const bank_shape *bank = &c->shape->bank;
	if (t->ranks != c->shape->top_k)
		return status_fail(UFM_EFORMAT,
		                   "%s: found %u ranks a token, expected %u, the model's top k", path,
		                   t->ranks, c->shape->top_k);
	if (t->layers < bank->layers)
		return status_fail(UFM_EFORMAT, "%s: found %u layers, expected the model's %u", path,
		                   t->layers, bank->layers);
	if (t->experts > bank->experts)
		return status_fail(UFM_EFORMAT, "%s: found expert id %u, expected 0 to %u", path,
		                   t->experts - 1, bank->experts - 1);
	return UFM_OK;
}

static ufm_status read_recorded(const plan_routing_config *c, const char *path, trace *out)
{
	trace_source source = {.path = path};
	trace t;
	ufm_status status = trace_read(&source, &t);
	if (status)
		return status;
	status = check_suits(c, path, &t);
	if (status) {
		trace_close(&t);
		return status;
	}
	t.experts = c->shape->bank.experts; /* some may never be chosen */
	*out = t;
	return UFM_OK;
}

/* ---- shared columns */

static void copy_shared(const plan_routing_config *c, const trace *from, trace *to)
{
	uint32_t tokens = c->step_tokens, lanes = c->side_by_side ? tokens : 0;
	size_t count = (size_t)from->layers * from->ranks;
	for (uint32_t step = 0; step < c->steps; step++) {
		uint64_t first = (uint64_t)step * tokens;
		for (uint32_t i = 0; i < tokens; i++) {
			uint64_t token = trace_item(first + i % c->columns, lanes, from->tokens);
			uint64_t place = trace_item(first + i, lanes, to->tokens);
			memcpy(to->ids + place * count, trace_event(from, token, 0), count * sizeof *to->ids);
		}
	}
}

/* The steps one after the other; on failure *t is closed. */
static ufm_status share(const plan_routing_config *c, trace *t)
{
	trace shared = *t;
	shared.tokens = (uint64_t)c->step_tokens * c->steps;
	shared.sequences = 1;
	shared.ids = alloc_zeroed(shared.tokens * t->layers * t->ranks, sizeof *shared.ids);
	shared.starts = alloc_zeroed(2, sizeof *shared.starts);
	if (!shared.ids || !shared.starts) {
		trace_close(&shared);
		trace_close(t);
		return UFM_ENOMEM;
	}
	shared.starts[1] = shared.tokens;
	copy_shared(c, t, &shared);
	trace_close(t);
	*t = shared;
	return UFM_OK;
}

ufm_status plan_routing_open(const plan_routing_config *c, trace *out)
{
	const char *path = after(c->spec, "trace:"), *sticky = sticky_of(c->spec);
	ufm_status status = path     ? read_recorded(c, path, out)
	                    : sticky ? routing_sticky_make(c, sticky, out)
	                             : make_uniform(c, out);
	bool shared = c->columns && c->step_tokens > c->columns;
	return status || !shared ? status : share(c, out);
}

void plan_routing_words(const plan_routing_config *c, char *words, size_t size)
{
	const char *path = after(c->spec, "trace:"), *sticky = sticky_of(c->spec);
	if (path)
		snprintf(words, size, "the routing recorded in %s", path);
	else if (sticky)
		routing_sticky_words(c, sticky, words, size);
	else
		snprintf(
			words, size,
			"uniform routing, where every expert is as likely as any other (the worst case: real "
			"routers repeat themselves)");
}

/* SPDX-License-Identifier: MIT */
/* Turns a stream of tokens into hidden states. */
#include "cli/bench/workload.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "base/status.h"
#include "cli/bench/workload_int.h"
#include "cli/modes/options.h"
#include "cli/nearest.h"
#include "cli/options.h"

#define TOP_K_DEFAULT 2u
/* Weight of the position beside the word: enough that repeated words are not routed all alike, too
 * little to hide which word it is. */
#define POSITION 0.25f

/* Separate streams of random numbers. */
enum { KEY_WORD = 1, KEY_POSITION = 2, KEY_DRAW = 3 };

static bool has_prefix(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

static ufm_status parse_exponent(const char *text, double *out)
{
	const option_spec number = {.type = OPTION_NUMBER, .max = 10};
	ufm_status status = option_value_parse(&number, text, out);
	return status ? status_prefix(status, "zipf") : UFM_OK;
}

ufm_status workload_parse_spec(const char *text, workload_spec *out)
{
	workload_spec spec = {.kind = WORKLOAD_UNIFORM};
	if (has_prefix(text, "text:") && text[5]) {
		spec.kind = WORKLOAD_TEXT;
		spec.path = text + 5;
	} else if (has_prefix(text, "trace:") && text[6]) {
		spec.kind = WORKLOAD_TRACE;
		spec.path = text + 6;
	} else if (has_prefix(text, "sticky:")) {
		spec.kind = WORKLOAD_STICKY;
		ufm_status status = mode_parse_sticky(text + 7, &spec.sticky);
		if (status)
			return status;
	} else if (has_prefix(text, "zipf:") && parse_exponent(text + 5, &spec.exponent) == UFM_OK) {
		spec.kind = WORKLOAD_ZIPF;
	} else if (strcmp(text, "uniform") != 0) {
		return status_fail(UFM_EINVAL,
		                   "found '%.60s', expected text:FILE, uniform, zipf:S with S above 0 and "
		                   "at most 10, trace:FILE, sticky:PRESET or sticky:OVERLAP,SKEW,DRIFT%s",
		                   text, nearest_kind(text, "uniform text: trace: zipf: sticky:").text);
	}
	*out = spec;
	return UFM_OK;
}

ufm_status workload_check_spec(const char *text)
{
	workload_spec spec;
	return workload_parse_spec(text, &spec);
}

static bool kind_routes(workload_kind kind)
{
	return kind == WORKLOAD_TRACE || kind == WORKLOAD_STICKY;
}

bool workload_spec_routes(const char *text)
{
	workload_spec spec;
	return workload_parse_spec(text, &spec) == UFM_OK && kind_routes(spec.kind);
}

static ufm_status open_input(workload *w)
{
	switch (w->spec.kind) {
	case WORKLOAD_TEXT:
		return text_open(w->spec.path, &w->text);
	case WORKLOAD_ZIPF:
		return zipf_open(w->spec.exponent, &w->zipf);
	case WORKLOAD_TRACE:
		return trace_read(&(trace_source){.path = w->spec.path}, &w->trace);
	case WORKLOAD_STICKY:
	case WORKLOAD_UNIFORM:
		break;
	}
	return UFM_OK;
}

static bool brings_ids(const workload *w)
{
	return kind_routes(w->spec.kind);
}

ufm_status workload_for_experts(workload *w, uint32_t experts)
{
	if (w->spec.kind != WORKLOAD_STICKY || w->trace.experts == experts)
		return UFM_OK;
	trace_close(&w->trace);
	const workload_config *c = &w->config;
	const sticky_run run = {.seed = c->seed,
	                        .layers = c->layers,
	                        .experts = experts,
	                        .top_k = c->top_k,
	                        .tokens = c->tokens,
	                        .sequences = c->sequences};
	ufm_status status = sticky_route(&w->spec.sticky, &run, &w->trace);
	return status == UFM_EINVAL ? status_prefix(status, "--workload") : status;
}

static ufm_status open_routing(workload *w)
{
	size_t count = (size_t)w->config.tokens * w->config.top_k;
	ufm_status status;
	if (!brings_ids(w))
		return UFM_OK;
	if (w->spec.kind == WORKLOAD_TRACE)
		status = workload_check_trace(&w->trace, w->spec.path, &w->config);
	else
		status = workload_for_experts(w, w->config.experts_min);
	if (status)
		return status;
	w->ids = alloc_zeroed(count * w->config.layers, sizeof *w->ids);
	w->gates = alloc_zeroed(count, sizeof *w->gates);
	if (!w->ids || !w->gates)
		return UFM_ENOMEM;
	for (size_t i = 0; i < count; i++)
		w->gates[i] = 1.0f / (float)w->config.top_k;
	return UFM_OK;
}

static uint32_t default_top_k(const workload *w)
{
	uint32_t of_input = w->spec.kind == WORKLOAD_TRACE ? w->trace.ranks : w->spec.sticky.top_k;
	return of_input ? of_input : TOP_K_DEFAULT;
}

static ufm_status open_parts(workload *w)
{
	ufm_status status = workload_parse_spec(w->config.spec, &w->spec);
	if (!status)
		status = open_input(w);
	if (status)
		return status;
	if (w->config.top_k == 0)
		w->config.top_k = default_top_k(w);
	status = open_routing(w);
	if (status)
		return status;
	w->x = alloc_zeroed((size_t)w->config.tokens * w->config.d_model, sizeof *w->x);
	return w->x ? UFM_OK : UFM_ENOMEM;
}

ufm_status workload_open(const workload_config *config, workload **out)
{
	ufm_status status;
	workload *w = alloc_zeroed(1, sizeof *w);
	if (!w)
		return UFM_ENOMEM;
	w->config = *config;
	status = open_parts(w);
	if (status) {
		workload_close(w);
		return status;
	}
	*out = w;
	return UFM_OK;
}

void workload_close(workload *w)
{
	if (!w)
		return;
	text_close(&w->text);
	zipf_close(&w->zipf);
	trace_close(&w->trace);
	alloc_free(w->x);
	alloc_free(w->ids);
	alloc_free(w->gates);
	alloc_free(w);
}

uint32_t workload_top_k(const workload *w)
{
	return w->config.top_k;
}

const char *workload_top_k_origin(const workload *w)
{
	if (w->spec.kind == WORKLOAD_TRACE)
		return "ranks of the trace";
	return w->spec.sticky.top_k ? "of the router's preset" : "default";
}

const struct trace *workload_routing(const workload *w)
{
	return brings_ids(w) ? &w->trace : NULL;
}

bool workload_routes(const workload *w)
{
	return w->ids && w->config.ids_ahead;
}

bool workload_steers(const workload *w)
{
	return w->ids && !w->config.ids_ahead;
}

/* x += scale * gauss(key) over one token. */
static void add_gauss(const workload *w, float *x, uint64_t kind, uint64_t key, float scale)
{
	rng r;
	rng_seed(&r, rng_mix(rng_mix(w->config.seed, kind), key));
	for (uint32_t i = 0; i < w->config.d_model; i++)
		x[i] += scale * (float)rng_gauss(&r);
}

/* Which of `count` items token p reads. */
static uint64_t item_at(const workload *w, uint64_t p, uint64_t count)
{
	return trace_item(p, w->config.sequences, count);
}

static uint64_t word_at(const workload *w, uint64_t p)
{
	rng r;
	if (w->spec.kind == WORKLOAD_TEXT)
		return w->text.tokens[item_at(w, p, w->text.count)];
	rng_seed(&r, rng_mix(rng_mix(w->config.seed, KEY_DRAW), p));
	return zipf_word(&w->zipf, rng_unit(&r));
}

static void make_token(const workload *w, float *x, uint64_t p)
{
	memset(x, 0, w->config.d_model * sizeof *x);
	if (w->spec.kind == WORKLOAD_TEXT || w->spec.kind == WORKLOAD_ZIPF) {
		add_gauss(w, x, KEY_WORD, word_at(w, p), 1.0f);
		add_gauss(w, x, KEY_POSITION, p, POSITION);
	} else {
		add_gauss(w, x, KEY_POSITION, p, 1.0f);
	}
	if (workload_steers(w))
		workload_mark(w, x, p);
}

/* Whose choice the token at position p gets from routers: that of the first in its step that reads the same column. */
static uint64_t choice_of(const workload *w, uint64_t p)
{
	uint64_t place = p % w->config.tokens;
	return p - place + place % w->config.d_model;
}

static void make_routing(const workload *w, uint32_t i, uint64_t p)
{
	uint64_t choice = workload_steers(w) ? choice_of(w, p) : p;
	uint32_t k = w->config.top_k;
	for (uint32_t layer = 0; layer < w->config.layers; layer++) {
		const uint16_t *event = workload_event(w, choice, layer);
		for (uint32_t j = 0; j < k; j++)
			w->ids[((size_t)layer * w->config.tokens + i) * k + j] = trace_id(event, j);
	}
}

void workload_step(workload *w, uint64_t step, workload_batch *out)
{
	for (uint32_t i = 0; i < w->config.tokens; i++) {
		uint64_t p = step * w->config.tokens + i;
		make_token(w, w->x + (size_t)i * w->config.d_model, p);
		if (w->ids)
			make_routing(w, i, p);
	}
	*out = (workload_batch){.x = w->x};
	if (workload_routes(w)) {
		out->ids = w->ids;
		out->gates = w->gates;
	} else if (workload_steers(w)) {
		out->chosen = w->ids;
		out->window = workload_window(w, step);
	}
}

bool workload_wraps(const workload *w, uint64_t steps)
{
	uint64_t read = steps * w->config.tokens;
	if (w->spec.kind == WORKLOAD_TEXT)
		return read > w->text.count;
	return brings_ids(w) && read > w->trace.tokens;
}

double workload_expected_experts(const workload *w, uint32_t experts)
{
	double share = (double)w->config.top_k / experts;
	if (w->spec.kind != WORKLOAD_UNIFORM)
		return 0;
	return experts * (1.0 - pow(1.0 - share, w->config.tokens));
}

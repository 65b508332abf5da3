/* SPDX-License-Identifier: MIT */
/* Sizes of a trace that is made for a run, and routers by their names and numbers. */
#include "trace/sticky_run.h"

#include <stdlib.h>
#include <string.h>

#include "base/status.h"

/* What three numbers do not say is as in the recorded trace. */
#define ECHO_DEFAULT 0.24
#define SEQUENCE_TOKENS 300u
/* Tokens that are made, by what making them takes: about a second. */
#define SCORES_MAX ((uint64_t)1 << 27)
#define TOKENS_MAX 65536u

/* A number from 0 to max that ends at `end`; NULL when it is none, else what follows it. */
static const char *parse_number(const char *text, char end, double max, double *out)
{
	char *after;
	if (text[strspn(text, "0123456789.eE+-")] != end)
		return NULL;
	*out = strtod(text, &after);
	if (after == text || *after != end || !(*out >= 0 && *out <= max))
		return NULL;
	return end ? after + 1 : after;
}

static bool parse_numbers(const char *text, sticky_config *out)
{
	text = parse_number(text, ',', 1, &out->overlap);
	if (text)
		text = parse_number(text, ',', 10, &out->skew);
	if (text)
		text = parse_number(text, '\0', 1, &out->drift);
	out->echo = ECHO_DEFAULT;
	return text != NULL;
}

ufm_status sticky_parse(const char *text, sticky_config *out)
{
	sticky_config config = {0};
	if (!sticky_preset(text, &config) && !parse_numbers(text, &config))
		return status_fail(UFM_EINVAL,
		                   "found 'sticky:%.60s', expected sticky:PRESET of " STICKY_PRESETS
		                   ", or sticky:OVERLAP,SKEW,DRIFT, from 0 to 1, 10 and 1",
		                   text);
	*out = config;
	return UFM_OK;
}

/* Sequences of the preset's length, as many as the batch of a decode has or a multiple. */
static void size_trace(const sticky_run *run, sticky_config *s)
{
	uint64_t length = s->tokens ? s->tokens / s->sequences : SEQUENCE_TOKENS;
	uint64_t lanes = run->sequences ? run->sequences : 1;
	uint64_t tokens = SCORES_MAX / ((uint64_t)run->layers * run->experts);
	tokens = tokens > TOKENS_MAX ? TOKENS_MAX : tokens;
	tokens = tokens < 2 * (uint64_t)run->tokens ? 2 * (uint64_t)run->tokens : tokens;
	s->sequences = (uint32_t)(((tokens + length - 1) / length + lanes - 1) / lanes * lanes);
	s->tokens = s->sequences * length;
}

ufm_status sticky_route(const sticky_config *router, const sticky_run *run, trace *out)
{
	sticky_config s = *router;
	size_trace(run, &s);
	s.seed = run->seed;
	s.layers = run->layers;
	s.experts = run->experts;
	s.top_k = run->top_k;
	return trace_sticky(&s, out);
}

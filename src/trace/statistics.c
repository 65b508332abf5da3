/* SPDX-License-Identifier: MIT */
/* Overlap, reuse distances and stack distances of a trace. */
#include "trace/statistics.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"

#define NEVER UINT64_MAX

/* The experts that a layer has used, latest first. */
typedef struct history {
	uint16_t *order; /* [experts] */
	uint32_t count;
	uint64_t *last; /* [experts]; token of the last use */
} history;

static ufm_status history_open(history *h, uint32_t experts)
{
	*h = (history){.order = alloc_zeroed(experts, sizeof *h->order)};
	h->last = alloc_zeroed(experts, sizeof *h->last);
	return h->order && h->last ? UFM_OK : UFM_ENOMEM;
}

static void history_clear(history *h, uint32_t experts)
{
	h->count = 0;
	memset(h->last, 0xff, experts * sizeof *h->last);
}

static void history_close(history *h)
{
	alloc_free(h->order);
	alloc_free(h->last);
}

static uint32_t depth_of(const history *h, uint16_t id)
{
	uint32_t depth = 0;
	while (h->order[depth] != id)
		depth++;
	return depth;
}

static void count_use(trace_statistics *s, const history *h, uint16_t id, uint64_t token)
{
	uint64_t distance = token - h->last[id];
	s->uses++;
	if (h->last[id] == NEVER) {
		s->first++;
		return;
	}
	s->depths[depth_of(h, id)]++;
	s->distances[distance > TRACE_DISTANCES ? TRACE_DISTANCES : distance - 1]++;
}

static void touch(history *h, uint16_t id, uint64_t token)
{
	uint32_t depth = h->last[id] == NEVER ? h->count++ : depth_of(h, id);
	memmove(h->order + 1, h->order, depth * sizeof *h->order);
	h->order[0] = id;
	h->last[id] = token;
}

static uint32_t members(const uint16_t *ids, uint32_t ranks)
{
	uint32_t count = 0;
	while (count < ranks && ids[count] != TRACE_NONE)
		count++;
	return count;
}

/* All members are looked up before the first of them is touched: none of them counts as used since. */
static void take_event(trace_statistics *s, history *h, const uint16_t *ids, uint64_t token,
                       bool follows)
{
	uint32_t count = members(ids, s->ranks);
	for (uint32_t i = 0; i < count; i++) {
		count_use(s, h, ids[i], token);
		s->repeats += follows && h->last[ids[i]] != NEVER && h->last[ids[i]] + 1 == token;
	}
	s->follows += follows ? count : 0;
	for (uint32_t i = 0; i < count; i++)
		touch(h, ids[i], token);
}

static void take_layer(trace_statistics *s, history *h, const trace *t, uint32_t layer)
{
	history_clear(h, t->experts);
	for (uint32_t sequence = 0; sequence < t->sequences; sequence++) {
		uint64_t start = t->starts[sequence];
		for (uint64_t token = start; token < t->starts[sequence + 1]; token++)
			take_event(s, h, trace_event(t, token, layer), token, token > start);
	}
}

ufm_status trace_measure(const trace *t, uint32_t first, uint32_t layers, trace_statistics *out)
{
	trace_statistics s = {.experts = t->experts, .ranks = t->ranks};
	history h;
	uint32_t end = layers ? first + layers : t->layers;
	ufm_status status = history_open(&h, t->experts);
	assert(first < t->layers && end <= t->layers);
	s.depths = alloc_zeroed(t->experts, sizeof *s.depths);
	s.distances = alloc_zeroed(TRACE_DISTANCES + 1, sizeof *s.distances);
	if (!s.depths || !s.distances)
		status = UFM_ENOMEM;
	for (uint32_t layer = first; !status && layer < end; layer++)
		take_layer(&s, &h, t, layer);
	history_close(&h);
	if (status)
		trace_statistics_close(&s);
	else
		*out = s;
	return status;
}

void trace_statistics_close(trace_statistics *s)
{
	alloc_free(s->depths);
	alloc_free(s->distances);
	memset(s, 0, sizeof *s);
}

static double share(uint64_t part, uint64_t whole)
{
	return whole ? (double)part / (double)whole : 0;
}

static uint64_t sum(const uint64_t *counts, uint32_t count)
{
	uint64_t total = 0;
	for (uint32_t i = 0; i < count; i++)
		total += counts[i];
	return total;
}

double trace_overlap(const trace_statistics *s)
{
	return share(s->repeats, s->follows);
}

double trace_lru_hit_rate(const trace_statistics *s, uint32_t slots)
{
	return share(sum(s->depths, slots < s->experts ? slots : s->experts), s->uses);
}

double trace_distance_share(const trace_statistics *s, uint32_t tokens)
{
	assert(tokens <= TRACE_DISTANCES);
	return share(sum(s->distances, tokens), s->uses);
}

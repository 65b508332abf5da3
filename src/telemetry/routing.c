/* SPDX-License-Identifier: MIT */
/* What the tokens of every layer were routed to: a ring of fixed size for each layer. */
#include "telemetry/routing.h"

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"
#include "base/lock.h"
#include "base/status.h"

struct routing {
	uint32_t layers, experts, ranks;
	uint64_t room;    /* of a layer, in tokens */
	lock lock;        /* guards what follows */
	uint64_t *routed; /* [layers]: tokens so far */
	uint16_t *ids;    /* [layers, room, ranks]; a layer's token n lies at n % room */
};

static ufm_status check(const routing_config *c, uint64_t *room)
{
	uint64_t token_bytes = sizeof(uint16_t) * (uint64_t)c->layers * c->ranks;
	if (c->experts > ROUTING_EXPERTS_MAX)
		return status_fail(UFM_EINVAL,
		                   "routing_bytes: %" PRIu64
		                   " with %u experts a layer, expected 0: routing "
		                   "is recorded of at most %u",
		                   c->ring_bytes, c->experts, ROUTING_EXPERTS_MAX);
	if (c->ring_bytes < token_bytes)
		return status_fail(UFM_EINVAL,
		                   "routing_bytes: %" PRIu64 ", expected 0 or at least %" PRIu64
		                   ", what a token takes",
		                   c->ring_bytes, token_bytes);
	*room = c->ring_bytes / token_bytes;
	return UFM_OK;
}

ufm_status routing_open(const routing_config *config, routing **out)
{
	uint64_t room = 0;
	ufm_status status = check(config, &room);
	if (status != UFM_OK)
		return status;
	routing *r = alloc_zeroed(1, sizeof *r);
	if (!r)
		return UFM_ENOMEM;
	size_t count = (size_t)config->layers * room * config->ranks;
	r->layers = config->layers;
	r->experts = config->experts;
	r->ranks = config->ranks;
	r->room = room;
	lock_init(&r->lock, LOCK_RANK_LEAF, "routing");
	r->routed = alloc_zeroed(r->layers, sizeof *r->routed);
	r->ids = alloc_zeroed(count, sizeof *r->ids);
	if (!r->routed || !r->ids) {
		routing_close(r);
		return UFM_ENOMEM;
	}
	/* Pages that were never written would be made in the middle of a step. */
	memset(r->ids, 0xff, count * sizeof *r->ids);
	*out = r;
	return UFM_OK;
}

void routing_close(routing *r)
{
	if (!r)
		return;
	lock_destroy(&r->lock);
	alloc_free(r->ids);
	alloc_free(r->routed);
	alloc_free(r);
}

static void keep(const routing *r, uint16_t *to, const int32_t *ids, uint32_t top_k)
{
	for (uint32_t i = 0; i < top_k; i++)
		to[i] = (uint32_t)ids[i] < r->experts ? (uint16_t)ids[i] : ROUTING_NONE;
	for (uint32_t i = top_k; i < r->ranks; i++)
		to[i] = ROUTING_NONE;
}

void routing_add(routing *r, uint32_t layer, const int32_t *ids, uint32_t tokens, uint32_t top_k)
{
	if (!r)
		return;
	assert(layer < r->layers && top_k <= r->ranks);
	lock_take(&r->lock);
	uint64_t i = tokens > r->room ? tokens - r->room : 0;
	uint64_t at = (r->routed[layer] + i) % r->room;
	for (; i < tokens; i++) {
		keep(r, r->ids + (layer * r->room + at) * r->ranks, ids + i * top_k, top_k);
		at = at + 1 < r->room ? at + 1 : 0;
	}
	r->routed[layer] += tokens;
	lock_drop(&r->lock);
}

/* ---- the table */

/* Numbers [first, end) are known of every layer that has routed, and some layer has routed `most`. */
typedef struct span {
	uint64_t first, end, most;
} span;

static span known(const routing *r)
{
	span s = {.end = UINT64_MAX};
	for (uint32_t i = 0; i < r->layers; i++) {
		uint64_t routed = r->routed[i], gone = routed > r->room ? routed - r->room : 0;
		if (!routed)
			continue;
		s.first = gone > s.first ? gone : s.first;
		s.end = routed < s.end ? routed : s.end;
		s.most = routed > s.most ? routed : s.most;
	}
	if (!s.most)
		s.end = 0;
	return s;
}

/* Whole rounds of all sequences. */
static span known_rounds(const routing *r, uint32_t sequences)
{
	span s = known(r);
	s.first = (s.first + sequences - 1) / sequences * sequences;
	s.end = s.end / sequences * sequences;
	if (s.end < s.first)
		s.end = s.first;
	return s;
}

static bool is_among(const uint16_t *ids, uint32_t count, uint16_t id)
{
	for (uint32_t i = 0; i < count; i++) {
		if (ids[i] == id)
			return true;
	}
	return false;
}

static void copy_event(const routing *r, const uint16_t *from, uint16_t *to)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < r->ranks; i++) {
		if (from[i] != ROUTING_NONE && !is_among(to, count, from[i]))
			to[count++] = from[i];
	}
	while (count < r->ranks)
		to[count++] = ROUTING_NONE;
}

static bool has_routed(const routing *r, uint32_t layer)
{
	return r->routed[layer] != 0;
}

static void copy_token(const routing *r, uint64_t number, uint16_t *to)
{
	for (uint32_t i = 0; i < r->layers; i++, to += r->ranks) {
		if (has_routed(r, i))
			copy_event(r, r->ids + (i * r->room + number % r->room) * r->ranks, to);
		else
			memset(to, 0xff, r->ranks * sizeof *to);
	}
}

static ufm_status copy_span(routing *r, const span *s, uint32_t sequences, routing_table *t)
{
	uint64_t tokens = s->end - s->first, stride = (uint64_t)r->layers * r->ranks;
	*t = (routing_table){
		.info = {.tokens = tokens,
	             .dropped_tokens = s->first < s->most ? s->first : s->most,
	             .partial_tokens = s->most > s->end ? s->most - s->end : 0},
		.layers = r->layers,
		.experts = r->experts,
		.ranks = r->ranks,
		.sequence_tokens = tokens / sequences,
		.ids = alloc_zeroed(tokens * stride, sizeof *t->ids),
	};
	if (!t->ids)
		return UFM_ENOMEM;
	for (uint64_t i = 0; i < tokens; i++) {
		uint64_t row = i % sequences * t->sequence_tokens + i / sequences;
		copy_token(r, s->first + i, t->ids + row * stride);
	}
	return UFM_OK;
}

ufm_status routing_copy(routing *r, uint32_t sequences, routing_table *out)
{
	assert(sequences >= 1);
	lock_take(&r->lock);
	span s = known_rounds(r, sequences);
	ufm_status status = copy_span(r, &s, sequences, out);
	lock_drop(&r->lock);
	return status;
}

void routing_table_close(routing_table *table)
{
	alloc_free(table->ids);
	*table = (routing_table){0};
}

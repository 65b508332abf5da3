/* SPDX-License-Identifier: MIT */
/*
 * A table whose events come one by one, before its width is known: complete tokens are kept as they came,
 * 2 bytes a use and 2 an event, and spread into the table at the end.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "trace/trace_int.h"

#define CHUNK_NUMBERS 16384u
/* Rows are as wide as the longest event, so one long event among short ones could ask for any size. */
#define TABLE_BYTES_A_USE 12u
#define TABLE_BYTES_FREE ((uint64_t)1 << 20)

struct table_chunk {
	table_chunk *next;
	uint32_t count;
	uint16_t numbers[CHUNK_NUMBERS];
};

ufm_status table_open(table_builder *b)
{
	memset(b, 0, sizeof *b);
	b->index = alloc_zeroed(LAYERS_MAX, sizeof *b->index);
	return b->index && number_set_open(&b->present, LAYERS_MAX) ? UFM_OK : UFM_ENOMEM;
}

static void drop_first_chunk(table_builder *b)
{
	table_chunk *chunk = b->first_chunk;
	b->first_chunk = chunk->next;
	alloc_free(chunk);
}

void table_close(table_builder *b)
{
	number_set_close(&b->present);
	alloc_free(b->index);
	alloc_free(b->events);
	alloc_free(b->ids);
	while (b->first_chunk)
		drop_first_chunk(b);
	memset(b, 0, sizeof *b);
}

/* ---- the current token */

static ufm_status check_layer(table_builder *b, uint32_t layer)
{
	bool known = b->layers == 0 ||
	             (b->index[layer] < b->layers && b->events[b->index[layer]].number == layer);
	if (!known)
		return status_fail(UFM_EFORMAT,
		                   "found layer %" PRIu32 ", expected one of the %" PRIu32
		                   " that the first token has",
		                   layer, b->layers);
	if (!number_set_add(&b->present, layer))
		return status_fail(
			UFM_EFORMAT, "found layer %" PRIu32 " twice for one token, expected each once", layer);
	return UFM_OK;
}

/* The first token's events come in any order; later ones have their place. */
static table_event *event_of(table_builder *b, uint32_t layer)
{
	table_event *events;
	if (b->layers) {
		b->events_count++;
		return &b->events[b->index[layer]];
	}
	events = alloc_grow(b->events, b->events_count, &b->events_room, sizeof *events);
	if (!events)
		return NULL;
	b->events = events;
	return &events[b->events_count++];
}

static bool keep_ids(table_builder *b, const uint16_t *ids, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		uint16_t *grown = alloc_grow(b->ids, b->ids_count, &b->ids_room, sizeof *grown);
		if (!grown)
			return false;
		b->ids = grown;
		grown[b->ids_count++] = ids[i];
	}
	return true;
}

ufm_status table_add(table_builder *b, uint32_t layer, const uint16_t *ids, uint32_t count)
{
	table_event *event;
	ufm_status status = check_layer(b, layer);
	if (status)
		return status;
	event = event_of(b, layer);
	if (!event)
		return UFM_ENOMEM;
	*event = (table_event){.number = layer, .first = b->ids_count, .count = count};
	return keep_ids(b, ids, count) ? UFM_OK : UFM_ENOMEM;
}

static int compare_layers(const void *a, const void *b)
{
	uint32_t left = ((const table_event *)a)->number, right = ((const table_event *)b)->number;
	return left < right ? -1 : left > right;
}

/* The first token says which layers there are. */
static void learn_layers(table_builder *b)
{
	qsort(b->events, b->events_count, sizeof *b->events, compare_layers);
	b->layers = b->events_count;
	for (uint32_t i = 0; i < b->layers; i++)
		b->index[b->events[i].number] = i;
}

static ufm_status check_complete(const table_builder *b)
{
	for (uint32_t i = 0; i < b->layers; i++) {
		if (!number_set_has(&b->present, b->events[i].number))
			return status_fail(UFM_EFORMAT,
			                   "the token before has no layer %" PRIu32 ", expected all %" PRIu32
			                   " that the first one has",
			                   b->events[i].number, b->layers);
	}
	return UFM_OK;
}

/* ---- complete tokens */

static bool push(table_builder *b, uint16_t number)
{
	table_chunk *last = b->last_chunk;
	if (!last || last->count == CHUNK_NUMBERS) {
		table_chunk *chunk = alloc_zeroed(1, sizeof *chunk);
		if (!chunk)
			return false;
		*(last ? &last->next : &b->first_chunk) = chunk;
		b->last_chunk = last = chunk;
	}
	last->numbers[last->count++] = number;
	return true;
}

static bool push_event(table_builder *b, const table_event *event)
{
	bool pushed = push(b, (uint16_t)event->count);
	for (uint32_t i = 0; pushed && i < event->count; i++)
		pushed = push(b, b->ids[event->first + i]);
	b->uses += event->count;
	if (event->count > b->ranks)
		b->ranks = event->count;
	return pushed;
}

ufm_status table_end_token(table_builder *b)
{
	ufm_status status;
	if (b->layers == 0)
		learn_layers(b);
	status = check_complete(b);
	if (status)
		return status;
	for (uint32_t i = 0; i < b->layers; i++) {
		if (!push_event(b, &b->events[i]))
			return UFM_ENOMEM;
	}
	b->tokens++;
	b->events_count = 0;
	b->ids_count = 0;
	number_set_clear(&b->present);
	return UFM_OK;
}

/* ---- the table */

typedef struct table_cursor {
	table_builder *builder;
	uint32_t at;
} table_cursor;

/* Gives back each chunk that was read. */
static uint16_t pull(table_cursor *c)
{
	if (c->at == c->builder->first_chunk->count) {
		drop_first_chunk(c->builder);
		c->at = 0;
	}
	return c->builder->first_chunk->numbers[c->at++];
}

static void spread(table_builder *b, uint16_t *ids)
{
	table_cursor cursor = {.builder = b};
	uint64_t events = b->tokens * b->layers;
	for (uint64_t event = 0; event < events; event++) {
		uint32_t count = pull(&cursor);
		for (uint32_t rank = 0; rank < b->ranks; rank++)
			*ids++ = rank < count ? pull(&cursor) : TRACE_NONE;
	}
}

/* Neither product overflows: a file has a byte for each event and use. */
static ufm_status check_size(const table_builder *b)
{
	uint64_t bytes, most = TABLE_BYTES_FREE + TABLE_BYTES_A_USE * b->uses;
	if (b->uses == 0)
		return status_fail(
			UFM_EFORMAT, "found no expert in %" PRIu64 " tokens, expected one at least", b->tokens);
	if (__builtin_mul_overflow(b->tokens * b->layers, b->ranks * sizeof(uint16_t), &bytes) ||
	    bytes > most)
		return status_fail(UFM_EFORMAT,
		                   "found %" PRIu32 " experts in one event and %" PRIu64 " in all %" PRIu64
		                   ", expected events of similar length",
		                   b->ranks, b->uses, b->tokens * b->layers);
	return UFM_OK;
}

ufm_status table_finish(table_builder *b, trace *out)
{
	ufm_status status = check_size(b);
	if (status)
		return status;
	out->ids = alloc_zeroed(b->tokens * b->layers * b->ranks, sizeof *out->ids);
	out->numbers = alloc_zeroed(b->layers, sizeof *out->numbers);
	if (!out->ids || !out->numbers)
		return UFM_ENOMEM;
	for (uint32_t i = 0; i < b->layers; i++)
		out->numbers[i] = b->events[i].number;
	spread(b, out->ids);
	out->tokens = b->tokens;
	out->layers = b->layers;
	out->ranks = b->ranks;
	return UFM_OK;
}

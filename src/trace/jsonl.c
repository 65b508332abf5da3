/* SPDX-License-Identifier: MIT */
/* Traces out of JSON lines: one object a token and layer. docs/formats.md has the rules. */
#include "base/json_pull.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "base/status.h"
#include "trace/trace_int.h"

/* Which members an object had; a bit each. */
enum { HAS_LAYER = 1, HAS_TOKEN = 2, HAS_EXPERTS = 4, HAS_WEIGHTS = 8, HAS_SEQUENCE = 16 };
#define HAS_ALL (HAS_LAYER | HAS_TOKEN | HAS_EXPERTS)

typedef struct object {
	unsigned has;
	uint64_t layer, token;
	uint64_t sequence; /* hash of its name */
	uint32_t weights;
	uint32_t experts;
} object;

typedef struct sequence {
	uint64_t name; /* hash */
	uint64_t line; /* where it begins */
} sequence;

typedef struct reader {
	line_reader lines;
	member_check members;
	uint16_t *ids; /* of the object */
	uint32_t ids_room;
	table_builder table;
	uint64_t token; /* the current one's number */
	start_list starts;
	sequence *sequences; /* one for each start */
	uint32_t sequences_room;
	bool named; /* objects have `sequence` */
} reader;

/* ---- one object */

static ufm_status take_expert(reader *r, uint64_t id, object *o)
{
	uint16_t *ids;
	ufm_status status;
	if (id > INT64_MAX)
		return status_fail(UFM_EFORMAT, "found expert id %" PRIu64 ", expected 0 to %" PRIu32, id,
		                   r->members.limit - 1);
	status = member_check_take(&r->members, (int64_t)id);
	if (status)
		return status;
	ids = alloc_grow(r->ids, o->experts, &r->ids_room, sizeof *ids);
	if (!ids)
		return UFM_ENOMEM;
	r->ids = ids;
	ids[o->experts++] = (uint16_t)id;
	return UFM_OK;
}

static void read_experts(reader *r, json_pull *json, object *o)
{
	uint64_t id;
	if (!json_pull_array(json))
		return;
	member_check_event(&r->members);
	while (json_pull_next_item(json) && json_pull_u64(json, &id)) {
		ufm_status status = take_expert(r, id, o);
		if (status)
			json_pull_stop(json, status);
	}
}

/* Read for their check alone: the order of the experts says what a replay needs. */
static void read_weights(json_pull *json, object *o)
{
	double weight;
	if (!json_pull_array(json))
		return;
	while (json_pull_next_item(json) && json_pull_double(json, &weight)) {
		if (!isfinite(weight))
			json_pull_stop(json, status_fail(UFM_EFORMAT,
			                                 "found an infinite weight, expected finite numbers"));
		o->weights++;
	}
}

/* A text or a whole number; 1 and "1" are two names. */
static void read_sequence(json_pull *json, object *o)
{
	const char *text;
	uint64_t number;
	if (json_pull_peek(json) == JSON_PULL_STRING) {
		if (json_pull_string(json, &text))
			o->sequence = hash_bytes(HASH_SEED, text, strlen(text) + 1);
	} else if (json_pull_u64(json, &number)) {
		o->sequence = hash_bytes(HASH_SEED + 1, &number, sizeof number);
	}
}

static void read_member(reader *r, json_pull *json, const char *key, object *o)
{
	if (strcmp(key, "layer") == 0) {
		o->has |= HAS_LAYER;
		json_pull_u64(json, &o->layer);
	} else if (strcmp(key, "token") == 0) {
		o->has |= HAS_TOKEN;
		json_pull_u64(json, &o->token);
	} else if (strcmp(key, "experts") == 0) {
		o->has |= HAS_EXPERTS;
		read_experts(r, json, o);
	} else if (strcmp(key, "weights") == 0) {
		o->has |= HAS_WEIGHTS;
		read_weights(json, o);
	} else if (strcmp(key, "sequence") == 0) {
		o->has |= HAS_SEQUENCE;
		read_sequence(json, o);
	} else {
		json_pull_skip(json);
	}
}

static ufm_status check_object(const object *o)
{
	const char *missing = o->has & HAS_LAYER ? o->has & HAS_TOKEN ? "experts" : "token" : "layer";
	if ((o->has & HAS_ALL) != HAS_ALL)
		return status_fail(
			UFM_EFORMAT, "the object has no \"%s\", expected \"layer\", \"token\" and \"experts\"",
			missing);
	if (o->layer >= LAYERS_MAX)
		return status_fail(UFM_EFORMAT, "found layer %" PRIu64 ", expected less than %u", o->layer,
		                   LAYERS_MAX);
	if (o->has & HAS_WEIGHTS && o->weights != o->experts)
		return status_fail(UFM_EFORMAT,
		                   "found %" PRIu32 " weights for %" PRIu32 " experts, expected one each",
		                   o->weights, o->experts);
	return UFM_OK;
}

static ufm_status read_object(reader *r, char *text, size_t size, object *o)
{
	json_pull json;
	const char *key;
	ufm_status status;
	*o = (object){0};
	json_pull_begin(&json, text, size);
	if (json_pull_object(&json))
		while (json_pull_next_key(&json, &key))
			read_member(r, &json, key, o);
	status = json_pull_end(&json);
	return status ? status : check_object(o);
}

/* ---- objects into tokens and sequences */

static ufm_status begin_sequence(reader *r, const object *o)
{
	sequence *sequences =
		alloc_grow(r->sequences, r->starts.count, &r->sequences_room, sizeof *sequences);
	if (!sequences)
		return UFM_ENOMEM;
	r->sequences = sequences;
	sequences[r->starts.count] = (sequence){o->sequence, r->lines.number};
	r->named = (o->has & HAS_SEQUENCE) != 0;
	return start_list_add(&r->starts, r->table.tokens);
}

/* Ends the token and the sequence before, where the object begins one. */
static ufm_status follow(reader *r, const object *o)
{
	bool first = r->starts.count == 0, another;
	ufm_status status;
	if (!first && r->named != ((o->has & HAS_SEQUENCE) != 0))
		return status_fail(UFM_EFORMAT, "%s \"sequence\", expected it in all objects or in none",
		                   r->named ? "the object has no" : "found");
	another = !first && r->sequences[r->starts.count - 1].name != o->sequence;
	if (!first && !another && o->token == r->token)
		return UFM_OK;
	if (!first && !another && (o->token <= r->token || o->token - r->token != 1))
		return status_fail(
			UFM_EFORMAT,
			"found token %" PRIu64 " after %" PRIu64 ", expected the same or the next one%s",
			o->token, r->token, r->named ? "" : " (sequences are told apart by \"sequence\")");
	status = first ? UFM_OK : table_end_token(&r->table);
	if (!status && (first || another))
		status = begin_sequence(r, o);
	r->token = o->token;
	return status;
}

static bool is_blank(const char *text, size_t size)
{
	while (size && strchr(" \t\r", text[size - 1]) && text[size - 1])
		size--;
	return size == 0;
}

static ufm_status take_line(reader *r, char *text, size_t size)
{
	object o;
	ufm_status status;
	if (is_blank(text, size))
		return UFM_OK;
	status = read_object(r, text, size, &o);
	if (!status)
		status = follow(r, &o);
	if (!status)
		status = table_add(&r->table, (uint32_t)o.layer, r->ids, o.experts);
	return status == UFM_EFORMAT ? status_prefix(status, "line %" PRIu64, r->lines.number) : status;
}

static ufm_status read_lines(reader *r)
{
	char *text;
	size_t size;
	for (;;) {
		ufm_status status = line_reader_next(&r->lines, &text, &size);
		if (status || !text)
			return status;
		status = take_line(r, text, size);
		if (status)
			return status;
	}
}

/* ---- the end of the file */

static ufm_status end_last_token(reader *r)
{
	ufm_status status;
	if (r->starts.count == 0)
		return status_fail(UFM_EFORMAT, "found no object, expected one a token and layer");
	status = table_end_token(&r->table);
	return status == UFM_EFORMAT ? status_prefix(status, "end of the file") : status;
}

static int compare_sequences(const void *a, const void *b)
{
	const sequence *x = a, *y = b;
	if (x->name != y->name)
		return x->name < y->name ? -1 : 1;
	return x->line < y->line ? -1 : x->line > y->line;
}

/* A sequence that goes on after another one is no sequence of tokens that follow each other. */
static ufm_status check_sequences(reader *r)
{
	sequence *s = r->sequences;
	qsort(s, r->starts.count, sizeof *s, compare_sequences);
	for (uint32_t i = 1; i < r->starts.count; i++) {
		if (s[i].name == s[i - 1].name)
			return status_fail(UFM_EFORMAT,
			                   "line %" PRIu64 ": found the sequence of line %" PRIu64
			                   " again, expected all of its tokens together",
			                   s[i].line, s[i - 1].line);
	}
	return UFM_OK;
}

static ufm_status finish(reader *r, trace *out)
{
	trace t = {0};
	ufm_status status = end_last_token(r);
	if (!status)
		status = check_sequences(r);
	if (!status)
		status = table_finish(&r->table, &t);
	if (!status && r->named)
		status = start_list_add(&r->starts, t.tokens);
	if (status) {
		trace_close(&t);
		return status;
	}
	t.experts = r->members.experts;
	if (r->named) {
		t.sequences = r->starts.count - 1;
		t.starts = r->starts.starts;
		r->starts.starts = NULL;
	}
	*out = t;
	return UFM_OK;
}

ufm_status trace_read_jsonl(int fd, uint32_t experts, trace *out)
{
	reader r = {0};
	ufm_status status;
	line_reader_begin(&r.lines, fd);
	status = member_check_open(&r.members, experts);
	if (!status)
		status = table_open(&r.table);
	if (!status)
		status = read_lines(&r);
	if (!status)
		status = finish(&r, out);
	line_reader_close(&r.lines);
	member_check_close(&r.members);
	table_close(&r.table);
	alloc_free(r.ids);
	alloc_free(r.starts.starts);
	alloc_free(r.sequences);
	return status;
}

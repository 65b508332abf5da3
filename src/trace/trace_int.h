/* SPDX-License-Identifier: MIT */
/* Between the files that read traces. Lines of failures name the place; trace_read adds the path. */
#ifndef UFM_TRACE_TRACE_INT_H
#define UFM_TRACE_TRACE_INT_H

#include <stdbool.h>

#include "trace/trace.h"

/* ---- which numbers were seen since the last `number_set_clear`, in constant time */
typedef struct number_set {
	uint32_t *stamp; /* [size] */
	uint32_t now, size;
} number_set;
bool number_set_open(number_set *s, uint32_t size); /* false: UFM_ENOMEM */
void number_set_close(number_set *s);
void number_set_clear(number_set *s);

static inline bool number_set_has(const number_set *s, uint32_t number)
{
	return s->stamp[number] == s->now;
}

/* False when it was there. */
static inline bool number_set_add(number_set *s, uint32_t number)
{
	bool added = s->stamp[number] != s->now;
	s->stamp[number] = s->now;
	return added;
}

/* ---- members of one event after the other: in range, and pairwise different */
typedef struct member_check {
	number_set seen;
	uint32_t limit;   /* ids are below */
	uint32_t experts; /* one more than the largest id so far */
} member_check;
/* experts 0: as many as a trace can have. */
ufm_status member_check_open(member_check *m, uint32_t experts);
void member_check_close(member_check *m);
/* What is wrong with an id. */
ufm_status member_check_refuse(const member_check *m, int64_t id);

static inline void member_check_event(member_check *m)
{
	number_set_clear(&m->seen);
}

static inline ufm_status member_check_take(member_check *m, int64_t id)
{
	if (id < 0 || id >= m->limit || !number_set_add(&m->seen, (uint32_t)id))
		return member_check_refuse(m, id);
	if ((uint32_t)id >= m->experts)
		m->experts = (uint32_t)id + 1;
	return UFM_OK;
}

/* ---- a file by lines, of which only one is held */
#define LINE_BYTES_MAX ((size_t)4 << 20)
typedef struct line_reader {
	int fd;
	char *buffer;
	size_t room, begin, end; /* the bytes begin … end are read and not yet given out */
	uint64_t offset_bytes;   /* of what is read next */
	uint64_t number;         /* of the line given out last, from 1 */
	bool ended;
} line_reader;
void line_reader_begin(line_reader *r, int fd);
/* The next line without its newline, writable, until the next call; *text is NULL at the end. */
ufm_status line_reader_next(line_reader *r, char **text, size_t *size_bytes);
void line_reader_close(line_reader *r);

/* ---- first tokens of sequences, growing */
#define SEQUENCES_MAX ((uint32_t)1 << 31)
typedef struct start_list {
	uint64_t *starts;
	uint32_t count, room;
} start_list;
ufm_status start_list_add(start_list *l, uint64_t token);

/* ---- a table whose events come one by one (table.c) */
#define LAYERS_MAX 4096u
typedef struct table_event {
	uint32_t number; /* of the layer, as the file calls it */
	uint32_t first, count;
} table_event;
typedef struct table_chunk table_chunk;
typedef struct table_builder {
	number_set present;  /* layers of the current token */
	uint32_t *index;     /* [LAYERS_MAX]; by a layer's number */
	uint32_t layers;     /* 0: the first token is not complete yet */
	table_event *events; /* of the current token; once the layers are known, in their order */
	uint32_t events_count, events_room;
	uint16_t *ids; /* of the current token's events */
	uint32_t ids_count, ids_room;
	table_chunk *first_chunk, *last_chunk; /* complete tokens: each event's count, then its ids */
	uint64_t tokens, uses;
	uint32_t ranks;
} table_builder;
ufm_status table_open(table_builder *b);
void table_close(table_builder *b);
/* One event of the current token; the layer must be new in it and known to the first token. */
ufm_status table_add(table_builder *b, uint32_t layer, const uint16_t *ids, uint32_t count);
/* The current token is complete: every layer must be there. */
ufm_status table_end_token(table_builder *b);
/* Sets ids, tokens, layers and ranks of the trace; the builder is used up. */
ufm_status table_finish(table_builder *b, trace *out);

/* ---- the formats. `experts` as in trace_source. */
ufm_status trace_read_npy(const char *path, uint32_t experts, trace *out);
/* Sets `starts` too where the file names sequences. */
ufm_status trace_read_jsonl(int fd, uint32_t experts, trace *out);
/* [sequences + 1]; the sequences cover `tokens`. */
ufm_status trace_read_sequences(int fd, uint64_t tokens, uint64_t **starts, uint32_t *sequences);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Routing decisions of sequences of tokens: read from a file, or made by a synthetic router.
 *
 * A trace is a table of expert ids by token, layer and rank; rank 0 has the largest weight. The tokens of
 * one sequence follow each other, and so do the sequences. The members of one (token, layer) are pairwise
 * different; fewer than `ranks` of them end with TRACE_NONE.
 */
#ifndef UFM_TRACE_TRACE_H
#define UFM_TRACE_TRACE_H

#include <stdint.h>
#include <ufm/ufm.h>

#define TRACE_NONE UINT16_MAX
#define TRACE_EXPERTS_MAX 65535u /* ids are below */

typedef struct trace {
	uint64_t tokens;
	uint32_t layers, ranks; /* ranks: most members of an event */
	uint32_t experts;       /* of a layer; every id is below */
	uint32_t sequences;     /* >= 1 */
	uint16_t *ids;          /* [tokens, layers, ranks] */
	uint64_t *starts;       /* [sequences + 1]; each one's first token; the last is `tokens` */
	uint32_t *numbers;      /* [layers]: as the file calls them, ascending; NULL: from 0 */
} trace;

typedef struct trace_source {
	const char *path; /* NAME.npy: u8, u16 or i32 ids [token, layer, rank]; NAME.jsonl: one object a
	                     token and layer, {"layer", "token", "experts"[, "weights"][, "sequence"]} */
	const char
		*sequences_path; /* CSV with a header that names `start` and maybe `n_tokens`; NULL: one
	                               sequence, or those that a .jsonl names */
	uint32_t experts;    /* 0: one more than the largest id */
} trace_source;

/* UFM_EFILE, UFM_EFORMAT (names the file, the place in it and what was expected), UFM_ENOMEM. On failure
 * *out is zeroed. */
ufm_status trace_read(const trace_source *source, trace *out);
void trace_close(trace *t); /* zeroes *t; a zeroed one is allowed */

static inline uint32_t trace_layer_number(const trace *t, uint32_t layer)
{
	return t->numbers ? t->numbers[layer] : layer;
}

static inline const uint16_t *trace_event(const trace *t, uint64_t token, uint32_t layer)
{
	return t->ids + (token * t->layers + layer) * t->ranks;
}

/* -1: the event has no member of this rank. */
static inline int32_t trace_id(const uint16_t *event, uint32_t rank)
{
	return event[rank] == TRACE_NONE ? -1 : event[rank];
}

/* Where token p of an endless stream over `count` items lies: each pass begins one item later. */
static inline uint64_t trace_index(uint64_t p, uint64_t count)
{
	return (p + p / count) % count;
}

/* The same of `sequences` that lie apart: each begins as far into the stream as its number says. Fewer than two
 * are one stream. */
static inline uint64_t trace_item(uint64_t p, uint32_t sequences, uint64_t count)
{
	if (sequences < 2)
		return trace_index(p, count);
	return trace_index(p % sequences * count / sequences + p / sequences, count);
}

#endif

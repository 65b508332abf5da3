/* SPDX-License-Identifier: MIT */
/* Between the files of the workload. */
#ifndef CLI_BENCH_WORKLOAD_INT_H
#define CLI_BENCH_WORKLOAD_INT_H

#include "cli/bench/workload.h"
#include "trace/sticky.h"
#include "trace/trace.h"

typedef enum workload_kind {
	WORKLOAD_TEXT,
	WORKLOAD_UNIFORM,
	WORKLOAD_ZIPF,
	WORKLOAD_TRACE,
	WORKLOAD_STICKY,
} workload_kind;

typedef struct workload_spec {
	workload_kind kind;
	const char *path;     /* text, trace */
	double exponent;      /* zipf */
	sticky_config sticky; /* a preset's shape, or zeros */
} workload_spec;
ufm_status workload_parse_spec(const char *text, workload_spec *out);

/* Words and punctuation marks of a text as 64-bit hashes. */
typedef struct token_list {
	uint64_t *tokens;
	uint64_t count;
} token_list;
ufm_status text_open(const char *path, token_list *out);
void text_close(token_list *list);

/* Ranks drawn by Zipf's law. */
#define ZIPF_WORDS 32768u
typedef struct zipf {
	double *cumulative; /* [ZIPF_WORDS], the last is 1 */
} zipf;
ufm_status zipf_open(double exponent, zipf *out);
void zipf_close(zipf *z);
uint32_t zipf_word(const zipf *z, double unit);

struct workload {
	workload_config config;
	workload_spec spec;
	token_list text;
	zipf zipf;
	trace trace;
	float *x;
	int32_t *ids; /* of trace and sticky: one layer's after the other */
	float *gates;
};

/* Does this trace suit the sweep? Names the file and what does not fit. */
ufm_status workload_check_trace(const trace *t, const char *path, const workload_config *config);

/* Makes the hidden state x of the token at position p one that the workload's routers know. */
void workload_mark(const workload *w, float *x, uint64_t p);

/* The experts that a layer's event of the token at position p names. */
static inline const uint16_t *workload_event(const workload *w, uint64_t p, uint32_t layer)
{
	uint64_t token = trace_item(p, w->config.sequences, w->trace.tokens);
	return trace_event(&w->trace, token, layer);
}

#endif

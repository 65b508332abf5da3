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

/* Does this trace suit the sweep? Names the file and what does not fit. */
ufm_status workload_check_trace(const trace *t, const char *path, const workload_config *config);

/* PRESET or OVERLAP,SKEW,DRIFT. */
ufm_status workload_parse_sticky(const char *text, sticky_config *out);
/* A trace of the run's layers and top_k over so many experts. */
ufm_status workload_make_sticky(const workload_config *config, const sticky_config *router,
                                uint32_t experts, trace *out);

/* Where token p of an endless stream over `count` items lies: each pass begins one item later. */
static inline uint64_t workload_index(uint64_t p, uint64_t count)
{
	return (p + p / count) % count;
}

/* The same of `sequences` that lie apart: each begins as far into the stream as its number says. Fewer than two
 * are one stream. */
static inline uint64_t workload_item(uint64_t p, uint32_t sequences, uint64_t count)
{
	if (sequences < 2)
		return workload_index(p, count);
	return workload_index(p % sequences * count / sequences + p / sequences, count);
}

#endif

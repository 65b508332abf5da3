/* SPDX-License-Identifier: MIT */
/*
 * A synthetic router calibrated to recorded ones (docs/bench.md says how well).
 *
 * The score of an expert for a token is its popularity, the same in all sequences (skew times a Gaussian
 * number), plus the sequence's preference (another one), plus the token's own taste; the best top_k are
 * chosen, largest first. A preference lasts t tokens with probability (1 + t)^-drift and is then drawn
 * anew, so some change soon and some hardly ever. Tastes of tokens that follow each other are correlated by
 * `echo`; how large they are beside the rest is found by measuring, so that the overlap is what was asked.
 */
#ifndef UFM_TRACE_STICKY_H
#define UFM_TRACE_STICKY_H

#include <stdbool.h>

#include "trace/trace.h"

typedef struct sticky_config {
	uint64_t seed;
	uint64_t tokens;
	uint32_t
		sequences; /* >= 1, of about equal length; each has preferences of its own beside common ones */
	uint32_t layers, experts, top_k;
	double overlap; /* 0 … 1: mean share of a token's set that the token before it chose, too */
	double skew;    /* 0 … 10; 0: all experts alike popular; larger: fewer carry more */
	double drift;   /* 0 … 1: how fast a sequence's preferences change */
	double echo;    /* 0 … 0.99: how alike the tastes of a token and the one before it are */
	double
		spread; /* 0 … 1: layers' overlaps lie between overlap - spread and overlap + spread, as far as
	                   there are such */
} sticky_config;

/* UFM_EINVAL names the field; an overlap that these experts, top_k, skew, drift and echo cannot have is
 * refused with the ones that they can. UFM_ENOMEM. Same config, same trace, on one machine. On
 * failure *out is zeroed. */
ufm_status trace_sticky(const sticky_config *config, trace *out);

/* Shape, overlap, skew, drift, echo and spread of a recorded or published router; seed 0 and the number of
 * tokens and sequences that its figures are of. False for an unknown name. */
#define STICKY_PRESETS "gpt-oss-20b, olmoe-1b-7b, qwen3-30b-a3b or 512-top-10"
bool sticky_preset(const char *name, sticky_config *out);
/* index from 0; NULL past the end. */
const char *sticky_preset_name(uint32_t index);

#endif

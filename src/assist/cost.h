/* SPDX-License-Identifier: MIT */
/* What an expert costs the pool, by its number of tokens, learned from what it cost before. No model
 * of memory and arithmetic: a table of times, so that it fits whatever kernels and machine do. */
#ifndef UFM_ASSIST_COST_H
#define UFM_ASSIST_COST_H

#include <stdint.h>

#define COST_BUCKETS 32u /* two an octave of tokens */

typedef struct assist_cost {
	double ns[COST_BUCKETS]; /* 0: never seen */
} assist_cost;

/* An expert with so many tokens (>= 1) took so long. */
void cost_learn(assist_cost *c, uint32_t tokens, uint64_t spent_ns);
/* What the next one will take, at least 1. For a number of tokens never seen: as the nearest smaller
 * that was, or else the nearest larger. Underestimates correct themselves, because the expert is then
 * measured. */
uint64_t cost_of(const assist_cost *c, uint32_t tokens);
/* Nothing was given to the pool although something could have been: every time is taken for a little
 * less, so that one bad measurement does not shut the path for ever. */
void cost_doubt(assist_cost *c);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What a prefetcher could know before a layer's router has spoken: guesses, and how many of them were right.
 * It guesses before each event of a replay and learns from it.
 */
#ifndef UFM_REPLAY_PREDICT_H
#define UFM_REPLAY_PREDICT_H

#include "replay/replay.h"

typedef enum predict_kind {
	/* The layer's most demanded experts lately: counts that decay by the layer's events. */
	PREDICT_POPULARITY,
	/* Those that went with the members of the event before, the layer before in the same step (for the first
	 * layer the last one of the step before): the sum over these members of how often the expert followed. */
	PREDICT_COACTIVATION,
} predict_kind;

#define PREDICT_GUESSES_MAX 64u

typedef struct predict_count {
	uint64_t uses, guessed; /* guessed: of all uses those among the first guesses of all experts */
	uint64_t misses,
		fetched; /* fetched: of what missed those among the first guesses of what is not resident */
	uint64_t guesses; /* made of what is not resident, which is what would be copied */
} predict_count;

typedef struct predictor predictor;

/* guesses: how many a guess has, 1 … PREDICT_GUESSES_MAX, count of them at most PREDICT_GUESSES_MAX.
 * UFM_EINVAL, UFM_ENOMEM. */
ufm_status predictor_open(predict_kind kind, const trace *t, const uint32_t *guesses,
                          uint32_t count, predictor **out);
void predictor_close(predictor *p); /* NULL is allowed */

/* For replay_config.observer. */
replay_observer predictor_observer(predictor *p);
/* Of the index-th number of guesses, so far. */
predict_count predictor_count(const predictor *p, uint32_t index);

#endif

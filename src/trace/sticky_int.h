/* SPDX-License-Identifier: MIT */
/* One layer of the synthetic router. */
#ifndef UFM_TRACE_STICKY_INT_H
#define UFM_TRACE_STICKY_INT_H

#include "base/rng.h"
#include "trace/sticky.h"

typedef struct sticky_layer {
	const sticky_config *config;
	rng rng;
	float taste_size, echo, fresh; /* fresh: what echo leaves of a taste's variance, as a factor */
	float *popularity, *preference, *taste, *score; /* [experts] */
	uint64_t *until; /* [experts]; the token that has another preference */
} sticky_layer;
ufm_status sticky_layer_open(sticky_layer *l, const sticky_config *config);
void sticky_layer_close(sticky_layer *l);
/* Another layer, before its first sequence. */
void sticky_layer_begin(sticky_layer *l, uint64_t seed, double taste_size);
void sticky_layer_sequence(sticky_layer *l, uint64_t token);
/* The next token's choice. */
void sticky_layer_step(sticky_layer *l, uint64_t token, uint16_t *ids);

/* How large tastes are for each overlap, measured. */
#define STICKY_POINTS 25u
typedef struct sticky_curve {
	double log_size[STICKY_POINTS], overlap[STICKY_POINTS]; /* descending */
} sticky_curve;
ufm_status sticky_curve_measure(const sticky_config *config, sticky_curve *out);
/* Clipped to what the curve has. */
double sticky_curve_size(const sticky_curve *c, double overlap);

#endif

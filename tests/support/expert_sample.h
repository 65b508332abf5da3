/* SPDX-License-Identifier: MIT */
/* One expert with random weights and inputs, and its results in float64. */
#ifndef UFM_TESTS_EXPERT_SAMPLE_H
#define UFM_TESTS_EXPERT_SAMPLE_H

#include <ufm/ufm.h>

typedef struct expert_sample {
	ufm_expert_desc desc;
	uint64_t seed;
	uint32_t tokens;
	unsigned char *block;
	float *x, *hidden, *out;
	double *hidden_ref, *out_ref;
	double *scale; /* of one token's hidden values, before cancellation */
	double hidden_scale, out_scale;
} expert_sample;

/* Results are zeros; the seed is told where they are wrong. */
void expert_sample_init(expert_sample *s, const ufm_expert_desc *desc, uint32_t tokens,
                        uint64_t seed);
void expert_sample_free(expert_sample *s);

/* Fills hidden_ref and out_ref. */
void expert_sample_reference(expert_sample *s);

/* max|y - ref| / max|ref|; of a few values, whose terms may all have cancelled, relative to `scale`. */
double expert_sample_error(const float *y, const double *ref, size_t count, double scale);

#define EXPERT_SAMPLE_TOLERANCE 1e-5

#endif

/* SPDX-License-Identifier: MIT */
/* Every activation and parameter that an expert can have, and what they mean, in float64. */
#ifndef UFM_TESTS_ARITHMETIC_H
#define UFM_TESTS_ARITHMETIC_H

#include <stdbool.h>
#include <ufm/ufm.h>

/* As the fields of ufm_expert_desc. Limits are such that sums of about 1 meet them. */
typedef struct arithmetic {
	const char *name;
	bool gated;
	ufm_activation activation;
	float act_alpha, gate_limit, activated_limit, up_limit, up_offset;
} arithmetic;

extern const arithmetic arithmetics[];
extern const size_t arithmetic_count;

/* The one with that name, which must be there. */
const arithmetic *arithmetic_named(const char *name);

/* An expert of that arithmetic; biased: every matrix has a bias. */
ufm_expert_desc arithmetic_desc(const arithmetic *a, bool biased, ufm_dtype dtype, uint32_t d_model,
                                uint32_t d_hidden);

double arithmetic_activation(ufm_activation activation, double alpha, double x);

/* The hidden value of the sums of gate and up, biases added; without a gate of up alone. */
double arithmetic_hidden(const ufm_expert_desc *desc, double gate, double up);

#endif

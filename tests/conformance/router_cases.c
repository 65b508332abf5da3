/* SPDX-License-Identifier: MIT */
/* route: scores and top-k against float64, ties, renormalisation. */
#include "conformance.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"

typedef struct router_data {
	uint32_t tokens, d_model, experts, top_k;
	uint32_t call_tokens; /* 0: tokens */
	ufm_scoring scoring;
	float *x, *weight, *gates;
	int32_t *ids;
	double *probabilities; /* of one token */
} router_data;

static void router_open(router_data *r, uint32_t tokens, uint32_t d_model, uint32_t experts,
                        uint32_t top_k)
{
	*r = (router_data){.tokens = tokens,
	                   .d_model = d_model,
	                   .experts = experts,
	                   .top_k = top_k,
	                   .scoring = UFM_SCORE_SOFTMAX};
	r->x = alloc_zeroed((size_t)tokens * d_model, 4);
	r->weight = alloc_zeroed((size_t)experts * d_model, 4);
	r->gates = alloc_zeroed((size_t)tokens * top_k, 4);
	r->ids = alloc_zeroed((size_t)tokens * top_k, 4);
	r->probabilities = alloc_zeroed(experts, sizeof(double));
	assert_true(r->x && r->weight && r->gates && r->ids && r->probabilities);
	random_f32(r->x, (size_t)tokens * d_model, 1.5f);
	random_f32(r->weight, (size_t)experts * d_model, (float)(3.0 / sqrt(d_model)));
}

static void router_close(router_data *r)
{
	alloc_free(r->x);
	alloc_free(r->weight);
	alloc_free(r->gates);
	alloc_free(r->ids);
	alloc_free(r->probabilities);
}

static void run(router_data *r, uint32_t norm_topk)
{
	size_t chosen = (size_t)r->tokens * r->top_k;
	ufm_router_args args = {
		.x = upload(r->x, (size_t)r->tokens * r->d_model * 4),
		.weight = upload(r->weight, (size_t)r->experts * r->d_model * 4),
		.tokens = r->tokens,
		.d_model = r->d_model,
		.experts = r->experts,
		.top_k = r->top_k,
		.norm_topk = norm_topk,
		.scoring = r->scoring,
		.ids = device_alloc(chosen * 4),
		.gates = device_alloc(chosen * 4),
		.logits = device_alloc((size_t)r->tokens * r->experts * 4),
		.call_tokens = r->call_tokens,
	};

	OK(the.backend->route(the.stream, &args));
	download(r->ids, args.ids, chosen * 4);
	download(r->gates, args.gates, chosen * 4);
}

static void sigmoid64(router_data *r)
{
	for (uint32_t e = 0; e < r->experts; e++)
		r->probabilities[e] = 1.0 / (1.0 + exp(-r->probabilities[e]));
}

static void scores64(router_data *r, uint32_t token)
{
	double largest = -INFINITY, sum = 0.0;

	for (uint32_t e = 0; e < r->experts; e++) {
		double logit = 0.0;
		for (uint32_t c = 0; c < r->d_model; c++)
			logit += (double)r->x[token * r->d_model + c] * (double)r->weight[e * r->d_model + c];
		r->probabilities[e] = logit;
		largest = logit > largest ? logit : largest;
	}
	if (r->scoring == UFM_SCORE_SIGMOID) {
		sigmoid64(r);
		return;
	}
	for (uint32_t e = 0; e < r->experts; e++)
		sum += r->probabilities[e] = exp(r->probabilities[e] - largest);
	for (uint32_t e = 0; e < r->experts; e++)
		r->probabilities[e] /= sum;
}

#define NEAR 1e-5

/* Distinct ids in falling order, and no expert left out that is clearly better than one chosen. */
static void check_token(router_data *r, uint32_t token, uint32_t norm_topk)
{
	const int32_t *ids = r->ids + (size_t)token * r->top_k;
	const float *gates = r->gates + (size_t)token * r->top_k;
	double sum = 0.0;

	scores64(r, token);
	for (uint32_t j = 0; j < r->top_k; j++) {
		assert_true(ids[j] >= 0 && (uint32_t)ids[j] < r->experts);
		sum += r->probabilities[ids[j]];
	}
	for (uint32_t j = 0; j < r->top_k; j++) {
		double p = r->probabilities[ids[j]] / (norm_topk ? sum : 1.0);
		if (!(fabs((double)gates[j] - p) <= NEAR))
			fail_msg("%u experts, token %u, rank %u: gate %g, expected %g, seed %llu", r->experts,
			         token, j, (double)gates[j], p, (unsigned long long)the.seed);
		assert_true(j == 0 || gates[j] <= gates[j - 1]);
	}
	double last = r->probabilities[ids[r->top_k - 1]];
	for (uint32_t j = 0; j < r->top_k; j++)
		r->probabilities[ids[j]] = r->probabilities[ids[j]] < 0.0 ? NAN : -1.0;
	for (uint32_t e = 0; e < r->experts; e++)
		assert_true(r->probabilities[e] <= last + NEAR); /* NaN: an id came twice */
}

static void check(uint32_t tokens, uint32_t d_model, uint32_t experts, uint32_t top_k)
{
	router_data r;

	router_open(&r, tokens, d_model, experts, top_k);
	for (uint32_t variant = 0; variant < 4; variant++) {
		uint32_t norm_topk = variant & 1;
		r.scoring = variant & 2 ? UFM_SCORE_SIGMOID : UFM_SCORE_SOFTMAX;
		run(&r, norm_topk);
		for (uint32_t t = 0; t < tokens; t++)
			check_token(&r, t, norm_topk);
	}
	router_close(&r);
}

static void router_shapes(void **state)
{
	(void)state;
	check(1, 1, 1, 1);
	check(3, 5, 2, 2);
	check(7, 64, 8, 2);
	check(67, 100, 96, 6);
	check(33, 257, 193, 8);
	check(2, 16, 5000, 3);
	check(1, 2048, 128, 8);
	check(9, 516, 130, 5);
	check(131, 520, 130, 5);
}

static void router_every_expert_chosen(void **state)
{
	(void)state;
	check(5, 33, 17, 17);
}

static void router_no_tokens(void **state)
{
	(void)state;
	router_data r;

	router_open(&r, 0, 8, 4, 2);
	run(&r, 0);
	router_close(&r);
}

/* Equal rows of the router give equal logits; of those the lower id comes first. */
static void router_ties(void **state)
{
	(void)state;
	router_data r;

	router_open(&r, 40, 70, 12, 12);
	for (uint32_t e = 1; e < 12; e += 2)
		memcpy(r.weight + e * 70, r.weight + (e - 1) * 70, 70 * sizeof(float));
	run(&r, 0);
	for (uint32_t t = 0; t < 40; t++) {
		for (uint32_t j = 0; j < 12; j += 2) {
			assert_int_equal(r.ids[t * 12 + j] + 1, r.ids[t * 12 + j + 1]);
			assert_int_equal(r.ids[t * 12 + j] % 2, 0);
			assert_true(r.gates[t * 12 + j] == r.gates[t * 12 + j + 1]);
		}
	}
	router_close(&r);
}

static void alone_and_together(uint32_t tokens, uint32_t d_model)
{
	router_data all, one;

	router_open(&all, tokens, d_model, 64, 4);
	router_open(&one, 1, d_model, 64, 4);
	run(&all, 1);
	memcpy(one.weight, all.weight, 64ull * d_model * 4);
	one.call_tokens = tokens;
	for (uint32_t t = 0; t < tokens; t += 7) {
		memcpy(one.x, all.x + (size_t)t * d_model, d_model * 4ull);
		run(&one, 1);
		assert_memory_equal(one.ids, all.ids + t * 4, 16);
		assert_memory_equal(one.gates, all.gates + t * 4, 16);
	}
	router_close(&all);
	router_close(&one);
}

/* A token's routing does not depend on the tokens beside it, nor on how a call is cut. */
static void router_alone_and_together(void **state)
{
	(void)state;
	alone_and_together(50, 96);
	alone_and_together(5, 97);
	alone_and_together(15, 515);
	alone_and_together(130, 64);
	alone_and_together(2100, 68);
}

/* Scores that a sigmoid rounds to 0 are shared out as 0, not as 0/0; a token beside them as ever. */
static void router_all_zero(void **state)
{
	(void)state;
	router_data r;

	router_open(&r, 3, 64, 12, 4);
	r.scoring = UFM_SCORE_SIGMOID;
	for (uint32_t i = 0; i < 12 * 64; i++)
		r.weight[i] = 1.0f + (float)(i % 7) / 8.0f;
	for (uint32_t c = 0; c < 64; c++) {
		r.x[c] = r.x[2 * 64 + c] = -100.0f;
		r.x[64 + c] = 0.001f;
	}
	run(&r, 1);
	for (uint32_t j = 0; j < 4; j++)
		assert_true(r.gates[j] == 0.0f && r.gates[2 * 4 + j] == 0.0f);
	check_token(&r, 1, 1);
	router_close(&r);
}

static const struct CMUnitTest cases[] = {
	CASE(router_shapes), CASE(router_every_expert_chosen), CASE(router_no_tokens),
	CASE(router_ties),   CASE(router_alone_and_together),  CASE(router_all_zero),
};
const case_list router_cases = CASE_LIST(cases);

/* SPDX-License-Identifier: MIT */
/* route_tokens: what gather, route and group leave one after the other, to the bit. */
#include "conformance.h"

#include <string.h>

#include "base/alloc.h"
#include "base/dtype.h"
#include "device/registry.h"

/* A call's shape, and what it leaves: ids and gates, rows of x, and rows and entries. */
typedef struct shape {
	uint32_t tokens, d_model, experts, top_k, copies; /* copies: rows of a single token */
	bool norm, grouped;
	ufm_dtype dtype;
	uint32_t stride; /* beyond d_model */
	uint32_t offset; /* elements before the first token */
} shape;

typedef struct outcome {
	ufm_devptr rows, ids, gates, row_of, row_token, entries, ids_out;
} outcome;

static uint64_t row_count(const shape *s)
{
	return s->tokens == 1 ? s->copies : s->tokens;
}

static uint64_t entry_bytes(const shape *s)
{
	uint64_t chosen = (uint64_t)s->tokens * s->top_k;

	return (chosen < s->experts ? chosen : s->experts) * sizeof(ufm_expert_rows);
}

static outcome outcome_open(const shape *s)
{
	uint64_t chosen_bytes = 4ull * s->tokens * s->top_k;

	return (outcome){.rows = device_alloc(4 * row_count(s) * s->d_model),
	                 .ids = device_alloc(chosen_bytes),
	                 .gates = device_alloc(chosen_bytes),
	                 .row_of = device_alloc(chosen_bytes),
	                 .row_token = device_alloc(chosen_bytes),
	                 .entries = device_alloc(entry_bytes(s)),
	                 .ids_out = device_alloc(chosen_bytes)};
}

static void same(ufm_devptr a, ufm_devptr b, uint64_t size_bytes, const char *what, const shape *s)
{
	uint8_t *left = alloc_zeroed(size_bytes + 1, 1), *right = alloc_zeroed(size_bytes + 1, 1);

	assert_true(left && right);
	download(left, a, size_bytes);
	download(right, b, size_bytes);
	if (memcmp(left, right, size_bytes) != 0)
		fail_msg("%s differ: %u tokens of %u, %u of %u experts, dtype %d, norm %d, group %d, seed "
		         "%llu",
		         what, s->tokens, s->d_model, s->top_k, s->experts, (int)s->dtype, s->norm,
		         s->grouped, (unsigned long long)the.seed);
	alloc_free(left);
	alloc_free(right);
}

static ufm_devptr random_tokens(const shape *s)
{
	size_t count = (size_t)s->tokens * (s->d_model + s->stride) + s->offset;
	uint64_t size_bytes = count * ufm_dtype_bytes(s->dtype);
	void *x = alloc_zeroed(count + 1, 4);

	assert_non_null(x);
	if (s->dtype == UFM_F32)
		random_f32(x, count, 1.5f);
	else
		random_bf16(x, count, 1.5f); /* some f16, too */
	ufm_devptr at = upload(x, size_bytes);
	alloc_free(x);
	return at + s->offset * ufm_dtype_bytes(s->dtype);
}

static ufm_devptr random_floats(size_t count, float scale)
{
	float *values = alloc_zeroed(count + 1, 4);

	assert_non_null(values);
	random_f32(values, count, scale);
	ufm_devptr at = upload(values, count * 4);
	alloc_free(values);
	return at;
}

static ufm_devptr some_blocks(uint32_t experts)
{
	uint64_t *blocks = alloc_zeroed(experts, 8);

	assert_non_null(blocks);
	for (uint32_t e = 0; e < experts; e++)
		blocks[e] = 0x100ull * (e + 7);
	ufm_devptr at = upload(blocks, 8ull * experts);
	alloc_free(blocks);
	return at;
}

typedef struct call {
	ufm_gather_args gather;
	ufm_router_args route;
	ufm_group_args group;
} call;

static void aim(call *c, const outcome *o)
{
	c->gather.out = c->route.x = o->rows;
	c->route.ids = c->group.ids = o->ids;
	c->route.gates = o->gates;
	c->group.row_of = o->row_of;
	c->group.row_token = o->row_token;
	c->group.entries = o->entries;
	c->group.ids_out = o->ids_out;
}

static call call_of(const shape *s)
{
	call c = {.gather = {.x = random_tokens(s),
	                     .x_stride = s->tokens == 1 ? 0 : s->d_model + s->stride,
	                     .x_dtype = s->dtype,
	                     .rows = (uint32_t)row_count(s),
	                     .d_model = s->d_model,
	                     .norm_weight = s->norm ? random_floats(s->d_model, 2.0f) : 0,
	                     .norm_eps = 1e-6f},
	          .route = {.weight = random_floats((size_t)s->experts * s->d_model, 0.2f),
	                    .tokens = s->tokens,
	                    .d_model = s->d_model,
	                    .experts = s->experts,
	                    .top_k = s->top_k,
	                    .norm_topk = s->norm,
	                    .scoring = s->grouped ? UFM_SCORE_SOFTMAX : UFM_SCORE_SIGMOID,
	                    .logits = device_alloc(4ull * s->tokens * s->experts)},
	          .group = {.tokens = s->tokens,
	                    .top_k = s->top_k,
	                    .experts = s->experts,
	                    .blocks = some_blocks(s->experts)}};
	return c;
}

static void compare(const shape *s, const outcome *a, const outcome *b)
{
	uint64_t chosen_bytes = 4ull * s->tokens * s->top_k;

	same(a->rows, b->rows, 4 * row_count(s) * s->d_model, "rows", s);
	same(a->ids, b->ids, chosen_bytes, "ids", s);
	same(a->gates, b->gates, chosen_bytes, "gates", s);
	same(a->row_of, b->row_of, chosen_bytes, "row_of", s);
	same(a->row_token, b->row_token, chosen_bytes, "row_token", s);
	same(a->entries, b->entries, entry_bytes(s), "entries", s);
	same(a->ids_out, b->ids_out, chosen_bytes, "ids_out", s);
}

static void check(shape s)
{
	memory_mark mark = memory_now();
	outcome apart = outcome_open(&s), at_once = outcome_open(&s);
	call c = call_of(&s);

	aim(&c, &apart);
	OK(the.backend->gather(the.stream, &c.gather));
	OK(the.backend->route(the.stream, &c.route));
	if (s.grouped)
		OK(the.backend->group(the.stream, &c.group));
	aim(&c, &at_once);
	OK(registry_route_tokens(the.backend, the.stream, &c.gather, &c.route,
	                         s.grouped ? &c.group : NULL));
	compare(&s, &apart, &at_once);
	memory_back_to(mark);
}

/* In every dtype, with a norm and rows of the ids, or without. */
static void check_all(uint32_t tokens, uint32_t d_model, uint32_t experts, uint32_t top_k)
{
	const ufm_dtype dtypes[] = {UFM_F32, UFM_BF16, UFM_F16};

	for (uint32_t variant = 0; variant < 4; variant++)
		for (uint32_t i = 0; i < 3; i++)
			check((shape){.tokens = tokens,
			              .d_model = d_model,
			              .experts = experts,
			              .top_k = top_k,
			              .copies = top_k,
			              .norm = variant & 1,
			              .grouped = variant & 2,
			              .dtype = dtypes[i],
			              .stride = variant * 4});
}

static void route_tokens_one(void **state)
{
	(void)state;
	check_all(1, 1, 1, 1);
	check_all(1, 70, 12, 12);
	check_all(1, 256, 256, 8);
	check_all(1, 2048, 128, 8);
	check_all(1, 2052, 193, 40);
	check_all(1, 7168, 64, 6);
}

static void route_tokens_few(void **state)
{
	(void)state;
	check_all(2, 2048, 128, 8);
	check_all(3, 130, 33, 5);
	check_all(8, 1028, 16, 2);
}

/* More than one launch holds: of tokens, of experts, of columns. */
static void route_tokens_more(void **state)
{
	(void)state;
	check_all(0, 64, 8, 2);
	check_all(9, 68, 32, 4);
	check_all(1, 16, 5000, 3);
	check_all(1, 26000, 8, 2);
}

/* A single token brought once, though it has several rows, and several times, though it has one. */
static void route_tokens_copies(void **state)
{
	(void)state;
	check((shape){1, 96, 16, 4, 1, true, true, UFM_BF16, 0, 0});
	check((shape){1, 96, 16, 1, 19, true, true, UFM_F32, 0, 0});
}

/* Tokens at addresses that no four columns begin at: what they get depends on themselves, not on where they lie. */
static void route_tokens_anywhere(void **state)
{
	(void)state;
	for (uint32_t tokens = 1; tokens <= 8; tokens += 7) {
		check((shape){tokens, 2048, 128, 8, 8, true, true, UFM_BF16, 0, 1});
		check((shape){tokens, 2048, 128, 8, 8, true, false, UFM_F32, 1, 3});
		check((shape){tokens, 4100, 31, 4, 4, false, true, UFM_F16, 3, 0});
	}
}

static void route_tokens_refused(void **state)
{
	(void)state;
	shape s = {1, 64, 8, 2, 2, true, true, UFM_F32, 0, 0};
	outcome o = outcome_open(&s);
	call c = call_of(&s);

	aim(&c, &o);
	c.gather.x = 0;
	FAILS(registry_route_tokens(the.backend, the.stream, &c.gather, &c.route, &c.group),
	      UFM_EINVAL);
	c = call_of(&s);
	aim(&c, &o);
	c.route.weight = 0;
	FAILS(registry_route_tokens(the.backend, the.stream, &c.gather, &c.route, &c.group),
	      UFM_EINVAL);
	c = call_of(&s);
	aim(&c, &o);
	c.group.entries = 0;
	FAILS(registry_route_tokens(the.backend, the.stream, &c.gather, &c.route, &c.group),
	      UFM_EINVAL);
}

static const struct CMUnitTest cases[] = {
	CASE(route_tokens_one),    CASE(route_tokens_few),      CASE(route_tokens_more),
	CASE(route_tokens_copies), CASE(route_tokens_anywhere), CASE(route_tokens_refused),
};
const case_list route_tokens_cases = CASE_LIST(cases);

/* SPDX-License-Identifier: MIT */
/* group: rows and entries against a plain reference, with ids out of range and repeated. */
#include "conformance.h"

#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"

typedef struct group_data {
	uint32_t tokens, top_k, experts, entries;
	uint64_t assignments;
	int32_t *ids, *copy, *back;
	uint64_t *blocks;
	uint32_t *row_of, *row_token, *want_row_of, *want_row_token;
	ufm_expert_rows *found, *want;
} group_data;

static void *array(uint64_t count, size_t size_bytes)
{
	void *at = alloc_zeroed(count + 1, size_bytes);

	assert_non_null(at);
	return at;
}

static void data_open(group_data *d, uint32_t tokens, uint32_t top_k, uint32_t experts)
{
	uint64_t n = (uint64_t)tokens * top_k;

	*d = (group_data){.tokens = tokens, .top_k = top_k, .experts = experts, .assignments = n};
	d->entries = n < experts ? (uint32_t)n : experts;
	d->ids = array(n, 4);
	d->back = array(n, 4);
	d->row_of = array(n, 4);
	d->row_token = array(n, 4);
	d->want_row_of = array(n, 4);
	d->want_row_token = array(n, 4);
	d->blocks = array(experts, 8);
	d->found = array(d->entries, sizeof *d->found);
	d->want = array(d->entries, sizeof *d->want);
	for (uint32_t e = 0; e < experts; e++)
		d->blocks[e] = (uint64_t)0x100 * (e + 7);
}

static void data_close(group_data *d)
{
	void *arrays[] = {d->ids,       d->back,        d->row_of,
	                  d->row_token, d->want_row_of, d->want_row_token,
	                  d->blocks,    d->found,       d->want};

	for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
		alloc_free(arrays[i]);
}

/* Expert by expert, a pass over all ids for each: nothing shared with the way a backend does it. */
static void reference(group_data *d)
{
	uint32_t row = 0, used = 0;

	for (uint64_t i = 0; i < d->assignments; i++)
		d->want_row_of[i] = UFM_ROW_NONE;
	for (uint32_t e = 0; e < d->experts; e++) {
		uint32_t first = row;
		for (uint64_t i = 0; i < d->assignments; i++) {
			if (d->ids[i] != (int32_t)e)
				continue;
			d->want_row_of[i] = row;
			d->want_row_token[row++] = (uint32_t)(i / d->top_k);
		}
		if (row != first)
			d->want[used++] = (ufm_expert_rows){d->blocks[e], first, row - first};
	}
}

static void run(group_data *d, bool with_copy)
{
	uint64_t bytes = 4 * d->assignments, entry_bytes = d->entries * sizeof *d->found;
	ufm_devptr copy_at = 0;
	int32_t *copy = host_alloc(bytes);

	OK(the.backend->host_view(the.device, copy, &copy_at));
	ufm_group_args args = {.ids = upload(d->ids, bytes),
	                       .tokens = d->tokens,
	                       .top_k = d->top_k,
	                       .experts = d->experts,
	                       .blocks = upload(d->blocks, 8ull * d->experts),
	                       .row_of = device_alloc(bytes),
	                       .row_token = device_alloc(bytes),
	                       .entries = device_alloc(entry_bytes),
	                       .ids_out = with_copy ? copy_at : 0};
	OK(the.backend->group(the.stream, &args));
	download(d->row_of, args.row_of, bytes);
	download(d->row_token, args.row_token, bytes);
	download(d->found, args.entries, entry_bytes);
	if (with_copy)
		assert_memory_equal(copy, d->ids, bytes);
	for (uint64_t i = 0; !with_copy && i < d->assignments; i++)
		assert_int_equal(copy[i], -1);
}

static void check(group_data *d)
{
	reference(d);
	for (uint32_t round = 0; round < 2; round++) {
		run(d, round == 0);
		for (uint64_t i = 0; i < d->assignments; i++) {
			if (d->row_of[i] != d->want_row_of[i] || d->row_token[i] != d->want_row_token[i])
				fail_msg("%u tokens, top %u of %u, assignment %llu: row %u of token %u, expected "
				         "%u of %u, seed %llu",
				         d->tokens, d->top_k, d->experts, (unsigned long long)i, d->row_of[i],
				         d->row_token[i], d->want_row_of[i], d->want_row_token[i],
				         (unsigned long long)the.seed);
		}
		assert_memory_equal(d->found, d->want, d->entries * sizeof *d->found);
	}
}

/* Ids at random; one in `wrong` is no expert, 0: none. */
static void check_random(uint32_t tokens, uint32_t top_k, uint32_t experts, uint32_t wrong)
{
	static const int32_t others[] = {-1, INT32_MIN, INT32_MAX, 0};
	group_data d;
	rng r;

	data_open(&d, tokens, top_k, experts);
	rng_seed(&r, rng_mix(the.seed, experts + tokens));
	for (uint64_t i = 0; i < d.assignments; i++) {
		d.ids[i] = (int32_t)rng_below(&r, experts);
		uint32_t other = (uint32_t)rng_below(&r, 4);
		if (wrong && rng_below(&r, wrong) == 0)
			d.ids[i] = other == 3 ? (int32_t)experts : others[other];
	}
	check(&d);
	data_close(&d);
}

static void group_shapes(void **state)
{
	(void)state;
	check_random(1, 1, 1, 0);
	check_random(1, 8, 128, 0);
	check_random(1, 8, 8, 0);
	check_random(3, 2, 5, 0);
	check_random(31, 1, 1, 0);
	check_random(33, 1, 2, 0);
	check_random(67, 6, 64, 0);
	check_random(257, 8, 129, 0);
	check_random(512, 8, 128, 0);
	check_random(2, 3, 3000, 0);
	check_random(613, 7, 3000, 0);
	check_random(40, 4, 20000, 0);
}

/* The order of experts is the host's. Every other id is no expert, if `holes`. */
static void check_given_order(uint32_t tokens, uint32_t top_k, uint32_t experts, bool holes)
{
	group_data d;
	rng r;
	uint32_t *first = array(experts, 4), *order = array(experts, 4), row = 0;

	data_open(&d, tokens, top_k, experts);
	rng_seed(&r, rng_mix(the.seed, experts + 3 * tokens));
	for (uint64_t i = 0; i < d.assignments; i++)
		d.ids[i] = holes && i % 2 ? -1 : (int32_t)rng_below(&r, experts);
	for (uint32_t e = 0; e < experts; e++) {
		uint32_t other = (uint32_t)rng_below(&r, e + 1);
		order[e] = order[other];
		order[other] = e;
	}
	memset(d.want_row_of, 0xff, 4 * d.assignments);
	for (uint32_t i = 0; i < experts; i++) {
		first[order[i]] = row;
		for (uint64_t j = 0; j < d.assignments; j++) {
			if (d.ids[j] != (int32_t)order[i])
				continue;
			d.want_row_of[j] = row;
			d.want_row_token[row++] = (uint32_t)(j / top_k);
		}
	}
	ufm_group_args args = {.ids = upload(d.ids, 4 * d.assignments),
	                       .tokens = tokens,
	                       .top_k = top_k,
	                       .experts = experts,
	                       .row_of = device_alloc(4 * d.assignments),
	                       .row_token = device_alloc(4 * d.assignments),
	                       .first_rows = first};
	OK(the.backend->group(the.stream, &args));
	download(d.row_of, args.row_of, 4 * d.assignments);
	download(d.row_token, args.row_token, 4 * d.assignments);
	assert_memory_equal(d.row_of, d.want_row_of, 4 * d.assignments);
	assert_memory_equal(d.row_token, d.want_row_token, 4 * d.assignments);
	alloc_free(first);
	alloc_free(order);
	data_close(&d);
}

static void group_in_a_given_order(void **state)
{
	(void)state;
	check_given_order(1, 1, 1, false);
	check_given_order(17, 8, 128, false);
	check_given_order(200, 3, 5, true);
	check_given_order(700, 8, 512, false);
	check_given_order(4099, 8, 128, true);
}

static void group_many_assignments(void **state)
{
	(void)state;
	check_random(9001, 8, 100, 50);
	check_random(70001, 2, 3, 0);
}

static void group_wrong_ids(void **state)
{
	(void)state;
	check_random(1, 3, 7, 1);
	check_random(50, 3, 7, 3);
	check_random(300, 8, 64, 9);
	check_random(5, 1, 1, 1);
}

/* One expert has all, and a token asks for it more than once. */
static void group_one_expert(void **state)
{
	(void)state;
	group_data d;

	data_open(&d, 90, 5, 40);
	for (uint64_t i = 0; i < d.assignments; i++)
		d.ids[i] = 39;
	check(&d);
	for (uint64_t i = 0; i < d.assignments; i += 2)
		d.ids[i] = 0;
	check(&d);
	data_close(&d);
}

static void group_nothing(void **state)
{
	(void)state;
	ufm_group_args args = {.tokens = 0, .top_k = 4, .experts = 3};

	OK(the.backend->group(the.stream, &args));
	OK(the.backend->stream_sync(the.stream));
}

static void group_refusals(void **state)
{
	(void)state;
	ufm_devptr data = device_alloc(256);
	ufm_group_args good = {data, 1, 2, 4, data, data, data, data, 0, NULL}, args = good;

	args.experts = 0;
	FAILS(the.backend->group(the.stream, &args), UFM_EINVAL);
	args.experts = 1u << 20;
	FAILS(the.backend->group(the.stream, &args), UFM_EINVAL);
	args = good;
	args.blocks = 0;
	FAILS(the.backend->group(the.stream, &args), UFM_EINVAL);
	args = good;
	args.tokens = UFM_GROUP_MAX;
	FAILS(the.backend->group(the.stream, &args), UFM_EINVAL);
	static const uint32_t first[UFM_FIRST_ROWS + 1];
	args = good;
	args.first_rows = first; /* entries are not made then */
	FAILS(the.backend->group(the.stream, &args), UFM_EINVAL);
	args.blocks = args.entries = 0;
	args.experts = UFM_FIRST_ROWS + 1;
	FAILS(the.backend->group(the.stream, &args), UFM_EINVAL);
}

static const struct CMUnitTest cases[] = {
	CASE(group_shapes),     CASE(group_many_assignments), CASE(group_wrong_ids),
	CASE(group_one_expert), CASE(group_nothing),          CASE(group_in_a_given_order),
	CASE(group_refusals),
};
const case_list group_cases = CASE_LIST(cases);

/* SPDX-License-Identifier: MIT */
/* adopt: a caller's ids and gates against a plain reference, of every width, sliced, repeated and wrong. */
#include "conformance.h"

#include <string.h>

#include "base/alloc.h"
#include "base/bf16.h"
#include "base/f16.h"
#include "base/rng.h"

typedef struct adopt_data {
	uint32_t tokens, top_k, experts, first_id;
	uint64_t count;
	int64_t *ids;
	float *gates, *want_gates;
	int32_t *want;
} adopt_data;

static void *array(uint64_t count, size_t size_bytes)
{
	void *at = alloc_zeroed(count + 1, size_bytes);

	assert_non_null(at);
	return at;
}

/* Few enough ids that many are repeated; some far outside, some of other slices. Gates are bf16 and f16 numbers. */
static void data_open(adopt_data *d, uint32_t tokens, uint32_t top_k, uint32_t experts,
                      uint32_t first_id)
{
	static const int64_t others[] = {-1, INT32_MIN, INT32_MAX, 0};
	rng r;

	*d = (adopt_data){tokens, top_k, experts, first_id, (uint64_t)tokens * top_k, 0, 0, 0, 0};
	d->ids = array(d->count, sizeof *d->ids);
	d->gates = array(d->count, sizeof *d->gates);
	d->want_gates = array(d->count, sizeof *d->want_gates);
	d->want = array(d->count, sizeof *d->want);
	rng_seed(&r, rng_mix(the.seed, tokens + experts + first_id));
	random_f32(d->gates, d->count, 2.0f);
	for (uint64_t i = 0; i < d->count; i++) {
		/* A number of both halves' types: 8 bits, in the range of f16. */
		d->gates[i] = bf16_to_f32(bf16_from_f32(0.5f + 0.2f * d->gates[i]));
		d->ids[i] = (int64_t)rng_below(&r, experts + first_id + 2);
		if (rng_below(&r, 7) == 0)
			d->ids[i] = others[rng_below(&r, 4)];
	}
}

static void data_close(adopt_data *d)
{
	alloc_free(d->ids);
	alloc_free(d->gates);
	alloc_free(d->want_gates);
	alloc_free(d->want);
}

static bool is_own(const adopt_data *d, int64_t id)
{
	return id >= d->first_id && id < (int64_t)d->first_id + d->experts;
}

/* Of each assignment: whether its token had the expert before, and the sum of those that have it from there on. */
static void reference(adopt_data *d)
{
	for (uint64_t i = 0; i < d->count; i++) {
		uint64_t begin = i - i % d->top_k;
		bool first = is_own(d, d->ids[i]);
		volatile float sum = d->gates[i]; /* rounded to f32 each time */
		for (uint64_t j = begin; j < i; j++)
			first = first && d->ids[j] != d->ids[i];
		for (uint64_t j = i + 1; first && j < begin + d->top_k; j++) {
			if (d->ids[j] == d->ids[i])
				sum = sum + d->gates[j];
		}
		d->want[i] = first ? (int32_t)(d->ids[i] - d->first_id) : -1;
		d->want_gates[i] = sum;
	}
}

static void run(const adopt_data *d, uint32_t id_bytes, ufm_dtype gate_dtype, bool to_host)
{
	int32_t *narrow = array(d->count, 4), *found = array(d->count, 4),
			*host = host_alloc(4 * d->count);
	uint16_t *halves = array(d->count, 2);
	float *gates = array(d->count, 4);
	ufm_devptr view = 0;

	for (uint64_t i = 0; i < d->count; i++) {
		narrow[i] = (int32_t)d->ids[i];
		halves[i] = gate_dtype == UFM_F16 ? f16_from_f32(d->gates[i]) : bf16_from_f32(d->gates[i]);
	}
	OK(the.backend->host_view(the.device, host, &view));
	bool wide = id_bytes == 8, full = gate_dtype == UFM_F32;
	ufm_adopt_args args = {
		.ids = upload(wide ? (const void *)d->ids : narrow, id_bytes * d->count),
		.id_bytes = id_bytes,
		.gates = upload(full ? (const void *)d->gates : halves, (full ? 4 : 2) * d->count),
		.gate_dtype = gate_dtype,
		.tokens = d->tokens,
		.top_k = d->top_k,
		.experts = d->experts,
		.first_id = d->first_id,
		.ids_out = to_host ? view : device_alloc(4 * d->count),
		.gates_out = device_alloc(4 * d->count)};
	OK(the.backend->adopt(the.stream, &args));
	download(gates, args.gates_out, 4 * d->count);
	if (to_host)
		memcpy(found, host, 4 * d->count);
	else
		download(found, args.ids_out, 4 * d->count);
	for (uint64_t i = 0; i < d->count; i++) {
		bool same = gates[i] == d->want_gates[i];
		if (found[i] != d->want[i] || (d->want[i] >= 0 && !same))
			fail_msg("%u tokens, top %u of %u from %u, ids of %u bytes, assignment %llu: id %d by "
			         "%g, expected %d by %g, seed %llu",
			         d->tokens, d->top_k, d->experts, d->first_id, id_bytes, (unsigned long long)i,
			         found[i], (double)gates[i], d->want[i], (double)d->want_gates[i],
			         (unsigned long long)the.seed);
	}
	alloc_free(narrow);
	alloc_free(found);
	alloc_free(halves);
	alloc_free(gates);
}

static void check(uint32_t tokens, uint32_t top_k, uint32_t experts, uint32_t first_id)
{
	adopt_data d;

	data_open(&d, tokens, top_k, experts, first_id);
	reference(&d);
	run(&d, 4, UFM_F32, false);
	run(&d, 8, UFM_BF16, true);
	run(&d, 8, UFM_F32, false);
	run(&d, 4, UFM_BF16, true);
	run(&d, 4, UFM_F16, false);
	data_close(&d);
}

static void adopt_shapes(void **state)
{
	(void)state;
	check(1, 1, 1, 0);
	check(1, 8, 128, 0);
	check(3, 5, 4, 0);
	check(16, 8, 5, 3);
	check(67, 6, 64, 64);
	check(513, 10, 40, 1000);
	check(1, 300, 7, 2);
}

static void adopt_nothing(void **state)
{
	(void)state;
	ufm_adopt_args args = {.id_bytes = 4, .gate_dtype = UFM_F32, .top_k = 4, .experts = 3};

	OK(the.backend->adopt(the.stream, &args));
	OK(the.backend->stream_sync(the.stream));
}

static void adopt_refusals(void **state)
{
	(void)state;
	ufm_devptr data = device_alloc(256);
	ufm_adopt_args good = {.ids = data,
	                       .id_bytes = 4,
	                       .gates = data,
	                       .gate_dtype = UFM_F32,
	                       .tokens = 1,
	                       .top_k = 2,
	                       .experts = 4,
	                       .ids_out = data,
	                       .gates_out = data};
	ufm_adopt_args args = good;

	args.id_bytes = 2;
	FAILS(the.backend->adopt(the.stream, &args), UFM_EINVAL);
	args = good;
	args.gate_dtype = (ufm_dtype)77;
	FAILS(the.backend->adopt(the.stream, &args), UFM_EINVAL);
	args = good;
	args.gates_out = 0;
	FAILS(the.backend->adopt(the.stream, &args), UFM_EINVAL);
	args = good;
	args.tokens = UFM_GROUP_MAX;
	FAILS(the.backend->adopt(the.stream, &args), UFM_EINVAL);
}

static const struct CMUnitTest cases[] = {
	CASE(adopt_shapes),
	CASE(adopt_nothing),
	CASE(adopt_refusals),
};
const case_list adopt_cases = CASE_LIST(cases);

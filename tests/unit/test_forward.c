/* SPDX-License-Identifier: MIT */
/* The layer level: same bits everywhere, counters that add up, and what a call may bring. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bf16.h"
#include "base/f16.h"
#include "support/assert_error.h"
#include "support/fixture.h"

#define STEPS 4

/* Runs STEPS steps and returns the hash of all outputs. */
static uint64_t run_steps(const fixture_config *c)
{
	fixture f;
	ufm_status status = fixture_open(&f, c);
	if (status != UFM_OK)
		fail_msg("open: %s", ufm_last_error());
	uint64_t hash = 0;
	for (uint64_t step = 0; step < STEPS; step++) {
		assert_int_equal(fixture_run(&f, step), UFM_OK);
		hash = hash * 31 + fixture_hash(&f);
	}
	assert_int_equal(fixture_identities(&f), 0);
	fixture_close(&f);
	return hash;
}

/* One model in every placement. */
static uint32_t compare_placements(fixture_config c)
{
	static const char *const policies[] = {"lru", "fifo", "freq", "cycle"};
	uint32_t slots[] = {2, c.top_k + 1, 7};
	uint32_t checked = 0;
	c.resident_all = 1;
	uint64_t want = run_steps(&c);
	c.resident_all = 0;
	for (uint32_t p = 0; p < 4; p++) {
		for (uint32_t s = 0; s < 3; s++) {
			c.policy = policies[p];
			c.slots_max = slots[s];
			uint64_t got = run_steps(&c);
			if (got != want)
				fail_msg("policy %s, %u slots, %u layers, dtype %d, kind %d: other bits", c.policy,
				         c.slots_max, c.layers, (int)c.dtype, (int)c.kind);
			checked++;
		}
	}
	return checked;
}

static void same_bits_for_every_placement(void **state)
{
	(void)state;
	static const ufm_expert_kind kinds[] = {UFM_EXPERT_MLP, UFM_EXPERT_MLP_BIAS, UFM_EXPERT_GATED};
	uint32_t checked = 0;
	for (uint32_t layers = 1; layers <= 3; layers += 2) {
		for (uint32_t k = 0; k < 3; k++) {
			for (int dtype = UFM_F32; dtype <= UFM_BF16; dtype++) {
				fixture_config c = {.layers = layers,
				                    .experts = 13,
				                    .kind = kinds[k],
				                    .dtype = (ufm_dtype)dtype,
				                    .top_k = 1 + k,
				                    .tokens = 9 + 10 * k,
				                    .norm_topk = k & 1,
				                    .no_residual = k == 2,
				                    .seed = 11 * layers + k};
				checked += compare_placements(c);
			}
		}
	}
	assert_true(checked >= 24);
}

/* A call longer than the workspace: other pieces, same bits, and the bank is swept once. */
static void same_bits_for_every_workspace(void **state)
{
	(void)state;
	fixture_config c = {.experts = 9, .tokens = 61, .top_k = 3, .slots_max = 4, .seed = 3};
	uint64_t want = run_steps(&c);
	static const uint32_t sizes[] = {1, 2, 7, 20, 60, 61, 100};
	for (uint32_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		c.max_tokens = sizes[i];
		if (run_steps(&c) != want)
			fail_msg("max_tokens %u: other bits", sizes[i]);
	}
	fixture f;
	c.max_tokens = 2;
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	assert_int_equal(fixture_run(&f, 0), UFM_OK);
	assert_true(fixture_counter(&f, "streamed_uses") <= 9);
	fixture_close(&f);
}

/* More rows than x and hidden hold at once, with the row table on the device and in host memory. */
static void same_bits_in_pieces(void **state)
{
	(void)state;
	fixture_config c = {.experts = 5, .tokens = 2750, .top_k = 3, .slots_max = 3, .seed = 5};
	uint64_t want = run_steps(&c);
	c.resident_all = 1;
	c.slots_max = 0;
	assert_true(run_steps(&c) == want);
	static const uint32_t sizes[] = {2731, 2730, 100};
	for (uint32_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		c.max_tokens = sizes[i];
		if (run_steps(&c) != want)
			fail_msg("max_tokens %u: other bits", sizes[i]);
	}
}

/* Every expert demanded every step: all slots hit, whatever the policy's name. */
static void swept_layer_keeps_its_slots(void **state)
{
	(void)state;
	static const char *const policies[] = {"lru", "fifo", "freq", "cycle"};
	static const uint32_t slots[] = {2, 3, 5, 8, 12, 17};
	for (uint32_t p = 0; p < 4; p++) {
		for (uint32_t s = 0; s < 6; s++) {
			fixture f;
			fixture_config c = {.experts = 18,
			                    .top_k = 18,
			                    .tokens = 3,
			                    .policy = policies[p],
			                    .slots_max = slots[s]};
			assert_int_equal(fixture_open(&f, &c), UFM_OK);
			assert_int_equal(fixture_run(&f, 0), UFM_OK);
			for (uint64_t step = 1; step < 4; step++) {
				uint64_t before = fixture_counter(&f, "resident_uses");
				assert_int_equal(fixture_run(&f, step), UFM_OK);
				assert_int_equal(fixture_counter(&f, "resident_uses") - before, slots[s]);
			}
			assert_int_equal(fixture_identities(&f), 0);
			fixture_close(&f);
		}
	}
}

static ufm_moe_call call_of(fixture *f, uint32_t tokens)
{
	ufm_moe_call call;
	UFM_STRUCT_INIT(&call);
	call.tokens = tokens;
	call.x = &f->x_tokens;
	call.y = &f->y_tokens;
	return call;
}

static ufm_status forward_and_wait(fixture *f, const ufm_moe_call *call)
{
	ufm_ticket ticket = {0};
	ufm_status status = ufm_moe_forward(f->layers[0], call, &ticket);
	ufm_status waited = ufm_ticket_wait(f->engine, ticket, UFM_WAIT_FOREVER);
	return status == UFM_OK ? waited : status;
}

/* The layer's own routing, brought back by the caller, gives the same bits; foreign ids give 0. */
static void routing_by_the_caller(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = {.slots_max = 3, .no_residual = 1};
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	fixture_fill_x(&f, 1);
	int32_t ids[32];
	float gates[32];
	ufm_moe_call call = call_of(&f, 16);
	call.ids_out = ids;
	call.gates_out = gates;
	assert_int_equal(forward_and_wait(&f, &call), UFM_OK);
	uint64_t want = fixture_hash(&f);
	for (uint32_t i = 0; i < 32; i++)
		assert_true(ids[i] >= 0 && ids[i] < 8 && gates[i] > 0);
	memset(f.y, 0, 16 * f.c.d_model * sizeof(float));
	call = call_of(&f, 16);
	call.ids = ids;
	call.gates = gates;
	assert_int_equal(forward_and_wait(&f, &call), UFM_OK);
	assert_int_equal(fixture_hash(&f), want);
	for (uint32_t i = 0; i < 32; i++)
		ids[i] = i % 2 ? 8 : -1;
	assert_int_equal(forward_and_wait(&f, &call), UFM_OK);
	for (uint32_t i = 0; i < 16 * f.c.d_model; i++)
		assert_true(f.y[i] == 0.0f);
	assert_int_equal(fixture_identities(&f), 0);
	fixture_close(&f);
}

static ufm_devptr table_seen;

static ufm_status watching_combine(ufm_stream *stream, const ufm_combine_args *args)
{
	table_seen = args->rows;
	return fixture_backend()->combine(stream, args);
}

/* Which row table a call has follows from its own length: a short one's is the device's, also on an engine that takes
 * long ones. */
static void short_calls_beside_long_ones(void **state)
{
	(void)state;
	ufm_backend b = *fixture_backend();
	b.combine = watching_combine;
	for (uint32_t with_cpu = 0; with_cpu < 2; with_cpu++) {
		fixture f, plain;
		fixture_config c = {.slots_max = 3, .no_residual = 1, .backend = &b};
		c.cpu_assist = with_cpu ? UFM_CPU_ON : UFM_CPU_OFF;
		c.cpu_threads = with_cpu ? 2 : 0;
		assert_int_equal(fixture_open(&plain, &c), UFM_OK);
		c.max_tokens = 4;
		assert_int_equal(fixture_open(&f, &c), UFM_OK);
		const uint32_t tokens[] = {16, 4, 1, 5, 3, 16};
		ufm_devptr table[6];
		for (uint32_t i = 0; i < 6; i++) {
			fixture_fill_x(&f, i);
			fixture_fill_x(&plain, i);
			ufm_moe_call call = call_of(&plain, tokens[i]);
			assert_int_equal(forward_and_wait(&plain, &call), UFM_OK);
			call = call_of(&f, tokens[i]);
			assert_int_equal(forward_and_wait(&f, &call), UFM_OK);
			table[i] = table_seen;
			assert_true(fixture_agrees(&f, plain.y));
		}
		assert_true(table[0] == table[3] && table[3] == table[5]);
		assert_true(table[1] == table[2] && table[2] == table[4]);
		assert_true(table[0] != table[1]);
		assert_int_equal(fixture_identities(&f), 0);
		fixture_close(&f);
		fixture_close(&plain);
	}
}

static void strides_and_device_memory(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = {.slots_max = 3};
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	fixture_fill_x(&f, 1);
	ufm_moe_call call = call_of(&f, 16);
	assert_int_equal(forward_and_wait(&f, &call), UFM_OK);
	uint64_t want = fixture_hash(&f);
	uint32_t d = f.c.d_model;
	float *wide = calloc(16 * (d + 5), sizeof *wide);
	for (uint32_t t = 0; t < 16; t++)
		memcpy(wide + t * (d + 5), f.x + t * d, d * sizeof *wide);
	const ufm_tokens strided = {.struct_size = sizeof strided, .host = wide, .stride = d + 5};
	call.x = &strided;
	memset(f.y, 0, 16 * d * sizeof(float));
	assert_int_equal(forward_and_wait(&f, &call), UFM_OK);
	assert_int_equal(fixture_hash(&f), want);
	call.y = &strided; /* in place */
	assert_int_equal(forward_and_wait(&f, &call), UFM_OK);
	for (uint32_t t = 0; t < 16; t++)
		assert_memory_equal(wide + t * (d + 5), f.y + t * d, d * sizeof *wide);
	free(wide);
	fixture_close(&f);
}

static void device_tokens_on_the_callers_stream(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = {.slots_max = 3, .tokens = 4, .experts = 40};
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	fixture_fill_x(&f, 1);
	ufm_moe_call call = call_of(&f, 4);
	assert_int_equal(forward_and_wait(&f, &call), UFM_OK);
	uint64_t want = fixture_hash(&f), bytes = 4 * f.c.d_model * sizeof(float);
	ufm_stream *stream;
	ufm_devptr x;
	assert_int_equal(ufm_stream_open(f.engine, NULL, &stream), UFM_OK);
	assert_int_equal(ufm_engine_alloc(f.engine, bytes, &x), UFM_OK);
	const ufm_tokens there = {.struct_size = sizeof there, .place = UFM_ON_DEVICE, .device = x};
	call.x = call.y = &there;
	call.stream = stream;
	for (uint32_t i = 0; i < 20; i++) {
		memset(f.y, 0, bytes);
		assert_int_equal(ufm_copy_to_device(f.engine, stream, x, f.x, bytes), UFM_OK);
		assert_int_equal(ufm_moe_forward(f.layers[0], &call, NULL), UFM_OK);
		assert_int_equal(ufm_copy_to_host(f.engine, stream, f.y, x, bytes), UFM_OK);
		assert_int_equal(ufm_stream_sync(f.engine, stream), UFM_OK);
		assert_int_equal(fixture_hash(&f), want);
	}
	ufm_stream_close(f.engine, stream);
	fixture_close(&f);
}

static uint16_t narrowed(ufm_dtype dtype, float value)
{
	return dtype == UFM_F16 ? f16_from_f32(value) : bf16_from_f32(value);
}

/* Tokens of 16 bits are read exactly and rounded once, at the end. */
static void tokens_of_16_bits(void **state)
{
	(void)state;
	for (ufm_dtype dtype = UFM_BF16; dtype <= UFM_F16; dtype++) {
		fixture f;
		fixture_config c = {.slots_max = 3};
		assert_int_equal(fixture_open(&f, &c), UFM_OK);
		fixture_fill_x(&f, 1);
		uint32_t count = 16 * f.c.d_model;
		uint16_t *narrow = calloc(count, sizeof *narrow);
		for (uint32_t i = 0; i < count; i++) {
			narrow[i] = narrowed(dtype, f.x[i]);
			f.x[i] = dtype == UFM_F16 ? f16_to_f32(narrow[i]) : bf16_to_f32(narrow[i]);
		}
		ufm_moe_call call = call_of(&f, 16);
		assert_int_equal(forward_and_wait(&f, &call), UFM_OK);
		const ufm_tokens halves = {.struct_size = sizeof halves, .dtype = dtype, .host = narrow};
		call.x = call.y = &halves;
		assert_int_equal(forward_and_wait(&f, &call), UFM_OK);
		for (uint32_t i = 0; i < count; i++)
			assert_int_equal(narrow[i], narrowed(dtype, f.y[i]));
		free(narrow);
		fixture_close(&f);
	}
}

/* Host x and host y share the staging buffer; a residual reads one while the other is written. */
static void residual_needs_one_dtype(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = {.slots_max = 3};
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	ufm_moe_call call = call_of(&f, 16);
	f.x_tokens.dtype = UFM_BF16;
	assert_int_equal(forward_and_wait(&f, &call), UFM_EINVAL);
	f.y_tokens.dtype = UFM_BF16;
	assert_int_equal(forward_and_wait(&f, &call), UFM_OK);
	ufm_tokens x = {.struct_size = sizeof x, .place = UFM_ON_DEVICE, .device = 4096, .stride = 24};
	ufm_tokens y = x;
	y.stride = 32;
	call.x = &x;
	call.y = &y;
	assert_int_equal(forward_and_wait(&f, &call), UFM_EINVAL);
	fixture_close(&f);
}

static void wrong_calls_leave_the_engine_usable(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = {.slots_max = 3};
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	assert_int_equal(fixture_run(&f, 0), UFM_OK);
	uint64_t want = fixture_hash(&f);
	int32_t ids[32] = {0};
	ufm_moe_call good = call_of(&f, 16), bad = good;
	ufm_tokens tokens = f.x_tokens;
	bad.tokens = 17;
	assert_int_equal(forward_and_wait(&f, &bad), UFM_EINVAL);
	bad = good;
	bad.ids = ids;
	assert_int_equal(forward_and_wait(&f, &bad), UFM_EINVAL);
	bad = good;
	bad.x = &tokens;
	tokens.host = NULL;
	assert_int_equal(forward_and_wait(&f, &bad), UFM_EINVAL);
	bad = good;
	tokens = f.y_tokens;
	tokens.stride = 1;
	bad.y = &tokens;
	assert_int_equal(forward_and_wait(&f, &bad), UFM_EINVAL);
	bad = good;
	tokens = f.x_tokens;
	tokens.dtype = (ufm_dtype)9;
	bad.x = &tokens;
	assert_int_equal(forward_and_wait(&f, &bad), UFM_EINVAL);
	bad = good;
	const ufm_tokens halves = {.struct_size = sizeof halves,
	                           .dtype = UFM_F16,
	                           .host = f.y}; /* beside x, with a residual */
	bad.y = &halves;
	assert_int_equal(forward_and_wait(&f, &bad), UFM_EINVAL);
	bad = good;
	bad.x = NULL;
	assert_error(forward_and_wait(&f, &bad), UFM_EINVAL, "x: NULL");
	bad = good;
	bad.y = NULL;
	assert_error(forward_and_wait(&f, &bad), UFM_EINVAL, "y: NULL");
	tokens = f.y_tokens;
	tokens.struct_size = 0;
	bad.y = &tokens;
	assert_error(forward_and_wait(&f, &bad), UFM_EINVAL, "y: struct_size is 0");
	bad = good;
	bad.tokens = 0;
	bad.x = bad.y = NULL; /* nothing is read */
	assert_int_equal(forward_and_wait(&f, &bad), UFM_OK);
	assert_int_equal(ufm_ticket_wait(f.engine, (ufm_ticket){.id = 1u << 30}, 0), UFM_EINVAL);
	assert_int_equal(fixture_run(&f, 0), UFM_OK);
	assert_int_equal(fixture_hash(&f), want);
	fixture_close(&f);
}

/* An older caller's tokens end before the stride, a newer one's may go on with zeros. */
static void tokens_of_other_sizes(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = {.slots_max = 3};
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	fixture_fill_x(&f, 1);
	ufm_moe_call call = call_of(&f, 16);
	assert_int_equal(forward_and_wait(&f, &call), UFM_OK);
	uint64_t want = fixture_hash(&f);
	struct {
		ufm_tokens known;
		uint64_t later;
	} newer = {.known = f.y_tokens, .later = 0};
	ufm_tokens older = f.x_tokens;
	newer.known.struct_size = sizeof newer;
	older.struct_size = offsetof(ufm_tokens, stride);
	older.stride = 1; /* not read */
	call.x = &older;
	call.y = &newer.known;
	memset(f.y, 0, 16 * f.c.d_model * sizeof(float));
	assert_int_equal(forward_and_wait(&f, &call), UFM_OK);
	assert_int_equal(fixture_hash(&f), want);
	newer.later = 1;
	assert_error(forward_and_wait(&f, &call), UFM_EINVAL, "y: byte");
	call.struct_size = offsetof(ufm_moe_call, y);
	assert_error(forward_and_wait(&f, &call), UFM_EINVAL, "y: NULL");
	fixture_close(&f);
}

/* Refused before a byte is read, on the host and on the device. */
static void strides_whose_bytes_overflow(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = {.slots_max = 3};
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	assert_int_equal(fixture_run(&f, 0), UFM_OK);
	uint64_t want = fixture_hash(&f);
	static const uint64_t strides[] = {(uint64_t)1 << 62, ((uint64_t)1 << 62) + 64, UINT64_MAX,
	                                   UINT64_MAX / 4, UINT64_MAX / 60};
	ufm_devptr device;
	assert_int_equal(ufm_engine_alloc(f.engine, 64, &device), UFM_OK);
	for (size_t i = 0; i < sizeof strides / sizeof strides[0]; i++)
		for (int place = UFM_ON_HOST; place <= UFM_ON_DEVICE; place++) {
			ufm_moe_call bad = call_of(&f, 16);
			ufm_tokens x = f.x_tokens, y = f.y_tokens;
			x.place = y.place = (ufm_place)place;
			x.device = y.device = device;
			x.stride = strides[i];
			bad.x = &x;
			bad.y = &y;
			assert_error(ufm_moe_forward(f.layers[0], &bad, NULL), UFM_EINVAL, "x.stride: ");
			x.stride = 0;
			y.stride = strides[i];
			assert_error(ufm_moe_forward(f.layers[0], &bad, NULL), UFM_EINVAL, "y.stride: ");
		}
	assert_int_equal(fixture_run(&f, 0), UFM_OK);
	assert_int_equal(fixture_hash(&f), want);
	fixture_close(&f);
}

static void wrong_layers(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = {0};
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	ufm_layer_config config;
	ufm_layer *layer = NULL;
	UFM_STRUCT_INIT(&config);
	assert_int_equal(ufm_layer_open(f.engine, &config, &layer), UFM_EINVAL); /* top_k 0 */
	config.top_k = 9;
	assert_int_equal(ufm_layer_open(f.engine, &config, &layer), UFM_EINVAL);
	config.top_k = 3;
	assert_int_equal(ufm_layer_open(f.engine, &config, &layer), UFM_EINVAL); /* top_k_max 2 */
	config.top_k = 2;
	config.layer = 1;
	assert_int_equal(ufm_layer_open(f.engine, &config, &layer), UFM_EINVAL);
	config.layer = 0;
	assert_int_equal(ufm_layer_open(f.engine, &config, &layer), UFM_OK);
	ufm_moe_call call = call_of(&f, 16);
	assert_int_equal(ufm_moe_forward(layer, &call, NULL), UFM_EINVAL); /* no router, no ids */
	ufm_layer_close(layer);
	fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_bits_for_every_placement),
		cmocka_unit_test(same_bits_for_every_workspace),
		cmocka_unit_test(same_bits_in_pieces),
		cmocka_unit_test(swept_layer_keeps_its_slots),
		cmocka_unit_test(routing_by_the_caller),
		cmocka_unit_test(short_calls_beside_long_ones),
		cmocka_unit_test(strides_and_device_memory),
		cmocka_unit_test(tokens_of_other_sizes),
		cmocka_unit_test(strides_whose_bytes_overflow),
		cmocka_unit_test(device_tokens_on_the_callers_stream),
		cmocka_unit_test(tokens_of_16_bits),
		cmocka_unit_test(residual_needs_one_dtype),
		cmocka_unit_test(wrong_calls_leave_the_engine_usable),
		cmocka_unit_test(wrong_layers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* What an engine records of its layers' routing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/npy.h"
#include "support/fixture.h"
#include "support/routings.h"

static ufm_moe_call call_of(fixture *f)
{
	ufm_moe_call call;
	UFM_STRUCT_INIT(&call);
	call.tokens = f->c.tokens;
	call.x = &f->x_tokens;
	call.y = &f->y_tokens;
	return call;
}

/* A step through all layers; each tells what it chose: ids [layers, tokens, top_k]. */
static void step_telling(fixture *f, uint64_t step, int32_t *ids)
{
	size_t count = (size_t)f->c.tokens * f->c.top_k;
	fixture_fill_x(f, step);
	for (uint32_t i = 0; i < f->c.layers; i++) {
		ufm_moe_call call = call_of(f);
		call.ids_out = ids ? ids + i * count : NULL;
		assert_int_equal(ufm_moe_forward(f->layers[i], &call, NULL), UFM_OK);
		assert_int_equal(ufm_stream_sync(f->engine, NULL), UFM_OK);
		memcpy(f->x, f->y, (size_t)f->c.tokens * f->c.d_model * sizeof *f->x);
	}
}

static npy_array write_and_read(fixture *f, const folder *d, ufm_routing_info *info)
{
	npy_array a;
	if (ufm_engine_write_routing(f->engine, d->path, 1, info) != UFM_OK)
		fail_msg("%s", ufm_last_error());
	assert_int_equal(npy_open(d->path, &a), UFM_OK);
	assert_int_equal(a.type, NPY_U8);
	assert_int_equal(a.shape[0], info->tokens);
	return a;
}

/* Tokens `first` on of the file are a step's. */
static void check_step(const fixture *f, const npy_array *a, uint64_t first, const int32_t *ids)
{
	uint32_t layers = f->c.layers, tokens = f->c.tokens, top_k = f->c.top_k;
	const uint8_t *found = a->data;
	for (uint32_t t = 0; t < tokens; t++)
		for (uint32_t i = 0; i < layers; i++)
			for (uint32_t j = 0; j < top_k; j++)
				assert_int_equal(found[((first + t) * layers + i) * top_k + j],
				                 ids[(i * tokens + t) * top_k + j]);
}

#define STEPS 5

/* The recording of one engine is what the routers of another, alike one, told. `resident`: its layers are
 * wholly on the device, so that the host never waits for their ids. */
static void compare_recordings(fixture_config c, bool resident)
{
	fixture told, recorded;
	folder d = open_folder("t.npy");
	size_t count = (size_t)c.layers * c.tokens * c.top_k;
	int32_t *ids = calloc(STEPS * count, sizeof *ids);
	ufm_routing_info info = {.struct_size = sizeof info};
	assert_int_equal(fixture_open(&told, &c), UFM_OK);
	c.routing_bytes = 1 << 20;
	assert_int_equal(fixture_open(&recorded, &c), UFM_OK);
	if (resident)
		assert_int_equal(fixture_prefetch_all(&recorded), UFM_OK);
	for (uint64_t step = 0; step < STEPS; step++) {
		step_telling(&told, step, ids + step * count);
		step_telling(&recorded, step, NULL);
	}
	npy_array a = write_and_read(&recorded, &d, &info);
	check_info(&info, 0, (uint64_t)STEPS * c.tokens, 0);
	for (uint64_t step = 0; step < STEPS; step++)
		check_step(&recorded, &a, step * c.tokens, ids + step * count);
	assert_int_equal(fixture_counter(&recorded, "resident_calls"), resident ? STEPS * c.layers : 0);
	npy_close(&a);
	free(ids);
	fixture_close(&recorded);
	fixture_close(&told);
	close_folder(&d);
}

static void a_recording_is_what_the_routers_told(void **state)
{
	(void)state;
	fixture_config c = {.layers = 3, .experts = 9, .top_k = 3, .tokens = 7, .slots_max = 7};
	compare_recordings(c, false);
	c.tokens = 1;
	compare_recordings(c, false);
	c.tokens = 23; /* cut into pieces */
	c.max_tokens = 5;
	compare_recordings(c, false);
	c = (fixture_config){.layers = 3, .experts = 9, .top_k = 3, .tokens = 7, .resident_all = 1};
	compare_recordings(c, true);
	c.tokens = 1;
	compare_recordings(c, true);
}

/* Calls with and without the host in turn: recorded in their order. */
static void both_ways_of_a_layer_keep_their_order(void **state)
{
	(void)state;
	enum { CALLS = 11 };
	fixture f;
	fixture_config c = {.experts = 6, .tokens = 3, .resident_all = 1, .routing_bytes = 4096};
	folder d = open_folder("t.npy");
	ufm_routing_info info = {.struct_size = sizeof info};
	int32_t ids[CALLS][6] = {0}, again[6];
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	assert_int_equal(fixture_prefetch_all(&f), UFM_OK);
	for (uint32_t i = 0; i < CALLS; i++)
		step_telling(&f, i, ids[i]); /* by the host, to know them */
	for (uint32_t i = 0; i < CALLS; i++)
		step_telling(&f, i, i % 3 == 1 ? again : NULL);
	npy_array a = write_and_read(&f, &d, &info);
	check_info(&info, 0, 2 * CALLS * 3, 0);
	for (uint32_t i = 0; i < 2 * CALLS; i++)
		check_step(&f, &a, i * 3, ids[i % CALLS]);
	assert_true(fixture_counter(&f, "resident_calls") == 7);
	npy_close(&a);
	fixture_close(&f);
	close_folder(&d);
}

static ufm_status run_given(fixture *f, const int32_t *ids)
{
	static const float gates[64];
	ufm_moe_call call = call_of(f);
	call.ids = ids;
	call.gates = gates;
	ufm_status status = ufm_moe_forward(f->layers[0], &call, NULL);
	assert_int_equal(ufm_stream_sync(f->engine, NULL), UFM_OK);
	return status;
}

static void routing_by_the_caller_is_recorded(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = {.experts = 5, .tokens = 2, .top_k = 2, .routing_bytes = 3 * 4};
	folder d = open_folder("t.jsonl");
	ufm_routing_info info = {.struct_size = sizeof info};
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	assert_int_equal(run_given(&f, (const int32_t[]){4, 0, 1, 2}), UFM_OK);
	assert_int_equal(run_given(&f, (const int32_t[]){3, -1, 2, 2}), UFM_OK);
	assert_int_equal(ufm_engine_write_routing(f.engine, d.path, 1, &info), UFM_OK);
	check_info(&info, 1, 3, 0); /* the ring has room for three tokens */
	assert_string_equal(read_text(d.path), "{\"layer\":0,\"token\":0,\"experts\":[1,2]}\n"
	                                       "{\"layer\":0,\"token\":1,\"experts\":[3]}\n"
	                                       "{\"layer\":0,\"token\":2,\"experts\":[2]}\n");
	close_folder(&d);
	d = open_folder("t.npy");
	assert_int_equal(ufm_engine_write_routing(f.engine, d.path, 1, NULL), UFM_EINVAL);
	assert_says("token 1 of layer 0");
	fixture_close(&f);
	close_folder(&d);
}

/* The next call has the refused one's numbers. (tests/fault has calls that fail on their way.) */
static void a_refused_call_is_not_recorded(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = {
		.experts = 5, .tokens = 2, .top_k = 2, .slots_max = 4, .routing_bytes = 4096};
	folder d = open_folder("t.jsonl");
	ufm_routing_info info = {.struct_size = sizeof info};
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	assert_int_equal(run_given(&f, (const int32_t[]){4, 0, 1, 2}), UFM_OK);
	/* Too many tokens are refused before anything is routed. */
	ufm_moe_call call = call_of(&f);
	call.tokens = 3;
	assert_int_equal(ufm_moe_forward(f.layers[0], &call, NULL), UFM_EINVAL);
	call.tokens = 0;
	assert_int_equal(ufm_moe_forward(f.layers[0], &call, NULL), UFM_OK);
	assert_int_equal(run_given(&f, (const int32_t[]){0, 1, 3, 4}), UFM_OK);
	assert_int_equal(ufm_engine_write_routing(f.engine, d.path, 1, &info), UFM_OK);
	check_info(&info, 0, 4, 0);
	assert_non_null(strstr(read_text(d.path), "\"token\":2,\"experts\":[0,1]"));
	fixture_close(&f);
	close_folder(&d);
}

static void engines_that_record_nothing(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = {.experts = 4};
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	assert_int_equal(ufm_engine_write_routing(f.engine, "/tmp/ufm_none.npy", 1, NULL), UFM_EINVAL);
	assert_says("routing_bytes is 0");
	fixture_close(&f);
	c.routing_bytes = 3;
	assert_int_equal(fixture_open(&f, &c), UFM_EINVAL);
	assert_says("routing_bytes: 3, expected 0 or at least 4");
	c.routing_bytes = 4;
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	assert_int_equal(ufm_engine_write_routing(f.engine, "/tmp/ufm_none.npy", 1, NULL), UFM_EINVAL);
	assert_says("no token");
	assert_int_equal(ufm_engine_write_routing(f.engine, "/tmp/ufm_none.npy", 0, NULL), UFM_EINVAL);
	assert_says("sequences: 0");
	assert_int_equal(ufm_engine_write_routing(f.engine, "", 1, NULL), UFM_EINVAL);
	assert_int_equal(ufm_engine_write_routing(f.engine, "/tmp/ufm_none", 1, NULL), UFM_EINVAL);
	assert_int_equal(fixture_run(&f, 0), UFM_OK);
	assert_int_equal(ufm_engine_write_routing(f.engine, "/nowhere/t.npy", 1, NULL), UFM_EFILE);
	assert_int_equal(access("/tmp/ufm_none.npy", F_OK), -1);
	fixture_close(&f);
}

static void a_pager_alone_records_nothing(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = {.experts = 4};
	ufm_engine_config config;
	ufm_engine *engine;
	UFM_STRUCT_INIT(&config);
	config.routing_bytes = 4096;
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	assert_int_equal(ufm_engine_open(f.host, &config, &engine), UFM_EINVAL);
	assert_says("routing_bytes: 4096 without max_tokens");
	/* A program built before there was the field. */
	config.struct_size = offsetof(ufm_engine_config, routing_bytes);
	assert_int_equal(ufm_engine_open(f.host, &config, &engine), UFM_OK);
	ufm_engine_close(engine);
	fixture_close(&f);
}

static void recording_changes_no_result(void **state)
{
	(void)state;
	uint64_t hashes[2];
	for (uint32_t i = 0; i < 2; i++) {
		fixture f;
		fixture_config c = {
			.experts = 9, .slots_max = 7, .tokens = 23, .max_tokens = 5, .routing_bytes = i * 1000};
		assert_int_equal(fixture_open(&f, &c), UFM_OK);
		for (uint64_t step = 0; step < 3; step++)
			assert_int_equal(fixture_run(&f, step), UFM_OK);
		hashes[i] = fixture_hash(&f);
		fixture_close(&f);
	}
	assert_int_equal(hashes[0], hashes[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_recording_is_what_the_routers_told),
		cmocka_unit_test(both_ways_of_a_layer_keep_their_order),
		cmocka_unit_test(routing_by_the_caller_is_recorded),
		cmocka_unit_test(a_refused_call_is_not_recorded),
		cmocka_unit_test(engines_that_record_nothing),
		cmocka_unit_test(a_pager_alone_records_nothing),
		cmocka_unit_test(recording_changes_no_result),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

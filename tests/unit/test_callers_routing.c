/* SPDX-License-Identifier: MIT */
/* Routing that a caller brings in device memory gives the bits of the same in host memory, whatever its widths; a slice
 * of the experts computes its own part and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/bf16.h"
#include "base/f16.h"
#include "base/rng.h"
#include "support/assert_error.h"
#include "support/fixture.h"

#define TOKENS 16u
#define TOP_K 3u
#define EXPERTS 8u
#define COUNT (TOKENS * TOP_K)

typedef struct routing {
	int32_t ids[COUNT];
	float gates[COUNT]; /* bf16 and f16 numbers */
} routing;

/* Some ids are no expert's, some stand twice with a token. */
static routing made(uint64_t seed)
{
	routing r;
	rng random;
	rng_seed(&random, seed);
	for (uint32_t i = 0; i < COUNT; i++) {
		r.ids[i] = (int32_t)rng_below(&random, EXPERTS + 2) - 1;
		r.gates[i] = bf16_to_f32(bf16_from_f32(0.01f * (float)(1 + rng_below(&random, 100))));
	}
	return r;
}

static void open_model(fixture *f, fixture_config c)
{
	c.tokens = TOKENS;
	c.top_k = TOP_K;
	c.experts = EXPERTS;
	if (fixture_open(f, &c) != UFM_OK)
		fail_msg("open: %s", ufm_last_error());
	if (c.resident_all)
		assert_int_equal(fixture_prefetch_all(f), UFM_OK);
	fixture_fill_x(f, 1);
}

static ufm_moe_call call_of(fixture *f)
{
	ufm_moe_call call;
	UFM_STRUCT_INIT(&call);
	call.tokens = TOKENS;
	call.x = &f->x_tokens;
	call.y = &f->y_tokens;
	return call;
}

static ufm_status forward_and_wait(fixture *f, const ufm_moe_call *call)
{
	ufm_ticket ticket;
	ufm_status status = ufm_moe_forward(f->layers[0], call, &ticket);
	return status ? status : ufm_ticket_wait(f->engine, ticket, UFM_WAIT_FOREVER);
}

static uint64_t by_host(fixture *f, const routing *r)
{
	ufm_moe_call call = call_of(f);
	call.ids = r->ids;
	call.gates = r->gates;
	assert_int_equal(forward_and_wait(f, &call), UFM_OK);
	return fixture_hash(f);
}

static ufm_devptr on_device(fixture *f, const void *from, uint64_t size_bytes)
{
	ufm_devptr at;
	assert_int_equal(ufm_engine_alloc(f->engine, size_bytes, &at), UFM_OK);
	assert_int_equal(ufm_copy_to_device(f->engine, NULL, at, from, size_bytes), UFM_OK);
	assert_int_equal(ufm_stream_sync(f->engine, NULL), UFM_OK);
	return at;
}

static uint64_t by_device(fixture *f, const routing *r, uint32_t id_bytes, ufm_dtype dtype)
{
	int64_t wide[COUNT];
	uint16_t halves[COUNT];
	ufm_moe_call call = call_of(f);
	for (uint32_t i = 0; i < COUNT; i++) {
		wide[i] = r->ids[i];
		halves[i] = dtype == UFM_F16 ? f16_from_f32(r->gates[i]) : bf16_from_f32(r->gates[i]);
	}
	call.device_ids = on_device(f, id_bytes == 8 ? (const void *)wide : r->ids,
	                            (id_bytes ? id_bytes : 4) * COUNT);
	call.device_gates = on_device(f, dtype && dtype != UFM_F32 ? (const void *)halves : r->gates,
	                              (dtype && dtype != UFM_F32 ? 2 : 4) * COUNT);
	call.id_bytes = id_bytes;
	call.gate_dtype = dtype;
	memset(f->y, 0xff, TOKENS * f->c.d_model * sizeof *f->y);
	assert_int_equal(forward_and_wait(f, &call), UFM_OK);
	return fixture_hash(f);
}

static void device_routing_is_host_routing(void **state)
{
	(void)state;
	static const struct {
		uint32_t id_bytes;
		ufm_dtype dtype;
	} widths[] = {{0, 0}, {4, UFM_F32}, {8, UFM_BF16}, {8, UFM_F32}, {4, UFM_BF16}, {4, UFM_F16}};
	const fixture_config models[] = {{.resident_all = 1},
	                                 {.resident_all = 1, .no_router = 1, .no_residual = 1},
	                                 {.slots_max = 3},
	                                 {.slots_max = 3, .no_router = 1, .dtype = UFM_BF16},
	                                 {.slots_max = 3, .cpu_assist = UFM_CPU_ON, .cpu_threads = 2}};
	for (uint32_t m = 0; m < sizeof models / sizeof *models; m++) {
		for (uint32_t w = 0; w < sizeof widths / sizeof *widths; w++) {
			fixture f;
			open_model(&f, models[m]);
			float want[TOKENS * 24];
			routing r = made(m * 16 + w);
			(void)by_host(&f, &r);
			memcpy(want, f.y, sizeof want);
			(void)by_device(&f, &r, widths[w].id_bytes, widths[w].dtype);
			assert_true(fixture_agrees(&f, want));
			assert_int_equal(fixture_identities(&f), 0);
			fixture_close(&f);
		}
	}
}

/* Neither waits for ids nor copies a weight: the whole call is the device's. */
static void resident_layers_need_no_host(void **state)
{
	(void)state;
	fixture f;
	routing r = made(5);
	open_model(&f, (fixture_config){.resident_all = 1, .no_router = 1});
	uint64_t want = by_host(&f, &r);
	uint64_t calls = fixture_counter(&f, "resident_calls");
	assert_true(by_device(&f, &r, 8, UFM_F32) == want);
	assert_int_equal(fixture_counter(&f, "resident_calls"), calls + 1);
	assert_int_equal(fixture_identities(&f), 0);
	fixture_close(&f);
}

/* ---- a slice of the experts */

#define BEGIN 2u
#define END 5u

typedef struct slice {
	ufm_bank *bank;
	ufm_host *host;
	ufm_engine *engine;
	ufm_layer *layer;
	void *blocks[END - BEGIN];
} slice;

static void open_slice(slice *s, fixture *whole, uint32_t slots)
{
	ufm_bank_memory_config bank;
	ufm_engine_config engine;
	ufm_layer_config layer;
	ufm_bank_info info = {.struct_size = sizeof info};
	UFM_STRUCT_INIT(&bank);
	UFM_STRUCT_INIT(&engine);
	UFM_STRUCT_INIT(&layer);
	ufm_bank_get_info(whole->bank, &info);
	for (uint32_t i = 0; i < END - BEGIN; i++) {
		s->blocks[i] = alloc_zeroed(1, info.desc->block_bytes);
		assert_int_equal(ufm_bank_read(whole->bank, 0, BEGIN + i, s->blocks[i]), UFM_OK);
	}
	bank.experts = END - BEGIN;
	bank.desc = info.desc;
	bank.blocks = (const void *const *)s->blocks;
	assert_int_equal(ufm_bank_memory(&bank, &s->bank), UFM_OK);
	ufm_host_config host;
	UFM_STRUCT_INIT(&host);
	host.backend = whole->c.backend->name;
	assert_int_equal(ufm_host_open(s->bank, &host, &s->host), UFM_OK);
	engine.max_tokens = TOKENS;
	engine.top_k_max = TOP_K + 2; /* more than it has experts */
	engine.slots_max = slots;
	engine.cpu_assist = UFM_CPU_OFF;
	engine.arena_bytes = 1 << 16;
	assert_int_equal(ufm_engine_open(s->host, &engine, &s->engine), UFM_OK);
	layer.top_k = TOP_K;
	layer.norm_weight = whole->norm;
	layer.expert_begin = BEGIN;
	assert_int_equal(ufm_layer_open(s->engine, &layer, &s->layer), UFM_OK);
}

static void close_slice(slice *s)
{
	ufm_layer_close(s->layer);
	ufm_engine_close(s->engine);
	ufm_host_close(s->host);
	ufm_bank_close(s->bank);
	for (uint32_t i = 0; i < END - BEGIN; i++)
		alloc_free(s->blocks[i]);
}

/* What the whole bank makes of the slice's ids alone. */
static void part_of_whole(fixture *f, const routing *r, float *out)
{
	routing own = *r;
	for (uint32_t i = 0; i < COUNT; i++)
		own.ids[i] = r->ids[i] >= (int32_t)BEGIN && r->ids[i] < (int32_t)END ? r->ids[i] : -1;
	(void)by_host(f, &own);
	memcpy(out, f->y, TOKENS * f->c.d_model * sizeof *out);
}

static void a_slice_is_its_part(void **state)
{
	(void)state;
	fixture f;
	open_model(&f, (fixture_config){.resident_all = 1, .no_residual = 1, .no_router = 1});
	for (uint32_t slots = 2; slots <= END - BEGIN; slots++) {
		slice s;
		routing r = made(slots);
		float want[TOKENS * 24];
		ufm_ticket ticket;
		part_of_whole(&f, &r, want);
		open_slice(&s, &f, slots);
		ufm_moe_call call = call_of(&f);
		for (uint32_t way = 0; way < 2; way++) {
			memset(f.y, 0xff, sizeof want);
			call.ids = way ? NULL : r.ids;
			call.gates = way ? NULL : r.gates;
			if (way) {
				assert_int_equal(ufm_engine_alloc(s.engine, sizeof r.ids, &call.device_ids), 0);
				assert_int_equal(ufm_engine_alloc(s.engine, sizeof r.gates, &call.device_gates), 0);
				ufm_copy_to_device(s.engine, NULL, call.device_ids, r.ids, sizeof r.ids);
				ufm_copy_to_device(s.engine, NULL, call.device_gates, r.gates, sizeof r.gates);
				assert_int_equal(ufm_stream_sync(s.engine, NULL), UFM_OK);
			}
			assert_int_equal(ufm_moe_forward(s.layer, &call, &ticket), UFM_OK);
			assert_int_equal(ufm_ticket_wait(s.engine, ticket, UFM_WAIT_FOREVER), UFM_OK);
			assert_memory_equal(f.y, want, sizeof want);
		}
		close_slice(&s);
	}
	fixture_close(&f);
}

/* ---- refusals */

static void refuses(fixture *f, const ufm_moe_call *call, const char *why)
{
	assert_error(ufm_moe_forward(f->layers[0], call, NULL), UFM_EINVAL, why);
}

static void wrong_calls_are_refused(void **state)
{
	(void)state;
	fixture f;
	routing r = made(9);
	open_model(&f, (fixture_config){.slots_max = 3, .no_router = 1});
	ufm_moe_call call = call_of(&f);
	refuses(&f, &call, "ids and device_ids: NULL and 0, expected the caller's routing");
	call.device_ids = 64;
	refuses(&f, &call, "device_ids and device_gates: one is 0");
	call.device_gates = 64;
	call.ids = r.ids;
	call.gates = r.gates;
	refuses(&f, &call, "ids and device_ids: both are given");
	call.ids = NULL;
	call.gates = NULL;
	call.id_bytes = 2;
	refuses(&f, &call, "id_bytes: 2, expected 4 or 8");
	call.id_bytes = 8;
	call.gate_dtype = (ufm_dtype)77;
	refuses(&f, &call, "gate_dtype: 77");
	(void)by_device(&f, &r, 8, UFM_BF16);
	fixture_close(&f);
}

static void wrong_layers_are_refused(void **state)
{
	(void)state;
	fixture f;
	ufm_layer *layer;
	ufm_layer_config config;
	open_model(&f, (fixture_config){.slots_max = 3});
	UFM_STRUCT_INIT(&config);
	config.top_k = 1;
	config.router_weight = f.router;
	config.expert_begin = 1;
	assert_error(ufm_layer_open(f.engine, &config, &layer), UFM_EINVAL,
	             "expert_begin: 1, expected 0 for a layer with a router");
	config.router_weight = NULL;
	config.expert_begin = UINT32_MAX;
	assert_error(ufm_layer_open(f.engine, &config, &layer), UFM_EINVAL, "expert_begin: 4294967295");
	fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(device_routing_is_host_routing),
		cmocka_unit_test(resident_layers_need_no_host),
		cmocka_unit_test(a_slice_is_its_part),
		cmocka_unit_test(wrong_calls_are_refused),
		cmocka_unit_test(wrong_layers_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

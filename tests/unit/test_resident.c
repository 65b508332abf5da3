/* SPDX-License-Identifier: MIT */
/* Layers that are wholly resident: no wait of the host, the same bits, and uses counted afterwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/fixture.h"

/* The fixture's backend, its calls counted; link_gbps slows the device that is opened next. */
static struct {
	double link_gbps;
	_Atomic uint32_t copy, gather, route, group, experts, combine, record, wait, sync;
} seen;
static const ufm_backend *real;

static ufm_status slow_device_open(const ufm_device_config *given, ufm_device **out)
{
	ufm_device_config config = *given;
	if (seen.link_gbps > 0)
		config.link_gbps = seen.link_gbps;
	return real->device_open(&config, out);
}

#define COUNTED(name, counter, params, args) \
	static ufm_status counted_##name params \
	{ \
		atomic_fetch_add(&seen.counter, 1); \
		return real->name args; \
	}
COUNTED(copy, copy, (ufm_stream * s, ufm_copy_kind k, ufm_devptr to, ufm_devptr from, uint64_t n),
        (s, k, to, from, n))
COUNTED(gather, gather, (ufm_stream * s, const ufm_gather_args *a), (s, a))
COUNTED(route, route, (ufm_stream * s, const ufm_router_args *a), (s, a))
COUNTED(group, group, (ufm_stream * s, const ufm_group_args *a), (s, a))
COUNTED(combine, combine, (ufm_stream * s, const ufm_combine_args *a), (s, a))
COUNTED(event_record, record, (ufm_event * e, ufm_stream *s), (e, s))
COUNTED(stream_wait, wait, (ufm_stream * s, ufm_event *e), (s, e))
COUNTED(stream_sync, sync, (ufm_stream * s), (s))

/* On every path the engine's arithmetic. */
static ufm_status counted_experts(ufm_stream *s, const ufm_experts_args *a)
{
	atomic_fetch_add(&seen.experts, 1);
	assert_int_equal(a->math, UFM_MATH_FP32);
	return real->experts(s, a);
}

static ufm_backend counting_backend(void)
{
	ufm_backend b = *fixture_backend();
	real = fixture_backend();
	b.device_open = slow_device_open;
	b.copy = counted_copy;
	b.gather = counted_gather;
	b.route = counted_route;
	b.group = counted_group;
	b.route_tokens = NULL; /* it would do without those three */
	b.experts = counted_experts;
	b.combine = counted_combine;
	b.event_record = counted_event_record;
	b.stream_wait = counted_stream_wait;
	b.stream_sync = counted_stream_sync;
	return b;
}

static void must_open(fixture *f, const fixture_config *c)
{
	if (fixture_open(f, c) != UFM_OK)
		fail_msg("open: %s", ufm_last_error());
}

static ufm_moe_call call_of(fixture *f)
{
	ufm_moe_call call;
	UFM_STRUCT_INIT(&call);
	call.tokens = f->c.tokens;
	call.x = &f->x_tokens;
	call.y = &f->y_tokens;
	return call;
}

static void run_call(fixture *f, const ufm_moe_call *call)
{
	ufm_ticket ticket;
	if (ufm_moe_forward(f->layers[0], call, &ticket) != UFM_OK)
		fail_msg("forward: %s", ufm_last_error());
	assert_int_equal(ufm_ticket_wait(f->engine, ticket, UFM_WAIT_FOREVER), UFM_OK);
}

/* Steps with routing decided on the device; with ids asked for the host decides, and says which uses
 * are right. */
static void compare_paths(fixture_config c)
{
	fixture host, device;
	int32_t *ids = calloc((size_t)c.tokens * c.top_k, sizeof *ids);
	uint64_t resident = 0;
	c.resident_all = 1;
	must_open(&host, &c);
	must_open(&device, &c);
	assert_int_equal(fixture_prefetch_all(&host), UFM_OK);
	assert_int_equal(fixture_prefetch_all(&device), UFM_OK);
	for (uint64_t step = 0; step < 12; step++) {
		fixture_fill_x(&host, step);
		fixture_fill_x(&device, step);
		ufm_moe_call want = call_of(&host), got = call_of(&device);
		want.ids_out = ids;
		run_call(&host, &want);
		run_call(&device, &got);
		assert_int_equal(fixture_hash(&host), fixture_hash(&device));
		assert_int_equal(fixture_counter(&device, "resident_calls"), ++resident);
		assert_int_equal(fixture_counter(&device, "uses"), fixture_counter(&host, "uses"));
		assert_int_equal(fixture_counter(&device, "resident_uses"),
		                 fixture_counter(&host, "resident_uses"));
	}
	assert_int_equal(fixture_counter(&host, "resident_calls"), 0);
	assert_int_equal(fixture_counter(&device, "calls"), 12);
	assert_int_equal(fixture_identities(&device), 0);
	fixture_close(&host);
	fixture_close(&device);
	free(ids);
}

static void same_bits_and_uses_as_the_host(void **state)
{
	(void)state;
	compare_paths((fixture_config){.tokens = 1, .top_k = 1, .experts = 1});
	compare_paths((fixture_config){.tokens = 1, .top_k = 3, .experts = 16});
	compare_paths((fixture_config){.tokens = 7, .top_k = 2, .experts = 5, .norm_topk = 1});
	compare_paths((fixture_config){.tokens = 33, .top_k = 8, .experts = 41, .no_residual = 1});
	compare_paths((fixture_config){
		.tokens = 9, .top_k = 4, .experts = 12, .kind = UFM_EXPERT_GATED, .dtype = UFM_BF16});
}

static uint32_t at_once, with_rows;

/* What such a backend does, by the calls that it stands for. */
static ufm_status noted_route_tokens(ufm_stream *s, const ufm_gather_args *gather,
                                     const ufm_router_args *route, const ufm_group_args *group)
{
	at_once++;
	with_rows += group != NULL;
	ufm_status status = real->gather(s, gather);
	if (status == UFM_OK)
		status = real->route(s, route);
	return status == UFM_OK && group ? real->group(s, group) : status;
}

/* One call of a layer is one of route_tokens where there is such a function, with rows where the device makes them. */
static void a_backend_that_routes_at_once(void **state)
{
	(void)state;
	ufm_backend b = counting_backend();
	b.route_tokens = noted_route_tokens;
	for (uint32_t resident = 0; resident < 2; resident++) {
		for (uint32_t tokens = 1; tokens <= 3; tokens += 2) {
			fixture f, plain;
			fixture_config c = {.tokens = tokens, .resident_all = resident};
			must_open(&plain, &c);
			c.backend = &b;
			must_open(&f, &c);
			if (resident)
				assert_int_equal(fixture_prefetch_all(&f), UFM_OK);
			at_once = with_rows = 0;
			for (uint64_t step = 1; step <= 4; step++) {
				assert_int_equal(fixture_run(&f, step), UFM_OK);
				assert_int_equal(fixture_run(&plain, step), UFM_OK);
				assert_int_equal(fixture_hash(&f), fixture_hash(&plain));
				assert_int_equal(at_once, step * f.c.layers);
				assert_int_equal(with_rows, fixture_counter(&f, "resident_calls"));
			}
			fixture_close(&f);
			fixture_close(&plain);
		}
	}
}

static void nothing_but_the_layers_work_is_enqueued(void **state)
{
	(void)state;
	ufm_backend b = counting_backend();
	fixture_config c = {.tokens = 2, .resident_all = 1, .backend = &b};
	fixture f;
	must_open(&f, &c);
	assert_int_equal(fixture_prefetch_all(&f), UFM_OK);
	ufm_stream *stream;
	assert_int_equal(ufm_stream_open(f.engine, NULL, &stream), UFM_OK);
	ufm_moe_call call = call_of(&f);
	call.stream = stream;
	fixture_fill_x(&f, 0);
	run_call(&f, &call); /* uploads the table */
	memset(&seen, 0, sizeof seen);
	for (uint32_t i = 1; i <= 9; i++) {
		run_call(&f, &call);
		assert_int_equal(seen.copy, 2 * i); /* x from the host, y to it */
		assert_int_equal(seen.gather, 2 * i);
		assert_int_equal(seen.route, i);
		assert_int_equal(seen.group, i);
		assert_int_equal(seen.experts, i);
		assert_int_equal(seen.combine, i);
		assert_int_equal(seen.record, i);
		assert_int_equal(seen.wait + seen.sync, 0);
	}
	ufm_stream_close(f.engine, stream);
	fixture_close(&f);
}

/* x arrives over a link so slow that it is still under way when the call returns. */
static void returns_before_the_router_ran(void **state)
{
	(void)state;
	enum { BYTES = 1 << 20 };
	if (strcmp(fixture_backend()->name, "cpu") != 0) {
		print_message("left out: a real link cannot be slowed\n");
		return;
	}
	ufm_backend b = counting_backend();
	fixture_config c = {.tokens = 3, .resident_all = 1, .backend = &b};
	seen.link_gbps = 0.003;
	fixture f;
	must_open(&f, &c);
	seen.link_gbps = 0;
	assert_int_equal(fixture_prefetch_all(&f), UFM_OK);
	fixture_fill_x(&f, 0);
	ufm_moe_call call = call_of(&f);
	run_call(&f, &call);
	uint64_t waited_ns = fixture_counter(&f, "route_wait_ns"), uses = fixture_counter(&f, "uses");
	ufm_stream *busy;
	uint8_t *from = calloc(1, BYTES), *to = calloc(1, BYTES);
	assert_int_equal(ufm_stream_open(f.engine, NULL, &busy), UFM_OK);
	/* the cpu backend's device memory is memory like any other */
	assert_int_equal(ufm_copy_to_device(f.engine, busy, (ufm_devptr)(uintptr_t)to, from, BYTES),
	                 UFM_OK);
	call.stream = busy;
	ufm_ticket ticket;
	assert_int_equal(ufm_moe_forward(f.layers[0], &call, &ticket), UFM_OK);
	assert_int_equal(ufm_ticket_wait(f.engine, ticket, 0), UFM_ETIMEDOUT);
	assert_int_equal(fixture_counter(&f, "uses"), uses);
	assert_int_equal(ufm_ticket_wait(f.engine, ticket, UFM_WAIT_FOREVER), UFM_OK);
	assert_true(fixture_counter(&f, "uses") > uses);
	assert_int_equal(fixture_counter(&f, "route_wait_ns"), waited_ns);
	assert_int_equal(fixture_counter(&f, "resident_calls"), 2);
	ufm_stream_close(f.engine, busy);
	free(from);
	free(to);
	fixture_close(&f);
}

/* No ticket is waited for: the caller's stream tells that all is done. */
static void uses_are_exact_without_a_ticket(void **state)
{
	(void)state;
	fixture_config c = {.tokens = 5, .top_k = 2, .experts = 9, .resident_all = 1};
	fixture f;
	must_open(&f, &c);
	assert_int_equal(fixture_prefetch_all(&f), UFM_OK);
	fixture_fill_x(&f, 3);
	ufm_moe_call call = call_of(&f);
	run_call(&f, &call);
	uint64_t each = fixture_counter(&f, "uses");
	assert_true(each >= 2 && each <= 9);
	for (uint64_t i = 0; i < 11; i++)
		assert_int_equal(ufm_moe_forward(f.layers[0], &call, NULL), UFM_OK);
	assert_int_equal(ufm_stream_sync(f.engine, NULL), UFM_OK);
	assert_int_equal(fixture_counter(&f, "uses"), 12 * each);
	assert_int_equal(fixture_counter(&f, "resident_calls"), 12);
	fixture_close(&f);
}

/* Calls on streams in turn share the workspace and the layer's table. */
static void streams_take_turns(void **state)
{
	(void)state;
	fixture_config c = {.tokens = 40, .top_k = 3, .experts = 16, .resident_all = 1};
	fixture f;
	must_open(&f, &c);
	assert_int_equal(fixture_prefetch_all(&f), UFM_OK);
	fixture_fill_x(&f, 1);
	ufm_moe_call call = call_of(&f);
	run_call(&f, &call);
	uint64_t want = fixture_hash(&f);
	ufm_stream *streams[3] = {NULL};
	float *y[3];
	size_t bytes = (size_t)c.tokens * f.c.d_model * sizeof(float);
	for (uint32_t i = 0; i < 3; i++) {
		y[i] = calloc(1, bytes);
		if (i)
			assert_int_equal(ufm_stream_open(f.engine, NULL, &streams[i]), UFM_OK);
	}
	for (uint32_t i = 0; i < 60; i++) {
		call.stream = streams[i % 3];
		call.y = &(ufm_tokens){.struct_size = sizeof(ufm_tokens), .host = y[i % 3]};
		assert_int_equal(ufm_moe_forward(f.layers[0], &call, NULL), UFM_OK);
	}
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(ufm_stream_sync(f.engine, streams[i]), UFM_OK);
		memcpy(f.y, y[i], bytes);
		assert_int_equal(fixture_hash(&f), want);
		if (i)
			ufm_stream_close(f.engine, streams[i]);
		free(y[i]);
	}
	assert_int_equal(fixture_counter(&f, "resident_calls"), 61);
	fixture_close(&f);
}

/* Two layers and slots for one and a half: leases take experts from the resident one. */
static void an_evicted_expert_ends_residency(void **state)
{
	(void)state;
	fixture_config c = {.layers = 2, .experts = 8, .slots_max = 12, .ring_slots = 2, .tokens = 6};
	const uint32_t all[8] = {0, 1, 2, 3, 4, 5, 6, 7};
	fixture f;
	must_open(&f, &c);
	assert_int_equal(ufm_prefetch(f.engine, 0, all, 8), UFM_OK);
	fixture_fill_x(&f, 2);
	ufm_moe_call call = call_of(&f);
	run_call(&f, &call);
	assert_int_equal(fixture_counter(&f, "resident_calls"), 1);
	uint64_t want = fixture_hash(&f);
	for (uint32_t round = 0; round < 5; round++) {
		ufm_lease *lease;
		for (uint32_t i = 0; i < 6; i++)
			assert_int_equal(ufm_moe_forward(f.layers[0], &call, NULL), UFM_OK);
		assert_int_equal(ufm_acquire_begin(f.engine, 1, all, 8, &lease), UFM_OK);
		uint64_t before = fixture_counter(&f, "resident_calls");
		assert_int_equal(ufm_stream_sync(f.engine, NULL), UFM_OK); /* y is written until then */
		memset(f.y, 0xff, (size_t)c.tokens * f.c.d_model * sizeof(float));
		run_call(&f, &call);
		assert_int_equal(fixture_hash(&f), want);
		assert_int_equal(fixture_counter(&f, "resident_calls"), before);
		assert_int_equal(ufm_release(lease, NULL), UFM_OK);
		for (uint32_t i = 0; i < 8; i++) {
			assert_int_equal(ufm_acquire_begin(f.engine, 0, all, i + 1, &lease), UFM_OK);
			assert_int_equal(ufm_release(lease, NULL), UFM_OK);
		}
		assert_int_equal(ufm_acquire_begin(f.engine, 0, all, 8, &lease), UFM_OK);
		run_call(&f, &call);
		assert_int_equal(fixture_hash(&f), want);
		assert_int_equal(fixture_counter(&f, "resident_calls"), before + 1);
		assert_int_equal(ufm_release(lease, NULL), UFM_OK);
	}
	assert_int_equal(fixture_identities(&f), 0);
	fixture_close(&f);
}

/* The same while a resident call is still to run: the refill must wait for it. */
static void a_refill_waits_for_the_call(void **state)
{
	(void)state;
	enum { BYTES = 1 << 18 };
	const uint32_t all[8] = {0, 1, 2, 3, 4, 5, 6, 7};
	if (strcmp(fixture_backend()->name, "cpu") != 0) {
		print_message("left out: a real link cannot be slowed\n");
		return;
	}
	ufm_backend b = counting_backend();
	fixture_config c = {.layers = 2, .slots_max = 10, .ring_slots = 2, .tokens = 6, .backend = &b};
	fixture f;
	seen.link_gbps = 0.003;
	must_open(&f, &c);
	seen.link_gbps = 0;
	/* every slot is taken, so the first copy of the lease displaces an expert of layer 0 */
	assert_int_equal(ufm_prefetch(f.engine, 1, all, 2), UFM_OK);
	assert_int_equal(ufm_prefetch(f.engine, 0, all, 8), UFM_OK);
	fixture_fill_x(&f, 2);
	ufm_moe_call call = call_of(&f);
	run_call(&f, &call);
	uint64_t want = fixture_hash(&f);
	memset(f.y, 0, (size_t)c.tokens * f.c.d_model * sizeof(float));
	uint8_t *from = calloc(1, BYTES), *to = calloc(1, BYTES);
	assert_int_equal(ufm_stream_open(f.engine, NULL, &call.stream), UFM_OK);
	assert_int_equal(
		ufm_copy_to_device(f.engine, call.stream, (ufm_devptr)(uintptr_t)to, from, BYTES), UFM_OK);
	ufm_ticket ticket;
	ufm_lease *lease;
	assert_int_equal(ufm_moe_forward(f.layers[0], &call, &ticket), UFM_OK);
	assert_int_equal(ufm_acquire_begin(f.engine, 1, all, 8, &lease), UFM_OK);
	assert_int_equal(ufm_ticket_wait(f.engine, ticket, UFM_WAIT_FOREVER), UFM_OK);
	assert_int_equal(fixture_counter(&f, "resident_calls"), 2);
	assert_true(fixture_counter(&f, "evictions") == 6);
	assert_int_equal(fixture_hash(&f), want);
	assert_int_equal(ufm_release(lease, NULL), UFM_OK);
	ufm_stream_close(f.engine, call.stream);
	free(from);
	free(to);
	fixture_close(&f);
}

/* Slots may go only when the call has read them, and the table is no longer true then. */
static void a_resize_waits_for_the_call(void **state)
{
	(void)state;
	enum { BYTES = 1 << 18 };
	if (strcmp(fixture_backend()->name, "cpu") != 0) {
		print_message("left out: a real link cannot be slowed\n");
		return;
	}
	ufm_backend b = counting_backend();
	fixture_config c = {.experts = 7,
	                    .d_model = 128,
	                    .d_hidden = 72,
	                    .tokens = 6,
	                    .vram_target_bytes = 8 << 20,
	                    .backend = &b};
	fixture f;
	seen.link_gbps = 0.01;
	must_open(&f, &c);
	seen.link_gbps = 0;
	assert_int_equal(fixture_prefetch_all(&f), UFM_OK);
	fixture_fill_x(&f, 2);
	ufm_moe_call call = call_of(&f);
	run_call(&f, &call);
	uint64_t want = fixture_hash(&f);
	ufm_engine_info info = {.struct_size = sizeof info};
	ufm_engine_get_info(f.engine, &info);
	uint64_t large = info.vram_target_bytes;
	uint64_t small = info.workspace_bytes + info.arena_bytes + 3 * info.block_bytes + 65536;
	uint8_t *from = calloc(1, BYTES), *to = calloc(1, BYTES);
	assert_int_equal(ufm_stream_open(f.engine, NULL, &call.stream), UFM_OK);
	for (uint32_t round = 1; round <= 2; round++) {
		memset(f.y, 0, (size_t)c.tokens * c.d_model * sizeof(float));
		assert_int_equal(
			ufm_copy_to_device(f.engine, call.stream, (ufm_devptr)(uintptr_t)to, from, BYTES),
			UFM_OK);
		ufm_ticket ticket;
		assert_int_equal(ufm_moe_forward(f.layers[0], &call, &ticket), UFM_OK);
		assert_int_equal(fixture_counter(&f, "resident_calls"), 2 * round);
		assert_int_equal(ufm_engine_resize(f.engine, small), UFM_OK);
		assert_int_equal(ufm_ticket_wait(f.engine, ticket, 0), UFM_OK);
		assert_int_equal(fixture_hash(&f), want);
		run_call(&f, &call); /* not resident */
		assert_int_equal(fixture_hash(&f), want);
		assert_int_equal(ufm_engine_resize(f.engine, large), UFM_OK);
		assert_int_equal(fixture_prefetch_all(&f), UFM_OK);
		run_call(&f, &call); /* resident, at other addresses */
		assert_int_equal(fixture_hash(&f), want);
		assert_int_equal(fixture_counter(&f, "resident_calls"), 2 * round + 1);
	}
	ufm_stream_close(f.engine, call.stream);
	free(from);
	free(to);
	fixture_close(&f);
}

/* While all fit the policy hears of some calls only; it knows all the same who is used when the budget falls. */
static void a_smaller_budget_keeps_who_was_used(void **state)
{
	(void)state;
	enum { EXPERTS = 12, CALLS = 40 };
	/* Blocks larger than what a GPU maps at once. */
	fixture_config c = {.experts = EXPERTS,
	                    .d_model = 512,
	                    .d_hidden = 1024,
	                    .tokens = 2,
	                    .vram_target_bytes = 96 << 20};
	fixture f;
	ufm_engine_info info = {.struct_size = sizeof info};
	must_open(&f, &c);
	assert_int_equal(fixture_prefetch_all(&f), UFM_OK);
	fixture_fill_x(&f, 1);
	ufm_moe_call call = call_of(&f);
	for (uint32_t i = 0; i < CALLS; i++)
		run_call(&f, &call);
	uint64_t used = fixture_counter(&f, "uses") / CALLS;
	assert_int_equal(fixture_counter(&f, "resident_calls"), CALLS);
	assert_in_range(used, 2, 4);
	ufm_engine_get_info(f.engine, &info);
	uint64_t fixed = info.workspace_bytes + info.arena_bytes + 2 * fixture_granule();
	assert_int_equal(ufm_engine_resize(f.engine, fixed + 6 * info.block_bytes), UFM_OK);
	ufm_engine_get_info(f.engine, &info);
	assert_in_range(info.slots, 6, EXPERTS - 1);
	run_call(&f, &call);
	assert_int_equal(fixture_counter(&f, "resident_calls"), CALLS);
	assert_int_equal(fixture_counter(&f, "streamed_uses"), 0);
	fixture_close(&f);
}

/* Calls that need the host go another way, in turn with others, and policies hear all of them. */
static void other_calls_in_between(void **state)
{
	(void)state;
	fixture_config c = {.tokens = 6, .top_k = 2, .experts = 8, .resident_all = 1};
	fixture f;
	int32_t ids[12];
	float gates[12];
	must_open(&f, &c);
	assert_int_equal(fixture_prefetch_all(&f), UFM_OK);
	fixture_fill_x(&f, 2);
	ufm_moe_call device = call_of(&f), asks = device, brings = device;
	asks.ids_out = ids;
	asks.gates_out = gates;
	run_call(&f, &asks);
	uint64_t want = fixture_hash(&f), each = fixture_counter(&f, "uses");
	brings.ids = ids;
	brings.gates = gates;
	for (uint32_t i = 0; i < 7; i++) {
		assert_int_equal(ufm_moe_forward(f.layers[0], &device, NULL), UFM_OK);
		assert_int_equal(ufm_moe_forward(f.layers[0], &brings, NULL), UFM_OK);
		run_call(&f, &asks);
		assert_int_equal(fixture_hash(&f), want);
		assert_int_equal(fixture_counter(&f, "uses"), (1 + 3 * (i + 1)) * each);
		assert_int_equal(fixture_counter(&f, "resident_calls"), i + 1);
	}
	/* the layer's gates, when the ticket is done */
	float reported[12] = {0};
	device.gates_out = reported;
	run_call(&f, &device);
	assert_memory_equal(reported, gates, sizeof gates);
	assert_int_equal(fixture_counter(&f, "resident_calls"), 8);
	fixture_close(&f);
}

/* More rows than the workspace holds at once are computed in pieces; the host, when it is asked, gets the same bits. */
static void long_calls(void **state)
{
	(void)state;
	fixture_config c = {.tokens = 21, .max_tokens = 4, .top_k = 2, .resident_all = 1};
	fixture f;
	must_open(&f, &c);
	assert_int_equal(fixture_prefetch_all(&f), UFM_OK);
	fixture_fill_x(&f, 2);
	int32_t ids[42];
	ufm_moe_call call = call_of(&f);
	call.ids_out = ids;
	run_call(&f, &call);
	assert_int_equal(fixture_counter(&f, "resident_calls"), 0);
	uint64_t want = fixture_hash(&f);
	call.ids_out = NULL;
	run_call(&f, &call);
	assert_int_equal(fixture_hash(&f), want);
	assert_int_equal(fixture_counter(&f, "resident_calls"), 1);
	call.tokens = 4;
	run_call(&f, &call);
	assert_int_equal(fixture_hash(&f), want);
	assert_int_equal(fixture_counter(&f, "resident_calls"), 2);
	fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_bits_and_uses_as_the_host),
		cmocka_unit_test(a_backend_that_routes_at_once),
		cmocka_unit_test(nothing_but_the_layers_work_is_enqueued),
		cmocka_unit_test(returns_before_the_router_ran),
		cmocka_unit_test(uses_are_exact_without_a_ticket),
		cmocka_unit_test(streams_take_turns),
		cmocka_unit_test(an_evicted_expert_ends_residency),
		cmocka_unit_test(a_refill_waits_for_the_call),
		cmocka_unit_test(a_resize_waits_for_the_call),
		cmocka_unit_test(a_smaller_budget_keeps_who_was_used),
		cmocka_unit_test(other_calls_in_between),
		cmocka_unit_test(long_calls),
	};
	return cmocka_run_group_tests_name("resident", tests, NULL, NULL);
}

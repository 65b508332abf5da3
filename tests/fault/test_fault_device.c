/* SPDX-License-Identifier: MIT */
/* Every device call of open → run → close fails in turn. The step ends in an error, its output is
 * untouched, nothing stays pinned, and the same engine then computes the right bits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/status.h"
#include "device/registry.h"
#include "pager/pager.h"
#include "support/fixture.h"

/* A filter around the cpu backend: the call number `fail_at` of those that may fail does. */
static struct {
	_Atomic uint64_t calls;
	_Atomic uint64_t fail_at;
	_Atomic uint64_t registered_bytes;
	bool combined; /* combine was launched */
} faults;

static ufm_status fault(void)
{
	if (atomic_fetch_add(&faults.calls, 1) != atomic_load(&faults.fail_at))
		return UFM_OK;
	return status_fail(UFM_EDEVMEM, "planted failure");
}

#define FILTER(name, params, args) \
	static ufm_status faulty_##name params \
	{ \
		ufm_status status = fault(); \
		return status == UFM_OK ? cpu_backend.name args : status; \
	}

FILTER(device_open, (const ufm_device_config *c, ufm_device **out), (c, out))
FILTER(mem_reserve, (ufm_device * d, uint64_t n, ufm_devptr *base), (d, n, base))
FILTER(mem_map, (ufm_device * d, ufm_devptr at, uint64_t n), (d, at, n))
FILTER(mem_unmap, (ufm_device * d, ufm_devptr at, uint64_t n), (d, at, n))
FILTER(host_view, (ufm_device * d, const void *m, ufm_devptr *out), (d, m, out))
FILTER(stream_open, (ufm_device * d, void *native, ufm_stream **out), (d, native, out))
FILTER(stream_sync, (ufm_stream * s), (s))
FILTER(stream_wait, (ufm_stream * s, ufm_event *e), (s, e))
FILTER(event_open, (ufm_device * d, ufm_event **out), (d, out))
FILTER(event_record, (ufm_event * e, ufm_stream *s), (e, s))
FILTER(event_sync, (ufm_event * e, uint64_t wait_ns), (e, wait_ns))
FILTER(event_query, (ufm_event * e, int *done), (e, done))
FILTER(event_elapsed, (ufm_event * from, ufm_event *to, uint64_t *ns), (from, to, ns))
FILTER(fill, (ufm_stream * s, ufm_devptr dst, uint8_t byte, uint64_t n), (s, dst, byte, n))
FILTER(copy, (ufm_stream * s, ufm_copy_kind k, ufm_devptr to, ufm_devptr from, uint64_t n),
       (s, k, to, from, n))
FILTER(copies, (ufm_stream * s, const ufm_copies_args *a), (s, a))
FILTER(gather, (ufm_stream * s, const ufm_gather_args *a), (s, a))
FILTER(route, (ufm_stream * s, const ufm_router_args *a), (s, a))
FILTER(experts, (ufm_stream * s, const ufm_experts_args *a), (s, a))
FILTER(group, (ufm_stream * s, const ufm_group_args *a), (s, a))

static ufm_status faulty_host_register(void *memory, uint64_t size_bytes)
{
	ufm_status status = fault();
	if (status == UFM_OK)
		status = cpu_backend.host_register(memory, size_bytes);
	if (status == UFM_OK)
		atomic_fetch_add(&faults.registered_bytes, size_bytes);
	return status;
}

static void counted_host_unregister(void *memory, uint64_t size_bytes)
{
	cpu_backend.host_unregister(memory, size_bytes);
	atomic_fetch_sub(&faults.registered_bytes, size_bytes);
}

static ufm_status faulty_combine(ufm_stream *s, const ufm_combine_args *args)
{
	ufm_status status = fault();
	if (status == UFM_OK)
		status = cpu_backend.combine(s, args);
	faults.combined = status == UFM_OK;
	return status;
}

static ufm_backend faulty_backend(void)
{
	ufm_backend b = cpu_backend;
	b.device_open = faulty_device_open;
	b.mem_reserve = faulty_mem_reserve;
	b.mem_map = faulty_mem_map;
	b.host_register = faulty_host_register;
	b.host_unregister = counted_host_unregister;
	b.host_view = faulty_host_view;
	b.stream_open = faulty_stream_open;
	b.stream_wait = faulty_stream_wait;
	b.event_open = faulty_event_open;
	b.event_record = faulty_event_record;
	b.copy = faulty_copy;
	b.copies = faulty_copies;
	b.gather = faulty_gather;
	b.route = faulty_route;
	b.experts = faulty_experts;
	b.group = faulty_group;
	b.route_tokens = NULL; /* it would do without those three */
	b.combine = faulty_combine;
	return b;
}

/* Waiting may fail as well, and giving back. */
static ufm_backend thoroughly_faulty_backend(void)
{
	ufm_backend b = faulty_backend();
	b.mem_unmap = faulty_mem_unmap;
	b.stream_sync = faulty_stream_sync;
	b.event_sync = faulty_event_sync;
	b.event_query = faulty_event_query;
	b.event_elapsed = faulty_event_elapsed;
	b.fill = faulty_fill;
	return b;
}

static fixture_config small_model(const ufm_backend *b)
{
	return (fixture_config){
		.layers = 1, .experts = 7, .slots_max = 3, .tokens = 6, .max_tokens = 4, .backend = b};
}

/* Copies that bring three experts each. */
static fixture_config together_model(const ufm_backend *b)
{
	fixture_config c = small_model(b);
	c.experts = 60;
	c.slots_max = 24;
	c.ring_slots = 12;
	c.tokens = c.max_tokens = 36;
	return c;
}

/* The small model with threads that compute half of the misses; the last row table is longer than a call. */
static fixture_config assisted_model(const ufm_backend *b, bool long_calls)
{
	fixture_config c = small_model(b);
	c.max_tokens = long_calls ? c.max_tokens : c.tokens;
	c.cpu_assist = UFM_CPU_ON;
	c.cpu_threads = 2;
	c.cpu_share_percent = 50;
	return c;
}

static void open_in_vain(fixture_config c)
{
	fixture f;
	atomic_store(&faults.fail_at, UINT64_MAX);
	atomic_store(&faults.calls, 0);
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	uint64_t total = atomic_load(&faults.calls);
	fixture_close(&f);
	assert_true(total > 100);
	for (uint64_t at = 0; at < total; at++) {
		atomic_store(&faults.calls, 0);
		atomic_store(&faults.fail_at, at);
		assert_int_equal(fixture_open(&f, &c), UFM_EDEVMEM);
		assert_int_equal(atomic_load(&faults.registered_bytes), 0);
	}
	atomic_store(&faults.fail_at, UINT64_MAX);
}

/* One engine survives the failure of every call of a step. */
static void fail_steps(fixture_config c)
{
	fixture f, clean;
	atomic_store(&faults.fail_at, UINT64_MAX);
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	c.backend = &cpu_backend;
	c.cpu_assist = UFM_CPU_OFF;
	c.cpu_threads = c.cpu_share_percent = 0;
	c.resident_all = 1;
	c.slots_max = 0;
	assert_int_equal(fixture_open(&clean, &c), UFM_OK);
	assert_int_equal(fixture_run(&clean, 1), UFM_OK);
	uint64_t want = fixture_hash(&clean), failed = 0;
	for (uint64_t at = 0;; at++) {
		atomic_store(&faults.calls, 0);
		atomic_store(&faults.fail_at, at);
		ufm_status status = fixture_run(&f, 1);
		atomic_store(&faults.fail_at, UINT64_MAX);
		if (status == UFM_OK)
			break;
		assert_int_equal(status, UFM_EDEVMEM);
		assert_int_equal(ufm_stream_sync(f.engine, NULL), UFM_OK);
		failed++;
		ufm_lease *lease; /* nothing stays pinned: a full lease can be had */
		assert_int_equal(ufm_acquire_begin(f.engine, 0, (uint32_t[]){0}, 1, &lease), UFM_OK);
		assert_int_equal(ufm_release(lease, NULL), UFM_OK);
		assert_int_equal(fixture_run(&f, 1), UFM_OK);
		assert_int_equal(fixture_hash(&f), want);
	}
	assert_true(failed > 20);
	fixture_close(&clean);
	fixture_close(&f);
}

/* An engine whose layer is resident, every time a new one: its first call uploads the table. */
static bool resident_step_fails_locally(const fixture_config *c, uint64_t at, uint64_t want)
{
	static const uint32_t all[7] = {0, 1, 2, 3, 4, 5, 6};
	fixture f;
	assert_int_equal(fixture_open(&f, c), UFM_OK);
	assert_int_equal(ufm_prefetch(f.engine, 0, all, 7), UFM_OK);
	atomic_store(&faults.calls, 0);
	atomic_store(&faults.fail_at, at);
	ufm_status status = fixture_run(&f, 1);
	atomic_store(&faults.fail_at, UINT64_MAX);
	assert_int_equal(ufm_stream_sync(f.engine, NULL), UFM_OK); /* if the wait has failed */
	uint64_t before = fixture_counter(&f, "resident_calls");
	assert_true(before <= 1 && (before || status != UFM_OK)); /* only its wait may have failed */
	for (uint64_t again = 1; again <= 5; again++) {
		assert_int_equal(fixture_run(&f, 1), UFM_OK);
		assert_int_equal(fixture_hash(&f), want);
		assert_int_equal(fixture_counter(&f, "resident_calls"), before + again);
	}
	assert_int_equal(fixture_identities(&f), 0);
	fixture_close(&f);
	assert_true(status == UFM_OK || status == UFM_EDEVMEM);
	return status != UFM_OK;
}

static void resident_steps_fail_locally(void **state)
{
	(void)state;
	ufm_backend backends[2] = {faulty_backend(), thoroughly_faulty_backend()};
	fixture_config c = small_model(&cpu_backend);
	c.slots_max = 0;
	c.max_tokens = c.tokens;
	c.vram_target_bytes = 8 << 20;
	fixture clean;
	atomic_store(&faults.fail_at, UINT64_MAX);
	assert_int_equal(fixture_open(&clean, &c), UFM_OK);
	assert_int_equal(fixture_run(&clean, 1), UFM_OK);
	uint64_t want = fixture_hash(&clean), failed = 0;
	fixture_close(&clean);
	for (uint32_t i = 0; i < 2; i++) {
		c.backend = &backends[i];
		/* what only hides a time, or that a copy has ended, is not the call's failure */
		for (uint64_t at = 0; at < 80; at++)
			failed += resident_step_fails_locally(&c, at, want);
	}
	print_message("%llu failed calls\n", (unsigned long long)failed);
	assert_true(failed > 20);
}

/* The tokens that an engine would write, in a file that is removed again. */
static uint64_t recorded_tokens(fixture *f)
{
	char path[64];
	ufm_routing_info info = {.struct_size = sizeof info};
	snprintf(path, sizeof path, "/tmp/ufm_fault_%d.npy", (int)getpid());
	assert_int_equal(ufm_engine_write_routing(f->engine, path, 1, &info), UFM_OK);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(info.dropped_tokens + info.partial_tokens, 0);
	return info.tokens;
}

static ufm_status forward_once(fixture *f)
{
	ufm_moe_call call;
	UFM_STRUCT_INIT(&call);
	call.tokens = f->c.tokens;
	call.x = &f->x_tokens;
	call.y = &f->y_tokens;
	return ufm_moe_forward(f->layers[0], &call, NULL);
}

/* Every device call of a layer call fails in turn: what ended well is recorded, once, and nothing else. */
static void count_recorded(fixture_config c, bool resident)
{
	fixture f;
	uint64_t well = 0, failed = 0;
	bool reached = true;
	c.routing_bytes = 1 << 16;
	atomic_store(&faults.fail_at, UINT64_MAX);
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	if (resident)
		assert_int_equal(fixture_prefetch_all(&f), UFM_OK);
	fixture_fill_x(&f, 1);
	for (uint64_t at = 0; reached; at++) {
		atomic_store(&faults.calls, 0);
		atomic_store(&faults.fail_at, at);
		ufm_status status = forward_once(&f);
		reached = atomic_load(&faults.calls) > at;
		atomic_store(&faults.fail_at, UINT64_MAX);
		assert_int_equal(ufm_stream_sync(f.engine, NULL), UFM_OK);
		well += status == UFM_OK;
		failed += status != UFM_OK;
		if (well)
			assert_int_equal(recorded_tokens(&f), well * c.tokens);
	}
	assert_true(failed > 5 && well > 0);
	assert_true((fixture_counter(&f, "resident_calls") > 0) == resident);
	fixture_close(&f);
}

static void only_what_ended_well_is_recorded(void **state)
{
	(void)state;
	ufm_backend b = thoroughly_faulty_backend();
	fixture_config c = small_model(&b);
	count_recorded(c, false);
	c.slots_max = 0;
	c.max_tokens = c.tokens;
	c.vram_target_bytes = 8 << 20;
	count_recorded(c, true);
}

/* A wait that fails writes nothing, and loses nothing. */
static void a_recording_outlives_a_failed_wait(void **state)
{
	(void)state;
	ufm_backend b = thoroughly_faulty_backend();
	fixture_config c = small_model(&b);
	fixture f;
	c.slots_max = 0;
	c.max_tokens = c.tokens;
	c.vram_target_bytes = 8 << 20;
	c.routing_bytes = 1 << 16;
	atomic_store(&faults.fail_at, UINT64_MAX);
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	assert_int_equal(fixture_prefetch_all(&f), UFM_OK);
	fixture_fill_x(&f, 1);
	assert_int_equal(forward_once(&f), UFM_OK);
	atomic_store(&faults.calls, 0);
	atomic_store(&faults.fail_at, 0);
	assert_int_equal(ufm_engine_write_routing(f.engine, "/tmp/ufm_fault_none.npy", 1, NULL),
	                 UFM_EDEVMEM);
	atomic_store(&faults.fail_at, UINT64_MAX);
	assert_int_equal(access("/tmp/ufm_fault_none.npy", F_OK), -1);
	assert_int_equal(recorded_tokens(&f), c.tokens);
	fixture_close(&f);
}

static uint32_t layers_told(fixture *f)
{
	timeline_span *spans;
	uint32_t count, layers = 0;
	assert_int_equal(engine_settle(f->engine), UFM_OK);
	assert_int_equal(timeline_copy(engine_timeline(f->engine), &spans, &count), UFM_OK);
	for (uint32_t i = 0; i < count; i++) {
		assert_true(spans[i].begin_ns <= spans[i].end_ns);
		layers += spans[i].kind == TIMELINE_LAYER;
	}
	alloc_free(spans);
	return layers;
}

/* Whatever fails with a timeline, results are right and the next step is told of; what could not be
 * recorded counts as dropped and costs no step that would have ended well. */
static void the_timeline_outlives_failures(void **state)
{
	(void)state;
	ufm_backend b = thoroughly_faulty_backend();
	fixture_config c = small_model(&b);
	fixture f;
	uint64_t untold = 0;
	c.timeline_events = 1u << 16;
	atomic_store(&faults.fail_at, UINT64_MAX);
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	assert_int_equal(fixture_run(&f, 1), UFM_OK);
	uint64_t want = fixture_hash(&f);
	for (uint64_t at = 0;; at++) {
		uint64_t dropped = timeline_dropped(engine_timeline(f.engine));
		atomic_store(&faults.calls, 0);
		atomic_store(&faults.fail_at, at);
		ufm_status status = fixture_run(&f, 1);
		atomic_store(&faults.fail_at, UINT64_MAX);
		if (status == UFM_OK && atomic_load(&faults.calls) <= at)
			break;
		assert_true(status == UFM_OK || status == UFM_EDEVMEM);
		if (status == UFM_OK)
			assert_int_equal(fixture_hash(&f), want);
		assert_int_equal(ufm_stream_sync(f.engine, NULL), UFM_OK);
		untold += timeline_dropped(engine_timeline(f.engine)) - dropped;
		uint32_t before = layers_told(&f);
		assert_int_equal(fixture_run(&f, 1), UFM_OK);
		assert_int_equal(fixture_hash(&f), want);
		assert_int_equal(layers_told(&f), before + c.layers);
	}
	print_message("%llu spans were dropped\n", (unsigned long long)untold);
	assert_true(untold > 4);
	fixture_close(&f);
}

/* A budget in force: as many slots as are said, and as much memory. */
static void check_budget(fixture *f, uint32_t slots)
{
	ufm_engine_info info = {.struct_size = sizeof info};
	ufm_engine_memory memory = {.struct_size = sizeof memory};
	ufm_engine_get_info(f->engine, &info);
	ufm_engine_get_memory(f->engine, &memory);
	uint64_t total = info.workspace_bytes + info.arena_bytes + slots * info.block_bytes;
	assert_int_equal(info.slots, slots);
	assert_int_equal(info.slab_bytes, slots * info.block_bytes);
	assert_int_equal(memory.held_bytes, (total + 65535) / 65536 * 65536);
}

static void check_works(fixture *f, uint64_t want)
{
	assert_int_equal(fixture_run(f, 1), UFM_OK);
	assert_int_equal(fixture_hash(f), want);
	uint64_t loads = fixture_counter(f, "streamed_uses") + fixture_counter(f, "prefetch_loads");
	assert_int_equal(fixture_counter(f, "h2d_weight_bytes") % loads, 0);
	assert_int_equal(fixture_counter(f, "uses"), fixture_counter(f, "resident_uses") +
	                                                 fixture_counter(f, "streamed_uses") +
	                                                 fixture_counter(f, "failed_uses"));
}

/* A resize whose device call number `at` fails. Copies and uses are in flight when it begins. */
static ufm_status faulty_resize(fixture *f, uint64_t target_bytes, uint64_t at)
{
	static const uint32_t all[7] = {0, 1, 2, 3, 4, 5, 6};
	assert_int_equal(ufm_prefetch(f->engine, 0, all, 7), UFM_OK);
	atomic_store(&faults.calls, 0);
	atomic_store(&faults.fail_at, at);
	ufm_status status = ufm_engine_resize(f->engine, target_bytes);
	atomic_store(&faults.fail_at, UINT64_MAX);
	return status;
}

/* Whatever fails inside a resize, the old budget holds, the outputs are right, and the next try gets
 * what the first was refused. */
static void resizes_fail_locally(void **state)
{
	(void)state;
	ufm_backend b = thoroughly_faulty_backend();
	fixture_config c = small_model(&b);
	c.slots_max = 0;
	c.d_model = 128;
	c.d_hidden = 72;
	c.vram_target_bytes = 8 << 20;
	fixture f;
	ufm_engine_info info = {.struct_size = sizeof info};
	atomic_store(&faults.fail_at, UINT64_MAX);
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	ufm_engine_get_info(f.engine, &info);
	assert_int_equal(info.slots, 7);
	assert_true(info.block_bytes > 65536); /* every slot is worth a call of unmap */
	assert_int_equal(fixture_run(&f, 1), UFM_OK);
	uint64_t want = fixture_hash(&f), large = info.vram_target_bytes, failed = 0;
	uint64_t small = info.workspace_bytes + info.arena_bytes + 3 * info.block_bytes + 65536;
	for (int growing = 0; growing < 2; growing++) {
		for (uint64_t at = 0;; at++) {
			assert_int_equal(ufm_engine_resize(f.engine, growing ? small : large), UFM_OK);
			ufm_status status = faulty_resize(&f, growing ? large : small, at);
			if (status == UFM_OK && atomic_load(&faults.calls) <= at)
				break;
			/* times that cannot be read are not worth an error */
			assert_true(status == UFM_OK || status == UFM_EDEVMEM);
			check_budget(&f, (status == UFM_OK) == growing ? 7 : 3);
			check_works(&f, want);
			failed += status != UFM_OK;
		}
	}
	print_message("%llu failed resizes\n", (unsigned long long)failed);
	assert_true(failed > 6);
	fixture_close(&f);
}

/* A step that failed may have left a copy in flight that no record tells of; its slot must not go
 * meanwhile. */
static void resizes_after_failed_steps(void **state)
{
	(void)state;
	ufm_backend b = faulty_backend();
	fixture_config c = small_model(&b);
	c.slots_max = 0;
	c.d_model = 128;
	c.d_hidden = 2048;
	c.tokens = c.max_tokens = 64;
	c.vram_target_bytes = 64 << 20;
	fixture f;
	ufm_engine_info info = {.struct_size = sizeof info};
	atomic_store(&faults.fail_at, UINT64_MAX);
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	ufm_engine_get_info(f.engine, &info);
	assert_int_equal(info.slots, 7);
	assert_int_equal(fixture_run(&f, 1), UFM_OK);
	uint64_t want = fixture_hash(&f), large = info.vram_target_bytes;
	uint64_t small = info.workspace_bytes + info.arena_bytes + 3 * info.block_bytes + 65536;
	for (uint64_t at = 0;; at++) {
		atomic_store(&faults.calls, 0);
		atomic_store(&faults.fail_at, at);
		ufm_status status = fixture_run(&f, 1);
		atomic_store(&faults.fail_at, UINT64_MAX);
		assert_int_equal(ufm_engine_resize(f.engine, small), UFM_OK);
		check_budget(&f, 3);
		assert_int_equal(ufm_engine_resize(f.engine, large), UFM_OK);
		check_works(&f, want);
		if (status == UFM_OK)
			break;
	}
	fixture_close(&f);
}

/* Combine is the only writer of y: with device tokens a failed call leaves y as it was. */
static void failed_calls_do_not_write(void **state)
{
	(void)state;
	ufm_backend b = faulty_backend();
	fixture_config c = small_model(&b);
	fixture f;
	atomic_store(&faults.fail_at, UINT64_MAX);
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	fixture_fill_x(&f, 0);
	uint32_t bytes = 6 * f.c.d_model * (uint32_t)sizeof(float), refused = 0;
	for (uint64_t at = 0;; at++) {
		memset(f.y, 0x5a, bytes);
		ufm_moe_call call;
		UFM_STRUCT_INIT(&call);
		call.tokens = 6;
		call.x = &f.x_tokens;
		call.y = &f.y_tokens;
		int32_t ids[12];
		memset(ids, 0x5a, sizeof ids);
		call.ids_out = ids;
		ufm_ticket ticket = {0};
		faults.combined = false;
		atomic_store(&faults.calls, 0);
		atomic_store(&faults.fail_at, at);
		ufm_status status = ufm_moe_forward(f.layers[0], &call, &ticket);
		atomic_store(&faults.fail_at, UINT64_MAX);
		assert_int_equal(ufm_stream_sync(f.engine, NULL), UFM_OK);
		if (status == UFM_OK)
			break;
		for (uint32_t i = 0; i < bytes && !faults.combined; i++)
			assert_int_equal(((uint8_t *)f.y)[i], 0x5a);
		for (uint32_t i = 0; i < 12 && !faults.combined; i++)
			assert_int_equal(ids[i], 0x5a5a5a5a);
		refused += !faults.combined;
	}
	assert_true(refused > 20);
	fixture_close(&f);
}

static void opening_fails_cleanly(void **state)
{
	(void)state;
	ufm_backend b = faulty_backend();
	open_in_vain(small_model(&b));
	open_in_vain(assisted_model(&b, false));
	open_in_vain(assisted_model(&b, true));
	fixture_config probed = small_model(&b);
	probed.cpu_assist = UFM_CPU_ON;
	open_in_vain(probed);
}

static void steps_fail_locally(void **state)
{
	(void)state;
	ufm_backend b = faulty_backend();
	fail_steps(small_model(&b));
	fail_steps(together_model(&b));
}

/* Copies fail while the threads compute: what they were given is done before the call returns. */
static void assisted_steps_fail_locally(void **state)
{
	(void)state;
	ufm_backend b = faulty_backend();
	fail_steps(assisted_model(&b, false));
	fail_steps(assisted_model(&b, true));
}

/* Whatever fails, waits and questions too, the next step is right. How often the copies are asked for
 * depends on timing, so failures are planted at many places instead of at every one. */
static void assisted_steps_survive_everything(void **state)
{
	(void)state;
	ufm_backend b = thoroughly_faulty_backend();
	fixture_config c = assisted_model(&b, false);
	c.cpu_share_percent = 0;
	fixture f;
	atomic_store(&faults.fail_at, UINT64_MAX);
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	assert_int_equal(fixture_run(&f, 1), UFM_OK);
	uint64_t want = fixture_hash(&f), failed = 0;
	for (uint64_t at = 0; at < 200; at++) {
		atomic_store(&faults.calls, 0);
		atomic_store(&faults.fail_at, at);
		failed += fixture_run(&f, 1) != UFM_OK;
		atomic_store(&faults.fail_at, UINT64_MAX);
		assert_int_equal(ufm_stream_sync(f.engine, NULL), UFM_OK);
		assert_int_equal(fixture_run(&f, 1), UFM_OK);
		assert_int_equal(fixture_hash(&f), want);
	}
	assert_true(failed > 20);
	fixture_close(&f);
}

static void unreadable_expert_is_named(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = {.layers = 2, .store_filter = "fault:layer=1,expert=3"};
	assert_int_equal(fixture_open(&f, &c), UFM_EEXPERT_IO);
	assert_non_null(strstr(ufm_last_error(), "expert 3"));
	assert_non_null(strstr(ufm_last_error(), "layer 1"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opening_fails_cleanly),
		cmocka_unit_test(steps_fail_locally),
		cmocka_unit_test(resizes_fail_locally),
		cmocka_unit_test(resizes_after_failed_steps),
		cmocka_unit_test(failed_calls_do_not_write),
		cmocka_unit_test(unreadable_expert_is_named),
		cmocka_unit_test(assisted_steps_fail_locally),
		cmocka_unit_test(assisted_steps_survive_everything),
		cmocka_unit_test(only_what_ended_well_is_recorded),
		cmocka_unit_test(a_recording_outlives_a_failed_wait),
		cmocka_unit_test(the_timeline_outlives_failures),
		cmocka_unit_test(resident_steps_fail_locally),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

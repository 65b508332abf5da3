/* SPDX-License-Identifier: MIT */
/* What only the cpu backend promises: the emulated link, strict refusals, and memory really given
 * back. */
#include "conformance.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/limits.h"

#define MS_NS ((uint64_t)1000000)

/* ------------------------------------------------------------------ the emulated link */

/* 0.05 GB/s: 2 MB take 40 ms. Only lower bounds are checked. */
#define LINK_GBPS 0.05
#define COPY_BYTES ((uint64_t)2000000)
#define COPY_NS (40 * MS_NS)

typedef struct link_device {
	ufm_device *device;
	ufm_stream *a, *b;
	ufm_devptr memory;
	uint64_t memory_bytes;
	unsigned char *host;
} link_device;

static void link_open(link_device *l)
{
	const ufm_backend *b = the.backend;
	ufm_device_info info;

	OK(open_device(0, LINK_GBPS, &l->device));
	b->device_get_info(l->device, &info);
	assert_true(info.link_gbps == LINK_GBPS);
	OK(b->stream_open(l->device, NULL, &l->a));
	OK(b->stream_open(l->device, NULL, &l->b));
	l->memory_bytes = 64 * info.map_granularity_bytes;
	assert_true(l->memory_bytes >= 2 * COPY_BYTES);
	OK(b->mem_reserve(l->device, l->memory_bytes, &l->memory));
	OK(b->mem_map(l->device, l->memory, l->memory_bytes));
	l->host = alloc_pages(2 * COPY_BYTES);
	assert_non_null(l->host);
}

static void link_close(link_device *l)
{
	const ufm_backend *b = the.backend;

	b->stream_close(l->a);
	b->stream_close(l->b);
	b->mem_release(l->device, l->memory, l->memory_bytes);
	b->device_close(l->device);
	alloc_pages_free(l->host, 2 * COPY_BYTES);
}

static void link_copy(const link_device *l, ufm_stream *stream, ufm_copy_kind kind, uint32_t half)
{
	ufm_devptr device = l->memory + half * COPY_BYTES;
	ufm_devptr host = (ufm_devptr)(uintptr_t)(l->host + half * COPY_BYTES);

	OK(the.backend->copy(stream, kind, kind == UFM_COPY_D2H ? host : device,
	                     kind == UFM_COPY_H2D ? host : device, COPY_BYTES));
}

static void cpu_link_or_refusal(void **state)
{
	(void)state;
	ufm_device *device = NULL;

	if (the.is_cpu) {
		FAILS(open_device(0, -1.0, &device), UFM_EINVAL);
		FAILS(open_device(0, (double)NAN, &device), UFM_EINVAL);
		FAILS(open_device(0, (double)INFINITY, &device), UFM_EINVAL);
	} else {
		FAILS(open_device(0, 1.0, &device), UFM_EUNSUPPORTED);
	}
}

/* Two copies one way share the link, whatever their streams. */
static void cpu_link_is_shared(void **state)
{
	(void)state;
	link_device l;

	link_open(&l);
	memset(l.host, 0x3c, 2 * COPY_BYTES);
	for (ufm_copy_kind kind = UFM_COPY_H2D; kind <= UFM_COPY_D2H; kind++) {
		uint64_t start_ns = clock_now_ns();
		link_copy(&l, l.a, kind, 0);
		link_copy(&l, l.b, kind, 1);
		OK(the.backend->stream_sync(l.a));
		OK(the.backend->stream_sync(l.b));
		assert_true(clock_now_ns() - start_ns >= 2 * COPY_NS);
	}
	for (uint64_t i = 0; i < 2 * COPY_BYTES; i++)
		assert_int_equal(l.host[i], 0x3c);
	link_close(&l);
}

/* Time between events around a copy, and a wait that must run out. */
static void cpu_link_and_events(void **state)
{
	(void)state;
	const ufm_backend *b = the.backend;
	ufm_event *from, *to;
	uint64_t elapsed_ns = 0;
	int done = 1;
	link_device l;

	link_open(&l);
	OK(b->event_open(l.device, &from));
	OK(b->event_open(l.device, &to));
	uint64_t start_ns = clock_now_ns();
	OK(b->event_record(from, l.a));
	link_copy(&l, l.a, UFM_COPY_H2D, 0);
	OK(b->event_record(to, l.a));
	ufm_status early = b->event_sync(to, MS_NS);
	/* On a machine so loaded that all the copy's time is over, there is nothing to see. */
	if (clock_now_ns() - start_ns < COPY_NS) {
		assert_int_equal(early, UFM_ETIMEDOUT);
		assert_non_null(strstr(ufm_last_error(), "1000000 ns"));
	}
	ufm_status pending = b->event_query(to, &done) == UFM_OK && !done ? UFM_EINVAL : UFM_OK;
	if (pending == UFM_EINVAL && clock_now_ns() - start_ns < COPY_NS)
		FAILS(b->event_elapsed(from, to, &elapsed_ns), UFM_EINVAL);
	OK(b->event_sync(to, 60000 * MS_NS));
	OK(b->event_elapsed(from, to, &elapsed_ns));
	assert_true(elapsed_ns >= COPY_NS);
	b->event_close(from);
	b->event_close(to);
	link_close(&l);
}

/* ------------------------------------------------------------------ refusals */

static void cpu_bad_config(void **state)
{
	(void)state;
	ufm_device *device = NULL;
	ufm_device_config config;

	UFM_STRUCT_INIT(&config);
	config.index = 1;
	FAILS(the.backend->device_open(&config, &device), UFM_EINVAL);
	config.index = 0;
	config.compute_threads = 100000;
	FAILS(the.backend->device_open(&config, &device), UFM_EINVAL);
	config.compute_threads = 0;
	config.memory_limit_bytes = (uint64_t)1 << 60;
	FAILS(the.backend->device_open(&config, &device), UFM_EUNSUPPORTED);
	config.memory_limit_bytes = 0;
	config.struct_size = 0;
	FAILS(the.backend->device_open(&config, &device), UFM_EINVAL);
	assert_null(device);
}

static void cpu_bad_memory_calls(void **state)
{
	(void)state;
	const ufm_backend *b = the.backend;
	uint64_t granule = the.info.map_granularity_bytes;
	ufm_devptr base = 0;

	FAILS(b->mem_reserve(the.device, 0, &base), UFM_EINVAL);
	FAILS(b->mem_reserve(the.device, granule + 1, &base), UFM_EINVAL);
	assert_int_equal(base, 0);
	OK(b->mem_reserve(the.device, 4 * granule, &base));
	FAILS(b->mem_map(the.device, base, 0), UFM_EINVAL);
	FAILS(b->mem_map(the.device, base + 1, granule), UFM_EINVAL);
	FAILS(b->mem_map(the.device, base, granule - 1), UFM_EINVAL);
	FAILS(b->mem_map(the.device, base + 3 * granule, 2 * granule), UFM_EINVAL);
	FAILS(b->mem_map(the.device, 0, granule), UFM_EINVAL);
	OK(b->mem_map(the.device, base + granule, granule));
	FAILS(b->mem_map(the.device, base, 2 * granule), UFM_EINVAL);
	FAILS(b->mem_unmap(the.device, base, 2 * granule), UFM_EINVAL);
	FAILS(b->mem_unmap(the.device, base + 2 * granule, granule), UFM_EINVAL);
	OK(b->mem_unmap(the.device, base + granule, granule));
	b->mem_release(the.device, base, 4 * granule);
}

static void cpu_has_no_native_streams(void **state)
{
	(void)state;
	ufm_stream *stream = NULL;

	FAILS(the.backend->stream_open(the.device, &stream, &stream), UFM_EUNSUPPORTED);
	assert_null(stream);
}

/* A record on a stream without work passes in the call; one behind work does not pass before it. */
static void cpu_record_on_an_idle_stream(void **state)
{
	(void)state;
	const ufm_backend *b = the.backend;
	ufm_event *idle, *busy;
	uint64_t elapsed_ns = 0;
	link_device l;
	int done = 0;

	link_open(&l);
	OK(b->event_open(l.device, &idle));
	OK(b->event_open(l.device, &busy));
	for (int round = 0; round < 3; round++) {
		OK(b->event_record(idle, l.a));
		OK(b->event_query(idle, &done));
		assert_int_equal(done, 1);
		link_copy(&l, l.a, UFM_COPY_H2D, 0);
		OK(b->event_record(busy, l.a));
		OK(b->event_sync(busy, 60000 * MS_NS));
		OK(b->event_elapsed(idle, busy, &elapsed_ns));
		assert_true(elapsed_ns >= COPY_NS);
		/* the other way round: what was behind work is recorded again without any */
		OK(b->stream_sync(l.a));
		OK(b->event_record(busy, l.a));
		OK(b->event_elapsed(busy, busy, &elapsed_ns));
		assert_true(elapsed_ns == 0);
	}
	b->event_close(idle);
	b->event_close(busy);
	link_close(&l);
}

/* Events of one device mean nothing on another. */
static void cpu_two_devices(void **state)
{
	(void)state;
	const ufm_backend *b = the.backend;
	ufm_device *other;
	ufm_event *event, *mine;
	uint64_t elapsed_ns;

	OK(open_device(0, 0.0, &other));
	OK(b->event_open(other, &event));
	OK(b->event_open(the.device, &mine));
	FAILS(b->event_record(event, the.stream), UFM_EINVAL);
	FAILS(b->stream_wait(the.stream, event), UFM_EINVAL);
	FAILS(b->event_elapsed(event, mine, &elapsed_ns), UFM_EINVAL);
	b->event_close(event);
	b->event_close(mine);
	b->device_close(other);
}

/* ------------------------------------------------------------------ what the system sees */

static void cpu_unmapped_pages_are_given_back(void **state)
{
	(void)state;
	const ufm_backend *b = the.backend;
	const uint64_t size_bytes = (uint64_t)64 << 20;
	limits_memory before, full, after;
	unsigned char byte = 1;
	ufm_devptr base;

	OK(b->mem_reserve(the.device, size_bytes, &base));
	OK(b->mem_map(the.device, base, size_bytes));
	limits_read_memory(&before);
	OK(b->fill(the.stream, base, 1, size_bytes));
	OK(b->stream_sync(the.stream));
	limits_read_memory(&full);
	OK(b->mem_unmap(the.device, base, size_bytes));
	limits_read_memory(&after);
	assert_true(full.process_rss_bytes >= before.process_rss_bytes + size_bytes / 2);
	assert_true(after.process_rss_bytes <= full.process_rss_bytes - size_bytes / 2);
	/* Fresh pages are zero. */
	OK(b->mem_map(the.device, base, size_bytes));
	download(&byte, base + size_bytes / 2, 1);
	assert_int_equal(byte, 0);
	b->mem_release(the.device, base, size_bytes);
}

/* Streams and memory that the caller left open go with the device, after their work. */
static void cpu_closing_with_work_in_flight(void **state)
{
	(void)state;
	const ufm_backend *b = the.backend;
	static unsigned char out[1 << 20];
	ufm_device *device;
	ufm_stream *stream;
	ufm_devptr base;

	OK(open_device(0, 0.0, &device));
	OK(b->stream_open(device, NULL, &stream));
	OK(b->mem_reserve(device, sizeof out, &base));
	OK(b->mem_map(device, base, sizeof out));
	for (uint32_t i = 0; i < 100; i++)
		OK(b->fill(stream, base, (uint8_t)i, sizeof out));
	OK(b->copy(stream, UFM_COPY_D2H, (ufm_devptr)(uintptr_t)out, base, sizeof out));
	b->device_close(device);
	assert_int_equal(out[0], 99);
	assert_int_equal(out[sizeof out - 1], 99);
}

/* Fails the allocation whose number is *ctx. */
static bool fail_one(void *ctx, size_t size_bytes)
{
	int *left = ctx;

	(void)size_bytes;
	return (*left)-- != 0;
}

static ufm_status open_all(void)
{
	const ufm_backend *b = the.backend;
	ufm_device *device;
	ufm_stream *stream;
	ufm_event *event;
	ufm_devptr base;
	ufm_status status = open_device(0, 0.0, &device);

	if (status != UFM_OK)
		return status;
	status = b->stream_open(device, NULL, &stream);
	if (status == UFM_OK) {
		status = b->event_open(device, &event);
		if (status == UFM_OK) {
			status = b->mem_reserve(device, (uint64_t)1 << 20, &base);
			b->event_close(event);
		}
		b->stream_close(stream);
	}
	b->device_close(device);
	return status;
}

static void cpu_every_allocation_fails_once(void **state)
{
	(void)state;
	int number = 0, left = 0;
	ufm_status status = UFM_ENOMEM;

	for (; status != UFM_OK && number < 100; number++) {
		left = number;
		alloc_set_hook(fail_one, &left);
		status = open_all();
		alloc_set_hook(NULL, NULL);
		assert_true(status == UFM_OK || status == UFM_ENOMEM);
	}
	/* Device, pool, scratch, stream, timeline, event, range. */
	assert_true(number > 7 && number < 100);
}

static const struct CMUnitTest cases[] = {
	BARE_CASE(cpu_link_or_refusal),
	BARE_CASE(cpu_link_is_shared),
	BARE_CASE(cpu_link_and_events),
	BARE_CASE(cpu_record_on_an_idle_stream),
	BARE_CASE(cpu_bad_config),
	CASE(cpu_bad_memory_calls),
	CASE(cpu_has_no_native_streams),
	CASE(cpu_two_devices),
	CASE(cpu_unmapped_pages_are_given_back),
	BARE_CASE(cpu_closing_with_work_in_flight),
	BARE_CASE(cpu_every_allocation_fails_once),
};
const case_list cpu_cases = CASE_LIST(cases);

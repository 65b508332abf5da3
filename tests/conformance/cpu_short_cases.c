/* SPDX-License-Identifier: MIT */
/* What the cpu backend does at once: short copies and fills on a stream without work, and only there. */
#include "conformance.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"

#define MS_NS ((uint64_t)1000000)
#define SHORT_BYTES ((uint64_t)256 * 1024)
#define MEMORY_BYTES (4 * SHORT_BYTES)
/* 0.05 GB/s: 200 kB take 4 ms, all memory takes 20 ms. */
#define LINK_GBPS 0.05
#define COPY_BYTES ((uint64_t)200000)
#define COPY_NS (4 * MS_NS)

typedef struct two_streams {
	ufm_device *device;
	ufm_stream *a, *b;
	ufm_devptr memory;
	unsigned char *host;
} two_streams;

static void streams_open(two_streams *t, double link_gbps)
{
	const ufm_backend *b = the.backend;

	OK(open_device(0, link_gbps, &t->device));
	OK(b->stream_open(t->device, NULL, &t->a));
	OK(b->stream_open(t->device, NULL, &t->b));
	OK(b->mem_reserve(t->device, MEMORY_BYTES, &t->memory));
	OK(b->mem_map(t->device, t->memory, MEMORY_BYTES));
	t->host = alloc_pages(MEMORY_BYTES);
	assert_non_null(t->host);
}

static void streams_close(two_streams *t)
{
	the.backend->device_close(t->device);
	alloc_pages_free(t->host, MEMORY_BYTES);
}

/* A device address is one of this process: what lies there is seen without a copy. */
static unsigned char *seen(const two_streams *t)
{
	return (unsigned char *)(uintptr_t)t->memory;
}

static ufm_devptr host_at(const two_streams *t)
{
	return (ufm_devptr)(uintptr_t)t->host;
}

static void check_all(const unsigned char *bytes, uint64_t size_bytes, unsigned char wanted)
{
	for (uint64_t i = 0; i < size_bytes; i++)
		if (bytes[i] != wanted)
			fail_msg("byte %llu is %u, expected %u", (unsigned long long)i, bytes[i], wanted);
}

static void cpu_short_work_is_done_at_once(void **state)
{
	(void)state;
	static const uint64_t sizes[] = {1, 63, 4097, SHORT_BYTES};
	const ufm_backend *b = the.backend;
	two_streams t;

	streams_open(&t, 0.0);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		unsigned char mark = (unsigned char)(10 + i);

		OK(b->fill(t.a, t.memory, mark, sizes[i]));
		check_all(seen(&t), sizes[i], mark);
		memset(t.host, mark + 100, sizes[i]);
		OK(b->copy(t.a, UFM_COPY_H2D, t.memory, host_at(&t), sizes[i]));
		check_all(seen(&t), sizes[i], mark + 100);
		assert_true(seen(&t)[sizes[i]] != mark + 100); /* and nothing behind it */
	}
	streams_close(&t);
}

/* They count as one: the lock under which they are enqueued is not held for longer. Longer ones are done, too. */
static void cpu_copies_at_once_or_later(void **state)
{
	(void)state;
	const ufm_backend *b = the.backend;
	ufm_devptr to[4], from[4];
	two_streams t;

	streams_open(&t, 0.0);
	for (uint32_t i = 0; i < 4; i++) {
		to[i] = t.memory + i * SHORT_BYTES;
		from[i] = host_at(&t) + i * SHORT_BYTES;
	}
	memset(t.host, 5, MEMORY_BYTES);
	ufm_copies_args args = {UFM_COPY_H2D, 4, to, from, SHORT_BYTES / 4};
	OK(b->copies(t.a, &args));
	for (uint32_t i = 0; i < 4; i++)
		check_all(seen(&t) + i * SHORT_BYTES, SHORT_BYTES / 4, 5);
	args.size_bytes = SHORT_BYTES;
	memset(t.host, 6, MEMORY_BYTES);
	OK(b->copies(t.a, &args));
	OK(b->stream_sync(t.a));
	check_all(seen(&t), MEMORY_BYTES, 6);
	streams_close(&t);
}

/* Nothing overtakes what a stream waits for. On a machine so loaded that the wait is over, there is nothing to see:
 * one of several rounds must see it. */
static void cpu_short_work_stays_behind_what_is_before_it(void **state)
{
	(void)state;
	const ufm_backend *b = the.backend;
	uint32_t rounds_seen = 0;
	ufm_event *event;
	two_streams t;

	streams_open(&t, LINK_GBPS);
	OK(b->event_open(t.device, &event));
	for (uint32_t round = 0; round < 20; round++) {
		int passed = 1;

		OK(b->fill(t.b, t.memory, 1, 64));
		OK(b->stream_sync(t.b));
		OK(b->copy(t.a, UFM_COPY_D2H, host_at(&t), t.memory, COPY_BYTES));
		OK(b->event_record(event, t.a));
		OK(b->stream_wait(t.b, event));
		OK(b->fill(t.b, t.memory, 2, 64));
		unsigned char found = *(volatile unsigned char *)seen(&t);
		OK(b->event_query(event, &passed));
		assert_true(passed || found == 1);
		rounds_seen += !passed;
		OK(b->stream_sync(t.b));
		check_all(seen(&t), 64, 2);
	}
	assert_true(rounds_seen > 0);
	b->event_close(event);
	streams_close(&t);
}

/* The link's time passes on the stream, not in the call: one of several rounds must see the call return before it. */
static void cpu_short_copies_take_the_links_time(void **state)
{
	(void)state;
	const ufm_backend *b = the.backend;
	uint32_t rounds_seen = 0;
	two_streams t;

	streams_open(&t, LINK_GBPS);
	for (uint32_t round = 0; round < 20; round++) {
		uint64_t begin_ns = clock_now_ns();

		OK(b->copy(t.a, round % 2 ? UFM_COPY_H2D : UFM_COPY_D2H, round % 2 ? t.memory : host_at(&t),
		           round % 2 ? host_at(&t) : t.memory, COPY_BYTES));
		rounds_seen += clock_now_ns() - begin_ns < COPY_NS;
		OK(b->stream_sync(t.a));
		assert_true(clock_now_ns() - begin_ns >= COPY_NS);
	}
	assert_true(rounds_seen > 0);
	streams_close(&t);
}

static const struct CMUnitTest cases[] = {
	BARE_CASE(cpu_short_work_is_done_at_once),
	BARE_CASE(cpu_copies_at_once_or_later),
	BARE_CASE(cpu_short_work_stays_behind_what_is_before_it),
	BARE_CASE(cpu_short_copies_take_the_links_time),
};
const case_list cpu_short_cases = CASE_LIST(cases);

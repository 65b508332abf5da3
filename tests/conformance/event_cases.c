/* SPDX-License-Identifier: MIT */
/* Events: order across streams, queries, waits with a time limit, elapsed time. */
#include "conformance.h"

#include <string.h>

#include "base/rng.h"

#define SECOND_NS ((uint64_t)1000000000)
/* Passes only where something hangs. */
#define PATIENCE_NS (60 * SECOND_NS)

static ufm_stream *new_stream(void)
{
	ufm_stream *stream = NULL;

	OK(the.backend->stream_open(the.device, NULL, &stream));
	return stream;
}

static ufm_event *new_event(void)
{
	ufm_event *event = NULL;

	OK(the.backend->event_open(the.device, &event));
	return event;
}

/* A slow producer on one stream, a consumer on another, and back. */
static void event_producer_and_consumer(void **state)
{
	(void)state;
	const ufm_backend *b = the.backend;
	ufm_stream *producer = new_stream(), *consumer = new_stream();
	ufm_event *full = new_event(), *empty = new_event();
	ufm_devptr data = device_alloc(100000);
	unsigned char *seen = host_alloc(40 * 256);

	for (uint32_t i = 0; i < 40; i++) {
		OK(b->stream_wait(producer, empty)); /* never recorded in the first round */
		if (i % 3 == 0)
			keep_busy(producer);
		OK(b->fill(producer, data, (uint8_t)(i + 1), 100000));
		OK(b->event_record(full, producer));
		OK(b->stream_wait(consumer, full));
		if (i % 5 == 0)
			keep_busy(consumer);
		OK(b->copy(consumer, UFM_COPY_D2H, (ufm_devptr)(uintptr_t)(seen + i * 256), data + 99700,
		           256));
		OK(b->event_record(empty, consumer));
	}
	OK(b->event_sync(empty, PATIENCE_NS));
	for (uint32_t i = 0; i < 40 * 256; i++)
		assert_int_equal(seen[i], i / 256 + 1);
	b->event_close(full);
	b->event_close(empty);
	b->stream_close(producer);
	b->stream_close(consumer);
}

static void event_never_recorded(void **state)
{
	(void)state;
	const ufm_backend *b = the.backend;
	ufm_event *event = new_event();
	unsigned char byte = 0;
	uint64_t elapsed_ns;
	int done = 0;

	OK(b->event_query(event, &done));
	assert_int_equal(done, 1);
	OK(b->event_sync(event, 0));
	OK(b->event_sync(event, UFM_WAIT_FOREVER));
	OK(b->stream_wait(the.stream, event));
	ufm_devptr data = device_alloc(1);
	OK(b->fill(the.stream, data, 9, 1));
	download(&byte, data, 1);
	assert_int_equal(byte, 9);
	FAILS(b->event_elapsed(event, event, &elapsed_ns), UFM_EINVAL);
	b->event_close(event);
}

/* A wait holds for the record it found, not for later ones: here the later record can only pass
 * after the wait has. */
static void event_recorded_again(void **state)
{
	(void)state;
	const ufm_backend *b = the.backend;
	ufm_stream *first = new_stream(), *second = new_stream(), *slow = new_stream();
	ufm_event *again = new_event(), *held = new_event(), *behind = new_event();

	for (uint32_t round = 0; round < 10; round++) {
		OK(b->event_record(again, first));
		keep_busy(slow);
		OK(b->event_record(held, slow));
		OK(b->stream_wait(second, held)); /* keeps the next wait from running yet */
		OK(b->stream_wait(second, again));
		OK(b->event_record(behind, second));
		OK(b->stream_wait(first, behind));
		OK(b->event_record(again, first));
		OK(b->event_sync(again, PATIENCE_NS));
	}
	b->event_close(again);
	b->event_close(held);
	b->event_close(behind);
	b->stream_close(first);
	b->stream_close(second);
	b->stream_close(slow);
}

/* The last record counts, also when an earlier one on a slower stream passes after it. */
static void event_recorded_on_two_streams(void **state)
{
	(void)state;
	const ufm_backend *b = the.backend;
	ufm_stream *slow = new_stream(), *fast = new_stream(), *third = new_stream();
	ufm_event *event = new_event(), *end = new_event();
	ufm_devptr data = device_alloc(4096);
	unsigned char *seen = host_alloc(4096);

	for (uint32_t round = 0; round < 10; round++) {
		keep_busy(slow);
		OK(b->fill(slow, data, (uint8_t)(round + 1), 4096));
		OK(b->event_record(event, slow));
		OK(b->stream_wait(third, event)); /* for the slow one */
		OK(b->event_record(event, fast));
		OK(b->event_sync(event, PATIENCE_NS));
		OK(b->copy(third, UFM_COPY_D2H, (ufm_devptr)(uintptr_t)seen, data, 4096));
		OK(b->event_record(end, third));
		OK(b->event_sync(end, PATIENCE_NS));
		assert_int_equal(seen[0], round + 1);
		assert_int_equal(seen[4095], round + 1);
	}
	b->event_close(event);
	b->event_close(end);
	b->stream_close(slow);
	b->stream_close(fast);
	b->stream_close(third);
}

static void event_query_sync_elapsed(void **state)
{
	(void)state;
	const ufm_backend *b = the.backend;
	ufm_event *from = new_event(), *to = new_event();
	uint64_t forth_ns = 0, back_ns = 1;
	int done = 0;

	OK(b->event_record(from, the.stream));
	keep_busy(the.stream);
	OK(b->event_record(to, the.stream));
	ufm_status status = b->event_sync(to, 0);
	assert_true(status == UFM_OK || status == UFM_ETIMEDOUT);
	OK(b->event_sync(to, UFM_WAIT_FOREVER));
	OK(b->event_sync(to, 0));
	OK(b->event_query(to, &done));
	assert_int_equal(done, 1);
	OK(b->event_query(from, &done));
	assert_int_equal(done, 1);
	OK(b->event_elapsed(from, to, &forth_ns));
	OK(b->event_elapsed(to, from, &back_ns));
	assert_true(forth_ns > 0 && forth_ns < PATIENCE_NS);
	assert_int_equal(back_ns, 0);
	b->event_close(from);
	b->event_close(to);
}

/* Closing does not wait, and does not disturb what is queued. */
static void event_closing_a_pending_event(void **state)
{
	(void)state;
	const ufm_backend *b = the.backend;
	ufm_stream *other = new_stream();
	unsigned char byte = 0;
	ufm_devptr data = device_alloc(1);

	ufm_event *event = new_event();
	keep_busy(the.stream);
	OK(b->fill(the.stream, data, 77, 1));
	OK(b->event_record(event, the.stream));
	OK(b->stream_wait(other, event));
	b->event_close(event);
	unsigned char *seen = host_alloc(1);
	OK(b->copy(other, UFM_COPY_D2H, (ufm_devptr)(uintptr_t)seen, data, 1));
	OK(b->stream_sync(other));
	assert_int_equal(*seen, 77);
	download(&byte, data, 1);
	assert_int_equal(byte, 77);
	b->stream_close(other);
}

/* An event outlives the stream that recorded it. */
static void event_stream_closed_first(void **state)
{
	(void)state;
	const ufm_backend *b = the.backend;
	ufm_event *event = new_event();
	int done = 0;

	for (uint32_t round = 0; round < 4; round++) {
		ufm_stream *stream = new_stream();
		keep_busy(stream);
		OK(b->event_record(event, stream));
		b->stream_close(stream);
		OK(b->event_query(event, &done));
		assert_int_equal(done, 1);
		stream = new_stream();
		OK(b->stream_wait(stream, event));
		OK(b->stream_sync(stream));
		b->stream_close(stream);
	}
	b->event_close(event);
}

/* ------------------------------------------------------------------ a random schedule */

#define STREAMS 4
#define BUFFERS 6
#define BUFFER_BYTES 20000u
#define STEPS 400

typedef struct schedule {
	ufm_stream *streams[STREAMS];
	ufm_event *used[BUFFERS]; /* last use of a buffer, reading or writing */
	ufm_devptr buffers[BUFFERS];
	unsigned char expected[BUFFERS];
} schedule;

/* Fills a buffer, or copies another to it, after the last use of both. */
static void random_step(schedule *s, rng *r)
{
	const ufm_backend *b = the.backend;
	uint32_t to = rng_below(r, BUFFERS), from = rng_below(r, BUFFERS);
	ufm_stream *stream = s->streams[rng_below(r, STREAMS)];

	OK(b->stream_wait(stream, s->used[to]));
	OK(b->stream_wait(stream, s->used[from]));
	if (to == from) {
		s->expected[to] = (unsigned char)rng_u64(r);
		OK(b->fill(stream, s->buffers[to], s->expected[to], BUFFER_BYTES));
	} else {
		s->expected[to] = s->expected[from];
		OK(b->copy(stream, UFM_COPY_D2D, s->buffers[to], s->buffers[from], BUFFER_BYTES));
	}
	OK(b->event_record(s->used[to], stream));
	OK(b->event_record(s->used[from], stream));
}

static void event_random_schedule(void **state)
{
	(void)state;
	static unsigned char out[BUFFER_BYTES];
	schedule s;
	rng r;

	rng_seed(&r, the.seed);
	for (uint32_t i = 0; i < STREAMS; i++)
		s.streams[i] = new_stream();
	for (uint32_t i = 0; i < BUFFERS; i++) {
		s.used[i] = new_event();
		s.buffers[i] = device_alloc(BUFFER_BYTES);
		s.expected[i] = 0xff;
	}
	for (uint32_t i = 0; i < STEPS; i++)
		random_step(&s, &r);
	for (uint32_t i = 0; i < BUFFERS; i++) {
		OK(the.backend->stream_wait(the.stream, s.used[i]));
		download(out, s.buffers[i], BUFFER_BYTES);
		for (uint32_t j = 0; j < BUFFER_BYTES; j++) {
			if (out[j] != s.expected[i])
				fail_msg("buffer %u, byte %u, seed %llu", i, j, (unsigned long long)the.seed);
		}
	}
	for (uint32_t i = 0; i < BUFFERS; i++)
		the.backend->event_close(s.used[i]);
	for (uint32_t i = 0; i < STREAMS; i++)
		the.backend->stream_close(s.streams[i]);
}

static const struct CMUnitTest cases[] = {
	CASE(event_producer_and_consumer), CASE(event_never_recorded),
	CASE(event_recorded_again),        CASE(event_recorded_on_two_streams),
	CASE(event_query_sync_elapsed),    CASE(event_closing_a_pending_event),
	CASE(event_stream_closed_first),   CASE(event_random_schedule),
};
const case_list event_cases = CASE_LIST(cases);

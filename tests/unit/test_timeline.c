/* SPDX-License-Identifier: MIT */
/* The timeline: what its ring keeps, the file drawn from it, and an engine's spans. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/pool.h"
#include "pager/pager.h"
#include "support/fixture.h"
#include "telemetry/timeline_file.h"

#define assert_says(text) assert_non_null(strstr(ufm_last_error(), (text)))

static timeline_span cpu_span(uint64_t begin_ns, uint64_t end_ns, uint32_t expert)
{
	return (timeline_span){.kind = TIMELINE_CPU_EXPERT,
	                       .begin_ns = begin_ns,
	                       .end_ns = end_ns,
	                       .layer = 3,
	                       .expert = expert,
	                       .tokens = 5,
	                       .bytes = 4096};
}

static timeline *open_ring(uint32_t events)
{
	timeline *t;
	assert_int_equal(timeline_open(events, &t), UFM_OK);
	return t;
}

/* ---- the ring */

static void the_ring_keeps_the_latest(void **state)
{
	(void)state;
	for (uint32_t room = 1; room <= 7; room += 3) {
		timeline *t = open_ring(room);
		for (uint32_t added = 0; added <= 2 * room + 1; added++) {
			timeline_span *spans;
			uint32_t count, kept = added < room ? added : room;
			assert_int_equal(timeline_copy(t, &spans, &count), UFM_OK);
			assert_int_equal(count, kept);
			for (uint32_t i = 0; i < kept; i++)
				assert_int_equal(spans[i].expert, added - kept + i);
			assert_int_equal(timeline_dropped(t), added - kept);
			alloc_free(spans);
			timeline_span span = cpu_span(added, added + 1, added);
			timeline_add(t, &span);
		}
		timeline_close(t);
	}
}

static void lost_spans_count_as_dropped(void **state)
{
	(void)state;
	timeline *t = open_ring(2);
	timeline_drop(t);
	assert_int_equal(timeline_dropped(t), 1);
	for (uint32_t i = 0; i < 3; i++)
		timeline_add(t, &(timeline_span){.kind = TIMELINE_COPY});
	assert_int_equal(timeline_dropped(t), 2);
	timeline_close(t);
}

static void no_timeline_is_allowed(void **state)
{
	(void)state;
	timeline_add(NULL, &(timeline_span){.kind = TIMELINE_COPY});
	timeline_drop(NULL);
	timeline_close(NULL);
	assert_int_equal(timeline_file_close(NULL), UFM_OK);
}

static void add_one(void *ctx, uint32_t item, uint32_t worker)
{
	(void)worker;
	timeline_span span = cpu_span(item, item, item);
	timeline_add(ctx, &span);
}

static void many_threads_add(void **state)
{
	(void)state;
	enum { ITEMS = 5000 };
	timeline *t = open_ring(ITEMS);
	timeline_span *spans;
	uint32_t count;
	uint64_t sum = 0;
	pool *threads;
	assert_int_equal(pool_open(4, &threads), UFM_OK);
	pool_run(threads, ITEMS, add_one, t);
	pool_close(threads);
	assert_int_equal(timeline_copy(t, &spans, &count), UFM_OK);
	assert_int_equal(count, ITEMS);
	for (uint32_t i = 0; i < count; i++)
		sum += spans[i].expert;
	assert_int_equal(sum, (uint64_t)ITEMS * (ITEMS - 1) / 2);
	alloc_free(spans);
	timeline_close(t);
}

static bool refuse(void *ctx, size_t size_bytes)
{
	(void)size_bytes;
	return (*(uint32_t *)ctx)--;
}

static void a_ring_that_finds_no_memory(void **state)
{
	(void)state;
	timeline *t = NULL;
	for (uint32_t i = 0; i < 2; i++) {
		uint32_t allowed = i;
		alloc_set_hook(refuse, &allowed);
		ufm_status status = timeline_open(100, &t);
		alloc_set_hook(NULL, NULL);
		assert_int_equal(status, UFM_ENOMEM);
	}
	assert_null(t);
}

/* ---- the file */

typedef struct drawing {
	char path[64];
	timeline_file *file;
} drawing;

static drawing open_drawing(void)
{
	drawing d = {"/tmp/ufm_timeline_XXXXXX", NULL};
	int fd = mkstemp(d.path);
	assert_true(fd >= 0);
	assert_true(write(fd, "an older, longer file", 21) == 21);
	close(fd);
	assert_int_equal(timeline_file_open(d.path, &d.file), UFM_OK);
	return d;
}

/* The file is whole at any time, also while it is open. */
static json_t *read_drawing(const drawing *d)
{
	json_error_t error;
	const char *path = d->file ? timeline_file_unfinished(d->file) : d->path;
	json_t *json = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
	if (!json)
		fail_msg("%s: line %d: %s", path, error.line, error.text);
	return json;
}

static void close_drawing(drawing *d)
{
	assert_int_equal(timeline_file_close(d->file), UFM_OK);
	unlink(d->path);
}

static void assert_older(const drawing *d, bool older)
{
	char text[32] = "";
	FILE *file = fopen(d->path, "r");
	assert_non_null(file);
	assert_true(fread(text, 1, 21, file) == 21);
	fclose(file);
	assert_int_equal(strcmp(text, "an older, longer file") == 0, older);
}

static int64_t integer_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static const char *string_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static int64_t dropped_of(const json_t *trace)
{
	return integer_of(json_object_get(trace, "otherData"), "dropped");
}

/* The number of spans of a process; *sum: of their argument. */
static size_t spans_of(const json_t *trace, int64_t pid, const char *name, const char *arg,
                       int64_t *sum)
{
	size_t index, count = 0;
	json_t *event;
	*sum = 0;
	json_array_foreach(json_object_get(trace, "traceEvents"), index, event)
	{
		if (strcmp(string_of(event, "ph"), "X") != 0 || integer_of(event, "pid") != pid ||
		    strcmp(string_of(event, "name"), name) != 0)
			continue;
		assert_true(json_real_value(json_object_get(event, "dur")) >= 0);
		assert_true(json_real_value(json_object_get(event, "ts")) >= 0);
		*sum += integer_of(json_object_get(event, "args"), arg);
		count++;
	}
	return count;
}

static const json_t *span_of_expert(const json_t *trace, int64_t expert)
{
	size_t index;
	json_t *event;
	json_array_foreach(json_object_get(trace, "traceEvents"), index, event)
	{
		const json_t *args = json_object_get(event, "args");
		if (json_object_get(args, "expert") && integer_of(args, "expert") == expert)
			return event;
	}
	fail_msg("no span of expert %d", (int)expert);
	return NULL;
}

static void an_empty_file_is_a_trace(void **state)
{
	(void)state;
	drawing d = open_drawing();
	json_t *trace = read_drawing(&d);
	assert_int_equal(json_array_size(json_object_get(trace, "traceEvents")), 0);
	json_decref(trace);
	timeline *t = open_ring(1); /* and so is one of no spans */
	assert_int_equal(timeline_file_add(d.file, t, "nothing"), UFM_OK);
	trace = read_drawing(&d);
	assert_int_equal(json_array_size(json_object_get(trace, "traceEvents")), 1);
	json_decref(trace);
	timeline_close(t);
	close_drawing(&d);
}

static void an_earlier_file_stays_until_the_end(void **state)
{
	(void)state;
	drawing d = open_drawing();
	timeline *t = open_ring(1);
	assert_int_equal(timeline_file_add(d.file, t, "row"), UFM_OK);
	assert_older(&d, true);
	assert_int_equal(timeline_file_close(d.file), UFM_OK);
	assert_older(&d, false);
	unlink(d.path);
	timeline_close(t);
}

static void an_earlier_file_stays_where_a_timeline_is_lost(void **state)
{
	(void)state;
	uint32_t allowed = 0;
	drawing d = open_drawing();
	timeline *t = open_ring(1);
	alloc_set_hook(refuse, &allowed);
	ufm_status status = timeline_file_add(d.file, t, "row");
	alloc_set_hook(NULL, NULL);
	assert_int_equal(status, UFM_ENOMEM);
	assert_int_equal(timeline_file_add(d.file, t, "row"), UFM_OK);
	char unfinished[128];
	snprintf(unfinished, sizeof unfinished, "%s", timeline_file_unfinished(d.file));
	assert_int_equal(timeline_file_close(d.file), UFM_OK);
	assert_older(&d, true);
	assert_int_equal(access(unfinished, F_OK), -1);
	unlink(d.path);
	timeline_close(t);
}

static void a_span_says_what_is_known(void **state)
{
	(void)state;
	drawing d = open_drawing();
	timeline *t = open_ring(4);
	uint64_t zero_ns = timeline_opened_ns(t);
	timeline_span span = cpu_span(zero_ns + 1234567, zero_ns + 1236567, 8);
	timeline_add(t, &span);
	span = (timeline_span){
		.kind = TIMELINE_STEP, .layer = 7, .expert = TIMELINE_NONE, .begin_ns = zero_ns - 1};
	timeline_add(t, &span);
	assert_int_equal(timeline_file_add(d.file, t, "a row"), UFM_OK);
	json_t *trace = read_drawing(&d);
	const json_t *event = span_of_expert(trace, 8), *args = json_object_get(event, "args");
	assert_string_equal(string_of(event, "name"), "expert");
	assert_true(json_real_value(json_object_get(event, "ts")) == 1234.567);
	assert_true(json_real_value(json_object_get(event, "dur")) == 2.0);
	assert_int_equal(integer_of(args, "layer"), 3);
	assert_int_equal(integer_of(args, "tokens"), 5);
	assert_int_equal(integer_of(args, "bytes"), 4096);
	assert_true(json_real_value(json_object_get(args, "gbps")) == 2.048);
	assert_null(json_object_get(args, "experts"));
	int64_t step;
	assert_int_equal(spans_of(trace, 1, "step", "step", &step), 1); /* begins and ends before 0 */
	assert_int_equal(step, 7);
	json_decref(trace);
	timeline_close(t);
	close_drawing(&d);
}

static void every_timeline_is_a_process(void **state)
{
	(void)state;
	drawing d = open_drawing();
	for (uint32_t i = 1; i <= 3; i++) {
		timeline *t = open_ring(2);
		uint64_t now_ns = clock_now_ns();
		for (uint32_t j = 0; j < 1 + i; j++) {
			timeline_span span = cpu_span(now_ns + j, now_ns + j + 1, j);
			timeline_add(t, &span);
		}
		assert_int_equal(timeline_file_add(d.file, t, "row"), UFM_OK);
		timeline_close(t);
		json_t *trace = read_drawing(&d);
		int64_t bytes;
		assert_int_equal(spans_of(trace, i, "expert", "bytes", &bytes), 2);
		assert_int_equal(bytes, 2 * 4096);
		assert_int_equal(dropped_of(trace), i == 1 ? 0 : i == 2 ? 1 : 3);
		json_decref(trace);
	}
	close_drawing(&d);
}

/* Perfetto draws spans of one row only if each lies beside or in another. */
static void overlapping_spans_get_rows_of_their_own(void **state)
{
	(void)state;
	drawing d = open_drawing();
	timeline *t = open_ring(8);
	uint64_t at = timeline_opened_ns(t);
	const uint64_t times[][2] = {{0, 100000},       /* 0 */
	                             {10000, 90000},    /* 1: in 0 */
	                             {50000, 150000},   /* 2: overlaps both */
	                             {100000, 200000},  /* 3: after 0 */
	                             {199500, 300000},  /* 4: begins within the rounding of 3's end */
	                             {149000, 150000},  /* 5: in 3 */
	                             {198000, 210000}}; /* 6: overlaps 3, but not 2 */
	const int64_t rows[] = {0, 0, 1, 0, 0, 0, 1};
	for (uint32_t i = 7; i-- > 0;) { /* order of arrival does not matter */
		timeline_span span = cpu_span(at + times[i][0], at + times[i][1], i);
		timeline_add(t, &span);
	}
	assert_int_equal(timeline_file_add(d.file, t, "row"), UFM_OK);
	json_t *trace = read_drawing(&d);
	int64_t first = integer_of(span_of_expert(trace, 0), "tid");
	for (uint32_t i = 0; i < 7; i++)
		assert_int_equal(integer_of(span_of_expert(trace, i), "tid"), first + rows[i]);
	assert_true(json_real_value(json_object_get(span_of_expert(trace, 4), "ts")) == 200.0);
	json_decref(trace);
	timeline_close(t);
	close_drawing(&d);
}

static void more_overlap_than_there_are_rows(void **state)
{
	(void)state;
	drawing d = open_drawing();
	timeline *t = open_ring(200);
	uint64_t at = timeline_opened_ns(t);
	for (uint32_t i = 0; i < 200; i++) {
		timeline_span span = cpu_span(at + i * 10000, at + 10000000 + i * 10000, i);
		timeline_add(t, &span);
	}
	assert_int_equal(timeline_file_add(d.file, t, "row"), UFM_OK);
	json_t *trace = read_drawing(&d);
	int64_t bytes;
	assert_int_equal(spans_of(trace, 1, "expert", "bytes", &bytes), 200);
	json_decref(trace);
	timeline_close(t);
	close_drawing(&d);
}

static void paths_that_cannot_be_written(void **state)
{
	(void)state;
	timeline_file *file = NULL;
	assert_int_equal(timeline_file_open("/nowhere/t.json", &file), UFM_EFILE);
	assert_says("/nowhere/t.json");
	assert_int_equal(timeline_file_open("/tmp", &file), UFM_EFILE);
	assert_int_equal(timeline_file_open("/dev/null", &file), UFM_EFILE);
	assert_says("not a regular file");
	assert_null(file);
}

/* ---- an engine's */

static void steps(fixture *f, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(fixture_run(f, i), UFM_OK);
}

static void an_engine_tells_of_all_that_it_did(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = {.layers = 3, .experts = 9, .slots_max = 7, .timeline_events = 4096};
	char path[] = "/tmp/ufm_timeline_XXXXXX";
	int64_t bytes, tokens;
	close(mkstemp(path));
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	steps(&f, 4);
	assert_int_equal(ufm_engine_write_timeline(f.engine, path), UFM_OK);
	drawing d = {.file = NULL};
	snprintf(d.path, sizeof d.path, "%s", path);
	json_t *trace = read_drawing(&d);
	assert_int_equal(dropped_of(trace), 0);
	assert_int_equal(spans_of(trace, 1, "copy", "bytes", &bytes),
	                 fixture_counter(&f, "streamed_uses"));
	assert_int_equal(bytes, fixture_counter(&f, "h2d_weight_bytes"));
	assert_int_equal(spans_of(trace, 1, "layer", "tokens", &tokens), 12);
	assert_int_equal(tokens, fixture_counter(&f, "tokens"));
	assert_int_equal(spans_of(trace, 1, "call", "tokens", &tokens), 12);
	assert_int_equal(spans_of(trace, 1, "wait for ids", "tokens", &tokens), 12);
	assert_int_equal(spans_of(trace, 1, "route", "tokens", &tokens), 12);
	assert_int_equal(spans_of(trace, 1, "combine", "tokens", &tokens), 12);
	assert_true(spans_of(trace, 1, "experts", "experts", &tokens) >= 12);
	assert_int_equal(tokens, fixture_counter(&f, "uses"));
	json_decref(trace);
	unlink(path);
	fixture_close(&f);
}

/* Device spans lie inside the call and its wait, within what two clocks may differ by. */
static void device_times_are_on_the_hosts_clock(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = {.timeline_events = 1024};
	timeline_span *spans;
	uint32_t count, layers = 0;
	const uint64_t slack_ns = 1000000;
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	uint64_t begin_ns = clock_now_ns();
	steps(&f, 1);
	uint64_t end_ns = clock_now_ns();
	/* The clocks are measured anew after a second. */
	clock_sleep_until_ns(end_ns + 1100000000u);
	uint64_t again_ns = clock_now_ns();
	steps(&f, 2);
	assert_int_equal(engine_settle(f.engine), UFM_OK);
	uint64_t last_ns = clock_now_ns();
	assert_int_equal(timeline_copy(engine_timeline(f.engine), &spans, &count), UFM_OK);
	for (uint32_t i = 0; i < count; i++) {
		const timeline_span *s = &spans[i];
		assert_true(s->begin_ns <= s->end_ns);
		assert_true(s->begin_ns + slack_ns >= begin_ns && s->end_ns <= last_ns + slack_ns);
		assert_true(s->end_ns <= end_ns + slack_ns || s->begin_ns + slack_ns >= again_ns);
		layers += s->kind == TIMELINE_LAYER;
	}
	assert_int_equal(layers, 3);
	alloc_free(spans);
	fixture_close(&f);
}

static void a_small_ring_keeps_the_latest_and_counts_the_rest(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = {.experts = 9, .slots_max = 7, .timeline_events = 5};
	timeline_span *spans;
	uint32_t count;
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	steps(&f, 3);
	assert_int_equal(timeline_copy(engine_timeline(f.engine), &spans, &count), UFM_OK);
	assert_int_equal(count, 5);
	assert_true(timeline_dropped(engine_timeline(f.engine)) > 10);
	alloc_free(spans);
	fixture_close(&f);
}

static void an_engine_without_a_timeline_writes_none(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = {.experts = 4};
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	steps(&f, 1);
	assert_int_equal(ufm_engine_write_timeline(f.engine, "/tmp/ufm_none"), UFM_EINVAL);
	assert_says("timeline_events");
	assert_int_equal(access("/tmp/ufm_none", F_OK), -1);
	fixture_close(&f);
	c.timeline_events = TIMELINE_EVENTS_MAX + 1;
	assert_int_equal(fixture_open(&f, &c), UFM_EINVAL);
	assert_says("timeline_events");
	c.timeline_events = 1;
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	assert_int_equal(ufm_engine_write_timeline(f.engine, ""), UFM_EINVAL);
	assert_int_equal(ufm_engine_write_timeline(f.engine, "/nowhere/t"), UFM_EFILE);
	fixture_close(&f);
}

/* Same bits with and without, for a call that is cut into pieces. */
static void the_timeline_changes_no_result(void **state)
{
	(void)state;
	uint64_t hashes[2];
	for (uint32_t i = 0; i < 2; i++) {
		fixture f;
		fixture_config c = {.experts = 9,
		                    .slots_max = 7,
		                    .tokens = 23,
		                    .max_tokens = 5,
		                    .timeline_events = i * 1000};
		assert_int_equal(fixture_open(&f, &c), UFM_OK);
		steps(&f, 2);
		hashes[i] = fixture_hash(&f);
		fixture_close(&f);
	}
	assert_int_equal(hashes[0], hashes[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_ring_keeps_the_latest),
		cmocka_unit_test(lost_spans_count_as_dropped),
		cmocka_unit_test(no_timeline_is_allowed),
		cmocka_unit_test(many_threads_add),
		cmocka_unit_test(a_ring_that_finds_no_memory),
		cmocka_unit_test(an_empty_file_is_a_trace),
		cmocka_unit_test(an_earlier_file_stays_until_the_end),
		cmocka_unit_test(an_earlier_file_stays_where_a_timeline_is_lost),
		cmocka_unit_test(a_span_says_what_is_known),
		cmocka_unit_test(every_timeline_is_a_process),
		cmocka_unit_test(overlapping_spans_get_rows_of_their_own),
		cmocka_unit_test(more_overlap_than_there_are_rows),
		cmocka_unit_test(paths_that_cannot_be_written),
		cmocka_unit_test(an_engine_tells_of_all_that_it_did),
		cmocka_unit_test(device_times_are_on_the_hosts_clock),
		cmocka_unit_test(a_small_ring_keeps_the_latest_and_counts_the_rest),
		cmocka_unit_test(an_engine_without_a_timeline_writes_none),
		cmocka_unit_test(the_timeline_changes_no_result),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

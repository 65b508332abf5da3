/* SPDX-License-Identifier: MIT */
/* Marks and the tables of resident layers, on a backend that writes down what it is asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/status.h"
#include "pager/marks.h"
#include "pager/tables.h"

struct ufm_event {
	uint32_t records;
	int done;
};

typedef struct notes {
	ufm_event events[PAGER_MARKS];
	uint32_t opened, closed, fail_open_at; /* fail_open_at: 0: none */
	uint32_t waits, syncs;
	const ufm_event *waited, *synced;
	bool fail_record, fail_query;
	uint32_t copies;
} notes;
static notes seen;

static ufm_status open_event(ufm_device *device, ufm_event **out)
{
	(void)device;
	if (seen.fail_open_at && seen.opened + 1 == seen.fail_open_at)
		return status_fail(UFM_EDEVICE, "planted failure");
	*out = &seen.events[seen.opened++];
	return UFM_OK;
}

static void close_event(ufm_event *event)
{
	(void)event;
	seen.closed++;
}

static ufm_status record_event(ufm_event *event, ufm_stream *stream)
{
	(void)stream;
	if (seen.fail_record)
		return status_fail(UFM_EDEVICE, "planted failure");
	event->records++;
	event->done = 0;
	return UFM_OK;
}

static ufm_status query_event(ufm_event *event, int *done)
{
	if (seen.fail_query)
		return status_fail(UFM_EDEVICE, "planted failure");
	*done = event->done;
	return UFM_OK;
}

static ufm_status sync_event(ufm_event *event, uint64_t wait_ns)
{
	(void)wait_ns;
	seen.syncs++;
	seen.synced = event;
	event->done = 1;
	return UFM_OK;
}

static ufm_status wait_stream(ufm_stream *stream, ufm_event *event)
{
	(void)stream;
	seen.waits++;
	seen.waited = event;
	return UFM_OK;
}

static ufm_status copy(ufm_stream *stream, ufm_copy_kind kind, ufm_devptr dst, ufm_devptr src,
                       uint64_t size_bytes)
{
	(void)stream;
	(void)kind;
	(void)dst;
	(void)src;
	(void)size_bytes;
	seen.copies++;
	return UFM_OK;
}

static ufm_status register_host(void *memory, uint64_t size_bytes)
{
	(void)memory;
	(void)size_bytes;
	return UFM_OK;
}

static void unregister_host(void *memory, uint64_t size_bytes)
{
	(void)memory;
	(void)size_bytes;
}

static const ufm_backend backend = {.event_open = open_event,
                                    .event_close = close_event,
                                    .event_record = record_event,
                                    .event_query = query_event,
                                    .event_sync = sync_event,
                                    .stream_wait = wait_stream,
                                    .copy = copy,
                                    .host_register = register_host,
                                    .host_unregister = unregister_host};

/* Streams are names here. */
static char compute_stream;
#define COMPUTE ((ufm_stream *)(void *)&compute_stream)

static uint64_t record_on(marks *m, ufm_stream *stream)
{
	uint64_t mark = 0;
	assert_int_equal(mark_record(m, stream, &mark), UFM_OK);
	return mark;
}

static uint64_t record(marks *m)
{
	return record_on(m, NULL);
}

static int setup(void **state)
{
	static marks m;
	seen = (notes){0};
	m = (marks){.b = &backend, .compute = COMPUTE};
	*state = &m;
	return marks_open(&m) == UFM_OK ? 0 : -1;
}

static int teardown(void **state)
{
	marks_close(*state);
	return seen.closed == PAGER_MARKS ? 0 : -1;
}

static void test_numbers(void **state)
{
	marks *m = *state;
	assert_true(mark_known(m, 0));
	assert_false(mark_known(m, 1));
	assert_int_equal(record(m), 1);
	assert_true(mark_known(m, 1) && mark_is_last(m, 1));
	assert_int_equal(record(m), 2);
	assert_false(mark_is_last(m, 1));
	assert_true(mark_is_last(m, 2));
}

static void test_no_mark_is_done(void **state)
{
	marks *m = *state;
	assert_null(mark_event(m, 0));
	assert_false(mark_pending(m, 0));
	assert_int_equal(mark_order(m, NULL, 0), UFM_OK);
	assert_int_equal(mark_wait(m, 0), UFM_OK);
	assert_int_equal(seen.waits + seen.syncs, 0);
}

/* The event of the oldest mark is waited for before it is reused; only then the mark is out of the
 * window. */
static void test_window(void **state)
{
	marks *m = *state;
	for (uint32_t i = 1; i <= PAGER_MARKS; i++)
		record(m);
	const ufm_event *first = mark_event(m, 1);
	assert_non_null(first);
	assert_true(mark_pending(m, 1));
	assert_int_equal(record(m), PAGER_MARKS + 1);
	assert_ptr_equal(seen.synced, first);
	assert_int_equal(first->records, 2);
	assert_null(mark_event(m, 1));
	assert_false(mark_pending(m, 1));
	assert_non_null(mark_event(m, 2));
	assert_ptr_equal(mark_event(m, PAGER_MARKS + 1), first);
}

static void test_order_and_wait(void **state)
{
	marks *m = *state;
	uint64_t mark = record(m);
	seen.syncs = 0;
	assert_int_equal(mark_order(m, NULL, mark), UFM_OK);
	assert_int_equal(seen.waits, 1);
	assert_ptr_equal(seen.waited, mark_event(m, mark));
	assert_true(mark_pending(m, mark));
	assert_int_equal(mark_wait(m, mark), UFM_OK);
	assert_int_equal(seen.syncs, 1);
	assert_false(mark_pending(m, mark));
}

/* Once a mark of the compute stream has been seen to pass, nobody asks about those before it; other streams' say nothing. */
static void test_passed(void **state)
{
	marks *m = *state;
	uint64_t first = record_on(m, COMPUTE), other = record(m), second = record_on(m, COMPUTE);
	uint64_t third = record_on(m, COMPUTE), last = record(m);
	assert_int_equal(mark_wait(m, other), UFM_OK);
	assert_int_equal(mark_wait(m, last), UFM_OK);
	assert_non_null(mark_event(m, first));
	assert_int_equal(mark_wait(m, second), UFM_OK);
	assert_null(mark_event(m, first));
	assert_null(mark_event(m, second));
	assert_non_null(mark_event(m, other));
	assert_non_null(mark_event(m, third));
	seen.waits = seen.syncs = 0;
	seen.fail_query = true;
	assert_false(mark_pending(m, first));
	assert_int_equal(mark_order(m, NULL, first), UFM_OK);
	assert_int_equal(mark_wait(m, second), UFM_OK);
	assert_int_equal(seen.waits + seen.syncs, 0);
	assert_int_equal(mark_order(m, NULL, third), UFM_OK);
	assert_int_equal(seen.waits, 1);
	mark_seen(m, first); /* told late: nothing is forgotten */
	assert_null(mark_event(m, second));
}

/* Nor is an event waited for before it is recorded again, if its mark is known to have passed. */
static void test_passed_window(void **state)
{
	marks *m = *state;
	uint64_t middle = PAGER_MARKS / 2;
	for (uint32_t i = 0; i < PAGER_MARKS; i++)
		record_on(m, i % 3 ? COMPUTE : NULL);
	while (m->streams[middle % PAGER_MARKS] != COMPUTE)
		middle++;
	assert_int_equal(mark_wait(m, middle), UFM_OK);
	for (uint64_t mark = 1; mark <= PAGER_MARKS; mark++) {
		bool known = mark <= middle && m->streams[mark % PAGER_MARKS] == COMPUTE;
		seen.syncs = 0;
		record_on(m, COMPUTE);
		assert_int_equal(seen.syncs, known ? 0 : 1);
	}
	assert_non_null(mark_event(m, m->next - 1));
	assert_null(mark_event(m, middle));
}

static void test_failures(void **state)
{
	marks *m = *state;
	uint64_t mark = record(m), none = 77;
	mark_wait(m, mark);
	seen.fail_record = true;
	assert_int_equal(mark_record(m, NULL, &none), UFM_EDEVICE);
	assert_int_equal(none, 77);
	assert_true(mark_is_last(m, mark));
	seen.fail_query = true;
	assert_true(mark_pending(m, mark)); /* it passed, but nobody can know */
}

static void test_half_open(void **state)
{
	(void)state;
	marks m = {.b = &backend};
	seen = (notes){.fail_open_at = 3};
	assert_int_equal(marks_open(&m), UFM_EDEVICE);
	marks_close(&m);
	assert_int_equal(seen.closed, 2);
}

static void test_forgotten_table(void **state)
{
	marks *m = *state;
	tables t = {.b = &backend, .marks = m, .layers = 2, .experts = 3, .device = 4096};
	assert_int_equal(tables_open(&t), UFM_OK);
	assert_int_equal(table_forget(&t, 4), UFM_OK);
	assert_int_equal(seen.waits, 0);
	assert_int_equal(table_address(&t, 1), 4096 + 24);
	assert_ptr_equal(table_staging(&t, 1), table_staging(&t, 0) + 3);
	assert_int_equal(table_upload(&t, 1, NULL), UFM_OK);
	assert_int_equal(seen.copies, 1);
	assert_true(table_listed(&t, 1) && !table_listed(&t, 0));

	uint64_t call = record(m);
	table_used(&t, 1, call);
	assert_int_equal(table_forget(&t, 2), UFM_OK); /* of layer 0 */
	assert_int_equal(seen.waits, 0);
	assert_int_equal(table_forget(&t, 3), UFM_OK); /* the first of layer 1 */
	assert_int_equal(seen.waits, 1);
	assert_ptr_equal(seen.waited, mark_event(m, call));
	assert_false(table_listed(&t, 1));
	assert_int_equal(table_forget(&t, 4), UFM_OK);
	assert_int_equal(seen.waits, 1);
	tables_close(&t);
}

static void test_all_forgotten(void **state)
{
	marks *m = *state;
	tables none = {.b = &backend, .marks = m, .layers = 2, .experts = 3}; /* never opened */
	seen.syncs = 0;
	assert_int_equal(table_forget(&none, 5), UFM_OK);
	assert_int_equal(tables_forget_all(&none), UFM_OK);
	assert_int_equal(seen.syncs, 0);

	tables t = none;
	assert_int_equal(tables_open(&t), UFM_OK);
	for (uint32_t layer = 0; layer < 2; layer++) {
		assert_int_equal(table_upload(&t, layer, NULL), UFM_OK);
		table_used(&t, layer, record(m));
	}
	seen.syncs = 0;
	assert_int_equal(tables_forget_all(&t), UFM_OK);
	assert_true(!table_listed(&t, 0) && !table_listed(&t, 1));
	assert_int_equal(seen.syncs, 1);
	assert_ptr_equal(seen.synced, mark_event(m, t.last));
	tables_close(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_numbers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_mark_is_done, setup, teardown),
		cmocka_unit_test_setup_teardown(test_window, setup, teardown),
		cmocka_unit_test_setup_teardown(test_order_and_wait, setup, teardown),
		cmocka_unit_test_setup_teardown(test_passed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_passed_window, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failures, setup, teardown),
		cmocka_unit_test(test_half_open),
		cmocka_unit_test_setup_teardown(test_forgotten_table, setup, teardown),
		cmocka_unit_test_setup_teardown(test_all_forgotten, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* The sampler: columns, values, peaks, threads, and files that cannot be written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/lock.h"
#include "telemetry/sampler.h"

#define GIB ((uint64_t)1 << 30)
#define AN_HOUR_NS (3600 * 1000000000ull)
#define FILE_BYTES (1 << 20)
#define ROWS_MAX 4000

typedef struct csv {
	char path[64];
	char text[FILE_BYTES];
	char *rows[ROWS_MAX];
	size_t row_count;
} csv;

static csv *csv_new(void)
{
	csv *f = calloc(1, sizeof *f);

	assert_non_null(f);
	snprintf(f->path, sizeof f->path, "/tmp/ufm_sampler_XXXXXX");
	int file = mkstemp(f->path);
	assert_true(file >= 0);
	/* Old content, longer than a header, must be gone. */
	for (int i = 0; i < 100; i++)
		assert_int_equal(write(file, "old content\n", 12), 12);
	close(file);
	return f;
}

static void csv_read(csv *f)
{
	FILE *file = fopen(f->path, "r");
	char *rest = f->text, *row;

	assert_non_null(file);
	f->text[fread(f->text, 1, FILE_BYTES - 1, file)] = '\0';
	fclose(file);
	f->row_count = 0;
	while (f->row_count < ROWS_MAX && (row = strsep(&rest, "\n")) && rest)
		f->rows[f->row_count++] = row;
	assert_true(row && !*row); /* the last line is complete */
}

static void csv_free(csv *f)
{
	unlink(f->path);
	free(f);
}

static size_t split_row(const char *row, double *values, size_t most)
{
	size_t count = 0;
	char *end;

	for (const char *at = row;; at = end + 1) {
		assert_true(count < most);
		values[count++] = strtod(at, &end);
		assert_true(end != at);
		if (!*end)
			return count;
		assert_int_equal(*end, ',');
	}
}

typedef struct figures {
	lock lock;
	lock_cond called;
	uint64_t live_bytes, held_bytes;
	unsigned calls;
	bool in_probe, overlapped, not_zeroed;
} figures;

static void figures_open(figures *f)
{
	*f = (figures){0};
	lock_init(&f->lock, LOCK_RANK_ENGINE, "figures");
	lock_cond_init(&f->called);
}

static void figures_close(figures *f)
{
	lock_cond_destroy(&f->called);
	lock_destroy(&f->lock);
}

/* Takes a lock of an engine's rank, as a real probe does. */
static void probe(void *ctx, sampler_reading *reading)
{
	figures *f = ctx;

	lock_take(&f->lock);
	f->overlapped |= f->in_probe;
	f->in_probe = true;
	f->not_zeroed |= reading->live_bytes || reading->counters[COUNTER_COUNT - 1];
	lock_drop(&f->lock);
	sched_yield(); /* room for an overlap, if there were any */
	lock_take(&f->lock);
	f->in_probe = false;
	f->calls++;
	reading->live_bytes = f->live_bytes;
	reading->held_bytes = f->held_bytes;
	reading->disk_bytes = GIB / 2;
	for (uint64_t i = 0; i < COUNTER_COUNT; i++)
		reading->counters[i] = 1000 + i;
	lock_wake_all(&f->called);
	lock_drop(&f->lock);
}

static void print_header(char expected[4096])
{
	strcpy(expected, "t,gpu_alloc_gb,gpu_reserved_gb,proc_ram_gb,sys_ram_gb,nvme_offload_gb");
	for (uint32_t i = 0; i < ufm_counter_count(); i++) {
		strcat(expected, ",");
		strcat(expected, ufm_counter_describe(i)->name);
	}
}

static void test_header_is_exact(void **state)
{
	char expected[4096];
	sampler *s = NULL;
	csv *f = csv_new();

	(void)state;
	print_header(expected);
	assert_int_equal(sampler_open(&(sampler_config){f->path, AN_HOUR_NS}, &s), UFM_OK);
	assert_int_equal(sampler_close(s, NULL), UFM_OK);
	csv_read(f);
	assert_true(f->row_count >= 2); /* the sample of the end was written */
	assert_string_equal(f->rows[0], expected);
	csv_free(f);
}

/* The thread's first sample may lie anywhere among the others. */
static const char *row_with(const csv *f, const char *text)
{
	for (size_t i = 1; i < f->row_count; i++) {
		if (strstr(f->rows[i], text))
			return f->rows[i];
	}
	return NULL;
}

static void test_rows_carry_the_figures(void **state)
{
	double values[6 + COUNTER_COUNT + 1];
	sampler_peaks peaks;
	sampler *s = NULL;
	figures fig;
	csv *f = csv_new();

	(void)state;
	figures_open(&fig);
	fig.live_bytes = GIB + GIB / 4;
	fig.held_bytes = 3 * GIB;
	assert_int_equal(sampler_open(&(sampler_config){f->path, AN_HOUR_NS}, &s), UFM_OK);
	sampler_attach(s, probe, &fig);
	sampler_sample(s);
	sampler_attach(s, NULL, NULL);
	assert_int_equal(sampler_close(s, &peaks), UFM_OK);
	csv_read(f);
	const char *row = row_with(f, ",1.250000,3.000000,");
	assert_non_null(row);
	assert_int_equal(split_row(row, values, 6 + COUNTER_COUNT + 1), 6 + COUNTER_COUNT);
	assert_non_null(strstr(row, ",0.500000,1000,1001,1002,"));
	assert_int_equal(strchr(row, ',') - strchr(row, '.'), 4); /* t has three decimals */
	assert_true(values[3] > 0 && values[4] > 0);
	for (size_t i = 0; i < COUNTER_COUNT; i++)
		assert_true(values[6 + i] == 1000.0 + (double)i);
	split_row(f->rows[f->row_count - 1], values, 6 + COUNTER_COUNT + 1);
	assert_true(values[1] == 0 && values[2] == 0 && values[5] == 0 && values[6] == 0);
	assert_int_equal(peaks.live_bytes, GIB + GIB / 4);
	assert_int_equal(peaks.held_bytes, 3 * GIB);
	figures_close(&fig);
	csv_free(f);
}

static void set_figures(figures *f, uint64_t live_bytes, uint64_t held_bytes)
{
	lock_take(&f->lock);
	f->live_bytes = live_bytes;
	f->held_bytes = held_bytes;
	lock_drop(&f->lock);
}

static void test_peaks_are_the_largest_seen(void **state)
{
	sampler_peaks peaks = {0};
	sampler *s = NULL;
	figures fig;

	(void)state;
	figures_open(&fig);
	assert_int_equal(sampler_open(&(sampler_config){NULL, AN_HOUR_NS}, &s), UFM_OK);
	sampler_attach(s, probe, &fig);
	set_figures(&fig, 10, 70);
	sampler_sample(s);
	set_figures(&fig, 50, 60);
	sampler_sample(s);
	sampler_attach(s, NULL, NULL);
	sampler_attach(s, probe, &fig);
	set_figures(&fig, 20, 20);
	assert_int_equal(sampler_close(s, &peaks), UFM_OK);
	assert_int_equal(peaks.live_bytes, 50);
	assert_int_equal(peaks.held_bytes, 70);
	assert_true(peaks.process_rss_bytes > 0);
	figures_close(&fig);
}

static void test_thread_samples_by_itself(void **state)
{
	sampler *s = NULL;
	figures fig;
	csv *f = csv_new();

	(void)state;
	figures_open(&fig);
	assert_int_equal(sampler_open(&(sampler_config){f->path, 1000000}, &s), UFM_OK);
	sampler_attach(s, probe, &fig);
	lock_take(&fig.lock);
	while (fig.calls < 5)
		lock_wait(&fig.called, &fig.lock);
	lock_drop(&fig.lock);
	assert_int_equal(sampler_close(s, NULL), UFM_OK);
	csv_read(f);
	assert_true(f->row_count >= 1 + 5 + 1);
	figures_close(&fig);
	csv_free(f);
}

/* Closing does not wait for the period, and the default period is taken for 0. */
static void test_close_does_not_wait(void **state)
{
	sampler *s = NULL;

	(void)state;
	for (int i = 0; i < 20; i++) {
		assert_int_equal(sampler_open(&(sampler_config){NULL, i % 2 ? AN_HOUR_NS : 0}, &s), UFM_OK);
		assert_int_equal(sampler_close(s, NULL), UFM_OK);
	}
	assert_int_equal(sampler_close(NULL, NULL), UFM_OK);
}

static void *sample_often(void *arg)
{
	for (int i = 0; i < 100; i++)
		sampler_sample(arg);
	return NULL;
}

static void check_times_rise(const csv *f)
{
	double values[6 + COUNTER_COUNT + 1], last = 0;

	for (size_t i = 1; i < f->row_count; i++) {
		assert_int_equal(split_row(f->rows[i], values, 6 + COUNTER_COUNT + 1), 6 + COUNTER_COUNT);
		assert_true(values[0] >= last);
		last = values[0];
	}
}

static void test_samples_are_serialised(void **state)
{
	pthread_t threads[3];
	sampler *s = NULL;
	figures fig;
	csv *f = csv_new();

	(void)state;
	figures_open(&fig);
	assert_int_equal(sampler_open(&(sampler_config){f->path, 500000}, &s), UFM_OK);
	sampler_attach(s, probe, &fig);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, sample_often, s), 0);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(sampler_close(s, NULL), UFM_OK);
	csv_read(f);
	assert_true(f->row_count >= 1 + 300 + 1);
	assert_false(fig.overlapped);
	assert_false(fig.not_zeroed);
	check_times_rise(f);
	figures_close(&fig);
	csv_free(f);
}

static void test_path_that_cannot_be_created(void **state)
{
	const char *path = "/no-such-folder/telemetry.csv";
	sampler *s = NULL;

	(void)state;
	assert_int_equal(sampler_open(&(sampler_config){path, 0}, &s), UFM_EFILE);
	assert_null(s);
	assert_non_null(strstr(ufm_last_error(), path));
}

static void test_full_disk_at_open(void **state)
{
	sampler *s = NULL;

	(void)state;
	if (access("/dev/full", W_OK) != 0) {
		print_message("/dev/full is not here\n");
		skip();
	}
	assert_int_equal(sampler_open(&(sampler_config){"/dev/full", 0}, &s), UFM_EFILE);
	assert_null(s);
	assert_non_null(strstr(ufm_last_error(), "/dev/full: cannot write"));
}

/* A limit on file sizes stands in for a disk that fills up after the header. */
static void test_full_disk_later(void **state)
{
	char header[4096];
	struct rlimit before, small;
	sampler_peaks peaks = {0};
	sampler *s = NULL;
	figures fig;
	csv *f = csv_new();

	(void)state;
	figures_open(&fig);
	fig.live_bytes = 5;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	print_header(header);
	small = (struct rlimit){strlen(header) + 1 + 200, before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	ufm_status opened = sampler_open(&(sampler_config){f->path, AN_HOUR_NS}, &s);
	if (opened == UFM_OK) {
		sampler_attach(s, probe, &fig);
		for (int i = 0; i < 10; i++)
			sampler_sample(s);
	}
	ufm_status closed = opened == UFM_OK ? sampler_close(s, &peaks) : UFM_OK;
	setrlimit(RLIMIT_FSIZE, &before);
	assert_int_equal(opened, UFM_OK);
	assert_int_equal(closed, UFM_EFILE);
	assert_non_null(strstr(ufm_last_error(), f->path));
	assert_int_equal(peaks.live_bytes, 5); /* sampling went on */
	figures_close(&fig);
	csv_free(f);
}

static bool refuse_nth(void *ctx, size_t size_bytes)
{
	(void)size_bytes;
	return (*(int *)ctx)-- != 0;
}

static void test_every_allocation_fails_once(void **state)
{
	sampler *s = NULL;
	csv *f = csv_new();
	int failures = 0;

	(void)state;
	for (int nth = 0;; nth++) {
		int left = nth;
		s = NULL;
		alloc_set_hook(refuse_nth, &left);
		ufm_status status = sampler_open(&(sampler_config){f->path, AN_HOUR_NS}, &s);
		if (status == UFM_OK) {
			sampler_close(s, NULL);
			alloc_set_hook(NULL, NULL);
			break;
		}
		alloc_set_hook(NULL, NULL);
		assert_int_equal(status, UFM_ENOMEM);
		assert_null(s);
		failures++;
	}
	assert_true(failures >= 1);
	csv_free(f);
}

static bool count_calls(void *ctx, size_t size_bytes)
{
	(void)size_bytes;
	++*(int *)ctx;
	return true;
}

static void test_samples_allocate_nothing(void **state)
{
	sampler *s = NULL;
	int calls = 0;
	csv *f = csv_new();

	(void)state;
	alloc_set_hook(count_calls, &calls);
	assert_int_equal(sampler_open(&(sampler_config){f->path, AN_HOUR_NS}, &s), UFM_OK);
	assert_true(calls > 0);
	calls = 0;
	sampler_sample(s);
	assert_int_equal(calls, 0);
	assert_int_equal(sampler_close(s, NULL), UFM_OK);
	alloc_set_hook(NULL, NULL);
	csv_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header_is_exact),
		cmocka_unit_test(test_rows_carry_the_figures),
		cmocka_unit_test(test_peaks_are_the_largest_seen),
		cmocka_unit_test(test_thread_samples_by_itself),
		cmocka_unit_test(test_close_does_not_wait),
		cmocka_unit_test(test_samples_are_serialised),
		cmocka_unit_test(test_path_that_cannot_be_created),
		cmocka_unit_test(test_full_disk_at_open),
		cmocka_unit_test(test_full_disk_later),
		cmocka_unit_test(test_every_allocation_fails_once),
		cmocka_unit_test(test_samples_allocate_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Rows of a results folder: each by one write that is then on disk, whole or not there. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/bench/results.h"
#include "support/assert_error.h"

#define LONG_TEXT 20000u /* more than a stream would hold */

/* What the results call in place of the C library's, which calls its own by other names. */
static struct {
	unsigned writes, flushes;
	size_t room; /* bytes that the disk still takes */
} disk;

ssize_t write(int fd, const void *bytes, size_t count)
{
	disk.writes++;
	if (disk.room == 0) {
		errno = ENOSPC;
		return -1;
	}
	ssize_t n = syscall(SYS_write, fd, bytes, count < disk.room ? count : disk.room);
	disk.room -= n > 0 ? (size_t)n : 0;
	return n;
}

int fsync(int fd)
{
	disk.flushes++;
	return (int)syscall(SYS_fsync, fd);
}

static char folder[64], path[128];

static int open_folder(void **state)
{
	(void)state;
	snprintf(folder, sizeof folder, "/tmp/ufm_results_XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/runs.jsonl", folder);
	return 0;
}

static int close_folder(void **state)
{
	(void)state;
	static const char *const names[] = {"runs.jsonl", "telemetry_ufm_8.csv", "summary.json"};
	for (size_t i = 0; i < 3; i++) {
		snprintf(path, sizeof path, "%s/%s", folder, names[i]);
		unlink(path);
	}
	return rmdir(folder);
}

static json_t *a_row(int number)
{
	char *text = malloc(LONG_TEXT + 1);
	assert_non_null(text);
	memset(text, 'x', LONG_TEXT);
	text[LONG_TEXT] = '\0';
	json_t *row = json_object();
	json_object_set_new(row, "number", json_integer(number));
	json_object_set_new(row, "text", json_string(text));
	free(text);
	return row;
}

static unsigned whole_rows(void)
{
	FILE *file = fopen(path, "r");
	char *line = NULL;
	size_t room = 0;
	ssize_t length;
	unsigned rows = 0;
	assert_non_null(file);
	while ((length = getline(&line, &room, file)) > 0) {
		json_t *row = json_loadb(line, (size_t)length, 0, NULL);
		assert_int_equal(line[length - 1], '\n');
		assert_int_equal(json_integer_value(json_object_get(row, "number")), rows++);
		json_decref(row);
	}
	free(line);
	fclose(file);
	return rows;
}

static void a_row_is_one_write_and_on_disk(void **state)
{
	(void)state;
	results *r;
	assert_int_equal(results_open(folder, &r), UFM_OK);
	for (int i = 0; i < 3; i++) {
		json_t *row = a_row(i);
		disk.writes = disk.flushes = 0;
		disk.room = SIZE_MAX;
		assert_int_equal(results_add(r, row), UFM_OK);
		assert_int_equal(disk.writes, 1);
		assert_int_equal(disk.flushes, 1);
		assert_int_equal(whole_rows(), i + 1);
		json_decref(row);
	}
	results_close(r);
	assert_int_equal(whole_rows(), 3);
}

static void a_row_that_does_not_fit_is_not_there(void **state)
{
	(void)state;
	results *r;
	assert_int_equal(results_open(folder, &r), UFM_OK);
	json_t *first = a_row(0), *second = a_row(1);
	disk.room = SIZE_MAX;
	assert_int_equal(results_add(r, first), UFM_OK);
	disk.room = 5000;
	assert_error(results_add(r, second), UFM_EFILE, "runs.jsonl");
	assert_int_equal(whole_rows(), 1);
	results_close(r);
	assert_int_equal(whole_rows(), 1);
	json_decref(first);
	json_decref(second);
}

static void add_row(results *r, int number)
{
	json_t *row = a_row(number);
	disk.room = SIZE_MAX;
	assert_int_equal(results_add(r, row), UFM_OK);
	json_decref(row);
}

static bool is_there(const char *name)
{
	char at[128];
	snprintf(at, sizeof at, "%s/%s", folder, name);
	return access(at, F_OK) == 0;
}

static void write_file(const char *name)
{
	char at[128];
	snprintf(at, sizeof at, "%s/%s", folder, name);
	FILE *file = fopen(at, "w");
	assert_non_null(file);
	fputs("of a run", file);
	fclose(file);
}

/* As a run does that is on. */
static const char *write_telemetry(results *r)
{
	const char *at = results_telemetry_path(r, "ufm", 8);
	write_file(strrchr(at, '/') + 1);
	return strrchr(at, '/') + 1;
}

static void leave_two_rows(void)
{
	results *r;
	assert_int_equal(results_open(folder, &r), UFM_OK);
	add_row(r, 0);
	add_row(r, 1);
	assert_int_equal(results_keep(r), UFM_OK);
	results_close(r);
}

static void earlier_rows_outlive_a_run_that_keeps_none(void **state)
{
	(void)state;
	results *r;
	leave_two_rows();
	write_file("telemetry_ufm_8.csv");
	assert_int_equal(results_open(folder, &r), UFM_OK);
	assert_false(results_are_ours(r));
	assert_string_equal(write_telemetry(r), "telemetry_ufm_8.csv.tmp");
	add_row(r, 0);
	assert_int_equal(whole_rows(), 2);
	results_close(r);
	assert_int_equal(whole_rows(), 2);
	assert_true(is_there("telemetry_ufm_8.csv") && !is_there("telemetry_ufm_8.csv.tmp"));
}

static void rows_that_are_kept_replace_earlier_ones(void **state)
{
	(void)state;
	results *r, *other;
	leave_two_rows();
	write_file("throughput.png");
	assert_int_equal(results_open(folder, &r), UFM_OK);
	write_telemetry(r);
	add_row(r, 0);
	assert_true(is_there("throughput.png"));
	assert_error(results_open(folder, &other), UFM_EFILE, "another bench is writing to");
	assert_int_equal(results_keep(r), UFM_OK);
	assert_true(results_are_ours(r));
	assert_int_equal(whole_rows(), 1);
	assert_error(results_open(folder, &other), UFM_EFILE, "another bench is writing to");
	assert_false(is_there("throughput.png") || is_there("telemetry_ufm_8.csv.tmp"));
	assert_true(is_there("telemetry_ufm_8.csv"));
	add_row(r, 1);
	assert_int_equal(results_put(r, "summary.json", "{}\n", 3), UFM_OK);
	results_close(r);
	assert_int_equal(whole_rows(), 2);
	assert_true(is_there("summary.json"));
}

/* Each test has a folder of its own. */
#define IN_A_FOLDER(test) cmocka_unit_test_setup_teardown(test, open_folder, close_folder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_A_FOLDER(a_row_is_one_write_and_on_disk),
		IN_A_FOLDER(a_row_that_does_not_fit_is_not_there),
		IN_A_FOLDER(earlier_rows_outlive_a_run_that_keeps_none),
		IN_A_FOLDER(rows_that_are_kept_replace_earlier_ones),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

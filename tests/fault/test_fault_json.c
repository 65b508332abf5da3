/* SPDX-License-Identifier: MIT */
/* Every allocation of jansson failed in turn: what is printed is the whole of it, or nothing and an error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "cli/json_memory.h"
#include "cli/json_print.h"
#include "cli/json_put.h"
#include "cli/json_text.h"
#include "cli/row_lines.h"
#include "support/assert_error.h"

#define ALLOCATIONS_MAX 2000u

typedef struct budget {
	unsigned left;
	bool spent;
} budget;

static bool grant(void *ctx, size_t size_bytes)
{
	budget *b = ctx;
	(void)size_bytes;
	b->spent = b->spent || b->left == 0;
	return b->left && b->left--;
}

/* The first `left` allocations succeed, none after them. */
static void begin(budget *b, unsigned left)
{
	*b = (budget){.left = left};
	json_memory_watch();
	alloc_set_hook(grant, b);
}

/* More members than the first table of an object holds. */
static json_t *a_report(void)
{
	char name[32];
	json_t *rows = json_array();
	for (int i = 0; i < 3; i++) {
		json_t *row = json_object();
		for (int j = 0; j < 20; j++) {
			snprintf(name, sizeof name, "member_%d", j);
			json_put(row, name, j % 3 == 0 ? json_integer(j) : j % 3 == 1 ? json_real(j) : NULL);
		}
		json_put(row, "name", json_text("some \xe2\x82\xac text"));
		json_add(rows, row);
	}
	return rows;
}

static ufm_status print_report(char *text, size_t size, size_t flags)
{
	FILE *to = fmemopen(text, size, "w");
	assert_non_null(to);
	json_t *report = a_report();
	ufm_status status = json_print(to, report, flags);
	json_decref(report);
	assert_int_equal(fclose(to), 0);
	return status;
}

static void a_report_is_whole_or_an_error(void **state)
{
	(void)state;
	static char whole[8192], text[8192];
	static const size_t flags[] = {JSON_PRINT_LINE, JSON_PRINT_PAGE};
	for (size_t f = 0; f < 2; f++) {
		budget b;
		begin(&b, UINT32_MAX);
		assert_int_equal(print_report(whole, sizeof whole, flags[f]), UFM_OK);
		assert_int_equal(json_memory_check(), UFM_OK);
		b.spent = true;
		for (unsigned left = 0; b.spent; left++) {
			assert_true(left < ALLOCATIONS_MAX);
			memset(text, 0, sizeof text);
			begin(&b, left);
			ufm_status status = print_report(text, sizeof text, flags[f]);
			alloc_set_hook(NULL, NULL);
			assert_int_equal(status, b.spent ? UFM_ENOMEM : UFM_OK);
			assert_int_equal(json_memory_check(), status); /* also for who did not look */
			assert_string_equal(text, b.spent ? "" : whole);
			if (b.spent)
				assert_error(status, UFM_ENOMEM, "memory");
		}
	}
}

static ufm_status count_members(void *ctx, unsigned line, json_t *row)
{
	(void)line;
	*(size_t *)ctx += json_object_size(row);
	return UFM_OK;
}

/* A row for which memory lacks was not cut short. */
static void rows_that_are_read_are_whole_or_an_error(void **state)
{
	(void)state;
	char path[] = "/tmp/ufm_fault_json_XXXXXX";
	static const char text[] = "{\"a\":1,\"b\":[1,2,{\"c\":\"d\"}],\"e\":2.5}";
	int fd = mkstemp(path);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0 && fclose(file) == 0);
	budget b = {.spent = true};
	for (unsigned left = 0; b.spent; left++) {
		size_t members = 0;
		assert_true(left < ALLOCATIONS_MAX);
		begin(&b, left);
		ufm_status status = row_lines_read(path, "a test", count_members, &members);
		alloc_set_hook(NULL, NULL);
		assert_int_equal(status, b.spent ? UFM_ENOMEM : UFM_OK);
		assert_int_equal(members, b.spent ? 0 : 3);
	}
	remove(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_report_is_whole_or_an_error),
		cmocka_unit_test(rows_that_are_read_are_whole_or_an_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

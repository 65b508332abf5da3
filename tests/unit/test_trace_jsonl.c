/* SPDX-License-Identifier: MIT */
/* Traces from JSON lines: what is read, and what is refused with its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/assert_error.h"
#include "support/trace_files.h"

static void objects_in_any_order_of_layers(void **state)
{
	(void)state;
	trace t;
	trace_files_read_good(
		"{\"layer\": 9, \"token\": 41, \"experts\": [5, 2]}\r\n"
		" {\"experts\":[0],\"token\":41,\"layer\":3,\"weights\":[0.5],\"more\":{\"a\":[1]}}\n"
		"\n"
		"{\"token\": 42, \"layer\": 3, \"experts\": []}\n"
		"{\"token\": 42, \"layer\": 9, \"experts\": [1, 0, 7], \"weights\": [2, -1e3, 0]}",
		NULL, &t);
	static const uint16_t expected[] = {0,          TRACE_NONE, TRACE_NONE, 5, 2, TRACE_NONE,
	                                    TRACE_NONE, TRACE_NONE, TRACE_NONE, 1, 0, 7};
	assert_int_equal(t.tokens, 2);
	assert_int_equal(t.layers, 2);
	assert_int_equal(t.ranks, 3);
	assert_int_equal(t.experts, 8);
	assert_int_equal(t.sequences, 1);
	assert_memory_equal(t.ids, expected, sizeof expected);
	trace_close(&t);
}

static void sequences_by_name(void **state)
{
	(void)state;
	trace t;
	trace_files_read_good(TRACE_LINE_OF(0, "\"a\"") TRACE_LINE_OF(1, "\"a\"") TRACE_LINE_OF(1, "1")
	                          TRACE_LINE_OF(7, "\"1\"") TRACE_LINE_OF(8, "\"1\""),
	                      NULL, &t);
	assert_int_equal(t.sequences, 3);
	assert_int_equal(t.starts[0], 0);
	assert_int_equal(t.starts[1], 2);
	assert_int_equal(t.starts[2], 3);
	assert_int_equal(t.starts[3], 5);
	trace_close(&t);
}

#define EVENT(rest) "{\"layer\":0,\"token\":0," rest "}\n"

static void objects_that_are_refused(void **state)
{
	(void)state;
	static const struct {
		const char *text, *error;
	} cases[] = {
		{"", "t.jsonl: found no object, expected one a token and layer"},
		{"\n \n", "found no object"},
		{"[1]\n", "line 1: byte 0: found '[', expected an object"},
		{EVENT("\"experts\":[1]") "{\"layer\":0,\"tok", "line 2: byte 15: the text ends"},
		{EVENT("\"experts\":[1]") "{}", "line 2: the object has no \"layer\""},
		{"{\"layer\":0,\"experts\":[1]}", "line 1: the object has no \"token\""},
		{EVENT("\"weights\":[1]"), "line 1: the object has no \"experts\""},
		{EVENT("\"experts\":[1,1]"), "line 1: found expert id 1 twice"},
		{EVENT("\"experts\":[65535]"), "line 1: found expert id 65535, expected 0 to 65534"},
		{EVENT("\"experts\":[18446744073709551615]"), "found expert id 18446744073709551615"},
		{EVENT("\"experts\":[-1]"), "line 1: found -1, expected a whole number"},
		{EVENT("\"experts\":[1.5]"), "line 1: found 1.5, expected a whole number"},
		{EVENT("\"experts\":[1e999]"), "line 1: found 1e999, expected a whole number"},
		{EVENT("\"experts\":[NaN]"), "found 'N', expected a value"},
		{EVENT("\"experts\":[null]"), "expected a whole number"},
		{EVENT("\"experts\":[\"1\"]"), "expected a whole number"},
		{EVENT("\"experts\":1"), "expected an array"},
		{EVENT("\"experts\":[1],\"weights\":[NaN]"), "found 'N', expected a value"},
		{EVENT("\"experts\":[1],\"weights\":[null]"), "expected a number"},
		{EVENT("\"experts\":[1],\"weights\":[1e999]"), "line 1: found an infinite weight"},
		{EVENT("\"experts\":[1],\"weights\":[-1e999]"), "line 1: found an infinite weight"},
		{EVENT("\"experts\":[1],\"weights\":[1,2]"), "found 2 weights for 1 experts"},
		{EVENT("\"experts\":[1],\"layer\":0"), "the key \"layer\" stands twice"},
		{EVENT("\"experts\":[1],\"sequence\":null"), "expected a whole number"},
		{EVENT("\"experts\":[]"), "found no expert in 1 tokens"},
		{EVENT("\"experts\":[1]") "x", "line 2: byte 0: found 'x'"},
		{TRACE_LINE(4096, 0), "line 1: found layer 4096, expected less than 4096"},
		{TRACE_LINE(0, 0) TRACE_LINE(0, 0), "line 2: found layer 0 twice for one token"},
		{TRACE_LINE(0, 0) TRACE_LINE(0, 1) TRACE_LINE(0, 1),
	     "line 3: found layer 0 twice for one token"},
		{TRACE_LINE(0, 0) TRACE_LINE(1, 1),
	     "line 2: found layer 1, expected one of the 1 that the first"},
		{TRACE_LINE(0, 0) TRACE_LINE(2, 0) TRACE_LINE(1, 1),
	     "line 3: found layer 1, expected one of the 2"},
		{TRACE_LINE(0, 0) TRACE_LINE(2, 0) TRACE_LINE(2, 1) TRACE_LINE(0, 2),
	     "line 4: the token before has no layer 0"},
		{TRACE_LINE(0, 0) TRACE_LINE(2, 0) TRACE_LINE(0, 1),
	     "end of the file: the token before has no layer 2"},
		{TRACE_LINE(0, 5) TRACE_LINE(0, 7),
	     "line 2: found token 7 after 5, expected the same or the next"},
		{TRACE_LINE(0, 5) TRACE_LINE(0, 4), "line 2: found token 4 after 5"},
		{TRACE_LINE(0, 18446744073709551615) TRACE_LINE(0, 0),
	     "line 2: found token 0 after 18446744073709551615"},
		{TRACE_LINE_OF(0, "1") TRACE_LINE_OF(2, "1"), "line 2: found token 2 after 0"},
		{TRACE_LINE_OF(0, "1") TRACE_LINE(0, 1), "line 2: the object has no \"sequence\""},
		{TRACE_LINE(0, 0) TRACE_LINE_OF(1, "1"),
	     "line 2: found \"sequence\", expected it in all objects"},
		{TRACE_LINE_OF(0, "1") TRACE_LINE_OF(0, "2") TRACE_LINE_OF(1, "1"),
	     "line 3: found the sequence of line 1 again"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		trace t;
		ufm_status status = trace_files_read(cases[i].text, NULL, &t);
		if (status != UFM_EFORMAT || !strstr(ufm_last_error(), cases[i].error))
			fail_msg("%s: status %d, \"%s\", expected \"%s\"", cases[i].text, status,
			         ufm_last_error(), cases[i].error);
		assert_null(t.ids);
		assert_null(t.starts);
		assert_int_equal(t.tokens, 0);
	}
}

static void experts_given(void **state)
{
	(void)state;
	trace_source source = {.path = trace_files_path(0, "t.jsonl"), .experts = 2};
	trace t;
	trace_files_write(source.path, TRACE_LINE(0, 0), strlen(TRACE_LINE(0, 0)));
	assert_int_equal(trace_read(&source, &t), UFM_OK);
	assert_int_equal(t.experts, 2);
	trace_close(&t);
	source.experts = 1;
	assert_error(trace_read(&source, &t), UFM_EFORMAT,
	             "t.jsonl: line 1: found expert id 1, expected 0 to 0");
	unlink(source.path);
}

/* Writes `text` between a head and a tail, so that the line has this many bytes. */
static void write_long_line(const char *path, const char *head, const char *tail, size_t bytes)
{
	char *line = malloc(bytes);
	assert_non_null(line);
	memset(line, ' ', bytes);
	memcpy(line, head, strlen(head));
	memcpy(line + bytes - strlen(tail), tail, strlen(tail));
	trace_files_write(path, line, bytes);
	free(line);
}

/* Lines at the sizes where the buffer is full, and at the bound. */
static void lines_of_awkward_length(void **state)
{
	(void)state;
	static const size_t sizes[] = {65535,  65536,   65537,         131071,    131072,
	                               131073, 1000000, (4 << 20) - 1, (4 << 20), (4 << 20) + 1};
	trace_source source = {.path = trace_files_path(0, "t.jsonl")};
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		trace t;
		write_long_line(source.path, TRACE_LINE(0, 0), TRACE_LINE(0, 1),
		                sizes[i] + strlen(TRACE_LINE(0, 0)));
		ufm_status status = trace_read(&source, &t);
		if (sizes[i] <= 4 << 20) {
			assert_int_equal(status, UFM_OK);
			assert_int_equal(t.tokens, 2);
		}
		trace_close(&t);
	}
	trace t;
	write_long_line(source.path, TRACE_LINE(0, 0), TRACE_LINE(0, 1), 9 << 20);
	assert_error(trace_read(&source, &t), UFM_EFORMAT, "line 2: is longer than 4194304 bytes");
	unlink(source.path);
}

/* One event of 65535 experts would make every row that wide. */
static void one_long_event_among_many(void **state)
{
	(void)state;
	trace_source source = {.path = trace_files_path(0, "t.jsonl")};
	FILE *file = fopen(source.path, "w");
	assert_non_null(file);
	fprintf(file, "{\"layer\":0,\"token\":0,\"experts\":[0");
	for (int id = 1; id < 65535; id++)
		fprintf(file, ",%d", id);
	fprintf(file, "]}\n");
	trace t;
	assert_int_equal(fflush(file), 0);
	assert_int_equal(trace_read(&source, &t), UFM_OK);
	assert_int_equal(t.ranks, 65535);
	assert_int_equal(t.ids[65534], 65534);
	trace_close(&t);
	for (int token = 1; token < 100; token++)
		fprintf(file, "{\"layer\":0,\"token\":%d,\"experts\":[1]}\n", token);
	assert_int_equal(fclose(file), 0);
	assert_error(trace_read(&source, &t), UFM_EFORMAT,
	             "found 65535 experts in one event and 65634 in all 100, expected events of");
	unlink(source.path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(objects_in_any_order_of_layers),
		cmocka_unit_test(sequences_by_name),
		cmocka_unit_test(objects_that_are_refused),
		cmocka_unit_test(experts_given),
		cmocka_unit_test(lines_of_awkward_length),
		cmocka_unit_test(one_long_event_among_many),
	};
	return cmocka_run_group_tests(tests, trace_files_open, trace_files_close);
}

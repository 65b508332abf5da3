/* SPDX-License-Identifier: MIT */
/* Traces from arrays, and where their sequences begin: what is read, and what is refused with its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/npy.h"
#include "base/rng.h"
#include "support/assert_error.h"
#include "support/trace_files.h"

#define CUT "tests/data/traces/gpt-oss-20b-cut.npy"
#define SEED 5u

/* ---- .npy */

static ufm_status read_npy(npy_type type, uint32_t dims, const uint64_t *shape, const void *ids,
                           uint32_t experts, trace *t)
{
	trace_source source = {.path = trace_files_path(0, "t.npy"), .experts = experts};
	assert_int_equal(npy_write(source.path, type, dims, shape, ids), UFM_OK);
	ufm_status status = trace_read(&source, t);
	unlink(source.path);
	return status;
}

static void every_type_of_ids(void **state)
{
	(void)state;
	static const uint8_t u8[] = {1, 0, 255, 7, 3, 2};
	static const uint16_t u16[] = {1, 0, 65534, 7, 3, 2};
	static const int32_t i32[] = {1, 0, 65534, 7, 3, 2};
	static const uint64_t shape[] = {1, 3, 2};
	trace t;
	assert_int_equal(read_npy(NPY_U8, 3, shape, u8, 0, &t), UFM_OK);
	assert_int_equal(t.experts, 256);
	assert_int_equal(trace_event(&t, 0, 1)[0], 255);
	trace_close(&t);
	assert_int_equal(read_npy(NPY_U16, 3, shape, u16, 0, &t), UFM_OK);
	assert_int_equal(t.experts, TRACE_EXPERTS_MAX);
	assert_memory_equal(t.ids, u16, sizeof u16);
	trace_close(&t);
	assert_int_equal(read_npy(NPY_I32, 3, shape, i32, 0, &t), UFM_OK);
	assert_memory_equal(t.ids, u16, sizeof u16);
	assert_int_equal(t.sequences, 1);
	assert_int_equal(t.starts[0], 0);
	assert_int_equal(t.starts[1], 1);
	trace_close(&t);
	assert_null(t.ids);
}

static void the_real_cut(void **state)
{
	(void)state;
	trace t;
	trace_source source = {.path = CUT, .sequences_path = trace_files_path(1, "s.csv")};
	const char *csv = "seq,n_tokens,name,start\r\n0,511,\"a, \"\"b\"\"\",0\r\n1,101,,511\r\n";
	trace_files_write(source.sequences_path, csv, strlen(csv));
	assert_int_equal(trace_read(&source, &t), UFM_OK);
	unlink(source.sequences_path);
	assert_int_equal(t.tokens, 612);
	assert_int_equal(t.layers, 24);
	assert_int_equal(t.ranks, 4);
	assert_int_equal(t.experts, 32);
	assert_int_equal(t.sequences, 2);
	assert_int_equal(t.starts[1], 511);
	assert_int_equal(t.starts[2], 612);
	trace_close(&t);
}

static void arrays_that_are_no_trace(void **state)
{
	(void)state;
	static const float floats[4];
	static const int32_t ids[] = {0, 1, 2, 3, 4, 4, 5, 6}, negative[] = {0, 1, 2, -1};
	static const uint16_t none[] = {0, 1, 2, TRACE_NONE};
	trace t;
	ufm_status s = read_npy(NPY_F32, 3, (uint64_t[]){1, 2, 2}, floats, 0, &t);
	assert_error(s, UFM_EFORMAT, "t.npy: found elements of type <f4, expected expert ids");
	assert_null(t.ids);
	s = read_npy(NPY_I32, 2, (uint64_t[]){2, 2}, ids, 0, &t);
	assert_error(s, UFM_EFORMAT, "found 2 dimensions, expected 3");
	s = read_npy(NPY_I32, 3, (uint64_t[]){0, 2, 2}, NULL, 0, &t);
	assert_error(s, UFM_EFORMAT, "shape [0, 2, 2]");
	s = read_npy(NPY_I32, 3, (uint64_t[]){2, 2, 0}, NULL, 0, &t);
	assert_error(s, UFM_EFORMAT, "shape [2, 2, 0]");
	s = read_npy(NPY_I32, 3, (uint64_t[]){2, 2, 2}, ids, 0, &t);
	assert_error(s, UFM_EFORMAT,
	             "t.npy: token 1, layer 0, rank 1: found expert id 4 twice, expected different");
	s = read_npy(NPY_I32, 3, (uint64_t[]){1, 2, 2}, negative, 0, &t);
	assert_error(s, UFM_EFORMAT,
	             "token 0, layer 1, rank 1: found expert id -1, expected 0 to 65534");
	s = read_npy(NPY_U16, 3, (uint64_t[]){1, 2, 2}, none, 0, &t);
	assert_error(s, UFM_EFORMAT, "found expert id 65535, expected 0 to 65534");
	s = read_npy(NPY_I32, 3, (uint64_t[]){1, 2, 2}, ids, 3, &t);
	assert_error(s, UFM_EFORMAT, "layer 1, rank 1: found expert id 3, expected 0 to 2");
	s = trace_read(&(trace_source){.path = CUT, .experts = 65536}, &t);
	assert_error(s, UFM_EINVAL, "found 65536, expected at most 65535");
}

/* Claims are compared with the file before anything is allocated for them. */
static void headers_that_claim_much(void **state)
{
	(void)state;
	static const char claim[] =
		"\x93NUMPY\x01\x00\x76\x00{'descr': '|u1', 'fortran_order': False, 'shape': "
		"(2500000000, 1, 4), }                                              \n12345678";
	static const char header[] = "\x93NUMPY\x02\x00\xff\xff\xff\xff{'descr': ";
	trace_source source = {.path = trace_files_path(0, "t.npy")};
	trace t;
	trace_files_write(source.path, claim, sizeof claim - 1);
	assert_error(trace_read(&source, &t), UFM_EFORMAT, "10000000000");
	trace_files_write(source.path, header, sizeof header - 1);
	assert_error(trace_read(&source, &t), UFM_EFORMAT, "t.npy: npy");
	trace_files_write(source.path, "", 0);
	assert_error(trace_read(&source, &t), UFM_EFORMAT, "t.npy: npy");
	unlink(source.path);
}

static void a_cut_array(void **state)
{
	(void)state;
	static const uint8_t ids[] = {0, 1, 2, 3};
	trace_source source = {.path = trace_files_path(0, "t.npy")};
	trace t;
	assert_int_equal(npy_write(source.path, NPY_U8, 3, (uint64_t[]){1, 2, 2}, ids), UFM_OK);
	assert_int_equal(truncate(source.path, 128 + 3), 0);
	assert_error(trace_read(&source, &t), UFM_EFORMAT, "too short: 3 bytes, the shape needs 4");
	unlink(source.path);
}

static void paths_that_are_no_trace(void **state)
{
	(void)state;
	trace t;
	assert_error(trace_read(&(trace_source){.path = "/nowhere/t.npy"}, &t), UFM_EFILE,
	             "/nowhere/t.npy: cannot be opened");
	assert_error(trace_read(&(trace_source){.path = trace_files_folder()}, &t), UFM_EFILE,
	             "is not a regular file");
	assert_error(trace_read(&(trace_source){.path = "README.md"}, &t), UFM_EFORMAT,
	             "README.md: is no trace by its name, expected one that ends with .npy or .jsonl");
	assert_error(trace_read(&(trace_source){.path = CUT, .sequences_path = "/nowhere/s.csv"}, &t),
	             UFM_EFILE, "/nowhere/s.csv: cannot be opened");
	assert_null(t.ids);
}

/* ---- sequences */

static void boundaries_from_a_list(void **state)
{
	(void)state;
	static const char *const lists[] = {"start\n0\n2\n", "start,n_tokens\n0,2\n2,1\n",
	                                    "n_tokens,\"start\",x\n 2 , \"0\",\n1,2,\"\"\n"};
	for (size_t i = 0; i < 2; i++) {
		trace t;
		trace_files_read_good(TRACE_LINE(0, 0) TRACE_LINE(0, 1) TRACE_LINE(0, 2), lists[i], &t);
		assert_int_equal(t.sequences, 2);
		assert_int_equal(t.starts[0], 0);
		assert_int_equal(t.starts[1], 2);
		assert_int_equal(t.starts[2], 3);
		trace_close(&t);
	}
	trace t;
	assert_error(trace_files_read(TRACE_LINE(0, 0), lists[2], &t), UFM_EFORMAT,
	             "line 2: found '\"0\"' as start");
}

static void boundaries_that_are_refused(void **state)
{
	(void)state;
	static const struct {
		const char *text, *error;
	} cases[] = {
		{"", "s.csv: is empty, expected a header that names a column 'start'"},
		{"begin\n0\n", "s.csv: line 1: expected a header that names a column 'start'"},
		{"start,start\n0,0\n", "line 1: expected each column once"},
		{"start,\"n\n0,0\n", "line 1: expected a closing quote"},
		{"start,\"n\"x\n0,0\n", "line 1: expected a closing quote"},
		{"start\n", "found no sequence, expected at least one row"},
		{"start,x\n0\n", "line 2: found 1 fields, expected 2 as in the header"},
		{"start\n0\n\n2\n", "line 3: found '' as start"},
		{"start\n-1\n", "line 2: found '-1' as start, expected a whole number"},
		{"start\n0.5\n", "line 2: found '0.5' as start"},
		{"start\nnan\n", "line 2: found 'nan' as start"},
		{"start\n18446744073709551616\n", "line 2: found '18446744073709551616' as start"},
		{"start\n1\n", "line 2: found start 1, expected 0, where the trace begins"},
		{"start\n0\n0\n", "line 3: found start 0 after 0, expected ascending ones"},
		{"start\n0\n2\n1\n", "line 4: found start 1 after 2"},
		{"start\n0\n3\n", "line 3: found start 3, expected less than the trace's 3 tokens"},
		{"start,n_tokens\n0,1\n2,1\n",
	     "line 3: found start 2, expected 1, where the sequence before ends"},
		{"start,n_tokens\n0,2\n1,2\n", "line 3: found start 1, expected 2"},
		{"start,n_tokens\n0,2\n", "line 2: the last sequence ends at token 2, expected 3"},
		{"start,n_tokens\n0,4\n", "ends at token 4, expected 3"},
		{"start,n_tokens\n0,0\n", "line 2: found n_tokens 0, expected at least 1"},
		{"start,n_tokens\n0,1\n1,18446744073709551615\n", "line 3: found n_tokens 184467"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		trace t;
		ufm_status status =
			trace_files_read(TRACE_LINE(0, 0) TRACE_LINE(0, 1) TRACE_LINE(0, 2), cases[i].text, &t);
		if (status != UFM_EFORMAT || !strstr(ufm_last_error(), cases[i].error))
			fail_msg("%s: status %d, \"%s\", expected \"%s\"", cases[i].text, status,
			         ufm_last_error(), cases[i].error);
		assert_null(t.ids);
	}
	trace t;
	assert_error(trace_files_read(TRACE_LINE_OF(0, "1"), "start\n0\n", &t), UFM_EFORMAT,
	             "s.csv: the trace names its sequences itself");
}

/* ---- any table */

typedef struct random_trace {
	uint32_t tokens, layers, ranks;
	uint16_t *ids;
} random_trace;

static void make_event(rng *r, uint16_t *ids, uint32_t ranks, uint32_t experts)
{
	for (uint32_t i = 0; i < ranks; i++) {
		bool again;
		do {
			ids[i] = (uint16_t)rng_below(r, experts);
			again = false;
			for (uint32_t j = 0; j < i; j++)
				again |= ids[j] == ids[i];
		} while (again);
	}
}

static void write_event(FILE *file, uint32_t token, uint32_t layer, const uint16_t *ids,
                        uint32_t ranks)
{
	fprintf(file, "{\"layer\": %u, \"token\": %u, \"experts\": [", layer, token);
	for (uint32_t i = 0; i < ranks; i++)
		fprintf(file, "%s%u", i ? ", " : "", ids[i]);
	fprintf(file, "]}\n");
}

static void write_lines(const char *path, const random_trace *x, rng *r)
{
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	for (uint32_t token = 0; token < x->tokens; token++) {
		uint32_t first = rng_below(r, x->layers);
		for (uint32_t i = 0; i < x->layers; i++) {
			uint32_t layer = (first + i) % x->layers;
			write_event(file, token, layer, x->ids + ((size_t)token * x->layers + layer) * x->ranks,
			            x->ranks);
		}
	}
	assert_int_equal(fclose(file), 0);
}

static void expect_table(const trace *t, const random_trace *x)
{
	assert_int_equal(t->tokens, x->tokens);
	assert_int_equal(t->layers, x->layers);
	assert_int_equal(t->ranks, x->ranks);
	assert_memory_equal(t->ids, x->ids, (size_t)x->tokens * x->layers * x->ranks * 2);
}

/* Both formats give the table that was written; some are larger than one chunk of the reader. */
static void formats_agree(void **state)
{
	(void)state;
	rng r;
	rng_seed(&r, SEED);
	for (int round = 0; round < 24; round++) {
		random_trace x = {.tokens = 1 + rng_below(&r, round % 8 ? 40 : 3000),
		                  .layers = 1 + rng_below(&r, 9),
		                  .ranks = 1 + rng_below(&r, 10)};
		uint32_t events = x.tokens * x.layers, experts = x.ranks + rng_below(&r, 300);
		x.ids = calloc(events, x.ranks * sizeof *x.ids);
		assert_non_null(x.ids);
		for (uint32_t i = 0; i < events; i++)
			make_event(&r, x.ids + (size_t)i * x.ranks, x.ranks, experts);
		trace t;
		uint64_t shape[] = {x.tokens, x.layers, x.ranks};
		assert_int_equal(read_npy(NPY_U16, 3, shape, x.ids, 0, &t), UFM_OK);
		expect_table(&t, &x);
		trace_close(&t);
		trace_source source = {.path = trace_files_path(0, "t.jsonl")};
		write_lines(source.path, &x, &r);
		assert_int_equal(trace_read(&source, &t), UFM_OK);
		expect_table(&t, &x);
		trace_close(&t);
		unlink(source.path);
		free(x.ids);
	}
}

/* ---- memory that is not there */

static void each_allocation_fails(void **state)
{
	(void)state;
	const char *text = TRACE_LINE_OF(0, "1") TRACE_LINE_OF(0, "2"), *csv = "start\n0\n100\n";
	trace_source named = {.path = trace_files_path(0, "t.jsonl")};
	trace_source listed = {.path = CUT, .sequences_path = trace_files_path(1, "s.csv")};
	trace_files_write(named.path, text, strlen(text));
	trace_files_write(listed.sequences_path, csv, strlen(csv));
	trace_files_fail_allocations(&named);
	trace_files_fail_allocations(&listed);
	trace_files_fail_allocations(&(trace_source){.path = CUT});
	unlink(named.path);
	unlink(listed.sequences_path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_type_of_ids),
		cmocka_unit_test(the_real_cut),
		cmocka_unit_test(arrays_that_are_no_trace),
		cmocka_unit_test(headers_that_claim_much),
		cmocka_unit_test(a_cut_array),
		cmocka_unit_test(paths_that_are_no_trace),
		cmocka_unit_test(boundaries_from_a_list),
		cmocka_unit_test(boundaries_that_are_refused),
		cmocka_unit_test(formats_agree),
		cmocka_unit_test(each_allocation_fails),
	};
	return cmocka_run_group_tests(tests, trace_files_open, trace_files_close);
}

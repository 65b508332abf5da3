/* SPDX-License-Identifier: MIT */
/* Traces from files: what is read, and what is refused with its place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/npy.h"
#include "base/rng.h"
#include "support/assert_error.h"
#include "trace/trace.h"

#define FOLDER "/tmp/ufm-trace-XXXXXX"
#define CUT "tests/data/traces/gpt-oss-20b-cut.npy"
#define SEED 5u

static char folder[] = FOLDER;

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int drop_folder(void **state)
{
	(void)state;
	return rmdir(folder);
}

/* A path in the folder; the text lasts until the next call with this slot. */
static char *path_of(int slot, const char *name)
{
	static char paths[2][128];
	snprintf(paths[slot], sizeof paths[slot], "%s/%s", folder, name);
	return paths[slot];
}

static void write_file(const char *path, const void *content, size_t size)
{
	FILE *file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(content, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

static ufm_status read_text(const char *jsonl, const char *csv, trace *t)
{
	trace_source source = {.path = path_of(0, "t.jsonl")};
	write_file(source.path, jsonl, strlen(jsonl));
	if (csv) {
		source.sequences_path = path_of(1, "s.csv");
		write_file(source.sequences_path, csv, strlen(csv));
	}
	ufm_status status = trace_read(&source, t);
	unlink(source.path);
	if (csv)
		unlink(source.sequences_path);
	return status;
}

static void read_good(const char *jsonl, const char *csv, trace *t)
{
	if (read_text(jsonl, csv, t) != UFM_OK)
		fail_msg("%s", ufm_last_error());
}

/* ---- .npy */

static ufm_status read_npy(npy_type type, uint32_t dims, const uint64_t *shape, const void *ids,
                           uint32_t experts, trace *t)
{
	trace_source source = {.path = path_of(0, "t.npy"), .experts = experts};
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
	trace_source source = {.path = CUT, .sequences_path = path_of(1, "s.csv")};
	const char *csv = "seq,n_tokens,name,start\r\n0,511,\"a, \"\"b\"\"\",0\r\n1,101,,511\r\n";
	write_file(source.sequences_path, csv, strlen(csv));
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
	trace_source source = {.path = path_of(0, "t.npy")};
	trace t;
	write_file(source.path, claim, sizeof claim - 1);
	assert_error(trace_read(&source, &t), UFM_EFORMAT, "10000000000");
	write_file(source.path, header, sizeof header - 1);
	assert_error(trace_read(&source, &t), UFM_EFORMAT, "t.npy: npy");
	write_file(source.path, "", 0);
	assert_error(trace_read(&source, &t), UFM_EFORMAT, "t.npy: npy");
	unlink(source.path);
}

static void a_cut_array(void **state)
{
	(void)state;
	static const uint8_t ids[] = {0, 1, 2, 3};
	trace_source source = {.path = path_of(0, "t.npy")};
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
	assert_error(trace_read(&(trace_source){.path = folder}, &t), UFM_EFILE,
	             "is not a regular file");
	assert_error(trace_read(&(trace_source){.path = "README.md"}, &t), UFM_EFORMAT,
	             "README.md: is no trace by its name, expected one that ends with .npy or .jsonl");
	assert_error(trace_read(&(trace_source){.path = CUT, .sequences_path = "/nowhere/s.csv"}, &t),
	             UFM_EFILE, "/nowhere/s.csv: cannot be opened");
	assert_null(t.ids);
}

/* ---- .jsonl */

static void objects_in_any_order_of_layers(void **state)
{
	(void)state;
	trace t;
	read_good("{\"layer\": 9, \"token\": 41, \"experts\": [5, 2]}\r\n"
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

#define OBJECT(token, sequence) \
	"{\"layer\":0,\"token\":" #token ",\"experts\":[1],\"sequence\":" sequence "}\n"

static void sequences_by_name(void **state)
{
	(void)state;
	trace t;
	read_good(OBJECT(0, "\"a\"") OBJECT(1, "\"a\"") OBJECT(1, "1") OBJECT(7, "\"1\"")
	              OBJECT(8, "\"1\""),
	          NULL, &t);
	assert_int_equal(t.sequences, 3);
	assert_int_equal(t.starts[0], 0);
	assert_int_equal(t.starts[1], 2);
	assert_int_equal(t.starts[2], 3);
	assert_int_equal(t.starts[3], 5);
	trace_close(&t);
}

#define EVENT(rest) "{\"layer\":0,\"token\":0," rest "}\n"
#define TWO(layer, token) "{\"layer\":" #layer ",\"token\":" #token ",\"experts\":[1]}\n"

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
		{TWO(4096, 0), "line 1: found layer 4096, expected less than 4096"},
		{TWO(0, 0) TWO(0, 0), "line 2: found layer 0 twice for one token"},
		{TWO(0, 0) TWO(0, 1) TWO(0, 1), "line 3: found layer 0 twice for one token"},
		{TWO(0, 0) TWO(1, 1), "line 2: found layer 1, expected one of the 1 that the first"},
		{TWO(0, 0) TWO(2, 0) TWO(1, 1), "line 3: found layer 1, expected one of the 2"},
		{TWO(0, 0) TWO(2, 0) TWO(2, 1) TWO(0, 2), "line 4: the token before has no layer 0"},
		{TWO(0, 0) TWO(2, 0) TWO(0, 1), "end of the file: the token before has no layer 2"},
		{TWO(0, 5) TWO(0, 7), "line 2: found token 7 after 5, expected the same or the next"},
		{TWO(0, 5) TWO(0, 4), "line 2: found token 4 after 5"},
		{TWO(0, 18446744073709551615) TWO(0, 0),
	     "line 2: found token 0 after 18446744073709551615"},
		{OBJECT(0, "1") OBJECT(2, "1"), "line 2: found token 2 after 0"},
		{OBJECT(0, "1") TWO(0, 1), "line 2: the object has no \"sequence\""},
		{TWO(0, 0) OBJECT(1, "1"), "line 2: found \"sequence\", expected it in all objects"},
		{OBJECT(0, "1") OBJECT(0, "2") OBJECT(1, "1"),
	     "line 3: found the sequence of line 1 again"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		trace t;
		ufm_status status = read_text(cases[i].text, NULL, &t);
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
	trace_source source = {.path = path_of(0, "t.jsonl"), .experts = 2};
	trace t;
	write_file(source.path, TWO(0, 0), strlen(TWO(0, 0)));
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
	write_file(path, line, bytes);
	free(line);
}

/* Lines at the sizes where the buffer is full, and at the bound. */
static void lines_of_awkward_length(void **state)
{
	(void)state;
	static const size_t sizes[] = {65535,  65536,   65537,         131071,    131072,
	                               131073, 1000000, (4 << 20) - 1, (4 << 20), (4 << 20) + 1};
	trace_source source = {.path = path_of(0, "t.jsonl")};
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		trace t;
		write_long_line(source.path, TWO(0, 0), TWO(0, 1), sizes[i] + strlen(TWO(0, 0)));
		ufm_status status = trace_read(&source, &t);
		if (sizes[i] <= 4 << 20) {
			assert_int_equal(status, UFM_OK);
			assert_int_equal(t.tokens, 2);
		}
		trace_close(&t);
	}
	trace t;
	write_long_line(source.path, TWO(0, 0), TWO(0, 1), 9 << 20);
	assert_error(trace_read(&source, &t), UFM_EFORMAT, "line 2: is longer than 4194304 bytes");
	unlink(source.path);
}

/* One event of 65535 experts would make every row that wide. */
static void one_long_event_among_many(void **state)
{
	(void)state;
	trace_source source = {.path = path_of(0, "t.jsonl")};
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

/* ---- sequences */

static void boundaries_from_a_list(void **state)
{
	(void)state;
	static const char *const lists[] = {"start\n0\n2\n", "start,n_tokens\n0,2\n2,1\n",
	                                    "n_tokens,\"start\",x\n 2 , \"0\",\n1,2,\"\"\n"};
	for (size_t i = 0; i < 2; i++) {
		trace t;
		read_good(TWO(0, 0) TWO(0, 1) TWO(0, 2), lists[i], &t);
		assert_int_equal(t.sequences, 2);
		assert_int_equal(t.starts[0], 0);
		assert_int_equal(t.starts[1], 2);
		assert_int_equal(t.starts[2], 3);
		trace_close(&t);
	}
	trace t;
	assert_error(read_text(TWO(0, 0), lists[2], &t), UFM_EFORMAT, "line 2: found '\"0\"' as start");
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
		ufm_status status = read_text(TWO(0, 0) TWO(0, 1) TWO(0, 2), cases[i].text, &t);
		if (status != UFM_EFORMAT || !strstr(ufm_last_error(), cases[i].error))
			fail_msg("%s: status %d, \"%s\", expected \"%s\"", cases[i].text, status,
			         ufm_last_error(), cases[i].error);
		assert_null(t.ids);
	}
	trace t;
	assert_error(read_text(OBJECT(0, "1"), "start\n0\n", &t), UFM_EFORMAT,
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
		trace_source source = {.path = path_of(0, "t.jsonl")};
		write_lines(source.path, &x, &r);
		assert_int_equal(trace_read(&source, &t), UFM_OK);
		expect_table(&t, &x);
		trace_close(&t);
		unlink(source.path);
		free(x.ids);
	}
}

/* ---- memory that is not there */

typedef struct shortage {
	uint64_t asked, fail_at;
} shortage;

static bool allow(void *ctx, size_t size_bytes)
{
	shortage *s = ctx;
	(void)size_bytes;
	return s->asked++ != s->fail_at;
}

static void fail_each_allocation(const trace_source *source)
{
	shortage s = {.fail_at = UINT64_MAX};
	trace t;
	alloc_set_hook(allow, &s);
	assert_int_equal(trace_read(source, &t), UFM_OK);
	trace_close(&t);
	uint64_t total = s.asked;
	assert_true(total > 2);
	for (uint64_t at = 0; at < total; at++) {
		s = (shortage){.fail_at = at};
		assert_int_equal(trace_read(source, &t), UFM_ENOMEM);
		assert_null(t.ids);
		assert_non_null(strstr(ufm_last_error(), "host memory"));
	}
	alloc_set_hook(NULL, NULL);
}

static void each_allocation_fails(void **state)
{
	(void)state;
	const char *text = OBJECT(0, "1") OBJECT(0, "2"), *csv = "start\n0\n100\n";
	trace_source named = {.path = path_of(0, "t.jsonl")};
	trace_source listed = {.path = CUT, .sequences_path = path_of(1, "s.csv")};
	write_file(named.path, text, strlen(text));
	write_file(listed.sequences_path, csv, strlen(csv));
	fail_each_allocation(&named);
	fail_each_allocation(&listed);
	fail_each_allocation(&(trace_source){.path = CUT});
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
		cmocka_unit_test(objects_in_any_order_of_layers),
		cmocka_unit_test(sequences_by_name),
		cmocka_unit_test(objects_that_are_refused),
		cmocka_unit_test(experts_given),
		cmocka_unit_test(lines_of_awkward_length),
		cmocka_unit_test(one_long_event_among_many),
		cmocka_unit_test(boundaries_from_a_list),
		cmocka_unit_test(boundaries_that_are_refused),
		cmocka_unit_test(formats_agree),
		cmocka_unit_test(each_allocation_fails),
	};
	return cmocka_run_group_tests(tests, make_folder, drop_folder);
}

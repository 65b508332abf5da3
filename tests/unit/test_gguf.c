/* SPDX-License-Identifier: MIT */
/* The header of a GGUF file: what it gives, and every rule, by name, with a header that breaks it and the line that says
 * so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/gguf.h"
#include "support/assert_error.h"
#include "support/gguf_file.h"

enum { ROOM = 1 << 16 };

/* Parses a header before a payload of that many bytes, from memory that ends with it. */
static ufm_status parse(const char *words, uint64_t payload_bytes, tensor_list *list,
                        gguf_header *out, bool *more)
{
	static uint8_t spelt[ROOM];
	size_t bytes = gguf_spell(words, spelt, sizeof spelt);
	uint8_t *copy = malloc(bytes ? bytes : 1);
	ufm_status status;

	assert_non_null(copy);
	memcpy(copy, spelt, bytes);
	uint64_t file_bytes = payload_bytes ? (bytes + 31) / 32 * 32 + payload_bytes : bytes;
	status = gguf_parse(copy, bytes, file_bytes, 7, list, out, more);
	free(copy);
	return status;
}

static void test_tensors_come_back(void **state)
{
	tensor_list list = {0};
	gguf_header h;
	const checkpoint_tensor *t;
	bool more;

	(void)state;
	assert_int_equal(parse(GGUF_HEAD(3, 0) GGUF_STACK("b", 256, 3, 2, 12, 64) GGUF_ROW("a", 4, 0, 0)
	                           GGUF_MATRIX("c", 32, 5, 39, 32),
	                       64 + 864, &list, &h, &more),
	                 UFM_EFORMAT);
	assert_int_equal(list.count, 0);
	assert_int_equal(parse(GGUF_HEAD(3, 0) GGUF_STACK("b", 256, 3, 2, 12, 128)
	                           GGUF_ROW("a", 4, 0, 0) GGUF_MATRIX("c", 32, 5, 39, 32),
	                       128 + 864, &list, &h, &more),
	                 UFM_OK);
	assert_false(more);
	assert_int_equal(list.count, 3);
	t = &list.tensors[0];
	assert_string_equal(t->name, "a");
	assert_int_equal(t->dtype, CHECKPOINT_F32);
	assert_int_equal(t->size_bytes, 16);
	assert_int_equal(t->file, 7);
	assert_int_equal(t->file_offset_bytes % 32, 0);
	t = &list.tensors[1];
	assert_string_equal(checkpoint_dtype_name(t->dtype), "MXFP4");
	assert_int_equal(t->size_bytes, 5 * 17);
	t = &list.tensors[2];
	assert_string_equal(t->name, "b");
	assert_string_equal(checkpoint_dtype_name(t->dtype), "Q4_K");
	assert_int_equal(t->rank, 3);
	assert_int_equal(t->shape[0], 2);
	assert_int_equal(t->shape[1], 3);
	assert_int_equal(t->shape[2], 256);
	assert_int_equal(t->size_bytes, 6 * 144);
	assert_int_equal(t->file_offset_bytes, list.tensors[0].file_offset_bytes + 128);
	gguf_header_free(&h);
	tensor_list_free(&list);
}

/* Of every type, also in arrays and in arrays of arrays. */
static void test_values_come_back(void **state)
{
	static const char words[] =
		GGUF_HEAD(0, 12) " s:u8 4:0 1:200 s:i8 4:1 1:0xff s:u16 4:2 2:65535 s:i16 4:3 2:0xfffe"
						 " s:f32 4:6 x:0000c03f s:yes 4:7 1:1 s:text 4:8 s:word"
						 " s:u64 4:10 8:4294967296 s:i64 4:11 8:0xffffffffffffffff s:f64 4:12 "
						 "x:000000000000f83f"
						 " s:numbers 4:9 4:5 8:3 4:5 4:0xffffffff 4:9"
						 " s:nested 4:9 4:9 8:2 4:8 8:2 s:a s: 4:9 8:1 4:0 8:2 1:1 1:2";
	static const struct {
		const char *key;
		gguf_kind kind;
		double low, high;
		uint64_t count;
	} expected[] = {
		{"u8", GGUF_NUMBER, 200, 200, 1},      {"i8", GGUF_NUMBER, -1, -1, 1},
		{"u16", GGUF_NUMBER, 65535, 65535, 1}, {"i16", GGUF_NUMBER, -2, -2, 1},
		{"f32", GGUF_NUMBER, 1.5, 1.5, 1},     {"yes", GGUF_BOOL, 1, 1, 1},
		{"text", GGUF_TEXT, 0, 0, 1},          {"u64", GGUF_NUMBER, 4294967296.0, 4294967296.0, 1},
		{"i64", GGUF_NUMBER, -1, -1, 1},       {"f64", GGUF_NUMBER, 1.5, 1.5, 1},
		{"numbers", GGUF_ARRAY, -1, 9, 3},     {"nested", GGUF_ARRAY, 0, 0, 2},
	};
	tensor_list list = {0};
	gguf_header h;
	bool more;

	(void)state;
	assert_int_equal(parse(words, 0, &list, &h, &more), UFM_OK);
	assert_int_equal(h.values.count, 12);
	assert_int_equal(h.alignment, 32);
	for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
		const gguf_value *v = gguf_find(&h.values, expected[i].key);

		assert_non_null(v);
		assert_int_equal(v->kind, expected[i].kind);
		assert_true(v->low >= expected[i].low && v->low <= expected[i].low);
		assert_true(v->high >= expected[i].high && v->high <= expected[i].high);
		assert_int_equal(v->count, expected[i].count);
	}
	assert_string_equal(gguf_find(&h.values, "text")->text, "word");
	assert_null(gguf_find(&h.values, "none"));
	gguf_header_free(&h);
}

static void test_whole_numbers(void **state)
{
	gguf_value v = {.kind = GGUF_NUMBER, .low = 3, .high = 3};
	uint32_t out = 0;

	(void)state;
	assert_true(gguf_value_whole(&v, 1, 3, &out));
	assert_int_equal(out, 3);
	assert_false(gguf_value_whole(&v, 1, 2, &out));
	v.low = 2.5;
	assert_false(gguf_value_whole(&v, 1, 3, &out));
	v.low = -1;
	assert_false(gguf_value_whole(&v, 0, 3, &out));
	v = (gguf_value){.kind = GGUF_BOOL, .low = 1, .high = 1};
	assert_false(gguf_value_whole(&v, 0, 3, &out));
}

#define ONE(tensor) GGUF_HEAD(1, 0) tensor
#define PAIR(pair) GGUF_HEAD(0, 1) pair

static const struct {
	const char *rule, *header;
	uint64_t payload_bytes;
	const char *line;
} rules[] = {
	{"a magic", "b:GGU", 0, "header: byte 0: 4 bytes are wanted, the file has 3 more"},
	{"the magic", "b:GGML 4:3 8:0 8:0", 0, "header: begins with 0x47474d4c, expected \"GGUF\""},
	{"no git-lfs pointer", "b:version x:20 b:https://git-lfs", 0, "header: is a git-lfs pointer"},
	{"a version", "G 2:3", 0, "header: byte 4: 4 bytes are wanted, the file has 2 more"},
	{"version 1 has shorter counts", "G 4:1 8:0 8:0", 0, "header: version is 1, expected 2 or 3"},
	{"no later version", "G 4:4 8:0 8:0", 0, "header: version is 4, expected 2 or 3"},
	{"little-endian", "G 4:0x03000000 8:0 8:0", 0, "header: version is 0x03000000: a big-endian"},
	{"counts are there", "G 4:3 8:0", 0, "header: byte 16: 8 bytes are wanted, the file has 0"},
	{"few tensors", GGUF_HEAD(1048577, 0), 0,
     "header: the number of tensors is 1048577, expected at most 1048576"},
	{"no negative count", GGUF_HEAD(0xffffffffffffffff, 0), 0,
     "header: the number of tensors is 18446744073709551615"},
	{"few keys", GGUF_HEAD(0, 65537), 0,
     "header: the number of keys is 65537, expected at most 65536"},
	{"counts fit the file", GGUF_HEAD(3, 2) " 8:0 8:0", 0,
     "header: 3 tensors and 2 keys, but only 16 bytes follow"},
	{"a key has a length", PAIR(" s: 4:0 1:0 8:0"), 0,
     "header: byte 24: a string of 0 bytes, expected 1 … 65535"},
	{"a key is short", PAIR(" 8:65536 4:0 4:0 4:0"), 0, "header: byte 24: a string of 65536 bytes"},
	{"a key lies in the file", PAIR(" 8:99 4:0 4:0 4:0"), 0,
     "header: byte 32: 99 bytes are wanted, the file has 12 more"},
	{"a key is UTF-8", PAIR(" 8:2 x:c3c3 4:0 1:0"), 0, "header: a key is not UTF-8"},
	{"a key has no NUL", PAIR(" 8:2 x:6100 4:0 1:0"), 0, "header: a key holds a NUL"},
	{"keys stand once", GGUF_HEAD(0, 2) GGUF_U32("a", 1) GGUF_U32("a", 1), 0,
     "header: the key \"a\" stands twice"},
	{"types of values are known", PAIR(" s:a 4:13 8:0"), 0,
     "header: key \"a\": its type is 13, expected 0 … 12"},
	{"a value is whole", PAIR(" s:aa 4:10 4:0"), 0,
     "header: key \"aa\": byte 38: 8 bytes are wanted, the file has 4 more"},
	{"a truth is 0 or 1", PAIR(" s:a 4:7 1:2"), 0, "header: key \"a\": a truth is 2, expected 0"},
	{"truths in arrays, too", PAIR(" s:a 4:9 4:7 8:2 1:1 1:3"), 0,
     "header: key \"a\": a truth is 3"},
	{"a text is UTF-8", PAIR(" s:a 4:8 8:1 x:ff"), 0, "header: key \"a\": its text is not UTF-8"},
	{"a text lies in the file", PAIR(" s:a 4:8 8:9 1:0"), 0,
     "header: key \"a\": byte 45: 9 bytes are wanted, the file has 1 more"},
	{"no text of 2^64 bytes", PAIR(" s:a 4:8 8:0xffffffffffffffff 1:0"), 0,
     "header: key \"a\": byte 45: 18446744073709551615 bytes are wanted"},
	{"an array's type is known", PAIR(" s:a 4:9 4:99 8:0"), 0,
     "header: key \"a\": its type is 99, expected 0 … 12"},
	{"an array lies in the file", PAIR(" s:a 4:9 4:4 8:2 4:0"), 0,
     "header: key \"a\": an array of 2, the file has 4 bytes more"},
	{"no array of 2^64 numbers", PAIR(" s:a 4:9 4:10 8:0x2000000000000001 8:0"), 0,
     "header: key \"a\": an array of 2305843009213693953, the file has 8 bytes more"},
	{"an array of texts lies in the file", PAIR(" s:a 4:9 4:8 8:1 8:3 1:0"), 0,
     "header: key \"a\": byte 57: 3 bytes are wanted, the file has 1 more"},
	{"an array of arrays lies in the file", PAIR(" s:a 4:9 4:9 8:1 4:0 8:3 1:0"), 0,
     "header: key \"a\": an array of 3, the file has 1 bytes more"},
	{"arrays are nested in few levels",
     PAIR(" s:a 4:9 4:9 8:1 4:9 8:1 4:9 8:1 4:9 8:1 4:9 8:1 4:0 8:1 1:0"), 0,
     "header: key \"a\": arrays in arrays in more than 4 levels"},
	{"the alignment is a number", PAIR(GGUF_TEXT("general.alignment", "32")), 0,
     "header: general.alignment is \"32\", expected a power of two"},
	{"the alignment is a power of two", PAIR(GGUF_U32("general.alignment", 24)), 0,
     "header: general.alignment is 24, expected a power of two"},
	{"the alignment is not 0", PAIR(GGUF_U32("general.alignment", 0)), 0,
     "header: general.alignment is 0, expected a power of two"},
	{"the alignment is small", PAIR(GGUF_U32("general.alignment", 2097152)), 0,
     "header: general.alignment is 2097152, expected a power of two, at most 1048576"},
	{"a tensor has a name", ONE(GGUF_ROW("", 1, 0, 0) " 8:0"), 4,
     "header: byte 24: a string of 0 bytes, expected 1 … 255"},
	{"a name is short", ONE(" 8:256 8:0 8:0 8:0 8:0"), 0, "header: byte 24: a string of 256 bytes"},
	{"a name is UTF-8", ONE(" 8:1 x:80 4:1 8:1 4:0 8:0"), 4,
     "header: a tensor's name is not UTF-8"},
	{"a name has no NUL", ONE(" 8:1 x:00 4:1 8:1 4:0 8:0"), 4,
     "header: a tensor's name holds a NUL"},
	{"tensors stand once", GGUF_HEAD(2, 0) GGUF_ROW("a", 8, 0, 0) GGUF_ROW("a", 8, 0, 32), 64,
     "header: tensor \"a\" stands twice"},
	{"some dimensions", ONE(" s:a 4:0 4:0 8:0 8:0"), 4,
     "header: tensor \"a\": has 0 dimensions, expected 1 … 4"},
	{"few dimensions", ONE(" s:a 4:5 8:1 8:1 8:1 8:1 8:1 4:0 8:0"), 4,
     "header: tensor \"a\": has 5 dimensions, expected 1 … 4"},
	{"no empty dimension", ONE(GGUF_MATRIX("a", 4, 0, 0, 0)), 4,
     "header: tensor \"a\": a dimension is 0, expected at least 1"},
	{"the type is known", ONE(GGUF_ROW("a", 1, 4, 0)), 4,
     "header: tensor \"a\": its type is 4, which is not known here"},
	{"nor is a later one", ONE(GGUF_ROW("a", 1, 42, 0)), 4, "header: tensor \"a\": its type is 42"},
	{"a row is whole blocks", ONE(GGUF_ROW("a", 255, 12, 0)), 144,
     "header: tensor \"a\": a row of 255 elements, expected a multiple of the 256 of a Q4_K block"},
	{"the product does not overflow", ONE(GGUF_MATRIX("a", 0x100000000, 0x100000000, 24, 0)), 4,
     "header: tensor \"a\": the product of its dimensions overflows"},
	{"nor with the bytes of an element", ONE(GGUF_ROW("a", 0x4000000000000000, 0, 0)), 4,
     "header: tensor \"a\": the product of its dimensions overflows"},
	{"offsets are aligned", ONE(GGUF_ROW("a", 1, 0, 16)), 64,
     "header: tensor \"a\": its offset is 16, expected a multiple of 32"},
	{"as the file says", GGUF_HEAD(1, 1) GGUF_U32("general.alignment", 64) GGUF_ROW("a", 1, 0, 32),
     96, "header: tensor \"a\": its offset is 32, expected a multiple of 64"},
	{"tensors lie in the file", ONE(GGUF_ROW("a", 8, 0, 0)), 31,
     "header: tensor \"a\": 32 bytes at byte 0 of a payload of 31"},
	{"also far behind its end", ONE(GGUF_ROW("a", 1, 0, 0xffffffffffffffe0)), 32,
     "header: tensor \"a\": 4 bytes at byte 18446744073709551584 of a payload of 32"},
	{"there is a payload", ONE(GGUF_ROW("a", 1, 0, 0)), 0,
     "header: tensor \"a\": 4 bytes at byte 0 of a payload of 0"},
	{"tensors do not overlap", GGUF_HEAD(2, 0) GGUF_ROW("a", 9, 0, 0) GGUF_ROW("b", 1, 0, 32), 64,
     "header: tensors \"a\" and \"b\" overlap"},
	{"nor lie at the same place", GGUF_HEAD(2, 0) GGUF_ROW("b", 1, 0, 0) GGUF_ROW("a", 1, 0, 0), 32,
     "header: tensors \"a\" and \"b\" overlap"},
	{"no hole before the first", ONE(GGUF_ROW("a", 1, 0, 32)), 64,
     "header: tensor \"a\": a hole of 32 bytes before it"},
	{"no hole between them", GGUF_HEAD(2, 0) GGUF_ROW("a", 8, 0, 0) GGUF_ROW("b", 1, 0, 64), 96,
     "header: tensor \"b\": a hole of 32 bytes before it"},
	{"a header is at most 100 MB long", PAIR(" s:a 4:8 8:100000000 1:0"), 200000000,
     "header: key \"a\": byte 45: 100000000 bytes are wanted, a header has at most 100000000"},
	{"also that of an array", PAIR(" s:a 4:9 4:8 8:12499999 1:0"), 200000000,
     "header: key \"a\": byte 49: 99999992 bytes are wanted, a header has at most 100000000"},
	{"tensor infos are whole", GGUF_HEAD(1, 0) " s:aaaaaaaaaaaa 4:1 8:1 4:0 4:0", 0,
     "header: tensor \"aaaaaaaaaaaa\": byte 60: 8 bytes are wanted, the file has 4 more"},
};

static void test_rules(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
		tensor_list list = {0};
		gguf_header h;
		bool more;

		print_message("%s\n", rules[i].rule);
		assert_error(parse(rules[i].header, rules[i].payload_bytes, &list, &h, &more), UFM_EFORMAT,
		             rules[i].line);
		assert_false(more);
		assert_int_equal(list.count, 0);
		tensor_list_free(&list);
	}
}

/* What is no whole file's beginning asks for more, wherever it is cut; nothing else does. */
static void test_cut_headers_ask_for_more(void **state)
{
	static const char words[] = GGUF_HEAD(2, 3) GGUF_TEXT("general.architecture", "qwen3moe")
		GGUF_U32("b", 3) " s:c 4:9 4:8 "
						 "8:2 s:x s:yy" GGUF_ROW("one", 8, 0, 0) GGUF_MATRIX("two", 32, 2, 8, 32);
	static uint8_t spelt[ROOM];
	size_t bytes = gguf_spell(words, spelt, sizeof spelt);
	uint64_t file_bytes = (bytes + 31) / 32 * 32 + 32 + 68;

	(void)state;
	for (size_t got = 0; got <= bytes; got++) {
		tensor_list list = {0};
		gguf_header h;
		bool more;
		uint8_t *copy = malloc(got ? got : 1);
		ufm_status status;

		assert_non_null(copy);
		memcpy(copy, spelt, got);
		status = gguf_parse(copy, got, file_bytes, 0, &list, &h, &more);
		free(copy);
		assert_int_equal(status, got < bytes ? UFM_EFORMAT : UFM_OK);
		assert_int_equal(more, got < bytes);
		if (!status) {
			assert_int_equal(h.header_bytes, bytes);
			assert_string_equal(list.tensors[1].name, "two");
			gguf_header_free(&h);
		}
		tensor_list_free(&list);
	}
}

static void test_version_2_reads_as_3(void **state)
{
	tensor_list list = {0};
	gguf_header h;
	bool more;

	(void)state;
	assert_int_equal(parse("G 4:2 8:1 8:0" GGUF_ROW("a", 8, 0, 0), 32, &list, &h, &more), UFM_OK);
	assert_int_equal(list.count, 1);
	gguf_header_free(&h);
	tensor_list_free(&list);
}

/* What stands behind the last tensor is nobody's: writers pad it. */
static void test_bytes_behind_the_last_tensor(void **state)
{
	tensor_list list = {0};
	gguf_header h;
	bool more;

	(void)state;
	assert_int_equal(parse(ONE(GGUF_ROW("a", 1, 0, 0)), 100, &list, &h, &more), UFM_OK);
	gguf_header_free(&h);
	tensor_list_free(&list);
}

/* Sizes of blocks: what the format's own tables say. */
static void test_types(void **state)
{
	static const struct {
		uint32_t number;
		const char *name;
		ufm_format format;
	} expected[] = {{2, "Q4_0", UFM_FORMAT_Q4_0},      {6, "Q5_0", UFM_FORMAT_Q5_0},
	                {8, "Q8_0", UFM_FORMAT_Q8_0},      {12, "Q4_K", UFM_FORMAT_Q4_K},
	                {13, "Q5_K", UFM_FORMAT_Q5_K},     {14, "Q6_K", UFM_FORMAT_Q6_K},
	                {20, "IQ4_NL", UFM_FORMAT_IQ4_NL}, {23, "IQ4_XS", UFM_FORMAT_IQ4_XS},
	                {39, "MXFP4", UFM_FORMAT_MXFP4}};

	(void)state;
	for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
		const gguf_type *type = gguf_type_find(expected[i].number);

		assert_non_null(type);
		assert_string_equal(type->name, expected[i].name);
		assert_string_equal(ufm_format_name(type->format), expected[i].name);
		assert_int_equal(ufm_format_bytes(type->format, type->elements), type->bytes);
		assert_ptr_equal(gguf_type_of(type->dtype), type);
	}
	assert_null(gguf_type_find(5));
	assert_int_equal(gguf_type_find(10)->format, UFM_FORMAT_PLAIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tensors_come_back),
		cmocka_unit_test(test_values_come_back),
		cmocka_unit_test(test_whole_numbers),
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_cut_headers_ask_for_more),
		cmocka_unit_test(test_version_2_reads_as_3),
		cmocka_unit_test(test_bytes_behind_the_last_tensor),
		cmocka_unit_test(test_types),
	};

	return cmocka_run_group_tests_name("gguf", tests, NULL, NULL);
}

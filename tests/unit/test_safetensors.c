/* SPDX-License-Identifier: MIT */
/* The header of a .safetensors file: what it gives, and every rule, by name, with a header that breaks
 * it and the line that says so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint/safetensors.h"
#include "support/assert_error.h"

/* Parses a header before a payload of that many bytes, from memory that ends with it. */
static ufm_status parse(const char *header, size_t header_bytes, uint64_t payload_bytes,
                        tensor_list *list, char **text)
{
	*text = malloc(header_bytes ? header_bytes : 1);
	assert_non_null(*text);
	memcpy(*text, header, header_bytes);
	return safetensors_parse(*text, header_bytes, 8 + header_bytes + payload_bytes, 7, list);
}

static void test_tensors_come_back(void **state)
{
	static const char header[] =
		"{\"__metadata__\":{\"format\":\"pt\"},"
		"\"b\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[4,16]},"
		"\"a\":{\"data_offsets\":[0,4],\"shape\":[],\"dtype\":\"F32\"},"
		"\"none\":{\"dtype\":\"I64\",\"shape\":[0,9],\"data_offsets\":[16,16]},"
		"\"\\u00e9\":{\"dtype\":\"F4\",\"shape\":[4],\"data_offsets\":[16,18]}}  ";
	tensor_list list = {0};
	const checkpoint_tensor *t;
	char *text;

	(void)state;
	assert_int_equal(parse(header, sizeof header - 1, 18, &list, &text), UFM_OK);
	assert_int_equal(list.count, 4);
	t = &list.tensors[0];
	assert_string_equal(t->name, "a");
	assert_int_equal(t->dtype, CHECKPOINT_F32);
	assert_int_equal(t->rank, 0);
	assert_int_equal(t->file, 7);
	assert_int_equal(t->file_offset_bytes, 8 + sizeof header - 1);
	assert_int_equal(t->size_bytes, 4);
	t = &list.tensors[1];
	assert_string_equal(t->name, "b");
	assert_int_equal(t->rank, 2);
	assert_int_equal(t->shape[1], 3);
	assert_int_equal(t->file_offset_bytes, 8 + sizeof header - 1 + 4);
	assert_string_equal(list.tensors[2].name, "none");
	assert_int_equal(list.tensors[2].size_bytes, 0);
	assert_string_equal(list.tensors[3].name, "\xc3\xa9");
	tensor_list_free(&list);
	free(text);
}

static void test_no_tensor(void **state)
{
	tensor_list list = {0};
	char *text;

	(void)state;
	assert_int_equal(parse("{}", 2, 0, &list, &text), UFM_OK);
	assert_int_equal(list.count, 0);
	free(text);
}

/* dtype, shape and offsets of a tensor of four bytes. */
#define FOUR(at, end) "{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[" #at "," #end "]}"

static const struct {
	const char *rule, *header;
	uint64_t payload_bytes;
	const char *line;
} rules[] = {
	{"the header is JSON", "", 0, "header: byte 0: the text ends, expected an object"},
	{"the header begins with its bracket", " {}", 0, "header: does not begin with '{'"},
	{"the header is an object", "[]", 0, "header: does not begin with '{'"},
	{"one object", "{}{}", 0, "header: byte 2: found '{', expected nothing after the value"},
	{"JSON is whole", "{\"a\":", 0,
     "header: tensor \"a\": byte 5: the text ends, expected an object"},
	{"UTF-8", "{\"\xff\":1}", 0, "header: byte 2: found 0xff, expected UTF-8"},
	{"nesting is bounded: a tensor holds no object", "{\"a\":{\"dtype\":{}}}", 0,
     "header: tensor \"a\": byte 14: found '{', expected a string"},
	{"nesting is bounded: a shape holds no array", "{\"a\":{\"shape\":[[1]]}}", 0,
     "header: tensor \"a\": byte 15: found '[', expected a whole number"},
	{"nesting is bounded: metadata holds strings", "{\"__metadata__\":{\"a\":{}}}", 0,
     "header: __metadata__: byte 21: found '{', expected a string"},
	{"a tensor is an object", "{\"a\":1}", 0,
     "header: tensor \"a\": byte 5: found '1', expected an object"},
	{"tensors stand once", "{\"a\":" FOUR(0, 4) ",\"a\":" FOUR(4, 8) "}", 8,
     "header: the key \"a\" stands twice in one object"},
	{"tensors stand once, however spelt", "{\"a\":" FOUR(0, 4) ",\"\\u0061\":" FOUR(4, 8) "}", 8,
     "header: the key \"a\" stands twice in one object"},
	{"fields stand once",
     "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
     "header: tensor \"a\": the key \"dtype\" stands twice in one object"},
	{"metadata stands once", "{\"__metadata__\":{},\"__metadata__\":{}}", 0,
     "header: the key \"__metadata__\" stands twice in one object"},
	{"metadata's keys stand once", "{\"__metadata__\":{\"k\":\"\",\"k\":\"\"}}", 0,
     "header: __metadata__: the key \"k\" stands twice in one object"},
	{"fields are known", "{\"a\":{\"stride\":1}}", 0,
     "header: tensor \"a\": unknown key \"stride\", expected dtype, shape and data_offsets"},
	{"dtype is there", "{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
     "header: tensor \"a\": dtype is missing"},
	{"shape is there", "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4,
     "header: tensor \"a\": shape is missing"},
	{"data_offsets is there", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4,
     "header: tensor \"a\": data_offsets is missing"},
	{"dtype is known", "{\"a\":{\"dtype\":\"F33\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
     "header: tensor \"a\": dtype is \"F33\", expected one that the format knows"},
	{"dtype is spelt exactly", "{\"a\":{\"dtype\":\"f32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
     4, "header: tensor \"a\": dtype is \"f32\", expected one that the format knows"},
	{"dimensions are whole numbers", "{\"a\":{\"shape\":[1.0]}}", 0,
     "header: tensor \"a\": found 1.0, expected a whole number below 2^64"},
	{"dimensions are not negative", "{\"a\":{\"shape\":[-1]}}", 0,
     "header: tensor \"a\": found -1, expected a whole number below 2^64"},
	{"dimensions do not overflow", "{\"a\":{\"shape\":[18446744073709551616]}}", 0,
     "header: tensor \"a\": found 18446744073709551616, expected a whole number below 2^64"},
	{"few dimensions", "{\"a\":{\"shape\":[1,1,1,1,1,1,1,1,1]}}", 0,
     "header: tensor \"a\": shape has more than 8 dimensions"},
	{"the shape's product does not overflow",
     "{\"a\":{\"dtype\":\"U8\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0,
     "header: tensor \"a\": shape: the product of its dimensions overflows"},
	{"nor with the size of an element",
     "{\"a\":{\"dtype\":\"F64\",\"shape\":[2305843009213693952],\"data_offsets\":[0,0]}}", 0,
     "header: tensor \"a\": shape: the product of its dimensions overflows"},
	{"nor beside a zero",
     "{\"a\":{\"dtype\":\"U8\",\"shape\":[0,4294967296,4294967296],\"data_offsets\":[0,0]}}", 0,
     "header: tensor \"a\": shape: the product of its dimensions overflows"},
	{"whole bytes", "{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,1]}}", 1,
     "header: tensor \"a\": shape and dtype make 12 bits, expected whole bytes"},
	{"two offsets", "{\"a\":{\"data_offsets\":[0]}}", 0,
     "header: tensor \"a\": data_offsets must be two, begin and end"},
	{"not three offsets", "{\"a\":{\"data_offsets\":[0,4,8]}}", 0,
     "header: tensor \"a\": data_offsets must be two, begin and end"},
	{"begin before end", "{\"a\":{\"data_offsets\":[4,0]}}", 4,
     "header: tensor \"a\": data_offsets must be two, begin and end"},
	{"the extent is shape times size",
     "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4,
     "header: tensor \"a\": data_offsets hold 4 bytes, expected 8 by shape and dtype"},
	{"extents lie in the file", "{\"a\":" FOUR(0, 4) "}", 3,
     "header: tensor \"a\": ends at byte 4 of a payload of 3"},
	{"extents lie in the file, without overflow",
     "{\"a\":" FOUR(18446744073709551611, 18446744073709551615) "}", 4,
     "header: tensor \"a\": ends at byte 18446744073709551615 of a payload of 4"},
	{"no overlap", "{\"a\":" FOUR(0, 4) ",\"b\":" FOUR(3, 7) "}", 7,
     "header: tensors \"a\" and \"b\" overlap"},
	{"no byte twice", "{\"a\":" FOUR(0, 4) ",\"b\":" FOUR(0, 4) "}", 4,
     "header: tensors \"a\" and \"b\" overlap"},
	{"no hole at the begin", "{\"a\":" FOUR(1, 5) "}", 5,
     "header: tensor \"a\": a hole of 1 bytes before it"},
	{"no hole between", "{\"a\":" FOUR(0, 4) ",\"b\":" FOUR(6, 10) "}", 10,
     "header: tensor \"b\": a hole of 2 bytes before it"},
	{"no hole at the end", "{\"a\":" FOUR(0, 4) "}", 5,
     "header: 1 bytes after the last tensor belong to none"},
	{"no payload without a tensor", "{}", 1,
     "header: 1 bytes after the last tensor belong to none"},
};

static void test_rules_are_named(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
		tensor_list list = {0};
		char *text;

		print_message("rule: %s\n", rules[i].rule);
		assert_int_equal(
			parse(rules[i].header, strlen(rules[i].header), rules[i].payload_bytes, &list, &text),
			UFM_EFORMAT);
		assert_string_equal(ufm_last_error(), rules[i].line);
		assert_int_equal(list.count, 0);
		tensor_list_free(&list);
		free(text);
	}
}

static void test_header_length(void **state)
{
	static const struct {
		uint64_t length, got, file_bytes;
		const char *line; /* NULL: accepted */
	} cases[] = {
		{2, 8, 10, NULL},
		{0, 8, 8, NULL},
		{100000000, 8, 100000008, NULL},
		{0, 7, 7, "holds 7 bytes, expected a header length of 8"},
		{0, 0, 0, "holds 0 bytes, expected a header length of 8"},
		{3, 8, 10, "header length is 3, but only 2 bytes follow it in the file"},
		{100000001, 8, UINT64_MAX,
	     "header length is 100000001, expected at most 100000000: not a safetensors file"},
		{UINT64_MAX, 8, 16,
	     "header length is 18446744073709551615, expected at most 100000000: not a safetensors "
	     "file"},
		{2336927755350992246u /* "version " */, 8, 130,
	     "is a git-lfs pointer, not the file: expected the weights themselves (git lfs pull)"},
		{UINT64_MAX - 7, 8, 8,
	     "header length is 18446744073709551608, expected at most 100000000: not a safetensors "
	     "file"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		uint8_t prefix[8];
		uint64_t length = 1;
		ufm_status status;

		for (int b = 0; b < 8; b++)
			prefix[b] = (uint8_t)(cases[i].length >> (8 * b));
		status = safetensors_header_bytes(prefix, cases[i].got, cases[i].file_bytes, &length);
		assert_int_equal(status, cases[i].line ? UFM_EFORMAT : UFM_OK);
		if (cases[i].line)
			assert_string_equal(ufm_last_error(), cases[i].line);
		else
			assert_int_equal(length, cases[i].length);
	}
}

/* Some writers have nothing to say of a file. */
static void test_metadata_may_be_null(void **state)
{
	static const char header[] = "{\"__metadata__\":null,\"a\":" FOUR(0, 4) "}";
	tensor_list list = {0};
	char *text;
	(void)state;
	assert_int_equal(parse(header, sizeof header - 1, 4, &list, &text), UFM_OK);
	assert_int_equal(list.count, 1);
	tensor_list_free(&list);
	free(text);
}

/* A file that is refused leaves what others brought. */
static void test_list_keeps_other_files(void **state)
{
	tensor_list list = {0};
	char *first, *second;
	const char *good = "{\"a\":" FOUR(0, 4) "}", *bad = "{\"b\":" FOUR(0, 4) ",\"c\":1}";

	(void)state;
	assert_int_equal(parse(good, strlen(good), 4, &list, &first), UFM_OK);
	assert_int_equal(parse(bad, strlen(bad), 4, &list, &second), UFM_EFORMAT);
	assert_int_equal(list.count, 1);
	assert_string_equal(list.tensors[0].name, "a");
	tensor_list_free(&list);
	free(first);
	free(second);
}

static void test_every_dtype(void **state)
{
	(void)state;
	for (int d = 1; d < CHECKPOINT_DTYPE_END; d++) {
		uint32_t bits = checkpoint_dtype_bits((checkpoint_dtype)d);
		char header[128], *text;
		tensor_list list = {0};
		int n = snprintf(header, sizeof header,
		                 "{\"a\":{\"dtype\":\"%s\",\"shape\":[2,4],\"data_offsets\":[0,%u]}}",
		                 checkpoint_dtype_name((checkpoint_dtype)d), bits);

		assert_int_equal(parse(header, (size_t)n, bits, &list, &text), UFM_OK);
		assert_int_equal(list.tensors[0].dtype, d);
		tensor_list_free(&list);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tensors_come_back), cmocka_unit_test(test_no_tensor),
		cmocka_unit_test(test_rules_are_named),   cmocka_unit_test(test_header_length),
		cmocka_unit_test(test_rules_are_named),   cmocka_unit_test(test_metadata_may_be_null),
		cmocka_unit_test(test_every_dtype),       cmocka_unit_test(test_list_keeps_other_files),
	};

	return cmocka_run_group_tests_name("safetensors", tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* The JSON reader: what it gives, and every rule that it refuses a text by. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_pull.h"
#include "support/assert_error.h"

/* Exactly as long as the text, so that a sanitizer sees a read past its end. */
static char *copy_of(const char *text, size_t size)
{
	char *copy = malloc(size ? size : 1);

	assert_non_null(copy);
	memcpy(copy, text, size);
	return copy;
}

static ufm_status skip_all(const char *text, size_t size)
{
	char *copy = copy_of(text, size);
	json_pull r;
	ufm_status status;

	json_pull_begin(&r, copy, size);
	json_pull_skip(&r);
	status = json_pull_end(&r);
	free(copy);
	return status;
}

static void test_values_come_in_order(void **state)
{
	char text[] = " { \"a\" : [ 1 , 18446744073709551615 ] ,\n\t\"b\":{\"c\":true,\"d\":-2.5e1},"
				  "\"e\":\"x\",\"f\":[],\"g\":{},\"h\":null,\"i\":false } ";
	uint64_t whole = 0;
	const char *key, *string;
	double number = 0;
	bool truth = false;
	json_pull r;

	(void)state;
	json_pull_begin(&r, text, sizeof text - 1);
	assert_int_equal(json_pull_peek(&r), JSON_PULL_OBJECT);
	assert_true(json_pull_object(&r));
	assert_true(json_pull_next_key(&r, &key));
	assert_string_equal(key, "a");
	assert_true(json_pull_array(&r));
	assert_true(json_pull_next_item(&r) && json_pull_u64(&r, &whole));
	assert_int_equal(whole, 1);
	assert_true(json_pull_next_item(&r) && json_pull_u64(&r, &whole));
	assert_true(whole == UINT64_MAX);
	assert_false(json_pull_next_item(&r));
	assert_true(json_pull_next_key(&r, &key));
	assert_true(json_pull_object(&r));
	assert_true(json_pull_next_key(&r, &key) && json_pull_bool(&r, &truth) && truth);
	assert_true(json_pull_next_key(&r, &key) && json_pull_double(&r, &number));
	assert_true(number == -25);
	assert_false(json_pull_next_key(&r, &key));
	assert_true(json_pull_next_key(&r, &key) && json_pull_string(&r, &string));
	assert_string_equal(string, "x");
	assert_true(json_pull_next_key(&r, &key) && json_pull_array(&r));
	assert_false(json_pull_next_item(&r));
	assert_true(json_pull_next_key(&r, &key) && json_pull_object(&r));
	assert_false(json_pull_next_key(&r, &key));
	assert_true(json_pull_next_key(&r, &key));
	assert_int_equal(json_pull_peek(&r), JSON_PULL_NULL);
	assert_true(json_pull_skip(&r));
	assert_true(json_pull_next_key(&r, &key) && json_pull_bool(&r, &truth) && !truth);
	assert_false(json_pull_next_key(&r, &key));
	assert_int_equal(json_pull_end(&r), UFM_OK);
	/* keys stay readable as long as the text */
	assert_string_equal(key, "i");
}

static void test_strings_are_decoded(void **state)
{
	static const struct {
		const char *text, *expected;
	} cases[] = {
		{"\"\"", ""},
		{"\"plain\"", "plain"},
		{"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
		{"\"\\u0041\\u00e9\\u20AC\\ud83d\\ude00\"", "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
		{"\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
		{"\"\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf\"",
	     "\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		size_t size = strlen(cases[i].text);
		char *text = copy_of(cases[i].text, size);
		const char *out = NULL;
		json_pull r;

		json_pull_begin(&r, text, size);
		assert_true(json_pull_string(&r, &out));
		assert_int_equal(json_pull_end(&r), UFM_OK);
		assert_string_equal(out, cases[i].expected);
		free(text);
	}
}

static void test_rules_are_named(void **state)
{
	static const struct {
		const char *rule, *text, *line;
	} cases[] = {
		{"a value", "", "byte 0: the text ends, expected a value"},
		{"one value", "1 2", "byte 2: found '2', expected nothing after the value"},
		{"comma in objects", "{\"a\":1 \"b\":2}", "byte 7: found '\"', expected ',' or '}'"},
		{"comma in arrays", "[1 2]", "byte 3: found '2', expected ',' or ']'"},
		{"no comma at the end", "[1,]", "byte 3: found ']', expected a value"},
		{"no comma at the end of an object", "{\"a\":1,}",
	     "byte 7: found '}', expected a key in quotes"},
		{"colon", "{\"a\" 1}", "byte 5: found '1', expected ':'"},
		{"keys in quotes", "{a:1}", "byte 1: found 'a', expected a key in quotes"},
		{"objects end", "{\"a\":1", "byte 6: the text ends, expected ',' or '}'"},
		{"arrays end", "[", "byte 1: the text ends, expected a value"},
		{"strings end", "\"abc", "byte 4: the text ends, expected '\"' at the end of a string"},
		{"known escapes", "\"\\x\"", "byte 2: found 'x', expected an escape that JSON knows"},
		{"hex digits", "\"\\u00g0\"",
	     "byte 3: found '0', expected four hex digits of a character other than NUL"},
		{"no NUL", "\"\\u0000\"",
	     "byte 7: found '\"', expected four hex digits of a character other than NUL"},
		{"no lone low surrogate", "\"\\ude00\"",
	     "byte 7: found '\"', expected four hex digits of a character other than NUL"},
		{"no lone high surrogate", "\"\\ud83dx\"",
	     "byte 7: found 'x', expected the second half of a surrogate pair"},
		{"surrogate pairs", "\"\\ud83d\\u0041\"",
	     "byte 13: found '\"', expected the second half of a surrogate pair"},
		{"no control character", "\"a\nb\"",
	     "byte 2: found 0x0a, expected no control character in a string"},
		{"UTF-8: no lone continuation", "\"\x80\"", "byte 1: found 0x80, expected UTF-8"},
		{"UTF-8: no overlong form", "\"\xc0\xaf\"", "byte 1: found 0xc0, expected UTF-8"},
		{"UTF-8: no overlong form of three", "\"\xe0\x80\xaf\"", "expected UTF-8"},
		{"UTF-8: no surrogate", "\"\xed\xa0\x80\"", "expected UTF-8"},
		{"UTF-8: no overlong form of four", "\"\xf0\x8f\xbf\xbf\"", "expected UTF-8"},
		{"UTF-8: nothing beyond U+10FFFF", "\"\xf4\x90\x80\x80\"", "expected UTF-8"},
		{"UTF-8: whole sequences", "\"\xe2\x82\"", "expected UTF-8"},
		{"UTF-8: not cut by the end", "\"\xe2\x82", "expected UTF-8"},
		{"UTF-8 outside strings", "\xc3\xa9", "byte 0: found 0xc3, expected a value"},
		{"no leading zero", "[01]", "byte 1: found '0', expected a value"},
		{"no plus", "+1", "found '+', expected a value"},
		{"digits after the point", "[1.]", "byte 1: found '1', expected a value"},
		{"digits of the exponent", "[1e+]", "byte 1: found '1', expected a value"},
		{"digits after the sign", "[-]", "byte 1: found '-', expected a value"},
		{"no NaN", "[NaN]", "byte 1: found 'N', expected a value"},
		{"whole words", "[tru]", "byte 1: found 't', expected true or false"},
		{"whole null", "[nul]", "byte 1: found 'n', expected null"},
		{"keys once", "{\"a\":1,\"b\":2,\"a\":3}", "the key \"a\" stands twice in one object"},
		{"keys once, however spelt", "{\"a\":1,\"\\u0061\":3}",
	     "the key \"a\" stands twice in one object"},
		{"keys once, inside", "[{\"b\":{\"k\":[],\"k\":[]}}]",
	     "the key \"k\" stands twice in one object"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		print_message("rule: %s\n", cases[i].rule);
		assert_error(skip_all(cases[i].text, strlen(cases[i].text)), UFM_EFORMAT, cases[i].line);
	}
}

static void test_types_must_fit(void **state)
{
	static const struct {
		const char *text;
		json_pull_kind wanted;
		const char *line;
	} cases[] = {
		{"1", JSON_PULL_OBJECT, "expected an object"},
		{"{}", JSON_PULL_ARRAY, "expected an array"},
		{"1", JSON_PULL_STRING, "expected a string"},
		{"\"1\"", JSON_PULL_NUMBER, "expected a whole number"},
		{"-1", JSON_PULL_NUMBER, "found -1, expected a whole number below 2^64"},
		{"1.0", JSON_PULL_NUMBER, "found 1.0, expected a whole number below 2^64"},
		{"1e2", JSON_PULL_NUMBER, "found 1e2, expected a whole number below 2^64"},
		{"18446744073709551616", JSON_PULL_NUMBER, "expected a whole number below 2^64"},
		{"0", JSON_PULL_BOOL, "expected true or false"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char *text = copy_of(cases[i].text, strlen(cases[i].text));
		const char *string;
		uint64_t whole;
		bool truth;
		json_pull r;

		json_pull_begin(&r, text, strlen(cases[i].text));
		if (cases[i].wanted == JSON_PULL_OBJECT)
			assert_false(json_pull_object(&r));
		else if (cases[i].wanted == JSON_PULL_ARRAY)
			assert_false(json_pull_array(&r));
		else if (cases[i].wanted == JSON_PULL_STRING)
			assert_false(json_pull_string(&r, &string));
		else if (cases[i].wanted == JSON_PULL_NUMBER)
			assert_false(json_pull_u64(&r, &whole));
		else
			assert_false(json_pull_bool(&r, &truth));
		/* a failure is kept */
		assert_false(json_pull_skip(&r));
		assert_error(json_pull_end(&r), UFM_EFORMAT, cases[i].line);
		free(text);
	}
}

static void test_nesting_is_bounded(void **state)
{
	char text[2 * (JSON_PULL_DEPTH_MAX + 1)];
	uint32_t depth = JSON_PULL_DEPTH_MAX;

	(void)state;
	memset(text, '[', depth);
	memset(text + depth, ']', depth);
	assert_int_equal(skip_all(text, 2 * depth), UFM_OK);
	depth++;
	memset(text, '[', depth);
	memset(text + depth, ']', depth);
	assert_error(skip_all(text, 2 * depth), UFM_EFORMAT, "byte 32: nested deeper than 32 levels");
}

/* Many keys, and one of them twice, wherever it stands. */
static void test_many_keys(void **state)
{
	enum { COUNT = 5000, LINE = 16 };
	char *text = malloc(COUNT * LINE + 2);
	size_t used;

	(void)state;
	assert_non_null(text);
	for (int twice = -1; twice < COUNT; twice += 1 + COUNT / 7) {
		used = (size_t)sprintf(text, "{");
		for (int i = 0; i < COUNT; i++)
			used += (size_t)sprintf(text + used, "%s\"k%d\":%d", i ? "," : "",
			                        i == COUNT / 2 && twice >= 0 ? twice : i, i);
		text[used++] = '}';
		assert_int_equal(skip_all(text, used),
		                 twice >= 0 && twice != COUNT / 2 ? UFM_EFORMAT : UFM_OK);
	}
	free(text);
}

/* Every cut and every changed byte of a good text gives a verdict; the sanitizers watch. */
static void test_cut_and_changed(void **state)
{
	static const char good[] =
		"{\"a\":[1,-2.5e+3,true,false,null],\"\\u00e9\\ud83d\\ude00\":{\"x\":\"y\xe2\x82\xac\"}}";

	(void)state;
	for (size_t size = 0; size + 1 < sizeof good; size++)
		assert_int_equal(skip_all(good, size), size == sizeof good - 1 ? UFM_OK : UFM_EFORMAT);
	for (size_t at = 0; at + 1 < sizeof good; at++) {
		for (int byte = 0; byte < 256; byte++) {
			char text[sizeof good];
			ufm_status status;

			memcpy(text, good, sizeof good);
			text[at] = (char)byte;
			status = skip_all(text, sizeof good - 1);
			assert_true(status == UFM_OK || status == UFM_EFORMAT);
		}
	}
}

/* What Python's json writes for a float that is none, and integers of its own length. */
static void test_python_is_passed_over(void **state)
{
	char text[] = "[NaN,Infinity,-Infinity,"
				  "1234567890123456789012345678901234567890123456789012345678901234567890]";
	char words[] = "[NaN]", half[] = "[-Infinit]";
	const char *number;
	size_t size_bytes = 0;
	double value;
	json_pull r;

	(void)state;
	json_pull_begin(&r, text, sizeof text - 1);
	r.python = true;
	assert_true(json_pull_skip(&r));
	assert_int_equal(json_pull_end(&r), UFM_OK);
	json_pull_begin(&r, words, sizeof words - 1);
	r.python = true;
	assert_true(json_pull_array(&r) && json_pull_next_item(&r));
	assert_true(json_pull_number(&r, &number, &size_bytes));
	assert_int_equal(size_bytes, 3);
	assert_memory_equal(number, "NaN", 3);
	assert_false(json_pull_next_item(&r));
	assert_int_equal(json_pull_end(&r), UFM_OK);
	/* it is no number to compute with */
	json_pull_begin(&r, words, sizeof words - 1);
	r.python = true;
	assert_true(json_pull_array(&r) && json_pull_next_item(&r));
	assert_false(json_pull_double(&r, &value));
	assert_error(json_pull_end(&r), UFM_EFORMAT, "byte 1: found 'N', expected a value");
	json_pull_begin(&r, half, sizeof half - 1);
	r.python = true;
	json_pull_skip(&r);
	assert_error(json_pull_end(&r), UFM_EFORMAT, "byte 1: found '-', expected a value");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values_come_in_order),
		cmocka_unit_test(test_python_is_passed_over),
		cmocka_unit_test(test_strings_are_decoded),
		cmocka_unit_test(test_rules_are_named),
		cmocka_unit_test(test_types_must_fit),
		cmocka_unit_test(test_nesting_is_bounded),
		cmocka_unit_test(test_many_keys),
		cmocka_unit_test(test_cut_and_changed),
	};

	return cmocka_run_group_tests_name("json_pull", tests, NULL, NULL);
}

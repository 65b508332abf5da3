/* SPDX-License-Identifier: MIT */
/* How wide a text is, and what of it fits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "cli/columns.h"

static void characters_take_their_columns(void **state)
{
	static const struct {
		const char *text;
		uint32_t columns;
	} cases[] = {
		{"", 0},         {"abc", 3},        {"Größe …", 7},      {"e\u0301", 1},
		{"専門家", 6},   {"\U0001f600", 2}, {"a\xff\xfe", 3},    {"\xe5\xb0", 2}, /* cut off */
		{"\xc0\x80", 2}, {"한국", 4},       {"\xf0\x9f\x98", 3},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_int_equal(columns_of(cases[i].text), cases[i].columns);
}

static void a_text_is_cut_at_the_columns(void **state)
{
	static const struct {
		const char *text;
		uint32_t columns;
		const char *fits;
	} cases[] = {
		{"", 0, ""},          {"", 5, ""},        {"abc", 0, ""},
		{"abc", 2, "ab"},     {"abc", 3, "abc"},  {"abc", 300, "abc"},
		{"Größe", 4, "Größ"}, /* a character of two bytes is one column */
		{"Größe", 3, "Grö"},  {"Größe", 2, "Gr"}, {"…………", 2, "……"},
		{"専門家", 3, "専"},  {"専門家", 1, ""},  {"e\u0301a", 1, "e\u0301"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char text[64];
		snprintf(text, sizeof text, "%s", cases[i].text);
		assert_string_equal(columns_fit(text, cases[i].columns), cases[i].fits);
	}
}

static void what_is_no_terminal_has_80_columns(void **state)
{
	(void)state;
	FILE *file = tmpfile();
	assert_non_null(file);
	assert_int_equal(columns_of_stream(file), 80);
	fclose(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(characters_take_their_columns),
		cmocka_unit_test(a_text_is_cut_at_the_columns),
		cmocka_unit_test(what_is_no_terminal_has_80_columns),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

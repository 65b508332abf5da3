/* SPDX-License-Identifier: MIT */
/* What fits a terminal's line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "cli/message.h"

static void a_text_is_cut_at_the_columns(void **state)
{
	static const struct {
		const char *text;
		uint32_t columns;
		const char *fits;
	} cases[] = {
		{"", 0, ""},         {"", 5, ""},         {"abc", 0, ""},       {"abc", 2, "ab"},
		{"abc", 3, "abc"},   {"abc", 300, "abc"}, {"Größe", 4, "Größ"}, /* a character of two bytes is one column */
		{"Größe", 3, "Grö"}, {"Größe", 2, "Gr"},  {"…………", 2, "……"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char text[64];
		snprintf(text, sizeof text, "%s", cases[i].text);
		assert_string_equal(message_fit(text, cases[i].columns), cases[i].fits);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_text_is_cut_at_the_columns),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Where lines end, and which columns of a table are left out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/sheet.h"
#include "cli/text_table.h"

typedef struct page {
	char *text;
	size_t bytes;
	sheet to;
} page;

static void start(page *p, uint32_t columns, bool wide)
{
	*p = (page){.to = {.columns = columns, .wide = wide}};
	p->to.to = open_memstream(&p->text, &p->bytes);
	assert_non_null(p->to.to);
}

static void expect(page *p, const char *text)
{
	assert_int_equal(fclose(p->to.to), 0);
	assert_string_equal(p->text, text);
	free(p->text);
}

static void lines_are_broken_at_spaces(void **state)
{
	static const struct {
		const char *text, *shown;
		uint32_t indent;
	} cases[] = {
		{"", "", 0},
		{"one two\n", "one two\n", 0},
		{"one two three\n", "one two\nthree\n", 0},
		{"    one two three\n", "    one\n  two\n  three\n", 2}, /* the beginning stays as it is */
		{"one a-word-longer-than-a-line two\n", "one\na-word-longer-than-a-line\ntwo\n", 0},
		{"- one two three\n- four\n", "- one two\n  three\n- four\n", 0},
		{"  - one two three\n", "  - one\n    two\n    three\n", 0},
		{"ab a-word-longer-than-a-line\n", "ab a-word-longer-than-a-line\n",
	     3}, /* nothing is won by a line of its own */
		{"größe größe a\n", "größe\ngröße a\n", 0},
		{"größe größ\n", "größe größ\n", 0},
		{"a\n\n\nb \n", "a\n\n\nb\n", 0},
		{"a\tb\033[2J\n", "a?b?[2J\n", 0},
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		page p;
		start(&p, 10, false);
		p.to.indent = cases[i].indent;
		sheet_print(&p.to, "%s", cases[i].text);
		expect(&p, cases[i].shown);
	}
}

static void a_word_may_come_in_parts(void **state)
{
	(void)state;
	page p;
	start(&p, 10, false);
	sheet_print(&p.to, "one tw");
	sheet_text(&p.to, "o-");
	sheet_print(&p.to, "%s", "three");
	sheet_text(&p.to, " a\nb");
	sheet_print(&p.to, "\n");
	expect(&p, "one\ntwo-three\na?b\n");
}

static void a_word_of_any_length_stays_whole(void **state)
{
	char word[3 * SHEET_WORD_BYTES + 1], shown[sizeof word + 8];
	(void)state;
	memset(word, 'x', sizeof word - 1);
	word[sizeof word - 1] = '\0';
	page p;
	start(&p, 10, false);
	sheet_print(&p.to, "a ");
	sheet_text(&p.to, word);
	sheet_print(&p.to, " b\n");
	snprintf(shown, sizeof shown, "a\n%s\nb\n", word);
	expect(&p, shown);
}

static void long_values_continue_in_rows_without_a_name(void **state)
{
	(void)state;
	page p;
	start(&p, 40, false);
	sheet_pair(&p.to, "name", "one two three four");
	sheet_pair(&p.to, "none", "");
	expect(&p, "| name               | one two three |\n"
	           "|                    | four |\n"
	           "| none               |  |\n");
	start(&p, 40, true);
	sheet_pair(&p.to, "name", "one two three four");
	expect(&p, "| name               | one two three four |\n");
}

static void fill(text_table *t, bool same)
{
	for (uint32_t row = 0; row < 2; row++) {
		text_cell(t, row, 0, "%s", same || row ? "trace" : "größe");
		text_cell(t, row, 1, "row %u", row);
		text_cell(t, row, 2, "%u", row);
		text_cell(t, row, 3, "long number %u", row);
		text_cell(t, row, 4, "%u", row);
	}
}

static const text_column columns[] = {{"case", true, TEXT_KEY},
                                      {"name", true, TEXT_ALWAYS},
                                      {"second", false, 2},
                                      {"first", false, 1},
                                      {"third", false, 3}};

static void print_table(uint32_t width, bool wide, bool same, const char *shown)
{
	text_table t;
	page p;
	start(&p, width, wide);
	assert_true(text_table_open(&t, columns, 5, 2));
	fill(&t, same);
	text_table_print(&p.to, &t);
	text_table_close(&t);
	expect(&p, shown);
}

static void a_table_has_the_columns_that_fit(void **state)
{
	static const char all[] = "| case  | name  | second |         first | third |\n"
							  "|-------|-------|-------:|--------------:|------:|\n"
							  "| größe | row 0 |      0 | long number 0 |     0 |\n"
							  "| trace | row 1 |      1 | long number 1 |     1 |\n";
	(void)state;
	print_table(51, false, false, all);
	print_table(10, true, false, all);
	/* What is missed most leaves only where it does not fit itself. */
	print_table(26, false, false,
	            "| case  | name  | second |\n"
	            "|-------|-------|-------:|\n"
	            "| größe | row 0 |      0 |\n"
	            "| trace | row 1 |      1 |\n"
	            "\nWith --wide also: first,\nthird.\n");
	/* What is the same in every row is said below. */
	print_table(26, false, true,
	            "| name  |         first |\n"
	            "|-------|--------------:|\n"
	            "| row 0 | long number 0 |\n"
	            "| row 1 | long number 1 |\n"
	            "\nWith --wide also: case\ntrace, second, third.\n");
}

static void texts_that_always_stay_are_cut(void **state)
{
	static const text_column one[] = {{"name", true, TEXT_ALWAYS}, {"n", false, TEXT_ALWAYS}};
	text_table t;
	(void)state;
	page p;
	start(&p, 20, false);
	assert_true(text_table_open(&t, one, 2, 2));
	text_cell(&t, 0, 0, "a-name\033that-is-too-long");
	text_cell(&t, 0, 1, "1");
	text_cell(&t, 1, 0, "専門家専門家専門家");
	text_table_print(&p.to, &t);
	text_table_close(&t);
	expect(&p, "| name         | n |\n"
	           "|--------------|--:|\n"
	           "| a-name?that… | 1 |\n"
	           "| 専門家専門…  |   |\n");
}

static void cells_are_cut_between_characters(void **state)
{
	static const text_column one[] = {{"name", true, TEXT_ALWAYS}};
	text_table t;
	(void)state;
	assert_true(text_table_open(&t, one, 1, 1));
	text_cell(&t, 0, 0, "%s", "€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€€");
	assert_string_equal(t.cells[0], "€€€€€€€€€€€€€€€€€€€€€"); /* 63 bytes */
	text_table_close(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_broken_at_spaces),
		cmocka_unit_test(a_word_may_come_in_parts),
		cmocka_unit_test(a_word_of_any_length_stays_whole),
		cmocka_unit_test(long_values_continue_in_rows_without_a_name),
		cmocka_unit_test(a_table_has_the_columns_that_fit),
		cmocka_unit_test(texts_that_always_stay_are_cut),
		cmocka_unit_test(cells_are_cut_between_characters),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

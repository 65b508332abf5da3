/* SPDX-License-Identifier: MIT */
/* What stands below the table of ufm bench: rows that failed, are cold, or are faster than their floor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/bench/report.h"

static json_t *a_row(const char *status, double fraction_of_floor)
{
	return json_pack("{ss ss si ss sf sf sf si}", "mode", "ufm", "phase", "decode", "num_experts",
	                 16, "status", status, "tokens_per_s", 1000.0, "step_ms_median", 2.0,
	                 "fraction_of_floor", fraction_of_floor, "steps_measured", 3);
}

/* Of one row, which it takes. */
static char *printed(json_t *row)
{
	char *text = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&text, &size);
	json_t *summary = json_pack("{s[o]s{}}", "rows", row, "config");
	assert_non_null(to);
	assert_non_null(summary);
	sheet wide = sheet_open(to, true);
	report_markdown(&wide, summary);
	fclose(to);
	json_decref(summary);
	/* Lines that continue a note. */
	for (char *at; (at = strstr(text, "\n  "));)
		memmove(at, at + 2, strlen(at + 2) + 1);
	return text;
}

static void expect(json_t *row, const char *note, bool wanted)
{
	char *text = printed(row);
	if ((strstr(text, note) != NULL) != wanted)
		fail_msg("\"%s\" %s expected in:\n%s", note, wanted ? "was" : "was not", text);
	free(text);
}

static void a_row_above_its_floor_says_that_rates_changed(void **state)
{
	(void)state;
	const char note[] = "\n- ufm decode, 16 experts: 1.200 of its floor: the machine's rates "
						"changed between probes and steps";
	expect(a_row("ok", 1.2), note, true);
	expect(a_row("ok", 1.05), "of its floor", false);
	expect(a_row("ok", 0.9), "of its floor", false);
	expect(a_row("error", 1.2), "of its floor", false); /* its error says it */
}

static void a_cold_row_says_how_cold(void **state)
{
	(void)state;
	json_t *row = a_row("ok", 0.9);
	json_object_update_new(row, json_pack("{sb si si si}", "slots_filled", 0, "slots_held", 5,
	                                      "slots", 40, "warmup", 2));
	expect(json_incref(row), "| ok, cold |", true);
	expect(json_incref(row),
	       "\n- ufm decode, 16 experts: cold: 5 of 40 slots held an expert when measuring began, "
	       "after 2 steps of warm-up\n",
	       true);
	json_object_set_new(row, "slots_filled", json_true());
	expect(json_incref(row), "cold", false);
	json_object_set_new(row, "slots_filled", json_null()); /* a mode without slots */
	expect(row, "cold", false);
}

static void a_row_that_failed_has_its_error(void **state)
{
	(void)state;
	json_t *row = a_row("oom", 0);
	json_object_set_new(row, "tokens_per_s", json_null());
	json_object_set_new(row, "error", json_string("no room"));
	expect(row, "\n- ufm decode, 16 experts: oom: no room\n", true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_row_above_its_floor_says_that_rates_changed),
		cmocka_unit_test(a_cold_row_says_how_cold),
		cmocka_unit_test(a_row_that_failed_has_its_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* ufm_sizeof knows every struct that the headers define, and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <ufm/plan.h>
#include <ufm/ufm.h>

static void test_sizes(void **state)
{
	(void)state;
	assert_int_equal(ufm_sizeof("ufm_moe_call"), sizeof(ufm_moe_call));
	assert_int_equal(ufm_sizeof("ufm_part"), sizeof(ufm_part));
	assert_int_equal(ufm_sizeof("ufm_expert_desc"), sizeof(ufm_expert_desc));
	assert_int_equal(ufm_sizeof("ufm_engine_config"), sizeof(ufm_engine_config));
	assert_int_equal(ufm_sizeof("ufm_plan_point"), sizeof(ufm_plan_point));
}

static void test_what_is_no_struct_has_none(void **state)
{
	static const char *const none[] = {"",         "ufm_moe",       "ufm_moe_call ", "ufm_engine",
	                                   "ufm_bank", "ufm_moe_calls", "ufm_status",    "int"};

	(void)state;
	for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
		assert_int_equal(ufm_sizeof(none[i]), 0);
	assert_int_equal(ufm_sizeof(NULL), 0);
}

/* What one line of a header says of a struct that it defines: its name, and whether its first member is the size. */
static void check_struct(const char *path, const char *name, const char *first_member)
{
	static const char *const no_size[] = {"ufm_part", "ufm_counter_desc", "ufm_ticket",
	                                      "ufm_plan_phase", "ufm_extent"};
	int sized = strstr(first_member, "size_t struct_size;") != NULL;

	if (ufm_sizeof(name) == 0)
		fail_msg("%s: ufm_sizeof knows no %s (src/base/struct_sizes.c)", path, name);
	for (size_t i = 0; i < sizeof no_size / sizeof no_size[0]; i++)
		sized ^= strcmp(no_size[i], name) == 0;
	if (!sized)
		fail_msg("%s: %s begins with '%s', expected its struct_size", path, name, first_member);
}

static uint32_t check_header(const char *path)
{
	FILE *header = fopen(path, "r");
	char line[256], name[96], brace;
	uint32_t found = 0;

	assert_non_null(header);
	while (fgets(line, sizeof line, header)) {
		if (sscanf(line, "typedef struct %95[a-z0-9_] %c", name, &brace) != 2 || brace != '{')
			continue;
		assert_non_null(fgets(line, sizeof line, header));
		check_struct(path, name, line);
		found++;
	}
	fclose(header);
	return found;
}

static void test_every_struct_of_the_headers_is_known(void **state)
{
	(void)state;
	assert_true(check_header("include/ufm/ufm.h") >= 19);
	assert_int_equal(check_header("include/ufm/plan.h"), 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_what_is_no_struct_has_none),
		cmocka_unit_test(test_every_struct_of_the_headers_is_known),
	};

	return cmocka_run_group_tests_name("struct_sizes", tests, NULL, NULL);
}

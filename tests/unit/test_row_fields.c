/* SPDX-License-Identifier: MIT */
/* The table of a row's fields: rows have all of them in its order, readers accept what is in range, and docs/formats.md
 * says the same. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/bench/row.h"
#include "support/assert_error.h"

/* ---- rows as they are written */

static double step_ms[] = {2, 3};

static bench_config a_config(void)
{
	return (bench_config){.layers = 2,
	                      .d_model = 8,
	                      .d_hidden = 16,
	                      .batch = 5,
	                      .seq = 2,
	                      .top_k = 3,
	                      .steps = 2,
	                      .preset = 1,
	                      .model = "model",
	                      .link_gbps = 1,
	                      .vram_limit_bytes = 1u << 30,
	                      .vram_target_bytes = 1u << 29,
	                      .workload = "uniform",
	                      .policy = "cycle",
	                      .cpu_assist = "auto"};
}

/* Nothing is null in it but its error and the product of a vendor's peak. */
static bench_row a_row(void)
{
	bench_row row = {.mode = MODE_UFM,
	                 .experts = 4,
	                 .bank_bytes = 8000000,
	                 .expert_bytes = 1000000,
	                 .fill_ns = 1000000,
	                 .opened = true,
	                 .engine = {.slots = 8,
	                            .vram_target_bytes = 1u << 29,
	                            .link_gbps = 1,
	                            .cpu_threads = 3,
	                            .cpu_share_percent = 50},
	                 .backend = "cuda",
	                 .device = "a card",
	                 .cpu_assist = "on",
	                 .cpu_choice_count = 1,
	                 .admission.terms.copy_ns = 7,
	                 .warm = true,
	                 .step_ms = step_ms,
	                 .measured = 2,
	                 .probed = true,
	                 .rates = {.link_gbps = 1,
	                           .hbm_gbps = 10,
	                           .dram_gbps = 5,
	                           .sum_link_gbps = 1,
	                           .sum_cpu_gbps = 4,
	                           .gflops = 100,
	                           .threads = 3},
	                 .experts_expected = 2.5,
	                 .limit_known = true,
	                 .limit_reads = 1};
	for (uint32_t i = 0; i < COUNTER_COUNT; i++)
		row.counters[i] = i + 1;
	return row;
}

static void assert_is_the_table(json_t *row)
{
	const char *name;
	json_t *value;
	size_t at = 0;
	json_object_foreach(row, name, value)
	{
		assert_true(at < ROW_FIELD_COUNT);
		assert_string_equal(name, row_fields[at++].name);
	}
	assert_int_equal(at, ROW_FIELD_COUNT);
}

static void rows_have_every_field_in_the_order_of_the_table(void **state)
{
	(void)state;
	bench_config config = a_config();
	bench_row whole = a_row(), failed = {.status = ROW_OOM};
	json_t *row = row_json(&whole, &config);
	assert_is_the_table(row);
	for (uint32_t i = 0; i < ROW_FIELD_COUNT; i++)
		if (i != ROW_error && i != ROW_peak_shape &&
		    json_is_null(json_object_get(row, row_fields[i].name)))
			fail_msg("%s is null", row_fields[i].name);
	json_decref(row);
	row = row_json(&failed, &config);
	assert_is_the_table(row);
	assert_true(json_is_null(json_object_get(row, ROW_NAME(tokens_per_s))));
	json_decref(row);
}

static void counters_have_their_own_values(void **state)
{
	(void)state;
	bench_config config = a_config();
	bench_row whole = a_row();
	json_t *row = row_json(&whole, &config);
	uint32_t counted = 0;
	for (uint32_t i = 0; i < ufm_counter_count(); i++) {
		const json_t *value = json_object_get(row, ufm_counter_describe(i)->name);
		if (value)
			assert_int_equal(json_integer_value(value), i + 1);
		counted += value != NULL;
	}
	assert_int_equal(counted, 21);
	json_decref(row);
}

static ufm_status read_back(const json_t *row, const row_field *field)
{
	uint64_t whole;
	double number;
	if (field->kind == FIELD_WHOLE)
		return row_whole(row, field, &whole);
	return field->kind == FIELD_NUMBER ? row_number(row, field, &number) : UFM_OK;
}

static void what_is_written_can_be_read(void **state)
{
	(void)state;
	bench_config config = a_config();
	bench_row whole = a_row();
	json_t *row = row_json(&whole, &config);
	for (uint32_t i = 0; i < ROW_FIELD_COUNT; i++)
		if (read_back(row, &row_fields[i]))
			fail_msg("%s", ufm_last_error());
	json_decref(row);
}

/* ---- a writer's mistakes */

/* How a child ends that puts the first `count` fields, null but for one, and then the first `again` of them again. */
static int end_of_writer(uint32_t count, uint32_t again, row_field_id one, json_t *value)
{
	int ended;
	fflush(NULL);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		row_values row = {0};
		signal(SIGABRT, SIG_DFL);
		if (!freopen("/dev/null", "w", stderr))
			_exit(1);
		for (uint32_t i = 0; i < count; i++)
			row_put(&row, (row_field_id)i, i == one ? value : NULL);
		for (uint32_t i = 0; i < again; i++)
			row_put(&row, (row_field_id)i, NULL);
		assert_is_the_table(row_object(&row));
		_exit(0);
	}
	assert_int_equal(waitpid(child, &ended, 0), child);
	return WIFSIGNALED(ended) ? WTERMSIG(ended) : WEXITSTATUS(ended);
}

static void a_field_too_often_missing_or_of_another_kind_is_a_bug(void **state)
{
	(void)state;
	json_t *ten = json_integer(10);
	assert_int_equal(end_of_writer(ROW_FIELD_COUNT, 0, ROW_layers, ten), 0);
	assert_int_equal(end_of_writer(ROW_FIELD_COUNT, 1, ROW_layers, ten), SIGABRT);
	assert_int_equal(end_of_writer(ROW_FIELD_COUNT - 1, 0, ROW_layers, ten), SIGABRT);
	assert_int_equal(end_of_writer(ROW_FIELD_COUNT, 0, ROW_tokens_per_s, ten), SIGABRT);
	assert_int_equal(end_of_writer(ROW_FIELD_COUNT, 0, ROW_norm_topk, ten), SIGABRT);
	assert_int_equal(end_of_writer(ROW_FIELD_COUNT, 0, ROW_norm_topk, json_false()), 0);
	json_decref(ten);
}

/* ---- readers */

static void whole_numbers_are_held_against_their_range(void **state)
{
	(void)state;
	const row_field *layers = &row_fields[ROW_layers];
	uint32_t found = 7;
	json_t *row = json_object();
	assert_error(row_u32(row, layers, &found), UFM_EFORMAT,
	             "layers: found nothing, expected a whole number from 1 to 4096");
	json_object_set_new(row, "layers", json_integer(4097));
	assert_error(row_u32(row, layers, &found), UFM_EFORMAT, "layers: found 4097, expected");
	json_object_set_new(row, "layers", json_real(2));
	assert_error(row_u32(row, layers, &found), UFM_EFORMAT, "layers: found 2.0, expected");
	json_object_set_new(row, "layers", json_integer(-1));
	assert_error(row_u32(row, layers, &found), UFM_EFORMAT, "layers: found -1, expected");
	assert_int_equal(found, 7); /* set on success only */
	json_object_set_new(row, "layers", json_integer(4096));
	assert_int_equal(row_u32(row, layers, &found), UFM_OK);
	assert_int_equal(found, 4096);
	json_object_set_new(row, "ring_slots", json_null());
	assert_int_equal(row_u32(row, &row_fields[ROW_ring_slots], &found), UFM_OK);
	assert_int_equal(found, 0); /* as where it is missing */
	json_decref(row);
}

static void numbers_are_held_against_their_range(void **state)
{
	(void)state;
	const row_field *link = &row_fields[ROW_link_gbps_emulated];
	double found = 7;
	json_t *row = json_object();
	json_object_set_new(row, "link_gbps_emulated", json_real(100000.5));
	assert_error(row_number(row, link, &found), UFM_EFORMAT,
	             "link_gbps_emulated: found 100000.5, expected a number from 0 to 100000");
	json_object_set_new(row, "link_gbps_emulated", json_string("fast"));
	assert_error(row_number(row, link, &found), UFM_EFORMAT, "found \"fast\", expected a number");
	json_object_set_new(row, "link_gbps_emulated", json_real(100000));
	assert_int_equal(row_number(row, link, &found), UFM_OK);
	assert_true(found == 100000);
	assert_error(row_number(row, &row_fields[ROW_tokens_per_s], &found), UFM_EFORMAT,
	             "tokens_per_s: found nothing, expected a number from 1e-09 to 1e+15");
	json_decref(row);
}

/* ---- the page */

static void print_values(FILE *to, const row_field *f)
{
	static const char *const words[] = {"whole",         "number", "text",
	                                    "true or false", "list",   "object"};
	fputs(words[f->kind], to);
	if (f->kind == FIELD_NUMBER)
		fprintf(to, ", %g to %g", f->low, f->high);
	else if (f->kind == FIELD_LIST)
		fprintf(to, " of at most %llu", (unsigned long long)f->most);
	else if (f->kind == FIELD_WHOLE && (f->least > 0 || f->most < INT64_MAX))
		fprintf(to, ", %llu to %llu", (unsigned long long)f->least, (unsigned long long)f->most);
}

static void print_field(FILE *to, const row_field *f, const char *meaning)
{
	fprintf(to, "| `%s` | ", f->name);
	print_values(to, f);
	fprintf(to, " | %s |\n", meaning);
}

/* As the page must have it; the empty line ends it. */
static char *print_table(void)
{
	char *text = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&text, &size);
	assert_non_null(to);
	fputs("| field | value | meaning |\n|---|---|---|\n", to);
#define ROW_FIELD(name, form, meaning) print_field(to, &row_fields[ROW_##name], meaning);
#include "cli/row_fields.def"
#undef ROW_FIELD
	fputs("\n", to);
	fclose(to);
	return text;
}

static char *read_page(const char *path)
{
	char *text = NULL;
	size_t size = 0;
	FILE *page = fopen(path, "r");
	assert_non_null(page);
	assert_true(getdelim(&text, &size, '\0', page) > 0);
	fclose(page);
	return text;
}

static void the_page_has_the_table(void **state)
{
	(void)state;
	char *table = print_table(), *page = read_page("docs/formats.md");
	if (!strstr(page, table))
		fprintf(stderr, "docs/formats.md needs this table, of cli/row_fields.def:\n%s", table);
	assert_non_null(strstr(page, table));
	free(table);
	free(page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_have_every_field_in_the_order_of_the_table),
		cmocka_unit_test(counters_have_their_own_values),
		cmocka_unit_test(what_is_written_can_be_read),
		cmocka_unit_test(a_field_too_often_missing_or_of_another_kind_is_a_bug),
		cmocka_unit_test(whole_numbers_are_held_against_their_range),
		cmocka_unit_test(numbers_are_held_against_their_range),
		cmocka_unit_test(the_page_has_the_table),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

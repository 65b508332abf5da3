/* SPDX-License-Identifier: MIT */
/* Rows that are faster than the machine allows, the arithmetic that a floor counts with, and probes made twice. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/bench/row.h"
#include "cli/exit.h"

#define EXPERT_BYTES 1000000u
#define STEPS 4u

static double step_ms[STEPS];

/* 2 layers demand 3 of 4 resident experts of 1 MB each a step: 6 MB at 10 GB/s are 0.6 ms. */
static bench_row a_row(const char *backend, double ms)
{
	bench_row row = {.mode = MODE_BASELINE,
	                 .experts = 4,
	                 .expert_bytes = EXPERT_BYTES,
	                 .engine.slots = 8,
	                 .step_ms = step_ms,
	                 .measured = STEPS,
	                 .probed = true,
	                 .rates = {.hbm_gbps = 10, .link_gbps = 1}};

	snprintf(row.backend, sizeof row.backend, "%s", backend);
	row.counters[COUNTER_uses] = row.counters[COUNTER_resident_uses] = 2ull * 3 * STEPS;
	for (uint32_t i = 0; i < STEPS; i++)
		step_ms[i] = ms;
	return row;
}

static bench_config a_config(void)
{
	return (bench_config){
		.layers = 2, .d_model = 100, .d_hidden = 1000, .batch = 5, .seq = 2, .top_k = 3};
}

static void rows_that_beat_their_floor(void **state)
{
	(void)state;
	bench_config config = a_config();
	bench_row row = a_row("cuda", 0.6 / 1.04);

	assert_false(row_beats_floor(&row, &config));
	row = a_row("cuda", 0.6 / 1.06);
	assert_true(row_beats_floor(&row, &config));
	row = a_row("cpu", 0.6 / 1.06);
	assert_false(row_beats_floor(&row, &config));
	row = a_row("cuda", 0.6 / 1.06);
	row.probed = false;
	assert_false(row_beats_floor(&row, &config));
	row = a_row("cuda", 0.6 / 1.06);
	row.status = ROW_OOM;
	assert_false(row_beats_floor(&row, &config));
}

static void such_a_row_says_so(void **state)
{
	(void)state;
	bench_config config = a_config();
	bench_row row = a_row("cuda", 0.6 / 2);

	row_fail_floor(&row, &config);
	assert_int_equal(row.status, ROW_ERROR);
	assert_int_equal(row.exit_code, CLI_FAILED);
	assert_non_null(strstr(row.error, "found steps 2.00 times as fast as their floor (hbm)"));
	assert_non_null(strstr(row.error, "rates changed"));
}

/* 2 x 10 tokens x 3 experts x 2 x 100 x 1000 parameters x 2 layers = 24e6 operations. At 20 of 10^9 a second they take
 * 1.2 ms, longer than the bytes. */
static void slow_kernels_lower_no_floor(void **state)
{
	(void)state;
	bench_config config = a_config();
	bench_row row = a_row("cuda", 3);
	step_floor floor;

	row.rates.gflops = 5;
	row.peak.peak.gflops = 20;
	assert_true(row_floor(&row, &config, &floor));
	assert_true(floor.step_ms > 1.2 * (1 - 1e-9) && floor.step_ms < 1.2 * (1 + 1e-9));
	assert_int_equal(floor.bound, FLOOR_COMPUTE);
}

static void better_of_own_and_vendors(void **state)
{
	(void)state;
	peak_found found = {.peak = {.gflops = 20, .source = "cublas 13.0, fp32"}};
	const char *source = NULL;

	assert_true(peak_used(&found, 5, &source) == 20);
	assert_string_equal(source, "cublas 13.0, fp32");
	assert_true(peak_used(&found, 25, &source) == 25);
	assert_string_equal(source, "own products");
	found = (peak_found){0};
	assert_true(peak_used(&found, 0, &source) == 0);
	assert_true(peak_used(&found, 5, &source) == 5);
	assert_string_equal(source, "own products");
}

static void each_rate_for_itself(void **state)
{
	(void)state;
	probe_rates best = {.link_gbps = 50,
	                    .hbm_gbps = 4000,
	                    .dram_gbps = 100,
	                    .sum_link_gbps = 45,
	                    .sum_cpu_gbps = 80,
	                    .gflops = 9};
	probe_rates again = {.link_gbps = 55,
	                     .hbm_gbps = 3900,
	                     .dram_gbps = 110,
	                     .sum_link_gbps = 40,
	                     .sum_cpu_gbps = 90,
	                     .gflops = 8,
	                     .threads = 3};

	probe_keep_better(&best, &again);
	assert_true(best.link_gbps == 55 && best.hbm_gbps == 4000 && best.dram_gbps == 110);
	assert_true(best.sum_link_gbps == 40 && best.sum_cpu_gbps == 90 && best.gflops == 9);
	assert_int_equal(best.threads, 3);
	again.sum_link_gbps = 50;
	again.sum_cpu_gbps = 79; /* 129 of 130 */
	probe_keep_better(&best, &again);
	assert_true(best.sum_link_gbps == 40 && best.sum_cpu_gbps == 90);
}

/* Where the workload says nothing of its routing there is no limit. */
static void limit_of_a_row(void **state)
{
	(void)state;
	bench_config config = a_config();
	bench_row row = a_row("cuda", 3);
	double ms = -1;

	assert_false(row_limit_ms(&row, &config, &ms));
	row.limit_known = true;
	row.limit_reads = 4.5; /* 4.5 MB at 1 GB/s */
	assert_true(row_limit_ms(&row, &config, &ms));
	assert_true(ms > 4.5 * (1 - 1e-9) && ms < 4.5 * (1 + 1e-9));
	row.rates.sum_link_gbps = 1;
	row.rates.sum_cpu_gbps = 2; /* 1.5 ms */
	assert_true(row_limit_ms(&row, &config, &ms));
	assert_true(ms > 1.5 * (1 - 1e-9) && ms < 1.5 * (1 + 1e-9));
	row.limit_reads = 0; /* the bytes that are resident */
	assert_true(row_limit_ms(&row, &config, &ms));
	assert_true(ms > 0.6 * (1 - 1e-9) && ms < 0.6 * (1 + 1e-9));
	row.probed = false;
	assert_false(row_limit_ms(&row, &config, &ms));
}

/* Not one member is missing, whatever a division gave. */
static void numbers_that_are_none_are_null(void **state)
{
	(void)state;
	bench_config config = a_config();
	bench_row row = a_row("cpu", 0.6);
	json_t *good = row_json(&row, &config);

	config.workload = "trace:\xff.npy";
	row = a_row("cpu", NAN);
	row.rates.hbm_gbps = INFINITY;
	json_t *bad = row_json(&row, &config);
	const char *name;
	json_t *value;
	json_object_foreach(good, name, value)
	{
		assert_non_null(json_object_get(bad, name));
	}
	assert_int_equal(json_object_size(bad), json_object_size(good));
	assert_true(json_is_null(json_object_get(bad, "step_ms_median")));
	assert_true(json_is_null(json_object_get(bad, "probe_hbm_gbps")));
	assert_string_equal(json_string_value(json_object_get(bad, "workload")), "trace:?.npy");
	assert_int_equal(json_array_size(json_object_get(bad, "step_ms")), STEPS);
	assert_true(json_is_null(json_array_get(json_object_get(bad, "step_ms"), 0)));
	json_decref(good);
	json_decref(bad);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_that_are_none_are_null),
		cmocka_unit_test(rows_that_beat_their_floor),
		cmocka_unit_test(such_a_row_says_so),
		cmocka_unit_test(slow_kernels_lower_no_floor),
		cmocka_unit_test(better_of_own_and_vendors),
		cmocka_unit_test(each_rate_for_itself),
		cmocka_unit_test(limit_of_a_row),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

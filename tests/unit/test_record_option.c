/* SPDX-License-Identifier: MIT */
/* What --record-trace asks of an engine, and what it says of a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/stat.h>

#include "cli/modes/record.h"
#include "support/fixture.h"
#include "support/routings.h"

#define MIB ((uint64_t)1 << 20)

static void the_ring_is_as_large_as_the_run(void **state)
{
	(void)state;
	assert_int_equal(mode_record_bytes(NULL, 100, 24, 4), 0);
	assert_int_equal(mode_record_bytes("t.npy", 1, 24, 4), 192);
	assert_int_equal(mode_record_bytes("t.npy", 100, 24, 4), 19200);
	assert_int_equal(mode_record_bytes("t.npy", 256 * MIB / 8 - 1, 1, 4), 256 * MIB - 8);
	assert_int_equal(mode_record_bytes("t.npy", 256 * MIB / 8, 1, 4), 256 * MIB);
	assert_int_equal(mode_record_bytes("t.npy", UINT64_MAX, 4096, 1024), 256 * MIB);
}

/* What mode_record_write put on standard error; *status: what it returned. */
static const char *said(const char *path, ufm_engine *engine, ufm_status *status)
{
	static char text[1024];
	FILE *kept = tmpfile();
	int before = dup(STDERR_FILENO);
	assert_non_null(kept);
	fflush(stderr);
	assert_true(dup2(fileno(kept), STDERR_FILENO) >= 0);
	*status = mode_record_write(path, engine, 1);
	fflush(stderr);
	assert_true(dup2(before, STDERR_FILENO) >= 0);
	close(before);
	rewind(kept);
	text[fread(text, 1, sizeof text - 1, kept)] = '\0';
	fclose(kept);
	return text;
}

/* Layer 0 has routed a token more than layer 1, and the ring has room for 10. */
static void what_is_left_out_is_said(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = {.layers = 2, .tokens = 4, .routing_bytes = 10 * 2 * 2 * 2};
	folder d = open_folder("t.npy");
	ufm_status status;
	char want[512];
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	for (uint64_t step = 0; step < 3; step++)
		assert_int_equal(fixture_run(&f, step), UFM_OK);
	snprintf(want, sizeof want, "ufm: --record-trace: %s: 2 earlier tokens were dropped\n", d.path);
	assert_string_equal(said(d.path, f.engine, &status), want);
	assert_int_equal(status, UFM_OK);
	ufm_moe_call call;
	UFM_STRUCT_INIT(&call);
	call.tokens = 1;
	call.x = &f.x_tokens;
	call.y = &f.y_tokens;
	assert_int_equal(ufm_moe_forward(f.layers[0], &call, NULL), UFM_OK);
	assert_int_equal(ufm_stream_sync(f.engine, NULL), UFM_OK);
	snprintf(
		want, sizeof want,
		"ufm: --record-trace: %s: 3 earlier tokens were dropped\n"
		"ufm: --record-trace: %s: 1 tokens at the end are left out: not every layer routed them\n",
		d.path, d.path);
	assert_string_equal(said(d.path, f.engine, &status), want);
	assert_int_equal(status, UFM_OK);
	fixture_close(&f);
	close_folder(&d);
}

static void nothing_to_write(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = {.routing_bytes = 64};
	ufm_status status;
	static const char line[] =
		"ufm: --record-trace: /nowhere/t.npy is not written: no token was routed\n";
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	assert_string_equal(said(NULL, f.engine, &status), "");
	assert_int_equal(status, UFM_OK);
	assert_string_equal(said("/nowhere/t.npy", NULL, &status), line); /* it did not open */
	assert_int_equal(status, UFM_OK);
	assert_string_equal(said("/nowhere/t.npy", f.engine, &status), line);
	assert_int_equal(status, UFM_OK);
	assert_int_equal(fixture_run(&f, 0), UFM_OK);
	assert_string_equal(said("/nowhere/t.npy", f.engine, &status), "");
	assert_int_equal(status, UFM_EFILE);
	assert_says("--record-trace: /nowhere/t.npy");
	fixture_close(&f);
}

/* rmdir succeeds: looking has left nothing. */
static void a_path_is_tried_before_the_work(void **state)
{
	(void)state;
	folder d = open_folder("t.npy");
	assert_int_equal(mode_record_check(NULL), UFM_OK);
	assert_int_equal(mode_record_check(d.path), UFM_OK);
	assert_int_equal(mkdir(d.path, 0700), 0);
	assert_int_equal(mode_record_check(d.path), UFM_EFILE);
	assert_says("is not a regular file");
	assert_int_equal(rmdir(d.path), 0);
	close_folder(&d);
	assert_int_equal(mode_record_check("/nowhere/t.npy"), UFM_EFILE);
	assert_says("--record-trace: /nowhere/t.npy");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_ring_is_as_large_as_the_run),
		cmocka_unit_test(what_is_left_out_is_said),
		cmocka_unit_test(nothing_to_write),
		cmocka_unit_test(a_path_is_tried_before_the_work),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

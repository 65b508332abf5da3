/* SPDX-License-Identifier: MIT */
/* Statuses, the last error, struct sizes and the log sink. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <ufm/ufm.h>
#include <unistd.h>

#include "base/log.h"
#include "base/status.h"

static const ufm_status every_status[] = {
	UFM_OK,      UFM_EINVAL,  UFM_EBUSY,        UFM_ETIMEDOUT, UFM_ENOMEM,
	UFM_EBUDGET, UFM_EDEVMEM, UFM_EUNSUPPORTED, UFM_EFILE,     UFM_EEXPERT_IO,
	UFM_EFORMAT, UFM_EDEVICE, UFM_EBACKEND,
};
#define STATUS_COUNT (sizeof every_status / sizeof every_status[0])

static void test_every_status_has_its_own_phrase(void **state)
{
	(void)state;
	for (size_t i = 0; i < STATUS_COUNT; i++) {
		const char *phrase = ufm_strerror(every_status[i]);
		assert_true(strlen(phrase) > 0);
		assert_string_not_equal(phrase, "unknown status");
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(phrase, ufm_strerror(every_status[j]));
	}
	assert_string_equal(ufm_strerror((ufm_status)-12345), "unknown status");
	assert_string_equal(ufm_strerror((ufm_status)1), "unknown status");
}

static void test_version_is_that_of_the_header(void **state)
{
	char expected[32];

	(void)state;
	snprintf(expected, sizeof expected, "%d.%d.%d", UFM_VERSION_MAJOR, UFM_VERSION_MINOR,
	         UFM_VERSION_PATCH);
	assert_string_equal(ufm_version(), expected);
}

static void test_dtype_bytes(void **state)
{
	(void)state;
	assert_int_equal(ufm_dtype_bytes(UFM_F32), 4);
	assert_int_equal(ufm_dtype_bytes(UFM_BF16), 2);
	assert_int_equal(ufm_dtype_bytes(UFM_F16), 2);
	assert_int_equal(ufm_dtype_bytes((ufm_dtype)0), 0);
	assert_int_equal(ufm_dtype_bytes((ufm_dtype)99), 0);
}

static void test_fail_records_and_returns(void **state)
{
	(void)state;
	assert_int_equal(status_fail(UFM_EINVAL, "experts: %d, expected 1 … %d", 0, 7), UFM_EINVAL);
	assert_string_equal(ufm_last_error(), "experts: 0, expected 1 … 7");
	assert_int_equal(status_fail(UFM_EFILE, "second"), UFM_EFILE);
	assert_string_equal(ufm_last_error(), "second");
}

static void test_prefix_goes_before(void **state)
{
	(void)state;
	status_fail(UFM_EFORMAT, "bad magic");
	assert_int_equal(status_prefix(UFM_EFORMAT, "%s.%s", "bank", "ufm"), UFM_EFORMAT);
	assert_string_equal(ufm_last_error(), "bank.ufm: bad magic");
	status_prefix(UFM_EFORMAT, "layer %d", 3);
	assert_string_equal(ufm_last_error(), "layer 3: bank.ufm: bad magic");
}

static void test_last_error_may_be_its_own_argument(void **state)
{
	(void)state;
	status_fail(UFM_EFILE, "inner");
	status_fail(UFM_EEXPERT_IO, "outer (%s)", ufm_last_error());
	assert_string_equal(ufm_last_error(), "outer (inner)");
	status_prefix(UFM_EEXPERT_IO, "%s", ufm_last_error());
	assert_string_equal(ufm_last_error(), "outer (inner): outer (inner)");
}

static void test_error_stays_one_line(void **state)
{
	char found[2000];

	(void)state;
	status_fail(UFM_EINVAL, "path \"%s\"",
	            "a\nb\tc\x7f"
	            "d");
	assert_string_equal(ufm_last_error(), "path \"a?b?c?d\"");
	memset(found, 'x', sizeof found - 1);
	found[sizeof found - 1] = '\0';
	status_fail(UFM_EINVAL, "%s", found);
	assert_int_equal(strlen(ufm_last_error()), 511);
	status_prefix(UFM_EINVAL, "file");
	assert_int_equal(strlen(ufm_last_error()), 511);
	assert_memory_equal(ufm_last_error(), "file: xxx", 9);
	status_prefix(UFM_EINVAL, "%s", found);
	assert_int_equal(strlen(ufm_last_error()), 511);
}

static void *other_thread(void *arg)
{
	char *seen = arg;

	snprintf(seen, 64, "[%s]", ufm_last_error());
	status_fail(UFM_EINVAL, "theirs");
	return NULL;
}

static void test_last_error_is_per_thread(void **state)
{
	pthread_t thread;
	char seen[64] = "";

	(void)state;
	status_fail(UFM_EINVAL, "ours");
	assert_int_equal(pthread_create(&thread, NULL, other_thread, seen), 0);
	pthread_join(thread, NULL);
	assert_string_equal(seen, "[]");
	assert_string_equal(ufm_last_error(), "ours");
}

typedef struct sample_config {
	size_t struct_size;
	uint32_t first, second;
	uint64_t added_later;
} sample_config;

static void test_struct_init(void **state)
{
	sample_config config;

	(void)state;
	memset(&config, 0xff, sizeof config);
	UFM_STRUCT_INIT(&config);
	assert_int_equal(config.struct_size, sizeof config);
	assert_int_equal(config.first, 0);
	assert_int_equal(config.second, 0);
	assert_int_equal(config.added_later, 0);
}

static void test_read_config_takes_older_structs(void **state)
{
	sample_config ours = {sizeof ours, 10, 20, 30};
	sample_config given = {offsetof(sample_config, added_later), 1, 2, 99};

	(void)state;
	assert_int_equal(status_read_config(&ours, sizeof ours, &given, "sample_config"), UFM_OK);
	assert_int_equal(ours.struct_size, sizeof ours);
	assert_int_equal(ours.first, 1);
	assert_int_equal(ours.second, 2);
	assert_int_equal(ours.added_later, 30);
	given.struct_size = sizeof given;
	assert_int_equal(status_read_config(&ours, sizeof ours, &given, "sample_config"), UFM_OK);
	assert_int_equal(ours.added_later, 99);
}

static void test_read_config_null_keeps_defaults(void **state)
{
	sample_config ours = {sizeof ours, 10, 20, 30};

	(void)state;
	assert_int_equal(status_read_config(&ours, sizeof ours, NULL, "sample_config"), UFM_OK);
	assert_int_equal(ours.first, 10);
	assert_int_equal(ours.added_later, 30);
}

static void test_read_config_refuses_wrong_sizes(void **state)
{
	const size_t wrong[] = {0, sizeof(size_t) - 1, STATUS_STRUCT_BYTES_MAX + 1, SIZE_MAX};

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		sample_config ours = {sizeof ours, 10, 20, 30};
		sample_config given = {wrong[i], 1, 2, 3};
		assert_int_equal(status_read_config(&ours, sizeof ours, &given, "sample_config"),
		                 UFM_EINVAL);
		assert_non_null(strstr(ufm_last_error(), "sample_config"));
		assert_int_equal(ours.first, 10);
	}
}

typedef struct newer_config {
	sample_config known;
	uint64_t later[2];
} newer_config;

/* Zeros ask for nothing; anything else would be silently ignored. */
static void test_read_config_takes_newer_structs_that_ask_for_nothing(void **state)
{
	sample_config ours = {sizeof ours, 10, 20, 30};
	newer_config given = {{sizeof given, 1, 2, 3}, {0, 0}};

	(void)state;
	assert_int_equal(status_read_config(&ours, sizeof ours, &given, "sample_config"), UFM_OK);
	assert_int_equal(ours.struct_size, sizeof ours);
	assert_int_equal(ours.added_later, 3);
	given.later[1] = (uint64_t)1 << 63;
	assert_int_equal(status_read_config(&ours, sizeof ours, &given, "sample_config"), UFM_EINVAL);
	assert_non_null(strstr(ufm_last_error(), "sample_config: byte 39 is set, expected 0"));
}

static void test_write_info_writes_what_both_know(void **state)
{
	const sample_config found = {0, 1, 2, 3};
	sample_config older = {offsetof(sample_config, added_later), 7, 7, 7};
	newer_config newer = {{sizeof newer, 7, 7, 7}, {7, 7}};

	(void)state;
	assert_int_equal(status_write_info(&older, &found, sizeof found, "sample_info"), UFM_OK);
	assert_int_equal(older.struct_size, offsetof(sample_config, added_later));
	assert_int_equal(older.second, 2);
	assert_int_equal(older.added_later, 7);
	assert_int_equal(status_write_info(&newer, &found, sizeof found, "sample_info"), UFM_OK);
	assert_int_equal(newer.known.struct_size, sizeof newer);
	assert_int_equal(newer.known.added_later, 3);
	assert_int_equal(newer.later[0], 7);
}

static void test_write_info_refuses_wrong_sizes(void **state)
{
	const size_t wrong[] = {0, sizeof(size_t) - 1, STATUS_STRUCT_BYTES_MAX + 1, SIZE_MAX};
	const sample_config found = {0, 1, 2, 3};

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		sample_config theirs = {wrong[i], 7, 7, 7};
		assert_int_equal(status_check_info(&theirs, "sample_info"), UFM_EINVAL);
		assert_int_equal(status_write_info(&theirs, &found, sizeof found, "sample_info"),
		                 UFM_EINVAL);
		assert_non_null(strstr(ufm_last_error(), "sample_info: struct_size"));
		assert_int_equal(theirs.first, 7);
	}
	assert_int_equal(status_check_info(NULL, "sample_info"), UFM_EINVAL);
	assert_string_equal(ufm_last_error(), "sample_info: NULL, expected one to write to");
}

/* ------------------------------------------------------------------ log */

typedef struct seen_log {
	int lines;
	ufm_log_level level;
	char line[2000];
} seen_log;

static void keep_line(void *ctx, ufm_log_level level, const char *line)
{
	seen_log *seen = ctx;

	seen->lines++;
	seen->level = level;
	snprintf(seen->line, sizeof seen->line, "%s", line);
}

/* What a child process that has set no sink, or the NULL sink, leaves on stderr. */
static void child_stderr(int silence, char *text, size_t text_size)
{
	int ends[2], wait_status;
	ssize_t got;
	size_t used = 0;

	assert_int_equal(pipe(ends), 0);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		dup2(ends[1], STDERR_FILENO);
		if (silence)
			ufm_set_log(NULL, NULL);
		log_info("a note");
		log_warn("a %s", "warning");
		_exit(0);
	}
	close(ends[1]);
	while ((got = read(ends[0], text + used, text_size - 1 - used)) > 0)
		used += (size_t)got;
	text[used] = '\0';
	close(ends[0]);
	waitpid(child, &wait_status, 0);
	assert_int_equal(wait_status, 0);
}

/* Runs before any test that sets a sink: there is no way back to the default one. */
static void test_log_default_is_warnings_to_stderr(void **state)
{
	char text[256];

	(void)state;
	child_stderr(0, text, sizeof text);
	assert_string_equal(text, "ufm: warning: a warning\n");
	child_stderr(1, text, sizeof text);
	assert_string_equal(text, "");
}

static void test_log_reaches_the_sink(void **state)
{
	seen_log seen = {0};

	(void)state;
	ufm_set_log(keep_line, &seen);
	log_info("%d tokens", 7);
	assert_int_equal(seen.lines, 1);
	assert_int_equal(seen.level, UFM_LOG_INFO);
	assert_string_equal(seen.line, "7 tokens");
	log_warn("slow");
	assert_int_equal(seen.lines, 2);
	assert_int_equal(seen.level, UFM_LOG_WARN);
	assert_string_equal(seen.line, "slow");
	ufm_set_log(NULL, NULL);
	log_warn("unheard");
	assert_int_equal(seen.lines, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_log_default_is_warnings_to_stderr),
		cmocka_unit_test(test_log_reaches_the_sink),
		cmocka_unit_test(test_every_status_has_its_own_phrase),
		cmocka_unit_test(test_version_is_that_of_the_header),
		cmocka_unit_test(test_dtype_bytes),
		cmocka_unit_test(test_fail_records_and_returns),
		cmocka_unit_test(test_prefix_goes_before),
		cmocka_unit_test(test_last_error_may_be_its_own_argument),
		cmocka_unit_test(test_error_stays_one_line),
		cmocka_unit_test(test_last_error_is_per_thread),
		cmocka_unit_test(test_struct_init),
		cmocka_unit_test(test_read_config_takes_older_structs),
		cmocka_unit_test(test_read_config_null_keeps_defaults),
		cmocka_unit_test(test_read_config_refuses_wrong_sizes),
		cmocka_unit_test(test_read_config_takes_newer_structs_that_ask_for_nothing),
		cmocka_unit_test(test_write_info_writes_what_both_know),
		cmocka_unit_test(test_write_info_refuses_wrong_sizes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* The choice of a backend, and the verdict on every kind of wrong plugin. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "device/registry.h"

static char scratch[] = "/tmp/ufm-registry-XXXXXX";

/* ------------------------------------------------------------------ log and folders */

static struct {
	uint32_t infos, warnings;
	char info[1024], warning[1024];
} logged;

static void remember(void *ctx, ufm_log_level level, const char *line)
{
	(void)ctx;
	if (level == UFM_LOG_WARN) {
		logged.warnings++;
		snprintf(logged.warning, sizeof logged.warning, "%s", line);
	} else {
		logged.infos++;
		snprintf(logged.info, sizeof logged.info, "%s", line);
	}
}

static int set_up(void **state)
{
	(void)state;
	memset(&logged, 0, sizeof logged);
	ufm_set_log(remember, NULL);
	unsetenv("UFM_BACKEND_PATH");
	unsetenv("UFM_TEST_DEVICES");
	return 0;
}

static void assert_contains(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("\"%s\" does not contain \"%s\"", text, part);
}

/* libufm_NAME.so in the scratch folder with the bytes of a plugin, or of a text where `from` is NULL. */
static void place(const char *name, const char *from)
{
	char to_path[PATH_MAX], from_path[PATH_MAX], buffer[65536];
	size_t count = 0;

	snprintf(to_path, sizeof to_path, "%s/libufm_%s.so", scratch, name);
	FILE *to = fopen(to_path, "wb");
	assert_non_null(to);
	if (!from) {
		fputs("not a shared object\n", to);
		fclose(to);
		return;
	}
	snprintf(from_path, sizeof from_path, "%s/libufm_%s.so", UFM_TEST_PLUGIN_DIR, from);
	FILE *source = fopen(from_path, "rb");
	assert_non_null(source);
	while ((count = fread(buffer, 1, sizeof buffer, source)) > 0)
		assert_int_equal(fwrite(buffer, 1, count, to), count);
	fclose(source);
	fclose(to);
}

static void place_pipe(const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/libufm_%s.so", scratch, name);
	assert_int_equal(mkfifo(path, 0600), 0);
}

static void unplace(const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/libufm_%s.so", scratch, name);
	assert_int_equal(unlink(path), 0);
}

/* ------------------------------------------------------------------ choice by name */

static void test_cpu(void **state)
{
	(void)state;
	const ufm_backend *backend = NULL;

	assert_int_equal(registry_find("cpu", &backend), UFM_OK);
	assert_ptr_equal(backend, &cpu_backend);
	assert_int_equal(registry_check(backend, "cpu", "built in"), UFM_OK);
}

static void refuse(const char *name, const char *part)
{
	const ufm_backend *backend = (const ufm_backend *)&logged;

	assert_int_equal(registry_find(name, &backend), UFM_EBACKEND);
	assert_contains(ufm_last_error(), part);
	assert_ptr_equal(backend, &logged);
}

static void test_unknown_names(void **state)
{
	(void)state;
	setenv("UFM_BACKEND_PATH", scratch, 1);
	refuse("nonesuch", "libufm_nonesuch.so not found in");
	refuse("nonesuch", scratch);
	refuse("", "expected auto, cpu or");
	refuse("../cpu", "expected auto, cpu or");
	refuse("a name", "expected auto, cpu or");
}

static void test_wrong_plugins(void **state)
{
	(void)state;
	setenv("UFM_BACKEND_PATH", UFM_TEST_PLUGIN_DIR, 1);
	refuse("badabi", "abi_version is 10, expected 9");
	refuse("small", "struct_size is");
	refuse("small", "expected at least");
	refuse("nosymbol", "no symbol ufm_backend_entry");
	refuse("nullfn", "function combine is NULL");
	refuse("good", "no device");
	setenv("UFM_TEST_DEVICES", "-1", 1);
	refuse("good", "no device: the driver said no");
	setenv("UFM_TEST_SILENT", "1", 1);
	refuse("good", "no device: it gave no reason");
	unsetenv("UFM_TEST_SILENT");

	setenv("UFM_BACKEND_PATH", scratch, 1);
	place("text", NULL);
	refuse("text", "cannot be loaded");
	unplace("text");
	place_pipe("pipe");
	refuse("pipe", "libufm_pipe.so: is not a regular file");
	unplace("pipe");
	place("other", "good");
	refuse("other", "name is \"good\", expected \"other\"");
	unplace("other");
}

static void test_missing_table(void **state)
{
	(void)state;
	assert_int_equal(registry_check(NULL, "x", "some path"), UFM_EBACKEND);
	assert_contains(ufm_last_error(), "some path: ufm_backend_entry gave no table");
	ufm_backend nameless = cpu_backend;
	nameless.name = NULL;
	assert_int_equal(registry_check(&nameless, "x", "some path"), UFM_EBACKEND);
	assert_contains(ufm_last_error(), "name is \"\"");
}

/* A table of before ends where the optional functions begin. */
static void test_peak_is_optional(void **state)
{
	(void)state;
	ufm_peak peak = {.gflops = -1};
	ufm_backend older = cpu_backend;

	older.struct_size = offsetof(ufm_backend, peak);
	assert_int_equal(registry_check(&older, "cpu", "some path"), UFM_OK);
	assert_int_equal(registry_peak(&older, NULL, UFM_F32, UFM_MATH_FP32, &peak), UFM_EUNSUPPORTED);
	assert_contains(ufm_last_error(), "backend cpu does not say");
	older.struct_size = sizeof older;
	older.peak = NULL;
	assert_int_equal(registry_check(&older, "cpu", "some path"), UFM_OK);
	assert_int_equal(registry_peak(&older, NULL, UFM_F32, UFM_MATH_FP32, &peak), UFM_EUNSUPPORTED);
	assert_true(peak.gflops == -1);
}

static void test_good_plugin(void **state)
{
	(void)state;
	const ufm_backend *backend = NULL, *again = NULL;

	/* Empty, missing and over-long entries do no harm. */
	char path[2 * PATH_MAX + 100];
	memset(path, 'x', sizeof path);
	snprintf(path + PATH_MAX + 10, 1000, "::/nonexistent folder:%s::", UFM_TEST_PLUGIN_DIR);
	setenv("UFM_BACKEND_PATH", path, 1);
	setenv("UFM_TEST_DEVICES", "2", 1);
	assert_int_equal(registry_find("good", &backend), UFM_OK);
	assert_string_equal(backend->name, "good");
	assert_int_equal(registry_find("good", &again), UFM_OK);
	assert_ptr_equal(backend, again);
}

/* The first file decides, even when a later one would do. */
static void test_first_file_decides(void **state)
{
	(void)state;
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s:%s", scratch, UFM_TEST_PLUGIN_DIR);
	setenv("UFM_BACKEND_PATH", path, 1);
	setenv("UFM_TEST_DEVICES", "1", 1);
	place("good", NULL);
	refuse("good", "cannot be loaded");
	unplace("good");
}

/* ------------------------------------------------------------------ auto */

/* The machine that runs this may have a CUDA plugin beside the executable. */
static bool cuda_is_here(void)
{
	const ufm_backend *backend;

	return registry_find("cuda", &backend) == UFM_OK;
}

static void test_auto_without_plugins(void **state)
{
	(void)state;
	const ufm_backend *backend = NULL;

	if (cuda_is_here()) {
		print_message("a cuda backend is here: auto takes it\n");
		skip();
	}
	setenv("UFM_BACKEND_PATH", ":/nonexistent folder:", 1);
	assert_int_equal(registry_find("auto", &backend), UFM_OK);
	assert_ptr_equal(backend, &cpu_backend);
	assert_int_equal(logged.infos, 1);
	assert_contains(logged.info, "backend cpu; ");
	assert_contains(logged.info, "cuda");
	assert_int_equal(logged.warnings, 0);
	backend = NULL;
	assert_int_equal(registry_find(NULL, &backend), UFM_OK);
	assert_ptr_equal(backend, &cpu_backend);
}

static void test_auto_warns_of_wrong_plugins(void **state)
{
	(void)state;
	const ufm_backend *backend = NULL;

	if (cuda_is_here()) {
		print_message("a cuda backend is here: auto takes it\n");
		skip();
	}
	/* Wrong ones: badabi, nosymbol, nullfn, small. The good one counts no device: no warning. */
	setenv("UFM_BACKEND_PATH", UFM_TEST_PLUGIN_DIR, 1);
	assert_int_equal(registry_find("auto", &backend), UFM_OK);
	assert_ptr_equal(backend, &cpu_backend);
	assert_int_equal(logged.warnings, 4);
	assert_int_equal(logged.infos, 1);

	memset(&logged, 0, sizeof logged);
	setenv("UFM_BACKEND_PATH", scratch, 1);
	place("cuda", "good");
	assert_int_equal(registry_find("auto", &backend), UFM_OK);
	unplace("cuda");
	assert_ptr_equal(backend, &cpu_backend);
	assert_int_equal(logged.warnings, 1);
	assert_contains(logged.warning, "name is \"good\", expected \"cuda\"");
}

static void test_auto_takes_a_plugin_of_the_path(void **state)
{
	(void)state;
	const ufm_backend *backend = NULL;

	if (cuda_is_here()) {
		print_message("a cuda backend is here: auto takes it\n");
		skip();
	}
	setenv("UFM_BACKEND_PATH", UFM_TEST_PLUGIN_DIR, 1);
	setenv("UFM_TEST_DEVICES", "1", 1);
	assert_int_equal(registry_find("auto", &backend), UFM_OK);
	assert_string_equal(backend->name, "good");
	assert_int_equal(logged.infos, 0);
}

/* ------------------------------------------------------------------ listing */

typedef struct listing {
	uint32_t lines;
	char text[16384];
} listing;

static void note(void *ctx, const char *name, const char *path, const char *verdict)
{
	listing *l = ctx;
	size_t used = strlen(l->text);

	l->lines++;
	snprintf(l->text + used, sizeof l->text - used, "[%s|%s|%s]", name, path, verdict);
}

static void test_list(void **state)
{
	(void)state;
	static listing l;
	char path[PATH_MAX * 2], part[PATH_MAX + 100], folder[PATH_MAX];

	/* The same folder twice is listed once. */
	snprintf(path, sizeof path, "%s:%s/.:%s", UFM_TEST_PLUGIN_DIR, UFM_TEST_PLUGIN_DIR, scratch);
	setenv("UFM_BACKEND_PATH", path, 1);
	setenv("UFM_TEST_DEVICES", "1", 1);
	place("text", NULL);
	registry_list(note, &l);
	unplace("text");
	assert_non_null(realpath(UFM_TEST_PLUGIN_DIR, folder));
	assert_contains(l.text, "[cpu|built in|ok]");
	assert_contains(l.text, "[cuda|");
	snprintf(part, sizeof part, "[good|%s/libufm_good.so|ok]", folder);
	assert_contains(l.text, part);
	assert_null(strstr(strstr(l.text, part) + 1, "[good|"));
	snprintf(part, sizeof part, "[badabi|%s/libufm_badabi.so|abi_version is 10, expected 9]",
	         folder);
	assert_contains(l.text, part);
	assert_contains(l.text, "no symbol ufm_backend_entry");
	assert_contains(l.text, "cannot be loaded");
	assert_true(l.lines >= 8);
}

static int remove_scratch(void **state)
{
	(void)state;
	return rmdir(scratch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_cpu, set_up),
		cmocka_unit_test_setup(test_unknown_names, set_up),
		cmocka_unit_test_setup(test_wrong_plugins, set_up),
		cmocka_unit_test_setup(test_missing_table, set_up),
		cmocka_unit_test_setup(test_peak_is_optional, set_up),
		cmocka_unit_test_setup(test_good_plugin, set_up),
		cmocka_unit_test_setup(test_first_file_decides, set_up),
		cmocka_unit_test_setup(test_auto_without_plugins, set_up),
		cmocka_unit_test_setup(test_auto_warns_of_wrong_plugins, set_up),
		cmocka_unit_test_setup(test_auto_takes_a_plugin_of_the_path, set_up),
		cmocka_unit_test_setup(test_list, set_up),
	};

	if (!mkdtemp(scratch)) {
		perror(scratch);
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, remove_scratch);
}

/* SPDX-License-Identifier: MIT */
/* Paths: folders of what is there and of what is not, and names in them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/path.h"
#include "support/checkpoint_file.h"

static void assert_folder(const char *path, const char *expected)
{
	char *folder = path_folder(path);

	assert_non_null(folder);
	assert_string_equal(folder, expected);
	alloc_free(folder);
}

static void assert_joined(const char *folder, const char *name, const char *expected)
{
	char *path = path_join(folder, name);

	assert_non_null(path);
	assert_string_equal(path, expected);
	alloc_free(path);
}

static void test_folders(void **state)
{
	char path[96];

	(void)state;
	assert_folder("/", "/");
	assert_folder(".", ".");
	assert_folder("/none", "/");
	assert_folder("none", ".");
	assert_folder("", ".");
	assert_folder("none/a/b", "none/a");
	assert_folder("none/", "none");
	assert_folder("/none//b", "/none/");
	assert_folder(case_folder, case_folder);
	checkpoint_text_write(case_folder, "file", "");
	snprintf(path, sizeof path, "%s/file", case_folder);
	assert_folder(path, case_folder);
	/* a link to a folder leads to it */
	snprintf(path, sizeof path, "%s/link", case_folder);
	assert_int_equal(symlink("/", path), 0);
	assert_folder(path, path);
	assert_int_equal(unlink(path), 0);
}

static void test_names(void **state)
{
	(void)state;
	assert_joined("a", "b", "a/b");
	assert_joined("a/", "b", "a/b");
	assert_joined("/", "b", "/b");
	assert_joined(".", "", "./");
}

static bool refuse(void *ctx, size_t size_bytes)
{
	(void)ctx;
	(void)size_bytes;
	return false;
}

static void test_without_memory(void **state)
{
	(void)state;
	alloc_set_hook(refuse, NULL);
	assert_null(path_folder("/"));
	assert_null(path_folder("none"));
	assert_null(path_folder("none/a"));
	assert_null(path_join("a", "b"));
	alloc_set_hook(NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_folders, case_folder_make, case_folder_remove),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_without_memory),
	};

	return cmocka_run_group_tests_name("path", tests, NULL, NULL);
}

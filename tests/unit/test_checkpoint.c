/* SPDX-License-Identifier: MIT */
/* Opening checkpoints: what a path may be, and how index and shards must agree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bf16.h"
#include "base/f16.h"
#include "checkpoint/checkpoint.h"
#include "store/store.h"
#include "support/assert_error.h"
#include "support/checkpoint_file.h"

static char *path_of(const char *name)
{
	static char path[192];

	snprintf(path, sizeof path, "%s/%s", case_folder, name);
	return path;
}

static void write_tensor(const char *file, const char *tensor)
{
	test_tensor t = {.name = tensor, .dtype = "F32", .rank = 1, .shape = {2}};

	checkpoint_file_write(case_folder, file, &t, 1, 1);
}

static void assert_opens(const char *path, uint32_t tensors, uint32_t files)
{
	checkpoint *c;
	ufm_status status = checkpoint_open(path, &c);

	if (status)
		fail_msg("%s", ufm_last_error());
	assert_int_equal(checkpoint_tensor_count(c), tensors);
	assert_int_equal(checkpoint_file_count(c), files);
	checkpoint_close(c);
}

static void assert_refused(const char *path, ufm_status expected, const char *text)
{
	checkpoint *c;

	assert_error(checkpoint_open(path, &c), expected, text);
}

static void test_tensors_are_found(void **state)
{
	test_tensor tensors[] = {
		{.name = "z", .dtype = "F16", .rank = 2, .shape = {3, 5}},
		{.name = "a.b", .dtype = "I64"},
		{.name = "a", .dtype = "BF16", .rank = 3, .shape = {2, 0, 7}},
		{.name = "\\u00e9", .dtype = "U8", .rank = 1, .shape = {1}},
	};
	const char *const sorted[] = {"a", "a.b", "z", "\xc3\xa9"};
	const checkpoint_tensor *t;
	checkpoint *c;

	(void)state;
	checkpoint_file_write(case_folder, "x.safetensors", tensors, 4, 1);
	assert_int_equal(checkpoint_open(path_of("x.safetensors"), &c), UFM_OK);
	for (uint32_t i = 0; i < 4; i++) {
		assert_string_equal(checkpoint_tensor_at(c, i)->name, sorted[i]);
		assert_ptr_equal(checkpoint_find(c, sorted[i]), checkpoint_tensor_at(c, i));
	}
	t = checkpoint_find(c, "z");
	assert_int_equal(t->dtype, CHECKPOINT_F16);
	assert_int_equal(t->file_offset_bytes, tensors[0].offset_bytes);
	assert_int_equal(t->size_bytes, 30);
	assert_null(checkpoint_find(c, "b"));
	assert_null(checkpoint_find(c, ""));
	assert_null(checkpoint_config_path(c));
	assert_string_equal(checkpoint_file_path(c, 0), path_of("x.safetensors"));
	checkpoint_close(c);
}

static void test_folders(void **state)
{
	(void)state;
	assert_refused(case_folder, UFM_EFILE,
	               "holds 0 .safetensors files, expected model.safetensors");
	write_tensor("any.safetensors", "a");
	assert_opens(case_folder, 1, 1);
	write_tensor("other.safetensors", "a");
	assert_refused(case_folder, UFM_EFILE, "holds 2 .safetensors files");
	write_tensor("model.safetensors", "a");
	assert_opens(case_folder, 1, 1);
	checkpoint_text_write(case_folder, "model.safetensors.index.json",
	                      "{\"weight_map\":{\"a\":\"any.safetensors\"}}");
	assert_refused(
		case_folder, UFM_EFILE,
		"holds both model.safetensors and model.safetensors.index.json, which does not name it");
	checkpoint_text_write(case_folder, "model.safetensors.index.json", "{\"weight_map\":[]}");
	assert_refused(case_folder, UFM_EFORMAT, "model.safetensors.index.json: ");
	checkpoint_text_write(case_folder, "model.safetensors.index.json",
	                      "{\"weight_map\":{\"a\":\"model.safetensors\"}}");
	assert_opens(case_folder, 1, 1);
	checkpoint_text_write(case_folder, "model.safetensors.index.json",
	                      "{\"weight_map\":{\"a\":\"any.safetensors\"}}");
	assert_int_equal(unlink(path_of("model.safetensors")), 0);
	assert_opens(case_folder, 1, 1);
}

static void test_config_is_found(void **state)
{
	checkpoint *c;

	(void)state;
	write_tensor("model.safetensors", "a");
	checkpoint_text_write(case_folder, "config.json", "{}");
	assert_int_equal(checkpoint_open(case_folder, &c), UFM_OK);
	assert_string_equal(checkpoint_config_path(c), path_of("config.json"));
	checkpoint_close(c);
	assert_int_equal(unlink(path_of("config.json")), 0);
	assert_int_equal(symlink("gone", path_of("config.json")), 0);
	assert_refused(case_folder, UFM_EFILE, "config.json: is a link to nothing");
}

static void test_paths(void **state)
{
	char here[512], slash[80];

	(void)state;
	assert_refused(NULL, UFM_EINVAL, "path is empty");
	assert_refused("", UFM_EINVAL, "path is empty");
	assert_refused(path_of("none"), UFM_EFILE, "cannot be opened: No such file");
	write_tensor("model.safetensors", "a");
	snprintf(slash, sizeof slash, "%s/", case_folder);
	assert_opens(slash, 1, 1);
	assert_non_null(getcwd(here, sizeof here));
	assert_int_equal(chdir(case_folder), 0);
	assert_opens("model.safetensors", 1, 1);
	assert_opens(".", 1, 1);
	assert_int_equal(chdir(here), 0);
	/* a pipe that nobody writes to must not hang */
	assert_int_equal(mkfifo(path_of("pipe.safetensors"), 0600), 0);
	assert_refused(path_of("pipe.safetensors"), UFM_EFILE, "is not a regular file");
}

static void test_files_that_are_none(void **state)
{
	(void)state;
	checkpoint_text_write(case_folder, "x.safetensors", "");
	assert_refused(path_of("x.safetensors"), UFM_EFORMAT, "x.safetensors: holds 0 bytes");
	checkpoint_text_write(case_folder, "x.safetensors", "<!DOCTYPE html><html></html>");
	assert_refused(path_of("x.safetensors"), UFM_EFORMAT, "not a safetensors file");
	checkpoint_text_write(case_folder, "x.json", "");
	assert_refused(path_of("x.json"), UFM_EFORMAT, "x.json: byte 0: the text ends");
}

static void test_shards(void **state)
{
	checkpoint *c;

	(void)state;
	write_tensor("s1.safetensors", "b");
	write_tensor("s2.safetensors", "a");
	checkpoint_text_write(
		case_folder, "x.safetensors.index.json",
		"{\"metadata\":{\"total_size\":16},\"weight_map\":{\"a\":\"s2.safetensors\","
		"\"b\":\"s1.safetensors\"}}");
	assert_int_equal(checkpoint_open(path_of("x.safetensors.index.json"), &c), UFM_OK);
	assert_int_equal(checkpoint_file_count(c), 2);
	assert_string_equal(checkpoint_file_path(c, checkpoint_find(c, "a")->file),
	                    path_of("s2.safetensors"));
	assert_string_equal(checkpoint_file_path(c, checkpoint_find(c, "b")->file),
	                    path_of("s1.safetensors"));
	assert_true(checkpoint_file_bytes(c, 1) > 16);
	checkpoint_close(c);
}

static void test_index_rules_are_named(void **state)
{
	static const struct {
		const char *rule, *index;
		ufm_status status;
		const char *line;
	} cases[] = {
		{"an object", "[]", UFM_EFORMAT, "byte 0: found '[', expected an object"},
		{"a weight_map", "{\"metadata\":{}}", UFM_EFORMAT, "weight_map is missing"},
		{"weight_map once", "{\"weight_map\":{},\"weight_map\":{}}", UFM_EFORMAT,
	     "the key \"weight_map\" stands twice in one object"},
		{"weight_map is an object", "{\"weight_map\":[]}", UFM_EFORMAT,
	     "byte 14: found '[', expected an object"},
		{"names are strings", "{\"weight_map\":{\"a\":1}}", UFM_EFORMAT, "expected a string"},
		{"tensors once", "{\"weight_map\":{\"a\":\"s1\",\"a\":\"s2\"}}", UFM_EFORMAT,
	     "the key \"a\" stands twice in one object"},
		{"nesting is bounded",
	     "{\"m\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}", UFM_EFORMAT,
	     "nested deeper than 32 levels"},
		{"plain file names: no folder", "{\"weight_map\":{\"a\":\"x/s1.safetensors\"}}",
	     UFM_EFORMAT, "tensor \"a\": \"x/s1.safetensors\" is not a plain file name"},
		{"plain file names: not absolute", "{\"weight_map\":{\"a\":\"/etc/passwd\"}}", UFM_EFORMAT,
	     "\"/etc/passwd\" is not a plain file name"},
		{"plain file names: not above", "{\"weight_map\":{\"a\":\"..\"}}", UFM_EFORMAT,
	     "\"..\" is not a plain file name"},
		{"plain file names: not here", "{\"weight_map\":{\"a\":\".\"}}", UFM_EFORMAT,
	     "\".\" is not a plain file name"},
		{"plain file names: not empty", "{\"weight_map\":{\"a\":\"\"}}", UFM_EFORMAT,
	     "\"\" is not a plain file name"},
		{"files are there", "{\"weight_map\":{\"a\":\"none.safetensors\"}}", UFM_EFILE,
	     "none.safetensors: cannot be opened"},
		{"tensors are in their file",
	     "{\"weight_map\":{\"a\":\"s1.safetensors\",\"c\":\"s1.safetensors\"}}", UFM_EFORMAT,
	     "tensor \"c\": is in the index, but not in s1.safetensors"},
		{"tensors are in the index", "{\"weight_map\":{\"b\":\"s2.safetensors\"}}", UFM_EFORMAT,
	     "tensor \"a\": is in s2.safetensors, but not in the index"},
		{"the last tensor is in the index", "{\"weight_map\":{\"a\":\"s2.safetensors\"}}",
	     UFM_EFORMAT, "tensor \"b\": is in s2.safetensors, but not in the index"},
		{"tensors are in the file that is said",
	     "{\"weight_map\":{\"a\":\"s1.safetensors\",\"c\":\"s1.safetensors\",\"d\":"
	     "\"s3.safetensors\"}}",
	     UFM_EFORMAT, "tensor \"c\": is in s3.safetensors, the index says s1.safetensors"},
		{"tensors once in all files",
	     "{\"weight_map\":{\"a\":\"s1.safetensors\",\"b\":\"s2.safetensors\"}}", UFM_EFORMAT,
	     "s2.safetensors: tensor \"a\" is also in "},
	};
	test_tensor two[] = {{.name = "a", .dtype = "U8"}, {.name = "b", .dtype = "U8"}};
	test_tensor other[] = {{.name = "c", .dtype = "U8"}, {.name = "d", .dtype = "U8"}};

	(void)state;
	write_tensor("s1.safetensors", "a");
	checkpoint_file_write(case_folder, "s2.safetensors", two, 2, 1);
	checkpoint_file_write(case_folder, "s3.safetensors", other, 2, 1);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		print_message("rule: %s\n", cases[i].rule);
		checkpoint_text_write(case_folder, "x.json", cases[i].index);
		assert_refused(path_of("x.json"), cases[i].status, cases[i].line);
	}
}

/* Longer than one piece of the conversion, and not a multiple of it. */
static void test_tensors_are_read(void **state)
{
	enum { COUNT = 3 * 16384 + 5 };
	test_tensor tensors[] = {
		{.name = "f", .dtype = "F32", .rank = 1, .shape = {COUNT}},
		{.name = "b", .dtype = "BF16", .rank = 2, .shape = {1, COUNT}},
		{.name = "h", .dtype = "F16", .rank = 1, .shape = {COUNT}},
		{.name = "i", .dtype = "I32", .rank = 1, .shape = {1}},
		{.name = "none", .dtype = "F16", .rank = 1, .shape = {0}},
	};
	float *out = malloc(COUNT * sizeof *out), *full = malloc(COUNT * sizeof *full);
	uint16_t *half = malloc(COUNT * sizeof *half);
	checkpoint *c;

	(void)state;
	assert_true(out && full && half);
	checkpoint_file_write(case_folder, "m.safetensors", tensors, 5, 5);
	assert_int_equal(checkpoint_open(case_folder, &c), UFM_OK);
	assert_int_equal(store_read_tensor(c, checkpoint_find(c, "f"), out), UFM_OK);
	checkpoint_file_read(case_folder, "m.safetensors", tensors[0].offset_bytes, full,
	                     COUNT * sizeof *full);
	assert_memory_equal(out, full, COUNT * sizeof *out);
	for (int k = 1; k < 3; k++) {
		assert_int_equal(store_read_tensor(c, checkpoint_find(c, tensors[k].name), out), UFM_OK);
		checkpoint_file_read(case_folder, "m.safetensors", tensors[k].offset_bytes, half,
		                     COUNT * sizeof *half);
		for (int i = 0; i < COUNT; i++)
			full[i] = k == 1 ? bf16_to_f32(half[i]) : f16_to_f32(half[i]);
		assert_memory_equal(out, full, COUNT * sizeof *out);
	}
	assert_int_equal(store_read_tensor(c, checkpoint_find(c, "none"), out), UFM_OK);
	assert_error(store_read_tensor(c, checkpoint_find(c, "i"), out), UFM_EFORMAT,
	             "tensor \"i\": dtype is I32, expected F32, BF16 or F16");
	assert_int_equal(truncate(path_of("m.safetensors"), 1000), 0);
	assert_error(store_read_tensor(c, checkpoint_find(c, "f"), out), UFM_EFILE,
	             "tensor \"f\": the file ends at byte 1000");
	checkpoint_close(c);
	free(out);
	free(full);
	free(half);
}

int main(void)
{
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, case_folder_make, case_folder_remove)
	const struct CMUnitTest tests[] = {
		IN_FOLDER(test_tensors_are_found),     IN_FOLDER(test_folders),
		IN_FOLDER(test_config_is_found),       IN_FOLDER(test_paths),
		IN_FOLDER(test_files_that_are_none),   IN_FOLDER(test_shards),
		IN_FOLDER(test_index_rules_are_named), IN_FOLDER(test_tensors_are_read),
	};

	return cmocka_run_group_tests_name("checkpoint", tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Recorded routing as a file: what is in it, and when there is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/npy.h"
#include "support/routings.h"
#include "telemetry/routing_file.h"

static ufm_status write_tokens(const char *path, uint32_t tokens, uint32_t sequences,
                               uint32_t experts)
{
	routing *r = open_rings(2, experts, 3, 20);
	for (uint32_t layer = 0; layer < 2; layer++)
		add(r, layer, 0, tokens, 3, experts);
	routing_table t = copy(r, sequences);
	ufm_status status = routing_file_write(path, &t);
	routing_table_close(&t);
	routing_close(r);
	return status;
}

static void a_jsonl_file_has_an_object_a_token_and_layer(void **state)
{
	(void)state;
	folder d = open_folder("t.jsonl");
	assert_int_equal(write_tokens(d.path, 2, 1, 100), UFM_OK);
	assert_string_equal(read_text(d.path), "{\"layer\":0,\"token\":0,\"experts\":[0,1,2]}\n"
	                                       "{\"layer\":1,\"token\":0,\"experts\":[3,4,5]}\n"
	                                       "{\"layer\":0,\"token\":1,\"experts\":[7,8,9]}\n"
	                                       "{\"layer\":1,\"token\":1,\"experts\":[10,11,12]}\n");
	assert_int_equal(write_tokens(d.path, 4, 2, 1000), UFM_OK); /* replaces it */
	assert_string_equal(read_text(d.path),
	                    "{\"layer\":0,\"token\":0,\"sequence\":0,\"experts\":[0,1,2]}\n"
	                    "{\"layer\":1,\"token\":0,\"sequence\":0,\"experts\":[3,4,5]}\n"
	                    "{\"layer\":0,\"token\":1,\"sequence\":0,\"experts\":[14,15,16]}\n"
	                    "{\"layer\":1,\"token\":1,\"sequence\":0,\"experts\":[17,18,19]}\n"
	                    "{\"layer\":0,\"token\":0,\"sequence\":1,\"experts\":[7,8,9]}\n"
	                    "{\"layer\":1,\"token\":0,\"sequence\":1,\"experts\":[10,11,12]}\n"
	                    "{\"layer\":0,\"token\":1,\"sequence\":1,\"experts\":[21,22,23]}\n"
	                    "{\"layer\":1,\"token\":1,\"sequence\":1,\"experts\":[24,25,26]}\n");
	close_folder(&d);
}

static void an_npy_file_is_as_wide_as_the_experts_need(void **state)
{
	(void)state;
	static const uint32_t experts[] = {100, 256, 257, 65535};
	for (uint32_t i = 0; i < 4; i++) {
		folder d = open_folder("t.npy");
		npy_array a;
		assert_int_equal(write_tokens(d.path, 20, 1, experts[i]), UFM_OK);
		assert_int_equal(npy_open(d.path, &a), UFM_OK);
		assert_int_equal(a.type, experts[i] <= 256 ? NPY_U8 : NPY_U16);
		assert_int_equal(a.dims, 3);
		assert_int_equal(a.shape[0], 20);
		assert_int_equal(a.shape[1], 2);
		assert_int_equal(a.shape[2], 3);
		for (uint32_t j = 0; j < 120; j++) {
			int32_t want = id_of(j / 3 % 2, j / 6, j % 3, experts[i]);
			int32_t found =
				a.type == NPY_U8 ? ((const uint8_t *)a.data)[j] : ((const uint16_t *)a.data)[j];
			assert_int_equal(found, want);
		}
		npy_close(&a);
		close_folder(&d);
	}
}

/* The same top-k everywhere, but less than the ring has room for. */
static void an_npy_file_has_the_ranks_that_were_used(void **state)
{
	(void)state;
	folder d = open_folder("t.npy");
	npy_array a;
	routing *r = open_rings(1, 300, 5, 4);
	routing_add(r, 0, (const int32_t[]){299, 1, 2, 298}, 2, 2);
	routing_table t = copy(r, 1);
	assert_int_equal(routing_file_write(d.path, &t), UFM_OK);
	assert_int_equal(npy_open(d.path, &a), UFM_OK);
	assert_int_equal(a.shape[2], 2);
	assert_memory_equal(a.data, ((const uint16_t[]){299, 1, 2, 298}), 8);
	npy_close(&a);
	routing_table_close(&t);
	routing_close(r);
	close_folder(&d);
}

static void expect_ragged(routing *r, const char *line)
{
	folder d = open_folder("t.npy");
	routing_table t = copy(r, 1);
	assert_int_equal(routing_file_write(d.path, &t), UFM_EINVAL);
	assert_says(line);
	assert_says(".jsonl");
	assert_int_equal(access(d.path, F_OK), -1);
	close_folder(&d);
	d = open_folder("t.jsonl");
	assert_int_equal(routing_file_write(d.path, &t), UFM_OK);
	close_folder(&d);
	routing_table_close(&t);
	routing_close(r);
}

static void an_npy_file_cannot_be_ragged(void **state)
{
	(void)state;
	routing *r = open_rings(1, 9, 3, 4);
	routing_add(r, 0, (const int32_t[]){1, 2, 3, 4, -1, 6}, 2, 3);
	expect_ragged(r, "token 1 of layer 0 has 2 experts, expected 3");
	r = open_rings(1, 9, 3, 4);
	routing_add(r, 0, (const int32_t[]){9, 9, 9}, 1, 3);
	expect_ragged(r, "token 0 of layer 0 has 0 experts, expected 1");
	r = open_rings(2, 9, 3, 4); /* the other layer was never called */
	routing_add(r, 0, (const int32_t[]){1, 2, 3}, 1, 3);
	expect_ragged(r, "token 0 of layer 1 has 0 experts, expected 3");
	r = open_rings(2, 9, 3, 4); /* layers of different top-k */
	routing_add(r, 0, (const int32_t[]){1, 2, 3}, 1, 3);
	routing_add(r, 1, (const int32_t[]){1, 2}, 1, 2);
	expect_ragged(r, "token 0 of layer 1 has 2 experts, expected 3");
}

static void a_table_of_nothing_is_not_written(void **state)
{
	(void)state;
	folder d = open_folder("t.jsonl");
	assert_int_equal(write_tokens(d.path, 0, 1, 9), UFM_EINVAL);
	assert_says("no token");
	assert_int_equal(access(d.path, F_OK), -1);
	close_folder(&d);
}

static void names_and_paths_that_cannot_be(void **state)
{
	(void)state;
	static const char *const names[] = {"t", "t.json", "t.jsonl ", ".npy", "", "t.npy.gz", "jsonl"};
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		assert_int_equal(routing_file_check_name(names[i]), UFM_EINVAL);
		assert_says(".jsonl or .npy");
	}
	assert_int_equal(write_tokens("/nowhere/t.npy", 1, 1, 9), UFM_EFILE);
	assert_says("/nowhere/t.npy");
	folder d = open_folder("t.npy");
	assert_int_equal(mkdir(d.path, 0700), 0);
	assert_int_equal(write_tokens(d.path, 1, 1, 9), UFM_EFILE);
	assert_says("is not a regular file");
	rmdir(d.path);
	close_folder(&d);
}

/* A file limit stands for a full disk: the older file stays, and nothing else. */
static void a_full_disk_keeps_what_was_there(void **state)
{
	(void)state;
	static const char *const names[] = {"t.npy", "t.jsonl"};
	for (uint32_t i = 0; i < 2; i++) {
		folder d = open_folder(names[i]);
		int fd = open(d.path, O_WRONLY | O_CREAT, 0600);
		assert_true(write(fd, "older", 5) == 5);
		close(fd);
		struct rlimit before, small;
		assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
		small = (struct rlimit){.rlim_cur = 20, .rlim_max = before.rlim_max};
		signal(SIGXFSZ, SIG_IGN);
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
		ufm_status status = write_tokens(d.path, 5, 1, 9);
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
		assert_int_equal(status, UFM_EFILE);
		assert_says(names[i]);
		assert_string_equal(read_text(d.path), "older");
		close_folder(&d);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_jsonl_file_has_an_object_a_token_and_layer),
		cmocka_unit_test(an_npy_file_is_as_wide_as_the_experts_need),
		cmocka_unit_test(an_npy_file_has_the_ranks_that_were_used),
		cmocka_unit_test(an_npy_file_cannot_be_ragged),
		cmocka_unit_test(a_table_of_nothing_is_not_written),
		cmocka_unit_test(names_and_paths_that_cannot_be),
		cmocka_unit_test(a_full_disk_keeps_what_was_there),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

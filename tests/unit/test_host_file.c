/* SPDX-License-Identifier: MIT */
/* A host tier that is filled from a file: any number of threads, blocks small and large, failures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bank/bank.h"
#include "pager/host.h"
#include "store/direct_int.h"
#include "support/assert_error.h"

#define PATH "/var/tmp/ufm_test_host_file.%d"

static char path[80];

static ufm_bank *make(uint32_t experts, uint32_t d_model, uint32_t d_hidden)
{
	ufm_bank_synthetic_config config;
	ufm_expert_desc desc = {.struct_size = sizeof desc};
	ufm_bank *bank, *file;

	UFM_STRUCT_INIT(&config);
	config.desc = &desc;
	config.experts = experts;
	config.seed = 3;
	assert_int_equal(ufm_expert_desc_init(&desc, UFM_EXPERT_MLP, d_model, d_hidden, UFM_F32),
	                 UFM_OK);
	assert_int_equal(ufm_bank_synthetic(&config, &bank), UFM_OK);
	snprintf(path, sizeof path, PATH, (int)getpid());
	assert_int_equal(ufm_bank_save(bank, path), UFM_OK);
	ufm_bank_close(bank);
	assert_int_equal(ufm_bank_open(path, &file), UFM_OK);
	return file;
}

static void cool(void)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fsync(fd), 0);
	assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	close(fd);
}

/* 0 threads: the default, which for a file may be more than there are blocks. */
static void check(ufm_bank *bank, uint32_t threads)
{
	const ufm_expert_desc *desc = bank_desc(bank);
	uint8_t *expected = malloc(desc->expert_bytes);
	ufm_host_config config;
	ufm_host *host;

	assert_non_null(expected);
	UFM_STRUCT_INIT(&config);
	config.backend = "cpu";
	config.fill_threads = threads;
	config.pageable = 1;
	cool();
	assert_int_equal(ufm_host_open(bank, &config, &host), UFM_OK);
	for (uint32_t key = 0; key < bank_key_count(bank); key++) {
		assert_int_equal(ufm_bank_read(bank, 0, key, expected), UFM_OK);
		assert_int_equal(memcmp(host_block(host, key), expected, desc->expert_bytes), 0);
	}
	ufm_host_close(host);
	free(expected);
}

static void every_block_arrives(void **state)
{
	/* payloads: 8 bytes; just below and at what is read past the cache; several pieces and a rest */
	static const uint32_t shapes[][3] = {{1, 1, 1},     {9, 1, 1},       {3, 181, 181},
	                                     {5, 256, 128}, {2, 2048, 1025}, {1, 1500, 1501}};

	(void)state;
	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
		ufm_bank *bank = make(shapes[i][0], shapes[i][1], shapes[i][2]);

		check(bank, 0);
		check(bank, 1);
		check(bank, 3);
		ufm_bank_close(bank);
		assert_int_equal(unlink(path), 0);
	}
}

/* The line is that of a read through the cache, whichever path met the end. */
static void a_file_that_ends_inside_a_block(void **state)
{
	ufm_bank *bank = make(2, 1024, 256);
	uint64_t block_bytes = bank_desc(bank)->block_bytes;
	ufm_host_config config;
	ufm_host *host;
	char line[64];

	(void)state;
	assert_true(block_bytes > 4 * DIRECT_BYTES_MIN);
	UFM_STRUCT_INIT(&config);
	config.backend = "cpu";
	config.pageable = 1;
	for (uint64_t cut = 1; cut <= 8192; cut += 4095) {
		uint64_t end = 4096 + 2 * block_bytes - cut;

		assert_int_equal(truncate(path, (off_t)end), 0);
		cool();
		snprintf(line, sizeof line, "at byte %llu: the file ends here", (unsigned long long)end);
		assert_error(ufm_host_open(bank, &config, &host), UFM_EEXPERT_IO, line);
		assert_non_null(strstr(ufm_last_error(), "layer 0 expert 1: "));
		assert_non_null(strstr(ufm_last_error(), path));
	}
	assert_int_equal(unlink(path), 0);
	assert_error(ufm_host_open(bank, &config, &host), UFM_EFILE, "cannot be opened");
	ufm_bank_close(bank);
}

static void filters_work(void **state)
{
	ufm_bank *bank = make(9, 256, 256);
	ufm_host_config config;
	ufm_host *host;

	(void)state;
	UFM_STRUCT_INIT(&config);
	config.backend = "cpu";
	config.pageable = 1;
	config.debug = &(ufm_host_debug){.struct_size = sizeof(ufm_host_debug),
	                                 .store_filter = "delay:ns=1000+fault:layer=0,expert=8"};
	assert_error(ufm_host_open(bank, &config, &host), UFM_EEXPERT_IO, "layer 0 expert 8");
	config.debug =
		&(ufm_host_debug){.struct_size = sizeof(ufm_host_debug), .store_filter = "delay:ns=1000"};
	assert_int_equal(ufm_host_open(bank, &config, &host), UFM_OK);
	ufm_host_close(host);
	ufm_bank_close(bank);
	assert_int_equal(unlink(path), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_block_arrives),
		cmocka_unit_test(a_file_that_ends_inside_a_block),
		cmocka_unit_test(filters_work),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

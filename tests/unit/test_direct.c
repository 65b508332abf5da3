/* SPDX-License-Identifier: MIT */
/* Reading past the page cache: every size and alignment gives the file's bytes, cached or not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "store/direct_int.h"
#include "support/assert_error.h"

#define PIECE ((uint64_t)16 << 20)
#define FILE_BYTES (2 * PIECE + 12345)
#define POISON 0xa5

static char path[64];
static uint8_t *content, *room; /* FILE_BYTES; two pages more, page-aligned */

static int make_file(void **state)
{
	uint64_t word = 88172645463325252u;
	int fd;

	(void)state;
	content = malloc(FILE_BYTES);
	room = alloc_pages(FILE_BYTES + 8192);
	if (!content || !room)
		return -1;
	for (uint64_t i = 0; i < FILE_BYTES; i++) {
		word ^= word << 13, word ^= word >> 7, word ^= word << 17;
		content[i] = (uint8_t)word;
	}
	strcpy(path, "/var/tmp/ufm_test_direct_XXXXXX"); /* /tmp may be memory */
	fd = mkstemp(path);
	if (fd < 0 || write(fd, content, FILE_BYTES) != (ssize_t)FILE_BYTES)
		return -1;
	return close(fd);
}

static int remove_file(void **state)
{
	(void)state;
	alloc_pages_free(room, FILE_BYTES + 8192);
	free(content);
	return unlink(path);
}

static void cool(const direct_file *f)
{
	assert_int_equal(fsync(f->fd), 0);
	assert_int_equal(posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED), 0);
}

static void check(const direct_file *f, uint64_t size, uint64_t offset, uint64_t lead)
{
	uint64_t expected = offset > FILE_BYTES ? 0 : FILE_BYTES - offset, got = 77;
	uint8_t *out = room + lead;

	expected = expected < size ? expected : size;
	memset(room, POISON, lead + size + 1);
	assert_int_equal(direct_read(f, out, size, offset, &got), UFM_OK);
	assert_int_equal(got, expected);
	assert_int_equal(memcmp(out, content + (expected ? offset : 0), expected), 0);
	assert_true(lead == 0 || out[-1] == POISON);
	assert_true(out[size] == POISON);
}

static void check_all(const direct_file *f, bool cold)
{
	static const uint64_t sizes[] = {0,
	                                 1,
	                                 4096,
	                                 DIRECT_BYTES_MIN - 1,
	                                 DIRECT_BYTES_MIN,
	                                 DIRECT_BYTES_MIN + 4095,
	                                 ((uint64_t)2 << 20) + 1,
	                                 PIECE,
	                                 PIECE + 1,
	                                 2 * PIECE + 4096};
	static const uint64_t offsets[] = {0, 1, 4096, 8200, PIECE - 1};

	for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
		for (size_t o = 0; o < sizeof offsets / sizeof *offsets; o++)
			for (uint64_t lead = 0; lead <= 64; lead += 64) {
				if (cold)
					cool(f);
				check(f, sizes[s], offsets[o], lead);
			}
}

static void every_size_and_alignment(void **state)
{
	direct_file f;

	(void)state;
	assert_int_equal(direct_open(path, &f), UFM_OK);
	check_all(&f, true);
	check_all(&f, false);
	/* the end within a read, at its start, and before it */
	cool(&f);
	check(&f, PIECE, FILE_BYTES - DIRECT_BYTES_MIN - 1, 0);
	check(&f, PIECE, FILE_BYTES / 4096 * 4096, 0);
	check(&f, PIECE, 2 * PIECE, 0);
	check(&f, DIRECT_BYTES_MIN, FILE_BYTES, 0);
	check(&f, DIRECT_BYTES_MIN, FILE_BYTES + 4096, 0);
	direct_close(&f);
}

static void a_file_system_that_refuses(void **state)
{
	direct_file f;

	(void)state;
	assert_int_equal(direct_open(path, &f), UFM_OK);
	if (f.direct_fd >= 0)
		close(f.direct_fd);
	f.direct_fd = -1;
	check_all(&f, true);
	/* only when it is read from: the page cache tells of what fails there too */
	f.direct_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	check_all(&f, true);
	direct_close(&f);
}

static bool refuse(void *ctx, size_t size_bytes)
{
	(void)ctx;
	(void)size_bytes;
	return false;
}

static void without_memory_for_the_bounce(void **state)
{
	direct_file f;

	(void)state;
	assert_int_equal(direct_open(path, &f), UFM_OK);
	cool(&f);
	alloc_set_hook(refuse, NULL);
	check(&f, PIECE, 8, 0);
	alloc_set_hook(NULL, NULL);
	direct_close(&f);
}

static bool in_cache(int fd, uint64_t offset)
{
	unsigned char resident = 0;
	void *map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, (off_t)offset);

	assert_true(map != MAP_FAILED);
	assert_int_equal(mincore(map, 4096, &resident), 0);
	munmap(map, 4096);
	return resident & 1;
}

static void leaves_the_page_cache_alone(void **state)
{
	direct_file f;

	(void)state;
	assert_int_equal(direct_open(path, &f), UFM_OK);
	cool(&f);
	if (f.direct_fd < 0 || in_cache(f.fd, PIECE / 2)) {
		direct_close(&f); /* a file system in memory: there is nothing to pass by */
		return;
	}
	check(&f, PIECE, 0, 0);
	assert_false(in_cache(f.fd, PIECE / 2));
	check(&f, PIECE, 8, 0);
	assert_false(in_cache(f.fd, PIECE / 2));
	direct_close(&f);
}

static void failures(void **state)
{
	direct_file f;
	uint64_t got = 77;
	int fd;

	(void)state;
	assert_error(direct_open("/none/such", &f), UFM_EFILE, "/none/such: cannot be opened: ");
	assert_int_equal(direct_open(path, &f), UFM_OK);
	fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	close(f.fd);
	f.fd = fd;
	assert_error(direct_read(&f, room, 10, 0, &got), UFM_EFILE, "cannot be read: ");
	assert_int_equal(got, 0);
	direct_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_size_and_alignment),
		cmocka_unit_test(a_file_system_that_refuses),
		cmocka_unit_test(without_memory_for_the_bounce),
		cmocka_unit_test(leaves_the_page_cache_alone),
		cmocka_unit_test(failures),
	};

	return cmocka_run_group_tests(tests, make_file, remove_file);
}

/* SPDX-License-Identifier: MIT */
/* .npy files: every rule of the header, round trips, alignment, and files that cannot be used. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/npy.h"
#include "base/rng.h"

#define FILE_BYTES_MAX 4096
#define SEED 11u

/* A file in memory of exactly its size, so that a sanitizer sees a read past its end. */
typedef struct built_file {
	unsigned char *bytes;
	size_t size_bytes;
} built_file;

static built_file build(unsigned major, const char *header, size_t payload_bytes)
{
	size_t prefix = major == 1 ? 10 : 12, length = strlen(header);
	built_file f = {NULL, prefix + length + payload_bytes};

	f.bytes = calloc(1, f.size_bytes);
	assert_non_null(f.bytes);
	memcpy(f.bytes, "\x93NUMPY", 6);
	f.bytes[6] = (unsigned char)major;
	f.bytes[8] = (unsigned char)(length & 0xff);
	f.bytes[9] = (unsigned char)(length >> 8);
	memcpy(f.bytes + prefix, header, length);
	for (size_t i = 0; i < payload_bytes; i++)
		f.bytes[prefix + length + i] = (unsigned char)i;
	return f;
}

static void expect_refused(const void *bytes, size_t size_bytes, const char *rule, const char *what)
{
	npy_array a, untouched;

	memset(&a, 0x5a, sizeof a);
	untouched = a;
	ufm_status status = npy_parse(bytes, size_bytes, &a);
	if (status != UFM_EFORMAT || !strstr(ufm_last_error(), rule))
		fail_msg("%s: status %d, \"%s\", expected \"%s\"", what, status, ufm_last_error(), rule);
	assert_memory_equal(&a, &untouched, sizeof a);
}

static void test_malformed_headers(void **state)
{
	static const struct {
		const char *header;
		size_t payload_bytes;
		const char *rule;
	} cases[] = {
		{"", 0, "'{'"},
		{"[1, 2]", 0, "'{'"},
		{"{", 0, "a key in quotes"},
		{"{}", 0, "key 'descr' is missing"},
		{"{'descr': '<f4'", 0, "comma or '}'"},
		{"{'descr': '<f4", 0, "closing quote"},
		{"{'descr'", 0, "':'"},
		{"{'descr' '<f4'}", 0, "':'"},
		{"{'descr': <f4}", 0, "dtype string"},
		{"{'descr': '<f4' 'shape': (1,)}", 4, "comma or '}'"},
		{"{,}", 4, "a key in quotes"},
		{"{'fortran_order': False, 'shape': (1,)}", 4, "key 'descr' is missing"},
		{"{'descr': '<f4', 'shape': (1,)}", 4, "key 'fortran_order' is missing"},
		{"{'descr': '<f4', 'fortran_order': False}", 4, "key 'shape' is missing"},
		{"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", 4,
	     "key 'descr' twice"},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'shape': (1,)}", 4,
	     "key 'shape' twice"},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1}", 4, "unknown key 'x'"},
		{"{'descr': '<f4', 'fortran_order': True, 'shape': (1,)}", 4, "fortran_order is True"},
		{"{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}", 4, "True or False"},
		{"{'descr': '>f4', 'fortran_order': False, 'shape': (1,)}", 4, "big-endian"},
		{"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", 4, "Python objects"},
		{"{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}", 8, "'<c8' is not supported"},
		{"{'descr': '<f2', 'fortran_order': False, 'shape': (1,)}", 2, "'<f2' is not supported"},
		{"{'descr': '', 'fortran_order': False, 'shape': (1,)}", 4, "'' is not supported"},
		{"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", 4, "structured"},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", 4, "negative"},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775808,)}", 4,
	     "dimension of 2^63"},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999,)}", 4,
	     "dimension of 2^63"},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296)}", 4,
	     "overflows"},
		{"{'descr': '<f8', 'fortran_order': False, 'shape': (2305843009213693952,)}", 4,
	     "overflows"},
		{"{'descr': '<f8', 'fortran_order': False, 'shape': (4611686018427387904, 4, 0)}", 0,
	     "overflows"},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 1, 1, 1)}", 4,
	     "more than 4 dimensions"},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': (1)}", 4, "expected a tuple"},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': 1}", 4, "parentheses"},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': (1,", 4, "a dimension"},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': (,)}", 4, "a dimension"},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': (1.0,)}", 4, "comma or ')'"},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': (1 1)}", 4, "comma or ')'"},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x", 4, "padding"},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", 11, "payload too short"},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", 13, "payload too long"},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", 0, "payload too short"},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': ()}", 0, "payload too short"},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': (0,)}", 1, "payload too long"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		for (unsigned major = 1; major <= 3; major++) {
			built_file f = build(major, cases[i].header, cases[i].payload_bytes);
			expect_refused(f.bytes, f.size_bytes, cases[i].rule, cases[i].header);
			free(f.bytes);
		}
	}
}

#define GOOD_HEADER "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }"

static void test_malformed_prefixes(void **state)
{
	(void)state;
	built_file f = build(1, GOOD_HEADER "\n", 24);
	expect_refused("", 0, "bad magic", "an empty file");
	expect_refused("PK\x03\x04 zip", 8, "bad magic", "a zip file");
	f.bytes[0] = 'N';
	expect_refused(f.bytes, f.size_bytes, "bad magic", "first byte");
	f.bytes[0] = 0x93;
	for (unsigned version = 0; version < 256; version++) {
		f.bytes[6] = (unsigned char)version;
		if (version < 1 || version > 3)
			expect_refused(f.bytes, f.size_bytes, "version", "major version");
	}
	f.bytes[6] = 1;
	f.bytes[7] = 1;
	expect_refused(f.bytes, f.size_bytes, "version 1.1", "minor version");
	f.bytes[7] = 0;
	f.bytes[9] = 0xff;
	expect_refused(f.bytes, f.size_bytes, "beyond the file", "header length");
	free(f.bytes);
	f = build(2, GOOD_HEADER "\n", 24);
	f.bytes[11] = 0xff;
	expect_refused(f.bytes, f.size_bytes, "beyond the file", "32-bit header length");
	free(f.bytes);
}

/* Cut anywhere, a file is refused; and no byte beyond the cut is read. */
static void test_every_truncation(void **state)
{
	(void)state;
	for (unsigned major = 1; major <= 3; major++) {
		built_file f = build(major, GOOD_HEADER "\n", 24);
		for (size_t cut = 0; cut < f.size_bytes; cut++) {
			unsigned char *part = malloc(cut ? cut : 1);
			assert_non_null(part);
			memcpy(part, f.bytes, cut);
			expect_refused(part, cut, "npy", "truncated");
			free(part);
		}
		free(f.bytes);
	}
}

static void test_header_spellings(void **state)
{
	static const char *const headers[] = {
		GOOD_HEADER,
		GOOD_HEADER "\n",
		GOOD_HEADER "                      \n",
		"{'shape': (2, 3), 'fortran_order': False, 'descr': '<i4'}",
		"{\"descr\":\"<i4\",\"fortran_order\":False,\"shape\":(2,3,)}",
		" {\n'descr' : '<i4' ,\t'fortran_order' : False , 'shape' : ( 2 , 3 ) } \n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
		for (unsigned major = 1; major <= 3; major++) {
			built_file f = build(major, headers[i], 24);
			npy_array a;
			if (npy_parse(f.bytes, f.size_bytes, &a) != UFM_OK)
				fail_msg("%s: %s", headers[i], ufm_last_error());
			assert_int_equal(a.type, NPY_I32);
			assert_int_equal(a.dims, 2);
			assert_int_equal(a.shape[0], 2);
			assert_int_equal(a.shape[1], 3);
			assert_int_equal(a.count, 6);
			assert_ptr_equal(a.data, f.bytes + f.size_bytes - 24);
			assert_null(a.mapping);
			free(f.bytes);
		}
	}
}

static void test_scalar_and_empty(void **state)
{
	npy_array a;

	(void)state;
	built_file f = build(1, "{'descr': '<f8', 'fortran_order': False, 'shape': ()}", 8);
	assert_int_equal(npy_parse(f.bytes, f.size_bytes, &a), UFM_OK);
	assert_int_equal(a.dims, 0);
	assert_int_equal(a.count, 1);
	free(f.bytes);
	f = build(1, "{'descr': '<f8', 'fortran_order': False, 'shape': (7, 0, 3)}", 0);
	assert_int_equal(npy_parse(f.bytes, f.size_bytes, &a), UFM_OK);
	assert_int_equal(a.dims, 3);
	assert_int_equal(a.shape[2], 3);
	assert_int_equal(a.count, 0);
	free(f.bytes);
}

static void test_types(void **state)
{
	static const struct {
		npy_type type;
		size_t bytes;
		const char *descr;
	} cases[] = {
		{NPY_U8, 1, "|u1"},  {NPY_U16, 2, "<u2"}, {NPY_I32, 4, "<i4"}, {NPY_U32, 4, "<u4"},
		{NPY_I64, 8, "<i8"}, {NPY_F32, 4, "<f4"}, {NPY_F64, 8, "<f8"},
	};
	char header[128];
	npy_array a;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(npy_type_bytes(cases[i].type), cases[i].bytes);
		assert_string_equal(npy_type_descr(cases[i].type), cases[i].descr);
		snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (5,)}",
		         cases[i].descr);
		built_file f = build(1, header, 5 * cases[i].bytes);
		assert_int_equal(npy_parse(f.bytes, f.size_bytes, &a), UFM_OK);
		assert_int_equal(a.type, cases[i].type);
		free(f.bytes);
	}
	assert_int_equal(npy_type_bytes((npy_type)0), 0);
	assert_null(npy_type_descr((npy_type)99));
}

/* ------------------------------------------------------------------ files */

typedef struct folder {
	char path[64], file[96];
} folder;

static folder folder_new(void)
{
	folder d = {.path = "/tmp/ufm_npy_XXXXXX"};

	assert_non_null(mkdtemp(d.path));
	snprintf(d.file, sizeof d.file, "%s/a.npy", d.path);
	return d;
}

static void folder_remove(const folder *d)
{
	unlink(d->file);
	assert_int_equal(rmdir(d->path), 0); /* nothing else was left in it */
}

static void write_file(const char *path, const void *bytes, size_t size_bytes)
{
	FILE *file = fopen(path, "wb");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, size_bytes, file), size_bytes);
	assert_int_equal(fclose(file), 0);
}

static void check_round_trip(const char *path, npy_type type, uint32_t dims, const uint64_t *shape)
{
	unsigned char data[8 * 60];
	uint64_t count = 1;
	npy_array a;
	struct stat info;

	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (unsigned char)(i * 7 + 1);
	for (uint32_t i = 0; i < dims; i++)
		count *= shape[i];
	assert_int_equal(npy_write(path, type, dims, shape, data), UFM_OK);
	assert_int_equal(stat(path, &info), 0);
	assert_int_equal((uint64_t)info.st_size % 64, count * npy_type_bytes(type) % 64);
	assert_int_equal(npy_open(path, &a), UFM_OK);
	assert_int_equal(a.type, type);
	assert_int_equal(a.dims, dims);
	for (uint32_t i = 0; i < dims; i++)
		assert_int_equal(a.shape[i], shape[i]);
	assert_int_equal(a.count, count);
	assert_int_equal((uintptr_t)a.data % 64, 0);
	assert_memory_equal(a.data, data, count * npy_type_bytes(type));
	npy_close(&a);
	assert_null(a.data);
	npy_close(&a);
}

static void test_round_trips(void **state)
{
	static const struct {
		uint32_t dims;
		uint64_t shape[4];
	} shapes[] = {
		{0, {0}},    {1, {1}},       {1, {60}},         {1, {0}},          {2, {7, 3}},
		{2, {0, 9}}, {3, {2, 3, 5}}, {4, {2, 3, 2, 5}}, {4, {1, 1, 1, 1}},
	};
	folder d = folder_new();

	(void)state;
	for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
		for (int type = NPY_U8; type <= NPY_F64; type++)
			check_round_trip(d.file, (npy_type)type, shapes[i].dims, shapes[i].shape);
	}
	npy_close(NULL);
	folder_remove(&d);
}

static void test_write_without_data(void **state)
{
	const uint64_t shape[] = {3, 0};
	folder d = folder_new();
	npy_array a;

	(void)state;
	assert_int_equal(npy_write(d.file, NPY_F32, 2, shape, NULL), UFM_OK);
	assert_int_equal(npy_open(d.file, &a), UFM_OK);
	assert_int_equal(a.count, 0);
	npy_close(&a);
	folder_remove(&d);
}

/* Headers of every length: the payload is aligned all the same. */
static void test_open_aligns_the_payload(void **state)
{
	char header[256];
	folder d = folder_new();

	(void)state;
	for (int blanks = 0; blanks < 70; blanks++) {
		npy_array a;
		int32_t expected;
		snprintf(header, sizeof header, GOOD_HEADER "%*s\n", blanks, "");
		built_file f = build(1, header, 24);
		write_file(d.file, f.bytes, f.size_bytes);
		assert_int_equal(npy_open(d.file, &a), UFM_OK);
		assert_int_equal((uintptr_t)a.data % 64, 0);
		memcpy(&expected, f.bytes + f.size_bytes - 4, sizeof expected);
		assert_int_equal(((const int32_t *)a.data)[5], expected);
		npy_close(&a);
		free(f.bytes);
	}
	folder_remove(&d);
}

static bool refuse(void *ctx, size_t size_bytes)
{
	(void)ctx;
	(void)size_bytes;
	return false;
}

static void test_copy_that_does_not_fit(void **state)
{
	folder d = folder_new();
	npy_array a = {0};

	(void)state;
	built_file f = build(1, GOOD_HEADER, 24); /* payload at 69 */
	write_file(d.file, f.bytes, f.size_bytes);
	alloc_set_hook(refuse, NULL);
	assert_int_equal(npy_open(d.file, &a), UFM_ENOMEM);
	alloc_set_hook(NULL, NULL);
	assert_null(a.data);
	assert_non_null(strstr(ufm_last_error(), d.file));
	free(f.bytes);
	folder_remove(&d);
}

static void expect_unopened(const char *path, ufm_status expected, const char *rule)
{
	npy_array a = {0};

	assert_int_equal(npy_open(path, &a), expected);
	assert_null(a.data);
	assert_non_null(strstr(ufm_last_error(), path));
	assert_non_null(strstr(ufm_last_error(), rule));
}

static void test_files_that_cannot_be_used(void **state)
{
	folder d = folder_new();

	(void)state;
	expect_unopened(d.file, UFM_EFILE, "cannot be opened");
	expect_unopened(d.path, UFM_EFILE, "not a regular file");
	assert_int_equal(mkfifo(d.file, 0600), 0);
	expect_unopened(d.file, UFM_EFILE, "not a regular file");
	unlink(d.file);
	write_file(d.file, "", 0);
	expect_unopened(d.file, UFM_EFORMAT, "bad magic");
	write_file(d.file, "hello", 5);
	expect_unopened(d.file, UFM_EFORMAT, "bad magic");
	folder_remove(&d);
}

static void test_write_where_nothing_can_be(void **state)
{
	const uint64_t shape[] = {4};
	const uint8_t data[4] = {0};
	folder d = folder_new();
	char path[128];

	(void)state;
	snprintf(path, sizeof path, "%s/none/a.npy", d.path);
	assert_int_equal(npy_write(path, NPY_U8, 1, shape, data), UFM_EFILE);
	assert_non_null(strstr(ufm_last_error(), path));
	const uint64_t huge[] = {1u << 31, 1u << 31, 8};
	assert_int_equal(npy_write(d.file, NPY_F64, 3, huge, data), UFM_EINVAL);
	const uint64_t huge_but_empty[] = {0, UINT64_MAX};
	assert_int_equal(npy_write(d.file, NPY_U8, 2, huge_but_empty, data), UFM_EINVAL);
	assert_int_not_equal(access(d.file, F_OK), 0);
	if (access("/dev/full", W_OK) == 0) {
		assert_int_equal(npy_write("/dev/full", NPY_U8, 1, shape, data), UFM_EFILE);
		assert_non_null(strstr(ufm_last_error(), "/dev/full: cannot write"));
		assert_int_equal(access("/dev/full", F_OK), 0); /* a device is not removed */
	}
	folder_remove(&d);
}

/* A limit on file sizes stands in for a full disk. */
static void test_partial_file_is_removed(void **state)
{
	const uint64_t shape[] = {FILE_BYTES_MAX};
	static const uint8_t data[FILE_BYTES_MAX];
	struct rlimit before, small;
	folder d = folder_new();

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small = (struct rlimit){1000, before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	ufm_status status = npy_write(d.file, NPY_U8, 1, shape, data);
	setrlimit(RLIMIT_FSIZE, &before);
	assert_int_equal(status, UFM_EFILE);
	assert_non_null(strstr(ufm_last_error(), d.file));
	assert_int_not_equal(access(d.file, F_OK), 0);
	folder_remove(&d);
}

/* Random damage: whatever is accepted lies inside the file. */
static void test_damaged_files(void **state)
{
	npy_array a;
	rng r;

	(void)state;
	rng_seed(&r, SEED);
	built_file f = build(1, GOOD_HEADER "\n", 24);
	for (int round = 0; round < 20000; round++) {
		size_t at = rng_below(&r, (uint32_t)f.size_bytes);
		unsigned char before = f.bytes[at];
		f.bytes[at] = (unsigned char)rng_u64(&r);
		if (npy_parse(f.bytes, f.size_bytes, &a) == UFM_OK) {
			const unsigned char *data = a.data;
			if (data + a.count * npy_type_bytes(a.type) != f.bytes + f.size_bytes)
				fail_msg("seed %u, round %d: data outside the file", SEED, round);
		}
		f.bytes[at] = before;
	}
	free(f.bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_malformed_headers),
		cmocka_unit_test(test_malformed_prefixes),
		cmocka_unit_test(test_every_truncation),
		cmocka_unit_test(test_header_spellings),
		cmocka_unit_test(test_scalar_and_empty),
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_write_without_data),
		cmocka_unit_test(test_open_aligns_the_payload),
		cmocka_unit_test(test_copy_that_does_not_fit),
		cmocka_unit_test(test_files_that_cannot_be_used),
		cmocka_unit_test(test_write_where_nothing_can_be),
		cmocka_unit_test(test_partial_file_is_removed),
		cmocka_unit_test(test_damaged_files),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Maps .npy files for reading and writes new ones. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/npy.h"
#include "base/status.h"

#define DATA_ALIGNMENT 64
#define HEADER_BYTES_MAX 256 /* holds four dimensions of 20 digits */
#define PREFIX_BYTES 10

static ufm_status fail_file(const char *path, const char *what)
{
	return status_fail(UFM_EFILE, "%s: %s: %s", path, what, strerror(errno));
}

/* An empty file gives no mapping and size 0, for the parser to refuse. */
static ufm_status map_file(const char *path, void **mapping, size_t *size_bytes)
{
	int file;
	uint64_t bytes;
	ufm_status status = file_open(path, &file, &bytes);

	if (status)
		return status_prefix(status, "%s", path);
	*mapping = NULL;
	*size_bytes = (size_t)bytes;
	if (bytes > 0) {
		*mapping = mmap(NULL, *size_bytes, PROT_READ, MAP_PRIVATE, file, 0);
		if (*mapping == MAP_FAILED)
			status = fail_file(path, "cannot map");
	}
	close(file);
	return status;
}

/* Replaces the file's mapping by an aligned copy of the payload. */
static ufm_status align_payload(npy_array *array)
{
	size_t payload_bytes = (size_t)array->count * npy_type_bytes(array->type);
	void *copy = alloc_pages(payload_bytes);

	if (!copy)
		return UFM_ENOMEM;
	if (payload_bytes)
		memcpy(copy, array->data, payload_bytes);
	munmap(array->mapping, array->mapping_bytes);
	array->data = array->mapping = copy;
	array->mapping_bytes = payload_bytes;
	return UFM_OK;
}

ufm_status npy_open(const char *path, npy_array *out)
{
	npy_array array;
	void *mapping = NULL;
	size_t size_bytes = 0;

	ufm_status status = map_file(path, &mapping, &size_bytes);
	if (status != UFM_OK)
		return status;
	status = npy_parse(mapping ? mapping : "", size_bytes, &array);
	if (status != UFM_OK)
		goto unmap;
	array.mapping = mapping;
	array.mapping_bytes = size_bytes;
	if ((uintptr_t)array.data % DATA_ALIGNMENT != 0)
		status = align_payload(&array);
	if (status != UFM_OK)
		goto unmap;
	*out = array;
	return UFM_OK;
unmap:
	if (mapping)
		munmap(mapping, size_bytes);
	return status_prefix(status, "%s", path);
}

void npy_close(npy_array *array)
{
	if (!array)
		return;
	/* Mapped files and copies alike are whole pages of an mmap. */
	alloc_pages_free(array->mapping, array->mapping_bytes);
	*array = (npy_array){0};
}

/* "(3, 4)", "(3,)", "()" */
static int print_shape(char *text, size_t size, uint32_t dims, const uint64_t *shape)
{
	int used = snprintf(text, size, "(");

	for (uint32_t i = 0; i < dims; i++)
		used += snprintf(text + used, size - (size_t)used, "%s%" PRIu64, i ? ", " : "", shape[i]);
	return used + snprintf(text + used, size - (size_t)used, dims == 1 ? ",)" : ")");
}

/* Magic, version 1.0, length, the dict, blanks up to the alignment, a newline. */
static size_t print_header(char *text, npy_type type, uint32_t dims, const uint64_t *shape)
{
	char shape_text[HEADER_BYTES_MAX / 2];

	print_shape(shape_text, sizeof shape_text, dims, shape);
	int dict_bytes = snprintf(text + PREFIX_BYTES, HEADER_BYTES_MAX - PREFIX_BYTES,
	                          "{'descr': '%s', 'fortran_order': False, 'shape': %s, }",
	                          npy_type_descr(type), shape_text);
	size_t used = PREFIX_BYTES + (size_t)dict_bytes;
	size_t header_bytes = (used + DATA_ALIGNMENT) / DATA_ALIGNMENT * DATA_ALIGNMENT;
	assert(header_bytes <= HEADER_BYTES_MAX);
	memset(text + used, ' ', header_bytes - used);
	text[header_bytes - 1] = '\n';
	memcpy(text, "\x93NUMPY\x01\x00", 8);
	text[8] = (char)((header_bytes - PREFIX_BYTES) & 0xff);
	text[9] = (char)((header_bytes - PREFIX_BYTES) >> 8);
	return header_bytes;
}

/* The rule that the parser has: a zero among the dimensions does not excuse the others. */
static bool count_bytes(npy_type type, uint32_t dims, const uint64_t *shape, size_t *size_bytes)
{
	size_t product = npy_type_bytes(type);
	bool empty = false;

	for (uint32_t i = 0; i < dims; i++) {
		empty |= shape[i] == 0;
		if (shape[i] &&
		    (__builtin_mul_overflow(product, shape[i], &product) || product > INT64_MAX))
			return false;
	}
	*size_bytes = empty ? 0 : product;
	return true;
}

/* Only what this call created is removed: a device such as /dev/full stays. */
static void remove_partial(int file, const char *path)
{
	struct stat info;

	if (fstat(file, &info) == 0 && S_ISREG(info.st_mode))
		unlink(path);
}

ufm_status npy_write_to(int fd, const char *path, npy_type type, uint32_t dims,
                        const uint64_t *shape, const void *data)
{
	char header[HEADER_BYTES_MAX];
	size_t data_bytes;

	assert(npy_type_bytes(type) && dims <= NPY_DIMS_MAX);
	if (!count_bytes(type, dims, shape, &data_bytes))
		return status_fail(UFM_EINVAL, "%s: the shape overflows 2^63 bytes", path);
	size_t header_bytes = print_header(header, type, dims, shape);
	if (file_write(fd, header, header_bytes) && file_write(fd, data, data_bytes))
		return UFM_OK;
	return fail_file(path, "cannot write");
}

ufm_status npy_write(const char *path, npy_type type, uint32_t dims, const uint64_t *shape,
                     const void *data)
{
	int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (file < 0)
		return fail_file(path, "cannot create");
	ufm_status status = npy_write_to(file, path, type, dims, shape, data);
	if (status)
		remove_partial(file, path);
	/* Some filesystems report a full disk only now. */
	if (close(file) != 0 && status == UFM_OK) {
		status = fail_file(path, "cannot write");
		unlink(path);
	}
	return status;
}

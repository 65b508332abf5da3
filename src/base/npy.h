/* SPDX-License-Identifier: MIT */
/* NumPy's .npy files, versions 1 to 3, C order, little endian (see numpy/lib/format.py). */
#ifndef UFM_BASE_NPY_H
#define UFM_BASE_NPY_H

#include <stddef.h>
#include <stdint.h>
#include <ufm/ufm.h>

#define NPY_DIMS_MAX 4

typedef enum npy_type {
	NPY_U8 = 1, /* |u1 */
	NPY_U16,    /* <u2 */
	NPY_I32,    /* <i4 */
	NPY_U32,    /* <u4 */
	NPY_I64,    /* <i8 */
	NPY_F32,    /* <f4 */
	NPY_F64,    /* <f8 */
} npy_type;
/* 0 and NULL for an unknown type. */
size_t npy_type_bytes(npy_type type);
const char *npy_type_descr(npy_type type);

typedef struct npy_array {
	npy_type type;
	uint32_t dims;
	uint64_t shape[NPY_DIMS_MAX];
	uint64_t count;   /* elements: product of the shape */
	const void *data; /* count elements; alignment: see npy_parse and npy_open */
	void *mapping;    /* private: what npy_close unmaps */
	size_t mapping_bytes;
} npy_array;

/* Parses the header of a whole file in memory; data points into it. Everything is checked: magic,
 * version, header length, the three keys once each, order, type, dims, and that the shape's bytes
 * are exactly what follows. UFM_EFORMAT says which. Does not take ownership. Headers of any length
 * are legal, so data has whatever alignment `file` and the header give it: read it with memcpy, or
 * use npy_open. */
ufm_status npy_parse(const void *file, size_t file_bytes, npy_array *out);
/* Maps a file read-only and parses it; data is 64-byte aligned: where the header leaves it at
 * another address (old NumPy aligned to 16), the payload is copied. The file must keep its length
 * while it is open.
 * UFM_EFILE, UFM_EFORMAT, UFM_ENOMEM, all naming the path. */
ufm_status npy_open(const char *path, npy_array *out);
void npy_close(
	npy_array *array); /* of npy_open; zeroes *array; NULL and a zeroed one are allowed */
/* Writes version 1.0, the data 64-byte aligned. dims <= NPY_DIMS_MAX; data may be NULL when the
 * shape holds no element. UFM_EINVAL for a shape of 2^63 bytes or more. UFM_EFILE names the path; a
 * regular file is then removed. */
ufm_status npy_write(const char *path, npy_type type, uint32_t dims, const uint64_t *shape,
                     const void *data);
/* The same into an open file, of which a failure may leave a part; path is for its line. */
ufm_status npy_write_to(int fd, const char *path, npy_type type, uint32_t dims,
                        const uint64_t *shape, const void *data);

#endif

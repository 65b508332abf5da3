/* SPDX-License-Identifier: MIT */
/* A file whose large pieces are read past the page cache unless that holds them already. */
#ifndef UFM_STORE_DIRECT_INT_H
#define UFM_STORE_DIRECT_INT_H

#include <stdint.h>
#include <ufm/ufm.h>

/* From this size on a read looks whether the page cache holds it; smaller ones go through the cache. */
#define DIRECT_BYTES_MIN ((uint64_t)256 << 10)

typedef struct direct_file {
	int fd;
	int direct_fd; /* -1: the file system refuses O_DIRECT, all is read through the page cache */
	/* The file, never touched: to ask what the page cache holds. NULL: nobody can say. One mapping for
	 * all reads, because to map and unmap stops the threads that bring memory in. */
	uint8_t *map;
	uint64_t map_bytes;
} direct_file;

/* UFM_EFILE names the path. A refusal of O_DIRECT alone is logged. */
ufm_status direct_open(const char *path, direct_file *out);
void direct_close(direct_file *f);

/* As file_read. The disk fills `out` itself where it and the offset are multiples of 4096 (then
 * the process must not fork meanwhile, unless `out` is kept from a child); elsewhere 2 MiB are taken for
 * the time of the call. Without them, or when the disk refuses, the page cache serves; its failures are
 * told. */
ufm_status direct_read(const direct_file *f, void *out, uint64_t size_bytes, uint64_t offset_bytes,
                       uint64_t *got);

#endif

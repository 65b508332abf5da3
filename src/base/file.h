/* SPDX-License-Identifier: MIT */
/* Reading regular files at an offset, and writing. Lines say what failed; callers prefix the path. */
#ifndef UFM_BASE_FILE_H
#define UFM_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <ufm/ufm.h>

/* Opens a regular file for reading: a pipe or a device of that name is refused, not waited for. */
ufm_status file_open(const char *path, int *fd, uint64_t *size_bytes);

/* Reads up to size_bytes from an offset; *got is less at the end of the file, or (with what was read
 * before) when the status is UFM_EFILE. */
ufm_status file_read(int fd, void *out, uint64_t size_bytes, uint64_t offset_bytes, uint64_t *got);

/* Writes all of it, by one call where the file takes it; false: errno says why not, and a part may be there. */
bool file_write(int fd, const void *data, uint64_t size_bytes);

#endif

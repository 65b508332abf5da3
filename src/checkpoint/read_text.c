/* SPDX-License-Identifier: MIT */
/* A small text file that lies beside weights, as a whole. */
#include "checkpoint/read_text.h"

#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/status.h"

static ufm_status read_text(int fd, uint64_t size, uint64_t max_bytes, char **text)
{
	uint64_t got;
	char *read;
	ufm_status status;

	if (size > max_bytes)
		return status_fail(UFM_EFORMAT, "holds %llu bytes, expected at most %llu",
		                   (unsigned long long)size, (unsigned long long)max_bytes);
	read = alloc_zeroed(size + 1, 1);
	if (!read)
		return UFM_ENOMEM;
	status = file_read(fd, read, size, 0, &got);
	if (!status && got < size)
		status = status_fail(UFM_EFILE, "ends at byte %llu", (unsigned long long)got);
	if (status) {
		alloc_free(read);
		return status;
	}
	*text = read;
	return UFM_OK;
}

ufm_status checkpoint_read_text(const char *path, uint64_t max_bytes, char **text, uint64_t *size)
{
	int fd;
	ufm_status status = file_open(path, &fd, size);

	if (!status) {
		status = read_text(fd, *size, max_bytes, text);
		close(fd);
	}
	return status ? status_prefix(status, "%s", path) : UFM_OK;
}

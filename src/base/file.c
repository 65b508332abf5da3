/* SPDX-License-Identifier: MIT */
/* Reading regular files at an offset. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/status.h"

static ufm_status check_regular(int fd, uint64_t *size_bytes)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return status_fail(UFM_EFILE, "cannot be examined: %s", strerror(errno));
	if (!S_ISREG(st.st_mode))
		return status_fail(UFM_EFILE, "is not a regular file");
	*size_bytes = (uint64_t)st.st_size;
	return UFM_OK;
}

ufm_status file_open(const char *path, int *fd, uint64_t *size_bytes)
{
	int opened = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ufm_status status;

	if (opened < 0)
		return status_fail(UFM_EFILE, "cannot be opened: %s", strerror(errno));
	status = check_regular(opened, size_bytes);
	if (status) {
		close(opened);
		return status;
	}
	*fd = opened;
	return UFM_OK;
}

ufm_status file_read(int fd, void *out, uint64_t size_bytes, uint64_t offset_bytes, uint64_t *got)
{
	*got = 0;
	while (*got < size_bytes) {
		ssize_t n =
			pread(fd, (uint8_t *)out + *got, size_bytes - *got, (off_t)(offset_bytes + *got));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return status_fail(UFM_EFILE, "cannot be read: %s", strerror(errno));
		if (n == 0)
			break;
		*got += (uint64_t)n;
	}
	return UFM_OK;
}

bool file_write(int fd, const void *data, uint64_t size_bytes)
{
	const char *at = data;

	while (size_bytes) {
		ssize_t written = write(fd, at, size_bytes);
		if (written < 0 && errno == EINTR)
			continue;
		if (written == 0)
			errno = EIO; /* a file that takes nothing and does not say why */
		if (written <= 0)
			return false;
		at += written;
		size_bytes -= (uint64_t)written;
	}
	return true;
}

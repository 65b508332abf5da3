/* SPDX-License-Identifier: MIT */
/* Writes under another name and renames. */
#include "cli/forward/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/npy.h"
#include "base/status.h"

static ufm_status cannot(const char *what, const char *path)
{
	return status_fail(UFM_EFILE, "--output: cannot %s %s: %s", what, path, strerror(errno));
}

/* A rename would put a file in the place of a device or a pipe. */
static bool is_special(const char *path)
{
	struct stat found;
	return stat(path, &found) == 0 && !S_ISREG(found.st_mode) && !S_ISDIR(found.st_mode);
}

static bool is_folder(const char *path)
{
	struct stat found;
	return stat(path, &found) == 0 && S_ISDIR(found.st_mode);
}

static ufm_status try_creating(const forward_output *out)
{
	int fd = open(out->unfinished, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0)
		return cannot("create", out->path);
	close(fd);
	unlink(out->unfinished);
	return UFM_OK;
}

ufm_status forward_output_open(const char *path, forward_output *out)
{
	size_t length = strlen(path);
	if (length >= sizeof out->path)
		return status_fail(UFM_EFILE, "--output: found %zu characters, expected less than %zu",
		                   length, sizeof out->path);
	if (is_folder(path) || path[length - 1] == '/')
		return status_fail(UFM_EFILE, "--output: %s is a folder, expected a file name", path);
	if (!realpath(path, out->path))
		snprintf(out->path, sizeof out->path, "%s", path);
	out->unfinished[0] = '\0';
	out->replaces = access(out->path, F_OK) == 0;
	if (is_special(out->path))
		return access(out->path, W_OK) == 0 ? UFM_OK : cannot("write", out->path);
	snprintf(out->unfinished, sizeof out->unfinished, "%s.%ld.tmp", out->path, (long)getpid());
	return try_creating(out);
}

ufm_status forward_output_write(const forward_output *out, uint32_t tokens, uint32_t d_model,
                                const float *y)
{
	uint64_t shape[] = {tokens, d_model};
	const char *first = *out->unfinished ? out->unfinished : out->path;
	ufm_status status = npy_write(first, NPY_F32, 2, shape, y);
	return status ? status_prefix(status, "--output") : UFM_OK;
}

ufm_status forward_output_commit(const forward_output *out)
{
	if (!*out->unfinished || rename(out->unfinished, out->path) == 0)
		return UFM_OK;
	ufm_status status = cannot("write", out->path);
	unlink(out->unfinished);
	return status;
}

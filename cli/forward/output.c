/* SPDX-License-Identifier: MIT */
/* A replacement, but for what cannot be replaced. */
#include "cli/forward/output.h"

#include <errno.h>
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

ufm_status forward_output_open(const char *path, forward_output *out)
{
	*out = (forward_output){.path = path, .replaces = access(path, F_OK) == 0};
	if (is_folder(path) || path[strlen(path) - 1] == '/')
		return status_fail(UFM_EFILE, "--output: %s is a folder, expected a file name", path);
	out->special = is_special(path);
	if (out->special)
		return access(path, W_OK) == 0 ? UFM_OK : cannot("write", path);
	ufm_status status = output_check(path);
	return status ? status_prefix(status, "--output") : UFM_OK;
}

static ufm_status write_beside(forward_output *out, const uint64_t *shape, const float *y)
{
	ufm_status status = output_open(out->path, &out->file);
	if (status)
		return status;
	status = npy_write_to(out->file.fd, out->path, NPY_F32, 2, shape, y);
	if (status)
		replacement_abandon(&out->file);
	return status;
}

ufm_status forward_output_write(forward_output *out, uint32_t tokens, uint32_t d_model,
                                const float *y)
{
	uint64_t shape[] = {tokens, d_model};
	ufm_status status =
		out->special ? npy_write(out->path, NPY_F32, 2, shape, y) : write_beside(out, shape, y);
	return status ? status_prefix(status, "--output") : UFM_OK;
}

ufm_status forward_output_commit(forward_output *out)
{
	ufm_status status = out->special ? UFM_OK : replacement_commit(&out->file);
	return status ? status_prefix(status, "--output") : UFM_OK;
}

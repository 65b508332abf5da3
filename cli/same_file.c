/* SPDX-License-Identifier: MIT */
/* Files are compared by device and number, so that no link hides one. */
#include "cli/same_file.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/status.h"
#include "base/text.h"

bool same_file(const char *a, const char *b)
{
	struct stat first, second;
	bool there = stat(a, &first) == 0, other_there = stat(b, &second) == 0;
	if (!there && !other_there)
		return strcmp(a, b) == 0;
	/* What is written to a device or a pipe is not what is read from it. */
	return there && other_there && S_ISREG(first.st_mode) && first.st_dev == second.st_dev &&
	       first.st_ino == second.st_ino;
}

static ufm_status refuse(const named_file *output, const named_file *other)
{
	return status_fail(UFM_EINVAL, "%s: found %.200s, which is the file of %s, expected another",
	                   output->name, output->path, other->name);
}

ufm_status check_other_file(const named_file *output, const named_file *other)
{
	if (!output->path || !other->path || !same_file(output->path, other->path))
		return UFM_OK;
	return refuse(output, other);
}

static bool is_of_checkpoint(const char *name)
{
	return text_ends_with(name, ".safetensors") || text_ends_with(name, ".index.json") ||
	       strcmp(name, "config.json") == 0;
}

static ufm_status check_folder(const named_file *output, const named_file *weights,
                               const char *folder)
{
	char path[PATH_MAX + NAME_MAX + 2];
	DIR *files = opendir(folder);
	ufm_status status = UFM_OK;
	/* A folder that is not there is an error of whoever reads the weights. */
	for (struct dirent *e = files ? readdir(files) : NULL; e && !status; e = readdir(files)) {
		snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
		if (is_of_checkpoint(e->d_name) && same_file(output->path, path))
			status = refuse(output, weights);
	}
	if (files)
		closedir(files);
	return status;
}

ufm_status check_other_weights(const named_file *output, const named_file *weights)
{
	ufm_status status = check_other_file(output, weights);
	if (status || !output->path || !weights->path)
		return status;
	char *folder = path_folder(weights->path);
	status = folder ? check_folder(output, weights, folder) : UFM_ENOMEM;
	alloc_free(folder);
	return status;
}

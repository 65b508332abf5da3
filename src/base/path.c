/* SPDX-License-Identifier: MIT */
/* Paths of files and their folders. */
#include "base/path.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/text.h"

char *path_folder(const char *path)
{
	char *folder, *slash;
	struct stat st;

	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return alloc_string(path);
	if (!strchr(path, '/'))
		return alloc_string(".");
	folder = alloc_string(path);
	slash = folder ? strrchr(folder, '/') : NULL;
	if (slash)
		slash[slash == folder] = '\0';
	return folder;
}

char *path_join(const char *folder, const char *name)
{
	size_t size = strlen(folder) + 1 + strlen(name) + 1;
	char *path = alloc_zeroed(size, 1);

	if (path)
		snprintf(path, size, "%s%s%s", folder, text_ends_with(folder, "/") ? "" : "/", name);
	return path;
}

/* SPDX-License-Identifier: MIT */
/* The folders and files that may hold plugins. */
#include "device/search.h"

#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "device/registry.h"

#ifndef UFM_LIBDIR
#error "UFM_LIBDIR: the build defines the folder that plugins are installed to"
#endif

#define PREFIX "libufm_"
#define SUFFIX ".so"

/* The path without its last part. */
static bool cut_to_folder(char *path)
{
	char *slash = strrchr(path, '/');

	if (!slash)
		return false;
	slash[slash == path] = '\0';
	return true;
}

/* Of the shared object, or the executable, that this code is in. */
static bool own_folder(char folder[PATH_MAX])
{
	Dl_info info;

	/* An executable found through $PATH gives its bare name. */
	if (dladdr(&cpu_backend, &info) && info.dli_fname && strchr(info.dli_fname, '/') &&
	    realpath(info.dli_fname, folder))
		return cut_to_folder(folder);
	ssize_t length = readlink("/proc/self/exe", folder, PATH_MAX - 1);
	if (length <= 0)
		return false;
	folder[length] = '\0';
	return cut_to_folder(folder);
}

/* The index-th entry of $UFM_BACKEND_PATH that is not empty, in canonical form if it exists. */
static bool path_entry(uint32_t index, char folder[PATH_MAX])
{
	const char *at = getenv("UFM_BACKEND_PATH");
	char entry[PATH_MAX];

	while (at && *at) {
		size_t length = strcspn(at, ":");
		if (length > 0 && length < sizeof entry && index-- == 0) {
			memcpy(entry, at, length);
			entry[length] = '\0';
			if (!realpath(entry, folder))
				memcpy(folder, entry, length + 1);
			return true;
		}
		at += length;
		at += *at == ':';
	}
	return false;
}

/* All folders in order, repetitions and all. */
static bool raw_folder(uint32_t index, char folder[PATH_MAX], bool *from_path)
{
	uint32_t entries = 0;

	*from_path = path_entry(index, folder);
	if (*from_path)
		return true;
	while (path_entry(entries, folder))
		entries++;
	if (index == entries)
		return own_folder(folder) || snprintf(folder, PATH_MAX, "%s", UFM_LIBDIR) > 0;
	if (index == entries + 1)
		return snprintf(folder, PATH_MAX, "%s", UFM_LIBDIR) < PATH_MAX;
	return false;
}

static bool seen_before(uint32_t index, const char *folder)
{
	char earlier[PATH_MAX];
	bool from_path;

	for (uint32_t i = 0; i < index && raw_folder(i, earlier, &from_path); i++) {
		if (strcmp(earlier, folder) == 0)
			return true;
	}
	return false;
}

bool search_folder(uint32_t index, char folder[PATH_MAX], bool *from_path)
{
	for (uint32_t raw = 0; raw_folder(raw, folder, from_path); raw++) {
		if (!seen_before(raw, folder) && index-- == 0)
			return true;
	}
	return false;
}

/* NAME of libufm_NAME.so. */
static bool plugin_name(const char *file, char name[SEARCH_NAME_MAX])
{
	size_t prefix = strlen(PREFIX), suffix = strlen(SUFFIX), length = strlen(file);

	if (length <= prefix + suffix || length - prefix - suffix >= SEARCH_NAME_MAX ||
	    strncmp(file, PREFIX, prefix) != 0 || strcmp(file + length - suffix, SUFFIX) != 0)
		return false;
	memcpy(name, file + prefix, length - prefix - suffix);
	name[length - prefix - suffix] = '\0';
	return true;
}

bool search_next_plugin(const char *folder, char name[SEARCH_NAME_MAX])
{
	char found[SEARCH_NAME_MAX], best[SEARCH_NAME_MAX] = "";
	DIR *listing = opendir(folder);

	if (!listing)
		return false;
	for (const struct dirent *file; (file = readdir(listing));) {
		if (plugin_name(file->d_name, found) && strcmp(found, name) > 0 &&
		    (!*best || strcmp(found, best) < 0))
			memcpy(best, found, sizeof best);
	}
	closedir(listing);
	if (*best)
		memcpy(name, best, sizeof best);
	return *best != '\0';
}

bool search_plugin_path(const char *folder, const char *name, char path[PATH_MAX])
{
	int length = snprintf(path, PATH_MAX, "%s/" PREFIX "%s" SUFFIX, folder, name);

	return length > 0 && length < PATH_MAX;
}

char *search_describe(char *text, uint32_t text_size)
{
	char folder[PATH_MAX];
	bool from_path;
	size_t used = 0;

	text[0] = '\0';
	for (uint32_t i = 0; used < text_size && search_folder(i, folder, &from_path); i++)
		used += (size_t)snprintf(text + used, text_size - used, "%s%s", i ? ", " : "", folder);
	return text;
}

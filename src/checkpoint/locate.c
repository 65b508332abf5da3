/* SPDX-License-Identifier: MIT */
/* Finds the weights that a path means: a file, an index, or what a folder holds. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/path.h"
#include "base/status.h"
#include "base/text.h"
#include "checkpoint/checkpoint_int.h"
#include "checkpoint/read_text.h"

#define ENDING ".safetensors"

bool safetensors_match(const char *path)
{
	return text_ends_with(path, ENDING) || text_ends_with(path, ".json");
}

static bool exists(const char *folder, const char *name, ufm_status *status)
{
	char *path = path_join(folder, name);
	bool there;

	if (!path) {
		*status = UFM_ENOMEM;
		return false;
	}
	there = access(path, F_OK) == 0;
	alloc_free(path);
	return there;
}

/* How many names in the folder end with .safetensors, and the first of them (NULL: not asked for). */
static ufm_status find_endings(const char *folder, uint32_t *count, char **name)
{
	DIR *open_folder = opendir(folder);
	struct dirent *entry;
	ufm_status status = UFM_OK;

	if (!open_folder)
		return status_fail(UFM_EFILE, "cannot be opened: %s", strerror(errno));
	*count = 0;
	while (!status && (entry = readdir(open_folder))) {
		if (!text_ends_with(entry->d_name, ENDING) || (*count)++ || !name)
			continue;
		*name = alloc_string(entry->d_name);
		if (!*name)
			status = UFM_ENOMEM;
	}
	closedir(open_folder);
	return status;
}

bool checkpoint_holds_single(const char *folder)
{
	uint32_t count;

	return find_endings(folder, &count, NULL) || count == 1;
}

/* The one name in the folder that ends with .safetensors. */
static ufm_status find_single(const char *folder, char **name)
{
	uint32_t count = 0;
	*name = NULL;
	ufm_status status = find_endings(folder, &count, name);

	if (!status && count != 1)
		status = status_fail(UFM_EFILE,
		                     "holds %u " ENDING " files, expected model" ENDING ", model" ENDING
		                     ".index.json or exactly one",
		                     count);
	if (status)
		alloc_free(*name);
	return status;
}

#define SINGLE "model" ENDING
#define INDEX SINGLE ".index.json"

ufm_status safetensors_is_folder(const char *folder, bool *out)
{
	ufm_status status = UFM_OK;

	*out = exists(folder, SINGLE, &status) || (!status && exists(folder, INDEX, &status));
	return status;
}

static bool names_single(const checkpoint_index *index)
{
	bool found = false;

	for (uint32_t i = 0; i < index->file_count; i++)
		found |= strcmp(index->files[i], SINGLE) == 0;
	return found;
}

static ufm_status read_index(checkpoint_place *place)
{
	uint64_t size;
	ufm_status status =
		checkpoint_read_text(place->path, SAFETENSORS_HEADER_BYTES_MAX, &place->text, &size);

	if (status)
		return status;
	status = checkpoint_index_parse(place->text, size, &place->index);
	return status ? status_prefix(status, "%s", place->path) : UFM_OK;
}

/* Takes ownership of `path`, which may be NULL for want of memory. */
static ufm_status take_path(checkpoint_place *place, char *path)
{
	place->path = path;
	if (!path)
		return UFM_ENOMEM;
	place->is_index = text_ends_with(path, ".json");
	return place->is_index ? read_index(place) : UFM_OK;
}

static ufm_status take_only(checkpoint_place *place)
{
	char *name;
	ufm_status status = find_single(place->folder, &name);

	if (status)
		return status_prefix(status, "%s", place->folder);
	status = take_path(place, path_join(place->folder, name));
	alloc_free(name);
	return status;
}

/* A single file beside an index is a shard of it, when that says so. */
static ufm_status take_from_folder(checkpoint_place *place)
{
	ufm_status status = UFM_OK;
	bool single = exists(place->folder, SINGLE, &status);
	bool index = !status && exists(place->folder, INDEX, &status);

	if (status)
		return status;
	if (!single && !index)
		return take_only(place);
	status = take_path(place, path_join(place->folder, index ? INDEX : SINGLE));
	if (status || !single || !index || names_single(&place->index))
		return status;
	return status_fail(UFM_EFILE,
	                   "%s: holds both " SINGLE " and " INDEX
	                   ", which does not name it: name the one that is meant",
	                   place->folder);
}

ufm_status checkpoint_locate(const char *path, checkpoint_place *out)
{
	checkpoint_place place = {0};
	struct stat st;
	ufm_status status;

	if (stat(path, &st) != 0)
		return status_fail(UFM_EFILE, "%s: cannot be opened: %s", path, strerror(errno));
	place.folder = S_ISDIR(st.st_mode) ? alloc_string(path) : path_folder(path);
	if (!place.folder)
		return UFM_ENOMEM;
	status = S_ISDIR(st.st_mode) ? take_from_folder(&place) : take_path(&place, alloc_string(path));
	if (status) {
		checkpoint_place_free(&place);
		return status;
	}
	*out = place;
	return UFM_OK;
}

void checkpoint_place_free(checkpoint_place *place)
{
	checkpoint_index_free(&place->index);
	alloc_free(place->text);
	alloc_free(place->path);
	alloc_free(place->folder);
}

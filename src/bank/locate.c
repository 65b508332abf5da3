/* SPDX-License-Identifier: MIT */
/* Finds the weights that a path means: a file, an index, or what a folder holds. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bank/bank.h"
#include "bank/checkpoint_int.h"
#include "base/alloc.h"
#include "base/file.h"
#include "base/status.h"
#include "base/text.h"

#define ENDING ".safetensors"

bool bank_is_checkpoint(const char *path)
{
	struct stat st;

	return text_ends_with(path, ENDING) || text_ends_with(path, ".json") ||
	       (stat(path, &st) == 0 && S_ISDIR(st.st_mode));
}

char *checkpoint_join(const char *folder, const char *name)
{
	size_t size = strlen(folder) + 1 + strlen(name) + 1;
	char *path = alloc_zeroed(size, 1);

	if (path)
		snprintf(path, size, "%s%s%s", folder, text_ends_with(folder, "/") ? "" : "/", name);
	return path;
}

/* "." when the path names no folder. */
static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	size_t length = slash ? (size_t)(slash - path) : 1;
	char *folder;

	if (slash == path)
		return alloc_string("/");
	folder = alloc_zeroed(length + 1, 1);
	if (folder)
		memcpy(folder, slash ? path : ".", length);
	return folder;
}

static bool exists(const char *folder, const char *name, ufm_status *status)
{
	char *path = checkpoint_join(folder, name);
	bool there;

	if (!path) {
		*status = UFM_ENOMEM;
		return false;
	}
	there = access(path, F_OK) == 0;
	alloc_free(path);
	return there;
}

/* The one name in the folder that ends with .safetensors. */
static ufm_status find_single(const char *folder, char **name)
{
	DIR *open_folder = opendir(folder);
	struct dirent *entry;
	uint32_t count = 0;
	ufm_status status = UFM_OK;

	if (!open_folder)
		return status_fail(UFM_EFILE, "cannot be opened: %s", strerror(errno));
	*name = NULL;
	while (!status && (entry = readdir(open_folder))) {
		if (!text_ends_with(entry->d_name, ENDING) || count++)
			continue;
		*name = alloc_string(entry->d_name);
		if (!*name)
			status = UFM_ENOMEM;
	}
	closedir(open_folder);
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

static bool names_single(const checkpoint_index *index)
{
	bool found = false;

	for (uint32_t i = 0; i < index->file_count; i++)
		found |= strcmp(index->files[i], SINGLE) == 0;
	return found;
}

/* Whether the index says that the single file is one of its shards: then it is what is meant. */
static ufm_status is_shard(const char *folder, bool *out)
{
	char *path = checkpoint_join(folder, INDEX), *text = NULL;
	uint64_t size = 0;
	checkpoint_index index;
	ufm_status status =
		path ? checkpoint_read_text(path, SAFETENSORS_HEADER_BYTES_MAX, &text, &size) : UFM_ENOMEM;

	alloc_free(path);
	if (status)
		return status;
	status = checkpoint_index_parse(text, size, &index);
	if (!status) {
		*out = names_single(&index);
		checkpoint_index_free(&index);
	}
	alloc_free(text);
	return status ? status_prefix(status, INDEX) : UFM_OK;
}

static ufm_status choose(const char *folder, char **name)
{
	ufm_status status = UFM_OK;
	bool single = exists(folder, SINGLE, &status), shard = false;
	bool shards = !status && exists(folder, INDEX, &status);

	if (!status && single && shards)
		status = is_shard(folder, &shard);
	if (status)
		return status;
	if (single && shards && !shard)
		return status_fail(UFM_EFILE, "holds both " SINGLE " and " INDEX
		                              ", which does not name it: name the one that is meant");
	if (!single && !shards)
		return find_single(folder, name);
	*name = alloc_string(shards ? INDEX : SINGLE);
	return *name ? UFM_OK : UFM_ENOMEM;
}

static ufm_status locate_in_folder(const char *folder, checkpoint_place *place)
{
	char *name;
	ufm_status status = choose(folder, &name);

	if (status)
		return status_prefix(status, "%s", folder);
	place->folder = alloc_string(folder);
	place->path = checkpoint_join(folder, name);
	alloc_free(name);
	return UFM_OK;
}

ufm_status checkpoint_locate(const char *path, checkpoint_place *out)
{
	checkpoint_place place = {0};
	struct stat st;
	ufm_status status = UFM_OK;

	if (stat(path, &st) != 0)
		return status_fail(UFM_EFILE, "%s: cannot be opened: %s", path, strerror(errno));
	if (S_ISDIR(st.st_mode)) {
		status = locate_in_folder(path, &place);
	} else {
		place.folder = folder_of(path);
		place.path = alloc_string(path);
	}
	if (!status && (!place.path || !place.folder))
		status = UFM_ENOMEM;
	if (status) {
		checkpoint_place_free(&place);
		return status;
	}
	place.index = text_ends_with(place.path, ".json");
	*out = place;
	return UFM_OK;
}

void checkpoint_place_free(checkpoint_place *place)
{
	alloc_free(place->path);
	alloc_free(place->folder);
}

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

/* SPDX-License-Identifier: MIT */
/* The index of a checkpoint in shards: a JSON object whose weight_map names each tensor's file. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json_pull.h"
#include "base/status.h"
#include "checkpoint/checkpoint_int.h"

typedef struct checkpoint_entry entry;

typedef struct entry_list {
	entry *entries;
	uint32_t count, room;
} entry_list;

static bool entry_add(entry_list *list, const char *tensor, const char *file)
{
	entry *entries = alloc_grow(list->entries, list->count, &list->room, sizeof *entries);

	if (!entries)
		return false;
	list->entries = entries;
	entries[list->count++] = (entry){tensor, file};
	return true;
}

/* What could leave the folder is no name of a shard. */
static ufm_status check_name(const char *tensor, const char *file)
{
	if (!*file || strchr(file, '/') || strcmp(file, ".") == 0 || strcmp(file, "..") == 0)
		return status_fail(UFM_EFORMAT, "tensor \"%.200s\": \"%.100s\" is not a plain file name",
		                   tensor, file);
	return UFM_OK;
}

static void read_map(json_pull *r, entry_list *list)
{
	const char *tensor, *file;

	if (!json_pull_object(r))
		return;
	while (json_pull_next_key(r, &tensor)) {
		ufm_status status;

		if (!json_pull_string(r, &file))
			return;
		status = check_name(tensor, file);
		if (!status && !entry_add(list, tensor, file))
			status = UFM_ENOMEM;
		if (status)
			json_pull_stop(r, status);
	}
}

static int compare_entries(const void *a, const void *b)
{
	return strcmp(((const entry *)a)->tensor, ((const entry *)b)->tensor);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static ufm_status list_files(checkpoint_index *index)
{
	uint32_t kept = 0;

	index->files = alloc_zeroed(index->count, sizeof *index->files);
	if (!index->files)
		return UFM_ENOMEM;
	for (uint32_t i = 0; i < index->count; i++)
		index->files[i] = index->entries[i].file;
	if (index->count > 1)
		qsort(index->files, index->count, sizeof *index->files, compare_names);
	for (uint32_t i = 0; i < index->count; i++) {
		if (!kept || strcmp(index->files[kept - 1], index->files[i]) != 0)
			index->files[kept++] = index->files[i];
	}
	index->file_count = kept;
	if (kept > CHECKPOINT_FILES_MAX)
		return status_fail(UFM_EFORMAT, "weight_map names %u files, expected at most %u", kept,
		                   CHECKPOINT_FILES_MAX);
	return UFM_OK;
}

static ufm_status read_index(char *text, uint64_t size, entry_list *list)
{
	json_pull r;
	const char *key;
	bool found = false;

	json_pull_begin(&r, text, size);
	if (json_pull_object(&r)) {
		while (json_pull_next_key(&r, &key)) {
			/* Others (metadata) say nothing about where bytes lie. */
			if (strcmp(key, "weight_map") != 0) {
				json_pull_skip(&r);
				continue;
			}
			found = true;
			read_map(&r, list);
		}
	}
	if (json_pull_end(&r))
		return r.status;
	return found ? UFM_OK
	             : status_fail(UFM_EFORMAT, "weight_map is missing, expected the index "
	                                        "of a checkpoint: a config holds no weights");
}

ufm_status checkpoint_index_parse(char *text, uint64_t size, checkpoint_index *out)
{
	entry_list list = {0};
	checkpoint_index index = {0};
	ufm_status status = read_index(text, size, &list);

	if (!status) {
		if (list.count > 1)
			qsort(list.entries, list.count, sizeof *list.entries, compare_entries);
		index.entries = list.entries;
		index.count = list.count;
		status = list_files(&index);
	}
	if (status) {
		alloc_free(list.entries);
		alloc_free(index.files);
		return status;
	}
	*out = index;
	return UFM_OK;
}

void checkpoint_index_free(checkpoint_index *index)
{
	alloc_free((void *)index->entries);
	alloc_free(index->files);
	*index = (checkpoint_index){0};
}

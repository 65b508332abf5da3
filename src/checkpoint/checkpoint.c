/* SPDX-License-Identifier: MIT */
/* Opens a checkpoint: reads the headers of its files and brings their tensors together. */
#include "checkpoint/checkpoint.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/path.h"
#include "base/status.h"
#include "checkpoint/checkpoint_int.h"

static ufm_status read_header(checkpoint *c, int fd, checkpoint_file *file, uint32_t number)
{
	uint8_t prefix[SAFETENSORS_PREFIX_BYTES];
	uint64_t got, length;
	ufm_status status = file_read(fd, prefix, sizeof prefix, 0, &got);

	if (!status)
		status = safetensors_header_bytes(prefix, got, file->size_bytes, &length);
	if (status)
		return status;
	c->header_bytes += length;
	if (c->header_bytes > CHECKPOINT_HEADERS_BYTES_MAX)
		return status_fail(UFM_EFORMAT, "headers of all files exceed %u bytes",
		                   CHECKPOINT_HEADERS_BYTES_MAX);
	file->header = alloc_zeroed(length, 1);
	if (!file->header)
		return UFM_ENOMEM;
	status = file_read(fd, file->header, length, sizeof prefix, &got);
	if (!status && got < length)
		status = status_fail(UFM_EFILE, "the file became shorter while it was read");
	if (!status)
		status = safetensors_parse(file->header, length, file->size_bytes, number, &c->list);
	return status;
}

/* Takes ownership of `path`, which may be NULL for want of memory. */
static ufm_status add_file(checkpoint *c, char *path)
{
	uint32_t number = c->file_count;
	checkpoint_file *file = &c->files[number];
	ufm_status status;
	int fd;

	if (!path)
		return UFM_ENOMEM;
	file->path = path;
	c->file_count++;
	status = file_open(path, &fd, &file->size_bytes);
	if (!status) {
		status = read_header(c, fd, file, number);
		close(fd);
	}
	if (!status && c->list.count > CHECKPOINT_TENSORS_MAX)
		status = status_fail(UFM_EFORMAT, "more than %u tensors", CHECKPOINT_TENSORS_MAX);
	return status ? status_prefix(status, "%s", path) : UFM_OK;
}

static int compare_tensors(const void *a, const void *b)
{
	const checkpoint_tensor *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	return order ? order : (int)x->file - (int)y->file;
}

static ufm_status sort_tensors(checkpoint *c)
{
	const checkpoint_tensor *tensors = c->list.tensors;

	if (c->list.count > 1)
		qsort(c->list.tensors, c->list.count, sizeof *c->list.tensors, compare_tensors);
	for (uint32_t i = 1; i < c->list.count; i++) {
		if (strcmp(tensors[i - 1].name, tensors[i].name) == 0)
			return status_fail(UFM_EFORMAT, "%s: tensor \"%.200s\" is also in %s",
			                   c->files[tensors[i].file].path, tensors[i].name,
			                   c->files[tensors[i - 1].file].path);
	}
	return UFM_OK;
}

static ufm_status fail_not_in_file(const struct checkpoint_entry *entry)
{
	return status_fail(UFM_EFORMAT, "tensor \"%.200s\": is in the index, but not in %.100s",
	                   entry->tensor, entry->file);
}

static ufm_status fail_not_in_index(const checkpoint_tensor *t, const char *file)
{
	return status_fail(UFM_EFORMAT, "tensor \"%.200s\": is in %.100s, but not in the index",
	                   t->name, file);
}

/* Index and shards, both sorted, must name the same tensors in the same files. */
static ufm_status check_index(const checkpoint *c, const checkpoint_index *index)
{
	uint32_t i;

	for (i = 0; i < index->count && i < c->list.count; i++) {
		const struct checkpoint_entry *entry = &index->entries[i];
		const checkpoint_tensor *t = &c->list.tensors[i];
		int order = strcmp(entry->tensor, t->name);

		if (order < 0)
			return fail_not_in_file(entry);
		if (order > 0)
			return fail_not_in_index(t, index->files[t->file]);
		if (strcmp(entry->file, index->files[t->file]) != 0)
			return status_fail(UFM_EFORMAT,
			                   "tensor \"%.200s\": is in %.100s, the index says %.100s", t->name,
			                   index->files[t->file], entry->file);
	}
	if (i < index->count)
		return fail_not_in_file(&index->entries[i]);
	if (i < c->list.count)
		return fail_not_in_index(&c->list.tensors[i], index->files[c->list.tensors[i].file]);
	return UFM_OK;
}

static ufm_status open_shards(checkpoint *c, const checkpoint_place *place)
{
	const checkpoint_index *index = &place->index;
	ufm_status status = UFM_OK;

	c->files = alloc_zeroed(index->file_count, sizeof *c->files);
	if (!c->files)
		return UFM_ENOMEM;
	for (uint32_t i = 0; i < index->file_count && !status; i++)
		status = add_file(c, path_join(place->folder, index->files[i]));
	if (!status)
		status = sort_tensors(c);
	if (status)
		return status;
	status = check_index(c, index);
	return status ? status_prefix(status, "%s", place->path) : UFM_OK;
}

static ufm_status open_single(checkpoint *c, const checkpoint_place *place)
{
	c->files = alloc_zeroed(1, sizeof *c->files);
	if (!c->files)
		return UFM_ENOMEM;
	return add_file(c, alloc_string(place->path));
}

/* None is no failure; one that is there and cannot be reached is: a cache links to files, and a download may have been
 * interrupted. */
static ufm_status find_config(checkpoint *c, const char *folder)
{
	char *path = path_join(folder, "config.json");
	struct stat st;
	ufm_status status = UFM_OK;

	if (!path)
		return UFM_ENOMEM;
	if (access(path, F_OK) == 0) {
		c->config_path = path;
		return UFM_OK;
	}
	if (lstat(path, &st) == 0)
		status = status_fail(
			UFM_EFILE, "%s: is a link to nothing, expected the config that belongs to the weights",
			path);
	alloc_free(path);
	return status;
}

static ufm_status open_at(checkpoint *c, const checkpoint_place *place)
{
	ufm_status status = place->is_index ? open_shards(c, place) : open_single(c, place);

	return status ? status : find_config(c, place->folder);
}

ufm_status safetensors_open(checkpoint *c, const char *path)
{
	checkpoint_place place;
	ufm_status status = checkpoint_locate(path, &place);

	if (status)
		return status;
	status = open_at(c, &place);
	checkpoint_place_free(&place);
	return status;
}

/* Where nothing says whose file it is, the first failure says what was looked for. */
static const checkpoint_format unknown = {.name = "safetensors", .open = safetensors_open};

static ufm_status fill(checkpoint *c, const char *path)
{
	ufm_status status;

	c->path = alloc_string(path);
	if (!c->path)
		return UFM_ENOMEM;
	c->format = checkpoint_format_of(path);
	if (!c->format)
		c->format = &unknown;
	status = c->format->open(c, path);
	return status ? status : sort_tensors(c);
}

ufm_status checkpoint_open(const char *path, checkpoint **out)
{
	checkpoint *c;
	ufm_status status;

	if (!path || !*path)
		return status_fail(UFM_EINVAL, "path is empty, expected a checkpoint's file or folder");
	c = alloc_zeroed(1, sizeof *c);
	if (!c)
		return UFM_ENOMEM;
	status = fill(c, path);
	if (status) {
		checkpoint_close(c);
		return status;
	}
	*out = c;
	return UFM_OK;
}

void checkpoint_close(checkpoint *c)
{
	if (!c)
		return;
	for (uint32_t i = 0; i < c->file_count; i++) {
		alloc_free(c->files[i].path);
		alloc_free(c->files[i].header);
	}
	alloc_free(c->files);
	alloc_free(c->path);
	alloc_free(c->config_path);
	alloc_free(c->values.items);
	tensor_list_free(&c->list);
	alloc_free(c);
}

uint32_t checkpoint_tensor_count(const checkpoint *c)
{
	return c->list.count;
}

const checkpoint_tensor *checkpoint_tensor_at(const checkpoint *c, uint32_t index)
{
	assert(index < c->list.count);
	return &c->list.tensors[index];
}

uint32_t checkpoint_lower_bound(const checkpoint *c, const char *name)
{
	uint32_t low = 0, high = c->list.count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (strcmp(c->list.tensors[middle].name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const checkpoint_tensor *checkpoint_find(const checkpoint *c, const char *name)
{
	uint32_t at = checkpoint_lower_bound(c, name);

	return at < c->list.count && strcmp(c->list.tensors[at].name, name) == 0 ? &c->list.tensors[at]
	                                                                         : NULL;
}

uint32_t checkpoint_file_count(const checkpoint *c)
{
	return c->file_count;
}

const char *checkpoint_file_path(const checkpoint *c, uint32_t file)
{
	assert(file < c->file_count);
	return c->files[file].path;
}

uint64_t checkpoint_file_bytes(const checkpoint *c, uint32_t file)
{
	assert(file < c->file_count);
	return c->files[file].size_bytes;
}

const char *checkpoint_path(const checkpoint *c)
{
	return c->path;
}

const char *checkpoint_format_name(const checkpoint *c)
{
	return c->format->name;
}

const gguf_values *checkpoint_values(const checkpoint *c)
{
	return c->format->open == gguf_open ? &c->values : NULL;
}

const char *checkpoint_config_path(const checkpoint *c)
{
	return c->config_path;
}

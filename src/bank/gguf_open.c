/* SPDX-License-Identifier: MIT */
/* Opens a GGUF file, or all files that a model was split into. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bank/checkpoint_int.h"
#include "bank/gguf_int.h"
#include "base/alloc.h"
#include "base/file.h"
#include "base/status.h"
#include "base/text.h"

/* "-00001-of-00003.gguf" */
#define SPLIT_TAIL_BYTES 20u
#define SPLIT_NUMBER_BYTES 5u
/* What is read at first; a header that goes on behind it is read anew, so many times as much. */
#define FIRST_BYTES (1u << 16)
#define GROWTH 8

/* ---- a file's header */

/* The first `bytes` bytes of the file, to be freed. */
static ufm_status read_first(int fd, uint64_t bytes, uint8_t **out)
{
	uint64_t got;
	uint8_t *first = alloc_zeroed(bytes, 1);
	ufm_status status;

	if (!first)
		return UFM_ENOMEM;
	status = file_read(fd, first, bytes, 0, &got);
	if (!status && got < bytes)
		status = status_fail(UFM_EFILE, "the file became shorter while it was read");
	if (status)
		alloc_free(first);
	else
		*out = first;
	return status;
}

/* *more: the header is longer than that. */
static ufm_status try_header(int fd, uint64_t bytes, uint64_t file_bytes, uint32_t number,
                             tensor_list *list, gguf_header *out, bool *more)
{
	uint8_t *first;
	ufm_status status = read_first(fd, bytes, &first);

	if (status)
		return status;
	status = gguf_parse(first, bytes, file_bytes, number, list, out, more);
	alloc_free(first);
	return status;
}

static uint64_t at_most(uint64_t bytes, uint64_t most)
{
	return bytes < most ? bytes : most;
}

static ufm_status read_header(int fd, uint64_t file_bytes, uint32_t number, tensor_list *list,
                              gguf_header *out)
{
	uint64_t most = at_most(file_bytes, GGUF_HEADER_BYTES_MAX);
	uint64_t bytes = at_most(FIRST_BYTES, most);
	bool more = false;
	ufm_status status = try_header(fd, bytes, file_bytes, number, list, out, &more);

	while (more && bytes < most) {
		bytes = at_most(bytes * GROWTH, most);
		more = false;
		status = try_header(fd, bytes, file_bytes, number, list, out, &more);
	}
	return status;
}

/* What the header says is written to the file's place; *values is its key-values. */
static ufm_status open_header(checkpoint *c, checkpoint_file *file, uint32_t number,
                              gguf_values *values)
{
	gguf_header header;
	int fd;
	ufm_status status = file_open(file->path, &fd, &file->size_bytes);

	if (status)
		return status;
	status = read_header(fd, file->size_bytes, number, &c->list, &header);
	close(fd);
	if (status)
		return status;
	file->header = header.text;
	*values = header.values;
	c->header_bytes += header.header_bytes;
	if (c->header_bytes > CHECKPOINT_HEADERS_BYTES_MAX)
		return status_fail(UFM_EFORMAT, "headers of all files exceed %u bytes",
		                   CHECKPOINT_HEADERS_BYTES_MAX);
	if (c->list.count > CHECKPOINT_TENSORS_MAX)
		return status_fail(UFM_EFORMAT, "more than %u tensors", CHECKPOINT_TENSORS_MAX);
	return UFM_OK;
}

/* Takes ownership of `path`, which may be NULL for want of memory. Whatever `values` had is the caller's to free, also
 * after a failure. */
static ufm_status add_file(checkpoint *c, char *path, gguf_values *values)
{
	uint32_t number = c->file_count;
	ufm_status status;

	if (!path)
		return UFM_ENOMEM;
	c->files[number].path = path;
	c->file_count++;
	status = open_header(c, &c->files[number], number, values);
	return status ? status_prefix(status, "%s", path) : UFM_OK;
}

/* ---- split models */

/* What a file says about being one of several. */
typedef struct split {
	uint32_t number, count; /* from 0; 0 of 1: not split */
	uint32_t tensors;       /* of all; 0: not said */
} split;

static ufm_status read_count(const gguf_values *values, const char *key, uint32_t least,
                             uint32_t most, uint32_t *out)
{
	const gguf_value *said = gguf_find(values, key);
	char words[64];

	if (!said || gguf_value_whole(said, least, most, out))
		return UFM_OK;
	return status_fail(UFM_EFORMAT, "%s is %s, expected %u … %u", key,
	                   gguf_value_words(said, words, sizeof words), least, most);
}

static ufm_status read_split(const gguf_values *values, split *out)
{
	split s = {.count = 1};
	ufm_status status = read_count(values, "split.count", 0, CHECKPOINT_FILES_MAX, &s.count);

	s.count = s.count ? s.count : 1;
	if (!status)
		status = read_count(values, "split.no", 0, s.count - 1, &s.number);
	if (!status)
		status = read_count(values, "split.tensors.count", 0, CHECKPOINT_TENSORS_MAX, &s.tensors);
	*out = s;
	return status;
}

const char *gguf_split_tail(const char *path)
{
	size_t length = strlen(path);
	const char *tail = path + length - SPLIT_TAIL_BYTES;

	if (length <= SPLIT_TAIL_BYTES || tail[0] != '-' || strncmp(tail + 6, "-of-", 4) != 0 ||
	    strcmp(tail + 15, GGUF_ENDING) != 0)
		return NULL;
	if (strspn(tail + 1, "0123456789") != SPLIT_NUMBER_BYTES ||
	    strspn(tail + 10, "0123456789") != SPLIT_NUMBER_BYTES)
		return NULL;
	return tail;
}

/* The path of a file of the same model; NULL without memory. */
static char *split_path(const char *path, uint32_t number, uint32_t count)
{
	size_t before = strlen(path) - SPLIT_TAIL_BYTES, size = strlen(path) + 32;
	char *text = alloc_zeroed(size, 1);

	if (text)
		snprintf(text, size, "%.*s-%05u-of-%05u" GGUF_ENDING, (int)before, path, number + 1, count);
	return text;
}

/* The name must lead to the others. */
static ufm_status check_name(const char *path, const split *s)
{
	const char *tail = gguf_split_tail(path);

	if (tail && strtoul(tail + 1, NULL, 10) == s->number + 1 &&
	    strtoul(tail + 10, NULL, 10) == s->count)
		return UFM_OK;
	return status_fail(UFM_EFORMAT,
	                   "%s: is file %u of %u of its model, expected a name that ends with "
	                   "-%05u-of-%05u" GGUF_ENDING,
	                   path, s->number + 1, s->count, s->number + 1, s->count);
}

static ufm_status check_same(const checkpoint_file *file, const split *found, const split *expected)
{
	if (found->number == expected->number && found->count == expected->count &&
	    found->tensors == expected->tensors)
		return UFM_OK;
	return status_fail(UFM_EFORMAT,
	                   "%s: split.no %u of split.count %u, %u tensors in all; expected %u of %u, "
	                   "%u tensors",
	                   file->path, found->number, found->count, found->tensors, expected->number,
	                   expected->count, expected->tensors);
}

/* One of several: of the first the key-values are kept. */
static ufm_status add_shard(checkpoint *c, const char *path, const split *s)
{
	gguf_values values = {.count = 0};
	const checkpoint_file *file = &c->files[c->file_count];
	split found;
	ufm_status status = add_file(c, split_path(path, s->number, s->count), &values);

	if (!status) {
		status = read_split(&values, &found);
		status = status ? status_prefix(status, "%s", file->path) : check_same(file, &found, s);
	}
	if (s->number == 0)
		c->values = values;
	else
		alloc_free(values.items);
	return status;
}

static ufm_status check_count(const checkpoint *c, const char *path, const split *s)
{
	if (s->tensors == c->list.count)
		return UFM_OK;
	return status_fail(UFM_EFORMAT, "%s: split.tensors.count is %u, the %u files hold %u", path,
	                   s->tensors, s->count, c->list.count);
}

static ufm_status open_shards(checkpoint *c, const char *path, const split *s)
{
	ufm_status status = check_name(path, s);

	if (status)
		return status;
	c->files = alloc_zeroed(s->count, sizeof *c->files);
	if (!c->files)
		return UFM_ENOMEM;
	for (uint32_t i = 0; i < s->count && !status; i++)
		status = add_shard(c, path, &(split){i, s->count, s->tensors});
	return status ? status : check_count(c, path, s);
}

/* Forgets the one file that was looked into, to begin with the first of all. */
static void forget(checkpoint *c)
{
	alloc_free(c->files[0].path);
	alloc_free(c->files[0].header);
	alloc_free(c->files);
	alloc_free(c->values.items);
	c->values = (gguf_values){.count = 0};
	c->files = NULL;
	c->file_count = 0;
	c->header_bytes = 0;
	tensor_list_free(&c->list);
}

ufm_status gguf_open(checkpoint *c, const char *path)
{
	split s;
	ufm_status status;

	c->files = alloc_zeroed(1, sizeof *c->files);
	if (!c->files)
		return UFM_ENOMEM;
	status = add_file(c, alloc_string(path), &c->values);
	if (status)
		return status;
	status = read_split(&c->values, &s);
	if (status)
		return status_prefix(status, "%s", path);
	if (s.count == 1)
		return UFM_OK;
	forget(c);
	return open_shards(c, path, &s);
}

/* ---- as a format of checkpoints */

static bool begins_so(const char *path)
{
	char magic[sizeof GGUF_MAGIC - 1];
	uint64_t size_bytes, got = 0;
	int fd;

	if (file_open(path, &fd, &size_bytes))
		return false;
	bool read = file_read(fd, magic, sizeof magic, 0, &got) == UFM_OK && got == sizeof magic;
	close(fd);
	return read && memcmp(magic, GGUF_MAGIC, sizeof magic) == 0;
}

bool gguf_match(const char *path)
{
	struct stat st;

	if (text_ends_with(path, GGUF_ENDING))
		return true;
	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && begins_so(path);
}

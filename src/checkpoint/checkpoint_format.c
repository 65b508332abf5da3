/* SPDX-License-Identifier: MIT */
/* Whose file or folder it is. */
#include <errno.h>
#include <sys/stat.h>

#include "checkpoint/checkpoint_int.h"

static bool folder_match(const char *path);
static ufm_status folder_open(checkpoint *c, const char *path);

/* Asked in this order; a folder becomes one of the others. */
static const checkpoint_format safetensors = {"safetensors", safetensors_match, safetensors_open};
static const checkpoint_format gguf = {"gguf", gguf_match, gguf_open};
static const checkpoint_format folder = {"folder", folder_match, folder_open};
static const checkpoint_format *const formats[] = {&safetensors, &gguf, &folder};

static bool folder_match(const char *path)
{
	struct stat st;

	/* What cannot be examined has its cause said by whoever looks into it. */
	return stat(path, &st) == 0 ? S_ISDIR(st.st_mode) : errno != ENOENT && errno != ENOTDIR;
}

static ufm_status folder_open(checkpoint *c, const char *path)
{
	bool is_safetensors, is_gguf = false;
	ufm_status status = safetensors_is_folder(path, &is_safetensors);

	if (!status && !is_safetensors)
		status = gguf_is_folder(path, &is_gguf);
	if (status)
		return status;
	c->format = is_gguf ? &gguf : &safetensors;
	return is_gguf ? gguf_open_folder(c, path) : safetensors_open(c, path);
}

const checkpoint_format *checkpoint_format_of(const char *path)
{
	for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
		if (formats[i]->match(path))
			return formats[i];
	}
	return NULL;
}

bool checkpoint_matches(const char *path)
{
	return checkpoint_format_of(path) != NULL;
}

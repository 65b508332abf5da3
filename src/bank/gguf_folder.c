/* SPDX-License-Identifier: MIT */
/* Finds the one model that a folder holds in GGUF files. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bank/checkpoint_int.h"
#include "bank/gguf_int.h"
#include "base/alloc.h"
#include "base/path.h"
#include "base/status.h"
#include "base/text.h"

/* Whether a name is a model's: of a split one the first file's. */
static bool is_model(const char *name)
{
	const char *tail = gguf_split_tail(name);

	return text_ends_with(name, GGUF_ENDING) && (!tail || strtoul(tail + 1, NULL, 10) == 1);
}

/* How many models there are, and the name of the first. */
typedef struct models {
	uint32_t count;
	char *name;
	bool others; /* weights of another format, or their index */
} models;

static ufm_status note_name(const char *name, models *found)
{
	found->others |=
		text_ends_with(name, ".safetensors") || text_ends_with(name, ".safetensors.index.json");
	if (!is_model(name) || found->count++)
		return UFM_OK;
	found->name = alloc_string(name);
	return found->name ? UFM_OK : UFM_ENOMEM;
}

/* NULL with errno 0 is the end. */
static struct dirent *next_entry(DIR *folder)
{
	errno = 0;
	return readdir(folder);
}

static ufm_status list_models(const char *folder, models *out)
{
	DIR *open_folder = opendir(folder);
	struct dirent *entry = NULL;
	ufm_status status = UFM_OK;

	*out = (models){.count = 0};
	if (!open_folder)
		return status_fail(UFM_EFILE, "cannot be opened: %s", strerror(errno));
	while (!status && (entry = next_entry(open_folder)))
		status = note_name(entry->d_name, out);
	if (!status && errno)
		status = status_fail(UFM_EFILE, "cannot be listed: %s", strerror(errno));
	closedir(open_folder);
	return status;
}

ufm_status gguf_is_folder(const char *folder, bool *out)
{
	models found;
	ufm_status status = list_models(folder, &found);

	alloc_free(found.name);
	*out = !status && found.count > 0 && !found.others;
	return status ? status_prefix(status, "%s", folder) : UFM_OK;
}

static ufm_status open_only(checkpoint *c, const char *folder, const models *found)
{
	char *path;
	ufm_status status;

	if (found->count != 1)
		return status_fail(UFM_EFILE,
		                   "%s: holds %u models in " GGUF_ENDING " files, expected one: name "
		                   "the file that is meant",
		                   folder, found->count);
	path = path_join(folder, found->name);
	status = path ? gguf_open(c, path) : UFM_ENOMEM;
	alloc_free(path);
	return status;
}

ufm_status gguf_open_folder(checkpoint *c, const char *folder)
{
	models found;
	ufm_status status = list_models(folder, &found);

	status = status ? status_prefix(status, "%s", folder) : open_only(c, folder, &found);
	alloc_free(found.name);
	return status;
}

/* SPDX-License-Identifier: MIT */
/* Fuzz target: the index of a checkpoint in shards. What is accepted names plain files and each tensor
 * once. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "bank/checkpoint_int.h"
#include "require.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

static void check_accepted(const checkpoint_index *index)
{
	for (uint32_t i = 0; i < index->count; i++) {
		const char *file = index->entries[i].file;

		require(i == 0 || strcmp(index->entries[i - 1].tensor, index->entries[i].tensor) < 0);
		require(*file && !strchr(file, '/') && strcmp(file, "..") != 0);
	}
	for (uint32_t i = 1; i < index->file_count; i++)
		require(strcmp(index->files[i - 1], index->files[i]) < 0);
	require(index->file_count <= index->count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	char *text = malloc(size_bytes + 1);
	checkpoint_index index;
	ufm_status status;

	require(text);
	memcpy(text, data, size_bytes);
	status = checkpoint_index_parse(text, size_bytes, &index);
	if (status == UFM_OK) {
		check_accepted(&index);
		checkpoint_index_free(&index);
	} else {
		require(status == UFM_EFORMAT && *ufm_last_error() && !strchr(ufm_last_error(), '\n'));
	}
	free(text);
	return 0;
}

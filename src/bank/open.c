/* SPDX-License-Identifier: MIT */
/* Opens a bank from a file, whichever format its path means. */
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "bank/bank_int.h"
#include "base/status.h"

static bool ends_with(const char *text, const char *end)
{
	size_t length = strlen(text), tail = strlen(end);

	return length >= tail && strcmp(text + length - tail, end) == 0;
}

bool bank_is_checkpoint(const char *path)
{
	struct stat st;

	return ends_with(path, ".safetensors") || ends_with(path, ".json") ||
	       (stat(path, &st) == 0 && S_ISDIR(st.st_mode));
}

ufm_status ufm_bank_open(const char *path, ufm_bank **out)
{
	if (!path || !*path)
		return status_fail(UFM_EINVAL, "path is empty, expected a bank's file or folder");
	return bank_is_checkpoint(path) ? ufm_bank_checkpoint(path, NULL, out)
	                                : bank_packed_open(path, out);
}

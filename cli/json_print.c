/* SPDX-License-Identifier: MIT */
/* The text first, then the stream. */
#include "cli/json_print.h"

#include <stdbool.h>

#include "base/alloc.h"
#include "base/status.h"
#include "cli/json_memory.h"

char *json_as_text(const json_t *value, size_t flags, size_t *length)
{
	if (json_memory_check())
		return NULL;
	size_t size = json_dumpb(value, NULL, 0, flags);
	char *text = size ? alloc_zeroed(size + 2, 1) : NULL;
	if (!text || json_dumpb(value, text, size, flags) != size || json_memory_check()) {
		alloc_free(text);
		json_memory_lose();
		status_record("no memory was left for the text of JSON");
		return NULL;
	}
	text[size] = '\n';
	*length = size + 1;
	return text;
}

ufm_status json_print(FILE *to, const json_t *value, size_t flags)
{
	size_t length;
	char *text = json_as_text(value, flags, &length);
	if (!text)
		return UFM_ENOMEM;
	/* Where memory lacks for a stream's buffer, its flag is not set. */
	bool lost = fwrite(text, 1, length, to) != length && !ferror(to);
	alloc_free(text);
	if (!lost)
		return UFM_OK;
	json_memory_lose();
	return status_fail(UFM_ENOMEM, "no memory was left to write JSON");
}

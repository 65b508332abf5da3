/* SPDX-License-Identifier: MIT */
/* Fuzz target: size_parse on any text; what it accepts must survive being printed in bytes. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes);

static void check_accepted(uint64_t value)
{
	char text[32];
	uint64_t again = 0;

	if (value > INT64_MAX)
		abort();
	snprintf(text, sizeof text, "%" PRIu64, value);
	if (size_parse(text, &again) != UFM_OK || again != value)
		abort();
	size_format(value, text, sizeof text);
	if (!*text)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	char *text = calloc(size_bytes + 1, 1);
	uint64_t value = 0;

	if (!text)
		return 0;
	memcpy(text, data, size_bytes);
	ufm_status status = size_parse(text, &value);
	if (status == UFM_OK)
		check_accepted(value);
	else if (status != UFM_EINVAL || !*ufm_last_error() || strchr(ufm_last_error(), '\n'))
		abort();
	free(text);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/* What the filters share. */
#ifndef UFM_STORE_STORE_INT_H
#define UFM_STORE_STORE_INT_H

#include <stdbool.h>

#include "store/store.h"

typedef struct store_option {
	const char *name;
	uint64_t value;
	bool given;
} store_option;

/* Reads "name=number,name=number" into the options of a filter. Every option must be given, once.
 * UFM_EINVAL quotes what was found and names the options that there are. */
ufm_status store_parse_options(const char *filter, const char *text, store_option *options,
                               uint32_t count);

#endif

/* SPDX-License-Identifier: MIT */
/* Stacks the filters that a text asks for on the store that a bank needs. */
#include "store/store.h"

#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"
#include "base/status.h"

/* Wraps *top with the filter "name:options", or closes it. */
static ufm_status wrap(const ufm_bank *bank, const char *filter, store **top)
{
	store *inner = *top;
	const char *colon = strchr(filter, ':');
	size_t length = colon ? (size_t)(colon - filter) : strlen(filter);
	const char *options = colon ? colon + 1 : "";

	if (length == 5 && memcmp(filter, "fault", 5) == 0)
		return store_fault_open(inner, bank, options, top);
	if (length == 5 && memcmp(filter, "delay", 5) == 0)
		return store_delay_open(inner, options, top);
	store_close(inner);
	return status_fail(UFM_EINVAL, "unknown store filter \"%s\", expected fault:… or delay:…",
	                   filter);
}

/* The outermost filter stands first, so they are taken from the end. Cuts `list` up. */
static ufm_status wrap_all(const ufm_bank *bank, char *list, store **top)
{
	for (;;) {
		char *plus = strrchr(list, '+');
		ufm_status status = wrap(bank, plus ? plus + 1 : list, top);

		if (status || !plus)
			return status;
		*plus = '\0';
	}
}

ufm_status store_open(ufm_bank *bank, const char *filter, store **out)
{
	store *top;
	char *list = NULL;
	ufm_status status;

	if (filter) {
		list = alloc_string(filter);
		if (!list)
			return UFM_ENOMEM;
	}
	status = store_extents_open(bank, &top);
	if (!status && list)
		status = wrap_all(bank, list, &top);
	alloc_free(list);
	if (!status)
		*out = top;
	return status;
}

void store_close(store *s)
{
	if (s)
		s->close(s);
}

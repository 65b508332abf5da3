/* SPDX-License-Identifier: MIT */
/* A replacement whose temporary name is known to who ends the process. */
#include "cli/output.h"

#include "cli/interrupt.h"

ufm_status output_open(const char *path, replacement *out)
{
	ufm_status status = replacement_open(path, out);
	if (!status)
		interrupt_unfinished(out->temporary);
	return status;
}

/* The same process gets the same name again. */
ufm_status output_check(const char *path)
{
	replacement tried;
	ufm_status status = output_open(path, &tried);
	if (!status)
		replacement_abandon(&tried);
	return status;
}

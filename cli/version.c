/* SPDX-License-Identifier: MIT */
/* The library's version, and the commit when the build passed it as UFM_GIT_DESCRIBE. */
#include "cli/version.h"

#include <stddef.h>
#include <stdio.h>
#include <ufm/ufm.h>

const char *version_git(void)
{
#ifdef UFM_GIT_DESCRIBE
	return sizeof UFM_GIT_DESCRIBE > 1 ? UFM_GIT_DESCRIBE : NULL;
#else
	return NULL;
#endif
}

const char *version_text(void)
{
	static char text[128];
	if (!version_git())
		return ufm_version();
	snprintf(text, sizeof text, "%s (%s)", ufm_version(), version_git());
	return text;
}

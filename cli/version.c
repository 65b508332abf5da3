/* SPDX-License-Identifier: MIT */
/* The library's version, and the commit it was built from. */
#include "cli/version.h"

#include <stddef.h>
#include <stdio.h>
#include <ufm/ufm.h>

#include "ufm_git_describe.h" /* written by the build */

const char *version_git(void)
{
	return sizeof UFM_GIT_DESCRIBE > 1 ? UFM_GIT_DESCRIBE : NULL;
}

const char *version_text(void)
{
	static char text[128];
	if (!version_git())
		return ufm_version();
	snprintf(text, sizeof text, "%s (%s)", ufm_version(), version_git());
	return text;
}

/* SPDX-License-Identifier: MIT */
/* What this program is. */
#ifndef CLI_VERSION_H
#define CLI_VERSION_H

/* "0.3.0", or "0.3.0 (git describe)" when the build knew it. Static storage. */
const char *version_text(void);
/* The build's `git describe`, or NULL. */
const char *version_git(void);

#endif

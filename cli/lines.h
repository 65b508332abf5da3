/* SPDX-License-Identifier: MIT */
/* Lines of a file that somebody gave. */
#ifndef CLI_LINES_H
#define CLI_LINES_H

#include <stdbool.h>
#include <stdio.h>
#include <ufm/ufm.h>

typedef struct lines {
	const char *path; /* the caller's, as long as this is open */
	FILE *file;
	char *line; /* with its end, where it has one */
	size_t length, room;
	unsigned number; /* of `line`, from 1 */
	bool whole;      /* `line` has its end; else the file's writer may have been killed within it */
} lines;

/* A regular file: nothing else is waited for. UFM_EFILE names the file. */
ufm_status lines_open(const char *path, lines *out);
/* The next line; *more false: there is none. A file that cannot be read on is UFM_EFILE, not at its end. UFM_ENOMEM. */
ufm_status lines_next(lines *l, bool *more);
void lines_close(lines *l);

#endif

/* SPDX-License-Identifier: MIT */
/* A file that is written beside the one it replaces: whoever opens that finds the old or the new one whole, and of two
 * writers the one that ends later stays. */
#ifndef UFM_BASE_REPLACE_H
#define UFM_BASE_REPLACE_H

#include <stdio.h>
#include <ufm/ufm.h>

typedef struct replacement {
	int fd;
	char *asked;     /* the path as it was given, for messages */
	char *path;      /* what is replaced: no link, but what the path's links point to */
	char *temporary; /* in the same folder, made here and used by nobody else */
} replacement;

/* UFM_EFILE: the folder takes no file, or the path is something else than a regular file (a folder, a device, a pipe)
 * or a link to nothing. UFM_ENOMEM. */
ufm_status replacement_open(const char *path, replacement *out);
/* The file as a stream, closed apart from it; NULL: no memory, or too many files are open (errno). */
FILE *replacement_stream(const replacement *r);
/* On disk when this returns. On failure nothing is left but what was there before. Either frees *r. */
ufm_status replacement_commit(replacement *r);
void replacement_abandon(replacement *r);

#endif

/* SPDX-License-Identifier: MIT */
/* Keeps a command from writing over what it reads. */
#ifndef CLI_SAME_FILE_H
#define CLI_SAME_FILE_H

#include <stdbool.h>
#include <ufm/ufm.h>

/* A file and what people call it on the command line ("--output", "TRACE"). path NULL: none was
 * given. */
typedef struct named_file {
	const char *name, *path;
} named_file;

/* Whether both names lead to one file, through links, too; of files that are not there, whether
 * they are spelt alike. */
bool same_file(const char *a, const char *b);

/* UFM_EINVAL names both when they are one file. */
ufm_status check_other_file(const named_file *output, const named_file *other);
/* The same for each file of a checkpoint: the path itself, and in its folder what is weights or
 * says what they are. */
ufm_status check_other_weights(const named_file *output, const named_file *weights);

#endif

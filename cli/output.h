/* SPDX-License-Identifier: MIT */
/* Files that a command writes whole or not at all, also when a signal ends it. */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include "base/replace.h"

/* As replacement_open; a signal that ends the process removes what is unfinished. */
ufm_status output_open(const char *path, replacement *out);

/* Before the work: whether the file could be written. Leaves nothing, and what output_open or the library will make
 * of this path later is removed by a signal, too. */
ufm_status output_check(const char *path);

#endif

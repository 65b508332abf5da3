/* SPDX-License-Identifier: MIT */
/* A routing table as a trace that others read: .jsonl or .npy, by the file's name (docs/formats.md). */
#ifndef UFM_TELEMETRY_ROUTING_FILE_H
#define UFM_TELEMETRY_ROUTING_FILE_H

#include "telemetry/routing.h"

/* UFM_EINVAL, with a line that does not name the option, unless the name ends with .jsonl or .npy. */
ufm_status routing_file_check_name(const char *path);

/* Written beside its name and renamed (base/replace.h): whole, or what it was before. UFM_EFILE; UFM_EINVAL for a name as above, a table of no
 * token, and for a .npy of tokens that do not all have the same number of experts in every layer: names
 * the place. The table's ids are spent. */
ufm_status routing_file_write(const char *path, routing_table *table);

#endif

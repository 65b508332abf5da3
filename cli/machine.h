/* SPDX-License-Identifier: MIT */
/* What this machine is, as JSON: for summary.json and `ufm doctor`. */
#ifndef CLI_MACHINE_H
#define CLI_MACHINE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"

/* cpu, cores, memory, limits, kernel, vector extensions, versions. */
json_t *machine_json(void);

/* The parts. */
json_t *machine_cpu(const limits *here);
json_t *machine_memory(const limits *here);
json_t *machine_versions(void);

/* First line of a file without its newline, or "" . Returns buffer. */
char *machine_read_line(const char *path, char *buffer, size_t size);
/* The value of "key : value" in a file such as /proc/cpuinfo; false if there is none. */
bool machine_read_key(const char *path, const char *key, char *buffer, size_t size);

#endif

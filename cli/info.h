/* SPDX-License-Identifier: MIT */
/* What `ufm info` finds in a file or folder, or knows of a preset, as JSON. */
#ifndef CLI_INFO_H
#define CLI_INFO_H

#include <jansson.h>
#include <ufm/ufm.h>

#include "cli/presets.h"

/* The facts of a packed bank or a checkpoint. What a checkpoint does not say is null; `obstacle` is
 * null or the line that says why its experts cannot be run. `prefix` chooses among a checkpoint's towers
 * (NULL: the usual one). UFM_EFILE, UFM_EFORMAT: it is malformed or has no such tower, and nothing is told
 * about it. */
ufm_status info_facts(const char *path, const char *prefix, ufm_dtype f16_as, json_t **out);

/* The same facts of a published shape: where it is from, what its bank would be. */
ufm_status info_preset(const preset *p, json_t **out);

#endif

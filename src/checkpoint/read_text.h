/* SPDX-License-Identifier: MIT */
/* A small text file that lies beside weights, as a whole: an index, a config.json. */
#ifndef UFM_CHECKPOINT_READ_TEXT_H
#define UFM_CHECKPOINT_READ_TEXT_H

#include <stdint.h>
#include <ufm/ufm.h>

/* The file's bytes in memory, one byte longer and NUL-terminated; *text is the caller's, for alloc_free, and set on
 * success only. *size is in bytes, without the NUL. Any thread. UFM_EFILE; UFM_EFORMAT above max_bytes; UFM_ENOMEM. */
ufm_status checkpoint_read_text(const char *path, uint64_t max_bytes, char **text, uint64_t *size);

#endif

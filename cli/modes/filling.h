/* SPDX-License-Identifier: MIT */
/* The progress bar of a host tier that is being filled, on the progress line of a terminal. */
#ifndef CLI_MODES_FILLING_H
#define CLI_MODES_FILLING_H

#include <ufm/ufm.h>

#define FILLING_LINE_BYTES 192

typedef struct filling {
	char what[96]; /* "[1/3] ufm, 96 experts: filling the bank" */
	uint64_t begin_ns, shown_ns;
} filling;

/* From now on `config` tells of its progress and stops when a signal was seen; f must live until
 * the host tier is open. */
void filling_watch(filling *f, ufm_host_config *config);

/* "WHAT [#####-----] 12.0 of 24.0 GiB, 13.1 GB/s, 1 s left"; rate and rest once they are known. */
void filling_line(const filling *f, uint64_t now_ns, uint64_t done_bytes, uint64_t total_bytes,
                  char line[FILLING_LINE_BYTES]);

#endif

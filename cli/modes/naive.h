/* SPDX-License-Identifier: MIT */
/* The mode naive_offload: what `.cuda()` before and `.cpu()` after every expert does. An expert
 * lies in ordinary host memory, is moved whole to the device for its call, and moved whole back,
 * each time waiting for the end. */
#ifndef CLI_MODES_NAIVE_H
#define CLI_MODES_NAIVE_H

#include "moe/source.h"

typedef struct naive naive;

/* Takes one block of the engine's arena. Counts its uses and bytes in the engine's counters. */
ufm_status naive_open(ufm_engine *engine, naive **out);
void naive_close(naive *n); /* NULL is allowed; after the layers that use it */
const moe_source *naive_source(const naive *n);
/* Its block, which holds nothing between calls. */
ufm_devptr naive_block(const naive *n);

#endif

/* SPDX-License-Identifier: MIT */
/* What the processor has beyond what the compiler can ask, and what the kernel must be asked for. */
#ifndef UFM_BASE_CPU_H
#define UFM_BASE_CPU_H

#include <stdbool.h>
#include <stddef.h>

/* The processor converts halves to floats; to be asked beside AVX, whose registers the system must keep. */
bool cpu_has_f16c(void);

/* The processor has tiles (AMX) and their products of bf16. */
bool cpu_has_amx_bf16(void);
/* Asks the kernel to keep the tiles of this process's threads, those to come included; without that
 * the first tile instruction is fatal. false: it refuses or does not know them. May be called again. */
bool cpu_allow_amx(void);

/* The processor can drop single lines from all caches without waiting for each. */
bool cpu_has_flush(void);
/* Drops them, written back if need be; only where cpu_has_flush. */
void cpu_flush(const void *memory, size_t size_bytes);

#endif

/* SPDX-License-Identifier: MIT */
/* The table "amx" with its tile instructions done in plain C, for CPUs that have none. */
#ifndef UFM_TESTS_SUPPORT_AMX_EMULATED_H
#define UFM_TESTS_SUPPORT_AMX_EMULATED_H

#include "kernels/kernels.h"

/* isa "amx-emulated"; one thread at a time. */
const kernel_table *amx_emulated(void);

#endif

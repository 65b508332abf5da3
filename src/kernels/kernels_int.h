/* SPDX-License-Identifier: MIT */
/* What the files of this folder share: one table per instruction set, NULL where the build lacks it. */
#ifndef UFM_KERNELS_KERNELS_INT_H
#define UFM_KERNELS_KERNELS_INT_H

#include "kernels/kernels.h"

const kernel_table *kernels_scalar(void);
const kernel_table *kernels_avx2(void);
const kernel_table *kernels_avx512(void);
const kernel_table *kernels_amx(void);

/* Loops of a core's products in registers, for kernels_peak; 0 where the build lacks the instructions. */
uint64_t kernels_peak_scalar(uint32_t rounds);
uint64_t kernels_peak_avx2(uint32_t rounds);
uint64_t kernels_peak_avx512(uint32_t rounds);
uint64_t kernels_peak_amx(uint32_t rounds);

/* The same for every table: it has no sum whose order a vector width could change. */
void kernels_accumulate(float *acc, float gate, const float *row, uint32_t d);

#endif

/* SPDX-License-Identifier: MIT */
/* A product's kernel launched, with as many parameters as there are entries. */
#ifndef UFM_DEVICE_CUDA_PRODUCT_START_CUH
#define UFM_DEVICE_CUDA_PRODUCT_START_CUH

#include "device/cuda/launch.cuh"
#include "device/cuda/product/product.cuh"

static cudaError_t start_product(void (*few_entries)(product, entry_list<ENTRIES_FEW>),
                                 void (*all_entries)(product, entry_list<ENTRIES_MAX>), dim3 grid,
                                 unsigned threads, size_t shared_bytes, const product_launch &l,
                                 cudaStream_t stream)
{
	entry_list<ENTRIES_FEW> some = {};

	if (!l.p.device_entries && l.p.entries > ENTRIES_FEW)
		return launch_chained(l.chained, all_entries, grid, threads, shared_bytes, stream, l.p,
		                      l.list);
	for (uint32_t i = 0; i < l.p.entries && !l.p.device_entries; i++)
		some.entries[i] = l.list.entries[i];
	return launch_chained(l.chained, few_entries, grid, threads, shared_bytes, stream, l.p, some);
}

#endif

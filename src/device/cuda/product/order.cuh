/* SPDX-License-Identifier: MIT */
/* What of an entry a block computes, and what it waits for. */
#ifndef UFM_DEVICE_CUDA_PRODUCT_ORDER_CUH
#define UFM_DEVICE_CUDA_PRODUCT_ORDER_CUH

#include "device/cuda/launch.cuh"
#include "device/cuda/product/product.cuh"

/*
 * Kernels of one product write disjoint rows and may overlap; one block of the later waits before
 * it exits, so stream order holds. At its begin the later waits for nothing: the first let it begin
 * only after its own wait.
 */
__device__ inline bool waits_at_end(const product &p)
{
	return p.beside && blockIdx.x == 0 && blockIdx.y == 0 && blockIdx.z == 0;
}

/* x may be read from here on. */
__device__ inline void begin_with_x(const product &p)
{
	if (!p.beside)
		chain_wait();
	chain_start();
}

__device__ inline void end(const product &p)
{
	if (waits_at_end(p))
		chain_wait();
}

template <uint32_t N>
__device__ ufm_expert_rows entry_at(const product &p, const entry_list<N> &list, uint32_t index)
{
	ufm_expert_rows entry = p.device_entries ? p.device_entries[index] : list.entries[index];

	if (entry.rows <= p.rows_above || entry.rows > p.rows_most)
		entry.rows = 0;
	if (p.row_count && entry.rows) {
		uint32_t begin = max(entry.row, p.row_first);
		uint32_t end = min(entry.row + entry.rows, p.row_first + p.row_count);
		entry.rows = end > begin ? end - begin : 0;
		entry.row = begin - p.row_first;
	}
	return entry;
}

/* Whether the block has any entry with rows: all are looked at together, where it would take them one by one. */
template <uint32_t N> __device__ bool has_rows(const product &p, const entry_list<N> &list)
{
	bool any = false;

	if (gridDim.z == p.entries)
		return true; /* one entry a block */
	for (uint32_t i = threadIdx.x; i < p.entries; i += blockDim.x)
		any = any || entry_at(p, list, i).rows != 0;
	return __syncthreads_or(any);
}

#endif

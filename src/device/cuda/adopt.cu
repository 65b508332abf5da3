/* SPDX-License-Identifier: MIT */
/* A caller's routing, as the other operations want it: a thread an assignment, which looks at all of its token's. */
#include "device/cuda/kernels.h"
#include "device/cuda/launch.cuh"
#include "device/cuda/numbers.cuh"

#define THREADS 128u

__device__ int32_t id_at(const ufm_adopt_args &a, uint64_t index)
{
	int64_t id =
		a.id_bytes == 8 ? ((const int64_t *)a.ids)[index] : ((const int32_t *)a.ids)[index];

	id -= a.first_id;
	return id >= 0 && id < a.experts ? (int32_t)id : -1;
}

__global__ void __launch_bounds__(THREADS) adopt_routing(const ufm_adopt_args a)
{
	uint32_t index = blockIdx.x * THREADS + threadIdx.x, assignments = a.tokens * a.top_k;

	chain_wait();
	chain_start();
	if (index >= assignments)
		return;
	uint32_t end = (index / a.top_k + 1) * a.top_k;
	int32_t id = id_at(a, index), seen = id;
	for (uint32_t i = end - a.top_k; i < index; i++)
		seen = id_at(a, i) == id ? -1 : seen;
	float gate = element_at((const void *)a.gates, a.gate_dtype, index);
	for (uint32_t i = index + 1; i < end && seen >= 0; i++)
		if (id_at(a, i) == id)
			gate = __fadd_rn(gate, element_at((const void *)a.gates, a.gate_dtype, i));
	((int32_t *)a.ids_out)[index] = seen;
	((float *)a.gates_out)[index] = gate;
}

cudaError_t kernels_adopt(const ufm_adopt_args *args, bool chained, cudaStream_t stream)
{
	uint32_t assignments = args->tokens * args->top_k;

	return launch_chained(chained, adopt_routing, dim3((assignments + THREADS - 1) / THREADS),
	                      THREADS, 0, stream, *args);
}

cudaError_t kernels_load_adopt(void)
{
	cudaFuncAttributes attributes;

	return cudaFuncGetAttributes(&attributes, adopt_routing);
}

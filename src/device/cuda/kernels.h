/* SPDX-License-Identifier: MIT */
/* The kernels of the cuda plugin: each function enqueues launches on a stream and returns the error
 * of the launch. Arguments have been checked. chained: the device can begin a kernel while the one
 * before ends (launch.cuh). */
#ifndef UFM_DEVICE_CUDA_KERNELS_H
#define UFM_DEVICE_CUDA_KERNELS_H

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <ufm/backend.h>

#ifdef __cplusplus
extern "C" {
#endif

cudaError_t kernels_gather(const ufm_gather_args *args, bool chained, cudaStream_t stream);

cudaError_t kernels_route(const ufm_router_args *args, bool chained, cudaStream_t stream);

/* gather of a token each, route of what it gives, and of a single token group, in one launch: for few tokens, on devices
 * that chain. */
typedef struct route_few_args {
	ufm_gather_args gather; /* out 0: for the router alone. It is not read elsewhere */
	ufm_router_args route;  /* its x is not read */
	ufm_group_args group;   /* blocks 0: none; else of one token */
} route_few_args;
bool kernels_route_few_fits(const route_few_args *args, bool chained);
cudaError_t kernels_route_few(const route_few_args *args, bool chained, cudaStream_t stream);

/* What becomes of the sums of a product, bias added. */
typedef struct product_finish {
	ufm_activation activation; /* 0: none */
	bool adjusted;             /* one of those below, but alpha, changes something */
	float alpha;               /* of SiLU; 1 where the expert says nothing */
	/* of a gated expert, as ufm_expert_desc has them; a limit that there is not is infinite */
	float gate_limit, activated_limit, up_limit, up_offset;
} product_finish;

/* One product for the rows of several experts:
 * out[r, u] = finish of sum over c of W[u, c] * x[r, c], or of that and the gate's sum.
 * The same bits for a row whatever is computed beside it, but for its expert's rows in the call (product.cuh). */
#define PRODUCT_NONE UINT64_MAX /* an offset: no such part */

typedef struct product_args {
	const ufm_expert_rows *entries;        /* host; copied by the launch */
	const ufm_expert_rows *device_entries; /* instead; none has more than rows_max rows */
	uint32_t entry_count, rows_max;
	uint32_t row_first, row_count; /* of those on the device; count 0: all of them */
	bool entries_known;            /* not written by the work just before on the stream */
	ufm_math math;
	ufm_dtype dtype;          /* of matrices and biases */
	uint32_t units, columns;  /* of the matrix: [units, columns] */
	uint64_t matrix, bias;    /* offsets in a block, bytes */
	uint64_t gate, gate_bias; /* of the second matrix of a gated expert */
	product_finish finish;
	const void *x;             /* [*, columns] */
	void *out;                 /* [*, units] */
	bool x_half, out_half;     /* they are bf16, for math UFM_MATH_BF16 alone; else f32 */
	const uint32_t *call_rows; /* host, as ufm_experts_args has it */
	uint32_t multiprocessors;
	bool wide; /* kernels_load_product's */
} product_args;
cudaError_t kernels_product(const product_args *args, bool chained, cudaStream_t stream);

cudaError_t kernels_combine(const ufm_combine_args *args, bool chained, cudaStream_t stream);

cudaError_t kernels_group(const ufm_group_args *args, bool chained, cudaStream_t stream);
cudaError_t kernels_adopt(const ufm_adopt_args *args, bool chained, cudaStream_t stream);
/* size_bytes is a multiple of 16. `units`: the device's multiprocessors. */
typedef struct read_args {
	ufm_devptr at, out;
	uint64_t size_bytes;
	uint32_t units;
} read_args;
cudaError_t kernels_read(const read_args *args, bool chained, cudaStream_t stream);

/* Loads the code of every kernel of a file. */
cudaError_t kernels_load_gather(void);
/* experts_max: how many experts' scores fit a block's shared memory on the current device. */
cudaError_t kernels_load_route(uint32_t *experts_max);
cudaError_t kernels_load_route_few(void);
/* wide: whether there are kernels for this device's warpgroups. */
cudaError_t kernels_load_product(bool *wide);
cudaError_t kernels_load_combine(void);
/* experts_max: how many experts' rows can be counted in a block's shared memory. */
cudaError_t kernels_load_group(uint32_t *experts_max);
cudaError_t kernels_load_read(void);
cudaError_t kernels_load_adopt(void);

#ifdef __cplusplus
}
#endif
#endif

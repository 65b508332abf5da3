/* SPDX-License-Identifier: MIT */
/*
 * The products of experts on tensor cores, as product.cu asks for them:
 * out[r, u] = finish of sum over c of W[u, c] * x[r, c], or of that and the gate's sum.
 *
 * Weights come from memory once for up to 32 rows, through a ring of stages in shared memory that
 * cp.async fills. A stage holds one chunk of the columns, 128 bytes of every row of weights. The
 * rows of x pass through registers, where they are split into the parts that the tensor cores
 * multiply, once for all warps. Two kernels share the arithmetic: `few` gives a quarter of the
 * columns to each warp of a block, which is what keeps memory busy when there is little to compute;
 * `many` gives rows of weights to the warps, which then share the rows of x. A third, `wide`
 * (product/wide.cuh), has Hopper's instructions for many rows and an order of additions of its own.
 *
 * The bits of a row depend on the expert, the row, and the number of rows that the expert has in
 * the call, by which `wide` is chosen or not (product.cu); not on what else is computed. An element
 * of the output is one column of one mma, which sees no other column, and `few` and `many` make the
 * same additions (product/arithmetic.cuh).
 *
 * An infinite x or weight gives NaN where it is split in parts.
 */
#ifndef UFM_DEVICE_CUDA_PRODUCT_CUH
#define UFM_DEVICE_CUDA_PRODUCT_CUH

#include "device/cuda/kernels.h"

#define ENTRIES_MAX 240u /* a launch: as many as its parameters hold */
#define ENTRIES_FEW 8u   /* or only so many, because parameters take time to pass */
#define ENTRIES_WIDE \
	1024u /* of those on the device, a launch of the widest kernel: it counts their tiles */

typedef struct product {
	uint32_t units, columns;
	uint64_t matrix, bias, gate, gate_bias;
	bool gated;
	product_finish finish;
	const void *x;
	void *out;
	bool x_half, out_half;                 /* they are bf16, else f32 */
	const ufm_expert_rows *device_entries; /* NULL: the list */
	uint32_t entries;
	uint32_t row_first, row_count;  /* of device entries; 0: all of them */
	uint32_t rows_above, rows_most; /* entries with other numbers of rows are not ours */
	bool aligned;                   /* every row begins at a multiple of 16 bytes */
	bool out_fours;                 /* four units can be stored at once */
	bool early;                     /* the entries are known before chain_wait() */
	bool beside;                    /* another kernel of this product was launched before */
} product;

template <uint32_t N> struct entry_list {
	ufm_expert_rows entries[N];
};
static_assert(sizeof(product) + sizeof(entry_list<ENTRIES_MAX>) <= 4096,
              "older GPUs and drivers take 4 KiB of parameters");

/* By the rows of an entry. */
typedef enum product_tile {
	PRODUCT_2,
	PRODUCT_8,
	PRODUCT_16,
	PRODUCT_24,
	PRODUCT_32,
	PRODUCT_WIDE /* warpgroups */
} product_tile;

typedef struct product_launch {
	product p;
	entry_list<ENTRIES_MAX> list;
	uint32_t rows; /* of the largest */
	bool rare;     /* of many entries on the device few are likely to be ours */
	uint32_t multiprocessors;
	bool chained;
} product_launch;

/* The two functions of an arithmetic, one file each. */
#define DECLARE_PRODUCT(A) \
	cudaError_t product_##A(product_tile tile, const product_launch &l, cudaStream_t stream); \
	cudaError_t product_load_##A(void);
DECLARE_PRODUCT(f32_exact)
DECLARE_PRODUCT(f32_tf32)
DECLARE_PRODUCT(f32_bf16)
DECLARE_PRODUCT(bf16_exact)
DECLARE_PRODUCT(bf16_bf16)

/* By warpgroups; is_here: there is code for this GPU's. */
#define DECLARE_PRODUCT_WIDE(A) \
	cudaError_t product_wide_##A(product_tile tile, const product_launch &l, cudaStream_t stream); \
	cudaError_t product_load_wide_##A(bool *is_here);
DECLARE_PRODUCT_WIDE(bf16_exact)
DECLARE_PRODUCT_WIDE(bf16_bf16)

#endif

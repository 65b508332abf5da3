/* SPDX-License-Identifier: MIT */
/* Which kernels compute a product: by dtype and precision asked, and by the rows of each entry. */
#include "device/cuda/product.cuh"

/* Up to rows_most rows a tile of this kind is best; measured on an H200 (docs/performance-log.md). The
 * bits of a row do not depend on it. */
static const struct {
	product_tile tile;
	uint32_t rows_most;
} tiles[] = {
	{PRODUCT_FEW, 2},
	{PRODUCT_16, 16},
	{PRODUCT_24, 24},
	{PRODUCT_32, UINT32_MAX},
};
#define TILE_COUNT (sizeof tiles / sizeof tiles[0])

typedef cudaError_t (*launch_fn)(product_tile tile, const product_launch &l, cudaStream_t stream);

/* bf16 weights are tf32 numbers as they are, and then exact products cost no more bandwidth. */
static launch_fn arithmetic_of(ufm_dtype dtype, ufm_math math)
{
	if (dtype == UFM_BF16)
		return math == UFM_MATH_BF16 ? product_bf16_bf16 : product_bf16_exact;
	if (math == UFM_MATH_BF16)
		return product_f32_bf16;
	return math == UFM_MATH_TF32 ? product_f32_tf32 : product_f32_exact;
}

static uint32_t rows_above(uint32_t tile)
{
	return tile ? tiles[tile - 1].rows_most : 0;
}

/* Those that follow run beside it. */
static cudaError_t start(launch_fn launch, uint32_t tile, product_launch *l, cudaStream_t stream)
{
	cudaError_t error = launch(tiles[tile].tile, *l, stream);

	l->p.beside = l->p.early = true;
	return error;
}

/* Entries of one kind of tile, as many at a time as a launch takes. */
static cudaError_t launch_listed(launch_fn launch, uint32_t tile, const product_args *a,
                                 product_launch *l, cudaStream_t stream)
{
	cudaError_t error = cudaSuccess;

	l->count = l->rows = 0;
	for (uint32_t i = 0; i < a->entry_count && !error; i++) {
		uint32_t rows = a->entries[i].rows;
		if (rows <= l->p.rows_above || rows > l->p.rows_most)
			continue;
		l->list.entries[l->count++] = a->entries[i];
		l->rows = rows > l->rows ? rows : l->rows;
		if (l->count < ENTRIES_MAX)
			continue;
		error = start(launch, tile, l, stream);
		l->count = l->rows = 0;
	}
	return l->count && !error ? start(launch, tile, l, stream) : error;
}

static cudaError_t launch_on_device(launch_fn launch, uint32_t tile, const product_args *a,
                                    product_launch *l, cudaStream_t stream)
{
	if (a->rows_max <= l->p.rows_above)
		return cudaSuccess;
	l->count = a->entry_count;
	l->rows = a->rows_max < l->p.rows_most ? a->rows_max : l->p.rows_most;
	return start(launch, tile, l, stream);
}

static bool is_aligned(const product_args *a)
{
	uint32_t size_bytes = a->dtype == UFM_F32 ? 4 : 2;

	return a->columns * (uint64_t)size_bytes % 16 == 0 && a->matrix % 16 == 0 &&
	       (a->gate == PRODUCT_NONE || a->gate % 16 == 0);
}

cudaError_t kernels_product(const product_args *a, bool chained, cudaStream_t stream)
{
	launch_fn launch = arithmetic_of(a->dtype, a->math);
	cudaError_t error = cudaSuccess;
	product_launch l;

	l.p = {};
	l.p.units = a->units;
	l.p.columns = a->columns;
	l.p.matrix = a->matrix;
	l.p.bias = a->bias;
	l.p.gate = a->gate;
	l.p.gate_bias = a->gate_bias;
	l.p.gated = a->gate != PRODUCT_NONE;
	l.p.finish = a->finish;
	l.p.x = a->x;
	l.p.out = a->out;
	l.p.device_entries = a->device_entries;
	l.p.aligned = is_aligned(a);
	l.p.early = a->entries_known;
	l.chained = chained;
	for (uint32_t tile = 0; tile < TILE_COUNT && !error; tile++) {
		l.p.rows_above = rows_above(tile);
		l.p.rows_most = tiles[tile].rows_most;
		error = (a->device_entries ? launch_on_device : launch_listed)(launch, tile, a, &l, stream);
	}
	return error;
}

cudaError_t kernels_load_product(void)
{
	cudaError_t error = product_load_f32_exact();

	if (!error)
		error = product_load_f32_tf32();
	if (!error)
		error = product_load_f32_bf16();
	if (!error)
		error = product_load_bf16_exact();
	return error ? error : product_load_bf16_bf16();
}

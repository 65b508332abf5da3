/* SPDX-License-Identifier: MIT */
/* Which kernels compute a product: by dtype and precision asked, and by the rows of each entry. */
#include "device/cuda/product/product.cuh"

/* Up to rows_most rows a tile of this kind is best; measured on an H200 (docs/performance-log.md). Which of those below
 * PRODUCT_WIDE computes a row makes no difference to its bits. */
typedef struct tile_choice {
	product_tile tile;
	uint32_t rows_most;
} tile_choice;
static const tile_choice tiles_anywhere[] = {
	{PRODUCT_2, 2}, {PRODUCT_8, 8}, {PRODUCT_16, 16}, {PRODUCT_24, 24}, {PRODUCT_32, UINT32_MAX},
};
static const tile_choice tiles_with_wide[] = {
	{PRODUCT_2, 2},
	{PRODUCT_8, 8},
	{PRODUCT_WIDE, UINT32_MAX},
};
static const tile_choice tiles_with_wide_exact[] = {
	{PRODUCT_2, 2},   {PRODUCT_8, 8},   {PRODUCT_16, 16},
	{PRODUCT_24, 24}, {PRODUCT_32, 32}, {PRODUCT_WIDE, UINT32_MAX},
};

/* In calls of more tokens hardly any expert has few rows, in others hardly any has many. */
#define RARE_ABOVE_TOKENS 256u

typedef struct tile_table {
	const tile_choice *choices;
	uint32_t count;
} tile_table;
#define TILES(array) \
	{ \
		array, sizeof array / sizeof array[0] \
	}
static const tile_table anywhere = TILES(tiles_anywhere);
static const tile_table with_wide = TILES(tiles_with_wide);
static const tile_table with_wide_exact = TILES(tiles_with_wide_exact);

typedef cudaError_t (*launch_fn)(product_tile tile, const product_launch &l, cudaStream_t stream);

typedef struct arithmetic {
	launch_fn launch, launch_wide; /* NULL: none by warpgroups */
	const tile_table *tiles;       /* where there are warpgroups */
} arithmetic;

/* bf16 weights are tf32 numbers as they are, and then exact products cost no more bandwidth. */
static arithmetic arithmetic_of(ufm_dtype dtype, ufm_math math)
{
	if (dtype == UFM_BF16 && math == UFM_MATH_BF16)
		return {product_bf16_bf16, product_wide_bf16_bf16, &with_wide};
	if (dtype == UFM_BF16)
		return {product_bf16_exact, product_wide_bf16_exact, &with_wide_exact};
	if (math == UFM_MATH_BF16)
		return {product_f32_bf16, NULL, &anywhere};
	return {math == UFM_MATH_TF32 ? product_f32_tf32 : product_f32_exact, NULL, &anywhere};
}

/* Those that follow run beside it. */
static cudaError_t start(launch_fn launch, product_tile tile, product_launch *l,
                         cudaStream_t stream)
{
	cudaError_t error = launch(tile, *l, stream);

	l->p.beside = l->p.early = true;
	return error;
}

/* Entries of one kind of tile, as many at a time as a launch takes. What an entry holds may be a piece of its expert's
 * rows. */
static cudaError_t launch_listed(launch_fn launch, product_tile tile, const product_args *a,
                                 product_launch *l, cudaStream_t stream)
{
	cudaError_t error = cudaSuccess;
	uint32_t above = l->p.rows_above, most = l->p.rows_most;

	l->p.rows_above = 0;
	l->p.rows_most = UINT32_MAX;
	l->p.entries = l->rows = 0;
	for (uint32_t i = 0; i < a->entry_count && !error; i++) {
		uint32_t rows = a->entries[i].rows, of_call = a->call_rows ? a->call_rows[i] : rows;
		if (rows == 0 || of_call <= above || of_call > most)
			continue;
		l->list.entries[l->p.entries++] = a->entries[i];
		l->rows = rows > l->rows ? rows : l->rows;
		if (l->p.entries < ENTRIES_MAX)
			continue;
		error = start(launch, tile, l, stream);
		l->p.entries = l->rows = 0;
	}
	return l->p.entries && !error ? start(launch, tile, l, stream) : error;
}

static cudaError_t launch_on_device(launch_fn launch, product_tile tile, const product_args *a,
                                    product_launch *l, cudaStream_t stream)
{
	uint32_t at_once = tile == PRODUCT_WIDE ? ENTRIES_WIDE : a->entry_count;
	cudaError_t error = cudaSuccess;

	if (a->rows_max <= l->p.rows_above)
		return cudaSuccess;
	l->rows = a->rows_max < l->p.rows_most ? a->rows_max : l->p.rows_most;
	l->rare = a->rows_max > RARE_ABOVE_TOKENS && l->p.rows_most != UINT32_MAX;
	for (uint32_t first = 0; first < a->entry_count && !error; first += at_once) {
		l->p.device_entries = a->device_entries + first;
		l->p.entries = a->entry_count - first < at_once ? a->entry_count - first : at_once;
		error = start(launch, tile, l, stream);
	}
	return error;
}

static bool is_aligned(const product_args *a)
{
	uint32_t size_bytes = a->dtype == UFM_F32 ? 4 : 2;

	return a->columns * (uint64_t)size_bytes % 16 == 0 && a->matrix % 16 == 0 &&
	       (a->gate == PRODUCT_NONE || a->gate % 16 == 0);
}

/* The widest tiles come first: a few experts with many rows take long on a few multiprocessors, and the rest goes on beside
 * them. But not where only the device knows whether there are any, and hardly: then their kernel would be in the way. */
cudaError_t kernels_product(const product_args *a, bool chained, cudaStream_t stream)
{
	arithmetic with = arithmetic_of(a->dtype, a->math);
	/* warpgroups have weights and x 16 bytes at a time */
	const tile_table &tiles = a->wide && is_aligned(a) ? *with.tiles : anywhere;
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
	l.p.x_half = a->x_half;
	l.p.out_half = a->out_half;
	l.p.device_entries = a->device_entries;
	l.p.row_first = a->row_first;
	l.p.row_count = a->row_count;
	l.p.aligned = is_aligned(a);
	l.p.out_fours = a->units % 4 == 0 && (uintptr_t)a->out % (a->out_half ? 8 : 16) == 0;
	l.p.early = a->entries_known;
	l.multiprocessors = a->multiprocessors;
	l.rare = false;
	l.chained = chained;
	bool widest_first = !a->device_entries || a->rows_max > RARE_ABOVE_TOKENS;
	for (uint32_t n = 0; n < tiles.count && !error; n++) {
		uint32_t i = widest_first ? tiles.count - 1 - n : n;
		l.p.rows_above = i ? tiles.choices[i - 1].rows_most : 0;
		l.p.rows_most = tiles.choices[i].rows_most;
		product_tile tile = tiles.choices[i].tile;
		launch_fn launch = tile == PRODUCT_WIDE ? with.launch_wide : with.launch;
		error = (a->device_entries ? launch_on_device : launch_listed)(launch, tile, a, &l, stream);
	}
	return error;
}

cudaError_t kernels_load_product(bool *wide)
{
	bool exact = false, rounded = false;
	cudaError_t error = product_load_f32_exact();

	if (!error)
		error = product_load_f32_tf32();
	if (!error)
		error = product_load_f32_bf16();
	if (!error)
		error = product_load_bf16_exact();
	if (!error)
		error = product_load_bf16_bf16();
	if (!error)
		error = product_load_wide_bf16_exact(&exact);
	if (!error)
		error = product_load_wide_bf16_bf16(&rounded);
	*wide = exact && rounded;
	return error;
}

/* SPDX-License-Identifier: MIT */
/*
 * Products of experts with a few rows each: memory-bound, so a weight is read once for up to 16 rows.
 * A warp computes a tile of MATRIX rows x token rows; its lanes share the columns and keep every sum
 * of the tile in registers. Weights pass by the L1 cache, which is left to x.
 */
#include "device/cuda/kernels.h"
#include "device/cuda/numbers.cuh"

#define WARPS 4u
#define THREADS (WARPS * WARP)
#define TILE_ROWS 8u     /* rows of a matrix that a warp computes */
#define ENTRIES_MAX 240u /* a launch: as many as its parameters hold */
#define ENTRIES_FEW 24u

typedef struct product {
	uint32_t units, columns;
	uint64_t matrix, bias, gate, gate_bias;
	product_epilogue epilogue;
	const float *x;
	float *out;
} product;

template <uint32_t N> struct entry_list {
	ufm_expert_rows entries[N];
};

/* ------------------------------------------------------------------ loads */

/* `V` columns of a row of weights, as they come from memory. */
template <typename W, uint32_t V> struct pack;

template <> struct pack<float, 4> {
	float4 raw;
	__device__ void load(const float *at)
	{
		asm("ld.global.nc.L1::no_allocate.v4.f32 {%0,%1,%2,%3}, [%4];"
		    : "=f"(raw.x), "=f"(raw.y), "=f"(raw.z), "=f"(raw.w)
		    : "l"(at));
	}
	__device__ float get(uint32_t i) const
	{
		return i == 0 ? raw.x : i == 1 ? raw.y : i == 2 ? raw.z : raw.w;
	}
};

template <> struct pack<float, 1> {
	float raw;
	__device__ void load(const float *at)
	{
		raw = __ldg(at);
	}
	__device__ float get(uint32_t) const
	{
		return raw;
	}
};

template <> struct pack<uint16_t, 4> {
	uint32_t raw[2];
	__device__ void load(const uint16_t *at)
	{
		asm("ld.global.nc.L1::no_allocate.v2.u32 {%0,%1}, [%2];"
		    : "=r"(raw[0]), "=r"(raw[1])
		    : "l"(at));
	}
	__device__ float get(uint32_t i) const
	{
		return i & 1 ? __uint_as_float(raw[i / 2] & 0xffff0000u) : bf16_widen(raw[i / 2]);
	}
};

template <> struct pack<uint16_t, 1> {
	uint32_t raw;
	__device__ void load(const uint16_t *at)
	{
		raw = __ldg(at);
	}
	__device__ float get(uint32_t) const
	{
		return bf16_widen(raw);
	}
};

/* V columns of a row of x. */
template <uint32_t V> __device__ void load_x(const float *at, float (&x)[V])
{
	if constexpr (V == 4) {
		float4 four = *(const float4 *)at;
		x[0] = four.x;
		x[1] = four.y;
		x[2] = four.z;
		x[3] = four.w;
	} else {
		x[0] = *at;
	}
}

/* ------------------------------------------------------------------ a warp's tile */

/* Where a row of weights lies in its block, in units of V elements. Under a gated epilogue rows 2 i and
 * 2 i + 1 are a unit's gate and up. A row past the last unit reads the last one's weights; its sums are
 * not used. */
template <typename W, uint32_t V>
__device__ uint32_t weight_offset(const product &p, bool gated, uint32_t row)
{
	uint32_t unit = min(gated ? row / 2 : row, p.units - 1);
	uint64_t matrix = gated && row % 2 == 0 ? p.gate : p.matrix;

	return (uint32_t)((matrix / sizeof(W) + (uint64_t)unit * p.columns) / V);
}

template <typename W, uint32_t V, uint32_t M, uint32_t R>
__device__ void accumulate(const product &p, const char *block, const uint32_t (&offsets)[M],
                           const float *x, uint32_t rows, uint32_t lane, float (&sums)[M * R])
{
	for (uint32_t c = lane * V; c < p.columns; c += WARP * V) {
		const W *weights = (const W *)block + c;
		pack<W, V> w[M];
#pragma unroll
		for (uint32_t m = 0; m < M; m++)
			w[m].load(weights + (uint64_t)offsets[m] * V);
#pragma unroll
		for (uint32_t r = 0; r < R; r++) {
			float values[V];
			load_x<V>(x + (uint64_t)min(r, rows - 1) * p.columns + c, values);
#pragma unroll
			for (uint32_t m = 0; m < M; m++) {
#pragma unroll
				for (uint32_t i = 0; i < V; i++)
					sums[r * M + m] = fmaf(w[m].get(i), values[i], sums[r * M + m]);
			}
		}
	}
}

/* Adds the lanes' sums, each of the N values by the same tree over lanes: apart by 16, 8, 4, 2, 1. As
 * long as there are values to halve, lanes swap halves, so that all are busy with different values.
 * Value i ends in slot i % (N / 32) of lane i / (N / 32), or, with N < 32, in all lanes l with
 * l / (32 / N) = i. */
template <uint32_t N, uint32_t LIVE = N, uint32_t OFFSET = WARP / 2>
__device__ void add_lanes(float (&sums)[N], uint32_t lane)
{
	if constexpr (LIVE == 1) {
		sums[0] += __shfl_xor_sync(ALL_LANES, sums[0], OFFSET);
		if constexpr (OFFSET > 1)
			add_lanes<N, 1, OFFSET / 2>(sums, lane);
	} else {
		bool upper = lane & OFFSET;
#pragma unroll
		for (uint32_t i = 0; i < LIVE / 2; i++) {
			float given = upper ? sums[i] : sums[i + LIVE / 2];
			float kept = upper ? sums[i + LIVE / 2] : sums[i];
			sums[i] = kept + __shfl_xor_sync(ALL_LANES, given, OFFSET);
		}
		if constexpr (OFFSET > 1)
			add_lanes<N, LIVE / 2, OFFSET / 2>(sums, lane);
	}
}

/* ------------------------------------------------------------------ epilogue */

__device__ float act_gelu(float x)
{
	return x * normcdff(x);
}

__device__ float act_silu(float x)
{
	return x / (1.0f + expf(-x));
}

__device__ float with_bias(const char *block, uint64_t bias, ufm_dtype dtype, uint32_t unit,
                           float sum)
{
	return bias == PRODUCT_NONE ? sum : sum + element_at(block + bias, dtype, unit);
}

/* One value of the tile. `other` is the sum of the neighbouring weight row: under a gated epilogue a
 * unit's gate stands in the even row, its up in the odd one. */
template <ufm_dtype D>
__device__ float finish(const product &p, const char *block, bool gated, uint32_t unit, float sum,
                        float other)
{
	if (gated) {
		float gate = with_bias(block, p.gate_bias, D, unit, sum);
		float up = with_bias(block, p.bias, D, unit, other);
		return (p.epilogue == PRODUCT_GATED_SILU ? act_silu(gate) : act_gelu(gate)) * up;
	}
	float value = with_bias(block, p.bias, D, unit, sum);
	if (p.epilogue == PRODUCT_GELU)
		return act_gelu(value);
	return p.epilogue == PRODUCT_SILU ? act_silu(value) : value;
}

/* ------------------------------------------------------------------ kernel */

/* M rows of weights from `row` on, times R of the entry's rows from x on, of which `rows` exist. */
template <typename W, uint32_t V, uint32_t M, uint32_t R>
__device__ void tile(const product &p, const char *block, bool gated, uint32_t row, const float *x,
                     float *out, uint32_t rows)
{
	constexpr uint32_t N = M * R, held = N < WARP ? 1 : N / WARP, spread = N < WARP ? WARP / N : 1;
	constexpr ufm_dtype dtype = sizeof(W) == 4 ? UFM_F32 : UFM_BF16;
	uint32_t lane = threadIdx.x % WARP;
	uint32_t offsets[M];
	float sums[N] = {};

#pragma unroll
	for (uint32_t m = 0; m < M; m++)
		offsets[m] = weight_offset<W, V>(p, gated, row + m);
	accumulate<W, V, M, R>(p, block, offsets, x, rows, lane, sums);
	add_lanes<N>(sums, lane);
#pragma unroll
	for (uint32_t i = 0; i < held; i++) {
		uint32_t value = lane / spread * held + i, r = value / M, m = value % M;
		uint32_t unit = gated ? (row + m) / 2 : row + m;
		float other = held > 1 ? sums[(i + 1) % held] : __shfl_xor_sync(ALL_LANES, sums[0], spread);
		bool mine = lane % spread == 0 && r < rows && unit < p.units && !(gated && m % 2);
		if (mine)
			out[(uint64_t)r * p.units + unit] =
				finish<dtype>(p, block, gated, unit, sums[i], other);
	}
}

/* As few columns of the tile as the rows need. */
template <typename W, uint32_t V>
__device__ void tile_of(const product &p, const char *block, bool gated, uint32_t row,
                        const float *x, float *out, uint32_t rows)
{
	if (rows == 1)
		tile<W, V, TILE_ROWS, 1>(p, block, gated, row, x, out, rows);
	else if (rows == 2)
		tile<W, V, TILE_ROWS, 2>(p, block, gated, row, x, out, rows);
	else if (rows <= 4)
		tile<W, V, TILE_ROWS, 4>(p, block, gated, row, x, out, rows);
	else if (rows <= 8)
		tile<W, V, TILE_ROWS, 8>(p, block, gated, row, x, out, rows);
	else
		for (uint32_t half = 0; half < TILE_ROWS; half += TILE_ROWS / 2)
			tile<W, V, TILE_ROWS / 2, 16>(p, block, gated, row + half, x, out, rows);
}

template <typename W, uint32_t V, uint32_t E>
__global__ void __launch_bounds__(THREADS, 3)
	multiply(product p, const __grid_constant__ entry_list<E> list)
{
	const ufm_expert_rows entry = list.entries[blockIdx.y];
	const char *block = (const char *)entry.block;
	bool gated = p.epilogue >= PRODUCT_GATED_GELU;
	uint32_t row = (blockIdx.x * WARPS + threadIdx.x / WARP) * TILE_ROWS;
	const float *x = p.x + (uint64_t)entry.row * p.columns;
	float *out = p.out + (uint64_t)entry.row * p.units;

	if (row >= (gated ? 2 : 1) * p.units)
		return;
	for (uint32_t done = 0; done < entry.rows; done += 16) {
		uint32_t rows = min(entry.rows - done, 16u);
		tile_of<W, V>(p, block, gated, row, x + (uint64_t)done * p.columns,
		              out + (uint64_t)done * p.units, rows);
	}
}

/* ------------------------------------------------------------------ launch */

template <typename W, uint32_t V, uint32_t E>
static cudaError_t launch(const product &p, const ufm_expert_rows *entries, uint32_t count,
                          cudaStream_t stream)
{
	uint64_t rows = (p.epilogue >= PRODUCT_GATED_GELU ? 2ull : 1ull) * p.units;
	dim3 grid((unsigned)((rows + WARPS * TILE_ROWS - 1) / (WARPS * TILE_ROWS)), count);
	entry_list<E> list;

	for (uint32_t i = 0; i < count; i++)
		list.entries[i] = entries[i];
	multiply<W, V, E><<<grid, THREADS, 0, stream>>>(p, list);
	return cudaGetLastError();
}

template <typename W, uint32_t V>
static cudaError_t launch_all(const product &p, const product_args *a, cudaStream_t stream)
{
	cudaError_t error = cudaSuccess;

	for (uint32_t at = 0; at < a->entry_count && !error; at += ENTRIES_MAX) {
		uint32_t count = a->entry_count - at < ENTRIES_MAX ? a->entry_count - at : ENTRIES_MAX;
		error = count <= ENTRIES_FEW ? launch<W, V, ENTRIES_FEW>(p, a->entries + at, count, stream)
		                             : launch<W, V, ENTRIES_MAX>(p, a->entries + at, count, stream);
	}
	return error;
}

/* Four columns at once where every row begins aligned for that: a function of the shape alone, so that
 * a row's bits are too. */
cudaError_t kernels_product(const product_args *a, cudaStream_t stream)
{
	product p = {a->units,     a->columns,  a->matrix, a->bias, a->gate,
	             a->gate_bias, a->epilogue, a->x,      a->out};

	if (a->dtype == UFM_F32)
		return a->columns % 4 == 0 ? launch_all<float, 4>(p, a, stream)
		                           : launch_all<float, 1>(p, a, stream);
	return a->columns % 4 == 0 ? launch_all<uint16_t, 4>(p, a, stream)
	                           : launch_all<uint16_t, 1>(p, a, stream);
}

template <typename W, uint32_t V> static cudaError_t load_code(void)
{
	cudaFuncAttributes attributes;
	cudaError_t error = cudaFuncGetAttributes(&attributes, multiply<W, V, ENTRIES_FEW>);

	return error ? error : cudaFuncGetAttributes(&attributes, multiply<W, V, ENTRIES_MAX>);
}

cudaError_t kernels_load_product(void)
{
	cudaError_t error = load_code<float, 4>();

	if (!error)
		error = load_code<float, 1>();
	if (!error)
		error = load_code<uint16_t, 4>();
	return error ? error : load_code<uint16_t, 1>();
}

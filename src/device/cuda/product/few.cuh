/* SPDX-License-Identifier: MIT */
/* The kernel for few rows: each warp of a block takes a quarter of the columns. */
#ifndef UFM_DEVICE_CUDA_PRODUCT_FEW_CUH
#define UFM_DEVICE_CUDA_PRODUCT_FEW_CUH

#include "device/cuda/numbers.cuh"
#include "device/cuda/product/arithmetic.cuh"
#include "device/cuda/product/epilogue.cuh"
#include "device/cuda/product/order.cuh"
#include "device/cuda/product/rows.cuh"
#include "device/cuda/product/weights.cuh"

#define FEW_WARPS SEGMENTS
#define FEW_THREADS (FEW_WARPS * WARP)
#define FEW_STAGES 3u
#define FEW_TILES 2u /* of MMA_ROWS rows of weights */
#define FEW_ROWS (FEW_TILES * MMA_ROWS)
#define FEW_LOADS (FEW_ROWS / 4u) /* rows of a chunk that a lane loads from */

/* T: rows at most. */
template <class A, uint32_t T> struct few_ring {
	char w[FEW_STAGES][FEW_ROWS * W_ROW_BYTES];
	char x[2][T * A::terms * x_row<A>::bytes];
};

template <class A, uint32_t T> struct few_shared {
	static constexpr uint32_t tiles = (T + MMA_TOKENS - 1) / MMA_TOKENS; /* of an mma's tokens */
	union {
		few_ring<A, T> rings[FEW_WARPS];
		float sums[FEW_WARPS][tiles * MMA_TOKENS * FEW_ROWS];
	};
};

/* What a lane of a warp brings of each chunk. Rows that do not exist are other rows again: what
 * they give is not stored. */
template <class A, uint32_t T> struct few_reader {
	static constexpr uint32_t fours = T * A::columns / 4; /* of all rows of x in a chunk */
	static constexpr uint32_t x_loads = (fours + WARP - 1) / WARP;
	static constexpr uint32_t x_step = WARP * 4 / A::columns; /* rows apart that a lane loads */
	static_assert(T <= x_step || x_step % 2 == 0,
	              "a lane's rows of x have one place in their tile");
	const typename A::weight *w[FEW_LOADS];
	const char *x[x_loads];
	uint32_t columns, whole, lane, w_at; /* whole: chunks that are copied so */

	__device__ few_reader(const product &p, const weights<A> &all, uint32_t first,
	                      uint64_t first_row, uint32_t rows)
		: columns(p.columns), whole(p.aligned ? p.columns / A::columns : 0),
		  lane(threadIdx.x % WARP), w_at(w_place(lane / VECTORS, lane % VECTORS))
	{
		x_stored<A> rows_of_x(p, first_row);
#pragma unroll
		for (uint32_t j = 0; j < x_loads; j++) {
			uint32_t token = lane * 4 / A::columns + j * x_step;
			x[j] = rows_of_x.element((uint64_t)(token < rows ? token : 0) * columns +
			                         lane * 4 % A::columns);
		}
#pragma unroll
		for (uint32_t j = 0; j < FEW_LOADS; j++) {
			uint32_t row = j * 4 + lane / VECTORS;
			w[j] = all.row_at(all.unit_of(first, row), row) + lane % VECTORS * A::per_vector;
		}
	}
	__device__ void load_w(char *stage, uint32_t chunk) const
	{
		if (chunk < whole) {
#pragma unroll
			for (uint32_t j = 0; j < FEW_LOADS; j++)
				copy_vector(stage + w_at + j * 4 * W_ROW_BYTES, w[j] + chunk * A::columns);
			return;
		}
		for (uint32_t j = 0; j < FEW_LOADS; j++)
			copy_part(stage + w_at + j * 4 * W_ROW_BYTES, w[j] + chunk * A::columns,
			          (int64_t)columns - chunk * A::columns - lane % VECTORS * A::per_vector);
	}
	__device__ void bring_x(x_four<A> (&to)[x_loads], uint32_t chunk) const
	{
#pragma unroll
		for (uint32_t j = 0; j < x_loads; j++) {
			const char *from = x[j] + chunk * A::columns * x_stored<A>::element_bytes;
			if (chunk < whole)
				to[j].load(from);
			else
				to[j].load_part(from,
				                (int64_t)columns - chunk * A::columns - lane * 4 % A::columns);
		}
	}
	__device__ void put_x(char *tile, const x_four<A> (&from)[x_loads]) const
	{
#pragma unroll
		for (uint32_t j = 0; j < x_loads; j++) {
			uint32_t token = lane * 4 / A::columns + j * x_step;
			if (token < T)
				store_x<A, T>(tile + x_four_place<A>(token, lane * 4 % A::columns), from[j]);
		}
	}
};

/* The columns of an mma beyond the rows that there can be are zeros. */
template <class A, uint32_t T, bool FIRST>
__device__ void few_half(const char *w_at, const char *x_at, uint32_t lane,
                         float (&sums)[FEW_TILES][few_shared<A, T>::tiles][4])
{
	constexpr uint32_t N = few_shared<A, T>::tiles;
	typename A::w_part w[FEW_TILES];
	uint32_t x[N][A::terms][4] = {};

#pragma unroll
	for (uint32_t m = 0; m < FEW_TILES; m++)
		read_weights<A>(w[m], w_at + m * MMA_ROWS * W_ROW_BYTES);
#pragma unroll
	for (uint32_t n = 0; n < N; n++)
		if (T % MMA_TOKENS == 0 || lane / 4 < T)
			read_x<A, T>(x[n], x_at + n * MMA_TOKENS * x_row<A>::bytes);
	multiply_all<A, FIRST>(sums, w, x);
}

/* The warp's own segment. */
template <class A, uint32_t T>
__device__ void few_segment(const product &p, const few_reader<A, T> &reader, few_ring<A, T> &ring,
                            uint32_t begin, uint32_t end,
                            float (&total)[FEW_TILES][few_shared<A, T>::tiles][4])
{
	constexpr uint32_t N = few_shared<A, T>::tiles;
	uint32_t lane = reader.lane, stage = 0;
	uint32_t w_at[2] = {w_lane_place(lane, 0), w_lane_place(lane, 1)};
	uint32_t x_at[2] = {x_lane_place<A>(lane, 0), x_lane_place<A>(lane, 1)};
	float sums[FEW_TILES][N][4] = {};
	x_four<A> x[few_reader<A, T>::x_loads];

#pragma unroll
	for (uint32_t i = 0; i < FEW_STAGES - 1; i++) {
		if (begin + i < end)
			reader.load_w(ring.w[i], begin + i);
		stage_commit();
	}
	begin_with_x(p);
	reader.bring_x(x, begin);
	reader.put_x(ring.x[0], x);
	reader.bring_x(x, begin + 1);
	for (uint32_t chunk = begin; chunk < end; chunk++) {
		uint32_t odd = (chunk - begin) & 1u, next = chunk + FEW_STAGES - 1;
		stages_wait<FEW_STAGES - 2>();
		__syncwarp();
		if (next < end)
			reader.load_w(ring.w[stage == 0 ? FEW_STAGES - 1 : stage - 1], next);
		stage_commit();
		reader.put_x(ring.x[odd ^ 1u], x);
		reader.bring_x(x, chunk + 2);
		few_half<A, T, A::flush == 1>(ring.w[stage] + w_at[0], ring.x[odd] + x_at[0], lane, sums);
		few_half<A, T, false>(ring.w[stage] + w_at[1], ring.x[odd] + x_at[1], lane, sums);
		stage = stage + 1 == FEW_STAGES ? 0 : stage + 1;
		if (A::flush > 1 && chunk + 1 < end)
			continue;
#pragma unroll
		for (uint32_t i = 0; i < FEW_TILES * N * 4; i++)
			total[i / 4 / N][i / 4 % N][i % 4] += sums[i / 4 / N][i / 4 % N][i % 4];
	}
	stages_wait<0>();
}

template <class A, uint32_t T>
__device__ float few_sum(const few_shared<A, T> &shared, uint32_t row, uint32_t token)
{
	float sum = 0.0f;

#pragma unroll
	for (uint32_t s = 0; s < SEGMENTS; s++)
		sum += shared.sums[s][token * FEW_ROWS + row];
	return sum;
}

template <class A, uint32_t T>
__device__ void few_store(const product &p, const char *block, const weights<A> &all,
                          uint32_t first, const few_shared<A, T> &shared, uint64_t first_row,
                          uint32_t rows)
{
	uint32_t width = all.units_of_mma(), units = width * FEW_TILES;

	for (uint32_t i = threadIdx.x; i < rows * units; i += FEW_THREADS) {
		uint32_t token = i / units, unit = i % units;
		uint32_t row = unit / width * MMA_ROWS + unit % width;
		if (first + unit >= p.units)
			continue;
		float sum = few_sum(shared, row, token);
		float value = all.gate ? finish_gated<A>(p, block, first + unit, sum,
		                                         few_sum(shared, row + width, token))
		                       : finish<A>(p, block, first + unit, sum);
		store_out<A>(p, first_row + token, first + unit, value);
	}
}

/* Up to T rows times FEW_ROWS rows of weights. */
template <class A, uint32_t T>
__device__ void few_entry(const product &p, const ufm_expert_rows &entry, few_shared<A, T> &shared)
{
	constexpr uint32_t tiles = few_shared<A, T>::tiles;
	const char *block = (const char *)entry.block;
	const weights<A> all(p, block);
	uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
	uint32_t first = blockIdx.y * FEW_TILES * all.units_of_mma();
	uint32_t chunks = (p.columns + A::columns - 1) / A::columns;
	float total[FEW_TILES][tiles][4] = {};

	few_reader<A, T> reader(p, all, first, entry.row, entry.rows);
	few_segment<A, T>(p, reader, shared.rings[warp], segment_begin(chunks, warp),
	                  segment_begin(chunks, warp + 1), total);
	__syncthreads();
#pragma unroll
	for (uint32_t i = 0; i < FEW_TILES * tiles * 4; i++) {
		uint32_t m = i / 4 / tiles, n = i / 4 % tiles;
		uint32_t token = n * MMA_TOKENS + lane % 4 * 2 + i % 2;
		uint32_t row = m * MMA_ROWS + lane / 4 + i % 4 / 2 * (MMA_ROWS / 2);
		shared.sums[warp][token * FEW_ROWS + row] = total[m][n][i % 4];
	}
	__syncthreads();
	few_store<A, T>(p, block, all, first, shared, entry.row, entry.rows);
}

template <class A, uint32_t T, uint32_t N>
__global__ void __launch_bounds__(FEW_THREADS, T <= MMA_TOKENS ? 4 : 2)
	multiply_few(const __grid_constant__ product p, const __grid_constant__ entry_list<N> list)
{
	extern __shared__ __align__(128) char memory[];
	few_shared<A, T> &shared = *(few_shared<A, T> *)memory;
	bool began = false;

	if (!p.early)
		chain_wait();
	uint32_t entries = has_rows(p, list) ? p.entries : 0;
	for (uint32_t i = blockIdx.z; i < entries; i += gridDim.z) {
		const ufm_expert_rows entry = entry_at(p, list, i);
		if (entry.rows == 0)
			continue;
		if (began)
			__syncthreads(); /* the sums of the one before are read */
		began = true;
		few_entry<A, T>(p, entry, shared);
	}
	if (!began)
		begin_with_x(p);
	end(p);
}

#endif

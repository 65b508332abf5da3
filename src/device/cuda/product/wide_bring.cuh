/* SPDX-License-Identifier: MIT */
/* Weights and rows of x into the stages of the kernel of warpgroups. */
#ifndef UFM_DEVICE_CUDA_PRODUCT_WIDE_BRING_CUH
#define UFM_DEVICE_CUDA_PRODUCT_WIDE_BRING_CUH

#include "device/cuda/product/wide_shape.cuh"

__device__ inline void copy_up_to(uint32_t to, const void *from, uint32_t size_bytes)
{
	asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
	             "r"(size_bytes)
	             : "memory");
}

/* What a thread copies of every stage: 16 bytes of some rows, as far apart as the threads bring at once, always the same of
 * the row. */
template <class T> struct wide_bringer {
	static constexpr uint32_t w_items = T::rows / T::rows_a_pass;
	static constexpr uint32_t x_items = T::tokens / T::rows_a_pass;
	static constexpr uint32_t x_held = T::half ? 1 : x_items;
	uint32_t stages_at, thread, vector, row; /* row: its first of a matrix */
	uint32_t at;                             /* of row and vector there */
	wide_barriers barriers;
	wide_ring ring, told; /* told: of the stages that were said to be full */
	uint32_t open;        /* brought, not told */
	/* of the tile: a thread's first row of weights and of x, units from the former to the last, and rows of x */
	const char *w_from, *x_from;
	uint32_t w_left, x_count;
	float held[x_held][2][4]; /* of x in f32: the next stage's */

	__device__ wide_bringer(uint32_t stages_at, const wide_barriers &barriers)
		: stages_at(stages_at), thread(threadIdx.x - WIDE_MULTIPLIERS * WARPGROUP),
		  vector(thread % WIDE_VECTORS), row(thread / WIDE_VECTORS), at(swizzled(row, vector)),
		  barriers(barriers), open(0)
	{
	}
	__device__ void tell(void)
	{
		written_for_wgmma();
		__syncwarp();
		if (thread % WARP == 0)
			barrier_arrive(&barriers.full[told.stage]);
		told.step<T::stages>();
		open--;
	}
	/* One by one, as they arrive. */
	template <uint32_t LEFT = T::ahead> __device__ void tell_all(void)
	{
		if (open > LEFT) {
			stages_wait<LEFT>();
			tell();
		}
		if constexpr (LEFT > 0)
			tell_all<LEFT - 1>();
	}
	/* Whoever multiplies lets go of a stage only when it has the next, so what is on its way is told before this waits. */
	__device__ void await_room(void)
	{
		uint64_t *empty = &barriers.empty[ring.stage];

		if (__all_sync(ALL_LANES, barrier_is_over(empty, ring.round ^ 1u)))
			return;
		tell_all();
		barrier_wait(empty, ring.round ^ 1u);
	}
	__device__ void bring_x(const product &p, uint32_t to, uint64_t along_bytes,
	                        uint32_t size_bytes) const
	{
		const char *from = x_from + along_bytes;
		uint64_t step_bytes = 2ull * T::rows_a_pass * p.columns;
		if (x_count >= x_items) {
#pragma unroll
			for (uint32_t j = 0; j < x_items; j++, from += step_bytes)
				copy_up_to(to + j * T::rows_a_pass * WGMMA_ROW_BYTES, from, size_bytes);
			return;
		}
#pragma unroll 1
		for (uint32_t j = 0; j < x_count; j++, from += step_bytes)
			copy_up_to(to + j * T::rows_a_pass * WGMMA_ROW_BYTES, from, size_bytes);
	}
	/* A thread has a row of every sixteenth, or of every other one: how far the j-th unit is from its first. The j-th
	 * sixteen rows of the matrix are of one warp and one of its tiles. */
	template <bool GATED> __device__ static constexpr uint32_t units_to(uint32_t j)
	{
		constexpr uint32_t side = GATED ? T::tiles : 2 * T::tiles;
		static_assert(T::bringers == 1 || T::tiles == 1, "others are not evenly apart");
		uint32_t sixteen = j * T::bringers;
		uint32_t warp = sixteen / (4 * T::tiles) * 4 + sixteen % 4, tile = sixteen / 4 % T::tiles;
		return warp * MMA_ROWS / 2 * side + tile;
	}
	template <bool GATED>
	__device__ void bring_w_as(const product &p, uint32_t to, uint64_t along_bytes,
	                           uint32_t size_bytes) const
	{
		const char *from = w_from + along_bytes;
		uint32_t row_bytes = 2 * p.columns;
		if (w_left > units_to<GATED>(w_items - 1)) {
#pragma unroll
			for (uint32_t j = 0; j < w_items; j++)
				copy_up_to(to + j * T::rows_a_pass * WGMMA_ROW_BYTES,
				           from + (uint64_t)units_to<GATED>(j) * row_bytes, size_bytes);
			return;
		}
#pragma unroll 1
		for (uint32_t j = 0; j < w_items; j++)
			if (units_to<GATED>(j) < w_left)
				copy_up_to(to + j * T::rows_a_pass * WGMMA_ROW_BYTES,
				           from + (uint64_t)units_to<GATED>(j) * row_bytes, size_bytes);
	}
	__device__ void bring_w(const product &p, uint32_t to, uint64_t along_bytes,
	                        uint32_t size_bytes) const
	{
		if (p.gated)
			bring_w_as<true>(p, to, along_bytes, size_bytes);
		else
			bring_w_as<false>(p, to, along_bytes, size_bytes);
	}
	/* A thread's row of every sixteen is a gate or an up, or one of a thread's pairs of units. */
	__device__ void begin_tile(const product &p, const wide_tile &tile)
	{
		uint32_t eight = row % 8, second = row / 8 % 2, sixteen = row / MMA_ROWS;
		uint32_t side = p.gated ? T::tiles : 2 * T::tiles;
		uint32_t unit =
			tile.unit + (sixteen * MMA_ROWS / 2 + eight) * side + (p.gated ? 0 : second * T::tiles);
		uint64_t matrix = p.gated && second == 0 ? p.gate : p.matrix;

		w_from = tile.block + matrix + 2 * ((uint64_t)unit * p.columns + vector * 8);
		w_left = unit < p.units ? p.units - unit : 0;
		x_from = (const char *)p.x + 2 * ((uint64_t)(tile.row + row) * p.columns + vector * 8);
		x_count = row < tile.rows ? (tile.rows - row - 1) / T::rows_a_pass + 1 : 0;
	}
	/* Of x in f32: eight columns of each of its rows, zeros beyond the last column, into registers. */
	__device__ void load_x(const product &p, uint32_t first, uint32_t rows, uint32_t chunk)
	{
		uint32_t column = chunk * WIDE_COLUMNS + vector * 8;
		const float *from = (const float *)p.x + (uint64_t)(first + row) * p.columns + column;
#pragma unroll
		for (uint32_t j = 0; j < x_held; j++) {
			bool is_there = row + j * T::rows_a_pass < rows && column < p.columns;
#pragma unroll
			for (uint32_t v = 0; v < 2; v++) {
				float4 four = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
				if (is_there)
					four = *(const float4 *)(from + (uint64_t)(j * T::rows_a_pass) * p.columns +
					                         4 * v);
				held[j][v][0] = four.x;
				held[j][v][1] = four.y;
				held[j][v][2] = four.z;
				held[j][v][3] = four.w;
			}
		}
	}
	__device__ void put_x(const wide_tile &tile, char *to) const
	{
		typedef typename T::arithmetic A;
#pragma unroll
		for (uint32_t j = 0; j < x_held; j++) {
			uint32_t low[A::terms][A::words], high[A::terms][A::words];
			if (row + j * T::rows_a_pass >= tile.rows)
				continue;
			A::split(held[j][0], low);
			A::split(held[j][1], high);
#pragma unroll
			for (uint32_t t = 0; t < A::terms; t++)
				*(uint4 *)(to + t * T::x_bytes + at + j * T::rows_a_pass * WGMMA_ROW_BYTES) = {
					low[t][0], low[t][1], high[t][0], high[t][1]};
		}
	}
	/* What f32 rows have next is on its way while this stage's are split. */
	__device__ void bring_stage(const product &p, const wide_tile &tile, char *stages,
	                            uint32_t chunk, uint32_t next_row, uint32_t next_rows,
	                            uint32_t next_chunk)
	{
		uint32_t size_bytes = chunk * WIDE_COLUMNS + vector * 8 < p.columns ? 16 : 0;
		uint32_t to = stages_at + ring.stage * T::stage_bytes + at;
		uint64_t along_bytes = (uint64_t)chunk * WGMMA_ROW_BYTES;

		await_room();
		bring_w(p, to, along_bytes, size_bytes);
		if constexpr (T::half)
			bring_x(p, to + T::w_bytes, along_bytes, size_bytes);
		stage_commit();
		if constexpr (!T::half) {
			put_x(tile, stages + ring.stage * T::stage_bytes + T::w_bytes);
			load_x(p, next_row, next_rows, next_chunk);
		}
		ring.step<T::stages>();
		if (++open > T::ahead) {
			stages_wait<T::ahead>();
			tell();
		}
	}
};

#endif

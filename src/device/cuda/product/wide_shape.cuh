/* SPDX-License-Identifier: MIT */
/* What the kernel of warpgroups is made of: stages, registers, tiles, and which row of a tile is which unit. */
#ifndef UFM_DEVICE_CUDA_PRODUCT_WIDE_SHAPE_CUH
#define UFM_DEVICE_CUDA_PRODUCT_WIDE_SHAPE_CUH

#include "device/cuda/product/arithmetic.cuh"
#include "device/cuda/product/order.cuh"
#include "device/cuda/product/wgmma.cuh"

#define WIDE_COLUMNS 64u /* of a stage */
#define WIDE_VECTORS 8u  /* of 16 bytes, of a row in a stage */
#define WIDE_STEPS (WIDE_COLUMNS / WGMMA_COLUMNS)
#define WIDE_MULTIPLIERS 2u /* warpgroups */

/* Which tiles there are. Those of an entry follow each other, its rows before its weights, so that weights are read by
 * several blocks at about the same time. */
struct wide_tiles {
	uint32_t first[ENTRIES_WIDE + 1]; /* of each entry; then their number */
};

/* A: the arithmetic. HALF: x is stored in bf16; else in f32, and split on the way. */
template <class A, bool HALF> struct wide {
	typedef A arithmetic;
	static constexpr bool half = HALF, flushes = A::flush == 1;
	static constexpr uint32_t terms = A::terms;
	static constexpr uint32_t tokens = HALF ? 160 : 128; /* of a tile, at most */
	/* Warpgroups that bring: to split f32 rows in three takes two, or it takes longer than to multiply them. */
	static constexpr uint32_t bringers = terms > 1 ? 2 : 1;
	static constexpr uint32_t threads = (WIDE_MULTIPLIERS + bringers) * WARPGROUP;
	static constexpr uint32_t rows_a_pass = bringers * WARPGROUP / WIDE_VECTORS;
	/* sums and what they were before fill a thread's registers */
	static constexpr uint32_t tiles = flushes ? 1 : 2; /* of WGMMA_ROWS, of a warpgroup */
	static constexpr uint32_t rows = WIDE_MULTIPLIERS * tiles * WGMMA_ROWS;
	static constexpr uint32_t w_bytes = rows * WGMMA_ROW_BYTES;
	static constexpr uint32_t x_bytes = tokens * WGMMA_ROW_BYTES; /* of a part */
	static constexpr uint32_t stage_bytes = w_bytes + terms * x_bytes;
	static constexpr uint32_t stages = flushes ? 3 : 4;
	static constexpr uint32_t ahead = stages - 1; /* copies of so many stages are under way */
	/* Of a thread: the launch divides them evenly; who brings f32 holds some. */
	static constexpr uint32_t registers_bring = HALF ? 56 : bringers == 1 ? 120 : 72;
	static constexpr uint32_t registers_multiply = HALF ? 224 : bringers == 1 ? 192 : 176;
	static_assert((bringers * registers_bring + WIDE_MULTIPLIERS * registers_multiply) *
	                      WARPGROUP <=
	                  65536,
	              "a multiprocessor's registers");
	static constexpr uint32_t shared_bytes = stages * stage_bytes + WGMMA_ALIGN_BYTES;
	static_assert(shared_bytes + sizeof(wide_tiles) + 128 <= 227 * 1024, "a block's shared memory");
};

/*
 * Which row of a tile's matrix holds which unit. The tensor cores give a thread rows r and r + 8 of its warp's sixteen; a
 * thread should have units side by side, to store them at once. So of a warpgroup's units the first `side` are those of
 * its first warp's first lanes, and so on. A gated expert's gate is in row r, its up in row r + 8; else both are units.
 */
template <class T> struct wide_layout {
	uint32_t side; /* units that a thread has of a token, side by side */

	__device__ wide_layout(bool gated) : side(gated ? T::tiles : 2 * T::tiles)
	{
	}
	/* Of the first of a thread's units; eight: lane / 4. */
	__device__ uint32_t unit_of(uint32_t group, uint32_t warp, uint32_t eight) const
	{
		return ((group * WARPGROUP / WARP + warp) * MMA_ROWS / 2 + eight) * side;
	}
	__device__ uint32_t tile_units(void) const
	{
		return unit_of(WIDE_MULTIPLIERS, 0, 0);
	}
};

struct wide_tile {
	const char *block;
	uint32_t unit, row, rows; /* its first unit; rows [row, row + rows) of x and out */
};

/* An expert's rows are cut evenly, to multiples of what a product takes. */
template <class T> __device__ uint32_t row_tiles_of(uint32_t rows)
{
	return (rows + T::tokens - 1) / T::tokens;
}

template <class T> __device__ uint32_t rows_of_tile(uint32_t rows)
{
	uint32_t tiles = row_tiles_of<T>(rows);

	return ((rows + tiles - 1) / tiles + MMA_TOKENS - 1) / MMA_TOKENS * MMA_TOKENS;
}

/* By one warp. */
template <class T, uint32_t N>
__device__ void count_tiles(const product &p, const entry_list<N> &list, uint32_t unit_tiles,
                            wide_tiles &tiles)
{
	uint32_t lane = threadIdx.x % WARP, before = 0;

	for (uint32_t base = 0; base < p.entries; base += WARP) {
		uint32_t i = base + lane, rows = i < p.entries ? entry_at(p, list, i).rows : 0;
		uint32_t own = row_tiles_of<T>(rows) * unit_tiles, sum = own;
#pragma unroll
		for (uint32_t offset = 1; offset < WARP; offset *= 2) {
			uint32_t below = __shfl_up_sync(ALL_LANES, sum, offset);
			sum += lane >= offset ? below : 0;
		}
		if (i < p.entries)
			tiles.first[i] = before + sum - own;
		before += __shfl_sync(ALL_LANES, sum, WARP - 1);
	}
	if (lane == 0)
		tiles.first[p.entries] = before;
}

template <class T, uint32_t N>
__device__ wide_tile tile_at(const product &p, const entry_list<N> &list, const wide_tiles &tiles,
                             uint32_t index, uint32_t tile_units)
{
	uint32_t low = 0, high = p.entries;

	while (high - low > 1) {
		uint32_t middle = (low + high) / 2;
		if (tiles.first[middle] <= index)
			low = middle;
		else
			high = middle;
	}
	const ufm_expert_rows entry = entry_at(p, list, low);
	uint32_t row_tiles = row_tiles_of<T>(entry.rows), each = rows_of_tile<T>(entry.rows);
	uint32_t own = index - tiles.first[low], done = own % row_tiles * each;
	uint32_t left = entry.rows > done ? entry.rows - done : 0; /* 0: the others took all */
	return {(const char *)entry.block, own / row_tiles * tile_units, entry.row + done,
	        min(left, each)};
}

/* A ring of stages as one side sees it. */
struct wide_ring {
	uint32_t stage = 0, round = 0;

	template <uint32_t STAGES> __device__ void step(void)
	{
		if (++stage == STAGES) {
			stage = 0;
			round ^= 1u;
		}
	}
};

struct wide_barriers {
	uint64_t *full, *empty; /* one a stage */
};

#endif

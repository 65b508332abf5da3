/* SPDX-License-Identifier: MIT */
/*
 * The kernel for many rows on Hopper: bf16 weights times bf16 parts of x, by warpgroups.
 *
 * A block is on a multiprocessor for the whole launch and takes every gridDim-th tile: 64 or 128 rows of weights for each
 * of two warpgroups that multiply, by up to 160 rows of x. One or two other warpgroups bring both, 64 columns a stage, and
 * are stages ahead, also of the next tile. Weights are the tensor cores' rows and tokens their columns, so a tile of few
 * tokens is a narrow product, and what an expert lacks of a whole tile costs little.
 *
 * A sum grows inside the tensor core over all columns, or over one stage where the arithmetic wants that, then in f32: in
 * which order depends on the number of columns alone, not on the width of the tile. The few-row kernels add otherwise, so
 * who computes an expert is decided by its rows in the whole call (product.cu).
 */
#ifndef UFM_DEVICE_CUDA_PRODUCT_WIDE_CUH
#define UFM_DEVICE_CUDA_PRODUCT_WIDE_CUH

#include "device/cuda/launch.cuh"
#include "device/cuda/numbers.cuh"
#include "device/cuda/product_arithmetic.cuh"
#include "device/cuda/product_epilogue.cuh"
#include "device/cuda/product_order.cuh"
#include "device/cuda/product_wgmma.cuh"

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

/* ------------------------------------------------------------------ bringing */

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

/* ------------------------------------------------------------------ multiplying */

#define WIDE_ANY (-1) /* activation: whatever the product says */

static __device__ __noinline__ float any_activated(product_finish f, float x)
{
	return activated(f, x);
}

static __device__ __noinline__ float any_gated(product_finish f, float gate, float up)
{
	return gated(f, gate, up);
}

template <int32_t ACTIVATION> __device__ float wide_activated(const product_finish &f, float x)
{
	if constexpr (ACTIVATION == WIDE_ANY)
		return any_activated(f, x);
	else if constexpr (ACTIVATION == UFM_ACT_SILU)
		return __fdividef(x, 1.0f + expf(-f.alpha * x));
	return x;
}

template <int32_t ACTIVATION>
__device__ float wide_gated(const product_finish &f, float gate, float up)
{
	if constexpr (ACTIVATION == WIDE_ANY)
		return any_gated(f, gate, up);
	return wide_activated<ACTIVATION>(f, gate) * up;
}

/* One, two or four units side by side, of which some may lie beyond the last. */
template <class A, uint32_t SIDE>
__device__ void store_side(const product &p, uint64_t row, uint32_t unit,
                           const float (&values)[SIDE])
{
	uint64_t at = row * p.units + unit;

	if (!p.out_fours) {
#pragma unroll
		for (uint32_t i = 0; i < SIDE; i++)
			if (unit + i < p.units)
				store_out<A>(p, row, unit + i, values[i]);
	} else if (A::halves && p.out_half) {
		uint16_t *to = (uint16_t *)p.out + at;
		if constexpr (SIDE == 4)
			*(uint2 *)to = {pack_bf16(values[0], values[1]), pack_bf16(values[2], values[3])};
		else if constexpr (SIDE == 2)
			*(uint32_t *)to = pack_bf16(values[0], values[1]);
		else
			*to = (uint16_t)pack_bf16(values[0], 0.0f);
	} else {
		float *to = (float *)p.out + at;
		if constexpr (SIDE == 4)
			*(float4 *)to = {values[0], values[1], values[2], values[3]};
		else if constexpr (SIDE == 2)
			*(float2 *)to = {values[0], values[1]};
		else
			*to = values[0];
	}
}

template <class T> struct wide_multiplier {
	uint32_t stages_at, group; /* of two */
	wide_barriers barriers;
	wide_ring ring;

	__device__ void release(uint32_t stage)
	{
		if (threadIdx.x % WARP == 0)
			barrier_arrive(&barriers.empty[stage]);
	}
	/* All products of a stage; first: sums begin. */
	template <uint32_t SUMS>
	__device__ void multiply_stage(float (&sums)[T::tiles][SUMS], bool first)
	{
		uint32_t at = stages_at + ring.stage * T::stage_bytes;
		uint64_t w = wgmma_matrix(at + group * T::tiles * WGMMA_ROWS * WGMMA_ROW_BYTES);
		uint64_t x = wgmma_matrix(at + T::w_bytes);
		wgmma_begin();
#pragma unroll
		for (uint32_t k = 0; k < WIDE_STEPS; k++) {
#pragma unroll
			for (uint32_t t = T::terms; t-- > 0;) { /* small terms first */
#pragma unroll
				for (uint32_t m = 0; m < T::tiles; m++)
					wgmma(sums[m], wgmma_columns(w, k) + m * (WGMMA_ROWS * WGMMA_ROW_BYTES >> 4),
					      wgmma_columns(x, k) + t * (T::x_bytes >> 4),
					      !(first && k == 0 && t == T::terms - 1));
			}
		}
		wgmma_commit();
	}
	template <uint32_t SUMS>
	__device__ void whole_sums(float (&sums)[T::tiles][SUMS], uint32_t chunks)
	{
		uint32_t before = 0;

		for (uint32_t chunk = 0; chunk < chunks; chunk++) {
			barrier_wait(&barriers.full[ring.stage], ring.round);
			multiply_stage(sums, chunk == 0);
			wgmma_wait<1>();
			if (chunk)
				release(before);
			before = ring.stage;
			ring.step<T::stages>();
		}
		wgmma_wait<0>();
		release(before);
	}
	template <uint32_t SUMS>
	__device__ void flushed_sums(float (&totals)[T::tiles][SUMS], uint32_t chunks)
	{
		float sums[T::tiles][SUMS] = {};

		for (uint32_t chunk = 0; chunk < chunks; chunk++) {
			barrier_wait(&barriers.full[ring.stage], ring.round);
			multiply_stage(sums, true);
			wgmma_wait<0>();
			release(ring.stage);
			ring.step<T::stages>();
#pragma unroll
			for (uint32_t i = 0; i < T::tiles * SUMS; i++)
				totals[i / SUMS][i % SUMS] += sums[i / SUMS][i % SUMS];
		}
	}
	/* Of the units of a thread, for one token: finished, and stored side by side. `low` are the sums of rows r by tile,
	 * `high` those of rows r + 8. */
	template <int32_t ACTIVATION, bool GATED>
	__device__ static void store_token(const product &p, uint32_t row, uint32_t unit,
	                                   const float (&low)[T::tiles], const float (&high)[T::tiles],
	                                   const float (&bias)[2 * T::tiles])
	{
		typedef typename T::arithmetic A;
		constexpr uint32_t side = GATED ? T::tiles : 2 * T::tiles;
		float values[side];
#pragma unroll
		for (uint32_t m = 0; m < T::tiles; m++) {
			float a = low[m] + bias[m], b = high[m] + bias[T::tiles + m];
			if constexpr (GATED) {
				values[m] = wide_gated<ACTIVATION>(p.finish, a, b);
			} else {
				values[m] = wide_activated<ACTIVATION>(p.finish, a);
				values[T::tiles + m] = wide_activated<ACTIVATION>(p.finish, b);
			}
		}
		store_side<A, side>(p, row, unit, values);
	}
	/* -0 + sum has the bits of sum. */
	__device__ static float bias_of(const product &p, const char *block, uint64_t at, uint32_t unit)
	{
		return at == PRODUCT_NONE || unit >= p.units ? -0.0f
		                                             : element_at(block + at, UFM_BF16, unit);
	}
	/* A lane has sums of two tokens of every eight. */
	template <int32_t ACTIVATION, bool GATED, uint32_t SUMS>
	__device__ void store_as(const product &p, const wide_tile &tile,
	                         const float (&sums)[T::tiles][SUMS]) const
	{
		uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x % WARPGROUP / WARP;
		uint32_t unit = tile.unit + wide_layout<T>(GATED).unit_of(group, warp, lane / 4);
		float bias[2 * T::tiles];

		if (unit >= p.units)
			return;
#pragma unroll
		for (uint32_t m = 0; m < T::tiles; m++) {
			bias[m] = bias_of(p, tile.block, GATED ? p.gate_bias : p.bias, unit + m);
			bias[T::tiles + m] =
				bias_of(p, tile.block, p.bias, GATED ? unit + m : unit + T::tiles + m);
		}
#pragma unroll
		for (uint32_t i = 0; i < SUMS; i += 4) {
#pragma unroll
			for (uint32_t odd = 0; odd < 2; odd++) {
				uint32_t token = i * 2 + lane % 4 * 2 + odd;
				float low[T::tiles], high[T::tiles];
#pragma unroll
				for (uint32_t m = 0; m < T::tiles; m++) {
					low[m] = sums[m][i + odd];
					high[m] = sums[m][i + 2 + odd];
				}
				if (token < tile.rows)
					store_token<ACTIVATION, GATED>(p, tile.row + token, unit, low, high, bias);
			}
		}
	}
	/* What is asked once for all sums. Code for what few experts have is called, not repeated for every sum: what does not
	 * fit the instruction cache is slower than all else. */
	template <uint32_t SUMS>
	__device__ void store(const product &p, const wide_tile &tile,
	                      const float (&sums)[T::tiles][SUMS]) const
	{
		bool plain = !p.finish.adjusted && p.finish.activation == UFM_ACT_SILU;
		if (p.gated && plain)
			store_as<UFM_ACT_SILU, true>(p, tile, sums);
		else if (p.gated)
			store_as<WIDE_ANY, true>(p, tile, sums);
		else if (p.finish.activation == 0)
			store_as<0, false>(p, tile, sums);
		else
			store_as<WIDE_ANY, false>(p, tile, sums);
	}
	template <uint32_t SUMS> __device__ void tile(const product &p, const wide_tile &tile)
	{
		float sums[T::tiles][SUMS] = {};
		uint32_t chunks = (p.columns + WIDE_COLUMNS - 1) / WIDE_COLUMNS;

		if constexpr (T::flushes)
			flushed_sums(sums, chunks);
		else
			whole_sums(sums, chunks);
		store(p, tile, sums);
	}
	/* In a product as narrow as its tokens allow. */
	__device__ void any_tile(const product &p, const wide_tile &at)
	{
		if (at.rows <= 32)
			tile<16>(p, at);
		else if (at.rows <= 64)
			tile<32>(p, at);
		else if (at.rows <= 96)
			tile<48>(p, at);
		else if (T::tokens == 128 || at.rows <= 128)
			tile<64>(p, at);
		else if (at.rows <= 144)
			tile<T::tokens == 128 ? 64 : 72>(p, at);
		else
			tile<T::tokens == 128 ? 64 : 80>(p, at);
	}
};

/* ------------------------------------------------------------------ the kernel */

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define WIDE_IS_HERE 1
#else
#define WIDE_IS_HERE 0
#endif

template <class T, uint32_t N>
__global__ void __launch_bounds__(T::threads, 1)
	multiply_wide(const __grid_constant__ product p, const __grid_constant__ entry_list<N> list)
{
#if WIDE_IS_HERE
	extern __shared__ char memory[];
	/* The only static shared memory of any product: where it is 0 bytes, this code was not compiled. */
	__shared__ wide_tiles tiles;
	__shared__ __align__(8) uint64_t barriers_of_stages[2 * T::stages];
	uint32_t skip = (0u - shared_address(memory)) % WGMMA_ALIGN_BYTES;
	char *stages = memory + skip;
	const wide_barriers barriers = {barriers_of_stages, barriers_of_stages + T::stages};
	uint32_t tile_units = wide_layout<T>(p.gated).tile_units();
	uint32_t unit_tiles = (p.units + tile_units - 1) / tile_units;
	uint32_t group = threadIdx.x / WARPGROUP;

	if (threadIdx.x == 0) {
		for (uint32_t s = 0; s < T::stages; s++) {
			barrier_init(&barriers.full[s], T::bringers * WARPGROUP / WARP);
			barrier_init(&barriers.empty[s], WIDE_MULTIPLIERS * WARPGROUP / WARP);
		}
		written_for_wgmma();
	}
	if (!p.early)
		chain_wait();
	if (threadIdx.x < WARP)
		count_tiles<T>(p, list, unit_tiles, tiles);
	__syncthreads();
	begin_with_x(p);
	if (group >= WIDE_MULTIPLIERS) {
		registers_shrink<T::registers_bring>();
		uint32_t chunks = (p.columns + WIDE_COLUMNS - 1) / WIDE_COLUMNS;
		uint32_t all = tiles.first[p.entries], i = blockIdx.x;
		wide_bringer<T> bringer(shared_address(stages), barriers);
		wide_tile tile = {}, next = i < all ? tile_at<T>(p, list, tiles, i, tile_units) : tile;
		if constexpr (!T::half)
			bringer.load_x(p, next.row, next.rows, 0);
		for (; i < all; i += gridDim.x) {
			tile = next;
			if (i + gridDim.x < all)
				next = tile_at<T>(p, list, tiles, i + gridDim.x, tile_units);
			bringer.begin_tile(p, tile);
			for (uint32_t chunk = 0; chunk < chunks; chunk++) {
				bool last = chunk + 1 == chunks;
				bringer.bring_stage(p, tile, stages, chunk, last ? next.row : tile.row,
				                    last ? next.rows : tile.rows, last ? 0 : chunk + 1);
			}
		}
		bringer.tell_all();
	} else {
		registers_grow<T::registers_multiply>();
		wide_multiplier<T> multiplier = {shared_address(stages), group, barriers, {}};
		for (uint32_t i = blockIdx.x; i < tiles.first[p.entries]; i += gridDim.x)
			multiplier.any_tile(p, tile_at<T>(p, list, tiles, i, tile_units));
	}
	end(p);
#endif
}

#endif

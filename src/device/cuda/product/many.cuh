/* SPDX-License-Identifier: MIT */
/* The kernel for many rows: the warps of a block share the rows of x and divide those of
 * weights. */
#ifndef UFM_DEVICE_CUDA_PRODUCT_MANY_CUH
#define UFM_DEVICE_CUDA_PRODUCT_MANY_CUH

#include "device/cuda/numbers.cuh"
#include "device/cuda/product/arithmetic.cuh"
#include "device/cuda/product/epilogue.cuh"
#include "device/cuda/product/order.cuh"
#include "device/cuda/product/rows.cuh"
#include "device/cuda/product/weights.cuh"

/* WM x NT mma tiles a warp, WARPS_M x WARPS_N warps a block. */
template <class A, uint32_t WM, uint32_t WARPS_M, uint32_t WARPS_N, uint32_t NT, uint32_t STAGES,
          uint32_t BLOCKS>
struct tiling {
	typedef A arithmetic;
	static constexpr uint32_t wm = WM, warps_m = WARPS_M, nt = NT, stages = STAGES;
	static constexpr uint32_t blocks = BLOCKS; /* a multiprocessor should hold */
	static constexpr uint32_t threads = WARPS_M * WARPS_N * WARP;
	static constexpr uint32_t rows = MMA_ROWS * WM * WARPS_M;     /* of weights */
	static constexpr uint32_t tokens = MMA_TOKENS * NT * WARPS_N; /* rows of x */
	static constexpr uint32_t sums = WM * NT * 4;                 /* a thread */
	struct shared {
		char w[STAGES][rows * W_ROW_BYTES];
		char x[2][tokens * A::terms * x_row<A>::bytes];
		float totals[sums * threads];
	};
};

/* What a thread brings of each chunk. Rows that do not exist are other rows again: what they give
 * is not stored. */
template <class T> struct many_reader {
	typedef typename T::arithmetic A;
	static constexpr uint32_t w_step = T::threads / VECTORS; /* rows apart that a thread loads */
	static constexpr uint32_t w_loads = T::rows / w_step;
	static constexpr uint32_t x_fours = A::columns / 4; /* of a row */
	static constexpr uint32_t x_step = T::threads / x_fours;
	static constexpr uint32_t x_loads = (T::tokens + x_step - 1) / x_step;
	static_assert(w_step % MMA_ROWS == 0, "a thread's rows have one place in their mma");
	static_assert(x_step % 4 == 0, "a thread's rows of x have one place in their tile");
	const typename A::weight *w[w_loads];
	const char *x[x_loads];
	uint32_t columns, whole, w_at, x_at; /* whole: chunks that are copied so */

	__device__ many_reader(const product &p, const weights<A> &all, uint32_t first,
	                       uint64_t first_row, uint32_t rows)
		: columns(p.columns), whole(p.aligned ? p.columns / A::columns : 0),
		  w_at(w_place(threadIdx.x / VECTORS, threadIdx.x % VECTORS)),
		  x_at(x_four_place<A>(threadIdx.x / x_fours, threadIdx.x % x_fours * 4))
	{
		x_stored<A> rows_of_x(p, first_row);
#pragma unroll
		for (uint32_t j = 0; j < w_loads; j++) {
			uint32_t row = threadIdx.x / VECTORS + j * w_step;
			w[j] = all.row_at(all.unit_of(first, row), row) + threadIdx.x % VECTORS * A::per_vector;
		}
#pragma unroll
		for (uint32_t j = 0; j < x_loads; j++) {
			uint32_t token = threadIdx.x / x_fours + j * x_step;
			x[j] = rows_of_x.element((uint64_t)(token < rows ? token : 0) * columns +
			                         threadIdx.x % x_fours * 4);
		}
	}
	__device__ void load_w(char *stage, uint32_t chunk) const
	{
		if (chunk < whole) {
#pragma unroll
			for (uint32_t j = 0; j < w_loads; j++)
				copy_vector(stage + w_at + j * w_step * W_ROW_BYTES, w[j] + chunk * A::columns);
			return;
		}
		for (uint32_t j = 0; j < w_loads; j++)
			copy_part(stage + w_at + j * w_step * W_ROW_BYTES, w[j] + chunk * A::columns,
			          (int64_t)columns - chunk * A::columns -
			              threadIdx.x % VECTORS * A::per_vector);
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
				                (int64_t)columns - chunk * A::columns - threadIdx.x % x_fours * 4);
		}
	}
	__device__ void put_x(char *tile, const x_four<A> (&from)[x_loads]) const
	{
#pragma unroll
		for (uint32_t j = 0; j < x_loads; j++) {
			bool inside = threadIdx.x / x_fours + j * x_step < T::tokens;
			if (T::tokens % x_step == 0 || inside)
				store_x<A, T::tokens>(tile + x_at + j * x_step * x_row<A>::bytes, from[j]);
		}
	}
};

template <class T, bool FIRST>
__device__ void many_half(const char *w_at, const char *x_at, float (&sums)[T::wm][T::nt][4])
{
	typedef typename T::arithmetic A;
	typename A::w_part w[T::wm];
	uint32_t x[T::nt][A::terms][4];

#pragma unroll
	for (uint32_t m = 0; m < T::wm; m++)
		read_weights<A>(w[m], w_at + m * MMA_ROWS * W_ROW_BYTES);
#pragma unroll
	for (uint32_t n = 0; n < T::nt; n++)
		read_x<A, T::tokens>(x[n], x_at + n * MMA_TOKENS * x_row<A>::bytes);
	multiply_all<A, FIRST>(sums, w, x);
}

/* Adds the sums of a chunk, or of a segment, to what was before; at a segment's end that to the
 * totals. */
template <class T>
__device__ void many_add(float (&part)[T::wm][T::nt][4], const float (&sums)[T::wm][T::nt][4],
                         float *totals, bool last)
{
#pragma unroll
	for (uint32_t i = 0; i < T::sums; i++) {
		float &kept = part[i / 4 / T::nt][i / 4 % T::nt][i % 4];
		kept += sums[i / 4 / T::nt][i / 4 % T::nt][i % 4];
		if (last) {
			totals[i * T::threads] += kept;
			kept = 0.0f;
		}
	}
}

/* All columns of a block's tile; the result is in shared.totals, every thread's own. */
template <class T>
__device__ void many_columns(const product &p, const many_reader<T> &reader,
                             typename T::shared &shared, uint32_t chunks)
{
	typedef typename T::arithmetic A;
	uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
	uint32_t w_warp = warp % T::warps_m * T::wm * MMA_ROWS * W_ROW_BYTES;
	uint32_t x_warp = warp / T::warps_m * T::nt * MMA_TOKENS * x_row<A>::bytes;
	uint32_t w_at[2] = {w_warp + w_lane_place(lane, 0), w_warp + w_lane_place(lane, 1)};
	uint32_t x_at[2] = {x_warp + x_lane_place<A>(lane, 0), x_warp + x_lane_place<A>(lane, 1)};
	uint32_t segment = 0, end = segment_begin(chunks, 1), stage = 0, fill = T::stages - 1;
	float sums[T::wm][T::nt][4] = {}, part[T::wm][T::nt][4] = {};
	x_four<A> x[many_reader<T>::x_loads];

#pragma unroll
	for (uint32_t i = 0; i < T::sums; i++)
		shared.totals[i * T::threads + threadIdx.x] = 0.0f;
#pragma unroll
	for (uint32_t i = 0; i < T::stages - 1; i++) {
		if (i < chunks)
			reader.load_w(shared.w[i], i);
		stage_commit();
	}
	begin_with_x(p);
	reader.bring_x(x, 0);
	reader.put_x(shared.x[0], x);
	reader.bring_x(x, 1);
	for (uint32_t chunk = 0; chunk < chunks; chunk++) {
		stages_wait<T::stages - 2>();
		__syncthreads();
		if (chunk + T::stages - 1 < chunks)
			reader.load_w(shared.w[fill], chunk + T::stages - 1);
		stage_commit();
		reader.put_x(shared.x[~chunk & 1u], x);
		reader.bring_x(x, chunk + 2);
		many_half<T, A::flush == 1>(shared.w[stage] + w_at[0], shared.x[chunk & 1u] + x_at[0],
		                            sums);
		many_half<T, false>(shared.w[stage] + w_at[1], shared.x[chunk & 1u] + x_at[1], sums);
		fill = stage;
		stage = stage + 1 == T::stages ? 0 : stage + 1;
		while (chunk >= end)
			end = segment_begin(chunks, ++segment + 1);
		bool last = chunk + 1 == end;
		if (A::flush == 1 || last)
			many_add<T>(part, sums, shared.totals + threadIdx.x, last);
		if (A::flush > 1 && last) {
#pragma unroll
			for (uint32_t i = 0; i < T::sums; i++)
				sums[i / 4 / T::nt][i / 4 % T::nt][i % 4] = 0.0f;
		}
	}
	stages_wait<0>();
}

template <class T>
__device__ void many_store(const product &p, const char *block,
                           const weights<typename T::arithmetic> &all, uint32_t first,
                           const typename T::shared &shared, uint64_t first_row, uint32_t rows)
{
	typedef typename T::arithmetic A;
	uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
	uint32_t warp_m = warp % T::warps_m, warp_n = warp / T::warps_m;
	uint32_t width = all.units_of_mma();

	for (uint32_t i = 0; i < T::sums; i++) {
		uint32_t m = i / 4 / T::nt, n = i / 4 % T::nt;
		uint32_t token = (warp_n * T::nt + n) * MMA_TOKENS + lane % 4 * 2 + i % 2;
		uint32_t row = lane / 4 + i % 4 / 2 * (MMA_ROWS / 2);
		uint32_t unit = first + (warp_m * T::wm + m) * width + row;
		if (token >= rows || unit >= p.units || row >= width)
			continue;
		float sum = shared.totals[i * T::threads + threadIdx.x];
		float value = all.gate ? finish_gated<A>(p, block, unit, sum,
		                                         shared.totals[(i + 2) * T::threads + threadIdx.x])
		                       : finish<A>(p, block, unit, sum);
		store_out<A>(p, first_row + token, unit, value);
	}
}

template <class T>
__device__ void many_entry(const product &p, const ufm_expert_rows &entry,
                           typename T::shared &shared)
{
	const char *block = (const char *)entry.block;
	const weights<typename T::arithmetic> all(p, block);
	uint32_t first = blockIdx.y * T::rows / MMA_ROWS * all.units_of_mma();
	uint32_t chunks = (p.columns + T::arithmetic::columns - 1) / T::arithmetic::columns;

	for (uint32_t done = blockIdx.x * T::tokens; done < entry.rows; done += gridDim.x * T::tokens) {
		uint32_t rows = min(entry.rows - done, T::tokens);
		uint64_t row = (uint64_t)entry.row + done;
		many_reader<T> reader(p, all, first, row, rows);
		many_columns<T>(p, reader, shared, chunks);
		many_store<T>(p, block, all, first, shared, row, rows);
		__syncthreads();
	}
}

template <class T, uint32_t N>
__global__ void __launch_bounds__(T::threads, T::blocks)
	multiply_many(const __grid_constant__ product p, const __grid_constant__ entry_list<N> list)
{
	extern __shared__ __align__(128) char memory[];
	typename T::shared &shared = *(typename T::shared *)memory;
	bool began = false;

	if (!p.early)
		chain_wait();
	uint32_t entries = has_rows(p, list) ? p.entries : 0;
	for (uint32_t i = blockIdx.z; i < entries; i += gridDim.z) {
		const ufm_expert_rows entry = entry_at(p, list, i);
		began = began || blockIdx.x * T::tokens < entry.rows;
		many_entry<T>(p, entry, shared);
	}
	if (!began)
		begin_with_x(p);
	end(p);
}

#endif

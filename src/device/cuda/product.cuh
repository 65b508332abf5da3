/* SPDX-License-Identifier: MIT */
/*
 * The products of experts on tensor cores: out[r, u] = epilogue of sum over c of W[u, c] * x[r, c].
 *
 * Weights come from memory once for up to 64 rows, through a ring of stages in shared memory that
 * cp.async fills. A stage holds one chunk of the columns, 128 bytes of every row of weights. Two kernels
 * share the arithmetic: `few` gives a quarter of the columns to each warp of a block, which is what keeps
 * memory busy when there is little to compute; `many` gives rows of weights to the warps, which then
 * share the rows of x.
 *
 * The same bits for a row whatever it is computed with: an element of the output is one column of one
 * mma, which sees no other column, and both kernels make the same additions. The columns are cut into
 * four segments of whole chunks. A sum grows inside the tensor core over `flush` chunks, then is added to
 * the segment's; the four segments are added in order. (Tensor cores cut sums off, they do not round, so
 * long sums must not grow inside them: Ootomo and Yokota, "Recovering single precision accuracy from
 * Tensor Cores", 2022, from where the split of f32 in two parts is too.)
 *
 * An infinite x or weight gives NaN where it is split in parts.
 */
#ifndef UFM_DEVICE_CUDA_PRODUCT_CUH
#define UFM_DEVICE_CUDA_PRODUCT_CUH

#include "device/cuda/kernels.h"
#include "device/cuda/numbers.cuh"

#define ENTRIES_MAX 240u /* a launch: as many as its parameters hold */
#define SEGMENTS 4u
#define W_ROW_BYTES 128u /* of a row of weights in a stage */
#define VECTORS (W_ROW_BYTES / 16u)
#define MMA_ROWS 16u
#define MMA_TOKENS 8u
#define FLUSH_NEVER 0x40000000u

typedef struct product {
	uint32_t units, columns;
	uint64_t matrix, bias, gate, gate_bias;
	product_epilogue epilogue;
	const float *x;
	float *out;
	const ufm_expert_rows *device_entries; /* NULL: the list */
	uint32_t rows_above, rows_most;        /* entries with other numbers of rows are not ours */
	bool aligned;                          /* every row begins at a multiple of 16 bytes */
} product;

typedef struct entry_list {
	ufm_expert_rows entries[ENTRIES_MAX];
} entry_list;

/* ------------------------------------------------------------------ arithmetic */

/* A lane holds 16 bytes of columns of two rows of weights, and the same columns of a row of x. Which
 * columns an mma takes as its k-th is ours to choose, as long as both sides agree: the lane's own. */

__device__ inline void mma_tf32(float (&sum)[4], const uint32_t (&w)[4], const uint32_t (&x)[2])
{
	asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
	    "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
	    : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
	    : "r"(w[0]), "r"(w[1]), "r"(w[2]), "r"(w[3]), "r"(x[0]), "r"(x[1]));
}

__device__ inline void mma_bf16(float (&sum)[4], const uint32_t (&w)[4], const uint32_t (&x)[2])
{
	asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
	    "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
	    : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
	    : "r"(w[0]), "r"(w[1]), "r"(w[2]), "r"(w[3]), "r"(x[0]), "r"(x[1]));
}

__device__ inline uint32_t pack_bf16(float low, float high)
{
	uint32_t pair;

	asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
	return pair;
}

/* The upper halves of two words: both numbers cut off to bf16. */
__device__ inline uint32_t pack_heads(float low, float high)
{
	return __byte_perm(__float_as_uint(low), __float_as_uint(high), 0x7632);
}

__device__ inline float head_bf16(float value)
{
	return __uint_as_float(__float_as_uint(value) & 0xffff0000u);
}

__device__ inline float head_tf32(float value)
{
	return __uint_as_float(__float_as_uint(value) & 0xffffe000u);
}

__device__ inline uint32_t round_tf32(float value)
{
	uint32_t bits;

	asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
	return bits;
}

/* f32 weights, f32 products: w x = w_low x_high + w_high x_low + w_high x_high, in parts of 11 bits. */
struct f32_exact {
	typedef float weight;
	static constexpr uint32_t columns = 32, flush = 2;
	struct w_part {
		uint32_t high[2][4], low[2][4];
		__device__ void set(const float (&a)[4], const float (&b)[4])
		{
#pragma unroll
			for (uint32_t s = 0; s < 2; s++) {
				float four[4] = {a[2 * s], b[2 * s], a[2 * s + 1], b[2 * s + 1]};
#pragma unroll
				for (uint32_t i = 0; i < 4; i++) {
					float head = head_tf32(four[i]);
					high[s][i] = __float_as_uint(head);
					low[s][i] = __float_as_uint(four[i] - head);
				}
			}
		}
	};
	struct x_part {
		uint32_t high[2][2], low[2][2];
		__device__ void set(const float (&x)[4])
		{
#pragma unroll
			for (uint32_t i = 0; i < 4; i++) {
				float head = head_tf32(x[i]);
				high[i / 2][i % 2] = __float_as_uint(head);
				low[i / 2][i % 2] = __float_as_uint(x[i] - head);
			}
		}
	};
	__device__ static void multiply(float (&sum)[4], const w_part &w, const x_part &x)
	{
#pragma unroll
		for (uint32_t s = 0; s < 2; s++) {
			mma_tf32(sum, w.low[s], x.high[s]);
			mma_tf32(sum, w.high[s], x.low[s]);
			mma_tf32(sum, w.high[s], x.high[s]);
		}
	}
};

/* f32 weights, both sides rounded to tf32. */
struct f32_tf32 {
	typedef float weight;
	static constexpr uint32_t columns = 32, flush = FLUSH_NEVER;
	struct w_part {
		uint32_t all[2][4];
		__device__ void set(const float (&a)[4], const float (&b)[4])
		{
#pragma unroll
			for (uint32_t s = 0; s < 2; s++) {
				all[s][0] = round_tf32(a[2 * s]);
				all[s][1] = round_tf32(b[2 * s]);
				all[s][2] = round_tf32(a[2 * s + 1]);
				all[s][3] = round_tf32(b[2 * s + 1]);
			}
		}
	};
	struct x_part {
		uint32_t all[2][2];
		__device__ void set(const float (&x)[4])
		{
#pragma unroll
			for (uint32_t i = 0; i < 4; i++)
				all[i / 2][i % 2] = round_tf32(x[i]);
		}
	};
	__device__ static void multiply(float (&sum)[4], const w_part &w, const x_part &x)
	{
		mma_tf32(sum, w.all[0], x.all[0]);
		mma_tf32(sum, w.all[1], x.all[1]);
	}
};

/* f32 weights, both sides rounded to bf16. */
struct f32_bf16 {
	typedef float weight;
	static constexpr uint32_t columns = 32, flush = FLUSH_NEVER;
	struct w_part {
		uint32_t all[4];
		__device__ void set(const float (&a)[4], const float (&b)[4])
		{
			all[0] = pack_bf16(a[0], a[1]);
			all[1] = pack_bf16(b[0], b[1]);
			all[2] = pack_bf16(a[2], a[3]);
			all[3] = pack_bf16(b[2], b[3]);
		}
	};
	struct x_part {
		uint32_t all[2];
		__device__ void set(const float (&x)[4])
		{
			all[0] = pack_bf16(x[0], x[1]);
			all[1] = pack_bf16(x[2], x[3]);
		}
	};
	__device__ static void multiply(float (&sum)[4], const w_part &w, const x_part &x)
	{
		mma_bf16(sum, w.all, x.all);
	}
};

/* What a lane holds of bf16 weights goes to the tensor core as it is: two words of either row an mma. */
struct bf16_w_part {
	uint32_t all[2][4];
	__device__ void set(const float (&a)[4], const float (&b)[4])
	{
#pragma unroll
		for (uint32_t s = 0; s < 2; s++) {
			all[s][0] = __float_as_uint(a[2 * s]);
			all[s][1] = __float_as_uint(b[2 * s]);
			all[s][2] = __float_as_uint(a[2 * s + 1]);
			all[s][3] = __float_as_uint(b[2 * s + 1]);
		}
	}
};

/* bf16 weights, f32 products: x cut into three parts of 8 bits, which together are x. */
struct bf16_exact {
	typedef uint16_t weight;
	static constexpr uint32_t columns = 64, flush = 2;
	typedef bf16_w_part w_part;
	struct x_part {
		uint32_t high[2][2], middle[2][2], low[2][2];
		__device__ void set(const float (&x)[8])
		{
#pragma unroll
			for (uint32_t i = 0; i < 4; i++) {
				float a = x[2 * i], b = x[2 * i + 1];
				high[i / 2][i % 2] = pack_heads(a, b);
				a -= head_bf16(a);
				b -= head_bf16(b);
				middle[i / 2][i % 2] = pack_heads(a, b);
				low[i / 2][i % 2] = pack_heads(a - head_bf16(a), b - head_bf16(b));
			}
		}
	};
	__device__ static void multiply(float (&sum)[4], const w_part &w, const x_part &x)
	{
#pragma unroll
		for (uint32_t s = 0; s < 2; s++) {
			mma_bf16(sum, w.all[s], x.low[s]);
			mma_bf16(sum, w.all[s], x.middle[s]);
			mma_bf16(sum, w.all[s], x.high[s]);
		}
	}
};

/* bf16 weights, x rounded to bf16. */
struct bf16_bf16 {
	typedef uint16_t weight;
	static constexpr uint32_t columns = 64, flush = FLUSH_NEVER;
	typedef bf16_w_part w_part;
	struct x_part {
		uint32_t all[2][2];
		__device__ void set(const float (&x)[8])
		{
#pragma unroll
			for (uint32_t i = 0; i < 4; i++)
				all[i / 2][i % 2] = pack_bf16(x[2 * i], x[2 * i + 1]);
		}
	};
	__device__ static void multiply(float (&sum)[4], const w_part &w, const x_part &x)
	{
		mma_bf16(sum, w.all[0], x.all[0]);
		mma_bf16(sum, w.all[1], x.all[1]);
	}
};

/* ------------------------------------------------------------------ stages */

/* Eight lanes that read 16 bytes each, four of one row and four of the next, meet no bank twice: the
 * vectors of odd rows are stored elsewhere in the row. */
__device__ inline uint32_t w_place(uint32_t row, uint32_t vector)
{
	return row * W_ROW_BYTES + (vector ^ (row & 1u) << 2) * 16u;
}

template <class A> __device__ uint32_t x_place(uint32_t token, uint32_t vector)
{
	constexpr bool wide = A::columns == 64;

	return token * A::columns * 4u + (vector ^ (token & 1u) << (wide ? 0 : 2)) * 16u;
}

template <uint32_t LEFT> __device__ void stages_wait(void)
{
	asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
}

__device__ inline void stage_commit(void)
{
	asm volatile("cp.async.commit_group;" ::: "memory");
}

/* 16 bytes of a row from `column` on to shared memory; zeros past the last column and for rows that do
 * not exist. */
template <typename T>
__device__ void fetch(char *to, const T *row, uint32_t column, uint32_t columns, bool exists,
                      bool aligned)
{
	constexpr uint32_t N = 16 / sizeof(T);
	bool inside = exists && column < columns;

	if (aligned) {
		uint32_t at = (uint32_t)__cvta_generic_to_shared(to);
		const T *from = inside ? row + column : row;
		asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from),
		             "r"(inside ? 16 : 0)
		             : "memory");
		return;
	}
#pragma unroll
	for (uint32_t i = 0; i < N; i++)
		((T *)to)[i] = inside && column + i < columns ? row[column + i] : (T)0;
}

/* The chunks of a segment are [segment_begin(chunks, s), segment_begin(chunks, s + 1)). */
__device__ inline uint32_t segment_begin(uint32_t chunks, uint32_t segment)
{
	return chunks * segment / SEGMENTS;
}

/* ------------------------------------------------------------------ rows of weights */

/* The 16 rows of an mma are 16 units, or under a gated epilogue the gates of 8 units and then their ups,
 * so that a lane holds both of a unit. */
template <class A> struct weights {
	const typename A::weight *matrix, *gate; /* NULL: no gate */
	uint32_t units, columns;

	__device__ weights(const product &p, const char *block)
		: matrix((const typename A::weight *)(block + p.matrix)),
		  gate(p.epilogue >= PRODUCT_GATED_GELU ? (const typename A::weight *)(block + p.gate)
	                                            : nullptr),
		  units(p.units), columns(p.columns)
	{
	}
	__device__ uint32_t units_of_mma(void) const
	{
		return gate ? MMA_ROWS / 2 : MMA_ROWS;
	}
	/* Of row `row` of a tile of mma tiles whose first unit is `first`. */
	__device__ uint32_t unit_of(uint32_t first, uint32_t row) const
	{
		return gate ? first + row / MMA_ROWS * (MMA_ROWS / 2) + row % (MMA_ROWS / 2) : first + row;
	}
	__device__ const typename A::weight *row_at(uint32_t unit, uint32_t row) const
	{
		const typename A::weight *base = gate && row % MMA_ROWS < MMA_ROWS / 2 ? gate : matrix;

		return base + (uint64_t)(unit < units ? unit : 0) * columns;
	}
};

__device__ inline float4 shared_vector(const char *at)
{
	return *(const float4 *)at;
}

template <class A>
__device__ void read_weights(typename A::w_part &part, const char *tile, uint32_t row, uint32_t vector)
{
	float4 a = shared_vector(tile + w_place(row, vector));
	float4 b = shared_vector(tile + w_place(row + MMA_ROWS / 2, vector));

	part.set({a.x, a.y, a.z, a.w}, {b.x, b.y, b.z, b.w});
}

template <class A>
__device__ void read_x(typename A::x_part &part, const char *tile, uint32_t token, uint32_t vector)
{
	if constexpr (A::columns == 32) {
		float4 a = shared_vector(tile + x_place<A>(token, vector));
		part.set({a.x, a.y, a.z, a.w});
	} else {
		float4 a = shared_vector(tile + x_place<A>(token, 2 * vector));
		float4 b = shared_vector(tile + x_place<A>(token, 2 * vector + 1));
		part.set({a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w});
	}
}

/* ------------------------------------------------------------------ epilogue */

__device__ inline float act_gelu(float x)
{
	return x * normcdff(x);
}

__device__ inline float act_silu(float x)
{
	return x / (1.0f + expf(-x));
}

template <class A>
__device__ float with_bias(const char *block, uint64_t bias, uint32_t unit, float sum)
{
	constexpr ufm_dtype dtype = sizeof(typename A::weight) == 4 ? UFM_F32 : UFM_BF16;

	return bias == PRODUCT_NONE ? sum : sum + element_at(block + bias, dtype, unit);
}

template <class A>
__device__ float finish(const product &p, const char *block, uint32_t unit, float sum)
{
	float value = with_bias<A>(block, p.bias, unit, sum);

	if (p.epilogue == PRODUCT_GELU)
		return act_gelu(value);
	return p.epilogue == PRODUCT_SILU ? act_silu(value) : value;
}

template <class A>
__device__ float finish_gated(const product &p, const char *block, uint32_t unit, float gate_sum,
                              float up_sum)
{
	float gate = with_bias<A>(block, p.gate_bias, unit, gate_sum);
	float up = with_bias<A>(block, p.bias, unit, up_sum);

	return (p.epilogue == PRODUCT_GATED_SILU ? act_silu(gate) : act_gelu(gate)) * up;
}

__device__ inline ufm_expert_rows entry_of(const product &p, const entry_list &list)
{
	ufm_expert_rows entry = p.device_entries ? p.device_entries[blockIdx.y] : list.entries[blockIdx.y];

	if (entry.rows <= p.rows_above || entry.rows > p.rows_most)
		entry.rows = 0;
	return entry;
}

/* ------------------------------------------------------------------ few rows */

#define FEW_WARPS SEGMENTS
#define FEW_THREADS (FEW_WARPS * WARP)
#define FEW_STAGES 4u

template <class A> struct few_stage {
	char w[MMA_ROWS * W_ROW_BYTES];
	char x[MMA_TOKENS * A::columns * 4u];
};

template <class A> struct few_shared {
	union {
		few_stage<A> stages[FEW_WARPS][FEW_STAGES];
		float sums[FEW_WARPS][MMA_ROWS * MMA_TOKENS];
	};
};

template <class A> struct few_reader {
	const typename A::weight *w[MMA_ROWS / 4];
	const float *x;
	uint32_t columns, x_columns, lane;
	uint32_t rows_exist; /* a bit for each of w */
	uint32_t tokens;
	bool aligned;

	__device__ few_reader(const product &p, const weights<A> &all, uint32_t first, const float *x_at,
	                      uint32_t rows)
		: x(x_at), columns(p.columns), lane(threadIdx.x % WARP), rows_exist(0), tokens(rows),
		  aligned(p.aligned)
	{
#pragma unroll
		for (uint32_t j = 0; j < MMA_ROWS / 4; j++) {
			uint32_t row = j * 4 + lane / VECTORS, unit = all.unit_of(first, row);
			w[j] = all.row_at(unit, row);
			rows_exist |= (unit < p.units ? 1u : 0u) << j;
		}
	}
	__device__ void load(few_stage<A> &stage, uint32_t chunk) const
	{
		constexpr uint32_t per_vector = 16 / sizeof(typename A::weight);
		constexpr uint32_t x_vectors = A::columns / 4;
#pragma unroll
		for (uint32_t j = 0; j < MMA_ROWS / 4; j++)
			fetch(stage.w + w_place(j * 4 + lane / VECTORS, lane % VECTORS), w[j],
			      chunk * A::columns + lane % VECTORS * per_vector, columns, rows_exist >> j & 1u,
			      aligned);
#pragma unroll
		for (uint32_t i = lane; i < MMA_TOKENS * x_vectors; i += WARP) {
			uint32_t token = i / x_vectors, vector = i % x_vectors;
			bool exists = token < tokens;
			fetch(stage.x + x_place<A>(token, vector), x + (exists ? (uint64_t)token * columns : 0),
			      chunk * A::columns + vector * 4, columns, exists, aligned);
		}
	}
};

template <class A>
__device__ void few_chunk(const few_stage<A> &stage, uint32_t lane, float (&sum)[4])
{
#pragma unroll
	for (uint32_t half = 0; half < 2; half++) {
		typename A::w_part w;
		typename A::x_part x;
		read_weights<A>(w, stage.w, lane / 4, half * 4 + lane % 4);
		read_x<A>(x, stage.x, lane / 4, half * 4 + lane % 4);
		A::multiply(sum, w, x);
	}
}

/* The warp's own segment. */
template <class A>
__device__ void few_segment(const few_reader<A> &reader, few_stage<A> *stages, uint32_t begin,
                            uint32_t end, float (&total)[4])
{
	float sum[4] = {};

#pragma unroll
	for (uint32_t i = 0; i < FEW_STAGES - 1; i++) {
		if (begin + i < end)
			reader.load(stages[i], begin + i);
		stage_commit();
	}
	for (uint32_t chunk = begin; chunk < end; chunk++) {
		uint32_t done = chunk - begin, next = chunk + FEW_STAGES - 1;
		stages_wait<FEW_STAGES - 2>();
		__syncwarp();
		if (next < end)
			reader.load(stages[(done + FEW_STAGES - 1) % FEW_STAGES], next);
		stage_commit();
		few_chunk<A>(stages[done % FEW_STAGES], reader.lane, sum);
		if ((done + 1) % A::flush == 0 || chunk + 1 == end) {
#pragma unroll
			for (uint32_t i = 0; i < 4; i++) {
				total[i] += sum[i];
				sum[i] = 0.0f;
			}
		}
	}
	stages_wait<0>();
}

template <class A> __device__ float few_sum(const few_shared<A> &shared, uint32_t row, uint32_t token)
{
	float sum = 0.0f;

#pragma unroll
	for (uint32_t s = 0; s < SEGMENTS; s++)
		sum += shared.sums[s][token * MMA_ROWS + row];
	return sum;
}

template <class A>
__device__ void few_store(const product &p, const char *block, const weights<A> &all, uint32_t first,
                          const few_shared<A> &shared, float *out, uint32_t rows)
{
	uint32_t width = all.units_of_mma();
	uint32_t token = threadIdx.x / width, row = threadIdx.x % width, unit = first + row;

	if (token >= rows || unit >= p.units)
		return;
	float sum = few_sum(shared, row, token);
	out[(uint64_t)token * p.units + unit] =
		all.gate ? finish_gated<A>(p, block, unit, sum, few_sum(shared, row + width, token))
				 : finish<A>(p, block, unit, sum);
}

/* Up to 8 rows times 16 rows of weights. */
template <class A>
__global__ void __launch_bounds__(FEW_THREADS)
	multiply_few(const __grid_constant__ product p, const __grid_constant__ entry_list list)
{
	extern __shared__ __align__(128) char memory[];
	few_shared<A> &shared = *(few_shared<A> *)memory;
	const ufm_expert_rows entry = entry_of(p, list);
	const char *block = (const char *)entry.block;
	const weights<A> all(p, block);
	uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
	uint32_t first = blockIdx.x * all.units_of_mma();
	uint32_t chunks = (p.columns + A::columns - 1) / A::columns;
	float total[4] = {};

	if (entry.rows == 0)
		return;
	few_reader<A> reader(p, all, first, p.x + (uint64_t)entry.row * p.columns, entry.rows);
	few_segment<A>(reader, shared.stages[warp], segment_begin(chunks, warp),
	               segment_begin(chunks, warp + 1), total);
	__syncthreads();
#pragma unroll
	for (uint32_t i = 0; i < 4; i++)
		shared.sums[warp][(lane % 4 * 2 + i % 2) * MMA_ROWS + lane / 4 + i / 2 * (MMA_ROWS / 2)] =
			total[i];
	__syncthreads();
	few_store<A>(p, block, all, first, shared, p.out + (uint64_t)entry.row * p.units, entry.rows);
}

/* ------------------------------------------------------------------ many rows */

/* WM x NT mma tiles a warp, WARPS_M x WARPS_N warps a block. */
template <class A, uint32_t WM, uint32_t WARPS_M, uint32_t WARPS_N, uint32_t NT, uint32_t STAGES>
struct tiling {
	typedef A arithmetic;
	static constexpr uint32_t wm = WM, warps_m = WARPS_M, nt = NT, stages = STAGES;
	static constexpr uint32_t threads = WARPS_M * WARPS_N * WARP;
	static constexpr uint32_t rows = MMA_ROWS * WM * WARPS_M;     /* of weights */
	static constexpr uint32_t tokens = MMA_TOKENS * NT * WARPS_N; /* rows of x */
	static constexpr uint32_t sums = WM * NT * 4;                 /* a thread */
	struct stage {
		char w[rows * W_ROW_BYTES];
		char x[tokens * A::columns * 4u];
	};
	struct shared {
		stage ring[STAGES];
		float totals[sums * threads];
	};
};

template <class T> struct many_reader {
	typedef typename T::arithmetic A;
	static constexpr uint32_t w_step = T::threads / VECTORS;      /* rows apart that a thread loads */
	static constexpr uint32_t w_loads = T::rows / w_step;
	static constexpr uint32_t x_vectors = A::columns / 4;
	static constexpr uint32_t x_step = T::threads / x_vectors;
	static constexpr uint32_t x_loads = (T::tokens + x_step - 1) / x_step;
	static_assert(w_step % MMA_ROWS == 0, "a thread's rows have one place in their mma");
	const typename A::weight *w;
	const float *x;
	uint32_t unit, unit_step, units, columns, tokens;
	bool aligned;

	__device__ many_reader(const product &p, const weights<A> &all, uint32_t first, const float *x_at,
	                       uint32_t rows)
		: x(x_at), units(p.units), columns(p.columns), tokens(rows), aligned(p.aligned)
	{
		uint32_t row = threadIdx.x / VECTORS;
		unit = all.unit_of(first, row);
		unit_step = all.gate ? w_step / 2 : w_step;
		w = all.row_at(0, row);
	}
	__device__ void load(typename T::stage &stage, uint32_t chunk) const
	{
		constexpr uint32_t per_vector = 16 / sizeof(typename A::weight);
		uint32_t row = threadIdx.x / VECTORS, vector = threadIdx.x % VECTORS;
#pragma unroll
		for (uint32_t j = 0; j < w_loads; j++) {
			uint32_t here = unit + j * unit_step;
			bool exists = here < units;
			fetch(stage.w + w_place(row + j * w_step, vector),
			      w + (uint64_t)(exists ? here : 0) * columns,
			      chunk * A::columns + vector * per_vector, columns, exists, aligned);
		}
		uint32_t x_vector = threadIdx.x % x_vectors;
#pragma unroll
		for (uint32_t j = 0; j < x_loads; j++) {
			uint32_t token = threadIdx.x / x_vectors + j * x_step;
			bool exists = token < tokens;
			if (T::tokens % x_step == 0 || token < T::tokens)
				fetch(stage.x + x_place<A>(token, x_vector),
				      x + (exists ? (uint64_t)token * columns : 0),
				      chunk * A::columns + x_vector * 4, columns, exists, aligned);
		}
	}
};

template <class T>
__device__ void many_chunk(const typename T::stage &stage, uint32_t warp_m, uint32_t warp_n,
                           uint32_t lane, float (&sums)[T::wm][T::nt][4])
{
	typedef typename T::arithmetic A;
#pragma unroll
	for (uint32_t half = 0; half < 2; half++) {
		typename A::w_part w[T::wm];
#pragma unroll
		for (uint32_t m = 0; m < T::wm; m++)
			read_weights<A>(w[m], stage.w, (warp_m * T::wm + m) * MMA_ROWS + lane / 4,
			                half * 4 + lane % 4);
#pragma unroll
		for (uint32_t n = 0; n < T::nt; n++) {
			typename A::x_part x;
			read_x<A>(x, stage.x, (warp_n * T::nt + n) * MMA_TOKENS + lane / 4,
			          half * 4 + lane % 4);
#pragma unroll
			for (uint32_t m = 0; m < T::wm; m++)
				A::multiply(sums[m][n], w[m], x);
		}
	}
}

/* All columns of a block's tile; the result is in shared.totals, every thread's own. */
template <class T>
__device__ void many_columns(const many_reader<T> &reader, typename T::shared &shared,
                             uint32_t chunks)
{
	typedef typename T::arithmetic A;
	uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
	uint32_t segment = 0, begin = 0, end = segment_begin(chunks, 1);
	float sums[T::wm][T::nt][4] = {}, part[T::wm][T::nt][4] = {};

#pragma unroll
	for (uint32_t i = 0; i < T::sums; i++)
		shared.totals[i * T::threads + threadIdx.x] = 0.0f;
	for (uint32_t i = 0; i < T::stages - 1; i++) {
		if (i < chunks)
			reader.load(shared.ring[i], i);
		stage_commit();
	}
	for (uint32_t chunk = 0; chunk < chunks; chunk++) {
		uint32_t next = chunk + T::stages - 1;
		stages_wait<T::stages - 2>();
		__syncthreads();
		if (next < chunks)
			reader.load(shared.ring[next % T::stages], next);
		stage_commit();
		while (chunk >= end)
			begin = end, end = segment_begin(chunks, ++segment + 1);
		many_chunk<T>(shared.ring[chunk % T::stages], warp % T::warps_m, warp / T::warps_m, lane,
		              sums);
		bool last = chunk + 1 == end;
		if (!last && (chunk + 1 - begin) % A::flush)
			continue;
#pragma unroll
		for (uint32_t i = 0; i < T::sums; i++) {
			float &sum = sums[i / 4 / T::nt][i / 4 % T::nt][i % 4];
			float &kept = part[i / 4 / T::nt][i / 4 % T::nt][i % 4];
			kept += sum;
			sum = 0.0f;
			if (last) {
				shared.totals[i * T::threads + threadIdx.x] += kept;
				kept = 0.0f;
			}
		}
	}
	stages_wait<0>();
}

template <class T>
__device__ void many_store(const product &p, const char *block,
                           const weights<typename T::arithmetic> &all, uint32_t first,
                           const typename T::shared &shared, float *out, uint32_t rows)
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
		out[(uint64_t)token * p.units + unit] =
			all.gate ? finish_gated<A>(p, block, unit, sum,
		                               shared.totals[(i + 2) * T::threads + threadIdx.x])
					 : finish<A>(p, block, unit, sum);
	}
}

template <class T>
__global__ void __launch_bounds__(T::threads)
	multiply_many(const __grid_constant__ product p, const __grid_constant__ entry_list list)
{
	extern __shared__ __align__(128) char memory[];
	typename T::shared &shared = *(typename T::shared *)memory;
	const ufm_expert_rows entry = entry_of(p, list);
	const char *block = (const char *)entry.block;
	const weights<typename T::arithmetic> all(p, block);
	uint32_t first = blockIdx.x * T::rows / MMA_ROWS * all.units_of_mma();
	uint32_t done = blockIdx.z * T::tokens;
	uint32_t chunks = (p.columns + T::arithmetic::columns - 1) / T::arithmetic::columns;

	if (done >= entry.rows)
		return;
	uint32_t rows = min(entry.rows - done, T::tokens);
	uint64_t row = (uint64_t)entry.row + done;
	many_reader<T> reader(p, all, first, p.x + row * p.columns, rows);
	many_columns<T>(reader, shared, chunks);
	many_store<T>(p, block, all, first, shared, p.out + row * p.units, rows);
}

/* ------------------------------------------------------------------ launch */

/* By the rows of an entry. */
typedef enum product_tile { PRODUCT_FEW, PRODUCT_16, PRODUCT_32, PRODUCT_TILES } product_tile;

typedef struct product_launch {
	product p;
	entry_list list;
	uint32_t count; /* entries */
	uint32_t rows;  /* of the largest */
} product_launch;

template <class A> struct launcher {
	typedef tiling<A, 1, 4, 1, 2, 4> tile16;
	typedef tiling<A, 2, 4, 1, 4, 3> tile32;
	typedef tiling<A, 2, 4, 2, 4, 3> tile64;

	template <class T> static cudaError_t many(const product_launch &l, cudaStream_t stream)
	{
		uint32_t units = l.p.epilogue >= PRODUCT_GATED_GELU ? T::rows / 2 : T::rows;
		dim3 grid((l.p.units + units - 1) / units, l.count, (l.rows + T::tokens - 1) / T::tokens);
		multiply_many<T><<<grid, T::threads, sizeof(typename T::shared), stream>>>(l.p, l.list);
		return cudaGetLastError();
	}
	static cudaError_t few(const product_launch &l, cudaStream_t stream)
	{
		uint32_t width = l.p.epilogue >= PRODUCT_GATED_GELU ? MMA_ROWS / 2 : MMA_ROWS;
		dim3 grid((l.p.units + width - 1) / width, l.count);
		multiply_few<A>
			<<<grid, FEW_THREADS, sizeof(few_shared<A>), stream>>>(l.p, l.list);
		return cudaGetLastError();
	}
	template <class T> static cudaError_t load_many(void)
	{
		return cudaFuncSetAttribute(multiply_many<T>, cudaFuncAttributeMaxDynamicSharedMemorySize,
		                            (int)sizeof(typename T::shared));
	}
	static cudaError_t launch(product_tile tile, const product_launch &l, cudaStream_t stream)
	{
		switch (tile) {
		case PRODUCT_FEW:
			return few(l, stream);
		case PRODUCT_16:
			return many<tile16>(l, stream);
		case PRODUCT_32:
			return many<tile32>(l, stream);
		case PRODUCT_TILES:
			break;
		}
		return many<tile64>(l, stream);
	}
	static cudaError_t load(void)
	{
		cudaError_t error =
			cudaFuncSetAttribute(multiply_few<A>, cudaFuncAttributeMaxDynamicSharedMemorySize,
		                         (int)sizeof(few_shared<A>));
		if (!error)
			error = load_many<tile16>();
		if (!error)
			error = load_many<tile32>();
		return error ? error : load_many<tile64>();
	}
};

/* Defines the two functions that product.cu calls for an arithmetic. */
#define DEFINE_PRODUCT(A) \
	cudaError_t product_##A(product_tile tile, const product_launch &l, cudaStream_t stream) \
	{ \
		return launcher<A>::launch(tile, l, stream); \
	} \
	cudaError_t product_load_##A(void) \
	{ \
		return launcher<A>::load(); \
	}

#define DECLARE_PRODUCT(A) \
	cudaError_t product_##A(product_tile tile, const product_launch &l, cudaStream_t stream); \
	cudaError_t product_load_##A(void);
DECLARE_PRODUCT(f32_exact)
DECLARE_PRODUCT(f32_tf32)
DECLARE_PRODUCT(f32_bf16)
DECLARE_PRODUCT(bf16_exact)
DECLARE_PRODUCT(bf16_bf16)

#endif

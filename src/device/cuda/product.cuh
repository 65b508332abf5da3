/* SPDX-License-Identifier: MIT */
/*
 * The products of experts on tensor cores: out[r, u] = epilogue of sum over c of W[u, c] * x[r, c].
 *
 * Weights come from memory once for up to 32 rows, through a ring of stages in shared memory that
 * cp.async fills. A stage holds one chunk of the columns, 128 bytes of every row of weights. The rows of
 * x pass through registers, where they are split into the parts that the tensor cores multiply, once for
 * all warps. Two kernels share the arithmetic: `few` gives a quarter of the columns to each warp of a
 * block, which is what keeps memory busy when there is little to compute; `many` gives rows of weights to
 * the warps, which then share the rows of x.
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
#include "device/cuda/launch.cuh"
#include "device/cuda/numbers.cuh"

#define ENTRIES_MAX 240u /* a launch: as many as its parameters hold */
#define ENTRIES_FEW 8u   /* or only so many, because parameters take time to pass */
#define SEGMENTS 4u
#define W_ROW_BYTES 128u /* of a row of weights in a stage */
#define VECTORS (W_ROW_BYTES / 16u)
#define MMA_ROWS 16u
#define MMA_TOKENS 8u
#define FLUSH_NEVER 0x40000000u /* or after every chunk: 1 */

typedef struct product {
	uint32_t units, columns;
	uint64_t matrix, bias, gate, gate_bias;
	product_epilogue epilogue;
	const float *x;
	float *out;
	const ufm_expert_rows *device_entries; /* NULL: the list */
	uint32_t rows_above, rows_most;        /* entries with other numbers of rows are not ours */
	bool aligned;                          /* every row begins at a multiple of 16 bytes */
	bool early;                            /* the entries are known before chain_wait() */
	bool beside;                           /* another kernel of this product was launched before */
} product;

template <uint32_t N> struct entry_list {
	ufm_expert_rows entries[N];
};

/* ------------------------------------------------------------------ arithmetic */

/* A lane holds 16 bytes of columns of two rows of weights, and the same columns of a row of x. Which
 * columns an mma takes as its k-th is ours to choose, as long as both sides agree: the lane's own. */

/* sum = w x, or sum += w x. */
template <bool FIRST>
__device__ void mma_tf32(float (&sum)[4], const uint32_t (&w)[4], const uint32_t *x)
{
	asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
	    "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
	    : "=f"(sum[0]), "=f"(sum[1]), "=f"(sum[2]), "=f"(sum[3])
	    : "r"(w[0]), "r"(w[1]), "r"(w[2]), "r"(w[3]), "r"(x[0]), "r"(x[1]),
	      "f"(FIRST ? 0.0f : sum[0]), "f"(FIRST ? 0.0f : sum[1]), "f"(FIRST ? 0.0f : sum[2]),
	      "f"(FIRST ? 0.0f : sum[3]));
}

template <bool FIRST>
__device__ void mma_bf16(float (&sum)[4], const uint32_t (&w)[4], const uint32_t *x)
{
	asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
	    "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
	    : "=f"(sum[0]), "=f"(sum[1]), "=f"(sum[2]), "=f"(sum[3])
	    : "r"(w[0]), "r"(w[1]), "r"(w[2]), "r"(w[3]), "r"(x[0]), "r"(x[1]),
	      "f"(FIRST ? 0.0f : sum[0]), "f"(FIRST ? 0.0f : sum[1]), "f"(FIRST ? 0.0f : sum[2]),
	      "f"(FIRST ? 0.0f : sum[3]));
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

/*
 * An arithmetic has
 *   weight, columns   of a chunk
 *   flush             chunks whose products are added within the tensor core: 1, or a whole segment
 *   terms, words      parts of x, and words that four columns take in each
 *   split             four columns of x into words of every part
 *   w_part::set       the lane's 16 bytes of two rows of weights
 *   products          mmas for 16 bytes of weights, small terms first
 *   multiply          the i-th of them, added to sum or the first; x[part] is what the lane holds of it
 * The mmas of one sum wait for each other, so callers go through all sums before the next i.
 */

/* f32 weights, f32 products: w x = w_low x_high + w_high x_low + w_high x_high, in parts of 11 bits. */
struct f32_exact {
	typedef float weight;
	static constexpr uint32_t columns = 32, flush = 1, terms = 2, words = 4, products = 6;
	__device__ static void split(const float (&x)[4], uint32_t (&out)[terms][words])
	{
#pragma unroll
		for (uint32_t i = 0; i < 4; i++) {
			float head = head_tf32(x[i]);
			out[0][i] = __float_as_uint(head);
			out[1][i] = __float_as_uint(x[i] - head);
		}
	}
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
	template <bool FIRST>
	__device__ static void multiply(float (&sum)[4], const w_part &w, const uint32_t (&x)[terms][4],
	                                uint32_t i)
	{
		uint32_t s = i / 3;

		mma_tf32<FIRST>(sum, i % 3 == 0 ? w.low[s] : w.high[s], x[i % 3 == 1] + 2 * s);
	}
};

/* f32 weights, both sides rounded to tf32. */
struct f32_tf32 {
	typedef float weight;
	static constexpr uint32_t columns = 32, flush = FLUSH_NEVER, terms = 1, words = 4, products = 2;
	__device__ static void split(const float (&x)[4], uint32_t (&out)[terms][words])
	{
#pragma unroll
		for (uint32_t i = 0; i < 4; i++)
			out[0][i] = round_tf32(x[i]);
	}
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
	template <bool FIRST>
	__device__ static void multiply(float (&sum)[4], const w_part &w, const uint32_t (&x)[terms][4],
	                                uint32_t i)
	{
		mma_tf32<FIRST>(sum, w.all[i], x[0] + 2 * i);
	}
};

/* f32 weights, both sides rounded to bf16. */
struct f32_bf16 {
	typedef float weight;
	static constexpr uint32_t columns = 32, flush = FLUSH_NEVER, terms = 1, words = 2, products = 1;
	__device__ static void split(const float (&x)[4], uint32_t (&out)[terms][words])
	{
		out[0][0] = pack_bf16(x[0], x[1]);
		out[0][1] = pack_bf16(x[2], x[3]);
	}
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
	template <bool FIRST>
	__device__ static void multiply(float (&sum)[4], const w_part &w, const uint32_t (&x)[terms][4],
	                                uint32_t)
	{
		mma_bf16<FIRST>(sum, w.all, x[0]);
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
	static constexpr uint32_t columns = 64, flush = 1, terms = 3, words = 2, products = 6;
	__device__ static void split(const float (&x)[4], uint32_t (&out)[terms][words])
	{
#pragma unroll
		for (uint32_t i = 0; i < 2; i++) {
			float a = x[2 * i], b = x[2 * i + 1];
			out[0][i] = pack_heads(a, b);
			a -= head_bf16(a);
			b -= head_bf16(b);
			out[1][i] = pack_heads(a, b);
			out[2][i] = pack_heads(a - head_bf16(a), b - head_bf16(b));
		}
	}
	typedef bf16_w_part w_part;
	template <bool FIRST>
	__device__ static void multiply(float (&sum)[4], const w_part &w, const uint32_t (&x)[terms][4],
	                                uint32_t i)
	{
		mma_bf16<FIRST>(sum, w.all[i / 3], x[2 - i % 3] + 2 * (i / 3));
	}
};

/* bf16 weights, x rounded to bf16. */
struct bf16_bf16 {
	typedef uint16_t weight;
	static constexpr uint32_t columns = 64, flush = FLUSH_NEVER, terms = 1, words = 2, products = 2;
	__device__ static void split(const float (&x)[4], uint32_t (&out)[terms][words])
	{
		out[0][0] = pack_bf16(x[0], x[1]);
		out[0][1] = pack_bf16(x[2], x[3]);
	}
	typedef bf16_w_part w_part;
	template <bool FIRST>
	__device__ static void multiply(float (&sum)[4], const w_part &w, const uint32_t (&x)[terms][4],
	                                uint32_t i)
	{
		mma_bf16<FIRST>(sum, w.all[i], x[0] + 2 * i);
	}
};

/* ------------------------------------------------------------------ stages */

/* Eight lanes that read 16 bytes each, four of one row and four of the next, meet no bank twice: the
 * vectors of odd rows are stored elsewhere in the row. */
__device__ inline uint32_t w_place(uint32_t row, uint32_t vector)
{
	return row * W_ROW_BYTES + (vector ^ (row & 1u) << 2) * 16u;
}

/* Bytes of a row of x in one part, and where its vector that goes with a vector of weights lies: 16
 * bytes of 128, or 8 of 64. */
template <class A> struct x_row {
	static constexpr uint32_t vector_bytes = A::words * A::columns / VECTORS;
	static constexpr uint32_t bytes = vector_bytes * VECTORS;
	__device__ static uint32_t place(uint32_t token, uint32_t vector)
	{
		uint32_t other = bytes == W_ROW_BYTES ? token & 1u : token >> 1 & 1u;

		return token * bytes + (vector ^ other << 2) * vector_bytes;
	}
};

template <uint32_t LEFT> __device__ void stages_wait(void)
{
	asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
}

__device__ inline void stage_commit(void)
{
	asm volatile("cp.async.commit_group;" ::: "memory");
}

/* 16 bytes to shared memory, asynchronously. */
__device__ inline void copy_vector(char *to, const void *from)
{
	asm volatile(
		"cp.async.cg.shared.global [%0], [%1], 16;" ::"r"((uint32_t)__cvta_generic_to_shared(to)),
		"l"(from)
		: "memory");
}

/* The same one by one, for a row that is not aligned or ends within: `columns` are left, then zeros. */
template <typename T> __device__ void copy_part(char *to, const T *from, int64_t columns)
{
	constexpr uint32_t N = 16 / sizeof(T);

#pragma unroll
	for (uint32_t i = 0; i < N; i++)
		((T *)to)[i] = i < columns ? from[i] : (T)0;
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

/* Where in a tile of weights a lane finds its vector of row lane / 4, by half of the chunk. */
__device__ inline uint32_t w_lane_place(uint32_t lane, uint32_t half)
{
	return w_place(lane / 4, lane % 4) ^ half * (W_ROW_BYTES / 2);
}

template <class A> __device__ uint32_t x_lane_place(uint32_t lane, uint32_t half)
{
	return x_row<A>::place(lane / 4, lane % 4) ^ half * (x_row<A>::bytes / 2);
}

/* The lane's vectors of the 16 rows of an mma. */
template <class A> __device__ void read_weights(typename A::w_part &part, const char *at)
{
	float4 a = shared_vector(at);
	float4 b = shared_vector(at + MMA_ROWS / 2 * W_ROW_BYTES);

	part.set({a.x, a.y, a.z, a.w}, {b.x, b.y, b.z, b.w});
}

/* Four columns of a row of x of which `columns` are left, then zeros. */
__device__ inline void load_part(float (&to)[4], const float *from, int64_t columns)
{
#pragma unroll
	for (uint32_t i = 0; i < 4; i++)
		to[i] = i < columns ? from[i] : 0.0f;
}

__device__ inline void load_four(float (&to)[4], const float *from)
{
	float4 four = *(const float4 *)from;

	to[0] = four.x;
	to[1] = four.y;
	to[2] = four.z;
	to[3] = four.w;
}

/* Where four columns from `column` of the chunk on lie in a tile of x. */
template <class A> __device__ uint32_t x_four_place(uint32_t token, uint32_t column)
{
	constexpr uint32_t in_vector = A::columns / VECTORS; /* columns */

	return x_row<A>::place(token, column / in_vector) +
	       column % in_vector * (x_row<A>::vector_bytes / in_vector);
}

/* All parts of four columns; the tiles of two parts have TOKENS rows between them. */
template <class A, uint32_t TOKENS> __device__ void store_x(char *at, const float (&x)[4])
{
	uint32_t parts[A::terms][A::words];

	A::split(x, parts);
#pragma unroll
	for (uint32_t t = 0; t < A::terms; t++) {
		if constexpr (A::words == 4)
			*(uint4 *)(at + t * TOKENS * x_row<A>::bytes) = {parts[t][0], parts[t][1], parts[t][2],
			                                                 parts[t][3]};
		else
			*(uint2 *)(at + t * TOKENS * x_row<A>::bytes) = {parts[t][0], parts[t][1]};
	}
}

template <class A, uint32_t TOKENS>
__device__ void read_x(uint32_t (&x)[A::terms][4], const char *at)
{
#pragma unroll
	for (uint32_t t = 0; t < A::terms; t++) {
		if constexpr (x_row<A>::vector_bytes == 16) {
			uint4 four = *(const uint4 *)(at + t * TOKENS * x_row<A>::bytes);
			x[t][0] = four.x;
			x[t][1] = four.y;
			x[t][2] = four.z;
			x[t][3] = four.w;
		} else {
			uint2 two = *(const uint2 *)(at + t * TOKENS * x_row<A>::bytes);
			x[t][0] = two.x;
			x[t][1] = two.y;
		}
	}
}

/* All mmas of the lanes' vectors; first: sums begin. */
template <class A, bool FIRST, uint32_t M, uint32_t N>
__device__ void multiply_all(float (&sums)[M][N][4], const typename A::w_part (&w)[M],
                             const uint32_t (&x)[N][A::terms][4])
{
#pragma unroll
	for (uint32_t i = 0; i < A::products; i++) {
#pragma unroll
		for (uint32_t at = 0; at < M * N; at++) {
			if (FIRST && i == 0)
				A::template multiply<true>(sums[at % M][at / M], w[at % M], x[at / M], i);
			else
				A::template multiply<false>(sums[at % M][at / M], w[at % M], x[at / M], i);
		}
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

/*
 * The kernels of one product follow each other on the stream, but write different rows: they run side by
 * side. So the second waits for nothing when it begins (what the first waited for is done, else it would
 * not have let the second begin), and one of its blocks waits before it ends: when it has ended, so has
 * the first.
 */
__device__ inline bool waits_at_end(const product &p)
{
	return p.beside && blockIdx.x == 0 && blockIdx.y == 0 && blockIdx.z == 0;
}

/* x may be read from here on. */
__device__ inline void begin_with_x(const product &p)
{
	if (!p.beside)
		chain_wait();
	chain_start();
}

__device__ inline void end(const product &p)
{
	if (waits_at_end(p))
		chain_wait();
}

__device__ inline void end_without_rows(const product &p)
{
	begin_with_x(p);
	end(p);
}

template <uint32_t N>
__device__ ufm_expert_rows entry_of(const product &p, const entry_list<N> &list)
{
	ufm_expert_rows entry =
		p.device_entries ? p.device_entries[blockIdx.z] : list.entries[blockIdx.z];

	if (entry.rows <= p.rows_above || entry.rows > p.rows_most)
		entry.rows = 0;
	return entry;
}

/* ------------------------------------------------------------------ few rows */

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

/* What a lane of a warp brings of each chunk. Rows that do not exist are other rows again: what they
 * give is not stored. */
template <class A, uint32_t T> struct few_reader {
	static constexpr uint32_t fours = T * A::columns / 4; /* of all rows of x in a chunk */
	static constexpr uint32_t x_loads = (fours + WARP - 1) / WARP;
	static constexpr uint32_t x_step = WARP * 4 / A::columns; /* rows apart that a lane loads */
	static constexpr uint32_t per_vector = 16 / sizeof(typename A::weight);
	static_assert(T <= x_step || x_step % 2 == 0,
	              "a lane's rows of x have one place in their tile");
	const typename A::weight *w[FEW_LOADS];
	const float *x[x_loads];
	uint32_t columns, whole, lane, w_at; /* whole: chunks that are copied so */

	__device__ few_reader(const product &p, const weights<A> &all, uint32_t first,
	                      const float *rows_at, uint32_t rows)
		: columns(p.columns), whole(p.aligned ? p.columns / A::columns : 0),
		  lane(threadIdx.x % WARP), w_at(w_place(lane / VECTORS, lane % VECTORS))
	{
#pragma unroll
		for (uint32_t j = 0; j < x_loads; j++) {
			uint32_t token = lane * 4 / A::columns + j * x_step;
			x[j] = rows_at + (uint64_t)(token < rows ? token : 0) * columns + lane * 4 % A::columns;
		}
#pragma unroll
		for (uint32_t j = 0; j < FEW_LOADS; j++) {
			uint32_t row = j * 4 + lane / VECTORS;
			w[j] = all.row_at(all.unit_of(first, row), row) + lane % VECTORS * per_vector;
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
			          (int64_t)columns - chunk * A::columns - lane % VECTORS * per_vector);
	}
	__device__ void bring_x(float (&to)[x_loads][4], uint32_t chunk) const
	{
#pragma unroll
		for (uint32_t j = 0; j < x_loads; j++) {
			if (chunk < whole)
				load_four(to[j], x[j] + chunk * A::columns);
			else
				load_part(to[j], x[j] + chunk * A::columns,
				          (int64_t)columns - chunk * A::columns - lane * 4 % A::columns);
		}
	}
	__device__ void put_x(char *tile, const float (&from)[x_loads][4]) const
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
	float sums[FEW_TILES][N][4] = {}, x[few_reader<A, T>::x_loads][4];

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
                          uint32_t first, const few_shared<A, T> &shared, float *out, uint32_t rows)
{
	uint32_t width = all.units_of_mma(), units = width * FEW_TILES;

	for (uint32_t i = threadIdx.x; i < rows * units; i += FEW_THREADS) {
		uint32_t token = i / units, unit = i % units;
		uint32_t row = unit / width * MMA_ROWS + unit % width;
		if (first + unit >= p.units)
			continue;
		float sum = few_sum(shared, row, token);
		out[(uint64_t)token * p.units + first + unit] =
			all.gate
				? finish_gated<A>(p, block, first + unit, sum, few_sum(shared, row + width, token))
				: finish<A>(p, block, first + unit, sum);
	}
}

/* Up to T rows times FEW_ROWS rows of weights. */
template <class A, uint32_t T, uint32_t N>
__global__ void __launch_bounds__(FEW_THREADS, T <= MMA_TOKENS ? 4 : 2)
	multiply_few(const __grid_constant__ product p, const __grid_constant__ entry_list<N> list)
{
	extern __shared__ __align__(128) char memory[];
	few_shared<A, T> &shared = *(few_shared<A, T> *)memory;
	constexpr uint32_t tiles = few_shared<A, T>::tiles;
	if (!p.early)
		chain_wait();
	const ufm_expert_rows entry = entry_of(p, list);
	const char *block = (const char *)entry.block;
	const weights<A> all(p, block);
	uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
	uint32_t first = blockIdx.y * FEW_TILES * all.units_of_mma();
	uint32_t chunks = (p.columns + A::columns - 1) / A::columns;
	float total[FEW_TILES][tiles][4] = {};

	if (entry.rows == 0) {
		end_without_rows(p);
		return;
	}
	few_reader<A, T> reader(p, all, first, p.x + (uint64_t)entry.row * p.columns, entry.rows);
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
	few_store<A, T>(p, block, all, first, shared, p.out + (uint64_t)entry.row * p.units,
	                entry.rows);
	end(p);
}

/* ------------------------------------------------------------------ many rows */

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

/* What a thread brings of each chunk. Rows that do not exist are other rows again: what they give is not
 * stored. */
template <class T> struct many_reader {
	typedef typename T::arithmetic A;
	static constexpr uint32_t per_vector = 16 / sizeof(typename A::weight);
	static constexpr uint32_t w_step = T::threads / VECTORS; /* rows apart that a thread loads */
	static constexpr uint32_t w_loads = T::rows / w_step;
	static constexpr uint32_t x_fours = A::columns / 4; /* of a row */
	static constexpr uint32_t x_step = T::threads / x_fours;
	static constexpr uint32_t x_loads = (T::tokens + x_step - 1) / x_step;
	static_assert(w_step % MMA_ROWS == 0, "a thread's rows have one place in their mma");
	static_assert(x_step % 4 == 0, "a thread's rows of x have one place in their tile");
	const typename A::weight *w[w_loads];
	const float *x[x_loads];
	uint32_t columns, whole, w_at, x_at; /* whole: chunks that are copied so */

	__device__ many_reader(const product &p, const weights<A> &all, uint32_t first,
	                       const float *rows_at, uint32_t rows)
		: columns(p.columns), whole(p.aligned ? p.columns / A::columns : 0),
		  w_at(w_place(threadIdx.x / VECTORS, threadIdx.x % VECTORS)),
		  x_at(x_four_place<A>(threadIdx.x / x_fours, threadIdx.x % x_fours * 4))
	{
#pragma unroll
		for (uint32_t j = 0; j < w_loads; j++) {
			uint32_t row = threadIdx.x / VECTORS + j * w_step;
			w[j] = all.row_at(all.unit_of(first, row), row) + threadIdx.x % VECTORS * per_vector;
		}
#pragma unroll
		for (uint32_t j = 0; j < x_loads; j++) {
			uint32_t token = threadIdx.x / x_fours + j * x_step;
			x[j] = rows_at + (uint64_t)(token < rows ? token : 0) * columns +
			       threadIdx.x % x_fours * 4;
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
			          (int64_t)columns - chunk * A::columns - threadIdx.x % VECTORS * per_vector);
	}
	__device__ void bring_x(float (&to)[x_loads][4], uint32_t chunk) const
	{
#pragma unroll
		for (uint32_t j = 0; j < x_loads; j++) {
			if (chunk < whole)
				load_four(to[j], x[j] + chunk * A::columns);
			else
				load_part(to[j], x[j] + chunk * A::columns,
				          (int64_t)columns - chunk * A::columns - threadIdx.x % x_fours * 4);
		}
	}
	__device__ void put_x(char *tile, const float (&from)[x_loads][4]) const
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

/* Adds the sums of a chunk, or of a segment, to what was before; at a segment's end that to the totals. */
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
	float x[many_reader<T>::x_loads][4];

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

template <class T, uint32_t N>
__global__ void __launch_bounds__(T::threads, T::blocks)
	multiply_many(const __grid_constant__ product p, const __grid_constant__ entry_list<N> list)
{
	extern __shared__ __align__(128) char memory[];
	typename T::shared &shared = *(typename T::shared *)memory;
	if (!p.early)
		chain_wait();
	const ufm_expert_rows entry = entry_of(p, list);
	const char *block = (const char *)entry.block;
	const weights<typename T::arithmetic> all(p, block);
	uint32_t first = blockIdx.y * T::rows / MMA_ROWS * all.units_of_mma();
	uint32_t chunks = (p.columns + T::arithmetic::columns - 1) / T::arithmetic::columns;

	if (blockIdx.x * T::tokens >= entry.rows)
		end_without_rows(p);
	for (uint32_t done = blockIdx.x * T::tokens; done < entry.rows; done += gridDim.x * T::tokens) {
		uint32_t rows = min(entry.rows - done, T::tokens);
		uint64_t row = (uint64_t)entry.row + done;
		many_reader<T> reader(p, all, first, p.x + row * p.columns, rows);
		many_columns<T>(p, reader, shared, chunks);
		many_store<T>(p, block, all, first, shared, p.out + row * p.units, rows);
		__syncthreads();
	}
	end(p);
}

/* ------------------------------------------------------------------ launch */

/* By the rows of an entry. */
typedef enum product_tile { PRODUCT_FEW, PRODUCT_16, PRODUCT_24, PRODUCT_32 } product_tile;

/* Below so many blocks of a 16 tile the columns are split instead, over more warps: a single expert would
 * leave most of the device idle. Measured on an H200 (docs/performance.md). */
#define SPLIT_BELOW_BLOCKS 160u

typedef struct product_launch {
	product p;
	entry_list<ENTRIES_MAX> list;
	uint32_t count; /* entries */
	uint32_t rows;  /* of the largest */
	bool chained;
} product_launch;

template <class A> struct launcher {
	typedef tiling<A, 1, 4, 1, 2, 4, 4> tile16;
	typedef tiling<A, 2, 4, 1, 3, 3, 2> tile24;
	typedef tiling<A, 2, 4, 1, 4, 3, 2> tile32;

	/* With as many parameters as there are entries. */
	static cudaError_t start(void (*few_entries)(product, entry_list<ENTRIES_FEW>),
	                         void (*all_entries)(product, entry_list<ENTRIES_MAX>), dim3 grid,
	                         unsigned threads, size_t shared_bytes, const product_launch &l,
	                         cudaStream_t stream)
	{
		entry_list<ENTRIES_FEW> some = {};

		if (!l.p.device_entries && l.count > ENTRIES_FEW)
			return launch_chained(l.chained, all_entries, grid, threads, shared_bytes, stream, l.p,
			                      l.list);
		for (uint32_t i = 0; i < l.count && !l.p.device_entries; i++)
			some.entries[i] = l.list.entries[i];
		return launch_chained(l.chained, few_entries, grid, threads, shared_bytes, stream, l.p,
		                      some);
	}
	/* How many rows entries on the device have is not known here: a block goes on to further rows. */
	template <class T> static cudaError_t many(const product_launch &l, cudaStream_t stream)
	{
		uint32_t units = l.p.epilogue >= PRODUCT_GATED_GELU ? T::rows / 2 : T::rows;
		uint32_t row_tiles = (l.rows + T::tokens - 1) / T::tokens;
		dim3 grid(l.p.device_entries ? 1 : row_tiles, (l.p.units + units - 1) / units, l.count);
		return start(multiply_many<T, ENTRIES_FEW>, multiply_many<T, ENTRIES_MAX>, grid, T::threads,
		             sizeof(typename T::shared), l, stream);
	}
	template <uint32_t T> static cudaError_t few(const product_launch &l, cudaStream_t stream)
	{
		uint32_t units = l.p.epilogue >= PRODUCT_GATED_GELU ? FEW_ROWS / 2 : FEW_ROWS;
		dim3 grid(1, (l.p.units + units - 1) / units, l.count);
		return start(multiply_few<A, T, ENTRIES_FEW>, multiply_few<A, T, ENTRIES_MAX>, grid,
		             FEW_THREADS, sizeof(few_shared<A, T>), l, stream);
	}
	static cudaError_t up_to_16(const product_launch &l, cudaStream_t stream)
	{
		uint32_t units = l.p.epilogue >= PRODUCT_GATED_GELU ? tile16::rows / 2 : tile16::rows;
		uint64_t blocks = (uint64_t)((l.p.units + units - 1) / units) * l.count;
		return blocks < SPLIT_BELOW_BLOCKS ? few<16>(l, stream) : many<tile16>(l, stream);
	}
	template <class K> static cudaError_t load_kernel(K *kernel, size_t shared_bytes)
	{
		return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
		                            (int)shared_bytes);
	}
	template <uint32_t T> static cudaError_t load_few(void)
	{
		cudaError_t error = load_kernel(multiply_few<A, T, ENTRIES_FEW>, sizeof(few_shared<A, T>));
		return error ? error
		             : load_kernel(multiply_few<A, T, ENTRIES_MAX>, sizeof(few_shared<A, T>));
	}
	template <class T> static cudaError_t load_many(void)
	{
		cudaError_t error = load_kernel(multiply_many<T, ENTRIES_FEW>, sizeof(typename T::shared));
		return error ? error
		             : load_kernel(multiply_many<T, ENTRIES_MAX>, sizeof(typename T::shared));
	}
	static cudaError_t launch(product_tile tile, const product_launch &l, cudaStream_t stream)
	{
		switch (tile) {
		case PRODUCT_FEW:
			return few<2>(l, stream);
		case PRODUCT_16:
			return up_to_16(l, stream);
		case PRODUCT_24:
			return many<tile24>(l, stream);
		case PRODUCT_32:
			break;
		}
		return many<tile32>(l, stream);
	}
	static cudaError_t load(void)
	{
		cudaError_t error = load_few<2>();
		if (!error)
			error = load_few<16>();
		if (!error)
			error = load_many<tile16>();
		if (!error)
			error = load_many<tile24>();
		return error ? error : load_many<tile32>();
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

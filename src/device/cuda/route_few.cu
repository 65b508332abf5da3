/* SPDX-License-Identifier: MIT */
/*
 * Calls of few tokens: norm, logits and choice in one launch, and of a single token its rows and entries, too: every launch
 * that less is in the way of an expert's weights costs some two microseconds.
 *
 * A cluster of blocks for each token. Each block norms the token for itself, in the order of gather's sum; its warps take an
 * expert of the router after the other, in the order of route_logits' sums; the first block collects the logits and chooses.
 * So the bits are those of the operations one after the other: WIDE, which decides which columns a lane adds, is a matter
 * of the router alone, and ALIGNED, whether tokens and the norm are read four columns at once, of where they lie.
 */
#include <cooperative_groups.h>

#include "device/cuda/choose.cuh"
#include "device/cuda/kernels.h"
#include "device/cuda/launch.cuh"
#include "device/cuda/norm.cuh"

#define CLUSTER 8u /* blocks */
#define WARPS 16u
#define THREADS (WARPS * WARP)
#define TOKENS_MAX 8u
#define SHARED_BYTES_MAX (96u << 10)

#define HELD 16u     /* loads of a lane, of weights, that are made before x is there */
#define NORM_HELD 2u /* groups of columns of a thread, likewise of the norm's weights */

/* What a block keeps in its shared memory; that of the first counts but for x. */
typedef struct token_memory {
	uint64_t *blocks; /* [experts] */
	float *x;         /* [d_model], normed */
	float *scores;    /* [experts] */
	uint32_t *keys;   /* [experts padded to warps], of scores */
	uint32_t *ranks;  /* the same */
	float *gates;     /* [top_k] */
	int32_t *ids;     /* [top_k] */
} token_memory;

__host__ __device__ inline uint32_t padded_to(uint32_t count, uint32_t multiple)
{
	return (count + multiple - 1) / multiple * multiple;
}

static size_t memory_bytes(const route_few_args *a)
{
	uint64_t x = padded_to(a->gather.d_model, 4), experts = padded_to(a->route.experts, WARP);

	return 4 * (x + 5 * experts + 2ull * a->route.top_k);
}

__device__ token_memory lay_out(const route_few_args &a, char *memory)
{
	uint32_t experts = padded_to(a.route.experts, WARP);
	token_memory m;

	/* x and keys are read 16 bytes at a time */
	m.x = (float *)memory;
	m.keys = (uint32_t *)(m.x + padded_to(a.gather.d_model, 4));
	m.ranks = m.keys + experts;
	m.blocks = (uint64_t *)(m.ranks + experts);
	m.scores = (float *)(m.blocks + experts);
	m.gates = m.scores + experts;
	m.ids = (int32_t *)(m.gates + a.route.top_k);
	return m;
}

/* ------------------------------------------------------------------ the token */

/* A thread's columns of the norm's weights: they are there before the token is. */
template <bool ALIGNED> __device__ columns norm_weight(const ufm_gather_args &g, uint32_t c)
{
	return columns_load<ALIGNED>((const void *)g.norm_weight, UFM_F32, 0, c, g.d_model);
}

/* A group that a thread has read is its own until the row is normed. */
template <bool WIDE, bool ALIGNED>
__device__ void bring_token(const ufm_gather_args &g, uint64_t at,
                            const columns (&weight)[NORM_HELD], float *x)
{
	uint32_t first = threadIdx.x < NORM_THREADS ? COLUMNS * threadIdx.x : g.d_model;
	const void *from = (const void *)g.x;
	float squares = 0.0f, factor = 1.0f;
	columns held[NORM_HELD];

#pragma unroll
	for (uint32_t h = 0; h < NORM_HELD; h++)
		held[h] = columns_load<ALIGNED>(from, g.x_dtype, at, first + h * NORM_STEP, g.d_model);
#pragma unroll
	for (uint32_t h = 0; h < NORM_HELD; h++)
		squares = add_squares(held[h], squares);
	for (uint32_t c = first + NORM_HELD * NORM_STEP; c < g.d_model; c += NORM_STEP) {
		columns group = columns_load<ALIGNED>(from, g.x_dtype, at, c, g.d_model);
		columns_store<WIDE>(x, UFM_F32, 0, c, g.d_model, group);
		squares = add_squares(group, squares);
	}
	if (g.norm_weight)
		factor = norm_factor(squares, g.d_model, g.norm_eps);
#pragma unroll
	for (uint32_t h = 0; h < NORM_HELD; h++)
		columns_store<WIDE>(x, UFM_F32, 0, first + h * NORM_STEP, g.d_model,
		                    g.norm_weight ? normed(held[h], factor, weight[h]) : held[h]);
	for (uint32_t c = first + NORM_HELD * NORM_STEP; g.norm_weight && c < g.d_model; c += NORM_STEP)
		columns_store<WIDE>(x, UFM_F32, 0, c, g.d_model,
		                    normed(columns_load<WIDE>(x, UFM_F32, 0, c, g.d_model), factor,
		                           norm_weight<ALIGNED>(g, c)));
}

/* Rows of a single token are shared out among the blocks. */
template <bool WIDE, bool ALIGNED>
__device__ void store_rows(const ufm_gather_args &g, uint32_t tokens, uint32_t token, uint32_t rank,
                           const float *x)
{
	uint32_t begin = tokens == 1 ? rank : token, end = tokens == 1 ? g.rows : token + 1;

	if (!g.out || (tokens > 1 && rank))
		return;
	for (uint32_t row = begin; row < end; row += CLUSTER)
		for (uint32_t c = COLUMNS * threadIdx.x; c < g.d_model; c += COLUMNS * THREADS)
			columns_store<ALIGNED>((void *)g.out, UFM_F32, (uint64_t)row * g.d_model, c, g.d_model,
			                       columns_load<WIDE>(x, UFM_F32, 0, c, g.d_model));
}

/* ------------------------------------------------------------------ logits */

/* V columns of a row of weights; of a row that is not aligned one. */
template <bool WIDE> struct few_columns {
	static constexpr uint32_t count = WIDE ? 4 : 1;
	float value[count];

	__device__ void load(const float *at)
	{
		load_floats<count>(at, value);
	}
	__device__ float add_products(const float *x, float sum) const
	{
		few_columns other;

		other.load(x);
#pragma unroll
		for (uint32_t i = 0; i < count; i++)
			sum = fmaf(value[i], other.value[i], sum);
		return sum;
	}
};

/* The first columns of a lane. */
template <bool WIDE>
__device__ void hold(few_columns<WIDE> (&held)[HELD], const float *weight, uint32_t d_model,
                     uint32_t lane)
{
	constexpr uint32_t V = few_columns<WIDE>::count;

#pragma unroll
	for (uint32_t h = 0; h < HELD; h++)
		if ((h * WARP + lane) * V < d_model)
			held[h].load(weight + (h * WARP + lane) * V);
}

/* What one lane adds of a row of weights and the token, as route_logits does. */
template <bool WIDE>
__device__ float lane_sum(const few_columns<WIDE> (&held)[HELD], const float *weight,
                          const float *x, uint32_t d_model, uint32_t lane)
{
	constexpr uint32_t V = few_columns<WIDE>::count;
	float sum = 0.0f;

#pragma unroll
	for (uint32_t h = 0; h < HELD; h++)
		if ((h * WARP + lane) * V < d_model)
			sum = held[h].add_products(x + (h * WARP + lane) * V, sum);
#pragma unroll 4
	for (uint32_t c = (HELD * WARP + lane) * V; c < d_model; c += WARP * V) {
		few_columns<WIDE> w;
		w.load(weight + c);
		sum = w.add_products(x + c, sum);
	}
	return sum;
}

/* ------------------------------------------------------------------ the choice */

/* Where the choice of a token goes; group: of a single token, or NULL. */
struct choice_out {
	int32_t *ids;
	float *gates;
	const ufm_group_args *group;
	const uint64_t *blocks;
};

/* What group makes of a single token's ids, which are distinct and all there. Rank j, whose row comes after the rows of
 * lower ids. */
__device__ void put_choice(const choice_out &to, uint32_t j, uint32_t id, float gate, uint32_t row)
{
	to.ids[j] = (int32_t)id;
	to.gates[j] = gate;
	if (!to.group)
		return;
	((ufm_expert_rows *)to.group->entries)[row] = {to.blocks[id], row, 1};
	((uint32_t *)to.group->row_of)[j] = row;
	((uint32_t *)to.group->row_token)[row] = 0;
	if (to.group->ids_out)
		((int32_t *)to.group->ids_out)[j] = (int32_t)id;
}

/* Any number of experts and ranks, from shared memory. */
__device__ void choose_from_memory(const route_few_args &a, const token_memory &m, uint32_t lane,
                                   const choice_out &to)
{
	ufm_router_args here = a.route;

	here.ids = (ufm_devptr)(uintptr_t)m.ids;
	here.gates = (ufm_devptr)(uintptr_t)m.gates;
	score_and_choose(here, 0, m.scores, lane);
	__syncwarp();
	for (uint32_t j = lane; j < a.route.top_k; j += WARP) {
		uint32_t row = 0;
		for (uint32_t i = 0; i < a.route.top_k; i++)
			row += m.ids[i] < m.ids[j];
		put_choice(to, j, (uint32_t)m.ids[j], m.gates[j], row);
	}
}

/*
 * The same choice by all threads of the block, of up to COUNTED_EXPERTS experts: a rank is the number of experts that come
 * before. One warp takes 3.6 us of 128 experts to name eight of them one by one, and nobody has anything else to do.
 */
#define COUNTED_EXPERTS 256u

/* Expert e's score from its logit, as softmax() has it: largest and sum are every warp's own, of all logits. */
__device__ float softmax_of(float *scores, uint32_t count, uint32_t e, uint32_t lane)
{
	float largest = -INFINITY, sum = 0.0f, value = 0.0f;

	for (uint32_t i = lane; i < count; i += WARP)
		largest = scores[i] > largest ? scores[i] : largest;
	largest = warp_max(largest);
	if (e < count)
		value = expf(scores[e] - largest);
	__syncthreads();
	if (e < count)
		scores[e] = value;
	__syncthreads();
	for (uint32_t i = lane; i < count; i += WARP)
		sum += isnan(scores[i]) ? 0.0f : scores[i];
	return value / warp_sum(sum);
}

/* How many of keys [begin, end), fours of them, come before key, which is that of expert e: larger ones, and equal ones of
 * lower ids. */
__device__ uint32_t count_before(const uint32_t *keys, uint32_t begin, uint32_t end, uint32_t e,
                                 uint32_t key)
{
	uint32_t before = 0;

#pragma unroll 4
	for (uint32_t i = begin; i < end; i += 4) {
		uint4 four = *(const uint4 *)(keys + i);
		before += four.x > key - (i < e);
		before += four.y > key - (i + 1 < e);
		before += four.z > key - (i + 2 < e);
		before += four.w > key - (i + 3 < e);
	}
	return before;
}

__device__ void choose_counted(const route_few_args &a, const token_memory &m, const choice_out &to)
{
	uint32_t experts = a.route.experts, top_k = a.route.top_k, thread = threadIdx.x;
	uint32_t padded = padded_to(experts, WARP), parts = THREADS / padded;
	uint32_t e = thread % padded, part = thread / padded;
	uint32_t each = (padded / 4 + parts - 1) / parts * 4; /* keys of a part */
	float sum = 0.0f;
	/* the threads of the first part have an expert each */
	float value = a.route.scoring == UFM_SCORE_SIGMOID
	                  ? 1.0f / (1.0f + expf(-m.scores[min(e, experts - 1)]))
	                  : softmax_of(m.scores, experts, thread, thread % WARP);

	if (thread < padded) {
		/* scores are not negative, so their bits rank as they do; a NaN is behind all, and nobody behind that */
		m.keys[thread] = thread >= experts ? 0 : isnan(value) ? 1 : __float_as_uint(value) + 2;
		m.ranks[thread] = 0;
	}
	__syncthreads();
	if (e < experts && part < parts)
		atomicAdd(&m.ranks[e],
		          count_before(m.keys, part * each, min(part * each + each, padded), e, m.keys[e]));
	__syncthreads();
	if (thread < experts && m.ranks[thread] < top_k) {
		m.ids[m.ranks[thread]] = (int32_t)thread;
		m.gates[m.ranks[thread]] = value;
	}
	__syncthreads();
	if (thread >= top_k)
		return;
	uint32_t row = 0, id = (uint32_t)m.ids[thread];
#pragma unroll 8
	for (uint32_t i = 0; i < top_k; i++) {
		sum += m.gates[i];
		row += (uint32_t)m.ids[i] < id;
	}
	float gate = m.gates[thread];
	put_choice(to, thread, id, a.route.norm_topk ? gate / (sum + UFM_NORM_TOPK_ADDEND) : gate, row);
}

/* By the first block of a token. */
__device__ void choose_for(const route_few_args &a, uint32_t token, const token_memory &m)
{
	uint64_t first = (uint64_t)token * a.route.top_k;
	choice_out to = {(int32_t *)a.route.ids + first, (float *)a.route.gates + first,
	                 a.group.blocks ? &a.group : nullptr, m.blocks};

	if (a.route.experts <= COUNTED_EXPERTS)
		choose_counted(a, m, to);
	else if (threadIdx.x < WARP)
		choose_from_memory(a, m, threadIdx.x, to);
}

template <bool WIDE, bool ALIGNED>
__global__ void __launch_bounds__(THREADS) route_cluster(const __grid_constant__ route_few_args a)
{
#if __CUDA_ARCH__ >= 900
	extern __shared__ __align__(16) char memory[];
	cooperative_groups::cluster_group cluster = cooperative_groups::this_cluster();
	token_memory m = lay_out(a, memory);
	float *collected = cluster.map_shared_rank(m.scores, 0);
	uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, experts = a.route.experts;
	uint32_t d_model = a.gather.d_model, rank = blockIdx.x % CLUSTER, token = blockIdx.x / CLUSTER;
	const float *all = (const float *)a.route.weight;
	few_columns<WIDE> held[HELD];
	columns norm[NORM_HELD] = {};

	if (rank * WARPS + warp < experts)
		hold(held, all + (uint64_t)(rank * WARPS + warp) * d_model, d_model, lane);
	if (a.gather.norm_weight && threadIdx.x < NORM_THREADS) {
#pragma unroll
		for (uint32_t h = 0; h < NORM_HELD; h++)
			norm[h] = norm_weight<ALIGNED>(a.gather, COLUMNS * threadIdx.x + h * NORM_STEP);
	}
	cluster.sync(); /* all have begun: their memory is there */
	chain_wait();
	chain_start();
	for (uint32_t e = threadIdx.x; a.group.blocks && rank == 0 && e < experts; e += THREADS)
		m.blocks[e] = ((const uint64_t *)a.group.blocks)[e];
	bring_token<WIDE, ALIGNED>(a.gather, (uint64_t)(a.gather.first + token) * a.gather.x_stride,
	                           norm, m.x);
	__syncthreads();
	for (uint32_t e = rank * WARPS + warp; e < experts; e += CLUSTER * WARPS) {
		const float *weight = all + (uint64_t)e * d_model;
		if (e >= CLUSTER * WARPS)
			hold(held, weight, d_model, lane);
		float logit = warp_sum(lane_sum(held, weight, m.x, d_model, lane));
		if (lane == 0)
			collected[e] = logit;
	}
	store_rows<WIDE, ALIGNED>(a.gather, a.route.tokens, token, rank, m.x);
	cluster.sync();
	if (rank == 0)
		choose_for(a, token, m);
#endif
}

/* ------------------------------------------------------------------ launches */

bool kernels_route_few_fits(const route_few_args *a, bool chained)
{
	uint32_t of_call = a->route.call_tokens ? a->route.call_tokens : a->route.tokens;

	return chained && of_call <= TOKENS_MAX && memory_bytes(a) <= SHARED_BYTES_MAX &&
	       a->gather.out_dtype != UFM_BF16;
}

cudaError_t kernels_route_few(const route_few_args *a, bool chained, cudaStream_t stream)
{
	const ufm_gather_args *g = &a->gather;
	bool wide = g->d_model % COLUMNS == 0 && a->route.weight % 16 == 0;
	bool aligned = columns_are_wide(g->x, g->x_dtype, g->x_stride, g->d_model) &&
	               g->out % 16 == 0 && g->norm_weight % 16 == 0;
	auto kernel = wide && aligned ? route_cluster<true, true>
	              : wide          ? route_cluster<true, false>
	                              : route_cluster<false, false>;

	return launch_clusters(chained, CLUSTER, kernel, dim3(a->route.tokens * CLUSTER), THREADS,
	                       memory_bytes(a), stream, *a);
}

cudaError_t kernels_load_route_few(void)
{
	int bytes = 0;
	cudaError_t error = shared_bytes_most(&bytes);

	bytes = bytes < (int)SHARED_BYTES_MAX ? bytes : (int)SHARED_BYTES_MAX;
	if (!error)
		error = load_kernel(route_cluster<true, true>, bytes);
	if (!error)
		error = load_kernel(route_cluster<true, false>, bytes);
	return error ? error : load_kernel(route_cluster<false, false>, bytes);
}

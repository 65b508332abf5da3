/* SPDX-License-Identifier: MIT */
/*
 * Routing to rows and entries, in one block. Every warp takes a range of the assignments and counts
 * its experts' rows in shared memory; a scan over experts, and within an expert over warps, gives
 * each warp its next row of each expert; then the warps go over their ranges once more. Within a
 * warp 32 assignments are ranked at once by who else wants the same expert. So rows are in the
 * order of tokens, and no sum depends on time.
 */
#include "device/cuda/kernels.h"
#include "device/cuda/launch.cuh"
#include "device/cuda/numbers.cuh"

#define THREADS_FEW 128u
#define THREADS_MANY 1024u
#define FEW_ASSIGNMENTS 1024u
#define NO_ID UINT32_MAX
#define AT_ONCE_MANY 8u /* ids of a lane that are under way together, of many */
/* Of shared memory, without asking for more than every device gives: 44 KiB. */
#define WORDS_USUAL 11264u

/* Rows in the lower half, experts that have rows in the upper: both sums at once. */
typedef unsigned long long rows_and_entries;

/* The sum over the threads before this one; *total: over all. Every thread of the block calls
 * it. */
__device__ rows_and_entries scan_block(rows_and_entries value, rows_and_entries *total)
{
	__shared__ rows_and_entries of_warp[THREADS_MANY / WARP];
	uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
	rows_and_entries sum = value, before = 0, all = 0;

#pragma unroll
	for (uint32_t offset = 1; offset < WARP; offset *= 2) {
		rows_and_entries below = __shfl_up_sync(ALL_LANES, sum, offset);
		sum += lane >= offset ? below : 0;
	}
	if (lane == WARP - 1)
		of_warp[warp] = sum;
	__syncthreads();
	for (uint32_t w = 0; w < blockDim.x / WARP; w++) {
		before += w < warp ? of_warp[w] : 0;
		all += of_warp[w];
	}
	__syncthreads();
	*total = all;
	return before + sum - value;
}

/* The assignments [begin, end) of a warp; a multiple of 32 but for the last. */
typedef struct range {
	uint32_t begin, end;
} range;

__device__ range range_of(uint32_t assignments, uint32_t warps, uint32_t warp)
{
	uint32_t chunks = (assignments + WARP - 1) / WARP;
	uint32_t each = (chunks + warps - 1) / warps * WARP;
	/* warps * each can exceed 32 bits by less than a chunk a warp: 2^30 assignments leave room */
	uint32_t begin = min(warp * each, assignments);
	return {begin, min(begin + each, assignments)};
}

/* The lanes that want the same expert; those without one are alike, too. A vote for every bit of an id: the instruction
 * that matches whole words takes longer. */
__device__ uint32_t lanes_with(uint32_t id, uint32_t experts)
{
	uint32_t key = min(id, experts), same = ALL_LANES;

	for (uint32_t bit = 1; bit <= experts; bit *= 2) {
		uint32_t set = __ballot_sync(ALL_LANES, (key & bit) != 0);
		same &= key & bit ? set : ~set;
	}
	return same;
}

/* A lane's ids from index i on, a warp apart: asked for together, as each takes longer to come than to count. */
template <uint32_t AT_ONCE>
__device__ void load_ids(uint32_t (&out)[AT_ONCE], const uint32_t *ids, uint32_t i, uint32_t end)
{
#pragma unroll
	for (uint32_t j = 0; j < AT_ONCE; j++)
		out[j] = i + j * WARP < end ? ids[i + j * WARP] : NO_ID;
}

template <uint32_t AT_ONCE>
__device__ void count_rows(const ufm_group_args &a, range r, uint32_t *rows)
{
	const uint32_t *ids = (const uint32_t *)a.ids;
	uint32_t lane = threadIdx.x % WARP;

	for (uint32_t base = r.begin; base < r.end; base += AT_ONCE * WARP) {
		uint32_t some[AT_ONCE];
		load_ids<AT_ONCE>(some, ids, base + lane, r.end);
#pragma unroll
		for (uint32_t j = 0; j < AT_ONCE; j++) {
			uint32_t id = some[j], same = lanes_with(id, a.experts);
			if (id < a.experts && lane + 1 == (uint32_t)__ffs((int)same))
				rows[id] += __popc(same);
			__syncwarp();
		}
	}
}

/* next_row: of this warp, for every expert. */
template <uint32_t AT_ONCE>
__device__ void place_rows(const ufm_group_args &a, range r, uint32_t *next_row)
{
	const uint32_t *ids = (const uint32_t *)a.ids;
	uint32_t *row_of = (uint32_t *)a.row_of, *row_token = (uint32_t *)a.row_token;
	uint32_t lane = threadIdx.x % WARP, *ids_out = (uint32_t *)a.ids_out;

	for (uint32_t base = r.begin; base < r.end; base += AT_ONCE * WARP) {
		uint32_t some[AT_ONCE];
		load_ids<AT_ONCE>(some, ids, base + lane, r.end);
#pragma unroll
		for (uint32_t j = 0; j < AT_ONCE; j++) {
			uint32_t i = base + j * WARP + lane, row = UFM_ROW_NONE, id = some[j];
			uint32_t same = lanes_with(id, a.experts);
			if (id < a.experts)
				row = next_row[id] + __popc(same & ((1u << lane) - 1));
			__syncwarp();
			if (id < a.experts && lane + 1 == (uint32_t)__ffs((int)same))
				next_row[id] += __popc(same);
			__syncwarp();
			if (i < r.end)
				row_of[i] = row;
			if (i < r.end && ids_out)
				ids_out[i] = id;
			if (row != UFM_ROW_NONE)
				row_token[row] = i / a.top_k;
		}
	}
}

/* Where experts begin, if the host says so. */
template <uint32_t N> struct first_rows {
	uint32_t row[N];
};
typedef first_rows<1> ascending; /* it does not */

/* Counts of all warps become their next rows; writes the entry of an expert that has rows. */
template <uint32_t N>
__device__ void lay_out(const ufm_group_args &a, const first_rows<N> &first, uint32_t expert,
                        uint32_t warps, uint32_t rows, rows_and_entries before, uint32_t *counts)
{
	uint32_t row = N > 1 ? first.row[expert] : (uint32_t)before;

	if (rows && a.entries) {
		ufm_expert_rows *entry = (ufm_expert_rows *)a.entries + (before >> 32);
		entry->block = ((const uint64_t *)a.blocks)[expert];
		entry->row = row;
		entry->rows = rows;
	}
	for (uint32_t w = 0; w < warps; w++) {
		uint32_t *count = &counts[w * a.experts + expert], own = *count;
		*count = row;
		row += own;
	}
}

template <uint32_t N>
__device__ rows_and_entries lay_out_all(const ufm_group_args &a, const first_rows<N> &given,
                                        uint32_t warps, uint32_t *counts)
{
	rows_and_entries before = 0, total;

	for (uint32_t first = 0; first < a.experts; first += blockDim.x) {
		uint32_t expert = first + threadIdx.x, rows = 0;
		for (uint32_t w = 0; expert < a.experts && w < warps; w++)
			rows += counts[w * a.experts + expert];
		rows_and_entries own = rows ? (rows_and_entries)1 << 32 | rows : 0;
		rows_and_entries here = scan_block(own, &total);
		if (expert < a.experts)
			lay_out(a, given, expert, warps, rows, before + here, counts);
		before += total;
	}
	return before;
}

/* What no expert has: rows of token 0, entries without rows. */
__device__ void fill_rest(const ufm_group_args &a, uint32_t assignments, rows_and_entries used)
{
	uint32_t room = min(a.experts, assignments);

	for (uint32_t i = (uint32_t)used + threadIdx.x; i < assignments; i += blockDim.x)
		((uint32_t *)a.row_token)[i] = 0;
	for (uint32_t i = (uint32_t)(used >> 32) + threadIdx.x; a.entries && i < room; i += blockDim.x)
		((ufm_expert_rows *)a.entries)[i] = {0, 0, 0};
}

template <uint32_t AT_ONCE, uint32_t N>
__global__ void __launch_bounds__(THREADS_MANY)
	group_rows(ufm_group_args a, uint32_t warps, const __grid_constant__ first_rows<N> given)
{
	extern __shared__ uint32_t counts[]; /* [warps, experts] */
	uint32_t assignments = a.tokens * a.top_k, warp = threadIdx.x / WARP;
	range mine = range_of(assignments, warps, warp);

	for (uint32_t i = threadIdx.x; i < warps * a.experts; i += blockDim.x)
		counts[i] = 0;
	chain_wait();
	chain_start();
	__syncthreads();
	if (warp < warps)
		count_rows<AT_ONCE>(a, mine, counts + warp * a.experts);
	__syncthreads();
	fill_rest(a, assignments, lay_out_all(a, given, warps, counts));
	__syncthreads();
	if (warp < warps)
		place_rows<AT_ONCE>(a, mine, counts + warp * a.experts);
}

template <uint32_t N>
static cudaError_t launch(const ufm_group_args *args, const first_rows<N> &first, bool chained,
                          cudaStream_t stream)
{
	uint32_t assignments = args->tokens * args->top_k;
	uint32_t threads = assignments <= FEW_ASSIGNMENTS ? THREADS_FEW : THREADS_MANY;
	uint32_t warps = (assignments + WARP - 1) / WARP;
	uint32_t most = args->experts < WORDS_USUAL ? WORDS_USUAL / args->experts : 1;

	warps = warps < threads / WARP ? warps : threads / WARP;
	warps = warps < most ? warps : most;
	size_t shared_bytes = (size_t)warps * args->experts * sizeof(uint32_t);
	auto kernel = assignments <= FEW_ASSIGNMENTS ? group_rows<1, N> : group_rows<AT_ONCE_MANY, N>;
	return launch_chained(chained, kernel, dim3(1), threads, shared_bytes, stream, *args, warps,
	                      first);
}

cudaError_t kernels_group(const ufm_group_args *args, bool chained, cudaStream_t stream)
{
	first_rows<UFM_FIRST_ROWS> first = {};

	if (!args->first_rows)
		return launch(args, ascending{}, chained, stream);
	for (uint32_t i = 0; i < args->experts; i++)
		first.row[i] = args->first_rows[i];
	return launch(args, first, chained, stream);
}

cudaError_t kernels_load_group(uint32_t *experts_max)
{
	cudaFuncAttributes attributes;
	int shared_bytes = 0;
	cudaError_t error = shared_bytes_most(&shared_bytes);

	if (!error)
		error = cudaFuncGetAttributes(&attributes, group_rows<1, UFM_FIRST_ROWS>);
	if (!error)
		error = cudaFuncGetAttributes(&attributes, group_rows<AT_ONCE_MANY, UFM_FIRST_ROWS>);
	if (!error)
		error = cudaFuncGetAttributes(&attributes, group_rows<AT_ONCE_MANY, 1>);
	if (error)
		return error;
	shared_bytes -= (int)attributes.sharedSizeBytes;
	*experts_max = (uint32_t)shared_bytes / sizeof(uint32_t);
	error = load_kernel(group_rows<1, 1>, shared_bytes);
	return error ? error : load_kernel(group_rows<AT_ONCE_MANY, 1>, shared_bytes);
}

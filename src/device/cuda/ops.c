/* SPDX-License-Identifier: MIT */
/* The operations of the cuda backend: what the enqueueing call checks, and what it launches. */
#include <math.h>

#include "device/cuda/cuda_int.h"
#include "device/cuda/kernels.h"

#define GRID_MAX 0x7fffffffu /* blocks in the first direction; 65,535 in the second */

/* Kernels number the elements of a block with 32 bits, the smallest of which have 2 bytes. */
#define EXPERT_BYTES_MAX ((uint64_t)1 << 33)

static bool is_dtype(ufm_dtype dtype)
{
	return dtype == UFM_F32 || dtype == UFM_BF16 || dtype == UFM_F16;
}

/* Defines a function of the operation's arguments: its launcher with the stream's device
 * current. */
#define DEFINE_LAUNCH(operation, args_type) \
	static ufm_status launch_##operation(ufm_stream *stream, const args_type *args) \
	{ \
		cuda_scope scope; \
		ufm_status status = cuda_enter(stream->device, &scope); \
		if (status == UFM_OK) \
			status = CHECK_RUNTIME(stream->device, kernels_##operation, args, \
			                       stream->device->chains, stream->stream); \
		stream->grouped = false; \
		cuda_leave(&scope); \
		return status; \
	}
DEFINE_LAUNCH(gather, ufm_gather_args)
DEFINE_LAUNCH(route, ufm_router_args)
DEFINE_LAUNCH(route_few, route_few_args)
DEFINE_LAUNCH(product, product_args)
DEFINE_LAUNCH(combine, ufm_combine_args)
DEFINE_LAUNCH(group, ufm_group_args)
DEFINE_LAUNCH(adopt, ufm_adopt_args)
DEFINE_LAUNCH(read, read_args)

static ufm_status check_gather(const ufm_gather_args *args)
{
	if (!is_dtype(args->x_dtype))
		return cuda_fail(UFM_EINVAL, "gather: dtype is %d, expected UFM_F32, UFM_BF16 or UFM_F16",
		                 (int)args->x_dtype);
	if (args->out_dtype && args->out_dtype != UFM_F32 && args->out_dtype != UFM_BF16)
		return cuda_fail(UFM_EINVAL, "gather: out_dtype is %d, expected UFM_F32 or UFM_BF16",
		                 (int)args->out_dtype);
	if (args->rows == 0)
		return UFM_OK;
	if (!args->x || !args->out || !args->d_model || args->rows > GRID_MAX)
		return cuda_fail(UFM_EINVAL, "gather of %u rows (at most 2^31 - 1): x, out or d_model is 0",
		                 args->rows);
	if (args->few_index && args->rows > UFM_FEW_ROWS)
		return cuda_fail(UFM_EINVAL, "gather: few_index of %u rows, expected at most %u",
		                 args->rows, UFM_FEW_ROWS);
	return UFM_OK;
}

ufm_status cuda_gather(ufm_stream *stream, const ufm_gather_args *args)
{
	ufm_status status = check_gather(args);

	return status == UFM_OK && args->rows ? launch_gather(stream, args) : status;
}

/* ------------------------------------------------------------------ route */

static ufm_status check_route(const ufm_device *device, const ufm_router_args *args)
{
	uint32_t most = device->router_experts_max;

	if (args->experts < 1 || args->experts > most)
		return cuda_fail(UFM_EINVAL, "router: %u experts, expected 1 … %u", args->experts, most);
	if (args->top_k < 1 || args->top_k > args->experts)
		return cuda_fail(UFM_EINVAL, "router: top_k is %u, expected 1 … %u", args->top_k,
		                 args->experts);
	if (args->scoring != UFM_SCORE_SOFTMAX && args->scoring != UFM_SCORE_SIGMOID)
		return cuda_fail(UFM_EINVAL, "router: scoring is %d, expected softmax or sigmoid",
		                 (int)args->scoring);
	if (args->tokens == 0)
		return UFM_OK;
	if (!args->x || !args->weight || !args->ids || !args->gates || !args->logits || !args->d_model)
		return cuda_fail(UFM_EINVAL, "router of %u tokens: an address or d_model is 0",
		                 args->tokens);
	return UFM_OK;
}

ufm_status cuda_route(ufm_stream *stream, const ufm_router_args *args)
{
	ufm_status status = check_route(stream->device, args);

	return status == UFM_OK && args->tokens ? launch_route(stream, args) : status;
}

/* ------------------------------------------------------------------ experts */

uint64_t cuda_hidden_bytes(const ufm_expert_desc *desc, uint32_t rows)
{
	return (uint64_t)rows * desc->d_hidden * sizeof(float);
}

/* The library's own search is not linked into a plugin. */
static const ufm_part *find_part(const ufm_expert_desc *desc, ufm_role role)
{
	for (uint32_t i = 0; i < desc->part_count; i++) {
		if (desc->parts[i].role == role)
			return &desc->parts[i];
	}
	return NULL;
}

static uint64_t offset_of(const ufm_expert_desc *desc, ufm_role role)
{
	const ufm_part *part = find_part(desc, role);

	return part ? part->offset_bytes : PRODUCT_NONE;
}

static float or_infinite(float limit)
{
	return limit > 0.0f ? limit : INFINITY;
}

static product_finish finish_of(const ufm_expert_desc *desc)
{
	bool adjusted = desc->gate_limit > 0.0f || desc->activated_limit > 0.0f ||
	                desc->up_limit > 0.0f || desc->up_offset != 0.0f;

	return (product_finish){.activation = desc->activation,
	                        .adjusted = adjusted,
	                        .alpha = desc->act_alpha > 0.0f ? desc->act_alpha : 1.0f,
	                        .gate_limit = or_infinite(desc->gate_limit),
	                        .activated_limit = or_infinite(desc->activated_limit),
	                        .up_limit = or_infinite(desc->up_limit),
	                        .up_offset = desc->up_offset};
}

/* What both products of an expert have in common, and the matrix and bias of one. */
static product_args product_with(const ufm_device *device, const ufm_experts_args *args,
                                 ufm_role matrix, ufm_role bias)
{
	const ufm_part *part = find_part(args->desc, matrix);

	return (product_args){.entries = args->entries,
	                      .device_entries =
	                          (const ufm_expert_rows *)(uintptr_t)args->device_entries,
	                      .entry_count = args->entry_count,
	                      .rows_max = args->rows_max,
	                      .row_first = args->row_first,
	                      .row_count = args->device_entries ? args->row_count : 0,
	                      .call_rows = args->call_rows,
	                      .multiprocessors = device->info.compute_units,
	                      .wide = device->wide,
	                      .math = args->math,
	                      .dtype = part->dtype,
	                      .matrix = part->offset_bytes,
	                      .bias = offset_of(args->desc, bias),
	                      .gate = PRODUCT_NONE,
	                      .gate_bias = PRODUCT_NONE};
}

/* Hidden values are rounded when they are written, where the output's product would round them. */
static bool rounds(const ufm_experts_args *args)
{
	return args->math == UFM_MATH_BF16;
}

static product_args hidden_product(const ufm_device *device, const ufm_experts_args *args)
{
	const ufm_expert_desc *desc = args->desc;
	product_args product = product_with(device, args, UFM_ROLE_UP, UFM_ROLE_UP_BIAS);

	product.units = desc->d_hidden;
	product.columns = desc->d_model;
	product.gate = offset_of(desc, UFM_ROLE_GATE);
	product.gate_bias = offset_of(desc, UFM_ROLE_GATE_BIAS);
	product.finish = finish_of(desc);
	product.x = (const void *)(uintptr_t)args->x;
	product.x_half = args->x_dtype == UFM_BF16;
	product.out = (void *)(uintptr_t)args->hidden;
	product.out_half = rounds(args);
	return product;
}

static product_args output_product(const ufm_device *device, const ufm_experts_args *args)
{
	product_args product = product_with(device, args, UFM_ROLE_DOWN, UFM_ROLE_DOWN_BIAS);

	product.units = args->desc->d_model;
	product.columns = args->desc->d_hidden;
	product.x = (const void *)(uintptr_t)args->hidden;
	product.x_half = rounds(args);
	product.out = (void *)(uintptr_t)args->y;
	return product;
}

ufm_status cuda_experts(ufm_stream *stream, const ufm_experts_args *args)
{
	if (args->entry_count == 0)
		return UFM_OK;
	if (!args->desc || !(args->entries || args->device_entries) || !args->x || !args->hidden ||
	    !args->y)
		return cuda_fail(UFM_EINVAL, "experts, %u entries: desc or an address is 0",
		                 args->entry_count);
	if ((unsigned)args->desc->activation < UFM_ACT_GELU ||
	    (unsigned)args->desc->activation > UFM_ACT_RELU2)
		return cuda_fail(UFM_EUNSUPPORTED, "experts: activation is %u, expected %d … %d",
		                 (unsigned)args->desc->activation, UFM_ACT_GELU, UFM_ACT_RELU2);
	if (args->desc->expert_bytes > EXPERT_BYTES_MAX)
		return cuda_fail(UFM_EUNSUPPORTED, "experts: %llu bytes each, expected at most 8 GiB",
		                 (unsigned long long)args->desc->expert_bytes);
	if (args->x % 16 || args->hidden % 16)
		return cuda_fail(UFM_EINVAL,
		                 "experts: x or hidden does not begin at a multiple of 16 bytes");
	if (args->x_dtype && args->x_dtype != UFM_F32 &&
	    !(args->x_dtype == UFM_BF16 && args->math == UFM_MATH_BF16))
		return cuda_fail(UFM_EINVAL,
		                 "experts: x_dtype is %d, expected UFM_F32, or UFM_BF16 with UFM_MATH_BF16",
		                 (int)args->x_dtype);
	product_args hidden = hidden_product(stream->device, args);
	product_args output = output_product(stream->device, args);
	hidden.entries_known = !args->device_entries || !stream->grouped;
	output.entries_known = true;
	ufm_status status = launch_product(stream, &hidden);
	return status == UFM_OK ? launch_product(stream, &output) : status;
}

/* ------------------------------------------------------------------ combine */

ufm_status cuda_combine(ufm_stream *stream, const ufm_combine_args *args)
{
	if (!is_dtype(args->y_dtype) || (args->residual && !is_dtype(args->residual_dtype)))
		return cuda_fail(UFM_EINVAL,
		                 "combine: dtypes are %d and %d, expected UFM_F32, UFM_BF16 or UFM_F16",
		                 (int)args->residual_dtype, (int)args->y_dtype);
	if (args->tokens == 0)
		return UFM_OK;
	if (!args->y || !args->d_model || args->tokens > GRID_MAX ||
	    (args->top_k && (!args->rows || (!args->row_of && !args->few_row_of) || !args->gates)))
		return cuda_fail(UFM_EINVAL, "combine of %u tokens: an address or d_model is 0",
		                 args->tokens);
	if (args->few_row_of && (uint64_t)args->tokens * args->top_k > UFM_FEW_ROWS)
		return cuda_fail(UFM_EINVAL, "combine: few_row_of of %u tokens by %u, expected at most %u",
		                 args->tokens, args->top_k, UFM_FEW_ROWS);
	return launch_combine(stream, args);
}

/* ------------------------------------------------------------------ group */

static ufm_status check_group(const ufm_device *device, const ufm_group_args *args)
{
	uint32_t most = device->group_experts_max;
	uint64_t assignments = (uint64_t)args->tokens * args->top_k;

	if (args->experts < 1 || args->experts > most)
		return cuda_fail(UFM_EINVAL, "group: %u experts, expected 1 … %u", args->experts, most);
	if (assignments > UFM_GROUP_MAX)
		return cuda_fail(UFM_EINVAL,
		                 "group: %u tokens, top_k %u, expected a product of at most 2^30",
		                 args->tokens, args->top_k);
	if (assignments == 0)
		return UFM_OK;
	if (!args->ids || !args->row_of || !args->row_token ||
	    (!args->first_rows && (!args->blocks || !args->entries)))
		return cuda_fail(UFM_EINVAL, "group of %u tokens: an address is 0", args->tokens);
	if (args->first_rows && (args->experts > UFM_FIRST_ROWS || args->blocks || args->entries))
		return cuda_fail(UFM_EINVAL,
		                 "group by first_rows: %u experts, expected at most %u, and no entries",
		                 args->experts, UFM_FIRST_ROWS);
	return UFM_OK;
}

ufm_status cuda_group(ufm_stream *stream, const ufm_group_args *args)
{
	ufm_status status = check_group(stream->device, args);

	if (status != UFM_OK || !args->tokens || !args->top_k)
		return status;
	status = launch_group(stream, args);
	stream->grouped = true;
	return status;
}

/* ------------------------------------------------------------------ gather, route and group at once */

static ufm_status one_after_the_other(ufm_stream *stream, const ufm_gather_args *gather,
                                      const ufm_router_args *route, const ufm_group_args *group)
{
	ufm_status status = cuda_gather(stream, gather);

	if (status == UFM_OK)
		status = cuda_route(stream, route);
	return status == UFM_OK && group ? cuda_group(stream, group) : status;
}

ufm_status cuda_route_tokens(ufm_stream *stream, const ufm_gather_args *gather,
                             const ufm_router_args *route, const ufm_group_args *group)
{
	bool one = route->tokens == 1;
	route_few_args few = {.gather = *gather, .route = *route};

	if (group && one)
		few.group = *group;
	if (!route->tokens || gather->index || gather->few_index || route->x != gather->out ||
	    (!one && gather->rows != route->tokens) || (one && gather->x_stride && gather->rows > 1) ||
	    !kernels_route_few_fits(&few, stream->device->chains))
		return one_after_the_other(stream, gather, route, group);
	ufm_status status = check_gather(gather);
	if (status == UFM_OK)
		status = check_route(stream->device, route);
	if (status == UFM_OK && group)
		status = check_group(stream->device, group);
	if (status == UFM_OK)
		status = launch_route_few(stream, &few);
	if (status != UFM_OK || !group)
		return status;
	if (!one)
		return cuda_group(stream, group);
	stream->grouped = true;
	return UFM_OK;
}

/* ------------------------------------------------------------------ adopt */

ufm_status cuda_adopt(ufm_stream *stream, const ufm_adopt_args *args)
{
	uint64_t assignments = (uint64_t)args->tokens * args->top_k;

	if (args->id_bytes != 4 && args->id_bytes != 8)
		return cuda_fail(UFM_EINVAL, "adopt: ids of %u bytes, expected 4 or 8", args->id_bytes);
	if (!is_dtype(args->gate_dtype))
		return cuda_fail(UFM_EINVAL,
		                 "adopt: gates of dtype %d, expected UFM_F32, UFM_BF16 or UFM_F16",
		                 (int)args->gate_dtype);
	if (assignments > UFM_GROUP_MAX)
		return cuda_fail(UFM_EINVAL,
		                 "adopt: %u tokens, top_k %u, expected a product of at most 2^30",
		                 args->tokens, args->top_k);
	if (assignments == 0)
		return UFM_OK;
	if (!args->ids || !args->gates || !args->ids_out || !args->gates_out)
		return cuda_fail(UFM_EINVAL, "adopt of %u tokens: an address is 0", args->tokens);
	return launch_adopt(stream, args);
}

/* ------------------------------------------------------------------ read */

ufm_status cuda_read(ufm_stream *stream, ufm_devptr at, uint64_t size_bytes, ufm_devptr out)
{
	read_args args = {.at = at,
	                  .out = out,
	                  .size_bytes = size_bytes,
	                  .units = stream->device->info.compute_units};

	if (size_bytes % 16 || at % 16)
		return cuda_fail(UFM_EINVAL, "read of %llu bytes: size and address must be multiples of 16",
		                 (unsigned long long)size_bytes);
	if (!at || !out || out % 4)
		return cuda_fail(UFM_EINVAL, "read of %llu bytes: an address is 0, or out not aligned",
		                 (unsigned long long)size_bytes);
	return launch_read(stream, &args);
}

/* ------------------------------------------------------------------ loading */

ufm_status cuda_load_kernels(ufm_device *device)
{
	cuda_scope scope;
	ufm_status status = cuda_enter(device, &scope);

	if (status == UFM_OK)
		status = cuda_check(device, kernels_load_gather(), "loading the kernels of gather");
	if (status == UFM_OK)
		status = cuda_check(device, kernels_load_route(&device->router_experts_max),
		                    "loading the kernels of route");
	if (status == UFM_OK)
		status = cuda_check(device, kernels_load_route_few(), "loading the kernels of route");
	if (status == UFM_OK)
		status = cuda_check(device, kernels_load_product(&device->wide),
		                    "loading the kernels of experts");
	if (status == UFM_OK)
		status = cuda_check(device, kernels_load_combine(), "loading the kernels of combine");
	if (status == UFM_OK)
		status = cuda_check(device, kernels_load_group(&device->group_experts_max),
		                    "loading the kernels of group");
	if (status == UFM_OK)
		status = cuda_check(device, kernels_load_read(), "loading the kernels of read");
	if (status == UFM_OK)
		status = cuda_check(device, kernels_load_adopt(), "loading the kernels of adopt");
	cuda_leave(&scope);
	return status;
}

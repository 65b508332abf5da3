/* SPDX-License-Identifier: MIT */
/* The kernels of the cpu backend: what the enqueueing call checks, and how the stream's thread splits
 * the work over the device's pool. */
#include <string.h>

#include "base/bf16.h"
#include "base/dtype.h"
#include "base/f16.h"
#include "base/status.h"
#include "device/cpu/cpu_int.h"

#define MIN_OF(a, b) ((a) < (b) ? (a) : (b))
#define MAX_OF(a, b) ((a) > (b) ? (a) : (b))

/* Elements that are worth handing to another thread. */
#define GRAIN_ELEMENTS 32768u

typedef struct job {
	const ufm_device *device;
	const void *args;
	uint32_t per_item, splits, first;
} job;

static uint32_t items_of(uint32_t count, uint32_t per_item)
{
	return count / per_item + (count % per_item != 0);
}

static void run_job(ufm_device *device, uint32_t items, pool_work work, job *j)
{
	lock_take(&device->compute_lock);
	pool_run(device->pool, items, work, j);
	lock_drop(&device->compute_lock);
}

static void read_row(ufm_devptr base, ufm_dtype dtype, uint64_t element, uint32_t count, float *out)
{
	if (dtype == UFM_F32) {
		memcpy(out, (const float *)cpu_host(base) + element, count * sizeof *out);
		return;
	}
	const uint16_t *bits = (const uint16_t *)cpu_host(base) + element;
	for (uint32_t i = 0; i < count; i++)
		out[i] = dtype == UFM_F16 ? f16_to_f32(bits[i]) : bf16_to_f32(bits[i]);
}

static void write_row(ufm_devptr base, ufm_dtype dtype, uint64_t element, uint32_t count,
                      const float *values)
{
	if (dtype == UFM_F32) {
		memcpy((float *)cpu_host(base) + element, values, count * sizeof *values);
		return;
	}
	uint16_t *bits = (uint16_t *)cpu_host(base) + element;
	for (uint32_t i = 0; i < count; i++)
		bits[i] = dtype == UFM_F16 ? f16_from_f32(values[i]) : bf16_from_f32(values[i]);
}

/* ------------------------------------------------------------------ gather */

static void gather_rows(void *ctx, uint32_t item, uint32_t worker)
{
	const job *j = ctx;
	const ufm_gather_args *a = j->args;
	const uint32_t *index = a->few_index ? a->few_index : cpu_host(a->index);
	const float *weight = cpu_host(a->norm_weight);
	uint32_t begin = item * j->per_item, end = begin + MIN_OF(j->per_item, a->rows - begin);

	(void)worker;
	for (uint32_t i = begin; i < end; i++) {
		uint64_t row = index ? index[i] : (uint64_t)a->first + i;
		float *out = (float *)cpu_host(a->out) + (uint64_t)i * a->d_model;
		read_row(a->x, a->x_dtype, row * a->x_stride, a->d_model, out);
		if (weight)
			j->device->kernels->rms_norm(out, weight, a->norm_eps, a->d_model, out);
	}
}

void cpu_run_gather(ufm_device *device, const ufm_gather_args *args)
{
	job j = {.device = device, .args = args, .per_item = MAX_OF(GRAIN_ELEMENTS / args->d_model, 1)};

	run_job(device, items_of(args->rows, j.per_item), gather_rows, &j);
}

ufm_status cpu_gather(ufm_stream *stream, const ufm_gather_args *args)
{
	cpu_command command = {.op = CPU_OP_GATHER, .gather = *args};

	if (!dtype_is_token(args->x_dtype))
		return status_fail(UFM_EINVAL, "gather: dtype is %d, expected UFM_F32, UFM_BF16 or UFM_F16",
		                   (int)args->x_dtype);
	if (args->out_dtype && args->out_dtype != UFM_F32)
		return status_fail(UFM_EUNSUPPORTED, "gather: out_dtype is %d, expected UFM_F32",
		                   (int)args->out_dtype);
	if (args->rows == 0)
		return UFM_OK;
	if (!args->x || !args->out || !args->d_model)
		return status_fail(UFM_EINVAL, "gather of %u rows: x, out or d_model is 0", args->rows);
	if (args->few_index && args->rows > UFM_FEW_ROWS)
		return status_fail(UFM_EINVAL, "gather: few_index of %u rows, expected at most %u",
		                   args->rows, UFM_FEW_ROWS);
	cpu_enqueue(stream, &command);
	return UFM_OK;
}

/* ------------------------------------------------------------------ route */

static void route_tokens(void *ctx, uint32_t item, uint32_t worker)
{
	const job *j = ctx;
	const ufm_router_args *a = j->args;
	uint32_t begin = item * j->per_item, count = MIN_OF(j->per_item, a->tokens - begin);
	float *logits = j->device->scratch + (size_t)worker * CPU_EXPERTS_MAX;
	const float *x = (const float *)cpu_host(a->x) + (uint64_t)begin * a->d_model;

	j->device->kernels->logits(cpu_host(a->weight), a->experts, x, count, a->d_model, logits);
	for (uint32_t t = 0; t < count; t++) {
		uint64_t at = ((uint64_t)begin + t) * a->top_k;
		kernels_top_k(logits + (size_t)t * a->experts, a->experts, a->scoring, a->top_k,
		              a->norm_topk != 0, (int32_t *)cpu_host(a->ids) + at,
		              (float *)cpu_host(a->gates) + at);
	}
}

#define ROUTE_TOKENS 16u /* that share one pass over the router's weights */

void cpu_run_route(ufm_device *device, const ufm_router_args *args)
{
	uint32_t shared = MIN_OF(ROUTE_TOKENS, CPU_EXPERTS_MAX / args->experts);
	uint32_t fair = items_of(args->tokens, pool_threads(device->pool));
	job j = {.device = device, .args = args, .per_item = MIN_OF(shared, fair)};

	run_job(device, items_of(args->tokens, j.per_item), route_tokens, &j);
}

ufm_status cpu_route(ufm_stream *stream, const ufm_router_args *args)
{
	cpu_command command = {.op = CPU_OP_ROUTE, .route = *args};

	if (args->experts < 1 || args->experts > CPU_EXPERTS_MAX)
		return status_fail(UFM_EINVAL, "router: %u experts, expected 1 … %u", args->experts,
		                   CPU_EXPERTS_MAX);
	if (args->top_k < 1 || args->top_k > args->experts)
		return status_fail(UFM_EINVAL, "router: top_k is %u, expected 1 … %u", args->top_k,
		                   args->experts);
	if (args->scoring != UFM_SCORE_SOFTMAX && args->scoring != UFM_SCORE_SIGMOID)
		return status_fail(UFM_EINVAL, "router: scoring is %d, expected softmax or sigmoid",
		                   (int)args->scoring);
	if (args->tokens == 0)
		return UFM_OK;
	if (!args->x || !args->weight || !args->ids || !args->gates || !args->d_model)
		return status_fail(UFM_EINVAL, "router of %u tokens: an address or d_model is 0",
		                   args->tokens);
	cpu_enqueue(stream, &command);
	return UFM_OK;
}

/* ------------------------------------------------------------------ experts */

uint64_t cpu_hidden_bytes(const ufm_expert_desc *desc, uint32_t rows)
{
	return (uint64_t)rows * desc->d_hidden * sizeof(float);
}

/* What of an entry is to be computed. */
static ufm_expert_rows entry_of(const ufm_experts_args *a, uint32_t index)
{
	ufm_expert_rows e = a->entries[index];
	uint64_t end = (uint64_t)e.row + e.rows, last = (uint64_t)a->row_first + a->row_count;

	if (!a->device_entries || !a->row_count)
		return e;
	uint64_t begin = MAX_OF(e.row, a->row_first);
	end = MIN_OF(end, last);
	e.rows = end > begin ? (uint32_t)(end - begin) : 0;
	e.row = (uint32_t)(begin - a->row_first);
	return e;
}

static void hidden_units(void *ctx, uint32_t item, uint32_t worker)
{
	const job *j = ctx;
	const ufm_experts_args *a = j->args;
	const ufm_expert_rows e = entry_of(a, j->first + item / j->splits);
	uint32_t begin = item % j->splits * j->per_item;
	uint32_t end = begin + MIN_OF(j->per_item, a->desc->d_hidden - begin);
	const float *x = (const float *)cpu_host(a->x) + (uint64_t)e.row * a->desc->d_model;
	float *hidden = (float *)cpu_host(a->hidden) + (uint64_t)e.row * a->desc->d_hidden;

	(void)worker;
	if (e.rows)
		j->device->kernels->hidden(a->desc, cpu_host(e.block), x, e.rows, hidden, begin, end);
}

static void output_units(void *ctx, uint32_t item, uint32_t worker)
{
	const job *j = ctx;
	const ufm_experts_args *a = j->args;
	const ufm_expert_rows e = entry_of(a, j->first + item / j->splits);
	uint32_t begin = item % j->splits * j->per_item;
	uint32_t end = begin + MIN_OF(j->per_item, a->desc->d_model - begin);
	const float *hidden = (const float *)cpu_host(a->hidden) + (uint64_t)e.row * a->desc->d_hidden;
	float *y = (float *)cpu_host(a->y) + (uint64_t)e.row * a->desc->d_model;

	(void)worker;
	if (e.rows)
		j->device->kernels->output(a->desc, cpu_host(e.block), hidden, e.rows, y, begin, end);
}

/* An item is whole blocks of a kernel, and there are enough to keep the threads even. */
#define UNITS_STEP 48u
#define UNITS_MAX 192u
#define ITEMS_A_THREAD 8u

/* One phase for all entries: every entry's units cut into the same pieces. */
static void run_units(ufm_device *device, const ufm_experts_args *args, uint32_t units,
                      pool_work work)
{
	uint64_t total = (uint64_t)units * args->entry_count;
	uint64_t even = total / (pool_threads(device->pool) * ITEMS_A_THREAD);
	uint32_t per_item = (uint32_t)MIN_OF(even, UNITS_MAX) / UNITS_STEP * UNITS_STEP;
	job j = {.device = device, .args = args, .per_item = MAX_OF(per_item, UNITS_STEP)};

	j.splits = items_of(units, j.per_item);
	uint32_t at_once = UINT32_MAX / j.splits;
	while (j.first < args->entry_count) {
		uint32_t entries = MIN_OF(args->entry_count - j.first, at_once);
		pool_run(device->pool, entries * j.splits, work, &j);
		j.first += entries;
	}
}

/* All entries' hidden values before any output, so that small entries fill each other's gaps. */
void cpu_run_experts(ufm_device *device, const ufm_experts_args *args)
{
	lock_take(&device->compute_lock);
	run_units(device, args, args->desc->d_hidden, hidden_units);
	run_units(device, args, args->desc->d_model, output_units);
	lock_drop(&device->compute_lock);
}

ufm_status cpu_experts(ufm_stream *stream, const ufm_experts_args *args)
{
	cpu_command command = {.op = CPU_OP_EXPERTS, .experts = *args};

	if (args->device_entries)
		command.experts.entries = cpu_host(args->device_entries);
	if (args->entry_count == 0)
		return UFM_OK;
	if (!args->desc || !command.experts.entries || !args->x || !args->hidden || !args->y)
		return status_fail(UFM_EINVAL, "experts, %u entries: desc or an address is 0",
		                   args->entry_count);
	if ((unsigned)args->desc->activation < UFM_ACT_GELU ||
	    (unsigned)args->desc->activation > UFM_ACT_RELU2)
		return status_fail(UFM_EUNSUPPORTED, "experts: activation is %u, expected %d … %d",
		                   (unsigned)args->desc->activation, UFM_ACT_GELU, UFM_ACT_RELU2);
	if (args->math && args->math != UFM_MATH_FP32)
		return status_fail(UFM_EUNSUPPORTED, "experts: math is %d, expected UFM_MATH_FP32",
		                   (int)args->math);
	if (args->x_dtype && args->x_dtype != UFM_F32)
		return status_fail(UFM_EUNSUPPORTED, "experts: x_dtype is %d, expected UFM_F32",
		                   (int)args->x_dtype);
	cpu_enqueue(stream, &command);
	return UFM_OK;
}

/* ------------------------------------------------------------------ combine */

#define SPAN_ELEMENTS 512u

static void combine_span(const kernel_table *kernels, const ufm_combine_args *a, uint32_t token,
                         uint32_t first, uint32_t count)
{
	const uint32_t *rows = a->few_row_of ? a->few_row_of : (const uint32_t *)cpu_host(a->row_of);
	const uint32_t *row_of = rows + (uint64_t)token * a->top_k;
	const float *gates = (const float *)cpu_host(a->gates) + (uint64_t)token * a->top_k;
	float sum[SPAN_ELEMENTS];
	bool empty = !a->residual;

	if (a->residual)
		read_row(a->residual, a->residual_dtype, token * a->residual_stride + first, count, sum);
	for (uint32_t i = 0; empty && i < count; i++)
		sum[i] = -0.0f; /* -0 + p has the bits of p for every p: the sum starts as the product */
	for (uint32_t j = 0; j < a->top_k; j++) {
		if (row_of[j] == UFM_ROW_NONE)
			continue;
		const float *row = (const float *)cpu_host(a->rows) + (uint64_t)row_of[j] * a->d_model;
		kernels->accumulate(sum, gates[j], row + first, count);
		empty = false;
	}
	if (empty)
		memset(sum, 0, count * sizeof *sum);
	write_row(a->y, a->y_dtype, token * a->y_stride + first, count, sum);
}

static void combine_tokens(void *ctx, uint32_t item, uint32_t worker)
{
	const job *j = ctx;
	const ufm_combine_args *a = j->args;
	uint32_t begin = item * j->per_item, end = begin + MIN_OF(j->per_item, a->tokens - begin);

	(void)worker;
	for (uint32_t t = begin; t < end; t++) {
		for (uint32_t first = 0; first < a->d_model; first += SPAN_ELEMENTS)
			combine_span(j->device->kernels, a, t, first,
			             MIN_OF(a->d_model - first, SPAN_ELEMENTS));
	}
}

void cpu_run_combine(ufm_device *device, const ufm_combine_args *args)
{
	uint64_t token_elements = (uint64_t)args->d_model * (args->top_k + (uint64_t)1);
	job j = {.device = device,
	         .args = args,
	         .per_item = (uint32_t)MAX_OF(GRAIN_ELEMENTS / token_elements, 1)};

	run_job(device, items_of(args->tokens, j.per_item), combine_tokens, &j);
}

ufm_status cpu_combine(ufm_stream *stream, const ufm_combine_args *args)
{
	cpu_command command = {.op = CPU_OP_COMBINE, .combine = *args};

	if (!dtype_is_token(args->y_dtype) || (args->residual && !dtype_is_token(args->residual_dtype)))
		return status_fail(UFM_EINVAL,
		                   "combine: dtypes are %d and %d, expected UFM_F32, UFM_BF16 or UFM_F16",
		                   (int)args->residual_dtype, (int)args->y_dtype);
	if (args->tokens == 0)
		return UFM_OK;
	if (!args->y || !args->d_model ||
	    (args->top_k && (!args->rows || (!args->row_of && !args->few_row_of) || !args->gates)))
		return status_fail(UFM_EINVAL, "combine of %u tokens: an address or d_model is 0",
		                   args->tokens);
	if (args->few_row_of && (uint64_t)args->tokens * args->top_k > UFM_FEW_ROWS)
		return status_fail(UFM_EINVAL,
		                   "combine: few_row_of of %u tokens by %u, expected at most %u",
		                   args->tokens, args->top_k, UFM_FEW_ROWS);
	cpu_enqueue(stream, &command);
	return UFM_OK;
}

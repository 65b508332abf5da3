/* SPDX-License-Identifier: MIT */
/* Rows between the device and the CPU. Inputs are written to page-locked memory by the device: all tokens of
 * a small call while their ids are on the way, the rows of the misses that the CPU may take for a larger one.
 * Outputs are brought into the row table by a way that does not queue behind the copies of experts. */
#include <string.h>

#include "moe/assisted_int.h"

#define FLUSH_BYTES (1u << 20)

static uint64_t row_bytes(const assisted *s)
{
	return 4ull * s->f->layer->desc->d_model;
}

/* Writing them later would keep the CPU waiting for a launch, a kernel and a mark. */
ufm_status assisted_offer(forward *f)
{
	uint32_t tokens = f->call->tokens;
	if (!assisted_is_near(f) || tokens > PAGER_OFFERED)
		return UFM_OK;
	ufm_status status = stage_gather_to(f, 0, tokens, pager_get_cpu(f->layer->engine)->x_view);
	if (status != UFM_OK)
		return status;
	counter_add(f->counters, COUNTER_d2h_activation_bytes, 4ull * tokens * f->layer->desc->d_model);
	return pager_mark(f->layer->engine, f->stream, &f->offered);
}

/* Before everything else of the layer, so that the CPU can start at once. */
static ufm_status write_rows(assisted *s, uint32_t rows)
{
	forward *f = s->f;
	ufm_devptr to = s->cpu->x_view + PAGER_OFFERED * row_bytes(s);
	ufm_status status = stage_gather_rows_to(f, s->first_row, rows, to);
	if (status != UFM_OK)
		return status;
	counter_add(f->counters, COUNTER_d2h_activation_bytes, rows * row_bytes(s));
	return pager_mark(f->layer->engine, f->stream, &s->inputs);
}

ufm_status assisted_write_inputs(assisted *s)
{
	forward *f = s->f;
	if (s->candidate == f->demand_count)
		return UFM_OK;
	const schedule_demand *last = assisted_demand(s, f->demand_count - 1);
	s->first_row = launch_row(f, assisted_demand(s, s->candidate));
	s->flushed_row = launch_row(f, last) + last->tokens;
	s->inputs = f->offered;
	return f->offered ? UFM_OK : write_rows(s, s->flushed_row - s->first_row);
}

ufm_status assisted_await_inputs(assisted *s)
{
	if (s->inputs_ready)
		return UFM_OK;
	ufm_status status = pager_wait_mark(s->f->layer->engine, s->inputs, UFM_WAIT_FOREVER);
	s->inputs_ready = status == UFM_OK;
	return status;
}

/* Rows of one expert: of a token as it was offered, or of several put together. */
static const float *inputs_of(const assisted *s, const schedule_demand *d, uint32_t row)
{
	const uint32_t *tokens = s->f->buffers->row_token + row;
	uint64_t d_model = s->f->layer->desc->d_model;
	float *rows = s->cpu->x + (PAGER_OFFERED + row - s->first_row) * d_model;
	if (s->f->offered && d->tokens == 1)
		return s->cpu->x + tokens[0] * d_model;
	for (uint32_t i = 0; i < d->tokens && s->f->offered; i++)
		memcpy(rows + i * d_model, s->cpu->x + tokens[i] * d_model, row_bytes(s));
	return rows;
}

/* Of a long call outputs go where the device reads them. */
static bool in_table(const assisted *s)
{
	return s->f->ws->table == s->f->ws->long_table;
}

void assisted_add(assisted *s, const schedule_demand *d)
{
	forward *f = s->f;
	uint32_t row = launch_row(f, d);
	uint64_t d_model = f->layer->desc->d_model;
	float *y =
		in_table(s) ? s->cpu->table + row * d_model : s->cpu->y + (row - s->first_row) * d_model;
	const void *block = pager_layer_host(f->layer->engine, f->layer->config.layer, d->expert);
	assist_add(s->cpu->pool, block, inputs_of(s, d, row), d->tokens, y);
}

/* A copy of up to so many bytes passes those of experts, and is quicker than a kernel that reads host memory
 * beside them; a longer one would wait for them (docs/performance-log.md). */
#define COPIED_BYTES 8192u

static ufm_status bring(assisted *s, uint32_t first, uint32_t rows)
{
	forward *f = s->f;
	uint64_t at_bytes = (first - s->first_row) * row_bytes(s), size_bytes = rows * row_bytes(s);
	ufm_devptr to = f->ws->table + first * row_bytes(s);
	if (size_bytes <= COPIED_BYTES)
		return f->b->copy(f->stream, UFM_COPY_H2D, to, (ufm_devptr)(uintptr_t)s->cpu->y + at_bytes,
		                  size_bytes);
	ufm_gather_args args = {.x = s->cpu->y_view + at_bytes,
	                        .x_stride = f->layer->desc->d_model,
	                        .x_dtype = UFM_F32,
	                        .rows = rows,
	                        .d_model = f->layer->desc->d_model,
	                        .out = to};
	return f->b->gather(f->stream, &args);
}

/* Down to the first row of the expert that was done last. */
ufm_status assisted_flush(assisted *s, bool all)
{
	forward *f = s->f;
	if (s->done == 0 || in_table(s))
		return UFM_OK;
	uint32_t first = launch_row(f, assisted_demand(s, f->demand_count - s->done));
	uint32_t rows = s->flushed_row - first;
	if (rows == 0 || (!all && rows * row_bytes(s) < FLUSH_BYTES))
		return UFM_OK;
	s->flushed_row = first;
	counter_add(f->counters, COUNTER_h2d_activation_bytes, rows * row_bytes(s));
	return bring(s, first, rows);
}

/* SPDX-License-Identifier: MIT */
/* One call of a routed layer, from tokens to tokens. */
#include "base/clock.h"
#include "base/dtype.h"
#include "base/status.h"
#include "device/registry.h"
#include "moe/moe_int.h"

/* With a residual, combine reads x where it writes y when both lie in one place: in host memory they
 * share the staging buffer. Then a token of one must lie where the token of the other lies. */
static ufm_status check_sharing(const ufm_layer *layer, const ufm_moe_call *call)
{
	const ufm_tokens *x = call->x, *y = call->y;
	bool staged = x->place == UFM_ON_HOST && y->place == UFM_ON_HOST;
	bool same = x->place == UFM_ON_DEVICE && y->place == UFM_ON_DEVICE && x->device == y->device;
	uint64_t d_model = layer->desc->d_model;
	if (!layer->config.residual || !(staged || same))
		return UFM_OK;
	if (stage_dtype(x) != stage_dtype(y))
		return status_fail(UFM_EINVAL,
		                   "x.dtype and y.dtype: differ, expected one dtype for a residual "
		                   "%s",
		                   same ? "in place" : "between host x and host y");
	if (same && (x->stride ? x->stride : d_model) != (y->stride ? y->stride : d_model))
		return status_fail(UFM_EINVAL,
		                   "x.stride and y.stride: differ, expected one stride in place");
	return UFM_OK;
}

static ufm_status check_routing(const ufm_layer *layer, const ufm_moe_call *call)
{
	if (!call->ids != !call->gates)
		return status_fail(UFM_EINVAL, "ids and gates: one is NULL, expected both or neither");
	if (!call->device_ids != !call->device_gates)
		return status_fail(UFM_EINVAL,
		                   "device_ids and device_gates: one is 0, expected both or neither");
	if (call->ids && call->device_ids)
		return status_fail(UFM_EINVAL,
		                   "ids and device_ids: both are given, expected routing from one place");
	if (!call->ids && !call->device_ids && !layer->router)
		return status_fail(UFM_EINVAL, "ids and device_ids: NULL and 0, expected the caller's "
		                               "routing: the layer has no router");
	if (call->id_bytes != 0 && call->id_bytes != 4 && call->id_bytes != 8)
		return status_fail(UFM_EINVAL, "id_bytes: %u, expected 4 or 8", call->id_bytes);
	if (call->gate_dtype != 0 && !dtype_is_token(call->gate_dtype))
		return status_fail(UFM_EINVAL, "gate_dtype: %d, expected UFM_F32, UFM_BF16 or UFM_F16",
		                   (int)call->gate_dtype);
	return UFM_OK;
}

/* The caller's struct may be of an older or a newer library; from here on it is ours. */
static ufm_status read_tokens(const ufm_tokens **at, ufm_tokens *ours, const char *name)
{
	ufm_status status = status_need(*at, name, "a ufm_tokens");
	ufm_struct_init(ours, sizeof *ours);
	if (status == UFM_OK)
		status = status_read_config(ours, sizeof *ours, *at, name);
	*at = ours;
	return status;
}

/* What x and y point to is read into ours[0] and ours[1]. */
static ufm_status check_call(const ufm_layer *layer, ufm_moe_call *call, ufm_tokens ours[2])
{
	uint32_t most = engine_call_tokens_max(layer->engine);
	if (call->tokens > most)
		return status_fail(UFM_EINVAL, "tokens: %u, expected at most call_tokens_max (%u)",
		                   call->tokens, most);
	ufm_status status = check_routing(layer, call);
	if (status != UFM_OK || call->tokens == 0)
		return status;
	status = read_tokens(&call->x, &ours[0], "x");
	if (status == UFM_OK)
		status = read_tokens(&call->y, &ours[1], "y");
	if (status == UFM_OK)
		status = stage_check(layer, call->x, call->tokens, "x");
	if (status == UFM_OK)
		status = stage_check(layer, call->y, call->tokens, "y");
	return status == UFM_OK ? check_sharing(layer, call) : status;
}

/* Stream `to` goes on only after what `from` has been given so far. */
static ufm_status join(const forward *f, ufm_stream *from, ufm_stream *to)
{
	uint64_t mark;
	ufm_status status = pager_mark(f->layer->engine, from, &mark);
	return status == UFM_OK ? pager_order(f->layer->engine, to, mark) : status;
}

static ufm_status copy_numbers(forward *f, row_numbers *to, ufm_devptr device, const uint32_t *from,
                               uint64_t count)
{
	to->device = device;
	if (count == 0)
		return UFM_OK;
	return stage_copy(f, UFM_COPY_H2D, device, (ufm_devptr)(uintptr_t)from, 4 * count);
}

/* Of ids that are on the device. */
static ufm_status lay_out_there(forward *f)
{
	ufm_group_args args = {.ids = f->ws->ids,
	                       .tokens = f->call->tokens,
	                       .top_k = f->layer->config.top_k,
	                       .experts = f->layer->experts,
	                       .row_of = f->ws->row_of,
	                       .row_token = f->ws->row_token,
	                       .first_rows = f->buffers->first_rows};
	f->row_of.device = f->ws->row_of;
	f->row_token.device = f->ws->row_token;
	return f->b->group(f->stream, &args);
}

static ufm_status lay_out_here(forward *f)
{
	pager_call *buffers = f->buffers;
	uint32_t top_k = f->layer->config.top_k, assignments = f->call->tokens * top_k;
	uint32_t rows =
		schedule_rows(buffers->ids, f->call->tokens, top_k, f->layer->experts, buffers->demands,
	                  f->demand_count, buffers->counts, buffers->row_of, buffers->row_token);
	if (assignments <= UFM_FEW_ROWS) {
		f->row_of.few = buffers->row_of;
		f->row_token.few = buffers->row_token;
		return UFM_OK;
	}
	ufm_status status = copy_numbers(f, &f->row_of, f->ws->row_of, buffers->row_of, assignments);
	if (status == UFM_OK)
		status = copy_numbers(f, &f->row_token, f->ws->row_token, buffers->row_token, rows);
	return status;
}

/* The row table, from the demand in its order. */
static ufm_status lay_out_rows(forward *f)
{
	schedule_first_rows(f->buffers->demands, f->demand_count, f->buffers->first_rows);
	return f->ids_on_device ? lay_out_there(f) : lay_out_here(f);
}

/* The row table into y. */
static ufm_status combine(forward *f)
{
	bool residual = f->layer->config.residual != 0;
	ufm_combine_args args = {.rows = f->ws->table,
	                         .row_of = f->row_of.device,
	                         .few_row_of = f->row_of.few,
	                         .gates = f->ws->gates,
	                         .tokens = f->call->tokens,
	                         .top_k = f->layer->config.top_k,
	                         .d_model = f->layer->desc->d_model,
	                         .residual = residual ? f->x : 0,
	                         .residual_stride = f->x_stride,
	                         .residual_dtype = stage_dtype(f->call->x),
	                         .y_dtype = stage_dtype(f->call->y)};
	stage_out_target(f, &args.y, &args.y_stride);
	pager_work *work = pager_work_begin(f->layer->engine, TIMELINE_COMBINE);
	ufm_status status = f->b->combine(f->stream, &args);
	span_end(f, work, 0, f->call->tokens);
	return status;
}

ufm_status deliver(forward *f)
{
	ufm_status status = combine(f);
	if (status == UFM_OK)
		status = stage_out(f);
	return status == UFM_OK ? report_routing(f) : status;
}

/* The experts: on the device alone, or with the CPU. */
static ufm_status run_experts(forward *f)
{
	return assisted_wanted(f) ? assisted_run(f) : launch_all(f);
}

/* From routed tokens to the row table filled; the source's begin and end enclose it. */
static ufm_status compute(forward *f)
{
	const moe_source *source = &f->layer->source;
	pager_call *buffers = f->buffers;
	uint64_t assignments = (uint64_t)f->call->tokens * f->layer->config.top_k;
	f->demand_count = schedule_demands(buffers->ids, assignments, f->layer->experts,
	                                   buffers->counts, buffers->demands);
	ufm_status status =
		source->begin(source->self, f->layer->config.layer, buffers->demands, f->demand_count);
	if (status == UFM_OK) {
		f->together = source->together(source->self);
		f->plan = schedule_layer(buffers->demands, f->demand_count, f->together);
		status = lay_out_rows(f);
	}
	if (status == UFM_OK)
		status = run_experts(f);
	source->end(source->self);
	return status;
}

static ufm_status enqueue(forward *f)
{
	ufm_status status = stage_in(f);
	assisted_wake(f);
	if (status == UFM_OK)
		status = route(f);
	if (status == UFM_OK)
		status = compute(f);
	return status == UFM_OK ? deliver(f) : status;
}

/* Whatever was enqueued may still read the call's buffers. After a failure the caller has no ticket to
 * wait for before x is freed, so the stream is drained. */
static ufm_status finish(forward *f, ufm_status outcome)
{
	ufm_status status = pager_call_end(f->layer->engine, f->buffers);
	if (status != UFM_OK || outcome != UFM_OK)
		(void)f->b->stream_sync(f->stream);
	return outcome == UFM_OK ? status : outcome;
}

/* On the engine's own stream, between what the caller's has been given and what it will be given. */
static ufm_status run_beside(forward *f, ufm_stream *caller)
{
	ufm_engine *e = f->layer->engine;
	ufm_status status = pager_call_begin(e);
	if (status == UFM_OK && caller != f->stream)
		status = join(f, caller, f->stream);
	pager_work *work = pager_work_begin(e, TIMELINE_LAYER);
	if (status == UFM_OK)
		status = enqueue(f);
	span_end(f, work, f->demand_count, f->call->tokens);
	status = finish(f, status);
	if (status == UFM_OK && caller != f->stream)
		status = pager_order(e, caller, f->buffers->mark);
	return status;
}

/* A call that failed was not: its tokens will come again, or never. */
static void record(const forward *f)
{
	const ufm_layer_config *c = &f->layer->config;
	engine_record_routing(f->layer->engine, c->layer, f->buffers->ids, f->call->tokens, c->top_k);
}

static ufm_status run(forward *f)
{
	ufm_engine *e = f->layer->engine;
	ufm_stream *caller = f->call->stream ? f->call->stream : f->stream;
	bool ran = false;
	ufm_status status = pager_call_next(e, &f->buffers);
	if (status != UFM_OK)
		return status;
	counter_add(f->counters, COUNTER_tokens, f->call->tokens);
	status = resident_run(f, caller, &ran);
	if (status != UFM_OK || ran)
		return status;
	status = run_beside(f, caller);
	if (status == UFM_OK)
		record(f);
	return status;
}

/* The engine's, with the row table and the tokens' buffer of a call of this length. */
static workspace workspace_for(const ufm_layer *layer, uint32_t tokens)
{
	workspace ws = *pager_get_workspace(layer->engine);
	if ((uint64_t)tokens * layer->config.top_k > ws.table_rows)
		ws.table = ws.long_table;
	if (tokens > ws.token_rows)
		ws.tokens = ws.long_tokens;
	return ws;
}

/* This thread waits for the call anyway. */
static ufm_status run_in_caller(forward *f)
{
	ufm_stream *caller = f->call->stream ? f->call->stream : f->stream;
	registry_inline(f->b, f->stream, 1);
	registry_inline(f->b, caller, 1);
	ufm_stream *own = f->stream;
	ufm_status status = run(f);
	registry_inline(f->b, own, 0);
	registry_inline(f->b, caller, 0);
	return status;
}

ufm_status ufm_moe_forward(ufm_layer *layer, const ufm_moe_call *user, ufm_ticket *ticket)
{
	ufm_moe_call call;
	ufm_tokens ours[2];
	ufm_struct_init(&call, sizeof call);
	ufm_status status = status_need(layer, "layer", "an open layer");
	if (status == UFM_OK)
		status = status_need(user, "call", "a ufm_moe_call");
	if (status == UFM_OK)
		status = engine_check_process(layer->engine);
	if (status == UFM_OK)
		status = status_read_config(&call, sizeof call, user, "ufm_moe_call");
	if (status == UFM_OK)
		status = check_call(layer, &call, ours);
	if (status != UFM_OK)
		return status;
	uint64_t mark = 0;
	if (call.tokens) {
		ufm_engine *e = layer->engine;
		workspace ws = workspace_for(layer, call.tokens);
		forward f = {.layer = layer,
		             .call = &call,
		             .b = engine_backend(e),
		             .stream = engine_stream(e),
		             .counters = engine_counters(e),
		             .ws = &ws};
		engine_enter(e);
		uint64_t begin_ns = engine_timeline(e) ? clock_now_ns() : 0;
		status = call.wait ? run_in_caller(&f) : run(&f);
		span_host(&f, TIMELINE_CALL, begin_ns);
		mark = status == UFM_OK ? f.buffers->mark : 0;
		engine_leave(e);
	}
	if (status == UFM_OK && call.wait && mark)
		status = pager_wait_mark(layer->engine, mark, UFM_WAIT_FOREVER);
	if (status == UFM_OK && ticket)
		ticket->id = mark;
	return status;
}

ufm_status ufm_ticket_wait(ufm_engine *engine, ufm_ticket ticket, uint64_t wait_ns)
{
	ufm_status status = engine_check_process(engine);
	return status == UFM_OK ? pager_wait_mark(engine, ticket.id, wait_ns) : status;
}

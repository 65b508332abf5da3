/* SPDX-License-Identifier: MIT */
/* Who computes what: ids reach the host, gates the device. */
#include <string.h>

#include "base/clock.h"
#include "base/status.h"
#include "device/registry.h"
#include "kernels/kernels.h"
#include "moe/moe_int.h"

static uint64_t assignment_bytes(const forward *f)
{
	return 4ull * f->call->tokens * f->layer->config.top_k;
}

static ufm_devptr address(const void *host)
{
	return (ufm_devptr)(uintptr_t)host;
}

/* In host memory, as adopt does it in the device's. */
static void adopt_given(forward *f)
{
	const ufm_moe_call *call = f->call;
	uint32_t top_k = f->layer->config.top_k, first = f->layer->config.expert_begin;
	int32_t *ids = f->buffers->ids;
	float *gates = f->buffers->gates;
	memcpy(gates, call->gates, assignment_bytes(f));
	for (uint64_t i = 0; i < (uint64_t)call->tokens * top_k; i++) {
		int64_t id = (int64_t)call->ids[i] - first;
		ids[i] = id >= 0 && id < f->layer->experts ? (int32_t)id : -1;
	}
	for (uint64_t t = 0; t < call->tokens; t++)
		kernels_fold(ids + t * top_k, gates + t * top_k, top_k);
}

static ufm_status given(forward *f)
{
	adopt_given(f);
	return stage_copy(f, UFM_COPY_H2D, f->ws->gates, address(f->buffers->gates),
	                  assignment_bytes(f));
}

/* ids: where they go. group: of the whole call, where this is all of it; or NULL. */
static ufm_status route_piece(forward *f, ufm_devptr ids, uint32_t first, uint32_t tokens,
                              const ufm_group_args *group)
{
	const ufm_layer_config *c = &f->layer->config;
	ufm_router_args router = {.x = f->ws->x,
	                          .weight = f->layer->router,
	                          .tokens = tokens,
	                          .d_model = f->layer->desc->d_model,
	                          .experts = f->layer->experts,
	                          .top_k = c->top_k,
	                          .norm_topk = c->norm_topk,
	                          .scoring = c->scoring,
	                          .ids = ids + 4ull * first * c->top_k,
	                          .gates = f->ws->gates + 4ull * first * c->top_k,
	                          .logits = f->ws->logits,
	                          .call_tokens = f->call->tokens};
	ufm_gather_args gather = stage_tokens(f, first, tokens);
	return registry_route_tokens(f->b, f->stream, &gather, &router, group);
}

/* The one wait of the host in a layer: for ids that the device writes to page-locked memory. */
static ufm_status await_ids(forward *f)
{
	uint64_t mark;
	ufm_status status = pager_mark(f->layer->engine, f->stream, &mark);
	if (status == UFM_OK)
		status = assisted_offer(f);
	if (status != UFM_OK)
		return status;
	counter_add(f->counters, COUNTER_d2h_activation_bytes, assignment_bytes(f));
	uint64_t begin_ns = clock_now_ns();
	status = pager_await_ids(f->layer->engine, mark);
	counter_add(f->counters, COUNTER_route_wait_ns, clock_now_ns() - begin_ns);
	span_host(f, TIMELINE_ROUTE_WAIT, begin_ns);
	return status;
}

static ufm_status route_in_pieces(forward *f, ufm_devptr ids)
{
	ufm_status status = UFM_OK;
	uint32_t left = f->call->tokens;
	for (uint32_t first = 0; left && status == UFM_OK;) {
		uint32_t tokens = left < f->ws->route_tokens ? left : f->ws->route_tokens;
		status = route_piece(f, ids, first, tokens, NULL);
		first += tokens;
		left -= tokens;
	}
	return status;
}

static ufm_status adopt(forward *f, ufm_devptr ids)
{
	const ufm_moe_call *call = f->call;
	ufm_adopt_args args = {.ids = call->device_ids,
	                       .id_bytes = call->id_bytes ? call->id_bytes : 4,
	                       .gates = call->device_gates,
	                       .gate_dtype = call->gate_dtype ? call->gate_dtype : UFM_F32,
	                       .tokens = call->tokens,
	                       .top_k = f->layer->config.top_k,
	                       .experts = f->layer->experts,
	                       .first_id = f->layer->config.expert_begin,
	                       .ids_out = ids,
	                       .gates_out = f->ws->gates};
	return f->b->adopt(f->stream, &args);
}

static ufm_status and_group(const forward *f, const ufm_group_args *group, ufm_status routed)
{
	return routed == UFM_OK && group ? f->b->group(f->stream, group) : routed;
}

ufm_status route_on_device(forward *f, ufm_devptr ids, const ufm_group_args *group)
{
	uint32_t tokens = f->call->tokens;
	pager_work *work = pager_work_begin(f->layer->engine, TIMELINE_ROUTE);
	ufm_status status;
	if (f->call->device_ids)
		status = and_group(f, group, adopt(f, ids));
	else if (tokens <= f->ws->route_tokens)
		status = route_piece(f, ids, 0, tokens, group);
	else
		status = and_group(f, group, route_in_pieces(f, ids));
	span_end(f, work, 0, tokens);
	return status;
}

/* A longer call's row table is made where its ids are: the host would take longer, and the copy of it queue behind experts. */
static bool is_long(const forward *f)
{
	return f->call->tokens > PAGER_OFFERED && f->layer->experts <= UFM_FIRST_ROWS;
}

static ufm_status decide_long(forward *f)
{
	ufm_status status = route_on_device(f, f->ws->ids, NULL);
	if (status == UFM_OK)
		status = f->b->copy(f->stream, UFM_COPY_D2H, address(f->buffers->ids), f->ws->ids,
		                    assignment_bytes(f));
	f->ids_on_device = status == UFM_OK;
	return status;
}

static ufm_status decide(forward *f)
{
	ufm_status status =
		is_long(f) ? decide_long(f) : route_on_device(f, f->buffers->ids_view, NULL);
	return status == UFM_OK ? await_ids(f) : status;
}

ufm_status route(forward *f)
{
	return f->call->ids ? given(f) : decide(f);
}

ufm_status report_routing(forward *f)
{
	const ufm_moe_call *call = f->call;
	ufm_status status = UFM_OK;
	if (call->gates_out && call->ids)
		memcpy(call->gates_out, f->buffers->gates, assignment_bytes(f));
	else if (call->gates_out)
		status = stage_copy(f, UFM_COPY_D2H, address(call->gates_out), f->ws->gates,
		                    assignment_bytes(f));
	if (status == UFM_OK && call->ids_out)
		memcpy(call->ids_out, f->buffers->ids, assignment_bytes(f));
	return status;
}

/* SPDX-License-Identifier: MIT */
/* A call's spans on the engine's timeline. */
#include "base/clock.h"
#include "moe/moe_int.h"

void span_end(const forward *f, pager_work *work, uint32_t experts, uint32_t rows)
{
	if (!work)
		return;
	timeline_span span = {.layer = f->layer->config.layer,
	                      .expert = TIMELINE_NONE,
	                      .experts = experts,
	                      .tokens = rows};
	pager_work_end(f->layer->engine, work, &span);
}

void span_cpu(const forward *f, const schedule_demand *demand, uint64_t begin_ns, uint64_t end_ns)
{
	timeline_span span = {.kind = TIMELINE_CPU_EXPERT,
	                      .begin_ns = begin_ns,
	                      .end_ns = end_ns,
	                      .layer = f->layer->config.layer,
	                      .expert = demand->expert,
	                      .experts = 1,
	                      .tokens = demand->tokens,
	                      .bytes = f->layer->desc->expert_bytes};
	timeline_add(engine_timeline(f->layer->engine), &span);
}

void span_host(const forward *f, timeline_kind kind, uint64_t begin_ns)
{
	timeline *t = engine_timeline(f->layer->engine);
	if (!t)
		return;
	timeline_span span = {.kind = kind,
	                      .begin_ns = begin_ns,
	                      .end_ns = clock_now_ns(),
	                      .layer = f->layer->config.layer,
	                      .expert = TIMELINE_NONE,
	                      .tokens = f->call->tokens};
	timeline_add(t, &span);
}

/* SPDX-License-Identifier: MIT */
/* A source of experts that keeps nothing on the device. */
#include "cli/modes/naive.h"

#include "bank/bank.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/status.h"
#include "cli/interrupt.h"
#include "pager/host.h"
#include "pager/pager.h"

struct naive {
	ufm_engine *engine;
	const ufm_backend *backend;
	ufm_host *host;
	moe_source source;
	ufm_devptr block;
	uint64_t expert_bytes;
	uint32_t experts; /* a layer */
	uint32_t held;    /* key in the block, or UINT32_MAX */
};

static uint32_t key_of(const naive *n, uint32_t layer, uint32_t expert)
{
	return layer * n->experts + expert;
}

/* Everything before the copy and the copy itself have ended on return. */
static ufm_status copy_and_wait(naive *n, ufm_copy_kind kind, uint32_t key)
{
	ufm_devptr host = (ufm_devptr)(uintptr_t)host_block(n->host, key);
	bool there = kind == UFM_COPY_H2D;
	ufm_stream *stream = engine_stream(n->engine);
	ufm_status status = n->backend->stream_sync(stream);
	uint64_t begin_ns = clock_now_ns();
	if (!status)
		status = n->backend->copy(stream, kind, there ? n->block : host, there ? host : n->block,
		                          n->expert_bytes);
	if (!status)
		status = n->backend->stream_sync(stream);
	if (status)
		return status;
	counters *c = engine_counters(n->engine);
	uint64_t spent_ns = clock_now_ns() - begin_ns;
	counter_add(c, there ? COUNTER_h2d_weight_bytes : COUNTER_d2h_weight_bytes, n->expert_bytes);
	counter_add(c, COUNTER_copy_ns, spent_ns);
	counter_add(c, COUNTER_stall_ns, spent_ns); /* nothing overlaps a copy */
	timeline_span copy = {.kind = there ? TIMELINE_COPY : TIMELINE_WRITE_BACK,
	                      .begin_ns = begin_ns,
	                      .end_ns = begin_ns + spent_ns,
	                      .layer = key / n->experts,
	                      .expert = key % n->experts,
	                      .bytes = n->expert_bytes};
	timeline_add(engine_timeline(n->engine), &copy);
	return UFM_OK;
}

static ufm_status naive_begin(void *self, uint32_t layer, schedule_demand *demands, uint32_t count)
{
	naive *n = self;
	(void)layer;
	for (uint32_t i = 0; i < count; i++)
		demands[i].resident = false;
	counter_add(engine_counters(n->engine), COUNTER_uses, count);
	return UFM_OK;
}

/* Nothing is brought before it is taken. */
static ufm_status naive_start(void *self, uint32_t layer, const schedule_demand *demands,
                              uint32_t count, uint32_t *started)
{
	(void)self, (void)layer, (void)demands;
	*started = count;
	return UFM_OK;
}

static uint32_t naive_together(void *self)
{
	(void)self;
	return 1;
}

static ufm_status naive_take(void *self, uint32_t layer, const schedule_demand *demand,
                             ufm_devptr *block)
{
	naive *n = self;
	uint32_t key = key_of(n, layer, demand->expert);
	ufm_status status;
	if (n->held != UINT32_MAX)
		return status_fail(UFM_EBUSY,
		                   "naive_offload: expert %u is asked for while another one is "
		                   "in the only block",
		                   demand->expert);
	status = interrupt_check();
	if (!status)
		status = copy_and_wait(n, UFM_COPY_H2D, key);
	if (status)
		return status;
	counter_add(engine_counters(n->engine), COUNTER_streamed_uses, 1);
	n->held = key;
	*block = n->block;
	return UFM_OK;
}

static ufm_status naive_done(void *self, uint32_t layer, uint32_t *experts, uint32_t count)
{
	naive *n = self;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t key = key_of(n, layer, experts[i]);
		if (key != n->held)
			continue;
		n->held = UINT32_MAX;
		ufm_status status = copy_and_wait(n, UFM_COPY_D2H, key);
		if (status)
			return status;
	}
	return UFM_OK;
}

static void naive_end(void *self)
{
	naive *n = self;
	n->held = UINT32_MAX;
}

ufm_status naive_open(ufm_engine *engine, naive **out)
{
	ufm_status status;
	naive *n = alloc_zeroed(1, sizeof *n);
	if (!n)
		return UFM_ENOMEM;
	n->engine = engine;
	n->backend = engine_backend(engine);
	n->host = engine_host(engine);
	n->held = UINT32_MAX;
	const bank_shape *bank = bank_get_shape(host_bank(n->host));
	n->expert_bytes = bank->desc.expert_bytes;
	n->experts = bank->experts;
	n->source = (moe_source){.self = n,
	                         .together = naive_together,
	                         .begin = naive_begin,
	                         .start = naive_start,
	                         .take = naive_take,
	                         .done = naive_done,
	                         .end = naive_end};
	status = ufm_engine_alloc(engine, bank->desc.block_bytes, &n->block);
	if (status) {
		naive_close(n);
		return status;
	}
	*out = n;
	return UFM_OK;
}

void naive_close(naive *n)
{
	alloc_free(n);
}

const moe_source *naive_source(const naive *n)
{
	return &n->source;
}

ufm_devptr naive_block(const naive *n)
{
	return n->block;
}

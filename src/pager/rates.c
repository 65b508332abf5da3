/* SPDX-License-Identifier: MIT */
/* What src/probe measures, of this engine: the link with the engine's own slots, blocks and events, and beside it either
 * its pool, to decide whether the CPU pays, or all that the CPU can do, for floors. A probe of link or CPU on its own
 * would promise what they do not give when they share the host's memory. */
#include <sched.h>

#include "base/status.h"
#include "pager/pager_int.h"

/* ---- where copies go */

/* The slots that hold an expert, which get its bytes again; where none does, a few empty ones. */
typedef struct targets {
	ufm_engine *e;
	ufm_devptr block; /* instead of a slot; 0: none */
	uint32_t slots;   /* of the engine */
	uint32_t held;    /* of them hold an expert that may be put there again */
	uint32_t empties; /* that are written, from slot 0 on; 0 where there are held ones */
	uint32_t together;
	uint32_t next_slot, next_key;
} targets;

#define EMPTIES_MOST (2 * BUDGET_TOGETHER)

/* At rest nothing is on its way; what a lease pins is left alone. */
static bool slot_is_free(ufm_engine *e, uint32_t slot, uint32_t *key)
{
	cache_slot view;
	cache_get_slot(e->cache, slot, &view);
	*key = view.state == SLOT_READY ? view.key : UFM_KEY_NONE;
	return view.state != SLOT_LOADING && !view.pins;
}

static ufm_status find_targets(targets *t)
{
	uint32_t key;
	lock_take(&t->e->lock);
	t->slots = t->e->plan.slots;
	for (uint32_t slot = 0; slot < t->slots; slot++)
		t->held += slot_is_free(t->e, slot, &key) && key != UFM_KEY_NONE;
	while (!t->held && t->empties < t->slots && t->empties < EMPTIES_MOST &&
	       slot_is_free(t->e, t->empties, &key))
		t->empties++;
	lock_drop(&t->e->lock);
	uint32_t most = t->held ? t->held : t->empties;
	if (most == 0 && !t->block)
		return status_fail(UFM_EBUSY, "probe of the link: every slot is in use");
	most = t->block ? 1 : most;
	t->together = t->e->plan.together < most ? t->e->plan.together : most;
	return UFM_OK;
}

static uint32_t next_key(targets *t)
{
	return t->next_key++ % (t->e->layers * t->e->experts);
}

static uint32_t next_held(targets *t, uint32_t *key)
{
	uint32_t slot;
	lock_take(&t->e->lock);
	do {
		slot = t->next_slot;
		t->next_slot = (t->next_slot + 1) % t->slots;
	} while (!slot_is_free(t->e, slot, key) || *key == UFM_KEY_NONE);
	lock_drop(&t->e->lock);
	return slot;
}

static probe_copy next_copy(void *ctx)
{
	targets *t = ctx;
	uint32_t key;
	ufm_devptr to = t->block;
	if (!to && t->held) {
		to = slot_address(&t->e->slab, next_held(t, &key));
	} else {
		key = next_key(t);
		if (!to)
			to = slot_address(&t->e->slab, t->next_slot++ % t->empties);
	}
	return (probe_copy){to, host_block(t->e->host, key)};
}

/* The longest run of slots that hold an expert: empty ones may have no memory of their own yet. */
static void find_range(const targets *t, probe_subject *s)
{
	uint64_t block_bytes = t->e->desc.block_bytes;
	uint32_t run = 0, best = 0;
	s->range = t->block ? t->block : slot_address(&t->e->slab, 0);
	s->range_bytes = t->e->desc.expert_bytes;
	lock_take(&t->e->lock);
	for (uint32_t slot = 0; !t->block && slot < t->slots; slot++) {
		cache_slot view;
		cache_get_slot(t->e->cache, slot, &view);
		run = view.state == SLOT_READY ? run + 1 : 0;
		if (run <= best)
			continue;
		best = run;
		s->range = slot_address(&t->e->slab, slot - (run - 1));
		s->range_bytes = run * block_bytes;
	}
	lock_drop(&t->e->lock);
}

/* The engine is entered and at rest until close_link. */
static ufm_status open_link(ufm_engine *e, ufm_stream *stream, targets *t, probe_link *out)
{
	pager_events events;
	ufm_status status = pager_rest(e, &events);
	if (!status)
		status = find_targets(t);
	if (!status)
		*out = (probe_link){.timed = {e->b, stream, events.begin, events.end},
		                    .together = t->together,
		                    .expert_bytes = e->desc.expert_bytes,
		                    .next = next_copy,
		                    .ctx = t};
	return status;
}

/* Whatever failed, nothing is in flight afterwards, and empty slots are what they were. */
static ufm_status close_link(const targets *t, ufm_stream *stream, ufm_status outcome)
{
	ufm_status status = t->e->b->stream_sync(stream);
	if (!status && t->empties)
		status = slots_poison(&t->e->slab, 0, t->empties);
	return outcome ? outcome : status;
}

/* ---- the engine's own pool, for auto */

#define AUTO_NS 6000000u
#define AUTO_PARTS 3u
#define ENDED_MIN 4u /* experts, for a rate; the first is not counted */

typedef struct pooled {
	ufm_engine *e;
	uint32_t next_key;
} pooled;

/* From the end of the bank: copies begin with its first experts. Neighbours overlap, so each with the pool writes a row of
 * its own. */
static void add_experts(pooled *p, uint32_t done)
{
	ufm_engine *e = p->e;
	assist *pool = e->cpu.pool;
	uint32_t keys = e->layers * e->experts;
	while (assist_added(pool) - done < ASSIST_AHEAD && assist_added(pool) < e->experts) {
		uint32_t key = keys - 1 - p->next_key++ % keys;
		float *y = e->cpu.y + (uint64_t)(assist_added(pool) % ASSIST_AHEAD) * e->desc.d_model;
		assist_add(pool, host_block(e->host, key), e->cpu.x, 1, y);
	}
}

/* Of experts that overlap, a later one may have ended first. */
static double ended_gbps(const ufm_engine *e, uint32_t ended)
{
	uint64_t first_ns = 0, last_ns = 0;
	if (ended < ENDED_MIN && ended < e->experts)
		return 0;
	for (uint32_t i = 0; i < ended; i++) {
		uint64_t end_ns = assist_span_of(e->cpu.pool, i).end_ns;
		first_ns = i ? first_ns : end_ns;
		last_ns = end_ns > last_ns ? end_ns : last_ns;
	}
	double bytes = (double)e->desc.expert_bytes * (ended - 1.0);
	return last_ns > first_ns ? bytes / (double)(last_ns - first_ns) : 0;
}

static double pool_works(void *ctx, probe_more more, void *more_ctx)
{
	pooled *p = ctx;
	assist *pool = p->e->cpu.pool;
	uint32_t done = 0;
	assist_begin(pool);
	while (more(more_ctx)) {
		done = assist_done(pool);
		add_experts(p, done);
		sched_yield();
	}
	double gbps = ended_gbps(p->e, done);
	(void)assist_end(pool);
	return gbps;
}

static uint64_t ns_at(double gbps, uint64_t bytes)
{
	return gbps > 0 ? (uint64_t)((double)bytes / gbps) : 0;
}

static ufm_status measure_pool(ufm_engine *e, probe_link *link, pager_rates *out)
{
	pooled p = {.e = e};
	probe_cpu cpu = {.work = pool_works, .ctx = &p};
	probe_both both;
	pager_rates r = {0};
	ufm_status status = probe_link_alone(link, AUTO_NS, &r.link_alone_gbps);
	if (!status)
		status = probe_link_beside(link, &cpu, AUTO_NS, AUTO_PARTS, r.link_alone_gbps, &both);
	if (status)
		return status;
	r.link_gbps = both.link_gbps;
	r.cpu_gbps = both.cpu_gbps;
	r.sum_gbps = both.link_gbps + both.cpu_gbps;
	r.copy_ns = ns_at(both.link_gbps, e->desc.expert_bytes);
	r.expert_ns = ns_at(both.cpu_gbps, e->desc.expert_bytes);
	*out = r;
	return UFM_OK;
}

ufm_status pager_probe(ufm_engine *e, pager_rates *out)
{
	targets t = {.e = e};
	probe_link link;
	if (!e->cpu.pool)
		return status_fail(UFM_EUNSUPPORTED, "probe of link and CPU: the CPU path is off");
	engine_enter(e);
	ufm_status status = open_link(e, e->copy, &t, &link);
	if (!status)
		status = measure_pool(e, &link, out);
	status = close_link(&t, e->copy, status);
	engine_leave(e);
	return status;
}

/* ---- all that the machine gives, for floors */

static const void *block_of(const void *host, uint32_t key)
{
	return host_block(host, key);
}

static ufm_status measure_all(ufm_engine *e, const pager_probe_config *config, targets *t,
                              probe_rates *out)
{
	pager_call *call = NULL;
	probe_subject s = {.blocks = {&e->desc, e->layers * e->experts, block_of, e->host},
	                   .ws = &e->ws,
	                   .math = config->math,
	                   .budget_ns = config->budget_ns};
	ufm_status status = open_link(e, e->compute, t, &s.link);
	if (!status)
		status = pager_call_next(e, &call);
	if (status)
		return status;
	find_range(t, &s);
	s.entries = call->entries;
	s.entries_max = call->entries_max;
	return probe_all(&s, out);
}

ufm_status pager_probe_all(ufm_engine *e, const pager_probe_config *config, probe_rates *out)
{
	targets t = {.e = e, .block = config->block};
	engine_enter(e);
	ufm_status status = measure_all(e, config, &t, out);
	status = close_link(&t, e->compute, status);
	engine_leave(e);
	return status;
}

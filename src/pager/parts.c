/* SPDX-License-Identifier: MIT */
/* What each part of an engine stands on. */
#include "pager/pager_int.h"
#include "policy/registry.h"

static ufm_status open_cache(ufm_engine *e)
{
	cache_config config = {.slots = e->plan.slots,
	                       .ring = e->plan.ring,
	                       .slots_max = e->region.slots_max,
	                       .layers = e->layers,
	                       .experts = e->experts,
	                       .policy = policy_find(e->config.policy)};
	return cache_open(&config, &e->cache);
}

static ufm_status open_marks(ufm_engine *e)
{
	marks *m = &e->marks;
	m->b = e->b;
	m->device = e->device;
	m->compute = e->compute;
	return marks_open(m);
}

static ufm_status open_calls(ufm_engine *e)
{
	calls *c = &e->calls;
	c->b = e->b;
	c->device = e->device;
	c->marks = &e->marks;
	c->experts = e->experts;
	uint64_t assignments = (uint64_t)e->config.call_tokens_max * e->config.top_k_max;
	return e->config.max_tokens ? calls_open(c, assignments, e->ws.piece_rows) : UFM_OK;
}

static ufm_status open_slab(ufm_engine *e)
{
	slab *s = &e->slab;
	s->b = e->b;
	s->copy = e->copy;
	s->cache = e->cache;
	s->marks = &e->marks;
	s->base = e->region.base + e->plan.workspace_bytes + e->plan.arena_bytes;
	s->block_bytes = e->desc.block_bytes;
	s->poison = e->debug.poison_free_slots;
	return slab_open(s, e->region.slots_max);
}

static ufm_status open_spans(ufm_engine *e)
{
	spans *t = &e->spans;
	t->b = e->b;
	t->device = e->device;
	t->compute = e->compute;
	return spans_open(t, e->config.timeline_events);
}

/* Without the layer level no layer is listed. */
static ufm_status open_tables(ufm_engine *e)
{
	tables *t = &e->tables;
	t->b = e->b;
	t->copy = e->copy;
	t->marks = &e->marks;
	t->layers = e->layers;
	t->experts = e->experts;
	t->device = e->ws.blocks;
	return e->config.max_tokens ? tables_open(t) : UFM_OK;
}

static ufm_status open_loads(ufm_engine *e)
{
	loads *l = &e->loads;
	l->b = e->b;
	l->device = e->device;
	l->copy = e->copy;
	l->host = e->host;
	l->cache = e->cache;
	l->marks = &e->marks;
	l->slab = &e->slab;
	l->tables = &e->tables;
	l->spans = &e->spans;
	l->counters = &e->counters;
	l->experts = e->experts;
	l->expert_bytes = e->desc.expert_bytes;
	return loads_open(l);
}

static ufm_status open_residents(ufm_engine *e)
{
	residents *r = &e->residents;
	r->cache = e->cache;
	r->marks = &e->marks;
	r->slab = &e->slab;
	r->tables = &e->tables;
	r->loads = &e->loads;
	r->calls = &e->calls;
	r->counters = &e->counters;
	r->routing = e->routing;
	r->plan = &e->plan;
	r->layers = e->layers;
	r->experts = e->experts;
	return e->config.max_tokens ? residents_open(r) : UFM_OK;
}

static ufm_status open_leases(ufm_engine *e)
{
	leases *l = &e->leases;
	l->cache = e->cache;
	l->slab = &e->slab;
	l->loads = &e->loads;
	l->counters = &e->counters;
	l->plan = &e->plan;
	l->layers = e->layers;
	l->experts = e->experts;
	return leases_open(l, e);
}

static ufm_status open_demand(ufm_engine *e)
{
	demand *d = &e->demand;
	d->cache = e->cache;
	d->slab = &e->slab;
	d->loads = &e->loads;
	d->owed = &e->owed;
	d->counters = &e->counters;
	d->compute = e->compute;
	d->experts = e->experts;
	return demand_open(d);
}

static ufm_status open_owed(ufm_engine *e)
{
	owed *o = &e->owed;
	o->cache = e->cache;
	o->slab = &e->slab;
	o->loads = &e->loads;
	o->counters = &e->counters;
	return owed_open(o, e->region.slots_max);
}

/* No part is used before all are open; then the CPU path measures with them. */
ufm_status parts_open(ufm_engine *e)
{
	static ufm_status (*const opens[])(ufm_engine *) = {
		open_calls, open_cache,  open_slab,   open_demand, open_marks,     open_loads,   open_owed,
		open_spans, record_open, open_leases, open_tables, open_residents, cpu_path_open};
	ufm_status status = UFM_OK;
	for (uint32_t i = 0; i < sizeof opens / sizeof *opens && status == UFM_OK; i++)
		status = opens[i](e);
	return status;
}

void parts_close(ufm_engine *e)
{
	leases_close(&e->leases);
	residents_close(&e->residents);
	tables_close(&e->tables);
	loads_close(&e->loads);
	spans_close(&e->spans);
	record_close(e);
	marks_close(&e->marks);
	demand_close(&e->demand);
	owed_close(&e->owed);
	slab_close(&e->slab);
	cache_close(e->cache);
	calls_close(&e->calls);
	cpu_path_close(e);
}

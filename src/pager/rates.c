/* SPDX-License-Identifier: MIT */
/* Measures the link alone, and link and CPU together, with what the engine will use. A probe of either
 * on its own would promise what they do not give when they share the host's memory. */
#include <sched.h>

#include "base/clock.h"
#include "base/status.h"
#include "pager/pager_int.h"

#define AHEAD 2u              /* copies in flight */
#define EVENTS (AHEAD + 1)    /* theirs, and that of the copy before them */
#define ENDED_MIN 4u          /* of each, for a rate; the first of each is not counted */
#define WINDOW_NS 6000000u    /* and at least so long */
#define GIVE_UP_NS 250000000u /* and no longer, if there is a rate by then */
#define SLOTS_MAX (AHEAD * BUDGET_TOGETHER)

typedef struct side {
	uint32_t issued, ended;
	uint64_t first_ns, last_ns; /* when the first and the last ended; the link's from 0 */
} side;

typedef struct probe {
	ufm_engine *e;
	ufm_event *events[EVENTS];
	uint32_t slots[SLOTS_MAX], keys[SLOTS_MAX]; /* key: of the tenant; UFM_KEY_NONE: free */
	uint32_t slot_count;
	uint32_t together, copied; /* experts of a copy; slots written so far */
	uint32_t next_key, next_cpu_key;
	side link, cpu;
} probe;

/* Slots at rest: free, or with bytes that may be put there again. */
static void choose_slots(probe *p)
{
	ufm_engine *e = p->e;
	lock_take(&e->lock);
	for (uint32_t i = e->plan.slots; i-- > 0 && p->slot_count < SLOTS_MAX;) {
		cache_slot view;
		cache_get_slot(e->cache, i, &view);
		if (view.state == SLOT_LOADING || view.pins)
			continue;
		p->keys[p->slot_count] = view.state == SLOT_READY ? view.key : UFM_KEY_NONE;
		p->slots[p->slot_count++] = i;
	}
	lock_drop(&e->lock);
	uint32_t most = p->slot_count / AHEAD;
	p->together = e->plan.together < most ? e->plan.together : most ? most : 1;
}

/* As loads do: small blocks several at once. */
static ufm_status copy_experts(probe *p)
{
	ufm_engine *e = p->e;
	ufm_devptr to[BUDGET_TOGETHER], from[BUDGET_TOGETHER];
	for (uint32_t i = 0; i < p->together; i++) {
		uint32_t at = p->copied++ % p->slot_count, keys = e->layers * e->experts;
		uint32_t key = p->keys[at] != UFM_KEY_NONE ? p->keys[at] : p->next_key++ % keys;
		to[i] = slot_address(&e->slab, p->slots[at]);
		from[i] = (ufm_devptr)(uintptr_t)host_block(e->host, key);
	}
	return loads_copy(&e->loads, to, from, p->together);
}

static ufm_status copy_next(probe *p)
{
	ufm_status status = copy_experts(p);
	if (status == UFM_OK)
		status = p->e->b->event_record(p->events[p->link.issued % EVENTS], p->e->copy);
	p->link.issued += status == UFM_OK;
	return status;
}

/* Of experts that overlap, a later one may have ended first. */
static void note_end(side *s, uint64_t end_ns)
{
	s->ended++;
	s->last_ns = end_ns > s->last_ns ? end_ns : s->last_ns;
	if (s->ended == 1)
		s->first_ns = end_ns;
}

/* The device's own times: this thread may see an end late, and the next one soon after. */
static ufm_status note_copy(probe *p)
{
	uint32_t index = p->link.ended;
	uint64_t took_ns = 0;
	ufm_status status = UFM_OK;
	if (index > 0)
		status = p->e->b->event_elapsed(p->events[(index - 1) % EVENTS], p->events[index % EVENTS],
		                                &took_ns);
	if (status == UFM_OK)
		note_end(&p->link, p->link.last_ns + took_ns);
	return status;
}

static ufm_status step_link(probe *p)
{
	int done = 0;
	ufm_status status = UFM_OK;
	if (p->link.ended < p->link.issued)
		status = p->e->b->event_query(p->events[p->link.ended % EVENTS], &done);
	if (status == UFM_OK && done)
		status = note_copy(p);
	while (status == UFM_OK && p->link.issued - p->link.ended < AHEAD)
		status = copy_next(p);
	return status;
}

/* Neighbours overlap, so each with the pool writes a row of its own. */
static uint32_t experts_ahead(const ufm_engine *e)
{
	uint64_t rows = (uint64_t)e->config.call_tokens_max * e->config.top_k_max;
	return e->cpu.table && rows < ASSIST_AHEAD ? (uint32_t)rows : ASSIST_AHEAD;
}

static void step_cpu(probe *p)
{
	ufm_engine *e = p->e;
	assist *pool = e->cpu.pool;
	uint32_t keys = e->layers * e->experts, done = assist_done(pool), ahead = experts_ahead(e);
	for (; p->cpu.ended < done;)
		note_end(&p->cpu, assist_span_of(pool, p->cpu.ended).end_ns);
	while (assist_added(pool) - done < ahead && assist_added(pool) < e->experts) {
		uint32_t key = keys - 1 - p->next_cpu_key++ % keys;
		float *y = e->cpu.table ? e->cpu.table : e->cpu.y;
		y += assist_added(pool) % ahead * e->desc.d_model;
		assist_add(pool, host_block(e->host, key), e->cpu.x, 1, y);
	}
}

static bool enough(const probe *p, bool with_cpu, uint64_t spent_ns)
{
	bool counted = p->link.ended >= ENDED_MIN;
	if (with_cpu)
		counted = counted && (p->cpu.ended >= ENDED_MIN || p->cpu.ended == p->e->experts);
	if (spent_ns >= GIVE_UP_NS)
		return p->link.ended >= 2;
	return counted && spent_ns >= WINDOW_NS;
}

static ufm_status run_window(probe *p, bool with_cpu)
{
	uint64_t begin_ns = clock_now_ns();
	ufm_status status = UFM_OK;
	p->link = p->cpu = (side){0};
	if (with_cpu)
		assist_begin(p->e->cpu.pool);
	while (status == UFM_OK && !enough(p, with_cpu, clock_now_ns() - begin_ns)) {
		status = step_link(p);
		if (with_cpu)
			step_cpu(p);
		sched_yield();
	}
	if (with_cpu)
		(void)assist_end(p->e->cpu.pool);
	ufm_status synced = p->e->b->stream_sync(p->e->copy);
	return status == UFM_OK ? synced : status;
}

/* Of an expert, of which each that ended is `experts`. */
static double each_ns(const side *s, uint32_t experts)
{
	return s->ended >= 2 ? (double)(s->last_ns - s->first_ns) / (s->ended - 1) / experts : 0;
}

static double gbps(const probe *p, double ns)
{
	return ns > 0 ? (double)p->e->desc.expert_bytes / ns : 0;
}

static ufm_status measure(probe *p, pager_rates *out)
{
	pager_rates f = {0};
	ufm_status status = run_window(p, false);
	f.link_alone_gbps = gbps(p, each_ns(&p->link, p->together));
	if (status == UFM_OK)
		status = run_window(p, true);
	if (status != UFM_OK)
		return status;
	double copy_ns = each_ns(&p->link, p->together), expert_ns = each_ns(&p->cpu, 1);
	f.link_gbps = gbps(p, copy_ns);
	f.cpu_gbps = gbps(p, expert_ns);
	f.sum_gbps = f.link_gbps + f.cpu_gbps;
	f.copy_ns = (uint64_t)copy_ns;
	f.expert_ns = (uint64_t)expert_ns;
	*out = f;
	return UFM_OK;
}

static ufm_status restore_free_slots(probe *p)
{
	ufm_status status = UFM_OK;
	for (uint32_t i = 0; i < p->slot_count && status == UFM_OK; i++) {
		if (p->keys[i] == UFM_KEY_NONE)
			status = slots_poison(&p->e->slab, p->slots[i], 1);
	}
	return status;
}

ufm_status pager_probe(ufm_engine *e, pager_rates *out)
{
	probe p = {.e = e};
	if (!e->cpu.pool)
		return status_fail(UFM_EUNSUPPORTED, "probe of link and CPU: the CPU path is off");
	engine_enter(e);
	choose_slots(&p);
	ufm_status status = e->b->stream_sync(e->compute); /* it may still read the row table */
	if (status == UFM_OK && p.slot_count == 0)
		status = status_fail(UFM_EBUSY, "probe of link and CPU: every slot is in use");
	for (uint32_t i = 0; i < EVENTS && status == UFM_OK; i++)
		status = e->b->event_open(e->device, &p.events[i]);
	if (status == UFM_OK)
		status = measure(&p, out);
	if (status == UFM_OK)
		status = restore_free_slots(&p);
	for (uint32_t i = 0; i < EVENTS; i++) {
		if (p.events[i])
			e->b->event_close(p.events[i]);
	}
	engine_leave(e);
	return status;
}

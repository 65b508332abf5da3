/* SPDX-License-Identifier: MIT */
/* Whether the CPU has a part in a call, by the time that whole steps or long calls take with it and without. */
#include "pager/pager_int.h"

/* Of the newest call in a share. */
#define SHARE_WEIGHT (1.0f / 32)
/* A tenth of the calls: below, offering tokens and keeping threads awake costs more than it saves. */
#define NEAR_MIN 0.1f

static void follow(float *share, bool happened)
{
	*share += SHARE_WEIGHT * ((happened ? 1.0f : 0.0f) - *share);
}

bool pager_cpu_is_near(const pager_cpu *cpu, uint32_t tokens)
{
	uint32_t size = choice_size_of(tokens);
	bool may = !cpu->chooses || choice_is_long(size) || cpu->looks[size].with_cpu;
	return may && cpu->near[size] > NEAR_MIN;
}

/* A long call is timed from here, where neither way has begun. */
static bool ask_for_one(ufm_engine *e, pager_call *call, uint32_t size, uint32_t misses)
{
	call->size = size;
	call->missed = misses;
	call->with_cpu = choice_ask(&e->cpu.choice, size);
	call->timed = e->b->event_record(call->timed_begin, e->compute) == UFM_OK;
	return call->with_cpu;
}

static bool ask(ufm_engine *e, pager_call *call, uint32_t size, uint32_t misses)
{
	return choice_is_long(size) ? ask_for_one(e, call, size, misses) : looks_ask(e, size);
}

/* While places are free the link brings what fits there, for it stays: that says nothing of either way. */
static bool use_beside_fills(ufm_engine *e, uint32_t size, bool has_more)
{
	pager_cpu *cpu = &e->cpu;
	bool use = has_more && (!cpu->chooses || choice_takes_cpu(&cpu->choice, size));
	looks_pass_by(e, size);
	follow(&cpu->near[size], has_more);
	return use;
}

static bool use_cpu(ufm_engine *e, pager_call *call, uint32_t size, uint32_t misses)
{
	pager_cpu *cpu = &e->cpu;
	bool use = misses != 0;
	looks_time(e, size, misses);
	if (misses && cpu->chooses)
		use = ask(e, call, size, misses);
	follow(&cpu->near[size], misses != 0);
	if (misses)
		follow(&cpu->taken, use);
	terms_look(e);
	return use;
}

bool pager_choose_cpu(ufm_engine *e, pager_call *call, uint32_t tokens, uint32_t misses)
{
	uint32_t size = choice_size_of(tokens);
	lock_take(&e->lock);
	uint32_t fills = e->demand.fills;
	bool use = misses && fills ? use_beside_fills(e, size, misses > fills)
	                           : use_cpu(e, call, size, misses);
	lock_drop(&e->lock);
	return use;
}

void choose_forget(ufm_engine *e)
{
	choice_forget(&e->cpu.choice);
	looks_forget(e);
}

void choose_end(ufm_engine *e, pager_call *call)
{
	if (call->timed)
		call->timed = e->b->event_record(call->timed_end, e->compute) == UFM_OK;
}

void choose_learn(ufm_engine *e, pager_call *call)
{
	uint64_t spent_ns = 0;
	if (!call->timed)
		return;
	call->timed = false;
	if (e->b->event_elapsed(call->timed_begin, call->timed_end, &spent_ns) != UFM_OK)
		return;
	choice_look look = {.ns = (double)spent_ns,
	                    .calls = 1,
	                    .misses = call->missed,
	                    .floor_ns = looks_link_ns(e, call->missed)};
	lock_take(&e->lock);
	if (choice_learn(&e->cpu.choice, call->size, call->with_cpu, &look, 0))
		chosen_changed(e, call->size);
	lock_drop(&e->lock);
}

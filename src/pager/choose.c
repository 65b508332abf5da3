/* SPDX-License-Identifier: MIT */
/* Whether the CPU has a part in a call, by the time that whole steps or long calls take with it and without; and
 * what admission goes by while it has. */
#include "base/clock.h"
#include "pager/pager_int.h"

/* Of the newest call in a share. */
#define SHARE_WEIGHT (1.0f / 32)
/* A tenth of the calls: below, offering tokens and keeping threads awake costs more than it saves. */
#define NEAR_MIN 0.1f
#define TAKEN_MIN 0.1f

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

/* ------------------------------------------------------------------ the terms of admission */

#define CALLS_A_LOOK 256u
#define TERM_CHANGE 0.25

static bool differs(uint64_t a, uint64_t b)
{
	double less = (double)(a < b ? a : b), more = (double)(a < b ? b : a);
	return more - less > TERM_CHANGE * more;
}

/* Of a copy, where no call has missed nothing yet: of large experts about as much was found. */
#define CALL_OF_COPY 0.3

/* Where the CPU is hardly used every miss goes over the link, and there is no reason to be choosy. */
static admit_terms terms_now(const ufm_engine *e)
{
	const pager_cpu *cpu = &e->cpu;
	uint64_t copy_ns = e->loads.copy_ns;
	if (cpu->taken < TAKEN_MIN)
		return (admit_terms){0};
	return (admit_terms){.copy_ns = copy_ns,
	                     .cpu_ns = cost_of(&cpu->cost, 1),
	                     .call_ns = cpu->call_ns ? cpu->call_ns
	                                             : (uint64_t)(CALL_OF_COPY * (double)copy_ns)};
}

/* Seldom, so that a replay needs to be told of few terms; but soon for the first time, as what is admitted until then
 * may take the link long. */
static void look_at_terms(ufm_engine *e)
{
	pager_cpu *cpu = &e->cpu;
	admit_terms *now = &e->demand.admit.terms, next;
	if (cpu->pinned || ++cpu->calls < (now->copy_ns ? CALLS_A_LOOK : PAGER_CALLS_UNTIMED))
		return;
	cpu->calls = 0;
	next = terms_now(e);
	if (!differs(now->copy_ns, next.copy_ns) && !differs(now->cpu_ns, next.cpu_ns) &&
	    !differs(now->call_ns, next.call_ns))
		return;
	*now = next;
	cpu->term_changes++;
}

void pager_get_admission(ufm_engine *e, admit *now, uint64_t *changes)
{
	lock_take(&e->lock);
	*now = e->demand.admit;
	*changes = e->cpu.term_changes;
	lock_drop(&e->lock);
}

void pager_pin_admission(ufm_engine *e, const admit_terms *terms)
{
	lock_take(&e->lock);
	admit_open(&e->demand.admit, terms);
	e->cpu.pinned = true;
	lock_drop(&e->lock);
}

/* ------------------------------------------------------------------ looks at short calls */

/* Steps of a look, after one that is not counted, because it is served by what the other way left. Where little
 * is missed a look goes on, for misses are what it is about; where much is, a step says enough. */
#define LOOK_STEPS 8u
#define LOOK_STEPS_MAX 64u
#define LOOK_MISSES 32u
#define LOOK_MISSES_MAX 256u

static bool is_complete(const ufm_engine *e, const pager_look *look)
{
	double steps = look->sum.calls / e->layers, misses = look->sum.misses;
	if (steps < 1)
		return false;
	return misses >= LOOK_MISSES_MAX || steps >= LOOK_STEPS_MAX ||
	       (steps >= LOOK_STEPS && misses >= LOOK_MISSES);
}

/* On the timeline: the smallest call of that size. */
static void tell_change(const ufm_engine *e, uint32_t size)
{
	uint64_t now_ns = clock_now_ns();
	timeline_span span = {.kind = TIMELINE_CHOICE,
	                      .begin_ns = now_ns,
	                      .end_ns = now_ns,
	                      .layer = TIMELINE_NONE,
	                      .expert = TIMELINE_NONE,
	                      .tokens = choice_tokens_from(size)};
	timeline_add(e->spans.timeline, &span);
}

static void begin_look(ufm_engine *e, pager_look *look, uint32_t size)
{
	*look =
		(pager_look){.open = true, .with_cpu = choice_ask(&e->cpu.choice, size), .lead = e->layers};
}

static void end_look(ufm_engine *e, pager_look *look, uint32_t size)
{
	double call_ns = (double)e->cpu.call_ns;
	if (look->sum.misses > 0 &&
	    choice_learn(&e->cpu.choice, size, look->with_cpu, &look->sum, call_ns))
		tell_change(e, size);
	begin_look(e, look, size);
}

/* A call of the same size has taken so long, until this one. */
static void count_call(ufm_engine *e, pager_look *look, uint32_t size, uint64_t spent_ns)
{
	if (look->lead) {
		look->lead--;
		return;
	}
	look->sum.ns += (double)spent_ns;
	look->sum.calls++;
	look->sum.misses += e->cpu.missed;
	if (is_complete(e, look))
		end_look(e, look, size);
}

/* From when one call knows its misses to when the next does. */
static void time_call(ufm_engine *e, uint32_t size, uint32_t misses)
{
	pager_cpu *cpu = &e->cpu;
	uint64_t now_ns = clock_now_ns(), spent_ns = now_ns - cpu->called_ns;
	bool follows = cpu->called_ns && cpu->called_size == size && !owed_had_rest(&e->owed);
	if (follows && !choice_is_long(size)) {
		if (cpu->missed == 0)
			cpu->call_ns = cpu->call_ns ? (31 * cpu->call_ns + spent_ns) / 32 : spent_ns;
		if (cpu->looks[size].open)
			count_call(e, &cpu->looks[size], size, spent_ns);
	}
	cpu->called_ns = now_ns;
	cpu->called_size = size;
	cpu->missed = misses;
}

/* ------------------------------------------------------------------ a call */

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
	pager_look *look = &e->cpu.looks[size];
	if (choice_is_long(size))
		return ask_for_one(e, call, size, misses);
	if (!look->open)
		begin_look(e, look, size);
	return look->with_cpu;
}

/* While places are free the link brings everything, for it stays there: such calls say nothing of either way. */
static void pass_by(pager_cpu *cpu, uint32_t size)
{
	cpu->looks[size].open = false;
	cpu->called_ns = 0;
	follow(&cpu->near[size], false);
}

static bool use_cpu(ufm_engine *e, pager_call *call, uint32_t size, uint32_t misses)
{
	pager_cpu *cpu = &e->cpu;
	bool use = misses != 0;
	time_call(e, size, misses);
	if (misses && cpu->chooses)
		use = ask(e, call, size, misses);
	follow(&cpu->near[size], misses != 0);
	if (misses)
		follow(&cpu->taken, use);
	look_at_terms(e);
	return use;
}

bool pager_choose_cpu(ufm_engine *e, pager_call *call, uint32_t tokens, uint32_t misses)
{
	uint32_t size = choice_size_of(tokens);
	bool use = false;
	lock_take(&e->lock);
	if (misses && misses == e->demand.fills)
		pass_by(&e->cpu, size);
	else
		use = use_cpu(e, call, size, misses);
	lock_drop(&e->lock);
	return use;
}

void choose_forget(ufm_engine *e)
{
	choice_forget(&e->cpu.choice);
	for (uint32_t i = 0; i < CHOICE_SIZES; i++)
		e->cpu.looks[i] = (pager_look){0};
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
	choice_look look = {.ns = (double)spent_ns, .calls = 1, .misses = call->missed};
	lock_take(&e->lock);
	if (choice_learn(&e->cpu.choice, call->size, call->with_cpu, &look, 0))
		tell_change(e, call->size);
	lock_drop(&e->lock);
}

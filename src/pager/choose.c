/* SPDX-License-Identifier: MIT */
/* Whether the CPU has a part in a call, by the time that whole calls take with it and without; and what
 * admission goes by while it has. */
#include "base/clock.h"
#include "pager/pager_int.h"

/* Of the newest call in a share. */
#define SHARE_WEIGHT (1.0f / 32)
/* A tenth of the calls: below, offering tokens and keeping threads awake costs more than it saves. */
#define NEAR_MIN 0.1f
#define TAKEN_MIN 0.1f

/* ------------------------------------------------------------------ what is likely */

static void follow(float *share, bool happened)
{
	*share += SHARE_WEIGHT * ((happened ? 1.0f : 0.0f) - *share);
}

bool pager_cpu_is_near(const pager_cpu *cpu, uint32_t tokens)
{
	return cpu->near[choice_key_of(tokens, 1).tokens] > NEAR_MIN;
}

/* ------------------------------------------------------------------ the terms of admission */

#define CALLS_A_LOOK 256u
#define CALL_NS_MAX 5000000u /* a longer pause between calls is the caller's */
#define TERM_CHANGE 0.25

/* From one call that knows its misses, and has none, to the next. */
static void time_call(pager_cpu *cpu, uint32_t tokens, uint32_t misses)
{
	uint64_t now_ns = clock_now_ns(), since_ns = now_ns - cpu->called_ns;
	uint64_t *mean = &cpu->learned.call_ns;
	if (cpu->called_ns && cpu->missed == 0 && tokens <= PAGER_OFFERED && since_ns <= CALL_NS_MAX)
		*mean = *mean ? (31 * *mean + since_ns) / 32 : since_ns;
	cpu->called_ns = now_ns;
	cpu->missed = misses;
}

static bool differs(uint64_t a, uint64_t b)
{
	double less = (double)(a < b ? a : b), more = (double)(a < b ? b : a);
	return more - less > TERM_CHANGE * more;
}

/* Where the CPU is hardly used every miss goes over the link, and there is no reason to be choosy. */
static admit_terms terms_now(const ufm_engine *e)
{
	const pager_cpu *cpu = &e->cpu;
	admit_terms terms = {.copy_ns = e->loads.copy_ns,
	                     .cpu_ns = cost_of(&cpu->cost, 1),
	                     .call_ns = cpu->learned.call_ns};
	if (cpu->taken < TAKEN_MIN || terms.call_ns == 0)
		return (admit_terms){0};
	return terms;
}

/* Seldom, so that a replay needs to be told of few terms. The engine's lock is held. */
static void look_at_terms(ufm_engine *e)
{
	pager_cpu *cpu = &e->cpu;
	admit_terms *now = &e->demand.admit.terms, next;
	if (cpu->pinned || ++cpu->calls < CALLS_A_LOOK)
		return;
	cpu->calls = 0;
	next = terms_now(e);
	if (!differs(now->copy_ns, next.copy_ns) && !differs(now->cpu_ns, next.cpu_ns) &&
	    !differs(now->call_ns, next.call_ns))
		return;
	*now = next;
	cpu->term_changes++;
}

void pager_pin_admission(ufm_engine *e, const admit_terms *terms)
{
	lock_take(&e->lock);
	admit_open(&e->demand.admit, terms);
	e->cpu.pinned = true;
	lock_drop(&e->lock);
}

/* ------------------------------------------------------------------ a call */

/* Both ways are timed from here, where neither has begun. */
static bool ask(ufm_engine *e, pager_call *call, uint32_t tokens, uint32_t misses)
{
	call->size = choice_key_of(tokens, misses);
	call->with_cpu = choice_ask(&e->cpu.choice, call->size);
	call->timed = e->b->event_record(call->timed_begin, e->compute) == UFM_OK;
	return call->with_cpu;
}

bool pager_choose_cpu(ufm_engine *e, pager_call *call, uint32_t tokens, uint32_t misses)
{
	pager_cpu *cpu = &e->cpu;
	bool use = misses != 0;
	lock_take(&e->lock);
	if (misses && cpu->chooses)
		use = ask(e, call, tokens, misses);
	follow(&cpu->near[choice_key_of(tokens, 1).tokens], use);
	if (misses)
		follow(&cpu->taken, use);
	time_call(cpu, tokens, misses);
	look_at_terms(e);
	lock_drop(&e->lock);
	return use;
}

void choose_end(ufm_engine *e, pager_call *call)
{
	if (call->timed)
		call->timed = e->b->event_record(call->timed_end, e->compute) == UFM_OK;
}

/* On the timeline: the smallest call of that size. */
static void tell_change(const ufm_engine *e, const pager_call *call)
{
	uint64_t now_ns = clock_now_ns();
	timeline_span span = {.kind = TIMELINE_CHOICE,
	                      .begin_ns = now_ns,
	                      .end_ns = now_ns,
	                      .layer = TIMELINE_NONE,
	                      .expert = TIMELINE_NONE,
	                      .experts = choice_misses_from(call->size.misses),
	                      .tokens = choice_tokens_from(call->size.tokens)};
	timeline_add(e->spans.timeline, &span);
}

void choose_learn(ufm_engine *e, pager_call *call)
{
	uint64_t spent_ns = 0;
	if (!call->timed)
		return;
	call->timed = false;
	if (e->b->event_elapsed(call->timed_begin, call->timed_end, &spent_ns) != UFM_OK)
		return;
	lock_take(&e->lock);
	bool changed = choice_learn(&e->cpu.choice, call->size, call->with_cpu, spent_ns);
	lock_drop(&e->lock);
	if (changed)
		tell_change(e, call);
}

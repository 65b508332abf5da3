/* SPDX-License-Identifier: MIT */
/*
 * A layer whose misses are shared between the link and the CPU. Both eat one list, the link from the
 * heavy end and the CPU from the light end, until they meet: so what the CPU computes is the end of the
 * row table. This thread gives out the work of both. It keeps a little ahead of each and asks the
 * schedule again whenever something ended. A copy starts two experts before the work that reads it is
 * launched, so that the CPU need not wait for launches. The order of starts and launches is the cursor's
 * (schedule/launches.h) and never depends on time; only how many there are does, and with a fixed share not
 * even that. What the CPU has computed is admitted at the end, in that order: so who is resident afterwards does
 * not depend on who computed what.
 */
#include <sched.h>

#include "base/clock.h"
#include "moe/assisted_int.h"

#define COPIES_AHEAD 2u /* in flight, so that the link never idles and the decision comes late */
#define SLEEP_NS 30000u
#define SPIN_NS 200000u /* who waits for less does not sleep */

static pager_cpu *cpu_of(const forward *f)
{
	pager_cpu *cpu = pager_get_cpu(f->layer->engine);
	return cpu->pool && f->layer->source.paged ? cpu : NULL;
}

bool assisted_is_near(const forward *f)
{
	pager_cpu *cpu = cpu_of(f);
	return cpu && pager_cpu_is_near(cpu, f->call->tokens);
}

void assisted_wake(forward *f)
{
	if (assisted_is_near(f))
		assist_wake(pager_get_cpu(f->layer->engine)->pool);
}

bool assisted_wanted(forward *f)
{
	if (!cpu_of(f))
		return false;
	return pager_choose_cpu(f->layer->engine, f->buffers, f->call->tokens, f->plan.streamed);
}

const schedule_demand *assisted_demand(const assisted *s, uint32_t index)
{
	return &s->f->buffers->demands[index];
}

/* ------------------------------------------------------------------ candidates */

/* What the lightest misses cost the CPU. */
static void read_costs(assisted *s, uint32_t end, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		s->cpu->costs[i] = cost_of(&s->cpu->cost, assisted_demand(s, end - 1 - i)->tokens);
}

static void choose_candidates(assisted *s)
{
	forward *f = s->f;
	uint32_t misses = f->plan.streamed, n;
	share_terms terms = {.copy_ns = s->copy_ns, .rows_max = s->cpu->rows_max};
	if (s->cpu->share_percent) {
		n = s->fixed = (uint32_t)((uint64_t)misses * s->cpu->share_percent / 100);
	} else {
		read_costs(s, f->demand_count, misses);
		n = share_candidates(&terms, f->buffers->demands + f->plan.resident, misses, s->cpu->costs);
		uint32_t left = misses - pager_layer_fills(f->layer->engine);
		n = n < left ? n : left;
	}
	s->candidate = f->demand_count - n;
	s->may_take = misses && assisted_demand(s, f->demand_count - 1)->tokens <= s->cpu->rows_max;
}

/* ------------------------------------------------------------------ what has ended */

/* The time that passes while all threads together work for so long: they also wait, at the ends of a job above
 * all. */
static uint64_t paced(const assisted *s, uint64_t worked_ns)
{
	return (uint64_t)((double)worked_ns * (s->cpu->pace > 1 ? s->cpu->pace : 1));
}

/* On the timeline an expert is without what it shared with the one before. */
static void learn(assisted *s, uint32_t index)
{
	assist_span span = assist_span_of(s->cpu->pool, index);
	uint64_t begin_ns = span.begin_ns;
	if (index) {
		uint64_t before_ns = assist_span_of(s->cpu->pool, index - 1).end_ns;
		begin_ns = before_ns > begin_ns ? before_ns : begin_ns;
	}
	s->worked_ns += span.worked_ns;
	if (span.worked_ns)
		cost_learn(&s->cpu->cost, span.rows, paced(s, span.worked_ns));
	span_cpu(s->f, assisted_demand(s, s->f->demand_count - 1 - index), begin_ns, span.end_ns);
}

static ufm_status look(assisted *s)
{
	ufm_status status = pager_copies_in_flight(s->f->layer->engine, &s->copies);
	s->done = assist_done(s->cpu->pool);
	while (s->learned < s->done)
		learn(s, s->learned++);
	return status == UFM_OK ? assisted_flush(s, false) : status;
}

/* ------------------------------------------------------------------ who takes what */

static uint64_t less(uint64_t whole_ns, uint64_t spent_ns)
{
	return whole_ns > spent_ns ? whole_ns - spent_ns : 0;
}

static uint64_t cpu_busy_ns(const assisted *s)
{
	uint64_t busy_ns = 0;
	for (uint32_t i = s->done; i < assist_added(s->cpu->pool); i++) {
		assist_span span = assist_span_of(s->cpu->pool, i);
		busy_ns += less(cost_of(&s->cpu->cost, span.rows), paced(s, span.worked_ns));
	}
	return busy_ns;
}

/* How many of the misses that are left the CPU should get. */
static uint32_t cpu_part(const assisted *s)
{
	uint32_t end = s->at.streamed_end, added = assist_added(s->cpu->pool);
	uint32_t from = s->at.started > s->candidate ? s->at.started : s->candidate;
	uint32_t n = end > from ? end - from : 0;
	if (s->cpu->share_percent)
		return s->fixed - added;
	share_rates rates = {.link_ns = s->copy_ns,
	                     .link_busy_ns = pager_link_busy_ns(s->f->layer->engine),
	                     .cpu_busy_ns = cpu_busy_ns(s),
	                     .cpu_start_ns = added ? 0 : s->cpu->start_ns,
	                     .link_only = launches_left(&s->at) - n};
	for (uint32_t i = 0; i < n; i++)
		s->cpu->costs[i] = cost_of(&s->cpu->cost, assisted_demand(s, end - 1 - i)->tokens);
	return share_split(&rates, s->cpu->costs, n);
}

/* The first expert for the CPU waits for its inputs. */
static ufm_status give_cpu(assisted *s)
{
	ufm_status status = assisted_await_inputs(s);
	if (status != UFM_OK)
		return status;
	if (s->given_ns == 0)
		s->given_ns = clock_now_ns();
	assisted_add(s, assisted_demand(s, launches_take(&s->at)));
	return UFM_OK;
}

/* Gives out what may be given out now; *idle stays true if that was nothing. When a copy is due and has
 * to wait for another to end, launches wait as well: what they would free may not change who is
 * displaced. */
static ufm_status give_out(assisted *s, bool *idle)
{
	uint32_t part = cpu_part(s), link_part = launches_left(&s->at) - part;
	launch_step next = launches_next(&s->at), launch = launches_next_launch(&s->at);
	bool copy_is_due = next.kind == LAUNCH_START && link_part;
	bool cpu_is_short = part && assist_added(s->cpu->pool) - s->done < ASSIST_AHEAD;
	*idle = false;
	if (cpu_is_short && s->f->offered)
		return give_cpu(s);
	if (copy_is_due && s->copies < COPIES_AHEAD) {
		next.n = next.n < link_part ? next.n : link_part;
		return launch_start(s->f, &s->at, &next);
	}
	if (cpu_is_short)
		return give_cpu(s);
	if (!copy_is_due && launch.kind != LAUNCH_DONE)
		return launch_run(s->f, &s->at, &launch);
	if (!link_part)
		pager_layer_spare(s->f->layer->engine);
	if (next.kind == LAUNCH_STUCK && link_part && s->done == assist_added(s->cpu->pool))
		return launch_stuck(s->f, &s->at);
	*idle = true;
	return UFM_OK;
}

/* ------------------------------------------------------------------ the layer */

static bool all_done(const assisted *s)
{
	return launches_next(&s->at).kind == LAUNCH_DONE && s->done == assist_added(s->cpu->pool);
}

/* Until a copy or an expert is expected to end. */
static uint64_t next_end_ns(const assisted *s)
{
	uint64_t next_ns = s->copies ? pager_link_busy_ns(s->f->layer->engine) : UINT64_MAX;
	if (s->done < assist_added(s->cpu->pool)) {
		assist_span span = assist_span_of(s->cpu->pool, s->done);
		uint64_t cpu_ns = less(cost_of(&s->cpu->cost, span.rows), paced(s, span.worked_ns));
		next_ns = cpu_ns < next_ns ? cpu_ns : next_ns;
	}
	return next_ns;
}

/* A short wait is spun away, but the core is offered to others all the time. */
static void wait_a_little(const assisted *s)
{
	if (next_end_ns(s) < SPIN_NS)
		sched_yield();
	else
		clock_sleep_until_ns(clock_now_ns() + SLEEP_NS);
}

static ufm_status share_out(assisted *s)
{
	ufm_status status = UFM_OK;
	while (status == UFM_OK && !all_done(s)) {
		bool idle = true;
		status = look(s);
		if (status == UFM_OK)
			status = give_out(s, &idle);
		if (status == UFM_OK && idle && !all_done(s))
			wait_a_little(s);
	}
	return status == UFM_OK ? assisted_flush(s, true) : status;
}

/* Times of the CPU's work end here: what was added is done, also after a failure. */
static void account(assisted *s)
{
	assist_totals totals = assist_end(s->cpu->pool);
	forward *f = s->f;
	while (s->learned < totals.experts)
		learn(s, s->learned++);
	pager_layer_on_cpu(f->layer->engine, totals.experts);
	counter_add(f->counters, COUNTER_cpu_ns, totals.busy_ns);
	counter_add(f->counters, COUNTER_cpu_weight_bytes, totals.weight_bytes);
	counter_add(f->counters, COUNTER_cpu_rows, totals.rows);
	if (s->worked_ns) {
		double pace = (double)totals.busy_ns / (double)s->worked_ns;
		s->cpu->pace = s->cpu->pace > 0 ? (7 * s->cpu->pace + pace) / 8 : pace;
	}
	if (totals.experts) {
		uint64_t start_ns = less(assist_span_of(s->cpu->pool, 0).begin_ns, s->given_ns);
		s->cpu->start_ns = s->cpu->start_ns ? (7 * s->cpu->start_ns + start_ns) / 8 : start_ns;
	}
	if (totals.experts == 0 && s->may_take)
		cost_doubt(&s->cpu->cost);
}

ufm_status assisted_run(forward *f)
{
	ufm_engine *e = f->layer->engine;
	pager_cpu *cpu = pager_get_cpu(e);
	uint64_t copy_ns = pager_copy_ns(e);
	assisted s = {.f = f,
	              .cpu = cpu,
	              .at = launches_of(f->buffers->demands, f->plan, f->together),
	              .copy_ns = copy_ns ? copy_ns : 1};
	choose_candidates(&s);
	ufm_status status = assisted_write_inputs(&s);
	if (status != UFM_OK)
		return status;
	assist_begin(cpu->pool);
	status = share_out(&s);
	account(&s);
	if (status == UFM_OK)
		status = pager_layer_admit(e, f->layer->config.layer,
		                           f->buffers->demands + s.at.streamed_end, launches_taken(&s.at));
	return status;
}

/* SPDX-License-Identifier: MIT */
/*
 * A layer whose misses are shared between the link and the CPU. Both eat one list, the link from the
 * heavy end and the CPU from the light end, until they meet: so what the CPU computes is the end of the
 * row table. This thread gives out the work of both. It keeps a little ahead of each and asks the
 * schedule again whenever something ended. A copy starts two experts before the work that reads it is
 * launched, so that the CPU need not wait for launches. The order of starts and launches never depends
 * on time; only how many there are does, and with a fixed share not even that.
 *
 * Inputs of the CPU are written to page-locked memory by the device, ahead of all other work of the
 * layer; its outputs are brought into the row table by the device's gather, which does not queue behind
 * the copies of experts.
 */
#include <sched.h>

#include "base/clock.h"
#include "moe/moe_int.h"

#define COPIES_AHEAD 2u  /* in flight, so that the link never idles and the decision comes late */
#define EXPERTS_AHEAD 2u /* with the pool: one computed, one that its threads go on to */
#define FLUSH_BYTES (1u << 20)
#define SLEEP_NS 30000u
#define SPIN_NS 200000u /* who waits for less does not sleep */

typedef struct assisted {
	forward *f;
	pager_cpu *cpu;
	launches at;        /* its streamed_end is where link and CPU meet */
	uint32_t started;   /* the next miss to be copied; those before it, from at.streamed on, are not
	                     * launched yet */
	bool slots_busy;    /* the next copy waits for a launch to free a slot */
	uint32_t candidate; /* demands from here on have their input in cpu->x */
	uint32_t first_row; /* of the first candidate: row 0 of cpu->x */
	uint64_t inputs;    /* the mark that they are written */
	bool inputs_ready;
	uint32_t fixed; /* with a fixed share: how many the CPU gets */
	uint32_t copies;
	uint64_t copy_ns, link_since_ns; /* when the oldest copy in flight began, as far as is known */
	uint32_t done, learned, flushed_row;
} assisted;

void assisted_wake(forward *f)
{
	pager_cpu *cpu = pager_get_cpu(f->layer->engine);
	if (cpu->pool && f->layer->paged && cpu->worked)
		assist_wake(cpu->pool);
}

bool assisted_wanted(const forward *f)
{
	pager_cpu *cpu = pager_get_cpu(f->layer->engine);
	return cpu->pool && f->layer->paged && f->plan.streamed;
}

static const schedule_demand *demand_at(const assisted *s, uint32_t index)
{
	return &s->f->buffers->demands[index];
}

static uint64_t row_bytes(const assisted *s)
{
	return 4ull * s->f->layer->desc->d_model;
}

/* ------------------------------------------------------------------ candidates */

/* Twice what the CPU should do before the link has done all: rates may be wrong by so much. */
static bool within_reach(const assisted *s, uint64_t cpu_ns)
{
	return s->fixed || cpu_ns / 2 <= s->f->plan.streamed * s->copy_ns;
}

/* As many misses as there are empty slots go to the device whatever the CPU could do: they stay there.
 * A fixed share is kept even so. */
static uint32_t candidates_max(assisted *s)
{
	uint32_t misses = s->f->plan.streamed;
	if (s->cpu->share_percent)
		return s->fixed = (uint32_t)((uint64_t)misses * s->cpu->share_percent / 100);
	uint32_t empty = pager_free_slots(s->f->layer->engine);
	return misses > empty ? misses - empty : 0;
}

/* The lightest misses that fit the buffers, and that the CPU could come to. */
static void choose_candidates(assisted *s)
{
	uint32_t most = candidates_max(s);
	uint64_t rows = 0, cpu_ns = 0;
	s->candidate = s->f->demand_count;
	for (uint32_t n = 0; n < most; n++) {
		const schedule_demand *d = demand_at(s, s->candidate - 1);
		rows += d->tokens;
		cpu_ns += cost_of(&s->cpu->cost, d->tokens);
		if (rows > s->cpu->rows_max || (n && !within_reach(s, cpu_ns)))
			break;
		s->candidate--;
	}
}

/* Before everything else of the layer, so that the CPU can start at once. */
static ufm_status write_inputs(assisted *s)
{
	forward *f = s->f;
	if (s->candidate == f->demand_count)
		return UFM_OK;
	const schedule_demand *last = demand_at(s, f->demand_count - 1);
	s->first_row = launch_row(f, demand_at(s, s->candidate));
	s->flushed_row = launch_row(f, last) + last->tokens;
	uint32_t rows = s->flushed_row - s->first_row;
	ufm_status status =
		stage_gather_to(f, f->ws->row_token + 4ull * s->first_row, 0, rows, s->cpu->x_view);
	if (status != UFM_OK)
		return status;
	counter_add(f->counters, COUNTER_d2h_activation_bytes, rows * row_bytes(s));
	return pager_mark(f->layer->engine, f->stream, &s->inputs);
}

/* ------------------------------------------------------------------ what has ended */

static ufm_status look_at_link(assisted *s)
{
	uint32_t copies = 0;
	ufm_status status = pager_copies_in_flight(s->f->layer->engine, &copies);
	if (status == UFM_OK && copies < s->copies)
		s->link_since_ns = clock_now_ns();
	s->copies = copies;
	return status;
}

/* An expert's time, without what it shared with the one before. */
static void learn(assisted *s, uint32_t index)
{
	assist_span span = assist_span_of(s->cpu->pool, index);
	uint64_t begin_ns = span.begin_ns;
	if (index) {
		uint64_t before_ns = assist_span_of(s->cpu->pool, index - 1).end_ns;
		begin_ns = before_ns > begin_ns ? before_ns : begin_ns;
	}
	if (span.rows && span.end_ns > begin_ns)
		cost_learn(&s->cpu->cost, span.rows, span.end_ns - begin_ns);
	span_cpu(s->f, demand_at(s, s->f->demand_count - 1 - index), begin_ns, span.end_ns);
}

/* Outputs that are ready, down to the first row of the expert that was done last. */
static ufm_status flush_outputs(assisted *s, bool all)
{
	forward *f = s->f;
	if (s->done == 0 || s->cpu->table)
		return UFM_OK;
	uint32_t first = launch_row(f, demand_at(s, f->demand_count - s->done));
	uint32_t rows = s->flushed_row - first;
	if (rows == 0 || (!all && rows * row_bytes(s) < FLUSH_BYTES))
		return UFM_OK;
	ufm_gather_args args = {.x = s->cpu->y_view,
	                        .x_stride = f->layer->desc->d_model,
	                        .x_dtype = UFM_F32,
	                        .first = first - s->first_row,
	                        .rows = rows,
	                        .d_model = f->layer->desc->d_model,
	                        .out = f->ws->table + first * row_bytes(s)};
	s->flushed_row = first;
	counter_add(f->counters, COUNTER_h2d_activation_bytes, rows * row_bytes(s));
	return f->b->gather(f->stream, &args);
}

static ufm_status look_at_cpu(assisted *s)
{
	s->done = assist_done(s->cpu->pool);
	while (s->learned < s->done)
		learn(s, s->learned++);
	return flush_outputs(s, false);
}

/* ------------------------------------------------------------------ who takes what */

static uint64_t less(uint64_t whole_ns, uint64_t spent_ns)
{
	return whole_ns > spent_ns ? whole_ns - spent_ns : 0;
}

static uint64_t link_busy_ns(const assisted *s, uint64_t now_ns)
{
	if (s->copies == 0)
		return 0;
	return (s->copies - 1) * s->copy_ns + less(s->copy_ns, less(now_ns, s->link_since_ns));
}

static uint64_t cpu_busy_ns(const assisted *s, uint64_t now_ns)
{
	uint64_t busy_ns = 0;
	for (uint32_t i = s->done; i < assist_added(s->cpu->pool); i++) {
		assist_span span = assist_span_of(s->cpu->pool, i);
		uint64_t spent_ns = span.begin_ns ? less(now_ns, span.begin_ns) : 0;
		busy_ns += less(cost_of(&s->cpu->cost, span.rows), spent_ns);
	}
	return busy_ns;
}

/* How many of the misses that are left the CPU should get. */
static uint32_t cpu_part(const assisted *s)
{
	uint32_t from = s->started > s->candidate ? s->started : s->candidate;
	uint32_t n = s->at.streamed_end > from ? s->at.streamed_end - from : 0;
	if (s->cpu->share_percent)
		return s->fixed - assist_added(s->cpu->pool);
	uint64_t now_ns = clock_now_ns();
	schedule_rates rates = {.link_ns = s->copy_ns,
	                        .link_busy_ns = link_busy_ns(s, now_ns),
	                        .cpu_busy_ns = cpu_busy_ns(s, now_ns),
	                        .link_only = s->at.streamed_end - s->started - n};
	for (uint32_t i = 0; i < n; i++)
		s->cpu->costs[i] = cost_of(&s->cpu->cost, demand_at(s, s->at.streamed_end - 1 - i)->tokens);
	return schedule_split(&rates, s->cpu->costs, n);
}

/* UFM_EBUSY is none as long as a launch may free a slot. */
static ufm_status give_link(assisted *s)
{
	forward *f = s->f;
	uint32_t layer = f->layer->config.layer, expert = demand_at(s, s->started)->expert;
	ufm_status status = pager_layer_start(f->layer->engine, layer, expert);
	bool pending = s->at.resident < s->at.resident_end || s->at.streamed < s->started;
	s->slots_busy = status == UFM_EBUSY && pending;
	if (s->slots_busy)
		return UFM_OK;
	if (status == UFM_EBUSY)
		return pager_layer_full(layer, expert);
	if (s->copies == 0)
		s->link_since_ns = clock_now_ns();
	s->copies++;
	s->started++;
	return status;
}

/* The first expert for the CPU waits for its inputs, after the first copies were started. */
static ufm_status give_cpu(assisted *s)
{
	forward *f = s->f;
	pager_cpu *cpu = s->cpu;
	if (!s->inputs_ready) {
		ufm_status status = pager_wait_mark(f->layer->engine, s->inputs, UFM_WAIT_FOREVER);
		if (status != UFM_OK)
			return status;
		s->inputs_ready = true;
	}
	const schedule_demand *d = demand_at(s, --s->at.streamed_end);
	uint32_t row = launch_row(f, d);
	uint64_t d_model = f->layer->desc->d_model;
	uint64_t at = (row - s->first_row) * d_model;
	float *y = cpu->table ? cpu->table + row * d_model : cpu->y + at;
	const void *block = pager_layer_host(f->layer->engine, f->layer->config.layer, d->expert);
	assist_add(cpu->pool, block, cpu->x + at, d->tokens, y);
	return UFM_OK;
}

static bool residents_are_left(const assisted *s)
{
	return s->at.resident < s->at.resident_end;
}

/* Residents whose slot the first copies need: one before each copy. */
static bool slot_must_be_freed(const assisted *s)
{
	return residents_are_left(s) && demand_at(s, s->at.resident)->launch == 0 &&
	       s->at.resident <= s->started - s->f->plan.resident;
}

/* What comes next in launch order, of residents and of misses that were started. */
static ufm_status launch_next(assisted *s)
{
	bool none_started = s->at.streamed == s->started;
	s->slots_busy = false;
	if (residents_are_left(s) && (none_started || launch_is_resident(s->f, &s->at)))
		return launch_residents(s->f, &s->at);
	return launch_streamed(s->f, &s->at);
}

/* Gives out what may be given out now; *idle stays true if that was nothing. When a copy is due and has
 * to wait for another to end, launches wait as well: what they would free may not change who is
 * displaced. */
static ufm_status give_out(assisted *s, bool *idle)
{
	uint32_t part = cpu_part(s);
	bool copy_is_due = s->at.streamed_end - s->started > part && !s->slots_busy &&
	                   s->started - s->at.streamed < COPIES_AHEAD;
	bool launch_is_left = residents_are_left(s) || s->at.streamed < s->started;
	*idle = false;
	if (slot_must_be_freed(s))
		return launch_next(s);
	if (copy_is_due && s->copies < COPIES_AHEAD)
		return give_link(s);
	if (part && assist_added(s->cpu->pool) - s->done < EXPERTS_AHEAD)
		return give_cpu(s);
	if (launch_is_left && !copy_is_due)
		return launch_next(s);
	*idle = true;
	return UFM_OK;
}

/* ------------------------------------------------------------------ the layer */

static bool all_done(const assisted *s)
{
	return s->at.streamed == s->at.streamed_end && s->at.resident == s->at.resident_end &&
	       s->done == assist_added(s->cpu->pool);
}

/* The next end is a copy's or an expert's. A short wait is spun away, but the core is offered to others
 * all the time. */
static void wait_a_little(const assisted *s)
{
	uint64_t next_ns = s->copies ? s->copy_ns : UINT64_MAX;
	if (s->done < assist_added(s->cpu->pool)) {
		uint64_t cpu_ns = cost_of(&s->cpu->cost, assist_span_of(s->cpu->pool, s->done).rows);
		next_ns = cpu_ns < next_ns ? cpu_ns : next_ns;
	}
	if (next_ns < SPIN_NS)
		sched_yield();
	else
		clock_sleep_until_ns(clock_now_ns() + SLEEP_NS);
}

static ufm_status share_out(assisted *s)
{
	ufm_status status = UFM_OK;
	while (status == UFM_OK && !all_done(s)) {
		bool idle = true;
		status = look_at_link(s);
		if (status == UFM_OK)
			status = look_at_cpu(s);
		if (status == UFM_OK)
			status = give_out(s, &idle);
		if (status == UFM_OK && idle && !all_done(s))
			wait_a_little(s);
	}
	return status == UFM_OK ? flush_outputs(s, true) : status;
}

/* Times of the CPU's work end here: what was added is done, also after a failure. */
static void account(assisted *s)
{
	assist_totals totals = assist_end(s->cpu->pool);
	forward *f = s->f;
	while (s->learned < totals.experts)
		learn(s, s->learned++);
	s->cpu->worked = totals.experts != 0;
	pager_layer_on_cpu(f->layer->engine, totals.experts);
	counter_add(f->counters, COUNTER_cpu_ns, totals.busy_ns);
	counter_add(f->counters, COUNTER_cpu_weight_bytes, totals.weight_bytes);
	counter_add(f->counters, COUNTER_cpu_rows, totals.rows);
	if (totals.experts == 0 && s->candidate < f->demand_count)
		cost_doubt(&s->cpu->cost);
}

ufm_status assisted_run(forward *f)
{
	pager_cpu *cpu = pager_get_cpu(f->layer->engine);
	uint64_t copy_ns = pager_copy_ns(f->layer->engine);
	assisted s = {.f = f,
	              .cpu = cpu,
	              .at = launches_of(f),
	              .started = f->plan.resident,
	              .copy_ns = copy_ns ? copy_ns : 1};
	choose_candidates(&s);
	ufm_status status = write_inputs(&s);
	if (status != UFM_OK)
		return status;
	assist_begin(cpu->pool);
	status = share_out(&s);
	account(&s);
	return status;
}

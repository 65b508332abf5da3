/* SPDX-License-Identifier: MIT */
/*
 * A layer whose misses are shared between the link and the CPU. Both eat one list, the link from the
 * heavy end and the CPU from the light end, until they meet: so what the CPU computes is the end of the
 * row table. This thread gives out the work of both. It keeps a little ahead of each and asks the
 * schedule again whenever something ended. A copy starts two experts before the work that reads it is
 * launched, so that the CPU need not wait for launches. The order of starts and launches never depends
 * on time; only how many there are does, and with a fixed share not even that.
 *
 * Inputs of the CPU are written to page-locked memory by the device: all tokens of a small call while
 * their ids are on the way, the rows of the misses that it may take for a larger one. Its outputs are
 * brought into the row table by the device's gather, which does not queue behind the copies of experts.
 */
#include <sched.h>
#include <string.h>

#include "base/clock.h"
#include "moe/moe_int.h"

#define COPIES_AHEAD 2u /* in flight, so that the link never idles and the decision comes late */
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
	uint32_t candidate; /* demands from here on may be the CPU's: their input is in cpu->x */
	bool may_take;      /* there is one, or only its cost forbids it */
	uint32_t
		first_row; /* of the first candidate: row 0 of cpu->y, and of cpu->x after offered tokens */
	uint64_t inputs; /* the mark that they are written */
	bool inputs_ready;
	uint32_t fixed; /* with a fixed share: how many the CPU gets */
	uint32_t copies;
	uint64_t copy_ns;       /* of an expert */
	uint64_t link_since_ns; /* when the oldest copy in flight began, as far as is known */
	uint32_t done, learned, flushed_row;
	uint64_t worked_ns; /* by the CPU's threads, for the experts that it has learned from */
} assisted;

void assisted_wake(forward *f)
{
	pager_cpu *cpu = pager_get_cpu(f->layer->engine);
	if (cpu->pool && f->layer->paged && cpu->worked)
		assist_wake(cpu->pool);
}

/* Writing them later would keep the CPU waiting for a launch, a kernel and a mark. */
ufm_status assisted_offer(forward *f)
{
	pager_cpu *cpu = pager_get_cpu(f->layer->engine);
	uint32_t tokens = f->call->tokens;
	if (!cpu->pool || !f->layer->paged || !cpu->worked || tokens > PAGER_OFFERED)
		return UFM_OK;
	ufm_status status = stage_gather_to(f, 0, 0, tokens, cpu->x_view);
	if (status != UFM_OK)
		return status;
	counter_add(f->counters, COUNTER_d2h_activation_bytes, 4ull * tokens * f->layer->desc->d_model);
	return pager_mark(f->layer->engine, f->stream, &f->offered);
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

/* Whatever it costs where a share is fixed. */
static bool is_worth_it(const assisted *s, uint64_t cpu_ns)
{
	return s->fixed || cpu_ns <= SCHEDULE_COPIES_WORTH * s->copy_ns;
}

/* The lightest misses that fit the buffers, and that the CPU could come to. */
static void choose_candidates(assisted *s)
{
	uint32_t most = candidates_max(s);
	uint64_t rows = 0, cpu_ns = 0;
	s->candidate = s->f->demand_count;
	for (uint32_t n = 0; n < most; n++) {
		const schedule_demand *d = demand_at(s, s->candidate - 1);
		uint64_t each_ns = cost_of(&s->cpu->cost, d->tokens);
		rows += d->tokens;
		cpu_ns += each_ns;
		if (rows > s->cpu->rows_max)
			break;
		s->may_take = true;
		if (!is_worth_it(s, each_ns) || (n && !within_reach(s, cpu_ns)))
			break;
		s->candidate--;
	}
}

/* Before everything else of the layer, so that the CPU can start at once. */
static ufm_status write_inputs(assisted *s, uint32_t rows)
{
	forward *f = s->f;
	ufm_devptr to = s->cpu->x_view + PAGER_OFFERED * row_bytes(s);
	ufm_status status = stage_gather_to(f, f->ws->row_token + 4ull * s->first_row, 0, rows, to);
	if (status != UFM_OK)
		return status;
	counter_add(f->counters, COUNTER_d2h_activation_bytes, rows * row_bytes(s));
	return pager_mark(f->layer->engine, f->stream, &s->inputs);
}

static ufm_status have_inputs(assisted *s)
{
	forward *f = s->f;
	if (s->candidate == f->demand_count)
		return UFM_OK;
	const schedule_demand *last = demand_at(s, f->demand_count - 1);
	s->first_row = launch_row(f, demand_at(s, s->candidate));
	s->flushed_row = launch_row(f, last) + last->tokens;
	s->inputs = f->offered;
	return f->offered ? UFM_OK : write_inputs(s, s->flushed_row - s->first_row);
}

/* Rows of one expert: of a token as it was offered, or of several put together. */
static const float *inputs_of(const assisted *s, const schedule_demand *d, uint32_t row)
{
	const uint32_t *tokens = s->f->buffers->row_token + row;
	uint64_t d_model = s->f->layer->desc->d_model;
	float *rows = s->cpu->x + (PAGER_OFFERED + row - s->first_row) * d_model;
	if (s->f->offered && d->tokens == 1)
		return s->cpu->x + tokens[0] * d_model;
	for (uint32_t i = 0; i < d->tokens && s->f->offered; i++)
		memcpy(rows + i * d_model, s->cpu->x + tokens[i] * d_model, row_bytes(s));
	return rows;
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
	uint64_t copy_ns = s->f->together * s->copy_ns;
	return (s->copies - 1) * copy_ns + less(copy_ns, less(now_ns, s->link_since_ns));
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
	uint32_t from = s->started > s->candidate ? s->started : s->candidate;
	uint32_t n = s->at.streamed_end > from ? s->at.streamed_end - from : 0;
	if (s->cpu->share_percent)
		return s->fixed - assist_added(s->cpu->pool);
	uint64_t now_ns = clock_now_ns();
	schedule_rates rates = {.link_ns = s->copy_ns,
	                        .link_busy_ns = link_busy_ns(s, now_ns),
	                        .cpu_busy_ns = cpu_busy_ns(s),
	                        .link_only = s->at.streamed_end - s->started - n};
	for (uint32_t i = 0; i < n; i++)
		s->cpu->costs[i] = cost_of(&s->cpu->cost, demand_at(s, s->at.streamed_end - 1 - i)->tokens);
	return schedule_split(&rates, s->cpu->costs, n);
}

/* No slot is no failure as long as a launch may free one. */
static ufm_status give_link(assisted *s, uint32_t part)
{
	forward *f = s->f;
	uint32_t layer = f->layer->config.layer, left = s->at.streamed_end - s->started - part;
	const schedule_demand *first = demand_at(s, s->started);
	uint32_t started = 0, n = left < f->together ? left : f->together;
	ufm_status status = pager_layer_start(f->layer->engine, layer, first, n, &started);
	if (status != UFM_OK)
		return status;
	if (started == 0) {
		s->slots_busy = s->at.resident < s->at.resident_end || s->at.streamed < s->started;
		return s->slots_busy ? UFM_OK : pager_layer_full(layer, first->expert);
	}
	if (s->copies == 0)
		s->link_since_ns = clock_now_ns();
	s->copies++;
	s->started += started;
	return UFM_OK;
}

/* The first expert for the CPU waits for its inputs. */
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
	assist_add(cpu->pool, block, inputs_of(s, d, row), d->tokens, y);
	return UFM_OK;
}

static bool residents_are_left(const assisted *s)
{
	return s->at.resident < s->at.resident_end;
}

/* Residents whose slot the first copies need: as many before each copy as it fills. */
static bool slot_must_be_freed(const assisted *s)
{
	return residents_are_left(s) && demand_at(s, s->at.resident)->launch == 0 &&
	       s->at.resident < s->started - s->f->plan.resident + s->f->together;
}

/* What comes next in launch order, of residents and of misses that were started. */
static ufm_status launch_next(assisted *s)
{
	bool none_started = s->at.streamed == s->started;
	s->slots_busy = false;
	if (residents_are_left(s) && (none_started || launch_is_resident(s->f, &s->at)))
		return launch_residents(s->f, &s->at);
	return launch_streamed(s->f, &s->at, s->started);
}

/* Gives out what may be given out now; *idle stays true if that was nothing. When a copy is due and has
 * to wait for another to end, launches wait as well: what they would free may not change who is
 * displaced. */
static ufm_status give_out(assisted *s, bool *idle)
{
	uint32_t part = cpu_part(s);
	bool copy_is_due = s->at.streamed_end - s->started > part && !s->slots_busy &&
	                   s->started - s->at.streamed < COPIES_AHEAD * s->f->together;
	bool launch_is_left = residents_are_left(s) || s->at.streamed < s->started;
	bool cpu_is_short = part && assist_added(s->cpu->pool) - s->done < ASSIST_AHEAD;
	*idle = false;
	if (cpu_is_short && s->f->offered)
		return give_cpu(s);
	if (slot_must_be_freed(s))
		return launch_next(s);
	if (copy_is_due && s->copies < COPIES_AHEAD)
		return give_link(s, part);
	if (cpu_is_short)
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

/* Until a copy or an expert is expected to end. */
static uint64_t next_end_ns(const assisted *s)
{
	uint64_t next_ns = UINT64_MAX;
	if (s->copies)
		next_ns = less(s->f->together * s->copy_ns, less(clock_now_ns(), s->link_since_ns));
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
	if (s->worked_ns) {
		double pace = (double)totals.busy_ns / (double)s->worked_ns;
		s->cpu->pace = s->cpu->pace > 0 ? (7 * s->cpu->pace + pace) / 8 : pace;
	}
	if (totals.experts == 0 && s->may_take)
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
	ufm_status status = have_inputs(&s);
	if (status != UFM_OK)
		return status;
	assist_begin(cpu->pool);
	status = share_out(&s);
	account(&s);
	return status;
}

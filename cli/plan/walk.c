/* SPDX-License-Identifier: MIT */
/* Steps, layers, and which of their misses the CPU takes. */
#include "cli/plan/walk.h"

#include <math.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "cli/bench/workload_int.h"
#include "pager/pager.h"
#include "replay/event.h"
#include "schedule/share.h"

#define STRAY_KEY 1u

struct walk {
	walk_config config;
	cache *cache;
	event_scratch scratch;
	uint32_t *counts;         /* [experts], scratch */
	schedule_demand *demands; /* [experts], in order of first appearance */
	cache_member *members;    /* [experts] */
	uint64_t *costs;          /* [experts], scratch of the split */
	int32_t *ids;             /* [ids_room] */
	uint64_t ids_room;
	/* of the event in progress: what the CPU takes */
	uint32_t taken;
	double cpu_ns, cpu_duty;
	uint32_t event; /* with misses that the CPU could share */
	admit admit;    /* as the engine's, where its CPU path is on */
	bool all_fit;
};

/* ------------------------------------------------------------------ open and close */

static ufm_status open_scratch(walk *w)
{
	uint32_t experts = w->config.experts;
	w->counts = alloc_zeroed(experts, sizeof *w->counts);
	w->demands = alloc_zeroed(experts, sizeof *w->demands);
	w->members = alloc_zeroed(experts, sizeof *w->members);
	w->costs = alloc_zeroed(experts, sizeof *w->costs);
	if (!w->counts || !w->demands || !w->members || !w->costs)
		return UFM_ENOMEM;
	return event_scratch_open(experts, experts, &w->scratch);
}

static ufm_status load_all(walk *w)
{
	ufm_status status = UFM_OK;
	for (uint32_t key = 0; key < w->config.layers * w->config.experts && !status; key++) {
		cache_placement place;
		status = cache_place_free(w->cache, key, &place);
		if (!status)
			cache_loaded(w->cache, place.slot, place.generation);
	}
	return status;
}

static ufm_status open_all(walk *w)
{
	const walk_config *c = &w->config;
	cache_config config = {.slots = c->division->slots,
	                       .ring = c->division->ring,
	                       .layers = c->layers,
	                       .experts = c->experts,
	                       .policy = c->policy};
	ufm_status status = cache_open(&config, &w->cache);
	if (!status)
		status = open_scratch(w);
	w->all_fit = c->division->slots == c->layers * c->experts;
	return status || !w->all_fit || !c->preload ? status : load_all(w);
}

/* The times that an engine learns of a small call. */
static void open_admission(walk *w)
{
	const timing_terms *t = w->config.timing;
	admit_terms terms = {0};
	if (t->cpu)
		terms = (admit_terms){.copy_ns = (uint64_t)timing_copy_ns(t, 1),
		                      .cpu_ns = (uint64_t)timing_cpu_ns(t, 1),
		                      .call_ns = (uint64_t)timing_hit_ns(t, w->config.top_k)};
	admit_open(&w->admit, &terms);
}

ufm_status walk_open(const walk_config *config, walk **out)
{
	walk *w = alloc_zeroed(1, sizeof *w);
	if (!w)
		return UFM_ENOMEM;
	w->config = *config;
	open_admission(w);
	ufm_status status = open_all(w);
	if (status) {
		walk_close(w);
		return status;
	}
	*out = w;
	return UFM_OK;
}

void walk_close(walk *w)
{
	if (!w)
		return;
	cache_close(w->cache);
	event_scratch_close(&w->scratch);
	alloc_free(w->counts);
	alloc_free(w->demands);
	alloc_free(w->members);
	alloc_free(w->costs);
	alloc_free(w->ids);
	alloc_free(w);
}

/* ------------------------------------------------------------------ the demand of a layer */

static uint64_t token_of(const walk_phase *p, uint64_t step, uint32_t i)
{
	return workload_item(step * p->tokens + i, p->side_by_side ? p->tokens : 0, p->routing->tokens);
}

static void read_ids(walk *w, const walk_phase *p, uint64_t step, uint32_t layer)
{
	const trace *t = p->routing;
	uint32_t top_k = w->config.top_k;
	for (uint32_t i = 0; i < p->tokens; i++) {
		const uint16_t *event = trace_event(t, token_of(p, step, i), layer);
		for (uint32_t k = 0; k < top_k; k++)
			w->ids[(uint64_t)i * top_k + k] = k < t->ranks ? trace_id(event, k) : -1;
	}
}

static uint32_t read_demand(walk *w, const walk_phase *p, uint64_t step, uint32_t layer)
{
	read_ids(w, p, step, layer);
	uint32_t n = schedule_demands(w->ids, (uint64_t)p->tokens * w->config.top_k, w->config.experts,
	                              w->counts, w->demands);
	for (uint32_t i = 0; i < n; i++)
		w->members[i] = (cache_member){.expert = w->demands[i].expert,
		                               .tokens = w->demands[i].tokens,
		                               .next_event = UFM_NEVER};
	return n;
}

/* ------------------------------------------------------------------ the CPU's share */

/* The lightest misses that the engine would think of. */
static uint32_t candidates(walk *w, const schedule_demand *misses, uint32_t n)
{
	const timing_terms *t = w->config.timing;
	share_terms terms = {.copy_ns = (uint64_t)timing_copy_ns(t, 1),
	                     .rows_max = PAGER_CPU_BUFFER_BYTES / (4ull * w->config.d_model)};
	for (uint32_t i = 0; i < n; i++) {
		double cost_ns = timing_cpu_ns(t, misses[n - 1 - i].tokens);
		w->costs[i] = cost_ns < 1 ? 1 : (uint64_t)cost_ns;
	}
	return share_candidates(&terms, misses, n, w->costs);
}

/* What the CPU takes for the last `taken` misses; where it takes all, it has the host's memory to itself. */
static void account_cpu(walk *w, const schedule_demand *misses, uint32_t n)
{
	const timing_terms *t = w->config.timing;
	double bound_ns = 0;
	for (uint32_t i = n - w->taken; i < n; i++) {
		double beside_ns = timing_cpu_ns(t, misses[i].tokens);
		bound_ns += beside_ns * timing_cpu_duty(t, misses[i].tokens);
		w->cpu_ns += w->taken == n ? timing_cpu_alone_ns(t, misses[i].tokens) : beside_ns;
	}
	w->cpu_duty = w->cpu_ns > 0 ? fmin(1, bound_ns / w->cpu_ns) : 0;
}

/* What the engine has learned that all would cost it lies between alone and beside the link, and strays. */
static double all_learned_ns(walk *w, const schedule_demand *misses, uint32_t n)
{
	const timing_terms *t = w->config.timing;
	double stray = t->costs->cpu_stray * (2 * (double)rng_at(STRAY_KEY, w->event++) - 1);
	double both_ns = 0;
	for (uint32_t i = 0; i < n; i++)
		both_ns += timing_cpu_ns(t, misses[i].tokens) + timing_cpu_alone_ns(t, misses[i].tokens);
	return (1 + stray) * both_ns / 2;
}

/* The engine splits what is left whenever something has ended, so that both sides end together whatever it has
 * learned. The link begins at once, and is left out only where the CPU should have done all before one copy ends. */
static uint32_t cpu_share(void *ctx, const schedule_demand *misses, uint32_t n)
{
	walk *w = ctx;
	const timing_terms *t = w->config.timing;
	uint32_t can = candidates(w, misses, n);
	double copy_ns = timing_copy_ns(t, can ? timing_cpu_duty(t, misses[n - 1].tokens) : 0);
	share_rates rates = {.link_ns = (uint64_t)copy_ns + 1, .link_only = n - can};
	w->taken = share_split(&rates, w->costs, can);
	if (can == n && all_learned_ns(w, misses, n) <= copy_ns)
		w->taken = n;
	else if (w->taken == n)
		w->taken = n - 1;
	account_cpu(w, misses, n);
	return w->taken;
}

/* ------------------------------------------------------------------ a layer call */

static bool holds_layer(const walk *w, uint32_t layer)
{
	uint32_t first = layer * w->config.experts;
	for (uint32_t e = 0; e < w->config.experts; e++)
		if (cache_find(w->cache, first + e) == SLOT_NONE)
			return false;
	return true;
}

static bool needs_no_host(const walk *w, const walk_phase *p)
{
	return !w->config.timing->given &&
	       (uint64_t)p->tokens * w->config.top_k <= w->config.piece_rows;
}

/* The CPU takes the last of the demands. */
static void describe_call(const walk *w, uint32_t n, uint32_t hits, timing_layer *call)
{
	call->on_cpu = w->taken;
	call->cpu_ns = w->cpu_ns;
	call->cpu_duty = w->cpu_duty;
	call->streamed = n - hits - w->taken;
	call->together = w->config.division->together;
	for (uint32_t i = 0; i < n - w->taken; i++)
		timing_add_expert(w->config.timing, w->scratch.demands[i].tokens, call);
}

static ufm_status run_layer(walk *w, const walk_phase *p, uint64_t step, uint32_t layer,
                            timing_step *time, walk_result *count)
{
	const walk_config *c = &w->config;
	event_cpu cpu = {.share = cpu_share, .ctx = w};
	bool cpu_on = c->timing->cpu && !w->all_fit;
	event_engine engine = {.together = c->division->together,
	                       .admit = cpu_on ? &w->admit : NULL,
	                       .cpu = cpu_on ? &cpu : NULL};
	timing_layer call = {.tokens = p->tokens};
	uint32_t hits = 0, n = read_demand(w, p, step, layer);
	call.whole = needs_no_host(w, p) && holds_layer(w, layer);
	w->cpu_ns = w->cpu_duty = 0;
	w->taken = 0;
	ufm_status status = event_run_as_engine(w->cache, layer, layer * c->experts, &engine,
	                                        w->members, n, &w->scratch, &hits);
	if (status)
		return status;
	describe_call(w, n, hits, &call);
	timing_add(c->timing, &call, time);
	count->uses += n;
	count->hits += hits;
	count->streamed += call.streamed;
	count->on_cpu += call.on_cpu;
	count->whole_calls += call.whole;
	return UFM_OK;
}

/* ------------------------------------------------------------------ a phase */

static ufm_status run_step(walk *w, const walk_phase *p, uint64_t step, timing_step *time,
                           walk_result *count)
{
	ufm_status status = UFM_OK;
	for (uint32_t layer = 0; layer < w->config.layers && !status; layer++)
		status = run_layer(w, p, step, layer, time, count);
	count->steps++;
	return status;
}

static ufm_status make_room(walk *w, const walk_phase *p)
{
	uint64_t room = (uint64_t)p->tokens * w->config.top_k;
	if (room <= w->ids_room)
		return UFM_OK;
	alloc_free(w->ids);
	w->ids = alloc_zeroed(room, sizeof *w->ids);
	w->ids_room = w->ids ? room : 0;
	return w->ids ? UFM_OK : UFM_ENOMEM;
}

static void add_step(timing_step *sum, const timing_step *step)
{
	sum->ns += step->ns;
	sum->link_ns += step->link_ns;
	for (uint32_t i = 0; i < TIMING_BOUNDS; i++)
		sum->parts_ns[i] += step->parts_ns[i];
}

void walk_result_add(walk_result *sum, const walk_result *result)
{
	sum->steps += result->steps;
	sum->uses += result->uses;
	sum->hits += result->hits;
	sum->streamed += result->streamed;
	sum->on_cpu += result->on_cpu;
	sum->whole_calls += result->whole_calls;
	add_step(&sum->sum, &result->sum);
}

ufm_status walk_run(walk *w, const walk_phase *p, walk_result *out)
{
	walk_result result = {0}, uncounted = {0};
	ufm_status status = make_room(w, p);
	for (uint64_t step = 0; step < (uint64_t)p->warmup + p->steps && !status; step++) {
		timing_step time = {0};
		bool counted = step >= p->warmup;
		status = run_step(w, p, step, &time, counted ? &result : &uncounted);
		if (!counted)
			continue;
		add_step(&result.sum, &time);
		if (p->step_ns)
			p->step_ns[step - p->warmup] = time.ns;
	}
	if (!status)
		*out = result;
	return status;
}

/* SPDX-License-Identifier: MIT */
/* Steps, layers, and what each call owes. */
#include "base/alloc.h"
#include "pager/pager.h"
#include "plan/walk_int.h"
#include "replay/event.h"

/* ------------------------------------------------------------------ open and close */

static ufm_status open_scratch(walk *w)
{
	uint32_t experts = w->config.experts;
	w->counts = alloc_zeroed(experts, sizeof *w->counts);
	w->demands = alloc_zeroed(experts, sizeof *w->demands);
	w->members = alloc_zeroed(experts, sizeof *w->members);
	w->costs = alloc_zeroed(experts, sizeof *w->costs);
	w->missing = alloc_zeroed(experts, sizeof *w->missing);
	if (!w->counts || !w->demands || !w->members || !w->costs || !w->missing)
		return UFM_ENOMEM;
	ufm_status status = backlog_open(w->config.layers * experts, &w->owed);
	return status ? status : event_scratch_open(experts, experts, &w->scratch);
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
	w->cpu_on = c->timing->cpu && !w->all_fit;
	return status || !w->all_fit || !c->preload ? status : load_all(w);
}

ufm_status walk_open(const walk_config *config, walk **out)
{
	walk *w = alloc_zeroed(1, sizeof *w);
	if (!w)
		return UFM_ENOMEM;
	w->config = *config;
	admit_open(&w->admit, &(admit_terms){0});
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
	backlog_close(&w->owed);
	alloc_free(w->missing);
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
	return trace_item(step * p->tokens + i, p->side_by_side ? p->tokens : 0, p->routing->tokens);
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

/* ------------------------------------------------------------------ a layer call */

static bool holds_layer(const walk *w)
{
	for (uint32_t key = w->first; key < w->first + w->config.experts; key++)
		if (cache_find(w->cache, key) == SLOT_NONE || w->owed.waits[key])
			return false;
	return true;
}

static bool needs_no_host(const walk *w)
{
	return !w->config.timing->given;
}

/* The CPU takes the last of what is missing. */
static void describe_call(const walk *w, uint32_t hits, timing_layer *call)
{
	const timing_terms *t = w->config.timing;
	call->on_cpu = w->taken;
	call->cpu_ns = w->cpu_ns;
	call->cpu_duty = w->cpu_duty;
	call->streamed = w->missing_count - w->taken;
	call->together = w->config.division->together;
	for (uint32_t i = 0; i < hits; i++)
		if (!walk_is_late(w, &w->scratch.demands[i]))
			timing_add_expert(t, w->scratch.demands[i].tokens, call);
	for (uint32_t i = 0; i < call->streamed; i++)
		timing_add_expert(t, w->missing[i].tokens, call);
}

/* Who got a slot to stay in. */
static bool was_admitted(const walk *w, uint32_t key)
{
	cache_slot view;
	uint32_t slot = cache_find(w->cache, key);
	if (slot == SLOT_NONE)
		return false;
	cache_get_slot(w->cache, slot, &view);
	return !view.in_ring;
}

/* What the link brought is owed no longer; what the CPU computed and the policy keeps is, once. */
static void owe(walk *w, timing_layer *call)
{
	uint32_t brought = w->missing_count - w->taken;
	for (uint32_t i = 0; i < brought; i++)
		backlog_remove(&w->owed, w->first + w->missing[i].expert);
	backlog_drop_evicted(&w->owed, w->cache);
	w->clock.owed = w->owed.count;
	for (uint32_t i = brought; i < w->missing_count; i++)
		if (was_admitted(w, w->first + w->missing[i].expert))
			backlog_add(&w->owed, w->first + w->missing[i].expert);
	call->owed = w->owed.count - w->clock.owed;
}

/* As an engine learns them, and keeps them in larger calls. */
static void learn_admission(walk *w, uint32_t tokens, uint32_t experts)
{
	const timing_terms *t = w->config.timing;
	if (!w->cpu_on || tokens > PAGER_OFFERED || tokens == w->learned_tokens ||
	    ++w->untimed_calls < PAGER_CALLS_UNTIMED)
		return;
	w->learned_tokens = tokens;
	w->admit.terms = (admit_terms){.copy_ns = (uint64_t)timing_copy_learned_ns(t, 1),
	                               .cpu_ns = (uint64_t)timing_cpu_ns(t, 1),
	                               .call_ns = (uint64_t)timing_hit_ns(t, tokens, experts)};
}

static ufm_status run_layer(walk *w, const walk_phase *p, uint64_t step, uint32_t layer,
                            walk_result *count)
{
	const walk_config *c = &w->config;
	event_cpu cpu = {.share = walk_share, .ctx = w};
	event_engine engine = {
		.together = c->division->together, .admit = w->cpu_on ? &w->admit : NULL, .cpu = &cpu};
	timing_layer call = {.tokens = p->tokens};
	uint32_t hits = 0, n = read_demand(w, p, step, layer);
	w->first = layer * c->experts;
	call.whole = needs_no_host(w) && holds_layer(w);
	ufm_status status =
		event_run_as_engine(w->cache, layer, w->first, &engine, w->members, n, &w->scratch, &hits);
	if (status)
		return status;
	describe_call(w, hits, &call);
	learn_admission(w, p->tokens, n);
	owe(w, &call);
	timing_add(c->timing, &call, &w->clock);
	backlog_start(&w->owed, w->owed.count - w->clock.owed);
	count->uses += n;
	count->hits += n - w->missing_count;
	count->streamed += call.streamed;
	count->on_cpu += call.on_cpu;
	count->whole_calls += call.whole;
	return UFM_OK;
}

/* ------------------------------------------------------------------ a phase */

static ufm_status run_step(walk *w, const walk_phase *p, uint64_t step, walk_result *count)
{
	ufm_status status = UFM_OK;
	w->clock = timing_next_step(&w->clock);
	for (uint32_t layer = 0; layer < w->config.layers && !status; layer++)
		status = run_layer(w, p, step, layer, count);
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
		bool counted = step >= p->warmup;
		status = run_step(w, p, step, counted ? &result : &uncounted);
		if (!counted)
			continue;
		add_step(&result.sum, &w->clock);
		if (p->step_ns)
			p->step_ns[step - p->warmup] = w->clock.ns;
	}
	if (!status)
		*out = result;
	return status;
}

/* SPDX-License-Identifier: MIT */
/* An event as an engine runs it: who is pinned when decides which ring slot is refilled. */
#include "base/status.h"
#include "replay/event.h"
#include "schedule/judge.h"

typedef struct layer_run {
	cache *c;
	uint32_t first;
	const event_engine *engine;
	schedule_demand *demands;
	uint32_t n;
	bool broad;
	uint32_t fills;
	admit_turn turn;
	uint32_t *slots; /* [experts] */
} layer_run;

static void hold(layer_run *r, uint32_t expert, uint32_t slot)
{
	cache_pin(r->c, slot);
	r->slots[expert] = slot;
}

static uint32_t find_residents(layer_run *r, const cache_member *members)
{
	uint32_t hits = 0;

	for (uint32_t i = 0; i < r->n; i++) {
		uint32_t expert = members[i].expert, slot = cache_find(r->c, r->first + expert);
		cache_slot view;

		r->demands[i] = (schedule_demand){
			.expert = expert, .tokens = members[i].tokens, .resident = slot != SLOT_NONE};
		if (slot == SLOT_NONE)
			continue;
		cache_get_slot(r->c, slot, &view);
		r->demands[i].refilled_next = view.in_ring;
		hold(r, expert, slot);
		hits++;
	}
	return hits;
}

/* With the CPU path on. */
static void judge(layer_run *r, uint32_t hits)
{
	const judge_call call = {.cache = r->c,
	                         .admit = r->engine->admit,
	                         .shares_always = r->engine->shares_always,
	                         .broad = r->broad,
	                         .first = r->first,
	                         .misses = r->n - hits};

	r->turn = judge_misses(&call, r->demands, r->n, &r->fills);
}

/* ------------------------------------------------------------------ steps of the cursor */

static ufm_status place(layer_run *r, uint32_t expert, uint32_t *slot)
{
	cache_placement placed;
	ufm_status status = judge_place(r->c, &r->turn, r->first + expert, &placed);

	if (status != UFM_OK)
		return status;
	cache_loaded(r->c, placed.slot, placed.generation);
	*slot = placed.slot;
	return UFM_OK;
}

static uint32_t start(layer_run *r, const launch_step *step)
{
	uint32_t slot = SLOT_NONE;

	for (uint32_t i = 0; i < step->n; i++) {
		uint32_t expert = r->demands[step->first + i].expert;

		if (place(r, expert, &slot) != UFM_OK)
			return i;
		hold(r, expert, slot);
	}
	return step->n;
}

static void launch(layer_run *r, const launch_step *step)
{
	for (uint32_t i = step->first; i < step->first + step->n; i++)
		cache_unpin(r->c, r->slots[r->demands[i].expert]);
}

static ufm_status run(layer_run *r, launches *at)
{
	for (;;) {
		launch_step next = launches_next(at);

		if (next.kind == LAUNCH_DONE)
			return UFM_OK;
		if (next.kind == LAUNCH_STUCK)
			return status_fail(UFM_EBUSY, "all slots are pinned");
		if (next.kind == LAUNCH_START) {
			launches_started(at, &next, start(r, &next));
		} else {
			launch(r, &next);
			launches_launched(at, &next);
		}
	}
}

/* ------------------------------------------------------------------ the CPU's share */

static void give_cpu(layer_run *r, uint32_t hits, launches *at)
{
	const event_cpu *cpu = r->engine->cpu;
	uint32_t share = cpu ? cpu->share(cpu->ctx, r->demands + hits, r->n - hits, r->fills) : 0;

	while (launches_taken(at) < share)
		launches_take(at);
}

static ufm_status admit_computed(layer_run *r, const launches *at)
{
	ufm_status status = UFM_OK;
	uint32_t slot;

	for (uint32_t i = at->streamed_end; i < r->n && status == UFM_OK; i++)
		status = place(r, r->demands[i].expert, &slot);
	return status;
}

ufm_status event_run_as_engine(cache *c, uint32_t layer, uint32_t first, const event_engine *engine,
                               const cache_member *members, uint32_t n, event_scratch *scratch,
                               uint32_t *hits)
{
	layer_run r = {.c = c,
	               .first = first,
	               .engine = engine,
	               .demands = scratch->demands,
	               .n = n,
	               .broad = cache_is_broad(c, members, n),
	               .turn = admit_freely(),
	               .slots = scratch->slots};
	schedule_plan plan;
	launches at;
	ufm_status status;

	cache_event_begin(c, layer, members, n);
	*hits = find_residents(&r, members);
	if (engine->admit)
		judge(&r, *hits);
	judge_free_one_early(c, r.demands, n, r.slots);
	plan = schedule_layer(r.demands, n, engine->together);
	at = launches_of(r.demands, plan, engine->together);
	give_cpu(&r, *hits, &at);
	status = run(&r, &at);
	if (status == UFM_OK && !r.broad)
		status = admit_computed(&r, &at);
	if (engine->admit)
		admit_end(engine->admit, &r.turn);
	cache_event_end(c, layer, members, n);
	if (engine->admit && !r.broad)
		cache_forget_declined(c, layer, members, n);
	return status;
}

/* SPDX-License-Identifier: MIT */
/* An event as an engine runs it: who is pinned when decides which ring slot is refilled. */
#include "base/status.h"
#include "replay/event.h"

typedef struct layer_run {
	cache *c;
	uint32_t first, together;
	schedule_demand *demands;
	uint32_t n;
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

/* When every slot is pinned, the first launch must free one for the first miss. */
static void free_one_early(layer_run *r)
{
	cache_stats stats;

	cache_get_stats(r->c, &stats);
	for (uint32_t i = 0; i < r->n && stats.pinned == stats.slots; i++) {
		if (r->demands[i].resident) {
			r->demands[i].refilled_next = true;
			return;
		}
	}
}

static ufm_status load(layer_run *r, uint32_t expert)
{
	cache_placement place;
	ufm_status status = cache_place(r->c, r->first + expert, &place);

	if (status != UFM_OK)
		return status;
	hold(r, expert, place.slot);
	cache_loaded(r->c, place.slot, place.generation);
	return UFM_OK;
}

/* Copies before the launches that come first, as far as slots are free for them. */
static void start_ahead(layer_run *r, uint32_t streamed, uint32_t *started)
{
	*started = *started > streamed ? *started : streamed;
	while (*started < r->n && *started - streamed < SCHEDULE_STARTS_AHEAD * r->together) {
		uint32_t left = r->n - *started, wanted = left < r->together ? left : r->together;
		uint32_t got = 0;

		while (got < wanted && load(r, r->demands[*started + got].expert) == UFM_OK)
			got++;
		*started += got;
		if (got < wanted)
			return;
	}
}

static void launch(layer_run *r, uint32_t at, uint32_t n)
{
	for (uint32_t i = at; i < at + n; i++)
		cache_unpin(r->c, r->slots[r->demands[i].expert]);
}

static bool resident_comes_first(const layer_run *r, uint32_t resident, uint32_t resident_end,
                                 uint32_t streamed)
{
	if (resident == resident_end)
		return false;
	return streamed == r->n || r->demands[resident].launch < r->demands[streamed].launch;
}

/* Those of one number start together, those of number 0 one by one while copies wait for them. */
static uint32_t launch_residents(layer_run *r, uint32_t at, uint32_t end)
{
	uint32_t n = 1;
	bool alone = r->demands[at].launch == 0 && end < r->n;

	while (!alone && at + n < end && r->demands[at + n].launch == r->demands[at].launch)
		n++;
	launch(r, at, n);
	return at + n;
}

static ufm_status launch_streamed(layer_run *r, uint32_t *at, uint32_t *started)
{
	uint32_t n = 1;

	if (*started == *at) {
		ufm_status status = load(r, r->demands[*at].expert);

		if (status != UFM_OK)
			return status;
		(*started)++;
	}
	while (*at + n < *started && r->demands[*at + n].launch == r->demands[*at].launch)
		n++;
	launch(r, *at, n);
	*at += n;
	return UFM_OK;
}

static ufm_status launch_all(layer_run *r, uint32_t resident_end)
{
	uint32_t resident = 0, streamed = resident_end, started = resident_end;
	ufm_status status = UFM_OK;

	while (status == UFM_OK && (resident < resident_end || streamed < r->n)) {
		start_ahead(r, streamed, &started);
		if (resident_comes_first(r, resident, resident_end, streamed))
			resident = launch_residents(r, resident, resident_end);
		else
			status = launch_streamed(r, &streamed, &started);
	}
	return status;
}

static uint32_t cpu_share(const layer_run *r, uint32_t hits, const event_cpu *cpu)
{
	cache_stats stats;

	cache_get_stats(r->c, &stats);
	return cpu->share(cpu->ctx, r->demands + hits, r->n - hits, stats.free);
}

ufm_status event_run_as_engine(cache *c, uint32_t layer, uint32_t first, uint32_t together,
                               const cache_member *members, uint32_t n, const event_cpu *cpu,
                               event_scratch *scratch, uint32_t *hits)
{
	layer_run r = {.c = c,
	               .first = first,
	               .together = together,
	               .demands = scratch->demands,
	               .n = n,
	               .slots = scratch->slots};
	ufm_status status;

	cache_event_begin(c, layer, members, n);
	*hits = find_residents(&r, members);
	free_one_early(&r);
	schedule_layer(r.demands, n, together);
	r.n -= cpu ? cpu_share(&r, *hits, cpu) : 0;
	status = launch_all(&r, *hits);
	cache_event_end(c, layer, members, n);
	return status;
}

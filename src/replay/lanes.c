/* SPDX-License-Identifier: MIT */
/* Sequences dealt out to lanes. */
#include "replay/lanes.h"

#include "base/alloc.h"
#include "base/status.h"

static uint32_t step_of(const lanes *l)
{
	return l->parts ? l->parts : 1;
}

static uint32_t sequences_of(const lanes *l)
{
	uint32_t sequences = l->trace->sequences;
	return sequences > l->part ? (sequences - l->part + step_of(l) - 1) / step_of(l) : 0;
}

/* The next sequence that has a token; false: there is none. */
static bool take_sequence(lanes *l, lane *out)
{
	while (!l->cut && l->next < l->trace->sequences) {
		const uint64_t *start = &l->trace->starts[l->next];

		l->next += step_of(l);
		*out = (lane){.at = start[0], .end = start[1]};
		if (out->at < out->end)
			return true;
	}
	return false;
}

/* Of one sequence, as ufm bench cuts a trace in decode: lane b begins b / lanes of the way into it. */
static void cut_tokens(lanes *l)
{
	uint64_t first = l->trace->starts[l->part], tokens = l->trace->starts[l->part + 1] - first;

	for (uint32_t b = 0; b < l->count; b++) {
		lane one = {.at = first + b * tokens / l->count,
		            .end = first + (b + 1) * tokens / l->count};

		if (one.at < one.end)
			l->lanes[l->active++] = one;
	}
}

static ufm_status deal(lanes *l)
{
	uint32_t sequences = sequences_of(l);

	if (sequences == 0)
		return status_fail(UFM_EINVAL, "part: %u, the trace has only %u sequences", l->part,
		                   l->trace->sequences);
	l->next = l->part;
	l->cut = l->count > 1 && sequences == 1;
	if (l->count > sequences && !l->cut)
		return status_fail(UFM_EINVAL,
		                   "batch: %u, expected at most the %u sequences (one sequence is cut)",
		                   l->count, sequences);
	if (l->cut)
		cut_tokens(l);
	while (!l->cut && l->active < l->count && take_sequence(l, &l->lanes[l->active]))
		l->active++;
	if (l->active == 0)
		return status_fail(UFM_EINVAL, "trace: found no token in the part that was asked for");
	return UFM_OK;
}

ufm_status lanes_open(const replay_config *config, lanes *out)
{
	const trace *t = config->trace;
	uint64_t most = (uint64_t)config->batch * t->ranks;
	lanes l = {.trace = t,
	           .part = config->part,
	           .parts = config->parts,
	           .count = config->batch,
	           .members_max = most < t->experts ? (uint32_t)most : t->experts};
	ufm_status status = UFM_ENOMEM;

	l.lanes = alloc_zeroed(l.count, sizeof *l.lanes);
	l.seen = alloc_zeroed(t->experts, sizeof *l.seen);
	l.member = alloc_zeroed(t->experts, sizeof *l.member);
	l.members = alloc_zeroed(l.members_max, sizeof *l.members);
	if (l.lanes && l.seen && l.member && l.members)
		status = deal(&l);
	if (status != UFM_OK)
		lanes_close(&l);
	*out = l;
	return status;
}

void lanes_close(lanes *l)
{
	alloc_free(l->lanes);
	alloc_free(l->seen);
	alloc_free(l->member);
	alloc_free(l->members);
	*l = (lanes){0};
}

bool lanes_step(lanes *l)
{
	uint32_t kept = 0;

	l->begins = !l->started;
	if (!l->started) {
		l->started = true;
		return true;
	}
	for (uint32_t b = 0; b < l->active; b++) {
		lane one = l->lanes[b];

		if (++one.at == one.end) {
			if (!take_sequence(l, &one))
				continue;
			l->begins = true;
		}
		l->lanes[kept++] = one;
	}
	l->active = kept;
	return kept > 0;
}

ufm_status lanes_count(const replay_config *config, uint64_t *counted)
{
	lanes l;
	uint64_t steps = 0, ahead = config->warmup_steps;
	ufm_status status = lanes_open(config, &l);

	if (status != UFM_OK)
		return status;
	while (lanes_step(&l))
		steps++;
	lanes_close(&l);
	steps = steps > ahead ? steps - ahead : 0;
	*counted = config->steps && config->steps < steps ? config->steps : steps;
	return UFM_OK;
}

/* The members of a token are pairwise different. */
static uint32_t members_of_one(lanes *l, uint32_t layer)
{
	const uint16_t *ids = trace_event(l->trace, l->lanes[0].at, layer);
	uint32_t n = 0;

	while (n < l->trace->ranks && ids[n] != TRACE_NONE) {
		l->members[n] = (cache_member){.expert = ids[n], .tokens = 1, .next_event = UFM_NEVER};
		n++;
	}
	return n;
}

uint32_t lanes_members(lanes *l, uint32_t layer)
{
	uint32_t n = 0;

	if (l->active == 1)
		return members_of_one(l, layer);
	l->event++;
	for (uint32_t b = 0; b < l->active; b++) {
		const uint16_t *ids = trace_event(l->trace, l->lanes[b].at, layer);

		for (uint32_t k = 0; k < l->trace->ranks && ids[k] != TRACE_NONE; k++) {
			uint16_t id = ids[k];

			if (l->seen[id] == l->event) {
				l->members[l->member[id]].tokens++;
				continue;
			}
			l->seen[id] = l->event;
			l->member[id] = n;
			l->members[n++] = (cache_member){.expert = id, .tokens = 1, .next_event = UFM_NEVER};
		}
	}
	return n;
}

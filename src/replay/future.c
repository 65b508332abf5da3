/* SPDX-License-Identifier: MIT */
/* One pass forwards: a member is told by the next one of its expert. */
#include "replay/future.h"

#include "base/alloc.h"
#include "base/status.h"
#include "replay/lanes.h"

#define NOBODY UINT64_MAX

typedef struct pass {
	lanes lanes;
	future *out;
	uint64_t *last; /* [layers, experts]; the last member that demanded it */
	uint64_t steps; /* what comes after them is no future */
} pass;

static void tell(pass *p, uint32_t layer, uint32_t n, uint32_t event)
{
	uint64_t *last = p->last + (uint64_t)layer * p->lanes.trace->experts;

	for (uint32_t i = 0; i < n; i++) {
		uint64_t *before = &last[p->lanes.members[i].expert];

		if (*before != NOBODY)
			p->out->next[*before] = event;
		*before = p->out->count;
		p->out->next[p->out->count++] = UINT32_MAX;
	}
}

static ufm_status run(pass *p)
{
	uint64_t event = 0;

	for (uint64_t step = 0; step < p->steps && lanes_step(&p->lanes); step++) {
		for (uint32_t layer = 0; layer < p->lanes.trace->layers; layer++, event++) {
			if (event >= UINT32_MAX)
				return status_fail(UFM_EINVAL, "trace: found more events than 2^32 - 1");
			tell(p, layer, lanes_members(&p->lanes, layer), (uint32_t)event);
		}
	}
	return UFM_OK;
}

ufm_status future_open(const replay_config *config, future *out)
{
	const trace *t = config->trace;
	uint64_t keys = (uint64_t)t->layers * t->experts;
	pass p = {.out = out,
	          .steps = config->steps ? config->warmup_steps + config->steps : UINT64_MAX};
	ufm_status status;

	*out = (future){0};
	status = lanes_open(config, &p.lanes);
	if (status != UFM_OK)
		return status;
	/* Unions have at most as many members as their sets. */
	out->next = alloc_zeroed(t->tokens * t->layers * t->ranks, sizeof *out->next);
	p.last = alloc_zeroed(keys, sizeof *p.last);
	status = out->next && p.last ? UFM_OK : UFM_ENOMEM;
	for (uint64_t key = 0; status == UFM_OK && key < keys; key++)
		p.last[key] = NOBODY;
	if (status == UFM_OK)
		status = run(&p);
	alloc_free(p.last);
	lanes_close(&p.lanes);
	if (status != UFM_OK)
		future_close(out);
	return status;
}

void future_close(future *f)
{
	alloc_free(f->next);
	*f = (future){0};
}

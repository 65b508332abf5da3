/* SPDX-License-Identifier: MIT */
/* Checks and opens what the points are made of. */
#include "plan/planner.h"

#include <inttypes.h>
#include <string.h>

#include "base/status.h"
#include "plan/routing.h"

#define TOKENS_MAX (1u << 20)
#define ROWS_MAX (1u << 30)
/* Made routing scores every expert for every token, once; its choices are walked for every budget. So many of either
 * are a few minutes. */
#define SCORES_MAX ((uint64_t)1 << 32)
#define CHOICES_MAX ((uint64_t)1 << 28)

static uint64_t routed_max(const planner_config *c)
{
	const bank_shape *bank = &c->shape->bank;
	uint64_t walked = CHOICES_MAX / ((uint64_t)bank->layers * c->shape->top_k);
	uint64_t scored = SCORES_MAX / ((uint64_t)bank->layers * bank->experts);
	return strncmp(c->workload, "sticky", 6) == 0 && scored < walked ? scored : walked;
}

static ufm_status check_routed(const planner_config *c, const char *dashes)
{
	uint32_t tokens = c->batch * c->prompt;
	uint64_t routed =
		(uint64_t)c->batch * point_decode_steps() + (uint64_t)tokens * point_prefill_steps(tokens);
	if (routed <= routed_max(c))
		return UFM_OK;
	return status_fail(UFM_EINVAL,
	                   "%sbatch and %sprompt: found %u and %u, which route %" PRIu64
	                   " tokens through %u layers of %u experts, expected at most %" PRIu64
	                   " tokens there",
	                   dashes, dashes, c->batch, c->prompt, routed, c->shape->bank.layers,
	                   c->shape->bank.experts, routed_max(c));
}

ufm_status planner_check(const planner_config *c, const char *dashes)
{
	uint64_t tokens = (uint64_t)c->batch * c->prompt;
	if (tokens * c->shape->top_k > ROWS_MAX || tokens > TOKENS_MAX)
		return status_fail(UFM_EINVAL,
		                   "%sbatch x %sprompt: found %" PRIu64 " tokens, expected at most %u",
		                   dashes, dashes, tokens, TOKENS_MAX);
	return check_routed(c, dashes);
}

void planner_begin(const planner_config *c, planner *p)
{
	const division_config config = {.shape = c->shape,
	                                .granularity_bytes = c->machine->granularity_bytes,
	                                .headroom_bytes = c->headroom_bytes,
	                                .tokens = c->batch * c->prompt,
	                                .max_tokens = c->max_tokens,
	                                .ring = c->ring,
	                                .given = c->given};
	memset(p, 0, sizeof *p);
	division_open(&config, &p->division);
	p->point = (point_config){.shape = c->shape,
	                          .machine = c->machine,
	                          .decode_routing = &p->decode_routing,
	                          .prefill_routing = &p->prefill_routing,
	                          .policy = c->policy,
	                          .division = &p->division,
	                          .batch = c->batch,
	                          .prompt = c->prompt,
	                          .given = c->given};
}

static ufm_status open_routing(const planner_config *c, uint32_t tokens, uint32_t steps,
                               bool side_by_side, trace *out)
{
	const plan_routing_config config = {.spec = c->workload,
	                                    .seed = c->seed,
	                                    .step_tokens = tokens,
	                                    .steps = steps,
	                                    .side_by_side = side_by_side,
	                                    .shape = c->shape};
	return plan_routing_open(&config, out);
}

/* Made prompts and answers are of different tokens; recorded ones are what there is. */
ufm_status planner_route(const planner_config *c, planner *p)
{
	uint32_t tokens = c->batch * c->prompt;
	ufm_status status = open_routing(c, c->batch, point_decode_steps(), true, &p->decode_routing);
	if (!status)
		status = open_routing(c, tokens, point_prefill_steps(tokens), false, &p->prefill_routing);
	if (status)
		planner_close(p);
	else
		p->repeats = p->decode_routing.tokens < (uint64_t)c->batch * point_decode_steps();
	return status;
}

void planner_close(planner *p)
{
	trace_close(&p->decode_routing);
	trace_close(&p->prefill_routing);
}

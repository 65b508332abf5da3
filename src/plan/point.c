/* SPDX-License-Identifier: MIT */
/* Prompts are prefilled, then decoded, on one engine: so decode begins with full slots. */
#include "plan/point.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "replay/limit.h"
#include "replay/replay.h"

/* Enough for the slots' tenants to be those of decode and no longer of the prefill, and for a mean. Prompts are alike:
 * of long ones, which demand nearly everything, one says as much. What the CPU computes while the slots are filled is
 * copied by and by, so that several go before. */
#define DECODE_WARMUP 300u
#define DECODE_STEPS 300u
#define LONG_PREFILL 2048u /* tokens */

static uint32_t prefill_counted(uint32_t tokens)
{
	return tokens > LONG_PREFILL ? 1 : 2;
}

static uint32_t prefill_warmup(uint32_t tokens)
{
	return tokens > LONG_PREFILL ? 3 : 6;
}

uint32_t point_decode_steps(void)
{
	return DECODE_WARMUP + DECODE_STEPS;
}

uint32_t point_prefill_steps(uint32_t tokens)
{
	return prefill_warmup(tokens) + prefill_counted(tokens);
}

/* ------------------------------------------------------------------ a way of running */

static void describe_way(const point_config *c, const walk_result *r, uint32_t tokens,
                         point_way *out)
{
	double steps = (double)r->steps, all = steps * tokens;
	double expert_bytes = (double)c->shape->bank.desc.expert_bytes;
	point_way way = {.known = true,
	                 .tokens_per_s = all / (r->sum.ns / 1e9),
	                 .hit_rate = r->uses ? (double)r->hits / (double)r->uses : 0,
	                 .device_bytes = (double)(r->uses - r->on_cpu) * expert_bytes / all,
	                 .link_bytes = (double)r->streamed * expert_bytes / all,
	                 .cpu_bytes = (double)r->on_cpu * expert_bytes / all,
	                 .step_ns = r->sum.ns / steps,
	                 .link_ns = r->sum.link_ns / steps,
	                 .bound = timing_binds(&r->sum)};
	for (uint32_t i = 0; i < TIMING_BOUNDS; i++)
		way.parts_ns[i] = r->sum.parts_ns[i] / steps;
	*out = way;
}

static ufm_status run_ways(const point_config *c, plan_point *p, bool cpu)
{
	walk_phase phases[2] = {{.routing = c->prefill_routing,
	                         .tokens = c->batch * c->prompt,
	                         .warmup = prefill_warmup(c->batch * c->prompt),
	                         .steps = prefill_counted(c->batch * c->prompt)},
	                        {.routing = c->decode_routing,
	                         .tokens = c->batch,
	                         .side_by_side = true,
	                         .warmup = DECODE_WARMUP,
	                         .steps = DECODE_STEPS}};
	predict_config predict = {.shape = c->shape,
	                          .machine = c->machine,
	                          .policy = c->policy,
	                          .division = c->division,
	                          .budget = &p->budget,
	                          .given = c->given,
	                          .cpu = cpu};
	walk_result results[2];
	ufm_status status = predict_run(&predict, phases, 2, results);
	if (status)
		return status;
	describe_way(c, &results[0], phases[0].tokens, cpu ? &p->prefill_cpu : &p->prefill);
	describe_way(c, &results[1], phases[1].tokens, cpu ? &p->decode_cpu : &p->decode);
	return UFM_OK;
}

/* ------------------------------------------------------------------ its bound */

/* Where the trace has fewer layers or experts than the model, or fewer sequences than the batch, replay knows none. */
static bool has_bound(const point_config *c)
{
	const trace *t = c->decode_routing;
	const bank_shape *bank = &c->shape->bank;
	return t->layers == bank->layers && t->experts == bank->experts && t->tokens >= c->batch &&
	       (t->sequences == 1 || t->sequences >= c->batch);
}

/* The bound keeps what it likes of the slots, ring included. */
static ufm_status replay_slots(const point_config *c, const ufm_policy *policy, uint32_t slots,
                               replay_count *out)
{
	replay_config replay = {.trace = c->decode_routing,
	                        .policy = policy,
	                        .scope = REPLAY_POOL,
	                        .slots = slots,
	                        .batch = c->batch,
	                        .warmup_steps = DECODE_WARMUP,
	                        .steps = DECODE_STEPS};
	uint64_t there = c->decode_routing->tokens / c->batch; /* replay reads a trace once */
	if (there < DECODE_WARMUP + DECODE_STEPS)
		replay.warmup_steps = there / 4;
	return replay_run(&replay, out, NULL);
}

/* A budget for all of them has none that misses. */
static bool all_fit(const point_config *c, const plan_point *p)
{
	return p->budget.slots == c->shape->bank.layers * c->shape->bank.experts;
}

/* Every expert that is demanded is read on the device and multiplied once, whoever computes it in the end. */
static double resident_ms(const point_config *c, double uses_bytes)
{
	const timing_rates *rates = &c->machine->rates;
	double operations =
		2.0 * c->batch * c->shape->top_k * c->shape->bank.layers * shape_parameters(c->shape);
	double compute_ns = rates->peak_gflops > 0 ? operations / rates->peak_gflops : 0;
	return fmax(uses_bytes / rates->hbm_gbps, compute_ns) / 1e6;
}

static double limit_ns_of(const point_config *c, const plan_point *p)
{
	const timing_rates *rates = &c->machine->rates;
	const point_way *way = point_decode(p);
	double uses_bytes = c->batch * (way->device_bytes + way->cpu_bytes);
	double misses = all_fit(c, p) ? 0 : 1 - p->bound_hit_rate;
	double gbps = limit_gbps(rates->link_gbps, rates->sum_link_gbps, rates->sum_cpu_gbps);
	return 1e6 * limit_ms(resident_ms(c, uses_bytes), misses, uses_bytes, gbps);
}

/* Replay begins with empty slots, decode with what prefill left: a cache that began full hits no more than one that
 * began empty and was given every first use, which even one of all experts misses. */
ufm_status point_bound(const point_config *c, plan_point *p)
{
	uint32_t keys = c->shape->bank.layers * c->shape->bank.experts;
	const replay_config online = {
		.trace = c->decode_routing, .policy = c->policy, .ring = p->budget.ring};
	replay_count bound, all;
	if (p->refused || !has_bound(c))
		return UFM_OK;
	ufm_status status = replay_slots(c, replay_bound_of(&online), p->budget.slots, &bound);
	if (!status)
		status = replay_slots(c, c->policy, keys, &all);
	if (status || !bound.uses)
		return status;
	double hits = (double)bound.hits + (double)(all.uses - all.hits);
	p->bound_hit_rate = fmin(1, hits / (double)bound.uses);
	p->limit_ns = limit_ns_of(c, p);
	return UFM_OK;
}

/* ------------------------------------------------------------------ a point */

static ufm_status refuse(plan_point *p)
{
	p->refused = true;
	snprintf(p->why, sizeof p->why, "%s", ufm_last_error());
	return UFM_OK;
}

ufm_status point_open(const point_config *c, uint64_t target_bytes, plan_point *out)
{
	plan_point p = {.target_bytes = target_bytes, .bound_hit_rate = -1};
	ufm_status status = division_of(c->division, target_bytes, &p.budget);
	if (status == UFM_EBUDGET)
		status = refuse(&p);
	else if (!status)
		status = run_ways(c, &p, false);
	if (!status && !p.refused && !all_fit(c, &p) && predict_cpu_pays(c->machine))
		status = run_ways(c, &p, true);
	if (!status)
		*out = p;
	return status;
}

/* The engine measures whole calls both ways, and stays with the quicker. */
static const point_way *quicker(const point_way *link, const point_way *cpu)
{
	return cpu->known && cpu->tokens_per_s > link->tokens_per_s ? cpu : link;
}

const point_way *point_decode(const plan_point *p)
{
	return quicker(&p->decode, &p->decode_cpu);
}

const point_way *point_prefill(const plan_point *p)
{
	return quicker(&p->prefill, &p->prefill_cpu);
}

double point_limit(const point_config *c, const plan_point *p)
{
	return !p->refused && p->limit_ns > 0 ? 1e9 * c->batch / p->limit_ns : 0;
}

const char *point_way_name(const plan_point *p, const point_way *way)
{
	return way == &p->decode_cpu || way == &p->prefill_cpu ? "cpu+link" : "link";
}

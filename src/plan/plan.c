/* SPDX-License-Identifier: MIT */
/* The public call: configurations checked and made ours, points made theirs. */
#include <assert.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <ufm/plan.h>

#include "bank/bank.h"
#include "base/alloc.h"
#include "base/status.h"
#include "device/registry.h"
#include "plan/ladder.h"
#include "plan/planner.h"
#include "plan/probed.h"
#include "plan/routing.h"
#include "policy/registry.h"

#define BATCH_MAX 4096u
#define PROMPT_MAX 65536u
#define MAX_TOKENS_MAX (1u << 24)
#define RING_MAX 65536u
#define RATE_MAX 1e9
#define BYTES_MAX (1ull << 60) /* far above any machine and far below a wrapped sum */
#define THREADS_MAX 4096u
/* Of a point: with less it could not even be asked. */
#define POINT_BYTES_MIN (offsetof(ufm_plan_point, status))

static_assert(sizeof((ufm_plan_model *)0)->notes == sizeof((plan_shape *)0)->notes, "as long");
static_assert(sizeof((ufm_plan_point *)0)->why == sizeof((plan_point *)0)->why, "as long");

/* ---- the model */

ufm_status ufm_plan_read_model(const char *path, const char *prefix, ufm_plan_model *model)
{
	ufm_plan_model found = {.layers = 0};
	plan_shape s;
	ufm_status status = status_need(path, "path", "a model's file or folder");
	if (!status)
		status = status_need(model, "model", "a ufm_plan_model");
	if (!status)
		status = status_check_info(model, "ufm_plan_model");
	if (!status)
		status = status_read_config(&found, sizeof found, model, "ufm_plan_model");
	if (!status)
		status = status_check_info(found.desc, "desc");
	if (!status)
		status = shape_of_path(path, prefix, &s);
	if (status)
		return status;
	found.layers = s.bank.layers;
	found.experts = s.bank.experts;
	found.top_k = s.top_k;
	memcpy(found.notes, s.notes, sizeof s.notes);
	(void)status_write_info(found.desc, &s.bank.desc, sizeof s.bank.desc, "desc");
	return status_write_info(model, &found, sizeof found, "ufm_plan_model");
}

static ufm_status read_model(const ufm_plan_model *given, plan_shape *out)
{
	ufm_plan_model m = {0};
	plan_shape s = {.name = "the given shape"};
	ufm_status status = status_need(given, "model", "a ufm_plan_model");
	if (!status)
		status = status_read_config(&m, sizeof m, given, "ufm_plan_model");
	if (!status)
		status = bank_read_desc(m.desc, &s.bank.desc);
	s.bank.layers = m.layers;
	s.bank.experts = m.experts;
	s.bank.bank_bytes = (uint64_t)m.layers * m.experts * s.bank.desc.expert_bytes;
	s.top_k = m.top_k;
	if (!status)
		status = shape_check(&s);
	if (!status && s.bank.desc.block_bytes > BYTES_MAX / m.layers / m.experts)
		status = status_fail(UFM_EINVAL, "desc: %llu bytes an expert, expected at most 2^60 in all",
		                     (unsigned long long)s.bank.desc.block_bytes);
	if (!status)
		*out = s;
	return status;
}

/* ---- the machine */

static ufm_status check_rate(const char *name, double gbps, bool needed)
{
	if (gbps <= RATE_MAX && (needed ? gbps > 0 : gbps >= 0))
		return UFM_OK;
	return status_fail(UFM_EINVAL, "%s: %g, expected %s 0 and at most %g", name, gbps,
	                   needed ? "more than" : "at least", RATE_MAX);
}

static ufm_status check_rates(const ufm_plan_machine *m)
{
	const struct {
		const char *name;
		double gbps;
		bool needed;
	} rates[] = {{"link_gbps", m->link_gbps, true},
	             {"hbm_gbps", m->hbm_gbps, true},
	             {"dram_gbps", m->dram_gbps, false},
	             {"sum_link_gbps", m->sum_link_gbps, false},
	             {"sum_cpu_gbps", m->sum_cpu_gbps, m->sum_link_gbps > 0},
	             {"gflops", m->gflops, false}};
	ufm_status status = UFM_OK;
	for (size_t i = 0; i < sizeof rates / sizeof rates[0] && !status; i++)
		status = check_rate(rates[i].name, rates[i].gbps, rates[i].needed);
	if (!status && m->cpu_threads > THREADS_MAX)
		status = status_fail(UFM_EINVAL, "cpu_threads: %u, expected at most %u", m->cpu_threads,
		                     THREADS_MAX);
	return status;
}

static ufm_status read_machine(const ufm_plan_machine *given, plan_machine *out)
{
	ufm_plan_machine g = {0};
	ufm_status status = status_need(given, "machine", "a ufm_plan_machine");
	if (!status)
		status = status_read_config(&g, sizeof g, given, "ufm_plan_machine");
	if (!status)
		status = check_rates(&g);
	if (status)
		return status;
	plan_machine m = {
		.rates = {.link_gbps = g.link_gbps,
	              .hbm_gbps = g.hbm_gbps,
	              .dram_gbps = g.dram_gbps,
	              .sum_link_gbps = g.sum_link_gbps,
	              .sum_cpu_gbps = g.sum_cpu_gbps,
	              .peak_gflops = g.gflops,
	              .cpu_threads = g.cpu_threads ? g.cpu_threads : MACHINE_CORES_ASSUMED - 1}};
	snprintf(m.backend, sizeof m.backend, "%s", g.backend ? g.backend : "cuda");
	status = machine_finish(&m);
	if (!status)
		*out = m;
	return status;
}

static ufm_status probe_machine_for(const plan_shape *s, const ufm_backend *b,
                                    probe_machine_found *out)
{
	const probe_machine_config config = {
		.desc = &s->bank.desc, .top_k = s->top_k, .backend = b->name};
	plan_machine known = {.backend = ""};
	snprintf(known.backend, sizeof known.backend, "%s", b->name);
	ufm_status status = machine_finish(&known);
	return status ? status : probe_machine(&config, out);
}

ufm_status ufm_plan_probe_machine(const ufm_plan_model *model, const char *backend,
                                  ufm_plan_machine *machine)
{
	plan_shape s;
	const ufm_backend *b;
	probe_machine_found found;
	ufm_status status = status_need(machine, "machine", "a ufm_plan_machine");
	if (!status)
		status = status_check_info(machine, "ufm_plan_machine");
	if (!status)
		status = read_model(model, &s);
	if (!status)
		status = registry_find(backend ? backend : "auto", &b);
	if (!status)
		status = probe_machine_for(&s, b, &found);
	if (status)
		return status;
	const ufm_plan_machine m = {.backend = b->name,
	                            .link_gbps = found.rates.link_gbps,
	                            .hbm_gbps = found.rates.hbm_gbps,
	                            .dram_gbps = found.rates.dram_gbps,
	                            .sum_link_gbps = found.rates.sum_link_gbps,
	                            .sum_cpu_gbps = found.rates.sum_cpu_gbps,
	                            .gflops = found.rates.gflops,
	                            .cpu_threads = found.rates.threads};
	return status_write_info(machine, &m, sizeof m, "ufm_plan_machine");
}

/* ---- the rest of a configuration */

static ufm_status check_most(const char *name, uint32_t found, uint32_t most)
{
	return found <= most
	           ? UFM_OK
	           : status_fail(UFM_EINVAL, "%s: %u, expected at most %u", name, found, most);
}

static ufm_status check_numbers(const ufm_plan_config *c)
{
	ufm_status status = check_most("batch", c->batch, BATCH_MAX);
	if (!status)
		status = check_most("prompt", c->prompt, PROMPT_MAX);
	if (!status)
		status = check_most("max_tokens", c->max_tokens, MAX_TOKENS_MAX);
	if (!status && c->headroom_bytes > BYTES_MAX)
		status = status_fail(UFM_EINVAL, "headroom_bytes: %llu, expected at most 2^60",
		                     (unsigned long long)c->headroom_bytes);
	return status ? status : check_most("ring_slots", c->ring_slots, RING_MAX);
}

static ufm_status read_policy(const char *name, const ufm_policy **out)
{
	const ufm_policy *policy = policy_find(name);
	if (!policy || policy->flags & UFM_POLICY_OFFLINE)
		return status_fail(UFM_EINVAL, "policy: \"%s\", expected one of %s", name, POLICY_NAMES);
	*out = policy;
	return UFM_OK;
}

/* A plan's configuration and what it points to, ours. */
typedef struct reading {
	plan_shape shape;
	plan_machine machine;
	planner_config planner;
	ladder_watch watch;
} reading;

static ufm_status read_all(const ufm_plan_config *given, reading *r)
{
	ufm_plan_config c = {.batch = 0};
	ufm_status status = status_read_config(&c, sizeof c, given, "ufm_plan_config");
	if (!status)
		status = read_model(c.model, &r->shape);
	if (!status)
		status = read_machine(c.machine, &r->machine);
	if (!status)
		status = check_numbers(&c);
	if (!status)
		status = read_policy(c.policy, &r->planner.policy);
	r->watch = (ladder_watch){c.progress, c.progress_ctx, c.stop, c.stop_ctx};
	r->planner.shape = &r->shape;
	r->planner.machine = &r->machine;
	r->planner.workload = c.workload ? c.workload : "sticky";
	r->planner.seed = c.seed ? c.seed : 1;
	r->planner.headroom_bytes = c.headroom_bytes;
	r->planner.batch = c.batch ? c.batch : 1;
	r->planner.prompt = c.prompt ? c.prompt : 512;
	r->planner.ring = c.ring_slots;
	r->planner.max_tokens = c.max_tokens;
	r->planner.given = c.routing_by_caller != 0;
	if (!status && plan_routing_check(r->planner.workload))
		status = status_prefix(UFM_EINVAL, "workload");
	return status ? status : planner_check(&r->planner, "");
}

/* ---- points */

static ufm_plan_phase phase_of(const point_way *way, bool cpu)
{
	return (ufm_plan_phase){.tokens_per_s = way->tokens_per_s,
	                        .hit_rate = way->hit_rate,
	                        .device_bytes = way->device_bytes,
	                        .link_bytes = way->link_bytes,
	                        .cpu_bytes = way->cpu_bytes,
	                        .step_ns = way->step_ns,
	                        .link_busy_ns = fmin(way->link_ns, way->step_ns),
	                        .bound = UFM_PLAN_BY_HBM + (way->bound - TIMING_HBM),
	                        .with_cpu = cpu};
}

static void describe_point(const planner *p, const plan_point *found, ufm_plan_point *out)
{
	out->vram_target_bytes = found->target_bytes;
	out->host_bytes = division_host_bytes(&p->division);
	if (found->refused) {
		out->status = UFM_EBUDGET;
		memcpy(out->why, found->why, sizeof out->why);
		return;
	}
	out->workspace_bytes = found->budget.workspace_bytes + found->budget.arena_bytes;
	out->slots = found->budget.slots;
	out->ring_slots = found->budget.ring;
	out->decode = phase_of(point_decode(found), point_decode(found) == &found->decode_cpu);
	out->prefill = phase_of(point_prefill(found), point_prefill(found) == &found->prefill_cpu);
	out->bound_hit_rate = found->bound_hit_rate;
	out->limit_tokens_per_s = point_limit(&p->point, found);
}

/* The caller's points lie as far apart as its struct is large. */
static void *point_at(ufm_plan_point *points, uint32_t index)
{
	return (char *)points + (size_t)index * points->struct_size;
}

static void write_point(const planner *p, const plan_point *found, ufm_plan_point *out)
{
	ufm_plan_point made = {.status = UFM_OK};
	describe_point(p, found, &made);
	(void)status_write_info(out, &made, sizeof made, "ufm_plan_point"); /* it was checked */
}

/* What stands in a point before it is planned. */
static ufm_status read_points(ufm_plan_point *points, uint32_t count)
{
	ufm_status status = UFM_OK;
	for (uint32_t i = 0; i < count && !status; i++) {
		ufm_plan_point *point = point_at(points, i);
		status = status_check_info(point, "ufm_plan_point");
		if (!status && point->struct_size != points->struct_size)
			status = status_fail(
				UFM_EINVAL, "ufm_plan_point: struct_size is %zu, expected %zu as the first one's",
				point->struct_size, points->struct_size);
		if (!status && point->struct_size < POINT_BYTES_MIN)
			status =
				status_fail(UFM_EINVAL, "ufm_plan_point: struct_size is %zu, expected at least %zu",
			                point->struct_size, POINT_BYTES_MIN);
	}
	return status;
}

static uint64_t target_of(const planner *p, const ufm_plan_point *point)
{
	uint32_t keys = p->point.shape->bank.layers * p->point.shape->bank.experts;
	uint64_t asked = point->vram_target_bytes;
	return asked ? asked : division_target(&p->division, keys);
}

static ufm_status plan_points(const planner *p, const ladder_watch *watch, ufm_plan_point *points,
                              uint32_t count)
{
	uint64_t *targets = alloc_zeroed(count, sizeof *targets);
	plan_point *found = alloc_zeroed(count, sizeof *found);
	ufm_status status = targets && found ? UFM_OK : UFM_ENOMEM;
	for (uint32_t i = 0; i < count && !status; i++)
		targets[i] = target_of(p, point_at(points, i));
	if (!status)
		status = ladder_points(&p->point, targets, count, watch, found);
	for (uint32_t i = 0; i < count && !status; i++)
		write_point(p, &found[i], point_at(points, i));
	alloc_free(found);
	alloc_free(targets);
	return status;
}

ufm_status ufm_plan(const ufm_plan_config *config, ufm_plan_point *points, uint32_t count)
{
	reading r = {.planner = {.batch = 0}};
	planner p;
	ufm_status status = status_need(config, "config", "a ufm_plan_config");
	if (!status && count)
		status = status_need(points, "points", "ufm_plan_points");
	if (!status)
		status = read_all(config, &r);
	if (!status)
		status = read_points(points, count);
	if (status || count == 0)
		return status;
	planner_begin(&r.planner, &p);
	status = planner_route(&r.planner, &p);
	if (!status)
		status = plan_points(&p, &r.watch, points, count);
	planner_close(&p);
	return status;
}

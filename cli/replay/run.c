/* SPDX-License-Identifier: MIT */
/* Runs every policy and what it is put beside, on all cores, and makes rows of them. */
#include "cli/replay/run.h"

#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/pool.h"
#include "base/status.h"
#include "cli/interrupt.h"
#include "cli/json_put.h"
#include "cli/message.h"
#include "cli/replay/cost.h"
#include "cli/replay/row.h"
#include "policy/registry.h"
#include "replay/future.h"
#include "replay/lanes.h"

/* Those asked for, LRU and both bounds. */
#define JOBS_MAX (REPLAY_LIST_MAX + 3)

typedef struct job {
	replay_config config;
	replay_result result;
	ufm_status status;
	char error[256];
} job;

/* One scope, batch and capacity. */
typedef struct group {
	const replay_options *options;
	const char *name;
	replay_config config; /* without policy */
	uint64_t steps;       /* that are counted */
	job jobs[JOBS_MAX];
	uint32_t count;
} group;

replay_config replay_config_of(const replay_options *o, const trace *t, replay_scope scope,
                               uint32_t batch, uint32_t slots, const ufm_policy *policy)
{
	return (replay_config){.trace = t,
	                       .policy = policy,
	                       .scope = scope,
	                       .slots = slots,
	                       .ring = o->ring,
	                       .together = o->together,
	                       .admit = replay_admission(o->admission),
	                       .batch = batch,
	                       .cold = o->cold,
	                       .part = o->part == 2,
	                       .parts = o->part ? 2 : 0,
	                       .warmup_steps = o->warmup,
	                       .steps = o->steps,
	                       .seed = o->seed};
}

/* Of this thread: what else runs on the machine does not count. */
static uint64_t thread_time_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void run_job(void *ctx, uint32_t item, uint32_t worker)
{
	job *j = &((group *)ctx)->jobs[item];
	cost_sums sums = {.each = j->config.cost, .experts = j->config.trace->experts};
	replay_observer observer = cost_observer(&sums);
	uint64_t start_ns = thread_time_ns();
	if (sums.each)
		j->config.observer = &observer;
	(void)worker;
	j->status = replay_run(&j->config, &j->result.total, j->result.layers);
	j->result.spent_ns = thread_time_ns() - start_ns;
	j->config.observer = NULL;
	j->result.cost_used = sums.used;
	j->result.cost_saved = sums.saved;
	if (j->status)
		snprintf(j->error, sizeof j->error, "%s", ufm_last_error());
}

/* ---- the jobs of a group */

static job *find_job(group *g, const ufm_policy *policy)
{
	for (uint32_t i = 0; i < g->count; i++)
		if (g->jobs[i].result.policy == policy)
			return &g->jobs[i];
	return NULL;
}

static ufm_status add_job(group *g, const ufm_policy *policy)
{
	if (find_job(g, policy))
		return UFM_OK;
	job *j = &g->jobs[g->count++];
	*j = (job){.config = g->config};
	j->config.policy = j->result.policy = policy;
	/* A bound knows no ring and no layer's floor: it has all slots. */
	if (policy->flags & UFM_POLICY_OFFLINE) {
		j->config.ring = 0;
		if (g->config.scope == REPLAY_AUTO)
			j->config.scope = REPLAY_POOL;
	}
	j->result.layers = alloc_zeroed(g->config.trace->layers, sizeof *j->result.layers);
	return j->result.layers ? UFM_OK : UFM_ENOMEM;
}

static const ufm_policy *bound_of(const group *g, const ufm_policy *policy)
{
	replay_config config = g->config;
	config.policy = policy;
	return replay_bound_of(&config);
}

static ufm_status list_jobs(group *g, const ufm_policy *const *policies, uint32_t count)
{
	ufm_status status = add_job(g, &policy_lru);
	if (!status)
		status = add_job(g, &policy_min);
	if (!status)
		status = add_job(g, &policy_min_bypass);
	for (uint32_t i = 0; i < count && !status; i++) {
		status = add_job(g, policies[i]);
		if (!status)
			status = add_job(g, bound_of(g, policies[i]));
	}
	return status;
}

static ufm_status run_jobs(group *g)
{
	limits now;
	pool *workers;
	limits_read(&now);
	ufm_status status = pool_open(now.cores < g->count ? now.cores : g->count, &workers);
	if (status)
		return status;
	pool_run(workers, g->count, run_job, g);
	pool_close(workers);
	for (uint32_t i = 0; i < g->count; i++)
		if (g->jobs[i].status)
			return status_fail(g->jobs[i].status, "%s: %s", g->name, g->jobs[i].error);
	return UFM_OK;
}

static void add_rows(group *g, const ufm_policy *const *policies, uint32_t count, json_t *rows)
{
	for (uint32_t i = 0; i < count; i++) {
		const job *own = find_job(g, policies[i]);
		replay_row row = {.trace_name = g->name,
		                  .config = &own->config,
		                  .result = &own->result,
		                  .bound = &find_job(g, bound_of(g, policies[i]))->result,
		                  .lru = &find_job(g, &policy_lru)->result,
		                  .min = &find_job(g, &policy_min)->result,
		                  .bypass = &find_job(g, &policy_min_bypass)->result,
		                  .steps = g->steps,
		                  .expert_bytes = g->options->expert_bytes,
		                  .read_gbps = g->options->read_gbps};
		json_t *json = replay_row_json(&row);
		interrupt_guard();
		json_add(rows, json);
		interrupt_unguard();
	}
}

static ufm_status run_group(group *g, const ufm_policy *const *policies, uint32_t count,
                            json_t *rows)
{
	g->count = 0;
	ufm_status status = list_jobs(g, policies, count);
	if (!status)
		status = run_jobs(g);
	if (!status)
		add_rows(g, policies, count, rows);
	for (uint32_t i = 0; i < g->count; i++)
		alloc_free(g->jobs[i].result.layers);
	return status;
}

/* ---- scopes, batches, capacities */

static ufm_status run_capacities(group *g, json_t *rows)
{
	const replay_options *o = g->options;
	const ufm_policy *policies[REPLAY_LIST_MAX];
	replay_capacity capacities[REPLAY_LIST_MAX];
	uint32_t policy_count = replay_policies(o->policy, policies);
	uint32_t count = replay_capacities(o->capacity, capacities);
	ufm_status status = UFM_OK;
	for (uint32_t i = 0; i < count && !status; i++) {
		status = replay_slots(&capacities[i], g->config.trace, g->config.scope, o->expert_bytes,
		                      &g->config.slots);
		message_progress("%s: %s, batch %u, capacity %u", g->name,
		                 replay_scope_name(g->config.scope), g->config.batch, g->config.slots);
		if (!status)
			status = interrupt_check();
		if (!status)
			status = run_group(g, policies, policy_count, rows);
	}
	message_progress_clear();
	return status;
}

static ufm_status run_batch(group *g, json_t *rows)
{
	const replay_options *o = g->options;
	future coming;
	/* The same for every scope and capacity, and as large as the trace. */
	ufm_status status = future_open(&g->config, &coming);
	if (!status)
		status = lanes_count(&g->config, &g->steps);
	if (status)
		return status_prefix(status, "%s", g->name);
	g->config.future = &coming;
	for (uint32_t i = 0; i < o->scopes.count && !status; i++) {
		g->config.scope = (replay_scope)o->scopes.items[i];
		status = run_capacities(g, rows);
	}
	g->config.future = NULL;
	future_close(&coming);
	return status;
}

ufm_status replay_rows(const replay_options *options, const char *name, const trace *t,
                       json_t *rows)
{
	static group g;
	replay_cost cost;
	ufm_status status = replay_cost_read(options->cost, t, &cost);
	g.options = options;
	g.name = name;
	for (uint32_t i = 0; i < options->batches.count && !status; i++) {
		g.config = replay_config_of(options, t, REPLAY_LAYER, options->batches.items[i], 1, NULL);
		g.config.cost = cost.each;
		status = run_batch(&g, rows);
	}
	replay_cost_free(&cost);
	return status;
}

/* SPDX-License-Identifier: MIT */
/* The routing of a run in the order in which it was read, and what the offline optimum misses of it. */
#include "replay/limit.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "policy/registry.h"
#include "replay/replay.h"

#define NS_A_MS 1e6

/* Token i of all steps is sequence i: stepped side by side they give the steps of the run, tokens in their order. */
static void lay_out(const limit_run *run, trace *out)
{
	uint64_t steps = run->warmup + run->steps;
	size_t token_bytes = (size_t)out->layers * out->ranks * sizeof *out->ids;
	for (uint32_t i = 0; i < run->tokens; i++) {
		out->starts[i] = i * steps;
		for (uint64_t step = 0; step < steps; step++) {
			uint64_t token =
				trace_item(step * run->tokens + i, run->sequences, run->routing->tokens);
			memcpy(out->ids + (i * steps + step) * out->layers * out->ranks,
			       trace_event(run->routing, token, 0), token_bytes);
		}
	}
	out->starts[run->tokens] = out->tokens;
}

static ufm_status open_routing(const limit_run *run, trace *out)
{
	trace t = {.tokens = run->tokens * (run->warmup + run->steps),
	           .layers = run->layers,
	           .ranks = run->routing->ranks,
	           .experts = run->experts,
	           .sequences = run->tokens};
	t.ids = alloc_zeroed(t.tokens * t.layers * t.ranks, sizeof *t.ids);
	t.starts = alloc_zeroed((size_t)t.sequences + 1, sizeof *t.starts);
	if (!t.ids || !t.starts) {
		trace_close(&t);
		return UFM_ENOMEM;
	}
	lay_out(run, &t);
	*out = t;
	return UFM_OK;
}

ufm_status limit_reads(const limit_run *run, double *reads)
{
	trace routing;
	replay_count count = {0};
	ufm_status status = open_routing(run, &routing);
	if (status)
		return status;
	const replay_config replay = {.trace = &routing,
	                              .policy = &policy_min_bypass,
	                              .scope = REPLAY_POOL,
	                              .slots = run->slots,
	                              .batch = run->tokens,
	                              .warmup_steps = run->warmup,
	                              .steps = run->steps};
	status = replay_run(&replay, &count, NULL);
	trace_close(&routing);
	if (!status)
		*reads = (double)(count.uses - count.hits) / (double)run->steps;
	return status;
}

double limit_gbps(double link_gbps, double sum_link_gbps, double sum_cpu_gbps)
{
	return fmax(link_gbps, sum_link_gbps + sum_cpu_gbps);
}

double limit_ms(double resident_ms, double reads, double expert_bytes, double gbps)
{
	return fmax(resident_ms, reads * expert_bytes / gbps / NS_A_MS);
}

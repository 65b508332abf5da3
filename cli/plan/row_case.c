/* SPDX-License-Identifier: MIT */
/* Nothing of what a row measured is used but its probes. */
#include "cli/plan/row_case.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/median.h"
#include "base/status.h"
#include "cli/json_field.h"
#include "cli/plan/routing.h"
#include "policy/registry.h"

/* Uses that a prediction counts at least, where its routing is drawn and not known: so that what it says is not chance
 * (a hit rate near one half then varies by 0.005). */
#define DRAWN_USES 10000u
#define DRAWS_MAX 16u

/* ------------------------------------------------------------------ from a row */

static uint32_t whole(const json_t *row, const char *name)
{
	return (uint32_t)field_whole(row, name);
}

static ufm_status read_shape(const json_t *row, plan_shape *out)
{
	static const char *const kinds[] = {"mlp", "mlp-bias", "gated"};
	static const ufm_expert_kind values[] = {UFM_EXPERT_MLP, UFM_EXPERT_MLP_BIAS, UFM_EXPERT_GATED};
	shape_given given = {.layers = whole(row, "layers"),
	                     .experts = whole(row, "num_experts"),
	                     .top_k = whole(row, "top_k"),
	                     .d_model = whole(row, "d_model"),
	                     .d_hidden = whole(row, "d_hidden"),
	                     .dtype =
	                         strcmp(field_string(row, "dtype"), "f32") == 0 ? UFM_F32 : UFM_BF16};
	for (uint32_t i = 0; i < 3; i++)
		if (strcmp(kinds[i], field_string(row, "kind")) == 0)
			given.kind = values[i];
	if (!given.kind || !given.layers || !given.top_k || !given.experts)
		return status_fail(UFM_EFORMAT,
		                   "no kind, layers, top_k or num_experts, expected a row of ufm bench");
	ufm_status status = shape_of_given(&given, out);
	if (!status)
		out->scoring = strcmp(field_string(row, "scoring"), "sigmoid") == 0 ? UFM_SCORE_SIGMOID
		                                                                    : UFM_SCORE_SOFTMAX;
	return status;
}

/* A trace may lie elsewhere than it did for the run. */
static void read_workload(const plan_config *c, const json_t *row, row_case *out)
{
	const char *text = field_string(row, "workload");
	out->known = plan_routing_is_known(text);
	/* Rows without the field had ids ahead wherever they were known. */
	out->given =
		field_known(row, "ids") ? strcmp(field_string(row, "ids"), "ahead") == 0 : out->known;
	if (strncmp(text, "trace:", 6) == 0 && strncmp(c->workload, "trace:", 6) == 0)
		text = c->workload;
	snprintf(out->workload, sizeof out->workload, "%s", text);
}

/* Builds whose rows do not say what was asked for used the CPU wherever it was on. */
static void read_cpu(const json_t *row, row_case *out)
{
	out->cpu = field_whole(row, "cpu_threads") > 0;
	if (!out->cpu)
		return;
	out->machine.rates.cpu_threads = whole(row, "cpu_threads");
	out->chooses = strcmp(field_string(row, "cpu_assist_asked"), "auto") == 0 &&
	               !field_known(row, "cpu_share_percent");
}

ufm_status row_case_read(const plan_config *c, const json_t *row, row_case *out)
{
	memset(out, 0, sizeof *out);
	out->row = row;
	ufm_status status = read_shape(row, &out->shape);
	if (status)
		return status;
	if (!machine_of_row(row, &out->machine))
		return status_fail(UFM_EFORMAT,
		                   "no probe_link_gbps, expected a row of ufm bench --probe on");
	status = machine_finish(&out->machine);
	if (status)
		return status;
	out->decode = strcmp(field_string(row, "phase"), "decode") == 0;
	out->tokens = whole(row, "batch") * whole(row, "seq");
	out->warmup = whole(row, "warmup");
	out->steps = (uint32_t)json_array_size(json_object_get(row, "step_ms"));
	out->target_bytes = field_whole(row, "vram_target_bytes");
	read_cpu(row, out);
	out->policy = policy_find(field_string(row, "policy"));
	read_workload(c, row, out);
	out->division = (division_config){.shape = &out->shape,
	                                  .granularity_bytes = out->machine.granularity_bytes,
	                                  .headroom_bytes = field_whole(row, "headroom_bytes"),
	                                  .tokens = out->tokens,
	                                  .max_tokens = whole(row, "max_tokens"),
	                                  .given = out->given};
	if (!out->policy || !out->tokens || !out->steps)
		return status_fail(UFM_EFORMAT,
		                   "no policy, batch, seq or step_ms, expected a row of ufm bench");
	return plan_routing_check(out->workload);
}

/* ------------------------------------------------------------------ its prediction */

/* As the row counts: of earlier builds it has the median step's. */
static double speed_of(const row_case *k, double *step_ns, uint32_t steps)
{
	double sum_ns = 0;
	if (!field_known(k->row, "tokens_per_s_median"))
		return k->tokens * 1e9 / median_of(step_ns, steps);
	for (uint32_t i = 0; i < steps; i++)
		sum_ns += step_ns[i];
	return k->tokens * 1e9 * steps / sum_ns;
}

/* A ring that was asked for is not in the row: it shows in its size. */
static ufm_status divide(row_case *k, division *d, budget *out)
{
	uint32_t ring = whole(k->row, "ring_slots");
	division_open(&k->division, d);
	ufm_status status = division_of(d, k->target_bytes, out);
	if (status || out->ring == ring || ring == 0)
		return status;
	k->division.ring = ring;
	division_open(&k->division, d);
	return division_of(d, k->target_bytes, out);
}

/* Where the row's very ids are not known, others are as likely. */
static uint32_t draws_of(const row_case *k)
{
	uint64_t pairs = (uint64_t)k->tokens * k->shape.top_k, experts = k->shape.bank.experts;
	uint64_t uses = (uint64_t)k->steps * k->shape.bank.layers * (pairs < experts ? pairs : experts);
	if (k->known || uses == 0)
		return 1;
	uint64_t draws = (DRAWN_USES + uses - 1) / uses;
	return draws < DRAWS_MAX ? (uint32_t)draws : DRAWS_MAX;
}

static ufm_status open_routing(const row_case *k, uint32_t draw, trace *out)
{
	uint32_t width = k->shape.bank.desc.d_model;
	plan_routing_config routing = {.spec = k->workload,
	                               .seed = field_whole(k->row, "seed") + draw,
	                               .step_tokens = k->tokens,
	                               .steps = k->warmup + k->steps,
	                               .side_by_side = k->decode,
	                               .columns = k->known && !k->given ? width : 0,
	                               .shape = &k->shape};
	return plan_routing_open(&routing, out);
}

/* One way of running a case. */
typedef struct case_way {
	const row_case *k;
	const division *division;
	bool cpu;
	double *step_ns; /* [draws, k->steps] */
} case_way;

static ufm_status walk_draw(const case_way *way, uint32_t draw, row_outcome *out)
{
	const row_case *k = way->k;
	trace routing;
	walk_result one;
	ufm_status status = open_routing(k, draw, &routing);
	if (status)
		return status;
	walk_phase phase = {.routing = &routing,
	                    .tokens = k->tokens,
	                    .side_by_side = k->decode,
	                    .warmup = k->warmup,
	                    .steps = k->steps,
	                    .step_ns = way->step_ns + (uint64_t)draw * k->steps};
	predict_config predict = {.shape = &k->shape,
	                          .machine = &k->machine,
	                          .policy = k->policy,
	                          .division = way->division,
	                          .budget = &out->budget,
	                          .given = k->given,
	                          .cpu = way->cpu};
	status = predict_run(&predict, &phase, 1, &one);
	if (!status)
		walk_result_add(&out->walked, &one);
	trace_close(&routing);
	return status;
}

static ufm_status walk_draws(const case_way *way, row_outcome *out)
{
	const row_case *k = way->k;
	uint32_t draws = draws_of(k);
	ufm_status status = UFM_OK;
	for (uint32_t i = 0; i < draws && !status; i++)
		status = walk_draw(way, i, out);
	if (status)
		return status;
	out->cpu = way->cpu;
	out->bound = timing_binds(&out->walked.sum);
	out->tokens_per_s = speed_of(k, way->step_ns, draws * k->steps);
	out->hit_rate = (double)out->walked.hits / (double)out->walked.uses;
	return UFM_OK;
}

static ufm_status predict_way(const row_case *k, const division *d, bool cpu, row_outcome *out)
{
	case_way way = {.k = k, .division = d, .cpu = cpu};
	way.step_ns = alloc_zeroed((uint64_t)draws_of(k) * k->steps, sizeof *way.step_ns);
	ufm_status status = way.step_ns ? walk_draws(&way, out) : UFM_ENOMEM;
	alloc_free(way.step_ns);
	return status;
}

ufm_status row_case_predict(row_case *k, row_outcome *out)
{
	division d;
	row_outcome way = {0}, link = {0};
	ufm_status status = divide(k, &d, &way.budget);
	link.budget = way.budget;
	if (!status)
		status = predict_way(k, &d, k->cpu, &way);
	if (!status && k->chooses)
		status = predict_way(k, &d, false, &link);
	if (!status)
		*out = link.tokens_per_s >= way.tokens_per_s ? link : way;
	return status;
}

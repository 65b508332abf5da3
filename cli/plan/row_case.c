/* SPDX-License-Identifier: MIT */
/* Nothing of what a row measured is used but its probes. */
#include "cli/plan/row_case.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/median.h"
#include "base/status.h"
#include "cli/json_field.h"
#include "cli/row_fields.h"
#include "cli/weights.h"
#include "plan/routing.h"
#include "policy/registry.h"

/* Uses that a prediction counts at least, where its routing is drawn and not known: so that what it says is not chance
 * (a hit rate near one half then varies by 0.005). */
#define DRAWN_USES 10000u
#define DRAWS_MAX 16u

#define TOKENS_MAX (1u << 20)

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

/* ------------------------------------------------------------------ from a row */

typedef struct whole_field {
	row_field_id field;
	uint32_t *to;
} whole_field;

static ufm_status read_whole(const json_t *row, const whole_field *fields, size_t count)
{
	ufm_status status = UFM_OK;
	for (size_t i = 0; i < count && !status; i++)
		status = row_u32(row, &row_fields[fields[i].field], fields[i].to);
	return status;
}
#define READ_WHOLE(row, fields) read_whole(row, fields, sizeof(fields) / sizeof *(fields))

static ufm_status read_shape(const json_t *row, plan_shape *out)
{
	static const char *const kinds[] = {"mlp", "mlp-bias", "gated"};
	static const ufm_expert_kind values[] = {UFM_EXPERT_MLP, UFM_EXPERT_MLP_BIAS, UFM_EXPERT_GATED};
	ufm_expert_desc desc = {.struct_size = sizeof desc};
	shape_given given = {.dtype = UFM_BF16};
	uint32_t weights;
	const whole_field fields[] = {{ROW_layers, &given.layers},
	                              {ROW_num_experts, &given.experts},
	                              {ROW_top_k, &given.top_k},
	                              {ROW_d_model, &given.d_model},
	                              {ROW_d_hidden, &given.d_hidden}};
	for (uint32_t i = 0; i < 3; i++)
		if (strcmp(kinds[i], field_string(row, ROW_NAME(kind))) == 0)
			given.kind = values[i];
	if (!given.kind)
		return status_fail(UFM_EFORMAT, "kind: found '%.40s', expected mlp, mlp-bias or gated",
		                   field_string(row, ROW_NAME(kind)));
	ufm_status status = READ_WHOLE(row, fields);
	if (!status)
		status = weights_find(field_string(row, ROW_NAME(dtype)), &weights);
	if (!status)
		status = shape_of_given(&given, out);
	if (!status)
		status = weights_desc(weights, given.kind, given.d_model, given.d_hidden, &desc);
	return status ? status : shape_describe(out, &desc);
}

/* A trace may lie elsewhere than it did for the run. */
static ufm_status read_workload(const plan_config *c, const json_t *row, row_case *out)
{
	const char *text = field_string(row, ROW_NAME(workload));
	out->known = plan_routing_is_known(text);
	/* Rows without the field had ids ahead wherever they were known. */
	out->given = field_known(row, ROW_NAME(ids))
	                 ? strcmp(field_string(row, ROW_NAME(ids)), "ahead") == 0
	                 : out->known;
	if (strncmp(text, "trace:", 6) == 0 && strncmp(c->workload, "trace:", 6) == 0)
		text = c->workload;
	if (strlen(text) >= sizeof out->workload)
		return status_fail(UFM_EFORMAT, "workload: found %zu characters, expected less than %zu",
		                   strlen(text), sizeof out->workload);
	snprintf(out->workload, sizeof out->workload, "%s", text);
	return plan_routing_check(out->workload);
}

/* Builds whose rows do not say what was asked for used the CPU wherever it was on. */
static ufm_status read_cpu(const json_t *row, row_case *out)
{
	uint32_t threads;
	ufm_status status = row_u32(row, &row_fields[ROW_cpu_threads], &threads);
	out->cpu = !status && threads > 0;
	if (!out->cpu)
		return status;
	out->machine.rates.cpu_threads = threads;
	out->chooses = strcmp(field_string(row, ROW_NAME(cpu_assist_asked)), "auto") == 0 &&
	               !field_known(row, ROW_NAME(cpu_share_percent));
	return UFM_OK;
}

/* A row is predicted by walking all of its steps: up to so many visits of experts and choices, about ten seconds. */
#define WALKED_MAX ((uint64_t)1 << 28)
#define CALL_VISITS 64u /* as much time as a layer call takes beside them */

static ufm_status check_steps(const row_case *k)
{
	uint64_t choices = (uint64_t)k->tokens * k->shape.top_k;
	uint64_t call = CALL_VISITS + k->shape.bank.experts + choices;
	uint64_t most = WALKED_MAX / (call * k->shape.bank.layers * draws_of(k));
	uint64_t steps = (uint64_t)k->warmup + k->steps;
	if (steps <= most)
		return UFM_OK;
	return status_fail(UFM_EFORMAT,
	                   "warmup and step_ms: found %" PRIu64 " steps, expected at most %" PRIu64
	                   " of %u layers of %u experts with %u tokens",
	                   steps, most, k->shape.bank.layers, k->shape.bank.experts, k->tokens);
}

static ufm_status read_steps(const json_t *row, row_case *out)
{
	uint32_t batch, seq;
	const whole_field fields[] = {{ROW_batch, &batch}, {ROW_seq, &seq}, {ROW_warmup, &out->warmup}};
	size_t steps = json_array_size(json_object_get(row, ROW_NAME(step_ms)));
	ufm_status status = READ_WHOLE(row, fields);
	if (status)
		return status;
	if ((uint64_t)batch * seq > TOKENS_MAX)
		return status_fail(UFM_EFORMAT,
		                   "batch and seq: found %u x %u tokens, expected at most %u in a step",
		                   batch, seq, TOKENS_MAX);
	if (steps < 1 || steps > row_fields[ROW_step_ms].most)
		return status_fail(UFM_EFORMAT,
		                   "step_ms: found %zu steps, expected a list of 1 to %" PRIu64, steps,
		                   row_fields[ROW_step_ms].most);
	out->batch = batch;
	out->seq = seq;
	out->tokens = batch * seq;
	out->steps = (uint32_t)steps;
	return check_steps(out);
}

/* What the plan is held against. */
static ufm_status read_measured(const json_t *row, row_case *out)
{
	row_field resident_uses = row_fields[ROW_resident_uses];
	ufm_status status = row_number(row, &row_fields[ROW_tokens_per_s], &out->tokens_per_s);
	if (!status)
		status = row_whole(row, &row_fields[ROW_slots], &out->slots);
	if (!status)
		status = row_whole(row, &row_fields[ROW_uses], &out->uses);
	if (status)
		return status;
	resident_uses.most = out->uses;
	return row_whole(row, &resident_uses, &out->resident_uses);
}

static ufm_status read_budget(const json_t *row, row_case *out)
{
	uint64_t headroom_bytes, seed;
	uint32_t max_tokens;
	ufm_status status = row_whole(row, &row_fields[ROW_vram_target_bytes], &out->target_bytes);
	if (!status)
		status = row_whole(row, &row_fields[ROW_headroom_bytes], &headroom_bytes);
	if (!status)
		status = row_whole(row, &row_fields[ROW_seed], &seed);
	if (!status)
		status = row_u32(row, &row_fields[ROW_max_tokens], &max_tokens);
	if (!status)
		status = row_u32(row, &row_fields[ROW_ring_slots], &out->ring);
	if (status)
		return status;
	out->seed = seed;
	out->division = (division_config){.shape = &out->shape,
	                                  .granularity_bytes = out->machine.granularity_bytes,
	                                  .headroom_bytes = headroom_bytes,
	                                  .tokens = out->tokens,
	                                  .max_tokens = max_tokens,
	                                  .given = out->given};
	return UFM_OK;
}

static ufm_status read_machine(const json_t *row, row_case *out)
{
	bool known;
	told_machine told;
	ufm_status status = machine_of_row(row, &known, &told);
	if (status)
		return status;
	if (!known)
		return status_fail(UFM_EFORMAT, "probe_link_gbps, probe_hbm_gbps: found nothing, expected "
		                                "the rates of a row of ufm bench --probe on");
	out->machine = told.plan;
	status = machine_finish(&out->machine);
	return status ? status : read_cpu(row, out);
}

ufm_status row_case_read(const plan_config *c, const json_t *row, row_case *out)
{
	memset(out, 0, sizeof *out);
	out->row = row;
	out->decode = strcmp(field_string(row, ROW_NAME(phase)), "decode") == 0;
	out->policy = policy_find(field_string(row, ROW_NAME(policy)));
	if (!out->policy)
		return status_fail(UFM_EFORMAT, "policy: found '%.40s', expected one of ours",
		                   field_string(row, ROW_NAME(policy)));
	ufm_status status = read_shape(row, &out->shape);
	if (!status)
		status = read_machine(row, out);
	if (!status)
		status = read_workload(c, row, out);
	if (!status)
		status = read_steps(row, out);
	if (!status)
		status = read_budget(row, out);
	return status ? status : read_measured(row, out);
}

/* ------------------------------------------------------------------ its prediction */

/* As the row counts: of earlier builds it has the median step's. */
static double speed_of(const row_case *k, double *step_ns, uint32_t steps)
{
	double sum_ns = 0;
	if (!field_known(k->row, ROW_NAME(tokens_per_s_median)))
		return k->tokens * 1e9 / median_of(step_ns, steps);
	for (uint32_t i = 0; i < steps; i++)
		sum_ns += step_ns[i];
	return k->tokens * 1e9 * steps / sum_ns;
}

/* A ring that was asked for is not in the row: it shows in its size. */
static ufm_status divide(row_case *k, division *d, budget *out)
{
	division_open(&k->division, d);
	ufm_status status = division_of(d, k->target_bytes, out);
	if (status || out->ring == k->ring || k->ring == 0)
		return status;
	k->division.ring = k->ring;
	division_open(&k->division, d);
	return division_of(d, k->target_bytes, out);
}

static ufm_status open_routing(const row_case *k, uint32_t draw, trace *out)
{
	uint32_t width = k->shape.bank.desc.d_model;
	plan_routing_config routing = {.spec = k->workload,
	                               .seed = k->seed + draw,
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
